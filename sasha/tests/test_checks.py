from __future__ import annotations

import secrets

import pytest

from sasha.checks import check_safety


@pytest.fixture
def production(settings, tmp_path):
    """A configuration that nothing is to be said against."""
    settings.LOCAL_MODE = False
    settings.SECRET_KEY = secrets.token_urlsafe(50)
    settings.SITE_HOSTS = settings.ALLOWED_HOSTS = ["chat.example.org"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://chat.example.org", "https://chat.example.org:8443"]
    settings.DATA_DIR, settings.SECRET_FILES = tmp_path, []
    return settings


def ids() -> list[str]:
    return [problem.id for problem in check_safety()]


def test_a_sound_configuration_is_let_be(production):
    assert ids() == []


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"SECRET_KEY": "short"}, "sasha.E002"),
        ({"SECRET_KEY": "abab" * 20}, "sasha.E002"),
        ({"SECRET_KEY": f"django-insecure-{'abcdefghij' * 5}"}, "sasha.E002"),
        ({"DEBUG": True}, "sasha.E003"),
        ({"ALLOWED_HOSTS": ["chat.example.org", "*"]}, "sasha.E004"),
        ({"CSRF_TRUSTED_ORIGINS": ["http://chat.example.org"]}, "sasha.E006"),
        ({"CSRF_TRUSTED_ORIGINS": ["https://*.example.org"]}, "sasha.E006"),
        ({"CSRF_TRUSTED_ORIGINS": ["https://chat.example.org/"]}, "sasha.E006"),
        ({"CSRF_TRUSTED_ORIGINS": ["chat.example.org"]}, "sasha.E006"),
        ({"CSRF_TRUSTED_ORIGINS": ["https://user@chat.example.org"]}, "sasha.E006"),
        ({"LOCAL_MODE": True, "HOST": "0.0.0.0"}, "sasha.E001"),
    ],
)
def test_what_is_unsafe_is_named_with_what_to_do(production, values, problem):
    for name, value in values.items():
        setattr(production, name, value)
    (found,) = check_safety()
    assert found.id == problem
    assert found.hint
    assert found.is_serious()
    assert production.SECRET_KEY not in found.msg


@pytest.mark.parametrize("name", ["secret_key", "encryption_key", "given", "sasha.sqlite3"])
@pytest.mark.parametrize(("mode", "expected"), [(0o600, []), (0o640, []), (0o644, ["sasha.E005"])])
def test_a_secret_that_everybody_can_read_is_named(production, tmp_path, monkeypatch, name, mode, expected):
    path = tmp_path / name
    path.touch()
    path.chmod(mode)
    if name == "given":
        production.SECRET_FILES = [path]
    if name == "sasha.sqlite3":
        engine = "django.db.backends.sqlite3"
        monkeypatch.setitem(production.DATABASES, "default", {"ENGINE": engine, "NAME": str(path)})
    assert ids() == expected


def test_what_the_site_writes_is_not_for_everybody_on_the_machine(tmp_path):
    (tmp_path / "sasha.sqlite3").touch()
    assert (tmp_path / "sasha.sqlite3").stat().st_mode & 0o777 == 0o640


def test_local_mode_on_loopback_needs_nothing(settings):
    assert ids() == []

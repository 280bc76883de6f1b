"""Keys, amounts and ages in the environment, and the secrets that local mode makes for itself."""

import json
import os
import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured

from sasha.settings import (
    BASE_DIR,
    checked_encryption_keys,
    env_days,
    env_proxies,
    env_rate,
    env_usd,
    kept_secret,
    make_encryption_key,
)

NEW, OLD = make_encryption_key(), make_encryption_key()


def test_encryption_keys_stand_in_one_text_with_commas_or_lines():
    assert checked_encryption_keys(f"{NEW},{OLD}\n") == checked_encryption_keys(f"{NEW}\n {OLD}") == [NEW, OLD]


@pytest.mark.parametrize("bad", ["short", "not base64 at all!", "é"])
def test_a_malformed_encryption_key_stops_the_start_and_is_not_quoted(bad):
    with pytest.raises(ImproperlyConfigured) as caught:
        checked_encryption_keys(f"{NEW},{bad}")
    assert str(caught.value) == "Key 2 of ENCRYPTION_KEYS is not 32 bytes in URL-safe base64."


def test_a_secret_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    path = tmp_path / "new" / "encryption_key"
    first = kept_secret(path, make_encryption_key)
    assert kept_secret(path, make_encryption_key) == first
    assert checked_encryption_keys(first) == [first]
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_of_two_that_make_a_secret_at_once_both_take_the_first(tmp_path):
    path = tmp_path / "secret"

    def make_second():
        kept_secret(path, lambda: "first")
        return "second"

    assert (kept_secret(path, make_second), path.read_text()) == ("first", "first")


@pytest.mark.parametrize("bad", ["ten", "-1", "NaN", "Infinity"])
def test_an_amount_that_is_none_stops_the_start_with_a_sentence(bad, monkeypatch):
    monkeypatch.setenv("SOME_USD", bad)
    with pytest.raises(ImproperlyConfigured, match=r"it must be an amount such as 0\.10"):
        env_usd("SOME_USD", "1")


@pytest.mark.parametrize(("value", "least", "days"), [("0", 62, 0), ("62", 62, 62), ("1", 0, 1), (None, 62, 400)])
def test_an_age_is_a_number_of_days(value, least, days, monkeypatch):
    if value is not None:
        monkeypatch.setenv("SOME_DAYS", value)
    assert env_days("SOME_DAYS", 400, least) == days


@pytest.mark.parametrize(("value", "least"), [("-1", 0), ("-1", 62), ("61", 62)])
def test_an_age_that_removes_too_much_stops_the_start_with_a_sentence(value, least, monkeypatch):
    monkeypatch.setenv("SOME_DAYS", value)
    with pytest.raises(ImproperlyConfigured, match=f"it must be 0 for ever, or at least {max(least, 1)}"):
        env_days("SOME_DAYS", 400, least)


def production(**environment):
    """Return what the settings of a site in production say of its addresses."""
    script = (
        "import json; from sasha import settings as s; "
        "print(json.dumps([s.ALLOWED_HOSTS, s.CSRF_TRUSTED_ORIGINS, s.SECURE_SSL_REDIRECT]))"
    )
    environment = {"PATH": os.environ["PATH"], "SECRET_KEY": "x" * 50} | environment
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=BASE_DIR, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout)


def test_with_a_secret_alone_the_site_is_for_this_machine_only():
    hosts, origins, redirects = production(PORT="8123")
    assert hosts == ["127.0.0.1", "localhost", "[::1]"]
    assert origins == ["http://127.0.0.1:8123", "http://localhost:8123", "http://[::1]:8123"]
    assert redirects is False


def test_a_site_with_a_name_has_no_other_and_insists_on_https():
    named = {"ALLOWED_HOSTS": "chat.example.org", "ALLOWED_ORIGINS": "https://chat.example.org"}
    assert production(**named) == [["chat.example.org"], ["https://chat.example.org"], True]


@pytest.mark.parametrize(
    ("mode", "names"),
    [("production", ["__Host-sessionid", "__Host-csrftoken"]), ("local", ["sessionid", "csrftoken"])],
)
def test_the_cookies_of_production_belong_to_this_host_alone(tmp_path, mode, names):
    code = (
        "from django.conf import settings as s; print(s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME,"
        " s.SESSION_COOKIE_SAMESITE, s.CSRF_COOKIE_SAMESITE, s.SESSION_COOKIE_SECURE)"
    )
    environment = {"SASHA_MODE": mode, "SECRET_KEY": "x" * 60, "DATA_DIR": str(tmp_path), "PATH": os.environ["PATH"]}
    environment["DJANGO_SETTINGS_MODULE"] = "sasha.settings"
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == [*names, "Lax", "Lax", str(mode == "production")]


@pytest.mark.parametrize("bad", ["often", "0/minute", "-1/minute", "5", ""])
def test_a_rate_that_is_none_stops_the_start_with_a_sentence(bad, monkeypatch):
    monkeypatch.setenv("RATE_X", bad)
    with pytest.raises(ImproperlyConfigured, match="RATE_X"):
        env_rate("RATE_X", "1/minute")


@pytest.mark.parametrize(
    ("given", "number"), [("true", 1), ("false", 0), ("2", 2), ("", None), ("-1", None), ("x", None)]
)
def test_proxies_are_counted(given, number, monkeypatch):
    monkeypatch.setenv("BEHIND_X", given)
    if number is None:
        with pytest.raises(ImproperlyConfigured, match="BEHIND_X"):
            env_proxies("BEHIND_X")
    else:
        assert env_proxies("BEHIND_X") == number

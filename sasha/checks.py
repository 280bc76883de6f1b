"""What `manage.py check` says about this installation, and what keeps the server from starting."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# As Django's own check counts (security.W009).
SECRET_LENGTH = 50
SECRET_LETTERS = 5
SAMPLE_SECRET = "django-insecure-"  # noqa: S105 (how Django marks the ones that it makes up)
ANYBODY_READS = 0o004


@register
def check_aichat(**_: Any) -> list[CheckMessage]:
    """Without the program no reply can start; every other page works."""
    if settings.AICHAT and shutil.which(settings.AICHAT):
        return []
    hint = "Run scripts/install-aichat, or set AICHAT to its path."
    return [Warning("aichat was not found, so no message can be answered.", hint=hint, id="sasha.W001")]


@register
def check_sandbox(**_: Any) -> list[CheckMessage]:
    """A sandbox that is asked for and missing stops every reply, which is better than answering without."""
    if settings.AICHAT_SANDBOX == "none" or shutil.which("bwrap"):
        return []
    hint = "Install the package bubblewrap, or leave AICHAT_SANDBOX out."
    return [Warning("AICHAT_SANDBOX is bubblewrap, which was not found.", hint=hint, id="sasha.W002")]


@register(Tags.security, deploy=True)
def check_safety(**_: Any) -> list[CheckMessage]:
    """Return everything that makes this installation unsafe. The server does not start with any of it."""
    find = [_find_open_local_mode] if settings.LOCAL_MODE else PRODUCTION
    return [problem for step in find for problem in step()]


def _find_open_local_mode() -> Iterator[Error]:
    if settings.HOST not in LOOPBACK:
        yield Error(
            f"Local mode has no sign-in, so it listens on this machine only; HOST is {settings.HOST!r}.",
            hint="Leave HOST out, or SASHA_MODE, which is production then.",
            id="sasha.E001",
        )


def _find_weak_secret() -> Iterator[Error]:
    secret = settings.SECRET_KEY
    if len(secret) < SECRET_LENGTH or len(set(secret)) < SECRET_LETTERS or secret.startswith(SAMPLE_SECRET):
        yield Error(
            f"SECRET_KEY can be guessed: it needs {SECRET_LENGTH} random characters.",
            hint="Make one: python -c 'import secrets; print(secrets.token_urlsafe(50))'",
            id="sasha.E002",
        )


def _find_debug() -> Iterator[Error]:
    if settings.DEBUG:
        hint = "Take DEBUG out of sasha/settings.py."
        yield Error("DEBUG shows the site's insides to everybody.", hint=hint, id="sasha.E003")


def _find_any_host() -> Iterator[Error]:
    if any(host.startswith("*") for host in settings.ALLOWED_HOSTS):
        yield Error(
            "ALLOWED_HOSTS allows every host, so that links and origins can be made up.",
            hint="Name the site's own: ALLOWED_HOSTS=chat.example.org",
            id="sasha.E004",
        )


def _find_open_secrets() -> Iterator[Error]:
    kept = [settings.DATA_DIR / name for name in ("secret_key", "encryption_key")]
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        kept.append(Path(database["NAME"]))
    for path in [*settings.SECRET_FILES, *filter(Path.exists, kept)]:
        if path.stat().st_mode & ANYBODY_READS:
            yield Error(
                f"Everybody on this machine can read the secrets in {path}.",
                hint=f"Take that away: chmod o-rwx {path}. What is mounted is mounted with mode 0440.",
                id="sasha.E005",
            )


def _find_bad_origins() -> Iterator[Error]:
    # A site without a name is for this machine alone, which needs no TLS.
    for origin in settings.CSRF_TRUSTED_ORIGINS if settings.SITE_HOSTS else ():
        parts = urlsplit(origin)
        if f"https://{parts.netloc}" != origin or "*" in origin or "@" in origin:
            yield Error(
                f"ALLOWED_ORIGINS has {origin!r}, which is not the full address of a site with TLS.",
                hint="Write scheme and host, and a port that is not 443: https://chat.example.org",
                id="sasha.E006",
            )


PRODUCTION: list[Callable[[], Iterator[Error]]] = [
    _find_weak_secret,
    _find_debug,
    _find_any_host,
    _find_open_secrets,
    _find_bad_origins,
]

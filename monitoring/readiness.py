"""Whether this server should be sent anybody: one check for each thing that an answer needs."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache

from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from chat import runner
from chat.database import db
from monitoring import latency
from providers import aichat

logger = logging.getLogger(__name__)

# However many ask, the database is asked once in so long.
FRESH_SECONDS = 1.0


class NotReady(Exception):
    """Why a check failed, for the staff."""


@dataclass(frozen=True)
class Check:
    """One of the things that must be: `detail` is for the staff alone."""

    name: str
    ok: bool
    detail: str


async def check_all() -> list[Check]:
    """Return every check, as it was a moment ago; only whether the server is about to leave is as of now."""
    return [await _run("draining", _check_draining), *await _latest.get()]


async def _check_draining() -> str:
    if runner.current().leaving:
        raise NotReady("The server is about to leave.")
    return "The server stays."


async def _check_database() -> str:
    return f"{await latency.time_database()} ms"


async def _check_stream_log() -> str:
    return f"{await latency.time_log(runner.current().log)} ms"


async def _check_migrations() -> str:
    on_disk = await asyncio.to_thread(_migrations_on_disk)
    async with asyncio.timeout(latency.LONGEST_SECONDS):
        applied = await db(_applied_migrations)
    if missing := sorted(".".join(migration) for migration in on_disk - applied):
        raise NotReady(f"Not applied: {', '.join(missing)}. Run manage.py migrate.")
    return f"{len(on_disk)} applied"


@cache
def _migrations_on_disk() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).disk_migrations)


def _applied_migrations() -> set[tuple[str, str]]:
    return set(MigrationRecorder(connection).applied_migrations())


async def _check_aichat() -> str:
    if not shutil.which(settings.AICHAT or ""):
        raise NotReady("aichat was not found. Run scripts/install-aichat, or set AICHAT to its path.")
    version = await _versions.find(settings.AICHAT)
    if version != settings.AICHAT_VERSION:
        raise NotReady(f"aichat is {version or 'of unknown version'}; it must be {settings.AICHAT_VERSION}.")
    return version


async def _check_disk() -> str:
    free = (await asyncio.to_thread(shutil.disk_usage, settings.DATA_DIR)).free
    if free < settings.DISK_FREE_BYTES:
        raise NotReady(f"{free} bytes are free in DATA_DIR; {settings.DISK_FREE_BYTES} must be.")
    return f"{free} bytes free"


CHECKS: dict[str, Callable[[], Awaitable[str]]] = {
    "database": _check_database,
    "stream_log": _check_stream_log,
    "migrations": _check_migrations,
    "aichat": _check_aichat,
    "disk": _check_disk,
}


async def _run(name: str, check: Callable[[], Awaitable[str]]) -> Check:
    try:
        return Check(name, True, await check())
    except NotReady as reason:
        return Check(name, False, str(reason))
    except Exception as trouble:
        # Whatever it is, there is somebody who waits for an answer.
        logger.warning("the check of %s failed", name, exc_info=True)
        return Check(name, False, type(trouble).__name__)


class _Versions:
    """What each program once said it was: asked once, since the file does not change under a running server."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    async def find(self, program: str) -> str:
        if not self._known.get(program):
            self._known[program] = await aichat.ask_version()
        return self._known[program]


class _Latest:
    """The checks as they were at most FRESH_SECONDS ago, made by one of those who ask, for all of them."""

    def __init__(self) -> None:
        self._checks: list[Check] = []
        self._at = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self) -> list[Check]:
        async with self._lock:
            if time.monotonic() - self._at > FRESH_SECONDS:
                self._checks = [await _run(name, check) for name, check in CHECKS.items()]
                self._at = time.monotonic()
            return self._checks


_versions = _Versions()
_latest = _Latest()

"""A site is driven into trouble and out again: its page, its metrics and its alerts say so, and when it is over."""

from __future__ import annotations

import mmap
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from chat.database import db
from monitoring import metrics, outcomes, sampler
from monitoring.alerts import rounds
from monitoring.models import Alert, AlertRule
from providers import breaker
from sasha.testing import Socket

pytestmark = pytest.mark.django_db(transaction=True)

MB = 1024 * 1024
KINDS = ["error_rate", "memory_slope", "provider_down"]


class Clock:
    """The time, which goes on by a minute when it is told to. It begins in the past, so that nothing looks stale."""

    def __init__(self) -> None:
        self.at = timezone.now() - timedelta(minutes=90)

    async def look(self, times: int = 10) -> None:
        """Take a reading a minute."""
        for _ in range(times):
            self.at += timedelta(minutes=1)
            await sampler.sample()


async def test_trouble_shows_everywhere_and_clears_again(by_hand, site, provider, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timezone, "now", lambda: clock.at)
    await db(expect_at_once)
    admin = await db(make_admin)
    await clock.look()
    assert "In trouble" not in await db(read_page, admin)
    assert await db(find_firing) == []
    memory = metric("memory_bytes", of="server", kind="unique")

    held = await drive_memory_up(clock)
    await drive_errors_up()
    await clock.look(1)
    await evaluate(clock)
    assert await db(find_firing) == KINDS
    page = await db(read_page, admin)
    assert "In trouble" in page
    for words in ("grows", "failed", "paused"):
        assert words in page, words
    assert metric("memory_bytes", of="server", kind="unique") > memory + 15 * MB
    assert metric("breaker_state", provider="sim", state="open") == 1
    assert metric("attempts_total", provider="sim", ending="provider_error") >= 3

    for piece in held:
        piece.close()
    await db(breaker.force, provider, "")
    # Five minutes later the failures are no longer the present.
    monkeypatch.setattr(outcomes, "RECENT_SECONDS", 0)
    await clock.look(30)
    await evaluate(clock)
    assert await db(find_firing) == []
    assert "In trouble" not in await db(read_page, admin)
    assert metric("breaker_state", provider="sim", state="closed") == 1
    assert metric("memory_bytes", of="server", kind="unique") < memory + 15 * MB


def expect_at_once() -> None:
    """Let alerts begin and end with the next look, and a growth of memory be one."""
    AlertRule.objects.update(for_seconds=0, clear_seconds=0, enabled=False)
    AlertRule.objects.filter(kind__in=KINDS).update(enabled=True)
    AlertRule.objects.filter(kind="provider_down").update(threshold=0, clear_below=0)


def make_admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="a long enough passphrase"))
    return client


def read_page(client: Client) -> str:
    return client.get("/admin/monitor/").text


def metric(name: str, **labels: str) -> float:
    value = metrics.REGISTRY.get_sample_value(f"sasha_{name}", labels)
    assert value is not None, name
    return value


def find_firing() -> list[str]:
    return sorted(Alert.objects.filter(state="firing").values_list("rule__kind", flat=True))


async def drive_memory_up(clock: Clock) -> list[mmap.mmap]:
    held = []
    for _ in range(10):
        piece = mmap.mmap(-1, 2 * MB)
        piece.write(b"x" * 2 * MB)
        held.append(piece)
        await clock.look(1)
    return held


async def drive_errors_up() -> None:
    async with Socket("a") as socket:
        for _ in range(6):
            await socket.say("Hi", model="sim:sim-http500", onlyModel=True)


async def evaluate(clock: Clock) -> None:
    """Look at the rules once for an alert to begin, or to be calm, and again for it to have been so for a while."""
    for _ in range(3):
        clock.at += timedelta(seconds=1)
        await db(rounds.evaluate, clock.at)

"""The sampler on a running site: what it reads, keeps, stores and forgets."""

from __future__ import annotations

import asyncio
import mmap
import time
from datetime import datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from chat import runner
from chat.database import db
from chat.models import Message
from chat.signals import reply_ended
from monitoring import background, latency, sampler
from monitoring.models import ReplicaState, Sample
from monitoring.models.samples import GONE_FOR
from monitoring.pages.servers import read_servers
from monitoring.readings import KEPT_READINGS
from providers.aichat import LIVE
from sasha.testing import Socket, eventually, running_site

pytestmark = pytest.mark.django_db(transaction=True)

MB = 1024 * 1024
# As in the pages that read it.
STATE = {
    "version": str,
    "started_at": str,
    "draining": bool,
    "places": int,
    "reading": {
        "at": str,
        "rss": int,
        "uss": int,
        "children_rss": int,
        "children_uss": int,
        "blocks": int,
        "cpu": float,
        "children_cpu": float,
        "processes": int,
        "sockets": int,
        "queued": int,
        "loop_lag_ms": float,
        "database_ms": float,
        "log_ms": float,
    },
    "history": {"at": list, "rss": list, "cpu": list, "loop_lag_ms": list, "processes": list},
    "figures": {
        "responses": {"count": int, "mean_ms": float, "p50_ms": int, "p95_ms": int, "p99_ms": int},
        "first_tokens": {"count": int, "mean_ms": float, "p50_ms": int, "p95_ms": int, "p99_ms": int},
        "errors": {
            "ended": int,
            "failed": int,
            "rate": float,
            "ended_since_start": int,
            "failed_since_start": int,
            "rate_since_start": float,
        },
        "memory": {
            "trend": str,
            "change_bytes": type(None),
            "slope_bytes_per_hour": type(None),
            "slope_low": type(None),
            "slope_high": type(None),
        },
    },
    "processes": list,
    "processes_total": int,
}
PROCESS = {
    "reply_id": str,
    "conversation_id": str,
    "attempt": int,
    "pid": int,
    "user": str,
    "provider": str,
    "model": str,
    "phase": str,
    "started_at": str,
    "age_ms": int,
    "rss": int,
    "characters": int,
    "events": int,
}


def shape_of(value, like):
    """Return the types in `value`, as deep as `like` goes."""
    if isinstance(like, dict):
        return {name: shape_of(part, like.get(name)) for name, part in value.items()}
    return type(value)


async def find_state() -> dict:
    return (await ReplicaState.objects.aget(pk=runner.current().replica)).data


async def test_a_state_says_what_runs_and_how_it_went(by_hand, site):
    async with Socket("a") as done, Socket("b") as running:
        await done.say("Hi", model="sim:sim-n5")
        await running.send(message="Hi", model="sim:sim-stall-at2")
        await running.until_text("word1 ")
        await sampler.sample()
        state = await find_state()
        assert shape_of(state, STATE) == STATE
        assert shape_of(state["processes"][0], PROCESS) == PROCESS
        reading = state["reading"]
        assert (reading["processes"], reading["sockets"], reading["queued"]) == (1, 2, 0)
        assert reading["children_uss"] > 0
        assert reading["rss"] >= reading["uss"] > 10 * MB
        assert state["processes"][0]["pid"] == next(iter(LIVE)).pid
        assert (state["figures"]["errors"]["ended"], state["figures"]["errors"]["failed"]) == (1, 0)
        assert state["draining"] is False


async def test_only_what_is_stored_counts(by_hand, site):
    async with Socket("a") as socket:
        reply_id = (await socket.say("Hi", model="sim:sim-n5"))[-1]["replyId"]

    def end_in_vain() -> None:
        with transaction.atomic():
            reply_ended.send(Message, reply=Message.objects.get(pk=reply_id))
            transaction.set_rollback(True)

    await db(end_in_vain)
    assert sampler.current().outcomes.errors()["ended_since_start"] == 1


async def test_memory_driven_up_and_down_is_a_trend(by_hand, site):
    held = []
    for _ in range(10):
        await sampler.sample()
        piece = mmap.mmap(-1, 2 * MB)
        piece.write(b"x" * 2 * MB)
        held.append(piece)
    assert sampler.current().figures()["memory"]["trend"] == "increasing"
    for piece in held:
        await sampler.sample()
        piece.close()
    await sampler.sample()
    assert sampler.current().figures()["memory"]["trend"] == "decreasing"
    for _ in range(10):
        await sampler.sample()
    memory = sampler.current().figures()["memory"]
    assert memory["trend"] == "stable"
    assert abs(memory["change_bytes"]) < 10 * MB


async def test_a_hundred_readings_are_kept(by_hand, site):
    for _ in range(KEPT_READINGS + 3):
        await sampler.sample()
    history = sampler.current().state()["history"]
    assert {len(column) for column in history.values()} == {KEPT_READINGS}
    assert history["at"] == sorted(history["at"])


async def test_each_full_minute_is_a_row_with_its_maxima(by_hand, site, monkeypatch):
    minute = datetime(2025, 3, 1, 12, 0, tzinfo=timezone.get_default_timezone())
    monkeypatch.setattr(timezone, "now", lambda: minute)
    async with Socket("a") as socket:
        await socket.say("Hi", model="sim:sim-n5")
        await sampler.sample()
    monkeypatch.setattr(timezone, "now", lambda: minute + timedelta(seconds=59))
    await sampler.sample()
    assert not await Sample.objects.aexists()
    monkeypatch.setattr(timezone, "now", lambda: minute + timedelta(seconds=60))
    await sampler.sample()
    row = await Sample.objects.aget()
    assert (row.at, row.replica) == (minute, runner.current().replica)
    assert (row.sockets, row.replies, row.failed) == (1, 1, 0)
    assert row.response_p95_ms >= row.first_token_p95_ms > 0
    # The minute that nothing was read in has no row.
    monkeypatch.setattr(timezone, "now", lambda: minute + timedelta(seconds=180))
    await sampler.sample()
    assert [row.at async for row in Sample.objects.order_by("at")] == [minute, minute + timedelta(seconds=60)]


async def test_the_overview_names_a_server_that_has_gone_without_a_word_for_a_while(by_hand, site):
    now = timezone.now()
    await ReplicaState.objects.acreate(replica="dead", at=now, data={})
    await ReplicaState.objects.acreate(replica="long dead", at=now - GONE_FOR, data={})
    await sampler.sample()
    assert not await ReplicaState.objects.filter(replica="long dead").aexists()
    gone = [server for server in await db(read_servers, now) if not server.is_alive]
    assert [server.name for server in gone] == ["dead"]


async def test_a_server_that_stops_says_so_last(by_hand, provider):
    async with running_site():
        replica = runner.current().replica
        await sampler.sample()
    (stopped,) = await db(read_servers, timezone.now())
    assert (stopped.name, stopped.is_alive, stopped.is_draining) == (replica, False, True)


async def test_it_samples_by_itself_and_sees_what_holds_up_the_loop(provider):
    async with running_site():
        await eventually(lambda: sampler.current().state()["reading"])
        await sampler.sample()
        time.sleep(0.2)  # noqa: ASYNC251 (the loop is held up on purpose)
        await asyncio.sleep(latency.LOOK_SECONDS)
        await sampler.sample()
        assert 100 < sampler.current().state()["reading"]["loop_lag_ms"] < 2000


async def test_a_setting_switches_it_off(provider, settings):
    settings.MONITORING = False
    async with running_site():
        assert not background._loops
    assert not await ReplicaState.objects.aexists()


async def test_a_database_that_does_not_answer_leaves_a_gap_in_the_reading(by_hand, site, monkeypatch):
    monkeypatch.setattr(latency, "LONGEST_SECONDS", 0)
    await sampler.sample()
    assert (await find_state())["reading"]["database_ms"] is None

"""What the looking and the sending take from everybody else: nothing."""

from __future__ import annotations

import asyncio
import threading

import pytest

from chat import runner
from chat.database import db
from monitoring.alerts import outbox, rounds, steps
from monitoring.models import AlertMessage
from sasha.testing import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)

# More than the loop has threads of its own, on any machine.
RECEIVERS = 40


async def test_a_long_look_at_the_rules_keeps_no_message_waiting(by_hand, site, monkeypatch):
    seen = threading.Event()
    monkeypatch.setattr(rounds, "evaluate", lambda now: seen.wait(PATIENCE))
    looking = asyncio.create_task(steps.evaluate_alerts())
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE / 2):
        # As many as there are threads of the database, so that each is tried.
        await asyncio.gather(*(db(runner.current) for _ in range(8)))
    assert not looking.done()
    seen.set()
    await looking


async def test_slow_receivers_leave_the_loop_its_threads(by_hand, site, monkeypatch):
    waiting, sent = [AlertMessage() for _ in range(RECEIVERS)], threading.Event()
    monkeypatch.setattr(outbox, "take", lambda now: [waiting.pop() for _ in range(len(waiting))])
    monkeypatch.setattr(outbox, "deliver", lambda message: sent.wait(PATIENCE))
    sending = asyncio.create_task(steps.send_alerts())
    while waiting:
        await asyncio.sleep(0.01)
    async with asyncio.timeout(PATIENCE / 2):
        await asyncio.gather(*(asyncio.to_thread(threading.get_ident) for _ in range(8)))
    assert not sending.done()
    sent.set()
    await sending

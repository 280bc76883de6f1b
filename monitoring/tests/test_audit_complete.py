"""Whether the audit is complete: what clients and providers counted is compared with it, message by message.

Two servers on one database answer; providers fail, people stop answers and send what is refused, and one server is
killed in the middle. Nothing here asks our own signals what happened.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
from collections import Counter, defaultdict
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from io import StringIO
from itertools import cycle

import pytest
import pytest_asyncio
from django.core.management import call_command
from django.db import connection
from websockets.exceptions import ConnectionClosed, InvalidMessage

from chat.database import db
from chat.models import Message
from monitoring import sealer
from monitoring.models import AuditEntry, AuditSeal, AuditText
from providers.models import Provider
from providers.simulator import Simulator
from sasha.testing import Connection, ServerProcess, make_provider, server_process, text_of

# Two minutes of work for a busy machine.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(600)]

# On PostgreSQL as the demand has it; SQLite has one writer, and two servers wait for each other.
MESSAGES = 2000 if connection.vendor == "postgresql" else 200
CLIENTS = 20
# What is asked of whom, and how many of a hundred messages it is.
KINDS = {"plain": 60, "failing": 10, "cut": 5, "stopped": 10, "refused": 15}
MODELS = {
    "plain": "sim:sim-n3",
    "failing": "flaky:sim-http500",
    "cut": "cutting:sim-n6-cut-at3",
    "stopped": "slow:sim-n400-gap10",
    "refused": "",
}


@dataclass
class Sent:
    """One message as its sender saw it."""

    kind: str
    text: str
    client_id: str
    # Sent again after its server was killed: what was not answered may have been done, or not.
    again: int = 0
    user_message_id: str | None = None
    reply_id: str | None = None
    ending: str = ""
    shown: str = ""
    stops: int = 0
    frames: list[dict] = field(default_factory=list)


@dataclass
class Client:
    """One script, which asks each server in turn, and the next one where one has gone."""

    number: int
    servers: list[ServerProcess]
    seed: int
    done: list[Sent] = field(default_factory=list)

    async def run(self, count: int, ended: Counter) -> None:
        kinds = random.Random(self.seed).choices(list(KINDS), KINDS.values(), k=count)
        messages = [Sent(kind, f"{self.number}.{at} {kind}?", f"c{at}") for at, kind in enumerate(kinds)]
        addresses = cycle(self.servers[self.number % 2 :] + self.servers[: self.number % 2])
        while messages:
            sent = messages[0]
            try:
                # A conversation for each, so that the provider gets what the person wrote and nothing else.
                async with next(addresses).connect(f"talk-{self.number}-{sent.client_id}") as socket:
                    await self._send(socket, sent)
            except (ConnectionClosed, InvalidMessage, OSError):
                # A server that is killed in the middle of a handshake leaves no valid message.
                sent.again += 1
            else:
                self.done.append(messages.pop(0))
                ended["messages"] += 1

    async def _send(self, socket: Connection, sent: Sent) -> None:
        if sent.kind == "refused":
            await socket.send(message=" " * (1 + len(sent.text)), clientId=sent.client_id)
            assert (await socket.receive())["code"] == "empty_message"
            return
        await socket.send(message=sent.text, clientId=sent.client_id, model=MODELS[sent.kind])
        frames = await socket.until("started")
        sent.reply_id, sent.user_message_id = frames[-1]["replyId"], frames[-1]["userMessageId"]
        if sent.kind == "stopped" and not sent.again:
            frames += await socket.until("chunk")
            sent.stops = 1
            await socket.send(type="stop", replyId=sent.reply_id)
        frames += await socket.until("complete", replyId=sent.reply_id)
        ours = [frame for frame in frames if frame.get("replyId") == sent.reply_id]
        sent.ending, sent.shown = ours[-1]["metadata"]["ending"], text_of(ours)


@pytest_asyncio.fixture
async def simulator(transactional_db):
    """Providers that fail as they are told and are always asked all the same, and one that does not."""
    simulator = Simulator()
    await simulator.start()
    for priority, (kind, name) in enumerate(reversed(MODELS.items())):
        if name:
            slug, _, model = name.partition(":")
            url = simulator.url("openai-compatible")
            await db(
                make_provider, url, model, slug=slug, priority=9 - priority if kind != "plain" else 1, forced="closed"
            )
    yield simulator
    await simulator.stop()


async def test_the_audit_holds_one_entry_for_each_thing_that_happened(simulator):
    with ExitStack() as stack:
        servers = [stack.enter_context(server_process()) for _ in range(2)]
        sent = await talk_to(servers)
    assert len(sent) == MESSAGES
    entries = [entry async for entry in AuditEntry.objects.order_by("id")]
    by_action: dict[str, list[AuditEntry]] = defaultdict(list)
    for entry in entries:
        by_action[entry.action].append(entry)
    texts = {text.digest: text.text async for text in AuditText.objects.all()}
    rows = {str(row.pk): row async for row in Message.objects.all()}
    check_questions(by_action["chat.message.posted"], sent, texts)
    check_answers(by_action["chat.reply.ended"], sent, texts, rows)
    check_refusals(by_action["chat.input.refused"], sent)
    check_stops(by_action["chat.reply.stop_requested"], sent)
    check_attempts(by_action["provider.attempt.ended"], sent, simulator)
    check_order(entries)
    assert "is whole" in await db(check_chain, entries)
    assert len(by_action["site.started"]) == 2
    assert len(by_action["provider.added"]) == await Provider.objects.acount()


async def talk_to(servers: list[ServerProcess]) -> list[Sent]:
    """Send everything, kill the second server half way, and return what was sent."""
    clients = [Client(number, servers, seed=number) for number in range(CLIENTS)]
    ended: Counter = Counter()
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for client in clients:
            group.create_task(client.run(MESSAGES // CLIENTS, ended))
        while ended["messages"] < MESSAGES // 2:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(servers[1].stop, signal.SIGKILL)
    return [sent for client in clients for sent in client.done]


def check_chain(entries: list[AuditEntry]) -> str:
    """Everything is sealed, in the order of its commits; return what verify_audit says."""
    sealer.seal_all()
    assert AuditSeal.objects.count() == AuditEntry.objects.count() == len(entries)
    call_command("verify_audit", stdout=(out := StringIO()))
    return out.getvalue()


def accepted(sent: list[Sent]) -> list[Sent]:
    return [one for one in sent if one.kind != "refused"]


def check_questions(entries: list[AuditEntry], sent: list[Sent], texts: dict[str, str]) -> None:
    found = {entry.target_id: texts[entry.digest] for entry in entries}
    assert len(found) == len(entries), "a message was written down twice"
    assert found == {one.user_message_id: one.text for one in accepted(sent)}


def check_answers(entries: list[AuditEntry], sent: list[Sent], texts: dict[str, str], rows: dict[str, Message]) -> None:
    found = {entry.target_id: entry for entry in entries}
    assert len(found) == len(entries), "an end was written down twice"
    assert {one.reply_id: one.ending for one in accepted(sent)} == {
        reply_id: entry.data["ending"] for reply_id, entry in found.items()
    }
    for one in accepted(sent):
        written = texts[found[one.reply_id].digest]
        assert written == rows[one.reply_id].text
        # Who was sent it by the server that was killed may have seen a quarter of a second more.
        assert written == one.shown, one


def check_refusals(entries: list[AuditEntry], sent: list[Sent]) -> None:
    refused = [one for one in sent if one.kind == "refused"]
    assert {entry.data["rule"] for entry in entries} == {"empty_message"}
    assert len(refused) <= len(entries) <= len(refused) + sum(one.again for one in refused)


def check_stops(entries: list[AuditEntry], sent: list[Sent]) -> None:
    found = Counter(entry.target_id for entry in entries)
    assert not found or max(found.values()) == 1
    stopped = {one.reply_id for one in sent if one.stops and not one.again}
    unsure = {one.reply_id for one in sent if one.stops and one.again}
    assert stopped <= set(found) <= stopped | unsure


def check_attempts(entries: list[AuditEntry], sent: list[Sent], simulator: Simulator) -> None:
    """Compare with what the provider served: a request is known by its prompt, where that is the person's own."""
    served = simulator.served["served"]
    asked = Counter(line["prompt_sha256"] for line in served)
    attempts = Counter(entry.data["reply"] for entry in entries)
    for one in accepted(sent):
        if one.kind in ("plain", "failing") and not one.again:
            assert asked[hashlib.sha256(one.text.encode()).hexdigest()] == attempts[one.reply_id] > 0, one
    interrupted = sum(1 for one in sent if one.again)
    # A process of the killed server may not have come to its request.
    assert len(served) <= len(entries) <= len(served) + interrupted


def check_order(entries: list[AuditEntry]) -> None:
    """Each answer's entries stand in the order in which it happened."""
    stages = {"chat.message.posted": 0, "provider.attempt.ended": 1, "chat.reply.ended": 2}
    by_reply: dict[str, list[int]] = defaultdict(list)
    for entry in entries:
        if entry.action in stages:
            by_reply[entry.data.get("reply", entry.target_id)].append(stages[entry.action])
    assert all(stages == sorted(stages) for stages in by_reply.values())
    assert all(stages[0] == 0 and stages[-1] == 2 and stages.count(2) == 1 for stages in by_reply.values())

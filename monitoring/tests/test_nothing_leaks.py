"""A planted key and planted words, through answers, errors and crashes, are found nowhere that is not their owner's."""

from __future__ import annotations

import asyncio
import json
import signal
from io import BytesIO
from zipfile import ZipFile

import psutil
import pytest
import pytest_asyncio
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse
from websockets.exceptions import ConnectionClosed

from chat import tokens
from chat.database import db
from chat.exports.archive import write_archive
from chat.models import Message, Role
from monitoring.models import Alert, AlertMessage, AuditEntry, HealthCheck, ReplicaState
from providers.models import Attempt
from providers.simulator import Simulator
from sasha.testing import Connection, ServerProcess, make_provider, server_process

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

KEY = "sk-planted-0123456789abcdefghij"
# Another key of the site, which a provider repeats in its errors.
REPEATED = "sk-repeated-0123456789abcdefghij"
WORDS = "planted words of alice"
METRICS = "a token for the metrics"
MODELS = ("sim-n3", "sim-http400-echo", "sim-n400-gap10")


@pytest_asyncio.fixture
async def simulator(transactional_db):
    simulator = Simulator(key=KEY)
    await simulator.start()
    yield simulator
    await simulator.stop()


async def test_planted_words_and_a_planted_key_are_found_nowhere_else(simulator, tmp_path):
    await db(
        make_provider, simulator.url("openai"), *MODELS, kind="openai", key_variable="SIM_API_KEY", forced="closed"
    )
    alice = await db(User.objects.create_user, "alice")
    _token, text = await db(tokens.make, alice, "script")
    log, seen = tmp_path / "log", []
    with log.open("a") as stderr:
        for _ in range(2):
            with server_process(stderr, SIM_API_KEY=KEY, REPEATED_API_KEY=REPEATED, METRICS_TOKEN=METRICS) as server:
                seen += await live_through_crashes(server, text)
    assert not planted_in(log.read_text(), WORDS, KEY, REPEATED)
    assert not planted_in("\n".join(seen), WORDS, KEY, REPEATED)
    ledger = await db(what_providers_said)
    assert "This message is not accepted" in ledger
    assert not planted_in(ledger, KEY, REPEATED)
    assert not planted_in(await db(pages_of_others), WORDS, KEY)
    assert not planted_in(await db(rows_without_texts), WORDS, KEY)
    stored = await db(everything_in_the_database)
    assert not planted_in(stored, KEY)
    # They are where they belong, so that the search above is one.
    assert planted_in(stored, WORDS)


def planted_in(text: str, *planted: str) -> list[str]:
    """Where it stands, for the case that it does."""
    return [text[max(0, at - 200) : at + 100] for word in planted if (at := text.find(word)) >= 0]


async def live_through_crashes(server: ServerProcess, token: str) -> list[str]:
    """Answer, fail, lose a child and then the server to kill -9; return what others could see meanwhile."""
    async with server.connect("planted", Authorization=f"Bearer {token}") as socket:
        assert (await socket.say(WORDS, model="sim:sim-n3"))[-1]["metadata"]["ending"] == "complete"
        failed = await socket.say(f"{WORDS} {REPEATED}", model="sim:sim-http400-echo", onlyModel=True)
        assert failed[-1]["metadata"]["ending"] == "misconfigured"
        assert not planted_in(json.dumps(failed), REPEATED)
        await begin_slowly(socket)
        seen = [command_lines(), await fetch(server, "/metrics"), await fetch(server, "/readyz")]
        server.children()[0].kill()
        assert (await socket.until("complete"))[-1]["metadata"]["ending"] == "crashed"
        await begin_slowly(socket)
        await asyncio.to_thread(server.stop, signal.SIGKILL)
        with pytest.raises(ConnectionClosed):
            await socket.until("complete")
    return seen


async def begin_slowly(socket: Connection) -> None:
    await socket.send(message=WORDS, model="sim:sim-n400-gap10", onlyModel=True)
    await socket.until("chunk")


def command_lines() -> str:
    """What `ps` shows of every process of this machine."""
    return "\n".join(" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))


async def fetch(server: ServerProcess, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {METRICS}", "Connection: close", "", ""]
    writer.write("\r\n".join(lines).encode())
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.split()[1] == "200", answer
    return answer


def pages_of_others() -> str:
    """The pages of another user, and of staff who run the site and may read nobody's words."""
    bob = Client()
    bob.force_login(User.objects.create_user("bob"))
    pages = [bob.get(reverse(name)).text for name in ("chat:new", "chat:conversations", "chat:shares", "chat:account")]
    pages.append(bob.get(reverse("chat:search"), {"q": "planted"}).text)
    with ZipFile(BytesIO(b"".join(write_archive(User.objects.get(username="bob"), "en")))) as archive:
        pages += [archive.read(name).decode() for name in archive.namelist()]
    staff = User.objects.create_user("operator", is_staff=True)
    rights = ["view_provider", "view_model", "view_attempt", "view_budget"]
    operator = allow(staff, *rights)
    names = ["admin:index", "money", "money-csv", "explain", "admin:providers_provider_changelist"]
    for name in names:
        answer = operator.get(reverse(name))
        pages.append(b"".join(answer.streaming_content).decode() if answer.streaming else answer.text)
    # Of what stands in the ledger, a provider may have repeated the words: who may not see that sees none of it.
    watcher = allow(User.objects.create_user("watcher", is_staff=True), "view_replicastate")
    pages += [watcher.get(reverse(name)).text for name in ("monitor", "monitor-processes", "monitor-history")]
    return "\n".join(pages)


def allow(user: User, *codenames: str) -> Client:
    """Return a client of `user`, who may do so much and no more."""
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


def what_providers_said() -> str:
    """What the ledger and the answers keep of a provider's errors."""
    return repr([*Attempt.objects.values(), *Message.objects.filter(role=Role.ASSISTANT).values()])


def rows_without_texts() -> str:
    """What monitoring keeps beside the texts of the audit."""
    kept = [row for model in (ReplicaState, HealthCheck, Alert, AlertMessage) for row in model.objects.values()]
    return repr([*kept, *AuditEntry.objects.values()])


def everything_in_the_database() -> str:
    with connection.cursor() as cursor:
        rows = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608 (its own tables)
            rows += cursor.fetchall()
    return repr(rows)

"""Checks: the list of models over HTTP, the live question through aichat, and the command."""

import json
import threading
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command
from django.utils import timezone

from providers import checkup
from providers.checkup import check, check_live, find_most
from providers.models import Attempt, Breaker, Model, Price, Provider
from sasha.testing import TEST_KEY, free_port, make_provider

pytestmark = pytest.mark.django_db(transaction=True)

check_in_thread, live_in_thread, command_in_thread = map(sync_to_async, (check, check_live, call_command))
make_in_thread = sync_to_async(make_provider)


@pytest.fixture(autouse=True)
def keys(settings):
    settings.PROVIDER_KEYS = {"SIM_API_KEY": TEST_KEY, "WRONG_API_KEY": "sk-wrong-0123456789abcdef"}


class Answers(BaseHTTPRequestHandler):
    """Answers every GET with what the server was given: a status, headers and a body; and notes the request."""

    def do_GET(self):
        status, headers, body = self.server.answer
        self.server.asked.append((self.path, dict(self.headers)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for piece in body:
                self.wfile.write(piece)
        except ConnectionError:
            pass

    def log_message(self, *args):
        pass


@contextmanager
def server(*body, status=200, **headers):
    """An HTTP server on loopback whose every answer is this one."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    httpd.answer, httpd.asked = (status, headers, body[0] if body and not isinstance(body[0], bytes) else body), []
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield httpd
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def make(httpd, *models, **overrides):
    values = {"key_variable": "SIM_API_KEY"} | overrides
    return make_provider(f"http://127.0.0.1:{httpd.server_port}/v1", *models, **values)


def stored(provider):
    """What the row says of the last check."""
    row = Provider.objects.get(pk=provider.pk)
    return row.check_ok, row.check_result


@pytest.mark.parametrize("kind", ["openai", "openai-compatible", "claude", "gemini", "azure-openai", "cohere"])
async def test_each_kind_lists_its_models(simulator, kind):
    simulator.key = TEST_KEY
    provider = await make_in_thread(simulator.url(kind), "sim", kind=kind, key_variable="SIM_API_KEY")
    result = await check_in_thread(provider)
    assert (result.ok, result.sentence) == (True, "It lists 3 models.")
    assert result.models == ("sim", "sim-n100-gap20", "sim-echo")
    assert await sync_to_async(stored)(provider) == (True, result.sentence)


@pytest.mark.parametrize("kind", ["openai", "claude", "gemini", "azure-openai", "cohere"])
async def test_a_wrong_key_is_named_and_not_shown(simulator, kind):
    simulator.key = TEST_KEY
    provider = await make_in_thread(simulator.url(kind), kind=kind, key_variable="WRONG_API_KEY")
    result = await check_in_thread(provider)
    assert result.ok is False
    assert result.sentence.startswith("The provider does not accept this site's key (HTTP 40")
    assert "wrong" not in result.sentence
    assert simulator.served["requests"] == 0


HEADERS = {
    "openai": ("Authorization", f"Bearer {TEST_KEY}"),
    "claude": ("X-Api-Key", TEST_KEY),
    "gemini": ("X-Goog-Api-Key", TEST_KEY),
    "azure-openai": ("Api-Key", TEST_KEY),
    "cohere": ("Authorization", f"Bearer {TEST_KEY}"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_the_key_travels_in_a_header_and_never_in_the_address(kind):
    with server(b"{}") as httpd:
        check(make(httpd, kind=kind))
    [(path, headers)] = httpd.asked
    name, value = HEADERS[kind]
    assert {key.title(): value for key, value in headers.items()}[name] == value
    assert TEST_KEY not in path


def test_an_organization_is_sent_along():
    with server(b"{}") as httpd:
        check(make(httpd, kind="openai", options={"organization_id": "org-1"}))
    assert {name.lower(): value for name, value in httpd.asked[0][1].items()}["openai-organization"] == "org-1"


def test_a_local_server_needs_no_key():
    with server(b'{"data": [{"id": "a"}]}') as httpd:
        assert check(make(httpd, key_variable="")).sentence == "It lists 1 model."
    assert "Authorization" not in httpd.asked[0][1]


def test_models_that_are_not_in_the_list_are_named():
    with server(b'{"data": [{"id": "a:latest"}, {"id": "b"}]}') as httpd:
        provider = make(httpd, "a", "b:latest", "c", "d")
        Model.objects.filter(name="d").update(enabled=False)
        assert check(provider).sentence == "It lists 2 models. Not among them: c."


BAD_LISTS = {
    "a page": b"<html>",
    "nothing": b"",
    "another shape": b'{"data": 1}',
    "no names": b'{"data": [{}]}',
    "a list": b"[]",
    "a deep one": b"[" * 100_000,
    "no text": b"\xff\xfe\xfa",
}


@pytest.mark.parametrize("body", BAD_LISTS.values(), ids=BAD_LISTS)
def test_what_is_no_list_is_said_to_be_none(body):
    with server(body) as httpd:
        result = check(make(httpd))
    assert (result.ok, result.sentence.split(".")[0]) == (False, "What answers at this address does not list models")


def test_a_redirect_is_not_followed_and_gets_no_key():
    with (
        server(b'{"data": []}') as other,
        server(status=302, Location=f"http://127.0.0.1:{other.server_port}/v1/models") as httpd,
    ):
        result = check(make(httpd))
    assert result.ok is False
    assert "redirect (HTTP 302)" in result.sentence
    assert other.asked == []


def test_an_endless_list_is_given_up():
    def endless():
        while True:
            yield b"[" * 65_536

    with server(endless()) as httpd:
        assert "more than any list of models" in check(make(httpd)).sentence


def test_a_list_that_drips_is_given_up(monkeypatch):
    monkeypatch.setattr(checkup, "TIMEOUT_SECONDS", 0.2)
    over = threading.Event()

    def drips():
        while not over.wait(0.01):
            yield b" "

    with server(drips()) as httpd:
        result = check(make(httpd))
        over.set()
    assert (result.ok, result.sentence) == (
        False,
        "The provider cannot be reached: the list of its models takes too long.",
    )


def test_a_silent_provider_costs_seconds(monkeypatch):
    monkeypatch.setattr(checkup, "TIMEOUT_SECONDS", 0.2)
    over = threading.Event()

    def silent():
        over.wait(20)
        yield b""

    with server(silent()) as httpd:
        result = check(make(httpd))
        over.set()
    assert (result.ok, result.sentence) == (False, "The provider cannot be reached: timed out.")


def test_nobody_there_is_a_plain_sentence():
    provider = make_provider(f"http://127.0.0.1:{free_port()}/v1", key_variable="SIM_API_KEY")
    result = check(provider)
    assert (result.ok, result.sentence) == (False, "The provider cannot be reached: Connection refused.")
    assert stored(provider) == (False, result.sentence)


def test_the_providers_own_words_are_kept_without_keys():
    body = json.dumps({"error": {"message": f"Sorry\n{TEST_KEY} {'x' * 900}", "type": "server_error"}}).encode()
    with server(body, status=500) as httpd:
        result = check(make(httpd))
    assert result.sentence.startswith("The provider reported an error of its own (HTTP 500). It says: Sorry [key")
    assert TEST_KEY not in result.sentence
    assert result.sentence.endswith("xxx…")
    assert len(result.sentence) <= 300


def test_a_wrong_path_is_blamed_on_the_address():
    with server(b'{"detail": "Not Found"}', status=404) as httpd:
        assert check(make(httpd)).sentence == "It does not list its models (HTTP 404). Is the address right?"


def test_loopback_is_not_asked_through_a_proxy(monkeypatch, settings):
    settings.EGRESS_PROXY = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with server(b'{"data": []}') as httpd:
        assert check(make(httpd)).ok is True


def test_an_address_is_checked_again_before_its_use():
    # Stored before anybody checked it, or by somebody who never does.
    result = check(make_provider("http://169.254.169.254/latest", key_variable="SIM_API_KEY"))
    assert result.ok is False
    assert "169.254.169.254" in result.sentence


def test_a_key_that_no_header_carries_is_not_shown(settings):
    settings.PROVIDER_KEYS["ODD_API_KEY"] = "odd\r\nkey-0123456789"
    with server(b"{}") as httpd:
        result = check(make(httpd, key_variable="ODD_API_KEY"))
    assert (result.ok, result.sentence) == (False, "The key has a character that no request can carry.")


NOT_SET_UP = {
    "no key": ({"kind": "openai"}, "It has no key yet."),
    "a variable that is not set": ({"key_variable": "NONE_API_KEY"}, "It has no key yet."),
    "no address": ({"api_base": ""}, "It has no address yet."),
    "no list": (
        {"kind": "bedrock", "api_base": "", "key_variable": "SIM_API_KEY"},
        "Amazon Bedrock does not list its models for a key alone: only a live check can tell.",
    ),
}


@pytest.mark.parametrize(("values", "sentence"), NOT_SET_UP.values(), ids=NOT_SET_UP)
def test_what_cannot_be_checked_has_not_failed(values, sentence):
    provider = make_provider(**{"api_base": "http://127.0.0.1:1/v1"} | values)
    assert check(provider) == checkup.CheckResult(None, sentence)
    assert stored(provider) == (None, sentence)


# --- One small question -----------------------------------------------------------------------------------------------


def make_priced(simulator, model="sim-n2", **overrides):
    """A model at the simulator, at 1 USD per million tokens of input and 2 of output."""
    values = {"kind": "openai", "key_variable": "SIM_API_KEY"} | overrides
    provider = make_provider(simulator.url(values["kind"]), model, **values)
    found = Model.objects.select_related("provider").get(provider=provider)
    Price.objects.create(model=found, input=1, output=2, valid_from=timezone.now() - timedelta(days=1))
    return found


async def test_a_live_check_is_a_small_attempt_in_the_ledger(simulator):
    model = await sync_to_async(make_priced)(simulator)
    result = await live_in_thread(model)
    assert (result.ok, result.ending, result.sentence) == (True, "complete", "The answer is whole (finish reason).")
    # "Say OK" is two tokens to the simulator.
    assert (result.usage.input, result.usage.output) == (2, 2)
    assert result.cost_usd == Decimal("0.000006")
    attempt = await Attempt.objects.aget()
    assert (attempt.username, attempt.reason, attempt.cost_usd) == ("check", "live check", result.cost_usd)
    assert attempt.ended_at
    assert simulator.last["body"]["max_completion_tokens"] == 16


async def test_an_answer_that_reached_the_limit_is_an_answer(simulator):
    model = await sync_to_async(make_priced)(simulator, "sim-n2-at0-length")
    result = await live_in_thread(model)
    assert (result.ok, result.ending) == (True, "length")


async def test_a_live_check_that_fails_says_why_and_moves_the_breaker(simulator):
    model = await sync_to_async(make_priced)(simulator, "sim-http401")
    result = await live_in_thread(model)
    assert (result.ok, result.ending) == (False, "unauthorised")
    assert "It says: Incorrect API key" in result.sentence
    assert result.cost_usd == 0
    assert (await Provider.objects.aget()).breaker == Breaker.OPEN


async def test_what_is_switched_off_is_not_asked(simulator):
    model = await sync_to_async(make_priced)(simulator, enabled=False)
    result = await live_in_thread(model)
    assert (result.ok, result.ending, result.usage) == (None, "not_started", None)
    assert result.sentence == "sim:sim-n2 cannot be asked: Sim is switched off."
    assert simulator.served["requests"] == 0
    assert not await Attempt.objects.aexists()


async def test_a_live_check_that_is_broken_off_closes_its_attempt(simulator, monkeypatch):
    model = await sync_to_async(make_priced)(simulator)

    def interrupted(coroutine):
        coroutine.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(checkup.asyncio, "run", interrupted)

    def broken_off():
        with pytest.raises(KeyboardInterrupt):
            check_live(model)

    await sync_to_async(broken_off)()
    assert (await Attempt.objects.aget()).ending == "interrupted"


async def test_the_most_that_it_may_cost_is_never_less_than_it_does(simulator):
    model = await sync_to_async(make_priced)(simulator, "sim-n16")
    most, unknown = await sync_to_async(find_most)([model])
    result = await live_in_thread(model)
    assert unknown == []
    assert result.cost_usd < most < Decimal("0.001")


# --- The command ------------------------------------------------------------------------------------------------------


async def run(*args):
    """Run the command; return what it printed and its exit code."""
    out, code = StringIO(), 0
    try:
        await command_in_thread("check_providers", *args, stdout=out)
    except SystemExit as end:
        code = end.code
    return out.getvalue(), code


async def test_the_command_lists_every_enabled_provider_and_its_state(simulator):
    await make_in_thread(simulator.url("openai"), "sim", slug="one", key_variable="SIM_API_KEY")
    await make_in_thread("", "sim", slug="two", kind="openai")
    await make_in_thread(simulator.url("openai"), "sim", slug="off", enabled=False)
    printed, code = await run()
    assert code == 0
    first, second = printed.splitlines()
    assert first.startswith("one ")
    assert " ok " in first
    assert first.endswith(" Asked as usual. It lists 3 models.")
    assert second.endswith("It has no key yet.")


async def test_the_command_fails_where_a_check_does(simulator):
    await make_in_thread(f"http://127.0.0.1:{free_port()}", slug="gone")
    await make_in_thread(simulator.url("openai"), slug="here")
    assert (await run())[1] == 1
    assert (await run("here"))[1] == 0


async def test_the_command_knows_who_is_meant(simulator):
    with pytest.raises(CommandError, match=r"There is no provider nobody\."):
        await run("nobody")


async def test_the_command_tells_what_a_live_check_may_cost_and_did(simulator):
    await sync_to_async(make_priced)(simulator)
    await make_in_thread(simulator.url("openai"), "sim-http500", slug="b")
    await make_in_thread("", "sim", slug="c", kind="openai")
    printed, code = await run("--live")
    lines = printed.splitlines()
    before = next(number for number, line in enumerate(lines) if "may cost up to 0.000" in line)
    asked = next(number for number, line in enumerate(lines) if line.startswith("sim:sim-n2"))
    assert before < asked
    assert "what is unknown for b:sim-http500, c:sim" in lines[before]
    assert " ok  0.000006 USD. The answer is whole" in lines[asked]
    assert "NO  0 USD. The provider reported an error of its own (HTTP 500)." in printed
    assert "c:sim cannot be asked: C has no key." in printed
    assert lines[-1] == "It cost 0.000006 USD."
    assert code == 1


async def test_the_command_speaks_json(simulator):
    await sync_to_async(make_priced)(simulator)
    printed, code = await run("--live", "--json")
    report = json.loads(printed)
    assert (code, report["ok"], report["cost_usd"]) == (0, True, "0.000006")
    [row] = report["providers"]
    assert (row["provider"], row["ok"], row["models"]) == ("sim", True, 3)
    assert (row["live"]["model"], row["live"]["ending"], row["live"]["usage"]["output"]) == ("sim-n2", "complete", 2)

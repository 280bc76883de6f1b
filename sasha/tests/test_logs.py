from __future__ import annotations

import io
import json
import logging
import subprocess
import sys

import pytest
import structlog
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from structlog.contextvars import bound_contextvars

from chat.models import Conversation
from sasha import logs

FORGED = '{"level": "info", "event": "all is well"}'
# Line ends of every kind, ESC, a bell, marks that turn or hide text, half a character.
SIGNS = {
    "newline": "\n",
    "return": "\r",
    "vertical tab": "\x0b",
    "next line": "\x85",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "escape": "\x1b[2K\x1b[1A",
    "control sequence": "\x9b2J",
    "bell": "\a",
    "null": "\0",
    "right to left": "\u202e",
    "isolate": "\u2067",
    "zero width": "\u200b",
    "byte order": "\ufeff",
    "tag": "\U000e0041",
    "surrogate": "\udcff",
}
KEY = "from-outside-1234"


class Log:
    """What a logger wrote through the site's formatter."""

    def __init__(self, as_json: bool) -> None:
        self.written = io.StringIO()
        handler = logging.StreamHandler(self.written)
        handler.setFormatter(logs.LineFormatter(as_json=as_json))
        self.standard = logging.Logger("test")
        self.standard.addHandler(handler)
        processors = [structlog.stdlib.ProcessorFormatter.wrap_for_formatter]
        self.structured = structlog.wrap_logger(self.standard, processors, structlog.stdlib.BoundLogger)

    def lines(self) -> list[str]:
        text = self.written.getvalue()
        assert text.endswith("\n")
        return text[:-1].split("\n")

    def event(self) -> dict[str, object]:
        (line,) = self.lines()
        return json.loads(line)


@pytest.fixture
def log():
    return Log(as_json=True)


@pytest.fixture
def terminal():
    return Log(as_json=False)


@pytest.fixture(autouse=True)
def known_key(settings):
    settings.PROVIDER_KEYS = {"THERE_API_KEY": KEY}


def log_everywhere(logger, text: str) -> None:
    """Log an event with `text` in each of its parts: message, names, values, what is bound, what was raised."""
    try:
        try:
            raise KeyError(text)
        except KeyError as error:
            raise ValueError(text) from error
    except ValueError:
        with bound_contextvars(bound=text, **{text: 1}):
            logger.structured.exception(text, value=text, list=[text], **{f"name {text}": text})


@pytest.mark.parametrize("sign", SIGNS.values(), ids=SIGNS)
def test_nothing_in_an_event_forges_a_line_of_json(log, sign):
    text = f"before{sign}{FORGED}"
    log_everywhere(log, text)
    event = log.event()
    assert log.written.getvalue().isascii()
    assert (event["event"], event["value"], event["bound"], event[f"name {text}"]) == (text, text, text, text)
    assert event["exception"].count(text) == 1  # KeyError says it by repr
    assert (event["level"], event["logger"]) == ("error", "test")


@pytest.mark.parametrize("sign", SIGNS.values(), ids=SIGNS)
def test_nothing_in_an_event_forges_a_line_in_a_terminal(terminal, sign):
    log_everywhere(terminal, f"before{sign}{FORGED}")
    first, *rest = terminal.lines()
    assert all(line.isprintable() for line in [first, *rest])
    assert " ERROR test [" in first
    assert rest
    assert all(line.startswith("  | ") for line in rest)


def test_nothing_in_an_event_forges_a_field_in_a_terminal(terminal):
    terminal.structured.warning("done] user=1", user='7 request_id="x"', **{"a b=": "]"})
    (line,) = terminal.lines()
    assert line.split(" ", 1)[1] == (r'WARNING test [user="7 request_id=\"x\"" "a b="="]"] done] user=1')


def test_a_line_of_json_begins_with_time_level_logger_and_event(log):
    with bound_contextvars(request_id="r1"):
        log.structured.info("it happened", number=3, part=0.5, nothing=None, yes=True)
    event = log.event()
    assert list(event)[:4] == ["timestamp", "level", "logger", "event"]
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "level": "info",
        "logger": "test",
        "event": "it happened",
        "number": 3,
        "part": 0.5,
        "nothing": None,
        "yes": True,
        "request_id": "r1",
    }


def test_the_standard_library_s_loggers_carry_what_is_bound(log):
    with bound_contextvars(request_id="r1"):
        log.standard.warning("%s of %d", "one", 2)
    assert (log.event()["event"], log.event()["request_id"], log.event()["level"]) == ("one of 2", "r1", "warning")


def test_no_key_is_in_any_part_of_a_line(log, terminal):
    for each in (log, terminal):
        log_everywhere(each, f"a {KEY} z")
        assert KEY not in each.written.getvalue()
        assert "[key]" in each.written.getvalue()


def test_a_key_in_a_logged_message_traceback_or_stack_is_taken_out(log):
    try:
        raise ValueError(KEY)
    except ValueError:
        log.standard.exception("asked %s", {"key": KEY}, stack_info=True)  # sk-0123456789abcdef
    assert log.event()["event"] == "asked {'key': '[key]'}"
    assert log.event()["exception"].endswith("ValueError: [key]")
    assert "stack_info=True)  # [key]" in log.event()["stack_info"]


def test_a_call_with_the_wrong_arguments_is_logged_without_them(log):
    log.standard.warning("only %s", "one", KEY)
    assert log.event()["event"] == "only %s"


def test_what_a_database_quotes_of_a_row_is_left_out(log):
    words = "null value in column\nDETAIL:  Failing row contains (7, my secret\nquestion).\n"
    try:
        raise IntegrityError(words) from RuntimeError("the first\nof all")
    except IntegrityError:
        log.standard.exception("not stored")
    exception = log.event()["exception"]
    assert exception.endswith("IntegrityError: null value in column")
    assert "the first\nof all" in exception
    assert "secret" not in exception


@pytest.mark.django_db
def test_what_a_real_database_quotes_of_a_row_is_left_out(log):
    owner = User.objects.create(username="alice")
    try:
        with transaction.atomic():
            Conversation.objects.create(owner=owner, name="a", title="my secret question", pinned=None)
    except IntegrityError:
        log.standard.exception("not stored")
    assert "IntegrityError" in log.event()["exception"]
    assert "secret" not in log.event()["exception"].replace('title="my secret question"', "")


def test_the_query_of_an_address_is_left_out_of_daphne_s_complaints():
    args = ("<WebRequest method=GET uri=/search?q=my+words clientproto=HTTP/1.1>",)
    record = logging.LogRecord("daphne.server", logging.WARNING, "", 0, "%s took too long", args, None)
    logs.QueryFilter().filter(record)
    assert record.getMessage() == "<WebRequest method=GET uri=/search?… clientproto=HTTP/1.1> took too long"


LOGS_OF_ALL_KINDS = """
import asyncio, gc, logging, threading, warnings
import django
django.setup()
from chat.models import Conversation
from sasha import logs
logs.capture_the_rest()
logging.getLogger("anything").warning("the key is from-outside-1234")
logging.getLogger("django.request").error("so is from-outside-1234")
logging.getLogger("chat").debug("hidden")
logging.getLogger("chat").warning("wrong %s", 1, 2)
warnings.warn("a warning\\nof two lines")
def fail():
    raise ValueError("from-outside-1234\\nand more")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
async def forget():
    asyncio.ensure_future(asyncio.to_thread(fail))
    await asyncio.sleep(0.2)
asyncio.run(forget())
gc.collect()
fail()
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=django_settings.BASE_DIR,
        env={
            "PATH": "/usr/bin:/bin",
            "DJANGO_SETTINGS_MODULE": "sasha.settings",
            "SASHA_MODE": "local",
            "DATA_DIR": str(django_settings.DATA_DIR),
            "X_API_KEY": KEY,
        }
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_whatever_a_process_says_is_json(tmp_path):
    said = run(LOGS_OF_ALL_KINDS).stderr
    events = [json.loads(line) for line in said.splitlines()]
    assert [event["logger"] for event in events] == [
        "anything",
        "django.request",
        "chat",
        "py.warnings",
        "sasha.uncaught",
        "asyncio",
        "sasha.uncaught",
    ]
    assert events[0]["event"] == "the key is [key]"
    assert KEY not in said.replace('ValueError("from-outside-1234', "")
    assert events[-1]["exception"].endswith("ValueError: [key]\nand more")


def test_the_level_and_the_format_are_settings():
    code = 'import logging, django; django.setup(); log = logging.getLogger("chat"); log.debug("d"); log.warning("w")'
    assert [json.loads(line)["event"] for line in run(code, LOG_LEVEL="debug").stderr.splitlines()] == ["d", "w"]
    assert run(code, LOG_LEVEL="error").stderr == ""
    assert run(code, LOG_FORMAT="text").stderr.split(" ", 1)[1] == "WARNING chat w\n"
    assert "LOG_FORMAT is 'xml'" in run(code, LOG_FORMAT="xml").stderr

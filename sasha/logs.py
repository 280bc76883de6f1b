"""What a line of the log looks like: one event, which nothing in it can forge or hide, and without any key."""

from __future__ import annotations

import json
import logging
import logging.config
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import structlog
from django.db import Error
from structlog.processors import ExceptionRenderer, TimeStamper
from structlog.stdlib import ProcessorFormatter, add_log_level, add_logger_name
from structlog.typing import EventDict, ExcInfo

from providers.secrets import redact_event

# What comes first in a line, in this order.
HEAD = ("timestamp", "level", "logger", "event")
# What comes last, where there is any, and has lines of its own in a terminal.
STACKS = ("stack_info", "exception")
BEFORE_STACK = "  | "
# What needs no quotes in a terminal.
PLAIN = re.compile(r"[A-Za-z0-9_.:/@+-]+")


def configure(settings: dict[str, Any]) -> None:
    """Set logging up as Django's LOGGING says: the standard library's, structlog's and the warnings."""
    logging.config.dictConfig(settings)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def capture_the_rest() -> None:
    """Log what Python would write on stderr by itself: what nobody catches, in whatever thread."""
    logger = logging.getLogger("sasha.uncaught")
    # A call that cannot be logged would be told in plain text, with what was to be logged.
    logging.raiseExceptions = False
    sys.excepthook = lambda *error: logger.critical("the process ends", exc_info=error)
    sys.unraisablehook = lambda seen: logger.error("nobody could catch this", exc_info=seen.exc_value)
    threading.excepthook = lambda seen: logger.error("a thread ended", exc_info=seen.exc_value)


class LineFormatter(ProcessorFormatter):
    """Makes the line of a record, whether the standard library's or structlog's."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__(
            processors=[
                structlog.contextvars.merge_contextvars,
                add_log_level,
                add_logger_name,
                TimeStamper(fmt="iso", utc=True),
                ExceptionRenderer(format_exception),
                ProcessorFormatter.remove_processors_meta,
                redact_event,
                render_json if as_json else render_text,
            ]
        )

    def format(self, record: logging.LogRecord) -> str:
        try:
            return super().format(record)
        except Exception:
            # The call had the wrong arguments: an error here would hide what it wanted to say.
            record = logging.makeLogRecord(record.__dict__ | {"args": ()})
            return super().format(record)


class QueryFilter(logging.Filter):
    """Takes the queries of addresses out of Daphne's complaints: what somebody searches for is nobody's business."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = re.sub(r"\?[^\s'>]+", "?…", record.getMessage()), ()
        return True


class RouteFilter(logging.Filter):
    """Names the page in place of its address in Django's complaints: that of a shared conversation opens it."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = getattr(record, "request", None)
        match = getattr(request, "resolver_match", None)
        if match and request and isinstance(record.args, tuple):
            record.args = tuple(match.view_name if arg == request.path else arg for arg in record.args)
        return True


def format_exception(exc_info: ExcInfo) -> str:
    """Return the traceback; of what a database says the first line alone, since PostgreSQL goes on to quote the row."""
    text = "".join(traceback.format_exception(*exc_info))
    for error in _chain(exc_info[1]):
        said = str(error)
        if "\n" in said and _is_databases(error):
            text = text.replace(said, said.partition("\n")[0])
    return text.rstrip()


def _is_databases(error: BaseException) -> bool:
    return isinstance(error, Error) or any(base.__module__.startswith("psycopg") for base in type(error).__mro__)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and whatever led to it, each once."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        waiting += [error.__cause__, error.__context__, *getattr(error, "exceptions", ())]


def render_json(_: Any, __: str, event: EventDict) -> str:
    """Return one line of JSON, in ASCII: whatever could end a line or turn it round is escaped."""
    return json.dumps({name: event.pop(name) for name in HEAD} | dict(event))


def render_text(_: Any, __: str, event: EventDict) -> str:
    """Return a line for a terminal: time, level, logger, [fields], event; lines of a traceback begin with a bar."""
    time, level, logger, said = (visible(str(event.pop(name))) for name in HEAD)
    stacks = [line for name in STACKS for line in str(event.pop(name, "")).splitlines()]
    fields = " ".join(f"{_quoted(name)}={_quoted(value)}" for name, value in event.items())
    first = " ".join(filter(None, (time, level.upper(), logger, f"[{fields}]" if fields else "", said)))
    return "\n".join([first, *(BEFORE_STACK + visible(line) for line in stacks)])


def _quoted(value: object) -> str:
    text = str(value)
    return text if PLAIN.fullmatch(text) else json.dumps(text)


def visible(text: str) -> str:
    """Return `text` with an escape in place of whatever does not show: line ends, ESC, marks that turn the text."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)

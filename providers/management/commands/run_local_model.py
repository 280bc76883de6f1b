"""Serve the local model until a signal comes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection

from providers.local_model import LocalModel, LocalModelError, find_model, record_provider, start_server


class Command(BaseCommand):
    help = "Serves a small language model on 127.0.0.1, makes it the last of the providers, and runs until stopped."
    # It needs two tables, and nothing of the site that the checks look at.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=0, help="0, the default, is a free one.")
        parser.add_argument("--model", default="", metavar="PATH", help="A GGUF file. Default: LOCAL_MODEL_PATH.")

    def handle(self, *, port: int, model: str, verbosity: int, **options: Any) -> None:
        try:
            found = find_model(model)
            # While it loads, llama.cpp holds the GIL and no handler would run; the default action needs none.
            _on_signals(signal.SIG_DFL)
            server = start_server(found, port=port, verbose=verbosity > 1)
        except LocalModelError as error:
            raise CommandError(str(error)) from None
        _record(found, server.address)
        # Not sys.exit, which waits for llama.cpp's threads; they have nothing to save.
        _on_signals(lambda *_: os._exit(0))
        self.stdout.write(f"Local model {found.name} listening on {server.address}/v1")
        self.stdout.flush()
        while True:
            signal.pause()


def _record(model: LocalModel, address: str) -> None:
    try:
        record_provider(model, address)
    except DatabaseError as error:
        raise CommandError(f"The database is not ready ({error}): manage.py migrate") from None
    finally:
        connection.close()


def _on_signals(action: signal.Handlers | Callable[..., None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as in a shell's background
            signal.signal(number, action)

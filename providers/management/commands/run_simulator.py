"""The command that runs the simulator until it is told to end."""

from __future__ import annotations

import asyncio
import os
import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from providers.simulator import Simulator


class Command(BaseCommand):
    """Print one line with the address once it listens; end cleanly on SIGTERM and SIGINT."""

    help = (
        "Run a provider on loopback whose models answer, stall, break and refuse as their names say: sim-n100-gap20, "
        "sim-n40-at10-cut, sim-http429; providers/simulator/script.py has all the words."
    )
    # It needs neither database nor aichat, so nothing of theirs may keep it from starting.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="A loopback address.")
        parser.add_argument("--port", type=int, default=0, help="0 takes a free one.")

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(self._run(options["host"], options["port"]))

    async def _run(self, host: str, port: int) -> None:
        told_to_end = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
        simulator = Simulator()
        try:
            await simulator.start(host, port)
        except OSError as error:
            # asyncio's own text repeats the address as a Python tuple.
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise CommandError(f"The simulator cannot listen on port {port} of {host}: {reason}.") from error
        except (ValueError, OverflowError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Simulator listening on {simulator.address}")
        self.stdout.flush()
        try:
            await told_to_end.wait()
        finally:
            await simulator.stop()

"""Who asks what, and when: the same drive for the site and for bare aichat, so that their figures can be compared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Protocol

from monitoring.load.figures import Reading
from providers.simulator import UnknownModelError, answer, parse_model

# Handshakes at a time: the connections are made before anything is measured.
OPENING = 50


@dataclass(frozen=True)
class Workload:
    """A bounded load: every message has its time limit, in seconds.

    `pace` is the seconds between an answer and the next message; at once, every round of messages begins together.
    """

    model: str
    connections: int
    messages: int
    pace: float = 1.0
    at_once: bool = False
    timeout: float = 60.0

    @property
    def total(self) -> int:
        return self.connections * self.messages


class Failed(Exception):
    """An answer did not come as it should; `kind` is what errors are counted by."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Line(Protocol):
    """One user's connection to whoever answers."""

    async def ask(self, reading: Reading) -> None:
        """Send the reading's prompt and fill in the rest. Raises Failed."""


OpenLine = Callable[[int], AbstractAsyncContextManager[Line]]


@dataclass
class Progress:
    """How far a run is; `changed` is called on every step."""

    changed: Callable[[Progress], None]
    total: int = 0
    running: int = 0
    ended: int = 0
    failed: int = 0
    readings: list[Reading] = field(default_factory=list)

    def began(self) -> None:
        self.running += 1
        self.changed(self)

    def took(self, reading: Reading) -> None:
        self.running -= 1
        self.ended += 1
        self.failed += bool(reading.error)
        self.readings.append(reading)
        self.changed(self)


async def drive(workload: Workload, name: str, open_line: OpenLine, progress: Progress) -> list[Reading]:
    """Open every line, ask every message, and return what came of each; failures are in the readings.

    `name` goes into the prompts, which are all different: an answer given to somebody else would be seen.
    """
    progress.total = workload.total
    async with AsyncExitStack() as stack:
        users = [User(workload, f"{name}, user {number}", progress) for number in range(workload.connections)]
        gate = asyncio.Semaphore(OPENING)
        await asyncio.gather(*(user.open(stack, gate, open_line(number)) for number, user in enumerate(users)))
        if workload.at_once:
            for number in range(workload.messages):
                due_at = asyncio.get_running_loop().time()
                await asyncio.gather(*(user.ask(number, due_at) for user in users))
        else:
            await asyncio.gather(*(user.converse() for user in users))
    return progress.readings


class User:
    """One of many who chat at the same time."""

    def __init__(self, workload: Workload, name: str, progress: Progress) -> None:
        self._workload = workload
        self._name = name
        self._progress = progress
        self._line: Line | None = None
        self._refused = ""

    async def open(
        self, stack: AsyncExitStack, gate: asyncio.Semaphore, line: AbstractAsyncContextManager[Line]
    ) -> None:
        """Connect; a refusal is counted with every message that cannot be sent."""
        async with gate:
            try:
                async with asyncio.timeout(self._workload.timeout):
                    self._line = await stack.enter_async_context(line)
            except (OSError, TimeoutError, Failed) as error:
                self._refused = kind_of(error)

    async def converse(self) -> None:
        """Send message after message, each `pace` seconds after the answer before it."""
        for number in range(self._workload.messages):
            if number:
                await asyncio.sleep(self._workload.pace)
            await self.ask(number)

    async def ask(self, number: int, due_at: float | None = None) -> None:
        """Send one message and count what comes of it."""
        prompt = f"Load test {self._name}, message {number}"
        self._progress.began()
        loop = asyncio.get_running_loop()
        reading = Reading(prompt, loop.time(), due_at, error=self._refused)
        if self._line:
            try:
                async with asyncio.timeout(self._workload.timeout):
                    await self._line.ask(reading)
                reading.error = judge(reading, self._workload.model)
            except (OSError, TimeoutError, Failed) as error:
                reading.error = kind_of(error)
        reading.ended_at = loop.time()
        self._progress.took(reading)


def kind_of(error: Exception) -> str:
    """Return the word that an error is counted by."""
    if isinstance(error, Failed):
        return error.kind
    return "timeout" if isinstance(error, TimeoutError) else type(error).__name__


def judge(reading: Reading, model: str) -> str:
    """Return what is wrong with an ended answer, or "". What a simulated model should say is known, word for word."""
    if reading.ending != "complete":
        return f"ended {reading.ending}"
    try:
        spec = parse_model(model.partition(":")[2])
    except UnknownModelError:
        return "" if reading.text else "empty"
    expected = answer(spec, reading.prompt)
    reading.tokens = len(expected.reasoning) + len(expected.tokens)
    return "" if reading.text == expected.text else "wrong text"

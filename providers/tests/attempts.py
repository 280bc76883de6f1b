"""One attempt as the tests of `providers.aichat` make it: a request, its events, its verdict."""

import asyncio
import os
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

import psutil

from providers import aichat
from providers.aichat import Clocks, Finished, Request, RequestSent, Stop
from providers.config import Target
from providers.endings import decide
from providers.output import Reasoning, Text
from sasha.testing import TEST_KEY

# Long enough that only a failing test waits them out.
PATIENT = Clocks(first_token=20, idle=20, total=30)
# One kind for each of the three protocols.
KINDS = ("openai", "claude", "gemini")
# The most that the first event of a stream can hold: one read of its pipe, and a newline held back.
READ = 2**16 + 1


@dataclass(frozen=True)
class Attempt:
    """What came out of one process."""

    events: tuple[aichat.Event, ...]
    seconds: float

    @property
    def text(self):
        return "".join(event.text for event in self.events if isinstance(event, Text))

    @property
    def reasoning(self):
        return "".join(event.text for event in self.events if isinstance(event, Reasoning))

    @property
    def finished(self):
        assert [event for event in self.events if isinstance(event, Finished)] == [self.events[-1]]
        return self.events[-1]

    @property
    def verdict(self):
        return decide(self.finished.evidence)

    @property
    def ending(self):
        return self.verdict.ending


def request(api_base, model, kind="openai-compatible", **overrides):
    """A request to `model` at `api_base`, with patience and a key."""
    target = Target(kind, api_base, model)
    return Request(**({"target": target, "prompt": "hello", "clocks": PATIENT, "key": TEST_KEY} | overrides))


async def attempt(asked, stop=None, *, stop_at=None, reason="stopped"):
    """Run one process to its end; `stop_at` asks for that end at the first event of a type."""
    stop, events = stop or Stop(), []
    began = asyncio.get_running_loop().time()
    async with aclosing(aichat.stream(asked, stop)) as stream:
        async for event in stream:
            events.append(event)
            if stop_at and isinstance(event, stop_at):
                stop.request(reason)
    return Attempt(tuple(events), asyncio.get_running_loop().time() - began)


@asynccontextmanager
async def begun(asked, at=RequestSent, stop=None):
    """Yield a stream that has just yielded its first event of type `at`; it is left, not ended, afterwards."""
    async with aclosing(aichat.stream(asked, stop or Stop())) as stream:
        async for event in stream:
            if isinstance(event, at):
                break
        yield stream


def only_child():
    """The one child that this process has."""
    (child,) = psutil.Process().children()
    return child


def clocks(**overrides):
    """Patience, but for the limits named."""
    return replace(PATIENT, **overrides)


def descriptors():
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


async def rest(stream):
    """What is left of a stream."""
    return [event async for event in stream]


async def stands_still(child):
    """Wait until `child` has written nothing for a tenth of a second; return how much it has written in all."""
    written = -1
    while written != (written := child.io_counters().write_chars):
        await asyncio.sleep(0.1)
    return written

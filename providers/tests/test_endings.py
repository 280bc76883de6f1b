"""The table of endings: a row for each piece of evidence that can decide, and one for each rule of precedence."""

import re

import pytest
from django.conf import settings

from providers.endings import SENTENCES, Clock, Ending, Evidence, Finish, Verdict, classify_status, decide

# What aichat 0.30.0 writes.
HEAD = "Error: Failed to call chat-completions api\n\nCaused by:\n    "
UNREACHABLE = HEAD + "0: error sending request for url (http://127.0.0.1:9/v1)\n    1: tcp connect error\n"
RESET = HEAD + "error decoding response body\n"
RESET_GOOGLE = HEAD + "Failed to read json stream, error decoding response body\n"
PAGE = HEAD + "Invalid response data: <h1>(status: 404)</h1> (status: 502)\n"
PAGE_GOOGLE = HEAD + "0: error decoding response body\n    1: expected value at line 1 column 1\n"
MALFORMED = HEAD + "expected value at line 1 column 14\n"
NO_KEY = HEAD + "Miss 'api_key'\n"


def seen(**overrides):
    """The evidence of a whole answer, but for what is named."""
    whole = {"exit_code": 0, "finish": Finish.NATURAL, "request_sent": True, "has_text": True}
    return Evidence(**whole | overrides)


def failed(status=None, **overrides):
    """The evidence of an attempt that aichat gave up without a word of the answer."""
    return seen(**{"exit_code": 1, "finish": None, "has_text": False, "http_status": status} | overrides)


def broken(**overrides):
    """The evidence of an answer whose stream ended in its middle."""
    return seen(**{"finish": None} | overrides)


DECIDED_BY = {
    # The provider said how it ended.
    "a natural end": (seen(), "complete", "finish reason"),
    "a natural end without a word": (seen(has_text=False), "empty", "finish reason"),
    "the length limit": (seen(finish=Finish.LENGTH), "length", "finish reason"),
    "the filter": (seen(finish=Finish.FILTER), "filtered", "finish reason"),
    "the filter before a word": (seen(finish=Finish.FILTER, has_text=False), "filtered", "finish reason"),
    "the filter, which aichat calls a failure": (seen(finish=Finish.FILTER, exit_code=1), "filtered", "finish reason"),
    # It broke off.
    "a clean end without a reason": (broken(), "cut", "no finish reason"),
    "a clean end without anything": (broken(has_text=False), "cut", "no finish reason"),
    "a reset": (broken(exit_code=1, stderr=RESET), "cut", "exit code 1"),
    "a reset before a word": (failed(stderr=RESET), "cut", "exit code 1"),
    "a reset before a word, Google": (failed(stderr=RESET_GOOGLE), "cut", "exit code 1"),
    "a reset after the natural end": (seen(exit_code=1, stderr=RESET), "cut", "exit code 1"),
    "a chunk that is no JSON": (broken(exit_code=1, stderr=MALFORMED), "cut", "exit code 1"),
    "a first chunk that is no JSON": (failed(stderr=MALFORMED), "provider_error", "exit code 1"),
    # Our clocks.
    "the first token's clock": (broken(clock=Clock.FIRST_TOKEN, exit_code=-15), "timed_out", "first token clock"),
    "the idle clock": (broken(clock=Clock.IDLE, exit_code=-15), "stalled", "idle clock"),
    "the total clock": (broken(clock=Clock.TOTAL, exit_code=-15), "timed_out", "total clock"),
    # It refused.
    "a status alone": (failed(503), "provider_error", "HTTP 503"),
    "a page of a proxy": (failed(stderr=PAGE), "provider_error", "HTTP 502"),
    "a page of a proxy, Google": (failed(stderr=PAGE_GOOGLE), "provider_error", "exit code 1"),
    "429": (failed(429), "rate_limited", "HTTP 429"),
    "429 that speaks of a context": (failed(429, error_text="context length"), "rate_limited", "HTTP 429"),
    "401": (failed(401), "unauthorised", "HTTP 401"),
    "403": (failed(403), "unauthorised", "HTTP 403"),
    "404": (failed(404), "misconfigured", "HTTP 404"),
    "400 without a known word": (failed(400, error_text="unknown parameter"), "misconfigured", "HTTP 400"),
    "400 for a bad key, Google": (failed(400, error_text="API key not valid."), "unauthorised", "HTTP 400"),
    "400 for a bad key, by its type": (failed(400, error_type="authentication_error"), "unauthorised", "HTTP 400"),
    "400 for the context, OpenAI": (failed(400, error_type="context_length_exceeded"), "rejected", "HTTP 400"),
    "400 for the context, Anthropic": (failed(400, error_text="prompt is too long: 2 > 1"), "rejected", "HTTP 400"),
    "400 for the context, Google": (failed(400, error_text="The input token count (2) …"), "rejected", "HTTP 400"),
    "400 for the context, llama.cpp": (
        failed(400, error_text="the request exceeds the available context size"),
        "rejected",
        "HTTP 400",
    ),
    "an error in the stream": (broken(in_band_error=True), "provider_error", "error in the stream"),
    "an overload in the stream": (
        broken(in_band_error=True, error_type="overloaded_error"),
        "provider_error",
        "error in the stream",
    ),
    "a rate limit in the stream": (
        broken(in_band_error=True, error_type="rate_limit_error"),
        "rate_limited",
        "error in the stream",
    ),
    # Nobody answered.
    "no connection": (failed(stderr=UNREACHABLE), "unreachable", "no connection"),
    "no key for a provider that wants one": (failed(stderr=NO_KEY, request_sent=False), "unauthorised", "exit code 1"),
    # Our own side.
    "a signal": (broken(exit_code=-11), "crashed", "killed by SIGSEGV"),
    "a signal that Python has no name for": (broken(exit_code=-40), "crashed", "killed by signal 40"),
    "a panic": (broken(exit_code=101, stderr="thread 'main' panicked at …"), "crashed", "exit code 101"),
    "an exit before the request": (failed(exit_code=2, request_sent=False), "crashed", "exit code 2"),
    "an exit without a word": (failed(), "crashed", "exit code 1"),
    "no evidence at all": (Evidence(), "crashed", "killed by nobody: it never ran"),
    "a spawn that failed": (Evidence(spawn_error="no binary"), "not_started", "no binary"),
    "a person's stop": (broken(stopped=True, exit_code=-15), "stopped", "stop request"),
    "a stop before the start": (Evidence(stopped=True), "stopped", "stop request"),
    "a shutdown": (broken(interrupted=True, exit_code=-15), "interrupted", "shutdown"),
    "our own size limit": (broken(too_long=True, exit_code=-15), "length", "size limit of a reply"),
}


@pytest.mark.parametrize(("evidence", "ending", "by"), DECIDED_BY.values(), ids=DECIDED_BY)
def test_each_piece_of_evidence_decides(evidence, ending, by):
    assert decide(evidence) == Verdict(Ending(ending), by)


# In the order of precedence: each wins over all that follow it.
PRECEDENCE = {
    "a spawn that failed": ({"spawn_error": "no binary"}, "not_started"),
    "an error of this site's own": ({"broken": True}, "crashed"),
    "the size limit": ({"too_long": True}, "length"),
    "a natural finish with exit 0": ({"finish": Finish.NATURAL, "exit_code": 0}, "complete"),
    "the stop": ({"stopped": True}, "stopped"),
    "the shutdown": ({"interrupted": True}, "interrupted"),
    "a clock": ({"clock": Clock.IDLE}, "stalled"),
    "an error in the stream": ({"in_band_error": True, "error_text": "odd"}, "provider_error"),
    "the HTTP status": ({"http_status": 404}, "misconfigured"),
    "the finish reason": ({"finish": Finish.FILTER}, "filtered"),
    "the exit code": ({"exit_code": -11}, "crashed"),
}
PAIRS = {
    f"{winner} before {loser}": (winner, loser)
    for at, winner in enumerate(PRECEDENCE)
    for loser in list(PRECEDENCE)[at + 1 :]
}


@pytest.mark.parametrize(("winner", "loser"), PAIRS.values(), ids=PAIRS)
def test_the_stronger_evidence_wins(winner, loser):
    stronger, ending = PRECEDENCE[winner]
    weaker, _ = PRECEDENCE[loser]
    # A finish reason and an exit code are one field each: the stronger overwrites.
    assert decide(broken(**{"exit_code": 1} | weaker | stronger)).ending == ending


def test_a_stop_wins_where_a_natural_finish_came_without_exit_0():
    assert decide(seen(stopped=True, exit_code=-15)).ending is Ending.STOPPED


def test_a_provider_that_never_gives_a_reason_is_believed_at_a_clean_exit():
    assert decide(broken(needs_finish_reason=False)) == Verdict(Ending.COMPLETE, "exit code")
    assert decide(broken(needs_finish_reason=False, has_text=False)) == Verdict(Ending.EMPTY, "exit code")


def test_such_a_provider_is_believed_nothing_else():
    assert decide(broken(needs_finish_reason=False, exit_code=1)).ending is Ending.CUT
    assert decide(broken(needs_finish_reason=False, in_band_error=True)).ending is Ending.PROVIDER_ERROR
    assert decide(seen(needs_finish_reason=False, finish=Finish.LENGTH)).ending is Ending.LENGTH


STATUSES = {
    "unauthorised": [401, 402, 403],
    "rate_limited": [429],
    "provider_error": [408, 409, 425, 500, 502, 503, 504, 529, 599],
    "misconfigured": [400, 404, 405, 422, 499],
    "rejected": [413],
}


@pytest.mark.parametrize(("ending", "statuses"), STATUSES.items(), ids=STATUSES)
def test_a_status_means_an_ending_where_the_body_says_no_more(ending, statuses):
    assert {status: classify_status(status) for status in statuses} == dict.fromkeys(statuses, ending)


def test_only_a_whole_answer_or_the_persons_own_wish_is_no_failure():
    spared = {ending.value for ending in Ending if not ending.failed}
    assert spared == {"complete", "length", "filtered", "stopped"}


def test_the_page_of_endings_names_each_with_its_sentence():
    page = (settings.BASE_DIR / "docs" / "endings.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page, re.M))
    assert rows == {ending.value: SENTENCES[ending] for ending in Ending}


def test_the_page_of_endings_gives_the_precedence_in_order():
    page = (settings.BASE_DIR / "docs" / "endings.md").read_text()
    listed = re.findall(r"^\d+\. \*\*([^*]+)\*\*", page, re.M)
    assert [rule.lower() for rule in listed] == [rule.lower() for rule in PRECEDENCE]

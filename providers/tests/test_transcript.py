"""What the transcript reads out of aichat's debug log. The lines were written by aichat 0.30.0."""

import inspect
import json
import re
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from providers.endings import Finish
from providers.transcript import ERROR_TEXT, Transcript, Usage

AT = "2026-11-23T21:11:45.709Z [DEBUG] aichat::client::"
OPENAI, CLAUDE, GOOGLE = (f"{AT}{module}: stream-data: " for module in ("openai", "claude", "vertexai"))
REFUSED = AT + "common: Invalid response, status: "
REQUEST = AT + 'common: Request http://127.0.0.1:1/v1/chat/completions {"model":"m","messages":[]}'


def read(*lines, size=None):
    """Return the transcript of a log, fed whole or in pieces of `size` bytes."""
    transcript = Transcript()
    log = "".join(line + "\n" for line in lines).encode()
    for at in range(0, len(log), size or len(log)):
        transcript.feed(log[at : at + (size or len(log))], now=at)
    return transcript


def facts(transcript):
    """Everything public in a transcript but the time of the request, which is that of the reading."""
    told = {name: value for name, value in vars(transcript).items() if not name.startswith("_")}
    return told | {"request_at": transcript.request_at is not None, "last_text": transcript.last_text}


def openai(choice="", usage="null"):
    return f'{OPENAI}{{"id":"c","object":"chat.completion.chunk","choices":[{choice}],"usage":{usage}}}'


def openai_text(delta):
    return openai(f'{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":null}}')


def openai_finish(reason):
    return openai(f'{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"{reason}"}}')


def claude_finish(reason, usage='{"output_tokens":10}'):
    return (
        f'{CLAUDE}{{"type":"message_delta","delta":{{"stop_reason":"{reason}","stop_sequence":null}},"usage":{usage}}}'
    )


def claude_delta(kind, name, text):
    return f'{CLAUDE}{{"type":"content_block_delta","index":0,"delta":{{"type":"{kind}","{name}":"{text}"}}}}'


def google(candidate, usage="{}"):
    return f'{GOOGLE}{{"candidates":[{candidate}],"usageMetadata":{usage}}}'


def google_finish(reason):
    return google(f'{{"finishReason":"{reason}","index":0,"content":{{"parts":[{{"text":""}}],"role":"model"}}}}')


OPENAI_USAGE = (
    '{"prompt_tokens":100,"completion_tokens":30,"total_tokens":130,'
    '"prompt_tokens_details":{"cached_tokens":40,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":20}}'
)
CLAUDE_START = (
    f'{CLAUDE}{{"type":"message_start","message":{{"id":"m","type":"message","role":"assistant","content":[],"usage":'
    '{"input_tokens":60,"cache_creation_input_tokens":25,"cache_read_input_tokens":40,"output_tokens":1}}}'
)
GOOGLE_USAGE = (
    '{"promptTokenCount":100,"candidatesTokenCount":10,"cachedContentTokenCount":40,"thoughtsTokenCount":20,'
    '"totalTokenCount":130}'
)
WHOLE = {
    "openai": (
        REQUEST,
        openai_text('{"role":"assistant","content":"","refusal":null}'),
        openai_text('{"reasoning_content":"hmm"}'),
        openai_text('{"reasoning_content":" so"}'),
        openai_text('{"content":"one"}'),
        openai_text('{"content":"é漢😀\\n"}'),
        openai_finish("stop"),
        openai(usage=OPENAI_USAGE),
    ),
    "claude": (
        REQUEST,
        CLAUDE_START,
        CLAUDE + '{"type":"ping"}',
        CLAUDE + '{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}',
        claude_delta("thinking_delta", "thinking", "hmm"),
        claude_delta("signature_delta", "signature", "c2lt"),
        CLAUDE + '{"type":"content_block_stop","index":0}',
        claude_delta("text_delta", "text", "one"),
        claude_delta("text_delta", "text", "é漢😀\\n"),
        claude_finish("end_turn", '{"output_tokens":30}'),
        CLAUDE + '{"type":"message_stop"}',
    ),
    "gemini": (
        REQUEST,
        google('{"content":{"parts":[{"text":"one"}],"role":"model"},"index":0}', '{"promptTokenCount":100}'),
        google('{"content":{"parts":[{"text":"two"},{"text":"é漢😀\\n"}]}}', GOOGLE_USAGE),
        google_finish("STOP"),
    ),
}
# Fresh input, what was read from and written to the cache, all output, the part of it that is reasoning.
USAGES = {
    "openai": Usage(input=60, cache_read=40, cache_write=None, output=30, reasoning=20),
    "claude": Usage(input=60, cache_read=40, cache_write=25, output=30, reasoning=None),
    "gemini": Usage(input=60, cache_read=40, cache_write=None, output=30, reasoning=20),
}


@pytest.mark.parametrize("protocol", WHOLE)
def test_a_whole_answer_is_read_in_each_dialect(protocol):
    said = read(*WHOLE[protocol])
    assert said.finish is Finish.NATURAL
    assert said.usage == USAGES[protocol]
    assert said.last_text == "é漢😀\n"
    assert said.reasoning_runs == (0 if protocol == "gemini" else 1)
    assert (said.in_band_error, said.http_status, said.error_type, said.error_text) == (False, None, "", "")


@pytest.mark.parametrize("protocol", WHOLE)
def test_the_pieces_make_no_difference(protocol):
    whole = facts(read(*WHOLE[protocol]))
    for size in (1, 2, 7, 100):
        assert facts(read(*WHOLE[protocol], size=size)) == whole


FINISHES = {
    openai_finish: {
        Finish.NATURAL: ["stop", "tool_calls", "function_call", "eos", "end_turn"],
        Finish.LENGTH: ["length", "max_tokens", "model_length"],
        Finish.FILTER: ["content_filter"],
        None: ["", "something_new"],
    },
    claude_finish: {
        Finish.NATURAL: ["end_turn", "stop_sequence", "tool_use"],
        Finish.LENGTH: ["max_tokens", "model_context_window_exceeded"],
        Finish.FILTER: ["refusal"],
        None: ["", "pause_turn"],
    },
    google_finish: {
        Finish.NATURAL: ["STOP"],
        Finish.LENGTH: ["MAX_TOKENS"],
        Finish.FILTER: ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "SOMETHING_NEW"],
        None: [""],
    },
}


@pytest.mark.parametrize("line", FINISHES, ids=lambda line: line.__name__)
def test_each_providers_reasons_have_one_meaning(line):
    assert {finish: [read(line(word)).finish for word in words] for finish, words in FINISHES[line].items()} == {
        finish: [finish] * len(words) for finish, words in FINISHES[line].items()
    }


def test_a_blocked_prompt_is_a_filter():
    assert read(GOOGLE + '{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"}}').finish is Finish.FILTER


USAGE_ALONE = {
    "nothing of a cache": (openai(usage='{"prompt_tokens":7,"completion_tokens":3}'), Usage(input=7, output=3)),
    "details that are null": (
        openai(usage='{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":null}'),
        Usage(input=7, output=3),
    ),
    "more cached than there was": (
        openai(usage='{"prompt_tokens":7,"prompt_tokens_details":{"cached_tokens":9}}'),
        Usage(input=7, cache_read=9),
    ),
    "counts that are none": (openai(usage='{"prompt_tokens":null,"completion_tokens":-3}'), Usage()),
    "a count no column holds": (openai(usage='{"prompt_tokens":7,"completion_tokens":99999999999}'), Usage(input=7)),
    "an answer without thoughts": (
        google("", '{"promptTokenCount":7,"candidatesTokenCount":3}'),
        Usage(input=7, output=3),
    ),
    "thoughts alone": (
        google("", '{"promptTokenCount":7,"thoughtsTokenCount":3}'),
        Usage(input=7, output=3, reasoning=3),
    ),
    "a running total": (CLAUDE_START, Usage(input=60, cache_read=40, cache_write=25, output=1)),
    "no usage": (openai_text('{"content":"x"}'), None),
}


@pytest.mark.parametrize(("line", "usage"), USAGE_ALONE.values(), ids=USAGE_ALONE)
def test_usage_is_what_was_told_and_no_more(line, usage):
    assert read(line).usage == usage


ERRORS = {
    "openai, HTTP": (
        REFUSED + '429, data: {"error":{"message":"Slow","type":"tokens","param":null,"code":"rate_limit_exceeded"}}',
        (429, False, "tokens rate_limit_exceeded", "Slow"),
    ),
    "claude, HTTP": (
        REFUSED + '400, data: {"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}',
        (400, False, "authentication_error", "invalid x-api-key"),
    ),
    "gemini, HTTP": (
        REFUSED + '400, data: [{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT",'
        '"details":[{"@type":"ErrorInfo","reason":"API_KEY_INVALID"},{"@type":"Help"}]}}]',
        (400, False, "400 INVALID_ARGUMENT API_KEY_INVALID", "API key not valid."),
    ),
    "a sentence": (REFUSED + '404, data: {"error":"model not found"}', (404, False, "", "model not found")),
    "no error object": (REFUSED + '422, data: {"message":"no"}', (422, False, "", "no")),
    "nothing": (REFUSED + "500, data: {}", (500, False, "", "")),
    "null": (REFUSED + '500, data: {"error":{"message":null}}', (500, False, "", "")),
    "openai, in the stream": (
        OPENAI + '{"error":{"message":"Sorry","type":"server_error","param":null,"code":null}}',
        (None, True, "server_error", "Sorry"),
    ),
    "claude, in the stream": (
        CLAUDE + '{"type":"error","error":{"details":null,"type":"overloaded_error","message":"Overloaded"}}',
        (None, True, "overloaded_error", "Overloaded"),
    ),
    "gemini, in the stream": (
        GOOGLE + '{"error":{"code":503,"message":"Later","status":"UNAVAILABLE"}}',
        (None, True, "503 UNAVAILABLE", "Later"),
    ),
}


@pytest.mark.parametrize(("line", "told"), ERRORS.values(), ids=ERRORS)
def test_an_error_is_read_in_every_shape_seen(line, told):
    said = read(line)
    assert (said.http_status, said.in_band_error, said.error_type, said.error_text) == told


def test_a_page_instead_of_a_sentence_is_cut():
    assert len(read(REFUSED + f'500, data: {{"error":"{"x" * 50_000}"}}').error_text) == ERROR_TEXT


def test_reasoning_runs_are_counted_as_aichat_opens_its_tags():
    think, text = openai_text('{"reasoning":"a"}'), openai_text('{"content":"b"}')
    assert read(think, think, text, think).reasoning_runs == 2


def test_the_request_is_timed_at_its_first_bytes_and_only_the_first_request():
    transcript = Transcript()
    transcript.feed(REQUEST[:60].encode(), now=1)
    transcript.feed((REQUEST[60:120]).encode(), now=2)
    transcript.feed((REQUEST[120:] + "\n" + REQUEST + "\n").encode(), now=3)
    assert transcript.request_at == 2


@pytest.mark.parametrize("size", [1_000, 65_536])
def test_a_prompt_of_megabytes_is_kept_nowhere(size):
    line = f'{REQUEST[:-3]}[{{"role":"user","content":"{"secret " * 750_000}"}}]}}\n'.encode()
    transcript, longest = Transcript(), 0
    tracemalloc.start()
    for at in range(0, len(line), size):
        transcript.feed(line[at : at + size], now=at)
        longest = max(longest, len(transcript._buffer))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(line) > 5_000_000
    assert longest < 200
    assert peak < 4 * size + 20_000
    assert "secret" not in repr(vars(transcript))
    transcript.feed(WHOLE["openai"][-2].encode() + b"\n", now=0)
    assert transcript.finish is Finish.NATURAL


def test_a_line_without_an_end_is_given_up():
    transcript = Transcript()
    for _ in range(200):
        transcript.feed(OPENAI.encode() + b"x" * 65_536, now=0)
    assert len(transcript._buffer) < 5_000_000
    transcript.feed(b"\n" + openai_finish("stop").encode() + b"\n", now=0)
    assert transcript.finish is Finish.NATURAL


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
# The words that the parser looks for, on values of any shape.
WORDS = sorted(set(re.findall(r'"(\w+)"', inspect.getsource(inspect.getmodule(Transcript)))))
EVENTS = ["message_start", "content_block_delta", "content_block_stop", "message_delta", "error"]
near_misses = st.recursive(
    json_values | st.sampled_from(["stop", "STOP", *EVENTS]) | st.integers(0, 100),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=20,
)


@given(data=near_misses, event=st.sampled_from(EVENTS))
@example(data={"choices": None, "candidates": None, "usage": None}, event="error")
@example(
    data={"choices": {"delta": 1}, "candidates": {"a": 1}, "usage": [1], "usageMetadata": "x"}, event="message_delta"
)
@example(data={"choices": ["x"], "candidates": ["x"], "promptFeedback": "x", "delta": "x"}, event="content_block_delta")
@example(data={"choices": [{"finish_reason": ["x"]}], "candidates": [{"finishReason": {}}]}, event="message_delta")
@example(data={"candidates": [{"content": {"parts": [None, 1]}}], "delta": {"stop_reason": []}}, event="message_delta")
@example(data={"usage": {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": "x"}}}, event="message_start")
@example(data={"usageMetadata": {"candidatesTokenCount": "x", "thoughtsTokenCount": []}}, event="message_start")
@example(data={"error": {"message": ["x"], "details": [None], "type": {}}}, event="error")
def test_no_shape_of_json_is_fatal(data, event):
    typed = {"type": event} | data if isinstance(data, dict) else data
    for start in (OPENAI, CLAUDE, GOOGLE, COHERE, BEDROCK + "metadata ", REFUSED + "400, data: "):
        said = read(start + json.dumps(typed), openai_finish("length"))
        assert said.finish is Finish.LENGTH
        counts = vars(said.usage).values() if said.usage else ()
        assert all(count is None or 0 <= count < 2**31 for count in counts)


@given(junk=st.binary(max_size=200), start=st.sampled_from(["", AT, OPENAI, CLAUDE, GOOGLE, REFUSED]))
@example(junk=b"[" * 100_000, start=OPENAI)
@example(junk=b"9" * 5_000, start=OPENAI)
@example(junk=b", data: {}\n", start=REFUSED + "9" * 5_000)
def test_no_bytes_are_fatal(junk, start):
    transcript = Transcript()
    transcript.feed(start.encode() + junk, now=0)
    transcript.feed(b"\n" + openai_finish("stop").encode() + b"\n", now=0)
    assert transcript.finish is Finish.NATURAL


COHERE, BEDROCK = AT + "cohere: stream-data: ", AT + "bedrock: stream-data: "
COHERE_ANSWER = (
    REQUEST,
    COHERE + '{"id":"1","type":"message-start","delta":{"message":{"role":"assistant"}}}',
    COHERE + '{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"one"}}}}',
    COHERE + '{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"é漢😀\\n"}}}}',
    COHERE + '{"type":"citation-start","index":0,"delta":{"message":{"citations":{"start":0,"end":3}}}}',
    COHERE + '{"type":"content-end","index":0}',
    COHERE + '{"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":5,'
    '"output_tokens":20.0},"tokens":{"input_tokens":71,"output_tokens":20}}}}',
)
# As src/client/bedrock.rs writes them: the request too, and the event's name before its JSON.
BEDROCK_ANSWER = (
    REQUEST.replace("common", "bedrock"),
    BEDROCK + 'messageStart {"role":"assistant"}',
    BEDROCK + 'contentBlockDelta {"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"hmm"}}}',
    BEDROCK + 'contentBlockStop {"contentBlockIndex":0}',
    BEDROCK + 'contentBlockDelta {"contentBlockIndex":1,"delta":{"text":"one"}}',
    BEDROCK + 'contentBlockDelta {"contentBlockIndex":1,"delta":{"text":"é漢😀\\n"}}',
    BEDROCK + 'contentBlockStop {"contentBlockIndex":1}',
    BEDROCK + 'messageStop {"stopReason":"end_turn"}',
    BEDROCK + 'metadata {"metrics":{"latencyMs":9},"usage":{"inputTokens":60,"outputTokens":30,"totalTokens":155,'
    '"cacheReadInputTokens":40,"cacheWriteInputTokens":25}}',
)
OTHER_ANSWERS = {
    "cohere": (COHERE_ANSWER, Usage(input=5, output=20), 0),
    "bedrock": (BEDROCK_ANSWER, Usage(input=60, cache_read=40, cache_write=25, output=30), 1),
}


@pytest.mark.parametrize(("lines", "usage", "runs"), OTHER_ANSWERS.values(), ids=OTHER_ANSWERS)
def test_the_dialects_of_cohere_and_bedrock_are_read(lines, usage, runs):
    said = read(*lines)
    assert (said.finish, said.usage, said.reasoning_runs) == (Finish.NATURAL, usage, runs)
    assert said.last_text == "é漢😀\n"
    assert said.request_at is not None
    assert facts(read(*lines, size=7)) == facts(said)


OTHER_FINISHES = {
    "cohere, length": (COHERE + '{"type":"message-end","delta":{"finish_reason":"MAX_TOKENS"}}', Finish.LENGTH),
    "cohere, new": (COHERE + '{"type":"message-end","delta":{"finish_reason":"NEW"}}', None),
    "bedrock, length": (BEDROCK + 'messageStop {"stopReason":"max_tokens"}', Finish.LENGTH),
    "bedrock, filter": (BEDROCK + 'messageStop {"stopReason":"guardrail_intervened"}', Finish.FILTER),
    "bedrock, new": (BEDROCK + 'messageStop {"stopReason":"new"}', None),
}


@pytest.mark.parametrize(("line", "finish"), OTHER_FINISHES.values(), ids=OTHER_FINISHES)
def test_the_reasons_of_cohere_and_bedrock_have_one_meaning(line, finish):
    assert read(line).finish is finish


def test_cohere_reports_its_own_failure_as_a_finish_reason():
    said = read(COHERE + '{"type":"message-end","delta":{"finish_reason":"ERROR","error":"Oh"}}')
    assert (said.in_band_error, said.error_type, said.error_text, said.finish) == (True, "ERROR", "Oh", None)


RETRIES = {
    "OpenAI": ("Limit 30000, Requested 385. Please try again in 20s. Visit https://x.", 20),
    "OpenAI, soon": ("Please try again in 6ms.", 0.006),
    "Groq": ("Please try again in 1m12.5s. Need more tokens?", 72.5),
    "Groq, long": ("Please try again in 2h3m4s.", 7_384),
    "Google": ("* Quota exceeded for metric: x, limit: 9\nPlease retry in 34.074824224s.", 34.074824224),
    "Azure": ("of your current OpenAI S0 pricing tier. Please retry after 21 seconds. Go to", 21),
    "in words": ("Try again in 2 minutes 5 seconds", 125),
    "a day": ("Try again in 1 day.", 86_400),
    "more than a day": ("Try again in 2 days.", None),
    "negative": ("Please try again in -5s.", None),
    "nothing": ("Please try again in 0s.", None),
    "no unit": ("Please try again in 20.", None),
    "no number": ("Please try again in a moment, or in 20s of video.", None),
    "another word": ("Please try again in 5 steps.", None),
    "too many digits": (f"Please try again in {'9' * 500}s.", None),
    "no promise": ("Rate limit reached for 20s.", None),
}


@pytest.mark.parametrize(("sentence", "seconds"), RETRIES.values(), ids=RETRIES)
def test_a_sentence_says_when_to_ask_again(sentence, seconds):
    said = read(REFUSED + f"429, data: {json.dumps({'error': {'message': sentence}})}")
    assert said.retry_seconds == (seconds if seconds is None else pytest.approx(seconds))


DELAYS = {"20s": 20, "34.07s": 34.07, "0.5s": 0.5, "86401s": None, "-1s": None, "soon": None, "": None, "1e9s": None}


@pytest.mark.parametrize(("delay", "seconds"), DELAYS.items(), ids=DELAYS)
def test_google_says_it_in_the_details(delay, seconds):
    details = [{"@type": "Help"}, {"@type": "RetryInfo", "retryDelay": delay}]
    said = read(REFUSED + f"429, data: {json.dumps([{'error': {'code': 429, 'details': details}}])}")
    assert said.retry_seconds == seconds


def test_the_names_of_spent_quotas_are_part_of_the_errors_type():
    details = [{"violations": [{"quotaId": "PerDay"}, {"quotaMetric": "x"}, "x"]}, {"violations": "x"}]
    said = read(REFUSED + f"429, data: {json.dumps({'error': {'status': 'RESOURCE_EXHAUSTED', 'details': details}})}")
    assert said.error_type == "RESOURCE_EXHAUSTED PerDay"

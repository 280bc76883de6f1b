"""The table of kinds, and that the real aichat makes the request of each."""

import re
import subprocess

import pytest

from providers import config
from providers.config import Target
from providers.endings import Ending, Evidence, Verdict, decide
from providers.kinds import KINDS, Kind
from providers.simulator import answer, parse_model
from providers.tests.attempts import attempt, request
from providers.transcript import DIALECTS, Transcript, Usage
from sasha.testing import TEST_KEY, free_port

SECOND_NAMES = {"azure-openai": "api-key", "cohere": "authorization"}


def test_every_kind_stands_in_the_table():
    assert list(KINDS) == list(Kind)
    assert {info.label for info in KINDS.values()} == set(Kind.labels)


def test_every_dialect_named_is_one_that_the_transcript_reads():
    assert {info.dialect.encode() for info in KINDS.values() if info.dialect} == set(DIALECTS)


def test_an_address_is_known_or_needed_or_not_taken():
    for kind, info in KINDS.items():
        assert [bool(info.address), info.needs_address, not info.takes_address].count(True) == 1, kind


def test_no_option_takes_what_could_leave_its_place():
    for option in (option for info in KINDS.values() for option in info.options):
        for hostile in ("", "a/b", "us-east-1.evil.com/x#", "a\nb", "../x", "a b", "é"):
            assert not re.fullmatch(option.pattern, hostile), (option.name, hostile)


def test_the_options_that_amazon_wants_are_accepted():
    patterns = {option.name: option.pattern for option in KINDS[Kind.BEDROCK].options}
    assert re.fullmatch(patterns["access_key_id"], "AKIAIOSFODNN7EXAMPLE")
    for region in ("us-east-1", "ap-southeast-2", "us-gov-west-1", "eu-central-1"):
        assert re.fullmatch(patterns["region"], region)


ENDINGS = {
    "sim-n3": Verdict("complete", "finish reason"),
    "sim-n4-length": Verdict("length", "finish reason"),
    "sim-n4-filter": Verdict("filtered", "finish reason"),
    "sim-n4-cut": Verdict("cut", "no finish reason"),
    "sim-n4-error": Verdict("provider_error", "error in the stream"),
    "sim-http429": Verdict("rate_limited", "HTTP 429"),
    "sim-http400context": Verdict("rejected", "HTTP 400"),
    "an unknown model": Verdict("misconfigured", "HTTP 404"),
}


@pytest.mark.parametrize("kind", SECOND_NAMES)
@pytest.mark.parametrize("model", ENDINGS)
async def test_azure_and_cohere_are_asked_and_understood(simulator, kind, model):
    made = await attempt(request(simulator.url(kind), model, kind, max_tokens=77))
    assert made.verdict == ENDINGS[model]
    if model == "sim-n3":
        assert made.text == answer(parse_model(model), "hello").text
        assert made.finished.usage.output == 3
        [line] = simulator.served["served"]
        assert Usage(**line["served"]) == made.finished.usage
        assert SECOND_NAMES[kind] in simulator.last["headers"]
        limit = "max_completion_tokens" if kind == "azure-openai" else "max_tokens"
        assert simulator.last["body"][limit] == 77


@pytest.mark.parametrize("kind", SECOND_NAMES)
async def test_the_key_of_azure_and_cohere_comes_from_the_environment(simulator, kind):
    simulator.key = TEST_KEY
    assert (await attempt(request(simulator.url(kind), "sim-n3", kind))).ending is Ending.COMPLETE
    wrong = await attempt(request(simulator.url(kind), "sim-n3", kind, key="sk-wrong-0123456789"))
    assert wrong.verdict == Verdict("unauthorised", "HTTP 401")
    missing = await attempt(request(simulator.url(kind), "sim-n3", kind, key=""))
    assert missing.verdict == Verdict("unauthorised", "exit code 1")


async def test_reasoning_that_cohere_keeps_to_itself_is_billed_and_not_shown(simulator):
    made = await attempt(request(simulator.url("cohere"), "sim-n3-reasoning", "cohere"))
    assert (made.text, made.reasoning) == ("word0 word1 word2 ", "")
    assert made.finished.usage.output == 11


async def test_a_models_own_body_reaches_the_provider(simulator):
    target = Target("gemini", simulator.url("gemini"), "sim-n1", extra_body='{"generationConfig": {"topK": 3}}')
    await attempt(request("", "", target=target, max_tokens=9))
    sent = simulator.last["body"]["generationConfig"]
    assert (sent["topK"], sent["maxOutputTokens"]) == (3, 9)


async def test_the_time_to_wait_reaches_the_evidence(simulator):
    told = {}
    for kind in ("openai", "gemini", "claude"):
        made = await attempt(request(simulator.url(kind), "sim-http429-retry7", kind))
        told[kind] = made.finished.evidence.retry_seconds
    # Anthropic says it in a header, which nobody sees.
    assert told == {"openai": 7, "gemini": 7, "claude": None}


BEDROCK = Target(
    "bedrock",
    "",
    "anthropic.claude-3-haiku-20240307-v1:0",
    options=(("access_key_id", "AKIAIOSFODNN7EXAMPLE"), ("region", "us-east-1")),
)


def ask_amazon(settings, tmp_path, **environment):
    """Run the real program as the site does, but with a proxy between it and Amazon that is not there."""
    settings.DATA_DIR = tmp_path
    log = tmp_path / "log"
    variables = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(config.home()),
        "AICHAT_CONFIG_DIR": str(config.write_config(BEDROCK)),
        "AICHAT_LOG_LEVEL": "debug",
        "AICHAT_LOG_PATH": str(log),
        "AICHAT_LOG_FILTER": "aichat::client",
        "HTTPS_PROXY": f"http://127.0.0.1:{free_port()}",
        "SSL_CERT_FILE": settings.CA_BUNDLE,
    }
    child = subprocess.run(
        [settings.AICHAT, "-m", f"p:{BEDROCK.model}"],
        input="hello",
        env=variables | environment,
        capture_output=True,
        text=True,
        timeout=20,
    )
    said = Transcript()
    said.feed(log.read_bytes() if log.exists() else b"", now=1)
    return child, Evidence(exit_code=child.returncode, stderr=child.stderr, request_sent=said.request_at is not None)


def test_bedrock_is_asked_with_its_secret_from_the_environment(settings, tmp_path):
    child, evidence = ask_amazon(settings, tmp_path, **{config.key_variable(BEDROCK): "wJalrXUtnFEMI/EXAMPLE"})
    assert "bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3" in child.stderr
    assert decide(evidence) == Verdict("unreachable", "no connection")
    assert "wJalrXUtnFEMI" not in (tmp_path / "log").read_text() + child.stderr


def test_bedrock_without_its_secret_is_not_asked(settings, tmp_path):
    _, evidence = ask_amazon(settings, tmp_path)
    assert not evidence.request_sent
    assert decide(evidence).ending is Ending.UNAUTHORISED

"""The simulator against the real aichat: what one side served is what the other side saw."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from providers.endings import Finish
from providers.simulator import Simulator, answer, parse_model
from providers.transcript import Transcript

KINDS = ["openai", "claude", "gemini"]
HOSTILE = (
    'a\r\nb\t"c\\ \u2028\u0085\u00a0\ufeff é漢😀\U0010ffff </think> data: [DONE]\n\n{"x": [}\n\x01\x7f' * 5 + "end"
)


@dataclass
class Run:
    """One finished process of aichat. `answer` is stdout without the newline that aichat may add."""

    exit_code: int | None
    stdout: str
    stderr: str
    transcript: Transcript

    @property
    def answer(self) -> str:
        return self.stdout.removesuffix("\n")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    simulator = Simulator()
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
def ask(simulator: Simulator, tmp_path: Path) -> Any:
    async def ask(kind: str, model: str, prompt: str = "Hello", **options: Any) -> Run:
        return await run_aichat(simulator, kind, model, prompt, directory=tmp_path, **options)

    return ask


async def run_aichat(
    simulator: Simulator, kind: str, model: str, prompt: str, *, directory: Path, history: Any = (), kill: bool = False
) -> Run:
    """Run one process to its end, or kill it as soon as the simulator answers."""
    write_config(directory, kind, model, simulator.url(kind), history)
    log_end, child_end = os.pipe()
    env = {
        "AICHAT_CONFIG_DIR": str(directory),
        "AICHAT_SESSIONS_DIR": str(directory),
        "AICHAT_LOG_LEVEL": "debug",
        "AICHAT_LOG_PATH": f"/dev/fd/{child_end}",
        "AICHAT_LOG_FILTER": "aichat::client",
        "P_API_KEY": "secret-key",
        "TOKIO_WORKER_THREADS": "1",
        "HOME": str(directory),
        "PATH": os.environ["PATH"],
    }
    pipes = {"stdin": -1, "stdout": -1, "stderr": -1}
    process = await asyncio.create_subprocess_exec(
        settings.AICHAT, "-m", f"p:{model}", "-s", "history", env=env, pass_fds=(child_end,), **pipes
    )
    os.close(child_end)
    transcript = Transcript()
    log = asyncio.create_task(read_log(log_end, transcript))
    talk = asyncio.create_task(process.communicate(prompt.encode()))
    if kill:
        await until(lambda: simulator.served["open"] == 1)
        process.kill()
    stdout, stderr = await talk
    await log
    return Run(process.returncode, stdout.decode(), stderr.decode(), transcript)


async def until(fact: Callable[[], bool]) -> None:
    """Wait for a fact of the ledger, which has no events."""
    while not fact():
        await asyncio.sleep(0.001)


def write_config(directory: Path, kind: str, model: str, api_base: str, history: Any) -> None:
    described = {"name": model, "max_output_tokens": 4096, "require_max_tokens": True}
    client: dict[str, Any] = {"type": kind, "name": "p", "api_base": api_base, "models": [described]}
    if kind.startswith("openai"):
        client["patch"] = {"chat_completions": {".*": {"body": {"stream_options": {"include_usage": True}}}}}
    config = {"save_session": False, "compress_threshold": 0, "function_calling": False, "clients": [client]}
    (directory / "config.yaml").write_text(json.dumps({"model": f"p:{model}", **config}))
    session = {"model": f"p:{model}", "save_session": False, "messages": list(history)}
    # YAML refuses or folds a few characters that JSON leaves as they are.
    raw = json.dumps(session, ensure_ascii=False)
    escaped = re.sub("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", lambda found: f"\\u{ord(found[0]):04x}", raw)
    (directory / "history.yaml").write_text(escaped)


async def read_log(end: int, transcript: Transcript) -> None:
    reader = asyncio.StreamReader()
    with os.fdopen(end, "rb") as pipe:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        while data := await reader.read(65536):
            transcript.feed(data, time.monotonic())
        transport.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", ["n5", "n5-reasoning", "n5-cached", "n5-nousage", "n5-newlines", "n5-emoji-split"])
async def test_a_whole_answer(simulator: Simulator, ask: Any, kind: str, words: str) -> None:
    run = await ask(kind, f"sim-{words}", "What is the answer to this?")

    [line] = simulator.served["served"]
    usage = run.transcript.usage
    assert (run.exit_code, run.transcript.finish, run.transcript.http_status) == (0, Finish.NATURAL, None)
    assert run.stdout.split("</think>\n\n")[-1].rstrip("\n") == answer(parse_model(f"sim-{words}"), "").text.rstrip(
        "\n"
    )
    assert (usage and asdict(usage)) == line["usage"]
    assert (usage is None) == ("nousage" in words)
    assert run.transcript.reasoning_runs == ("reasoning" in words and kind != "gemini")
    assert (line["ended"], line["roles"], line["has_key"]) == ("whole", ("user",), True)


@pytest.mark.parametrize("kind", [*KINDS, "openai-compatible"])
async def test_hostile_text_comes_back_byte_for_byte(simulator: Simulator, ask: Any, kind: str) -> None:
    run = await ask(kind, "sim-echo-split-gap0", HOSTILE)

    [line] = simulator.served["served"]
    assert run.answer == HOSTILE
    assert line["prompt_sha256"] == line["text_sha256"] == sha256(HOSTILE.encode()).hexdigest()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("words", "exit_code", "finish", "in_band_error", "status"),
    [
        ("cut", 0, None, False, None),
        ("reset", 1, None, False, None),
        ("error", 0, None, True, None),
        ("malformed", 1, None, False, None),
        ("length", 0, Finish.LENGTH, False, None),
        ("filter", 0, Finish.FILTER, False, None),
        ("empty", 0, Finish.NATURAL, False, None),
        ("http400key", 1, None, False, 400),
        ("http400context", 1, None, False, 400),
        ("http429", 1, None, False, 429),
        ("http529", 1, None, False, 529),
        # aichat logs nothing of a body that is not JSON.
        ("http502html", 1, None, False, None),
        ("nonsense", 1, None, False, 404),
    ],
)
async def test_a_fault(
    simulator: Simulator, ask: Any, kind: str, words: str, exit_code: int, finish: Any, in_band_error: bool, status: Any
) -> None:
    run = await ask(kind, f"sim-{words}")

    [line] = simulator.served["served"]
    seen = run.transcript
    if (kind, words) == ("gemini", "filter"):
        exit_code = 1  # aichat knows this one
    assert (run.exit_code, seen.finish, seen.in_band_error, seen.http_status) == (
        exit_code,
        finish,
        in_band_error,
        status,
    )
    assert line["ended"] == ("http404" if words == "nonsense" else words)
    assert sha256(run.answer.encode()).hexdigest() == line["text_sha256"]
    assert (seen.usage and asdict(seen.usage)) == line["usage"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_ends_when_aichat_is_killed(simulator: Simulator, ask: Any, kind: str) -> None:
    run = await ask(kind, "sim-at0-stall", kill=True)
    await until(lambda: simulator.served["open"] == 0)

    assert run.exit_code == -signal.SIGKILL
    assert simulator.served["by_ending"] == {"stall": 1}


@pytest.mark.parametrize("kind", ["openai", "claude"])
async def test_the_history_arrives_as_it_was_written_and_the_key_is_not_kept(
    simulator: Simulator, ask: Any, kind: str
) -> None:
    history = [{"role": "user", "content": HOSTILE}, {"role": "assistant", "content": HOSTILE}]
    await ask(kind, "sim-n1", "And now?", history=history)

    assert simulator.last["body"]["messages"] == [*history, {"role": "user", "content": "And now?"}]
    assert "secret-key" not in json.dumps([simulator.last, simulator.served])

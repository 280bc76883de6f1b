"""What holds for every child: what it is given, how much it may say, and that many of them leave nothing behind."""

import asyncio
import os
import re
import resource
import threading
from pathlib import Path

import psutil
import pytest

from providers import aichat, config, sandbox
from providers.aichat import Turn
from providers.endings import Ending, Verdict, decide
from providers.output import Output, Text
from providers.tests.attempts import (
    READ,
    attempt,
    begun,
    clocks,
    descriptors,
    only_child,
    request,
    rest,
    stands_still,
)
from providers.transcript import Transcript
from sasha.testing import TEST_KEY, eventually

SECRET = "a prompt that nobody may see"


# --- What it is given -------------------------------------------------------------------------------------------------


async def test_its_arguments_are_constant_text_and_names_of_ours(settings, simulator):
    asked = request(simulator.url("openai"), "sim-stall", prompt=SECRET, history=(Turn("user", SECRET),))
    async with begun(asked):
        program, *arguments, session = only_child().cmdline()
        assert program == settings.AICHAT
        assert arguments == ["-m", "p:sim-stall", "-s"]
        assert re.fullmatch(r"s\w+", session)


async def test_its_environment_is_the_allow_list_and_its_own_key(settings, simulator, monkeypatch, tmp_path):
    settings.CA_BUNDLE = __file__
    settings.PROVIDER_KEYS = {"OTHER_API_KEY": "sk-of-another-provider"}
    for name in ("OTHER_API_KEY", "AICHAT_MODEL", "HTTPS_PROXY", "SSL_CERT_DIR", "PYTHONPATH", "SECRET_KEY"):
        monkeypatch.setenv(name, "anything")
    asked = request(simulator.url("openai"), "sim-stall", prompt=SECRET, max_tokens=9)
    async with begun(asked):
        environment = only_child().environ()
        log = environment.pop("AICHAT_LOG_PATH")
        assert os.readlink(f"/proc/{only_child().pid}/fd/{log.removeprefix('/dev/fd/')}").startswith("pipe:")
    assert environment == {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path / "aichat/home"),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "TOKIO_WORKER_THREADS": "1",
        "AICHAT_CONFIG_DIR": str(config.write_config(asked.target)),
        "AICHAT_SESSIONS_DIR": str(tmp_path / "aichat/sessions"),
        "AICHAT_LOG_LEVEL": "debug",
        "AICHAT_LOG_FILTER": "aichat::client",
        "AICHAT_PATCH_P_CHAT_COMPLETIONS": config.body_patch(asked.target, 9),
        "SSL_CERT_FILE": __file__,
        "P_API_KEY": TEST_KEY,
    }


async def test_without_a_key_there_is_none_in_its_environment(simulator):
    async with begun(request(simulator.url("openai"), "sim-stall", key="")):
        assert [name for name in only_child().environ() if name.endswith("_API_KEY")] == []


async def test_no_file_holds_its_key_or_its_prompt(simulator, tmp_path):
    asked = request(simulator.url("openai"), "sim-stall", prompt=SECRET, history=(Turn("user", "of the history"),))
    async with begun(asked):
        files = [path for path in (tmp_path / "aichat").rglob("*") if path.is_file()]
        written = {path.suffix: path.read_text() for path in files}
        assert "of the history" in "".join(written.values())
        assert SECRET not in "".join(written.values())
        assert TEST_KEY not in "".join(written.values())
        assert all(path.parent.stat().st_mode & 0o77 == 0 for path in files)


def read(path):
    return Path(path).read_text()


async def test_it_lives_in_its_own_session_and_within_its_limits(simulator, tmp_path):
    async with begun(request(simulator.url("openai"), "sim-stall")):
        child = only_child()
        assert (os.getsid(child.pid), os.getpgid(child.pid)) == (child.pid, child.pid)
        assert child.cwd() == str(tmp_path / "aichat/home")
        assert "NoNewPrivs:\t1" in read(f"/proc/{child.pid}/status")
        told = {limit: resource.prlimit(child.pid, limit) for limit, _ in sandbox.LIMITS.values()}
        assert told == {limit: (value, value) for limit, value in sandbox.LIMITS.values()}


async def test_it_inherits_its_prompt_and_its_three_pipes_and_nothing_of_its_neighbour(simulator, stand_in):
    async with begun(request(simulator.url("openai"), "sim-stall")):
        made = await attempt(stand_in("exec ls -l /proc/self/fd"))
    opened = re.findall(r"\d+ -> /?(\w+):", made.text)
    assert sorted(opened) == ["memfd", "pipe", "pipe", "pipe"]


# --- How much it may say ----------------------------------------------------------------------------------------------


async def test_a_flood_waits_in_the_child_while_nobody_reads(stand_in):
    size = 50 * 2**20
    before = psutil.Process().memory_info().rss
    async with begun(stand_in(f"exec head -c {size} /dev/zero"), Text) as stream:
        assert await stands_still(only_child()) < 2**20
        assert psutil.Process().memory_info().rss < before + 5 * 2**20
        *texts, _ = await rest(stream)
    assert sum(len(event.text) for event in texts) > size - READ


async def test_nothing_is_lost_where_the_child_is_gone_before_it_is_read(stand_in):
    # The first part is more than is read ahead; the second waits in the pipe when the program exits.
    read_ahead = aichat.PENDING_CHARACTERS + 4_096
    asked = stand_in(f"head -c {read_ahead} /dev/zero; sleep 0.2; exec head -c 40000 /dev/zero")
    async with begun(asked, Text) as stream:
        await eventually(lambda: not aichat.LIVE)
        *texts, _ = await rest(stream)
    assert sum(len(event.text) for event in texts) > read_ahead + 40_000 - READ


async def test_a_slow_reader_is_not_the_providers_silence(stand_in):
    size = 4 * aichat.PENDING_CHARACTERS
    asked = stand_in(f"head -c {size} /dev/zero; exec sleep 60", clocks=clocks(idle=0.3))
    async with begun(asked, Text) as stream:
        await stands_still(only_child())
        await asyncio.sleep(0.5)
        *texts, finished = await rest(stream)
    assert sum(len(event.text) for event in texts) > size - READ
    assert finished.evidence.clock == "idle"


LOG_THEN_TEXT = r"""
exec 3>$AICHAT_LOG_PATH
log() { echo "T [DEBUG] aichat::client::$1" >&3; }
log 'common: Request http://127.0.0.1 {}'
log 'openai: stream-data: {"choices":[{"delta":{"content":"hi "}}]}'
printf 'hi '
sleep 0.05
log 'openai: stream-data: {"choices":[{"delta":{"reasoning_content":"hmm"}}]}'
printf '<think>\nhmm\n</think>\n\nhello'
"""


async def test_the_log_is_read_before_the_text_that_it_explains(stand_in):
    made = await attempt(stand_in(LOG_THEN_TEXT))
    assert (made.text, made.reasoning) == ("hi hello", "hmm")


async def test_a_flood_in_the_log_leaves_the_loop_to_the_others(stand_in):
    line = 'T [DEBUG] aichat::client::openai: stream-data: {"choices":[],"usage":null}'
    asked = stand_in(f"exec yes '{line}' >$AICHAT_LOG_PATH", clocks=clocks(first_token=0.5))
    made = await attempt(asked)
    assert made.finished.evidence.clock == "first token"
    assert made.seconds < 2


async def test_of_its_complaints_the_end_is_kept(stand_in):
    made = await attempt(stand_in("head -c 1000000 /dev/zero >&2; printf 'a\\377 last words' >&2; exit 1"))
    assert made.finished.evidence.stderr.endswith("\ufffda\ufffd last words")
    assert len(made.finished.evidence.stderr) <= aichat.STDERR_BYTES


# --- Many -------------------------------------------------------------------------------------------------------------

FATES = {
    "sim-n5": "complete",
    "sim-n4-cut": "cut",
    "sim-n4-reset": "cut",
    "sim-http429": "rate_limited",
    "sim-n9-at5-stall": "stopped",
    "crash": "crashed",
}


@pytest.mark.slow
async def test_300_of_them_leave_nothing_behind(settings, simulator, stand_in):
    real = settings.AICHAT
    stand_in(f'[ "$2" = p:crash ] && kill -SEGV $$; exec {real} "$@"')
    places = asyncio.Semaphore(16)

    async def one(model):
        async with places:
            stop_at = Text if FATES[model] == "stopped" else None
            return (await attempt(request(simulator.url("openai"), model), stop_at=stop_at)).ending

    await one("sim-n5")
    before = (threading.active_count(), descriptors())
    models = list(FATES) * 50
    assert await asyncio.gather(*map(one, models)) == [FATES[model] for model in models]
    assert psutil.Process().children() == []
    await eventually(lambda: (threading.active_count(), descriptors()) == before)


async def test_an_operators_lower_limit_stays(monkeypatch):
    child = await asyncio.create_subprocess_exec("/bin/sleep", "30")
    resource.prlimit(child.pid, resource.RLIMIT_CPU, (50, 50))
    try:
        sandbox.set_limits(child.pid)
        assert resource.prlimit(child.pid, resource.RLIMIT_CPU) == (50, 50)
        assert resource.prlimit(child.pid, resource.RLIMIT_CORE) == (0, 0)
    finally:
        child.kill()
        await child.wait()


@pytest.mark.parametrize(("part", "method"), [(Output, "feed"), (Transcript, "feed")])
async def test_an_error_of_our_own_in_reading_is_never_called_complete(stand_in, monkeypatch, part, method):
    calls = []
    whole = getattr(part, method)

    def fail_once(self, *args):
        calls.append(args)
        if len(calls) == 1:
            raise ZeroDivisionError
        return whole(self, *args)

    monkeypatch.setattr(part, method, fail_once)
    line = 'T [DEBUG] aichat::client::openai: stream-data: {"choices":[{"delta":{},"finish_reason":"stop"}]}'
    made = await attempt(stand_in(f"echo '{line}' >$AICHAT_LOG_PATH; echo hi"))
    assert decide(made.finished.evidence) == Verdict(Ending.CRASHED, "error in the server")

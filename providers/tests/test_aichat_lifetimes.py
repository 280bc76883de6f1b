"""How a child comes to its end, by itself or by us, and that it is gone then."""

import asyncio
import contextlib
import os
import resource
import signal

import psutil
import pytest

from providers import aichat
from providers.aichat import RequestSent, Stop
from providers.endings import Verdict, decide
from providers.output import Text
from providers.tests.attempts import (
    KINDS,
    attempt,
    begun,
    descriptors,
    only_child,
    request,
    rest,
    stands_still,
)
from sasha.testing import eventually

# The longest that anything may take to end; a program that ignores SIGTERM gets two seconds of it.
SOON = 2.5


def is_gone(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_that_was_whole_before_the_stop_is_whole(simulator, kind):
    stop = Stop()
    async with begun(request(simulator.url(kind), "sim-n3-gap0", kind), RequestSent, stop) as stream:
        await eventually(lambda: not aichat.LIVE)
        stop.request("stopped")
        *_, finished = await rest(stream)
    assert decide(finished.evidence).ending == "complete"


async def test_a_signal_from_outside_is_a_crash_and_the_text_is_kept(simulator):
    async with begun(request(simulator.url("openai"), "sim-n4-stall"), Text) as stream:
        only_child().send_signal(signal.SIGKILL)
        *_, finished = await rest(stream)
    assert finished.evidence.exit_code == -signal.SIGKILL
    assert finished.evidence.has_text


ENDS_BY_ITSELF = {
    "dies of a signal": ("kill -SEGV $$", "crashed", "killed by SIGSEGV"),
    "does not read its prompt": ("exec 0<&-; exit 3", "crashed", "exit code 3"),
    "panics": ("cat >/dev/null; echo \"thread 'main' panicked\" >&2; exit 101", "crashed", "exit code 101"),
    "does nothing": ("", "cut", "no finish reason"),
}


@pytest.mark.parametrize(("script", "ending", "evidence"), ENDS_BY_ITSELF.values(), ids=ENDS_BY_ITSELF)
async def test_a_program_that(stand_in, script, ending, evidence):
    made = await attempt(stand_in(script, prompt="x" * 2**20))
    assert made.verdict == Verdict(ending, evidence)


@pytest.mark.parametrize("program", ["", "/nowhere/aichat", __file__])
async def test_a_program_that_is_missing_or_no_program_is_not_started(settings, simulator, program):
    settings.AICHAT = program
    made = await attempt(request("http://127.0.0.1:1", "m"))
    assert made.verdict == Verdict("not_started", "aichat is not installed")


@pytest.mark.parametrize("wrong", ["a\0b", "a\ud800b"], ids=["NUL", "half a surrogate pair"])
@pytest.mark.parametrize("name", ["model", "key"])
async def test_a_name_that_no_process_can_be_given_is_not_started(simulator, name, wrong):
    made = await attempt(request("http://127.0.0.1:1", **{"model": "m", name: wrong}))
    assert made.ending == "not_started"


async def test_a_directory_that_cannot_be_written_is_not_started(settings, simulator):
    settings.DATA_DIR = __file__
    made = await attempt(request("http://127.0.0.1:1", "m"))
    assert made.verdict == Verdict("not_started", "aichat did not start: Not a directory")


async def test_whatever_descriptor_is_one_too_many_it_is_not_started_and_none_is_lost(simulator):
    asked = request(simulator.url("openai"), "sim-n1")
    await attempt(asked)
    before, endings = descriptors(), []
    while endings[-2:] != ["complete", "complete"]:
        with at_most_descriptors(len(endings)):
            endings.append((await attempt(asked)).ending)
        assert descriptors() == before
    assert set(endings) <= {"not_started", "unreachable", "complete"}
    assert endings[0] == "not_started"


@contextlib.contextmanager
def at_most_descriptors(free):
    """Leave room for `free` more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    # Fill the gaps, so that the next is the highest.
    filling = []
    while not filling or filling[-1] < highest:
        filling.append(os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (filling[-1] + 1 + free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in filling:
            os.close(descriptor)


@pytest.mark.slow
async def test_a_program_that_ignores_sigterm_is_stopped_all_the_same(stand_in):
    made = await attempt(stand_in("trap '' TERM; echo hello; exec sleep 60"), stop_at=Text)
    assert made.seconds < SOON
    assert (made.ending, made.finished.evidence.exit_code) == ("stopped", -signal.SIGKILL)


@pytest.mark.slow
async def test_a_program_that_ignores_sigterm_and_writes_on_is_stopped_while_nobody_reads(stand_in):
    stop = Stop()
    async with begun(stand_in("trap '' TERM; exec cat /dev/zero"), Text, stop):
        await stands_still(only_child())
        stop.request("stopped")
        await eventually(lambda: not aichat.LIVE, within=SOON)


@pytest.mark.slow
async def test_a_program_that_ignores_sigterm_is_gone_when_its_stream_is_left(stand_in):
    began = asyncio.get_running_loop().time()
    async with begun(stand_in("trap '' TERM; echo hello; exec sleep 60"), Text):
        pid = only_child().pid
    assert is_gone(pid)
    assert asyncio.get_running_loop().time() - began < SOON


async def test_what_it_started_ends_with_it(stand_in):
    made = await attempt(stand_in("sleep 60 & echo $!"))
    assert made.seconds < SOON
    await eventually(lambda: is_gone(int(made.text)))


async def test_what_it_started_is_stopped_with_it(stand_in):
    made = await attempt(stand_in("sleep 60 & echo $!; wait"), stop_at=Text)
    assert made.seconds < SOON
    await eventually(lambda: is_gone(int(made.text)))


async def test_a_stream_that_is_left_early_ends_its_child(simulator):
    async with begun(request(simulator.url("openai"), "sim-n4-stall"), Text):
        pid = only_child().pid
    assert is_gone(pid)


async def test_a_task_that_is_cancelled_in_mid_stream_ends_its_child(simulator):
    task = asyncio.create_task(attempt(request(simulator.url("openai"), "sim-n4-stall")))
    await eventually(lambda: simulator.served["open"])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert psutil.Process().children() == []


async def test_a_task_can_be_cancelled_at_any_turn_of_its_start(simulator):
    asked = request(simulator.url("openai"), "sim-stall")
    await attempt(asked, stop_at=RequestSent)
    before = descriptors()
    for turns in range(40):
        task = asyncio.create_task(attempt(asked))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: not psutil.Process().children(), within=SOON)
    await eventually(lambda: descriptors() == before)


async def test_a_server_that_leaves_in_a_hurry_kills_every_child(simulator):
    async with begun(request(simulator.url("openai"), "sim-stall")) as stream:
        aichat.kill_all()
        *_, finished = await rest(stream)
    assert finished.evidence.exit_code == -signal.SIGKILL

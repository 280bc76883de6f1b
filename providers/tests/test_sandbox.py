"""What a child can do to the machine, without a sandbox and with one: the table of docs/isolation.md, line by line."""

import os
import resource
import subprocess
from pathlib import Path

import psutil
import pytest
from django.conf import settings as site_settings

from providers import sandbox
from providers.endings import Ending
from providers.output import Text
from providers.tests.attempts import attempt, begun, request
from sasha.testing import eventually

DOC = Path(site_settings.BASE_DIR, "docs/isolation.md")


def works() -> bool:
    """Whether this kernel lets bubblewrap make namespaces."""
    try:
        tried = ["bwrap", "--ro-bind", "/", "/", "--unshare-pid", "true"]
        return subprocess.run(tried, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


needs_bubblewrap = pytest.mark.skipif(not works(), reason="bubblewrap cannot make namespaces here")
MODES = ["none", pytest.param("bubblewrap", marks=needs_bubblewrap)]

# What a child tries: shell that prints something where it succeeds. SECRET_FILE and SERVER are filled in.
TRIES = {
    "read the site's own files": "cat SECRET_FILE",
    "read another answer's history": "cat DATA/aichat/sessions/sother.yaml",
    "read the accounts of the machine": "cat /etc/passwd",
    "see other processes": "test -d /proc/SERVER/fd && echo seen",
    "read the server's environment": "cat /proc/SERVER/environ",
    "leave a file behind": ": > DATA/left && echo left",
    # Without a sandbox its limits are there a moment after it is.
    "write data to a file": "sleep 0.2; echo data > $HOME/file && cat $HOME/file",
    "write a core dump": "sleep 0.2; test $(ulimit -c) != 0 && echo core",
    "gain privileges": "grep -q 'NoNewPrivs:.0' /proc/self/status && echo new",
    "hold on to the server's descriptors": "ls /proc/self/fd | grep -c . | grep -vE '^[0-6]$'",
    "reach its provider": "exec 9<>/dev/tcp/127.0.0.1/PORT && echo there",
}


def the_table() -> dict[str, dict[str, bool]]:
    """What docs/isolation.md says of each try, by mode."""
    rows = [line.strip("|").split("|") for line in DOC.read_text().splitlines() if line.startswith("| ")]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:3]] for row in rows}
    return {name: {"none": cells[name][0] == "can", "bubblewrap": cells[name][1] == "can"} for name in TRIES}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", TRIES)
async def test_a_child_can_do_what_the_table_says(settings, tmp_path, simulator, stand_in, mode, name):
    settings.AICHAT_SANDBOX = mode
    (tmp_path / "secret_key").write_text("the site's secret")
    (tmp_path / "aichat/sessions").mkdir(parents=True, mode=0o700)
    other = tmp_path / "aichat/sessions/sother.yaml"
    other.write_text("another's words")
    places = {
        "SECRET_FILE": str(tmp_path / "secret_key"),
        "DATA": str(tmp_path),
        "SERVER": str(os.getpid()),
        "PORT": str(simulator.port),
    }
    tried = TRIES[name]
    for word, place in places.items():
        tried = tried.replace(word, place)
    made = await attempt(stand_in(f"exec bash -c '{{ {tried.replace(chr(39), chr(34))}; }} 2>/dev/null'"))
    other.unlink()
    assert bool(made.text.strip()) is the_table()[name][mode], made


@pytest.mark.parametrize("mode", MODES)
async def test_the_real_program_answers_in_it(settings, simulator, mode):
    settings.AICHAT_SANDBOX = mode
    made = await attempt(request(simulator.url("openai"), "sim-n3"))
    assert (made.text, made.ending) == ("word0 word1 word2 ", Ending.COMPLETE)


@needs_bubblewrap
async def test_it_is_limited_from_its_first_moment(settings, simulator):
    settings.AICHAT_SANDBOX = "bubblewrap"
    async with begun(request(simulator.url("openai"), "sim-stall")):
        (innermost,) = [child for child in psutil.Process().children(recursive=True) if child.exe() == settings.AICHAT]
        told = {limit: resource.prlimit(innermost.pid, limit) for limit, _ in sandbox.LIMITS.values()}
        assert told == {limit: (value, value) for limit, value in sandbox.LIMITS.values()}


@needs_bubblewrap
async def test_it_goes_with_its_sandbox_when_it_is_stopped(settings, simulator):
    settings.AICHAT_SANDBOX = "bubblewrap"
    made = await attempt(request(simulator.url("openai"), "sim-n400-gap10"), stop_at=Text)
    assert made.ending is Ending.STOPPED
    await eventually(lambda: not psutil.Process().children(recursive=True))


@needs_bubblewrap
async def test_a_crash_in_it_is_a_crash(settings, stand_in):
    settings.AICHAT_SANDBOX = "bubblewrap"
    made = await attempt(stand_in("kill -SEGV $$"))
    assert (made.ending, made.verdict.evidence) == (Ending.CRASHED, "killed by SIGSEGV")

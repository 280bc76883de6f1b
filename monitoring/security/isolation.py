"""What a child has of the machine while it answers: arguments, environment, descriptors and limits, from outside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
from pathlib import Path

import psutil

from monitoring.security.findings import Section
from monitoring.security.target import SECONDS, Target
from providers import sandbox

# The names that a child may have in its environment.
ALLOWED = re.compile(r"PATH|HOME|LANG|NO_COLOR|TOKIO_WORKER_THREADS|SSL_CERT_FILE|HTTPS?_PROXY|AICHAT_\w+|P_\w+")
# What a child holds: its prompt, its pipes, its sockets, and what its runtime polls with.
HELD = re.compile(r"pipe:|socket:|anon_inode:|/memfd:|/dev/null|/dev/u?random")
SECRET = "a secret that no other process may see"  # noqa: S105 (the test's own words)


async def try_isolation(target: Target) -> Section:
    """Look at a child while it answers; of a server on another machine nothing can be seen."""
    section = Section("isolation of the child")
    if not (target.server_pid and target.slow):
        section.left_out.append("it takes a server on this machine and a slow model: --start has both")
        return section
    async with target.script() as socket:
        await socket.send(message=SECRET, model=target.slow)
        await socket.until("chunk")
        if child := await _find_child(target.server_pid):
            _look_at(child, section)
        else:
            section.check(False, "no child was seen while an answer was written")
    gone = await _find_child(target.server_pid, wanted=False)
    section.check(gone is None, "after its socket was closed, a child lives on")
    return section


async def _find_child(pid: int, *, wanted: bool = True) -> psutil.Process | None:
    """Wait for a child to be there, or not to be; return what there is."""
    until = asyncio.get_running_loop().time() + SECONDS
    while True:
        children = [each for each in psutil.Process(pid).children(recursive=True) if _is_aichat(each)]
        if bool(children) is wanted or asyncio.get_running_loop().time() > until:
            return children[0] if children else None
        # Nobody tells of another's children.
        await asyncio.sleep(0.02)


def _is_aichat(process: psutil.Process) -> bool:
    # One that has just begun is still the program that starts it; one that has ended is none.
    with contextlib.suppress(psutil.Error):
        return process.name() == "aichat"
    return False


def _look_at(child: psutil.Process, section: Section) -> None:
    arguments, environment = child.cmdline(), child.environ()
    section.check(SECRET not in " ".join(arguments), "the message is among its arguments")
    section.check(SECRET not in " ".join(environment.values()), "the message is in its environment")
    keys = [value for name, value in environment.items() if name.endswith("_API_KEY")]
    section.check(not any(key in " ".join(arguments) for key in keys), "its key is among its arguments")
    for name in environment:
        section.check(bool(ALLOWED.fullmatch(name)), f"{name} is in its environment")
    section.check(os.getsid(child.pid) not in (os.getsid(0), 0), "it is in the server's session")
    section.check("NoNewPrivs:\t1" in Path(f"/proc/{child.pid}/status").read_text(), "it may gain privileges")
    for name, (limit, most) in sandbox.LIMITS.items():
        soft, hard = resource.prlimit(child.pid, limit)
        section.check(0 <= hard <= most and soft <= hard, f"its limit {name} is {hard}, not {most}")
    for path in _descriptors(child.pid):
        section.check(bool(HELD.match(path)), f"it holds {path}")
    with contextlib.suppress(psutil.Error):
        section.check(not child.open_files(), f"it has files open: {child.open_files()}")


def _descriptors(pid: int) -> list[str]:
    folder = Path(f"/proc/{pid}/fd")
    found = []
    for link in folder.iterdir():
        with contextlib.suppress(OSError):
            found.append(os.readlink(link))
    return found

"""What a child may use of the machine, and how much of it it sees: all that this server may read, or what it needs.

Without bubblewrap a child is kept by its environment, its limits and what it is told, and could read the files of the
user it runs as. docs/isolation.md has what each way stops, and providers/tests/test_sandbox.py a test for each line.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
from pathlib import Path

from django.conf import settings

BUBBLEWRAP = "bubblewrap"
# By what prlimit(1) calls them.
LIMITS = {
    # Short chats live in 64 MiB of address space; long histories and images need more.
    "as": (resource.RLIMIT_AS, 512 * 1024 * 1024),
    "nofile": (resource.RLIMIT_NOFILE, 64),
    "fsize": (resource.RLIMIT_FSIZE, 0),
    "core": (resource.RLIMIT_CORE, 0),
    "cpu": (resource.RLIMIT_CPU, 120),
}
# Where a program's libraries are. On a merged /usr they are links.
SYSTEM = ("/bin", "/lib", "/lib32", "/lib64", "/sbin")
# What finding a host and trusting it takes.
NETWORK = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ld.so.cache",
)
# A shell's way of telling by which signal a program died, and bubblewrap's.
DIED = 128


def is_on() -> bool:
    """Return whether children are put into a sandbox."""
    return settings.AICHAT_SANDBOX == BUBBLEWRAP


def set_limits(pid: int) -> None:
    """Limit what a child may use, once it is there. An operator's own limit stays where it is lower."""
    for limit, value in LIMITS.values():
        # The child may be gone already.
        with contextlib.suppress(ProcessLookupError):
            _, hard = resource.prlimit(pid, limit)
            lowest = _lower(value, hard)
            resource.prlimit(pid, limit, (lowest, lowest))


def _lower(value: int, hard: int) -> int:
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def wrap(program: str, home: Path, readable: list[Path]) -> list[str]:
    """Return the arguments that come before `program`'s own: its path, in a sandbox where the setting says so.

    In it are the system's libraries, `readable`, and an empty `home` of its own; nothing can be written but that.
    Processes, IPC and host name are its own, the network is the machine's, since that is what the child is for.
    """
    if not is_on():
        return [program]
    limits = [f"--{name}={_lower(value, resource.getrlimit(limit)[1])}" for name, (limit, value) in LIMITS.items()]
    return [
        # Before, since what bubblewrap starts is out of reach a moment later.
        *("/usr/bin/prlimit", *limits, "--"),
        shutil.which("bwrap") or "/usr/bin/bwrap",
        "--die-with-parent",
        *("--unshare-user-try", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"),
        *("--cap-drop", "ALL", "--hostname", "aichat"),
        *("--ro-bind", "/usr", "/usr"),
        *_system(),
        *_readable(*NETWORK, settings.CA_BUNDLE),
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", str(home)),
        *_readable(program, *map(str, readable)),
        # The root is memory; full of files it would be the machine's memory that they take.
        *("--remount-ro", "/"),
        *("--chdir", str(home), "--", program),
    ]


def exit_code(code: int | None) -> int | None:
    """Return the exit code as it would be without a sandbox: negative for a signal, as in subprocess."""
    return DIED - code if is_on() and code is not None and code > DIED else code


def _system() -> list[str]:
    arguments = []
    for path in filter(os.path.lexists, SYSTEM):
        linked = os.path.islink(path)
        arguments += ["--symlink", os.readlink(path), path] if linked else ["--ro-bind", path, path]
    return arguments


def _readable(*paths: str) -> list[str]:
    return [argument for path in paths for argument in ("--ro-bind-try", path, path)]

"""The production image, run by buildah as strictly as it goes: `scripts/image --test` builds it and runs this.

The root is read-only, no capability is left and none can be gained. What an engine does beyond that cannot be tried
here: the isolation `chroot` has no namespaces for processes and network, no seccomp profile and no limits.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import websockets
from django.conf import settings

from sasha.testing import PATIENCE, Connection, free_port, text_of

IMAGE = os.environ.get("SASHA_IMAGE", "")
USER_ID = 1001
CATALOGUE = """
providers:
  - slug: sim
    name: Simulator
    kind: openai-compatible
    priority: 1
    api_base: {address}/v1
    models: [{{name: sim-n20-gap5, priority: 1}}, {{name: sim-n100-gap20, priority: 2}}]
"""
COMPILERS = ("cc", "gcc", "g++", "clang", "make", "cargo", "rustc")
# Of the engine, of the volume, and what a tmpfs lies on.
MOUNTED = ("data", "dev", "proc", "sys", "tmp")


def buildah(*arguments: str) -> str:
    return subprocess.run(["buildah", *arguments], check=True, capture_output=True, text=True).stdout.strip()


@dataclass
class Container:
    """A container of the image: its files, and the one process that is started in it."""

    name: str
    root: Path
    config: dict[str, Any]
    data: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    def start(self, **environment: str) -> subprocess.Popen[str]:
        """Start what the image starts, with its root read-only."""
        self.environment = environment
        # buildah would make this, as a place to mount on.
        (self.root / "run/.containerenv").touch()
        self.remount("ro")
        variables = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        run = ["buildah", "run", "--cap-drop", "ALL", "--network", "host", "--volume", f"{self.data}:/data"]
        run += ["--mount", "type=tmpfs,destination=/tmp,tmpfs-size=16m"]
        self.process = subprocess.Popen(
            [*run, *variables, self.name, "--", "setpriv", "--no-new-privs", "--", *self.starts],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self.process

    def wait_until_it_listens(self) -> None:
        said = []
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said.append(line)
            if "Sasha Studio is at" in line:
                return
        raise AssertionError("the site did not start: " + "".join(said))

    def find(self, *words: str) -> psutil.Process:
        """Return the process in the container with the command line `words`."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(child for child in children if child.cmdline() == list(words))

    @property
    def starts(self) -> list[str]:
        return [*self.config["Entrypoint"], *self.config["Cmd"]]

    @property
    def init(self) -> psutil.Process:
        return self.find(*self.starts)

    @property
    def server(self) -> psutil.Process:
        return self.find("python", "-m", "sasha.server")

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside the server, in its root and as its user, as `docker exec` does."""
        inside = ["nsenter", "--target", str(self.server.pid), "--mount", "--root", "--wd"]
        as_user = [
            "setpriv",
            "--reuid",
            str(USER_ID),
            "--regid",
            str(USER_ID),
            "--clear-groups",
            "--no-new-privs",
            "--",
        ]
        # nsenter is this machine's, setpriv and the rest are the container's.
        return subprocess.run(
            [shutil.which(inside[0]) or "", *inside[1:], "--", *as_user, *command],
            env=self.server.environ(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def remount(self, mode: str) -> None:
        """Make the root read-only ("ro") or not ("rw"): buildah, at its end, takes away its places to mount on."""
        subprocess.run(["mount", "-o", f"remount,{mode}", str(self.root)], check=True)

    def end(self) -> None:
        """Kill what still runs, and wait for buildah's end."""
        self.remount("rw")
        if self.process is None:
            return
        with contextlib.suppress(StopIteration, psutil.NoSuchProcess):
            for process in (*self.init.children(recursive=True), self.init):
                process.kill()
        self.process.communicate(timeout=PATIENCE)


@contextlib.contextmanager
def container(data: Path) -> Iterator[Container]:
    data.mkdir()
    os.chown(data, USER_ID, USER_ID)
    name = buildah("from", "--pull-never", IMAGE)
    root = Path(buildah("mount", name))
    config = json.loads(buildah("inspect", IMAGE))["Docker"]["config"]
    made = Container(name, root, config, data)
    try:
        yield made
    finally:
        made.end()
        buildah("rm", name)


@pytest.fixture(scope="module")
def simulator() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "run_simulator"], cwd=settings.BASE_DIR, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield process.stdout.readline().split()[-1]
    process.terminate()
    process.wait(PATIENCE)
    process.stdout.close()


@dataclass
class Site:
    """A site that answers, in a container, and what a client needs to ask it."""

    container: Container
    port: int
    token: str
    files_before: dict[str, tuple[int, ...]]

    @contextlib.asynccontextmanager
    async def connect(self) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        uri = f"ws://127.0.0.1:{self.port}/ws?session=image"
        async with websockets.connect(uri, additional_headers=headers, proxy=None) as websocket:
            yield Connection(websocket)


@contextlib.contextmanager
def running_site(data: Path, simulator: str) -> Iterator[Site]:
    """Start the image with a secret, and give it an account, a provider and a token by its own commands."""
    port = free_port()
    with container(data) as made:
        before = files_of(made.root)
        catalogue = data / "simulator.yaml"
        catalogue.write_text(CATALOGUE.format(address=simulator))
        # The container's user is another.
        catalogue.chmod(0o644)
        made.start(
            SECRET_KEY="only-for-this-test-" + "x" * 40,
            PORT=str(port),
            ALLOW_PRIVATE_ADDRESSES="true",
            SASHA_ADMIN_USERNAME="alice",
            SASHA_ADMIN_PASSWORD="correct horse battery staple",
        )
        made.wait_until_it_listens()
        loaded = made.execute("python", "manage.py", "load_catalog", "/data/simulator.yaml")
        assert loaded.returncode == 0, loaded.stderr
        token = made.execute("python", "manage.py", "make_token", "alice", "test")
        assert token.returncode == 0, token.stderr
        yield Site(made, port, token.stdout.strip(), before)


def files_of(root: Path) -> dict[str, tuple[int, ...]]:
    """Return what of every file changes with it, but for what is mounted over the image."""
    found = {}
    for folder, folders, files in os.walk(root):
        if folder == str(root):
            folders[:] = [name for name in folders if name not in MOUNTED]
        for name in (*folders, *files):
            path = Path(folder, name)
            facts = path.lstat()
            found[str(path.relative_to(root))] = (facts.st_mode, facts.st_uid, facts.st_size, facts.st_mtime_ns)
    found.pop("run/.containerenv", None)
    found.pop("run", None)
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory, simulator) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("image") / "data", simulator) as running:
        yield running


def test_without_a_secret_it_says_so_and_does_not_start(tmp_path):
    with container(tmp_path / "data") as made:
        said, _ = made.start().communicate(timeout=PATIENCE)
        assert "SECRET_KEY is not set." in said
        assert "Traceback" not in said
        assert list(made.data.iterdir()) == []


async def test_a_plain_client_with_a_token_gets_a_whole_answer(site):
    async with site.connect() as client:
        frames = await client.say("Hello", model="sim:sim-n20-gap5")
    assert frames[-1]["metadata"]["ending"] == "complete", frames
    assert len(text_of(frames)) > 50


def test_every_process_is_the_user_s_without_any_capability(site):
    processes = [site.container.server, site.container.server.parent(), *site.container.server.children()]
    for process in processes:
        status = dict(re.findall(r"^(\w+):\t(.*)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE))
        assert status["Uid"].split() == [str(USER_ID)] * 4
        assert status["Gid"].split() == [str(USER_ID)] * 4
        assert [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")] == [0] * 4
        assert status["NoNewPrivs"] == "1"


def test_its_health_check_passes(site):
    check = site.container.config["Healthcheck"]["Test"]
    assert check[0] == "CMD"
    done = site.container.execute(*check[1:])
    assert done.returncode == 0, done.stderr


def test_its_pages_and_styles_are_served(site):
    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/") as response:
        page = response.read().decode()
    style = re.search(r'href="(/static/[^"]+\.css)"', page)
    assert style
    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}{style[1]}") as response:
        assert "immutable" in response.headers["Cache-Control"]


def test_nothing_can_be_written_but_data_and_tmp(site):
    places = ("/", "/app", "/app/chat", "/opt/venv", "/etc", "/run", "/var/tmp", "/usr/local/bin")
    for place in places:
        assert site.container.execute("touch", f"{place}/written").returncode == 1, place
    for place in ("/data", "/tmp"):
        assert site.container.execute("touch", f"{place}/written").returncode == 0, place
    assert files_of(site.container.root) == site.files_before


def test_nothing_in_the_image_is_the_user_s_and_nothing_takes_another_s_rights(site):
    for path, (mode, owner, *_) in site.files_before.items():
        assert owner != USER_ID, path
        assert not mode & (stat.S_ISUID | stat.S_ISGID) or stat.S_ISDIR(mode), path


def test_there_is_no_compiler_and_no_package_installer_of_ours(site):
    for name in COMPILERS:
        assert site.container.execute("sh", "-c", f"command -v {name}").returncode != 0, name
    assert site.container.execute("python", "-m", "pip", "--version").returncode != 0
    assert not [path for path in site.files_before if "/.cache/pip" in path or path.startswith("opt/venv/bin/pip")]


async def test_told_to_end_it_lets_the_answer_finish_and_exits_with_0(site):
    """The last one: it ends the site of the others."""
    async with site.connect() as client:
        await client.send(message="Hello", model="sim:sim-n100-gap20")
        await client.until("chunk")
        site.container.remount("rw")
        site.container.init.send_signal(signal.SIGTERM)
        frames = await client.until("complete")
        assert frames[-1]["metadata"]["ending"] == "complete"
        assert (await client.receive())["type"] == "closing"
    assert site.container.process.wait(PATIENCE) == 0

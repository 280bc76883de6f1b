"""The scripts of the project: what they say when something is missing, and that they leave no process behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
SCRIPTS = [*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"]
TOOLS = "bash cat chmod dirname env flock grep mkdir mv readlink realpath rm setpriv sha256sum sleep sort"
PATIENCE = 20.0

# Stands in for every Python of a checkout: as the server it answers SIGTERM as $SERVER_ON_TERM says, as the local model
# it waits. It writes down what was asked of it.
PYTHON = """#!/usr/bin/env bash
case "$*" in
    --version) echo "Python 3.11.9"; exit ;;
    -c*) exit "${TOO_OLD:-0}" ;;
esac
echo "$*" >>"$CALLS"
case "$*" in
    "-m venv"*)
        [ -z "${NO_VENV:-}" ] || exit 1
        mkdir -p "$4/bin"; cat "$0" >"$4/bin/python"; chmod +x "$4/bin/python" ;;
    "-m pip install"*) [ -z "${NO_PIP:-}" ] || { echo "pip is sorry"; exit 1; } ;;
    *migrate*) [ -z "${SLOW_MIGRATE:-}" ] || exec sleep 600 ;;
    "-m sasha.server")
        [ -z "${SERVER_ENDS:-}" ] || exit "$SERVER_ENDS"
        trap "${SERVER_ON_TERM:-sleep 0.2; echo server down; exit}" TERM
        echo "server up $$"; while true; do sleep 0.05; done ;;
    *run_local_model*) trap "echo model down; exit" TERM; echo "model up $$"; while true; do sleep 0.05; done ;;
esac
"""


class Checkout:
    """The scripts and empty requirement files in a directory, with a PATH of the usual tools and a false Python."""

    def __init__(self, root: Path):
        self.root, self.bin, self.calls = root / "checkout", root / "bin", root / "calls"
        shutil.copytree(ROOT / "scripts", self.root / "scripts")
        self.write("requirements.txt", "a==1\n")
        self.write("requirements-model.txt", "b==1\n")
        self.bin.mkdir()
        for tool in TOOLS.split():
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        self.write_script(self.bin / "python3", PYTHON)
        self.environment = {"PATH": str(self.bin), "HOME": str(root), "CALLS": str(self.calls)}

    def write(self, name: str, content: str) -> None:
        (self.root / name).write_text(content)

    def write_script(self, path: Path, content: str) -> None:
        path.write_text(content)
        path.chmod(0o755)

    def install_packages(self, *files: str, **environment: str) -> tuple[int, str]:
        done = subprocess.run(
            [self.root / "scripts/install-packages", *(files or ["requirements.txt"])],
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
        )
        return done.returncode, done.stdout

    def count(self, call: str) -> int:
        return self.calls.read_text().count(call) if self.calls.exists() else 0

    def stand_in_for_installers(self) -> None:
        """Leave `run` with what it starts itself."""
        self.write_script(self.root / "scripts/install-packages", "#!/usr/bin/env bash\n")
        self.write_script(self.root / "scripts/install-aichat", "#!/usr/bin/env bash\necho /opt/aichat\n")
        (self.root / ".venv/bin").mkdir(parents=True)
        self.write_script(self.root / ".venv/bin/python", PYTHON)


class Run:
    """`scripts/run` as a process whose output is read line by line."""

    def __init__(self, script: Path, **environment: str):
        self.process = subprocess.Popen(
            [script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self.seen: list[psutil.Process] = []

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        for process in [psutil.Process(self.process.pid), *self.children()] if self.process.poll() is None else []:
            process.kill()
        self.process.communicate()

    def children(self) -> list[psutil.Process]:
        if self.process.poll() is None:
            self.seen = psutil.Process(self.process.pid).children(recursive=True)
        return self.seen

    def until(self, *texts: str) -> None:
        """Read up to the line that completes `texts`, in any order."""
        missing = set(texts)
        while missing:
            line = self.process.stdout.readline()
            assert line, f"never said: {missing}; said: {self.lines}"
            self.lines.append(line.rstrip())
            missing = {text for text in missing if text not in line}
        self.children()

    def pid_of(self, name: str) -> int:
        return next(int(line.split()[-1]) for line in self.lines if line.startswith(name))

    def end(self, number: int | None = None) -> int:
        """Send a signal, wait for the end, and check that no process was left."""
        if number:
            self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=PATIENCE)
        self.lines += rest.splitlines()
        deadline = time.monotonic() + 5
        while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in self.seen):
            assert time.monotonic() < deadline, self.seen
            time.sleep(0.01)
        return self.process.returncode

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


@pytest.fixture
def start(checkout):
    """Start `scripts/run` of a checkout whose installers have nothing to do."""
    checkout.stand_in_for_installers()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    runs = []

    def start(**environment):
        runs.append(Run(checkout.root / "scripts/run", **(checkout.environment | {"PORT": port} | environment)))
        return runs[-1]

    yield start
    for run in runs:
        run.__exit__()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_executable_and_parse(script):
    assert os.access(script, os.X_OK)
    if "python" in script.read_text().splitlines()[0]:
        compile(script.read_text(), script.name, "exec")
    else:
        subprocess.run(["bash", "-n", script], check=True)


# --- install-packages ---


def test_makes_the_environment_and_installs_with_hashes(checkout):
    code, _ = checkout.install_packages("requirements.txt", "requirements-model.txt")
    assert code == 0
    venv, pip = checkout.calls.read_text().splitlines()
    assert venv == "-m venv --clear .venv"
    assert pip.startswith("-m pip install ")
    assert pip.endswith(" --require-hashes --no-deps -r requirements.txt -r requirements-model.txt")


def test_installs_once(checkout):
    checkout.install_packages()
    assert checkout.install_packages() == (0, "")
    assert checkout.count("pip install") == 1


def test_installs_again_when_a_file_has_changed(checkout):
    checkout.install_packages("requirements.txt", "requirements-model.txt")
    checkout.write("requirements.txt", "a==2\n")
    checkout.install_packages("requirements.txt")
    assert checkout.count("pip install") == 2
    checkout.install_packages("requirements.txt", "requirements-model.txt")
    assert checkout.count("pip install") == 2
    assert checkout.count("-m venv") == 1


def test_forgets_a_file_that_was_another_when_it_was_installed(checkout):
    checkout.install_packages("requirements.txt", "requirements-model.txt")
    checkout.write("requirements.txt", "a==2\n")
    checkout.write("requirements-model.txt", "b==2\n")
    checkout.install_packages("requirements.txt")
    checkout.write("requirements-model.txt", "b==1\n")
    checkout.install_packages("requirements-model.txt")
    assert checkout.count("pip install") == 3


def test_makes_the_environment_anew_when_its_python_is_gone(checkout):
    checkout.install_packages()
    (checkout.root / ".venv/bin/python").unlink()
    assert checkout.install_packages()[0] == 0
    assert checkout.count("-m venv") == checkout.count("pip install") == 2


def test_says_that_python_is_too_old(checkout):
    code, said = checkout.install_packages(TOO_OLD="1")
    assert (code, said) == (1, "install-packages: Python 3.11 or newer is needed; python3 here is Python 3.11.9.\n")


def test_says_that_there_is_no_python(checkout):
    (checkout.bin / "python3").unlink()
    code, said = checkout.install_packages()
    assert code == 1
    assert "Python 3.11 or newer is needed; python3 here is missing." in said


def test_says_that_venv_is_missing(checkout):
    code, said = checkout.install_packages(NO_VENV="1")
    assert code == 1
    assert "python3 cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv" in said


def test_says_that_pip_failed_and_tries_again_the_next_time(checkout):
    code, said = checkout.install_packages(NO_PIP="1")
    assert code == 1
    assert "pip is sorry\ninstall-packages: pip could not install the packages; its own words stand above." in said
    assert checkout.install_packages()[0] == 0


# --- run ---


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"HOST": "0.0.0.0"}, "listens on this machine only: HOST cannot be '0.0.0.0'."),
        ({"PORT": "0"}, "PORT is '0'; it must be a number from 1 to 65535."),
        ({"PORT": "65536"}, "PORT is '65536'; it must be a number from 1 to 65535."),
        ({"PORT": "8000x"}, "PORT is '8000x'; it must be a number from 1 to 65535."),
    ],
)
def test_refuses_an_address_before_anything_else(start, checkout, environment, sentence):
    run = start(**environment)
    assert run.end() == 1
    assert run.said(sentence)
    assert not checkout.calls.exists()


def test_refuses_a_port_that_is_taken_before_anything_else(start, checkout):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = start(PORT=str(taken.getsockname()[1]))
        assert run.end() == 1
    assert run.said("is taken. Choose another: PORT=8001 scripts/run")
    assert not checkout.calls.exists()


def test_refuses_to_be_the_second_on_the_same_data(start, tmp_path):
    first = start(DATA_DIR=str(tmp_path / "data"))
    first.until("server up", "model up")
    second = start(DATA_DIR=str(tmp_path / "data"))
    assert second.end() == 1
    assert second.said("Sasha Studio runs already, at http://127.0.0.1:")
    assert first.end(signal.SIGTERM) == 143
    third = start(DATA_DIR=str(tmp_path / "data"))
    third.until("server up", "model up")
    assert third.end(signal.SIGTERM) == 143


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_ends_the_server_and_then_the_model(start, number, code):
    run = start()
    run.until("server up", "model up")
    assert run.end(number) == code
    assert run.lines[-2:] == ["server down", "model down"]


def test_a_second_signal_ends_a_server_that_takes_its_time(start):
    run = start(SERVER_ON_TERM="echo draining")
    run.until("server up", "model up")
    run.process.send_signal(signal.SIGINT)
    run.until("draining")
    assert run.end(signal.SIGINT) == 130


def test_a_server_that_hangs_is_killed_after_its_grace(start):
    run = start(SERVER_ON_TERM="echo hanging", CHAT_SHUTDOWN_GRACE="-9")
    run.until("server up", "model up")
    assert run.end(signal.SIGTERM) == 143


def test_nothing_is_left_when_it_is_killed(start):
    run = start()
    run.until("server up", "model up")
    assert run.end(signal.SIGKILL) == -signal.SIGKILL


def test_ends_with_the_exit_code_of_the_server(start):
    run = start(SERVER_ENDS="3")
    assert run.end() == 3
    assert run.said("The server has ended (exit code 3).")


def test_goes_on_without_the_model(start):
    run = start()
    run.until("server up", "model up")
    os.kill(run.pid_of("model up"), signal.SIGKILL)
    run.until("The local model has ended (exit code 137). The site goes on with the other providers.")
    assert run.end(signal.SIGTERM) == 143
    assert run.said("server down")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_the_preparations(start, checkout, number):
    run = start(SLOW_MIGRATE="1")
    _until(lambda: checkout.count("migrate"))
    run.children()
    run.end(number)
    assert checkout.count("sasha.server") == 0


@pytest.mark.slow
@pytest.mark.model
def test_the_real_thing_starts_answers_and_ends(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    site = {"PORT": port, "DATA_DIR": str(tmp_path), "AICHAT": settings.AICHAT}
    with Run(ROOT / "scripts/run", **(environment | site)) as run:
        run.until(f"Sasha Studio is at http://127.0.0.1:{port}", "Local model smollm2-135m-instruct listening on")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE) as page:
            assert page.status == 200
        assert run.end(signal.SIGTERM) == 143


# --- conftest.py ---


def pytest_in(folder: Path, test: str, **environment: str) -> tuple[int, str]:
    """Run `test` with the project's conftest.py in an empty folder; return the exit code and the output."""
    shutil.copy(ROOT / "conftest.py", folder)
    (folder / "test_it.py").write_text(test)
    kept = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:django", "-p", "no:cacheprovider", "-W", "ignore", "test_it.py"],
        cwd=folder,
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout


SKIPPED = "import pytest\ndef test_yes(): pass\n@pytest.mark.skip\ndef test_no(): pass\n"


def test_a_skipped_test_fails_in_ci(tmp_path):
    code, output = pytest_in(tmp_path, SKIPPED, CI="true")
    assert code == 1
    assert "test_it.py::test_no\n" in output
    assert "1 passed, 1 skipped" in output.splitlines()[-1]


def test_a_skipped_test_is_fine_elsewhere(tmp_path):
    assert pytest_in(tmp_path, SKIPPED)[0] == 0


DATABASE_TESTS = """
import pytest
@pytest.fixture
def db(): pass
@pytest.fixture
def transactional_db(): pass
@pytest.mark.django_db
async def test_bad_mark(): pass
@pytest.mark.django_db(transaction=False)
async def test_bad_argument(): pass
async def test_bad_fixture(db): pass
@pytest.mark.django_db(transaction=True)
async def test_good_mark(): pass
async def test_good_fixture(transactional_db): pass
@pytest.mark.django_db
def test_good_sync(): pass
async def test_good_without(): pass
"""


def test_an_async_test_on_the_database_must_be_transactional(tmp_path):
    code, output = pytest_in(tmp_path, DATABASE_TESTS)
    assert code == 4
    refused = output.partition("mark these async tests django_db(transaction=True):")[2].split()
    assert refused == [f"test_it.py::test_bad_{name}" for name in ("mark", "argument", "fixture")]


def _until(fact):
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)

"""scripts/install-aichat, with a home, a PATH and a release of its own: each way to an aichat, and each refusal."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "install-aichat"
TOOLS = "bash cat flock head mkdir mktemp mv readlink rm sed sha256sum sleep tail tar gzip uname cp chmod touch"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class Machine:
    """A home directory, a PATH that holds nothing but the usual tools, and a web server without files."""

    def __init__(self, root: Path, address: str):
        self.home, self.bin, self.www = root / "home", root / "bin", root / "www"
        for folder in (self.home, self.bin, self.www):
            folder.mkdir(exist_ok=True)
        for tool in TOOLS.split():
            (self.bin / tool).symlink_to(_which(tool))
        put_script(self.bin / "python3", f'exec {sys.executable} "$@"')
        self.address = address
        self.cache = self.home / ".cache" / "sasha-studio"
        self.installed = self.cache / "aichat-0.30.0" / "aichat"
        self.environment = {
            "HOME": str(self.home),
            "PATH": str(self.bin),
            "AICHAT_RELEASE_URL": f"{address}/aichat.tar.gz",
        }

    def start(self):
        return subprocess.Popen(
            [SCRIPT], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def install(self):
        process = self.start()
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    def publish(self, content: bytes, *, checksum: bool = True) -> None:
        (self.www / "aichat.tar.gz").write_bytes(content)
        if checksum:
            self.environment["AICHAT_RELEASE_SHA256"] = hashlib.sha256(content).hexdigest()

    def put_cargo(self, script: str) -> None:
        put_script(self.bin / "cargo", script)

    def assert_nothing_left(self) -> None:
        assert [path.name for path in self.cache.iterdir()] in (["lock"], [])


def _which(tool):
    return next(path for folder in os.environ["PATH"].split(":") if (path := Path(folder) / tool).exists())


def put_script(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{script}\n")
    path.chmod(0o755)
    return path


def says(version: str) -> str:
    return f'[ "$1" = --version ] && echo "aichat {version}"'


def release_of(version: str) -> bytes:
    script = f"#!/usr/bin/env bash\n{says(version)}\n".encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("aichat")
        member.size, member.mode = len(script), 0o755
        archive.addfile(member, io.BytesIO(script))
    return packed.getvalue()


# What `cargo install` does, as far as the script can see. It notes that it was called.
CARGO = f"""
echo "$*" >>"$HOME/cargo-calls"
while [ "$1" != --root ]; do shift; done
mkdir -p "$2/bin" "$CARGO_TARGET_DIR/release"
echo '#!/usr/bin/env bash
{says("0.30.0")}' >"$2/bin/aichat"
chmod +x "$2/bin/aichat"
echo "Installed package"
"""


@pytest.fixture
def machine(tmp_path):
    www = tmp_path / "www"
    www.mkdir()
    handler = functools.partial(QuietHandler, directory=www)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield Machine(tmp_path, f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


def test_takes_the_one_on_path(machine):
    aichat = put_script(machine.bin / "aichat", says("0.30.0"))
    assert machine.install() == (0, f"{aichat}\n", "")
    assert not machine.cache.exists()


def test_takes_the_one_in_the_cache_without_asking_anyone(machine):
    put_script(machine.installed, says("0.30.0"))
    assert machine.install() == (0, f"{machine.installed}\n", "")


def test_honours_another_cache_directory(machine, tmp_path):
    machine.environment["XDG_CACHE_HOME"] = str(tmp_path / "elsewhere")
    aichat = put_script(tmp_path / "elsewhere/sasha-studio/aichat-0.30.0/aichat", says("0.30.0"))
    assert machine.install() == (0, f"{aichat}\n", "")


@pytest.mark.parametrize("version", ["0.29.0", "0.30.01", "0.30.0-rc1"])
def test_says_so_and_goes_on_when_path_has_another_version(machine, version):
    put_script(machine.bin / "aichat", says(version))
    put_script(machine.installed, says("0.30.0"))
    code, out, err = machine.install()
    assert (code, out) == (0, f"{machine.installed}\n")
    assert f"aichat on PATH says it is version '{version}', not 0.30.0, and is left alone." in err


@pytest.mark.parametrize("script", [says("0.29.0"), "exit 1", "echo something else"])
def test_refuses_another_version_in_the_cache(machine, script):
    put_script(machine.installed, script)
    before = machine.installed.read_text()
    code, out, err = machine.install()
    assert (code, out) == (1, "")
    assert f"{machine.installed} is not aichat 0.30.0. Remove it and try again." in err
    assert machine.installed.read_text() == before


def test_installs_the_release(machine):
    machine.put_cargo(CARGO)
    machine.publish(release_of("0.30.0"))
    code, out, err = machine.install()
    assert (code, out) == (0, f"{machine.installed}\n")
    assert "Downloading http" in err
    assert not (machine.home / "cargo-calls").exists()
    assert sorted(path.name for path in machine.cache.iterdir()) == ["aichat-0.30.0", "lock"]
    assert machine.install() == (0, f"{machine.installed}\n", "")


def test_refuses_a_release_that_was_changed_and_does_not_go_on_to_cargo(machine):
    machine.put_cargo(CARGO)
    machine.publish(release_of("0.30.0"), checksum=False)
    code, out, err = machine.install()
    assert (code, out) == (1, "")
    assert "does not have the SHA-256 of the release" in err
    assert not (machine.home / "cargo-calls").exists()
    machine.assert_nothing_left()


def test_refuses_a_release_of_another_version(machine):
    machine.publish(release_of("0.29.0"))
    code, out, err = machine.install()
    assert (code, out) == (1, "")
    assert "What came says it is version '0.29.0', not 0.30.0, and was thrown away." in err
    machine.assert_nothing_left()


@pytest.mark.parametrize("address", ["{}/missing", "http://127.0.0.1:1/aichat.tar.gz"])
def test_builds_with_cargo_where_there_is_no_release(machine, address):
    machine.environment["AICHAT_RELEASE_URL"] = address.format(machine.address)
    machine.put_cargo(CARGO)
    code, out, err = machine.install()
    assert (code, out) == (0, f"{machine.installed}\n")
    assert "The release cannot be had here." in err
    assert "Building aichat 0.30.0 with cargo" in err
    call = (machine.home / "cargo-calls").read_text()
    assert call.startswith("install aichat --version 0.30.0 --locked --root ")
    assert sorted(path.name for path in machine.cache.iterdir()) == ["aichat-0.30.0", "lock"]


def test_builds_with_cargo_where_the_download_breaks_off(machine):
    class Breaking(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"the first of it")

        def log_message(self, *args):
            pass

    machine.put_cargo(CARGO)
    with http.server.HTTPServer(("127.0.0.1", 0), Breaking) as server:
        server.timeout = 10
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        machine.environment["AICHAT_RELEASE_URL"] = f"http://127.0.0.1:{server.server_port}/"
        code, out, err = machine.install()
        thread.join()
    assert (code, out) == (0, f"{machine.installed}\n")
    assert "IncompleteRead" in err


def test_builds_with_cargo_on_a_machine_without_a_release(machine):
    machine.put_cargo(CARGO)
    (machine.bin / "uname").unlink()
    put_script(machine.bin / "uname", "echo Linux riscv64")
    code, out, err = machine.install()
    assert (code, out) == (0, f"{machine.installed}\n")
    assert "Downloading" not in err


def test_says_so_when_there_is_neither_release_nor_cargo(machine):
    code, out, err = machine.install()
    assert (code, out) == (1, "")
    assert "There is no cargo to build aichat with either: install Rust, or put aichat 0.30.0 on PATH." in err
    machine.assert_nothing_left()


def test_says_so_when_cargo_fails(machine):
    machine.put_cargo("mkdir -p $CARGO_TARGET_DIR/half; echo 'error: no such crate' >&2; exit 101")
    code, out, err = machine.install()
    assert (code, out) == (1, "")
    assert "error: no such crate" in err
    assert "cargo could not build aichat 0.30.0; its own words stand above." in err
    machine.assert_nothing_left()


def test_refuses_another_version_from_cargo(machine):
    machine.put_cargo(CARGO.replace("0.30.0", "0.31.0"))
    code, out, err = machine.install()
    assert (code, out) == (1, "")
    assert "What came says it is version '0.31.0', not 0.30.0, and was thrown away." in err
    machine.assert_nothing_left()


def test_two_at_once_build_once(machine):
    machine.put_cargo(f"sleep 0.3\n{CARGO}")
    runs = [machine.start(), machine.start()]
    assert {run.communicate(timeout=30)[0] for run in runs} == {f"{machine.installed}\n"}
    assert len((machine.home / "cargo-calls").read_text().splitlines()) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 143)])
def test_a_signal_ends_the_build_and_leaves_nothing(machine, number, code):
    machine.put_cargo('mkdir -p "$CARGO_TARGET_DIR"; (sleep 600 & echo $! >"$HOME/compiler"; wait)')
    run = machine.start()
    _until(lambda: (machine.home / "compiler").exists() and (machine.home / "compiler").read_text())
    compiler = int((machine.home / "compiler").read_text())
    run.send_signal(number)
    out, _ = run.communicate(timeout=5)
    assert (run.returncode, out) == (code, "")
    _until(lambda: not _alive(compiler))
    machine.assert_nothing_left()


def test_clears_away_what_a_killed_run_left(machine):
    (machine.cache / "install.gone" / "target").mkdir(parents=True)
    machine.put_cargo(CARGO)
    assert machine.install()[0] == 0
    assert sorted(path.name for path in machine.cache.iterdir()) == ["aichat-0.30.0", "lock"]


def _until(fact):
    deadline = time.monotonic() + 5
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"

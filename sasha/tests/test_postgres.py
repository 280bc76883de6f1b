"""scripts/postgres: a PostgreSQL for one command, of which nothing is left."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import psycopg
import pytest
from django.conf import settings

from sasha.testing import PATIENCE

SCRIPT = Path(settings.BASE_DIR) / "scripts/postgres"
INSTALLED = shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not INSTALLED, reason="needs PostgreSQL")]


class Script:
    """The script, with a command that says where its database is and waits for the end of its stdin."""

    def __init__(self):
        self.process = subprocess.Popen(
            [SCRIPT, "sh", "-c", 'echo "$DATABASE_URL"; cat; exit 7'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.place = Path(self.process.stdout.readline().strip().partition("?host=")[2])
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    def wait(self) -> int:
        """Wait for the end of the script and of all that it started; return its exit code."""
        self.process.communicate(timeout=PATIENCE)
        _, alive = psutil.wait_procs(self.children, PATIENCE)
        # Where nobody reaps orphans, they stay as names.
        assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []
        return self.process.returncode


@pytest.fixture
def script():
    script = Script()
    yield script
    for process in [script.process, *script.children]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    script.process.communicate()
    shutil.rmtree(script.place, ignore_errors=True)


def test_gives_a_database_and_the_exit_code_of_its_command(script):
    with psycopg.connect(host=str(script.place), user="postgres", dbname="postgres") as connection:
        assert connection.execute("SELECT count(*) FROM pg_stat_user_tables").fetchone() == (0,)
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    assert script.wait() == 7
    assert not script.place.exists()


def test_leaves_nothing_when_it_is_stopped(script):
    script.process.send_signal(signal.SIGTERM)
    assert script.wait() == -signal.SIGTERM
    assert not script.place.exists()


def test_leaves_no_process_when_it_is_killed(script):
    script.process.send_signal(signal.SIGKILL)
    assert script.wait() == -signal.SIGKILL

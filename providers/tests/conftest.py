"""The simulator in the test's own loop, and scripts that take aichat's place."""

import psutil
import pytest

from providers import aichat
from providers.simulator import Simulator
from providers.tests.attempts import request
from sasha.testing import eventually


@pytest.fixture
async def simulator(settings, tmp_path):
    """A simulator; after the test no process, no live child and no session file may be left."""
    settings.DATA_DIR = tmp_path
    simulator = Simulator()
    await simulator.start()
    try:
        yield simulator
        await eventually(lambda: not psutil.Process().children(), within=2.5)
        assert not aichat.LIVE
        assert not list((tmp_path / "aichat").glob("sessions/*"))
    finally:
        await simulator.stop()


@pytest.fixture
def stand_in(settings, tmp_path, simulator):
    """Put a shell script in aichat's place and return a request to it: only for what no provider can cause."""

    def put(script, **overrides):
        program = tmp_path / "stand-in"
        program.write_text("#!/bin/sh\n" + script)
        program.chmod(0o755)
        settings.AICHAT = str(program)
        return request("http://127.0.0.1:1", "m", **overrides)

    return put

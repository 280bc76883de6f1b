"""Memory and processor time of real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager

from monitoring.meter import Measured, Meter

MB = 1024 * 1024
# Takes memory, burns a fifth of a second, says so, and waits to be let go.
BURN = f"""
import time
held = b"x" * {20 * MB}
until = time.process_time() + 0.2
while time.process_time() < until:
    pass
print("burnt", flush=True)
input()
"""


@contextmanager
def burner():
    """Yield a child that has burnt its share."""
    with subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"burnt\n"
        yield child
        child.communicate(b"\n")


class Watch:
    """A meter, and the seconds of processor time that children have spent between two of its readings."""

    def __init__(self) -> None:
        self.meter, self.since = Meter(), time.monotonic()

    def measure(self, *pids: int) -> tuple[Measured, float]:
        measured, now = self.meter.measure(pids), time.monotonic()
        seconds, self.since = now - self.since, now
        return measured, seconds * measured.children_cpu / 100


def test_a_living_child_has_memory_and_has_used_time():
    watch = Watch()
    with burner() as child:
        measured, spent = watch.measure(child.pid)
    assert measured.children_rss >= measured.children_uss > 20 * MB
    assert measured.rss_by_pid == {child.pid: measured.children_rss}
    assert spent > 0.18


def test_the_time_of_a_child_that_has_ended_counts_once():
    watch = Watch()
    with burner():
        pass
    assert watch.measure()[1] > 0.18
    assert watch.measure()[1] == 0


def test_a_child_that_was_seen_alive_is_not_counted_again_when_it_has_ended():
    watch = Watch()
    with burner() as child:
        watch.measure(child.pid)
    assert watch.measure()[1] < 0.15


def test_a_process_that_is_gone_is_nothing():
    with burner() as child:
        pass
    assert Meter().measure([child.pid]).children_rss == 0

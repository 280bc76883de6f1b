"""What holds for every test: in CI none may be skipped; what uses the database is marked, and if async, says how."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "database: uses the database; set below, for scripts/test --postgres")
    if hasattr(config, "workerinput"):
        # What one worker collects for its browsers must not change under the other.
        settings.STATIC_ROOT /= config.workerinput["workerid"]


@pytest.hookimpl(tryfirst=True)  # before -m chooses by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use the database, and refuse async ones whose rows would stay.

    Without transaction=True the rows are written on other threads' connections, outside the transaction rolled back:
    https://github.com/pytest-dev/pytest-django/issues/580.
    """
    for item in items:
        # For `--dist loadgroup`: servers and browsers would wait for each other; a file shares its fixtures.
        item.add_marker(pytest.mark.xdist_group("slow" if _is_slow(item) else item.path.name))
    using = [item for item in items if _uses_database(item)]
    for item in using:
        item.add_marker("database")
    leaking = [item.nodeid for item in using if _is_async(item) and not _truncates(item)]
    if leaking:
        raise pytest.UsageError("mark these async tests django_db(transaction=True):\n" + "\n".join(leaking))


@pytest.fixture
def rate_limits(settings: Any) -> Iterator[None]:
    """Let rates and limits of addresses hold, as in production, and count from nothing."""
    # Needs Django, and that set up.
    from chat import rates

    settings.RATE_LIMITS = True
    rates.counters.reset()
    yield
    rates.counters.reset()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Let Django empty the tables between tests, the audit's too: here alone, and with its guards up again at once.

    And let passwords cost nothing.
    """
    # These need Django, and that set up.
    from django.db.backends.base.operations import BaseDatabaseOperations

    from sasha.testing import without_guards

    settings.PASSWORD_HASHERS = ["sasha.testing.QuickHasher"]
    flush = BaseDatabaseOperations.execute_sql_flush

    def flush_all(operations: Any, statements: list[str]) -> None:
        flush(operations, [*without_guards(operations.connection), *statements])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseDatabaseOperations, "execute_sql_flush", flush_all)
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skipped_in_ci(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    skipped = _skipped_in_ci(config)
    if skipped:
        terminalreporter.section("skipped, which fails in CI", red=True)
        for nodeid in skipped:
            terminalreporter.line(nodeid)


def _skipped_in_ci(config: pytest.Config) -> list[str]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return []
    return [report.nodeid for report in reporter.stats.get("skipped", [])]


def _is_slow(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("slow", "browser", "model"))


def _is_async(item: pytest.Item) -> bool:
    function = getattr(item, "obj", None)
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _uses_database(item: pytest.Item) -> bool:
    return any(item.iter_markers("django_db")) or not {"db", "transactional_db"}.isdisjoint(_fixtures(item))


def _truncates(item: pytest.Item) -> bool:
    if "transactional_db" in _fixtures(item):
        return True
    marker = item.get_closest_marker("django_db")
    return bool(marker and (marker.kwargs.get("transaction") or marker.args[:1] == (True,)))


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])

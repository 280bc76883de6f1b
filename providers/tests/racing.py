"""The same thing done at once on many threads, here or in several processes at once.

A process is run as `python -m providers.tests.racing RACE THREADS ARGUMENT…`; it begins when a line comes on stdin, and
prints how many of its threads have won.
"""

import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal


def on_threads(calls):
    """Make all the calls at the same moment, each on a thread with a connection of its own; return their results."""
    from django.db import connection

    together = threading.Barrier(len(calls))

    def one(call):
        try:
            together.wait()
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def in_processes(race, *arguments, processes=5, threads=10, module=__name__):
    """Run `race`, which `module` knows, in several processes on this test's database; return how many won in each."""
    from django.conf import settings

    from sasha.testing import PATIENCE, server_environment

    command = [sys.executable, "-m", module, race, str(threads), *map(str, arguments)]
    environment = server_environment() | {"DJANGO_SETTINGS_MODULE": "sasha.settings"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, **pipes) for _ in range(processes)]
    try:
        assert [process.stdout.readline() for process in running] == ["ready\n"] * processes
        for process in running:
            process.stdin.write("go\n")
            process.stdin.flush()
        return [int(process.communicate(timeout=PATIENCE)[0]) for process in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()


def reserve(user_id, amount, attempt_id=None):
    """Reserve an amount on the user's account; return the refusal, or None."""
    from django.db import transaction
    from django.utils import timezone

    from providers import budgets

    now = timezone.now()
    with transaction.atomic():
        uses = budgets.find_uses(user_id and int(user_id), now)
        return budgets.reserve(uses, attempt_id or uuid.uuid4(), Decimal(amount), now)


def admit(provider_id):
    """Take the seat of a provider's trial; return whether it was free."""
    from providers import breaker

    return breaker.admit(int(provider_id))


RACES = {
    "reserve": lambda *arguments: reserve(*arguments) is None,
    "admit": admit,
}


def main(race, threads, *arguments):
    import django

    django.setup()
    print("ready", flush=True)
    sys.stdin.readline()
    print(sum(on_threads([lambda: RACES[race](*arguments)] * int(threads))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

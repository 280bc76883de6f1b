"""A server's part in the race for a budget: reserves on many threads, and prints how often it was admitted.

Run as `python -m providers.tests.reserving USER_ID AMOUNT THREADS`; begins when a line comes on stdin.
"""

import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal


def reserve_at_once(user_ids, amount):
    """Reserve `amount` once for each user id, all at the same moment; return the refusals, None for the admitted."""
    from django.db import connection, transaction

    from providers import budgets

    together = threading.Barrier(len(user_ids))

    def one(user_id):
        try:
            together.wait()
            with transaction.atomic():
                return budgets.reserve(user_id, uuid.uuid4(), amount)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(user_ids)) as pool:
        return list(pool.map(one, user_ids))


def main(user_id, amount, threads):
    import django

    django.setup()
    print("ready", flush=True)
    sys.stdin.readline()
    print(reserve_at_once([int(user_id)] * int(threads), Decimal(amount)).count(None), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

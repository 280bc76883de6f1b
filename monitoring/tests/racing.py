"""What several processes do to the audit at once, as `python -m monitoring.tests.racing`: providers/tests/racing.py."""

import sys

from providers.tests import racing


def write_and_seal(count):
    """Write so many entries, one by one, and seal what is there after each; return that all went well."""
    from monitoring import sealer
    from monitoring.audit import Deed, record

    for _ in range(int(count)):
        record(Deed("money.exported"))
        sealer.seal_some()
    return True


racing.RACES["write_and_seal"] = write_and_seal

if __name__ == "__main__":
    racing.main(*sys.argv[1:])

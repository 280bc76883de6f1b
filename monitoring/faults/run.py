"""One fault test, in a process whose only database is the stand's: `python -m monitoring.faults.run OPTIONS`.

`monitoring.management.commands.fault_test` starts it, with the environment of the stand; OPTIONS is JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import django


def main(options: str) -> None:
    """Run the phases, telling on stderr where they stand, and write the report to the file named in `options`."""
    django.setup()
    # Models can be imported from here on.
    from monitoring.faults.report import as_json
    from monitoring.faults.stand import Stand
    from monitoring.faults.trial import Trial

    told = json.loads(options)
    with Stand(Path(told["directory"]), dict(os.environ)) as stand:
        trial = Trial(stand, told["seed"], told["faults"], lambda words: print(words, file=sys.stderr, flush=True))
        report = trial.run(told["count"])
    Path(told["report"]).write_text(json.dumps(as_json(report), default=str))


if __name__ == "__main__":
    main(sys.argv[1])

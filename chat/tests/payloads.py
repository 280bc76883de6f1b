"""What attackers write: known XSS payloads (brs-kb) and the Big List of Naughty Strings (corpora/, MIT)."""

from __future__ import annotations

import json
from pathlib import Path

from brs_kb import get_all_payloads

NAUGHTY_STRINGS = Path(__file__).parent / "corpora" / "blns.json"


def find_payloads() -> list[str]:
    """Return each of them once, in an order that stays."""
    known = [entry["payload"] for entry in get_all_payloads().values()]
    return sorted({*known, *json.loads(NAUGHTY_STRINGS.read_text())} - {""})

"""What the simulator says that it served, compared with what was received."""

from __future__ import annotations

import asyncio
import hashlib
import json
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monitoring.figures import percentile
from monitoring.load.figures import Reading
from providers.simulator import UnknownModelError, parse_model

SECONDS = 30.0


@dataclass(frozen=True)
class Served:
    """A run as its provider saw it. `late_ms` is how far its worst token was behind its own pace."""

    asked: int
    asked_twice: int
    same_text: int
    tokens_per_second: float | None
    late_p50_ms: float | None
    late_max_ms: float | None


async def read_ledger(simulator: str, last: int) -> list[dict[str, Any]] | None:
    """Return the latest lines of the simulator at `simulator`, or None where there is no simulator."""
    try:
        return await asyncio.to_thread(_get_served, f"{simulator}/served?last={last}")
    except (OSError, ValueError, LookupError):
        return None


def _get_served(url: str) -> list[dict[str, Any]]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=SECONDS) as response:
        return json.load(response)["served"]


def served(lines: Sequence[dict[str, Any]], readings: Sequence[Reading]) -> Served:
    """Compare the ledger's lines with the readings; a prompt is known by its hash."""
    wanted = {_sha256(reading.prompt): _sha256(reading.text) for reading in readings}
    ours = [line for line in lines if line["prompt_sha256"] in wanted]
    asked = {line["prompt_sha256"] for line in ours}
    late = [line["late_ms"] for line in ours]
    return Served(
        asked=len(asked),
        asked_twice=len(ours) - len(asked),
        same_text=sum(line["text_sha256"] == wanted[line["prompt_sha256"]] for line in ours),
        tokens_per_second=percentile(filter(None, map(_pace, ours)), 0.50),
        late_p50_ms=percentile(late, 0.50),
        late_max_ms=max(late, default=None),
    )


def _pace(line: dict[str, Any]) -> float | None:
    """Return the tokens per second from the first token on, or None where the pace is not the simulator's."""
    try:
        streamed = line["seconds"] - parse_model(line["model"]).first / 1000
    except UnknownModelError:
        return None
    return (line["tokens_sent"] - 1) / streamed if streamed > 0 and line["tokens_sent"] > 1 else None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

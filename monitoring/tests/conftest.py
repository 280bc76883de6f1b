from __future__ import annotations

import pytest

from chat.tests.conftest import provider, simulator, site
from monitoring import background

__all__ = ["provider", "simulator", "site"]


@pytest.fixture
def by_hand(monkeypatch) -> None:
    """Let nothing be watched but what the test asks for."""
    monkeypatch.setattr(background, "STEPS", ())

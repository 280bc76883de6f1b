"""docs/threats.md names files and tests that exist, and for every threat at least one of each."""

from __future__ import annotations

import re
from pathlib import Path

from django.conf import settings

ROOT = Path(settings.BASE_DIR)
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "threats.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| threat ")
]


def has_test(name: str) -> bool:
    path, _, function = name.partition("::")
    file = ROOT / path
    return file.exists() and bool(re.search(rf"^(async )?def {function}\(", file.read_text(), re.MULTILINE))


def test_every_threat_has_a_control_with_its_file_and_tests_that_exist():
    assert len(ROWS) > 24
    for threat, control, tests in ROWS:
        files = [name for name in re.findall(r"`([^`]+)`", control) if "/" in name]
        assert files, threat
        assert all((ROOT / name).exists() for name in files), files
        names = re.findall(r"`([^`]+)`", tests)
        assert names, threat
        assert [name for name in names if not has_test(name)] == []

"""What the site is made of: every package by its hash, a bill that names all of it, and what is known against it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
REQUIREMENTS = sorted(ROOT.glob("requirements*.txt"))
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_package_is_pinned_and_has_its_hash(path):
    lines = path.read_text().replace("\\\n", " ").splitlines()
    packages = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert packages
    for package in packages:
        assert re.match(r"[\w.\[\],-]+==\S+", package), package
        assert HASH.search(package), package


def test_every_list_of_packages_has_its_hashed_file():
    assert {path.stem for path in ROOT.glob("requirements*.in")} == {path.stem for path in REQUIREMENTS}


@pytest.mark.slow
def test_the_bill_of_materials_names_everything_and_is_the_same_each_time():
    bill = json.loads(sbom())
    named = {component["purl"] for component in bill["components"]}
    packages = re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert {f"pkg:pypi/{name}@{version}" for name, version in packages} <= named
    assert "pkg:cargo/aichat@0.30.0" in named
    files = {file["name"] for component in bill["components"] for file in component.get("components", ())}
    manifest = json.loads((ROOT / "static/vendor/manifest.json").read_text())
    assert files == {f"static/vendor/{name}" for name in manifest}
    assert "timestamp" not in bill["metadata"]
    assert json.loads(sbom()) == bill


def sbom() -> str:
    done = subprocess.run(
        [ROOT / ".venv/bin/python", ROOT / "scripts/sbom"], check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, "Nothing is known against the 1 packages."),
        (
            [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}],
            1,
            "a 1: CVE-1, mended in 2",
        ),
        ([{"name": "a", "skip_reason": "not found"}], 3, "could not be found out"),
        (None, 3, "(no connection)"),
    ],
)
def test_an_audit_that_could_not_ask_is_no_good_news(tmp_path, answer, code, said):
    """pip-audit, which only the network can answer, is the stand-in here."""
    tools = tmp_path / ".venv/bin"
    tools.mkdir(parents=True)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/audit-packages", tmp_path / "scripts")
    text = json.dumps({"dependencies": answer}) if answer else ""
    write_script(tmp_path / "scripts/install-packages", "#!/bin/sh\n")
    write_script(tools / "pip-audit", f"#!/bin/sh\necho 'no connection' >&2\necho '{text}'\n")
    done = subprocess.run(
        [tmp_path / "scripts/audit-packages"], capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
    )
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done
    assert "Traceback" not in done.stderr


def write_script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)

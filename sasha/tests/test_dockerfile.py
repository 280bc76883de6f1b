"""What the Dockerfile promises and can be read from it; `scripts/image --test` tries the rest on what it makes."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from django.conf import settings

from sasha.requests import FORM_BYTES

ROOT = Path(settings.BASE_DIR)
DOCKERFILE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())


def stages() -> dict[str, list[str]]:
    """Return the instructions of each stage, comments left out; "" has what comes before the first."""
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in DOCKERFILE.splitlines():
        if start := re.match(r"FROM .* AS (\w+)", line):
            name = start[1]
            found[name] = []
        if line and not line.startswith("#"):
            found[name].append(line)
    return found


STAGES = stages()


def test_both_targets_are_there_and_production_is_what_comes_out_without_a_word():
    assert {"development", "production"} <= STAGES.keys()
    assert list(STAGES)[-1] == "production"


def test_every_stage_begins_with_the_one_base_image_or_another_stage():
    assert len(STAGES[""]) == 1
    assert re.fullmatch(r"ARG PYTHON_IMAGE=docker\.io/library/python:3\.\d+-slim-bookworm", STAGES[""][0])
    for instructions in list(STAGES.values())[1:]:
        base = instructions[0].split()[1]
        assert base == "${PYTHON_IMAGE}" or base in STAGES, base


def test_production_runs_as_user_1001_and_owns_nothing():
    production = STAGES["production"]
    assert "USER 1001:1001" in production
    assert not [line for line in production[production.index("USER 1001:1001") :] if line.startswith(("COPY", "RUN"))]
    for line in production:
        if line.startswith("COPY"):
            assert "--chown=root:root" in line


def test_production_has_an_init_a_health_check_and_a_signal():
    names = {line.split()[0] for line in STAGES["production"]}
    assert {"HEALTHCHECK", "STOPSIGNAL", "EXPOSE", "VOLUME", "ENTRYPOINT", "CMD"} <= names
    assert next(line for line in STAGES["production"] if line.startswith("ENTRYPOINT")).startswith('ENTRYPOINT ["tini"')


def test_packages_come_with_hashes_and_without_a_compiler():
    installed = [line for line in STAGES["packages"] if "pip install" in line]
    assert installed
    for line in installed:
        for option in ("--require-hashes", "--no-deps", "--no-cache-dir", "--only-binary :all:"):
            assert option in line
    assert not re.search(r"build-essential|\bgcc\b|apt-get install(?!.*--no-install-recommends)", DOCKERFILE)


def test_no_secret_is_in_the_image():
    assert not re.search(r"(SECRET|PASSWORD|TOKEN|_KEY)\w*\s*=", DOCKERFILE)


def test_the_context_has_neither_history_nor_data_nor_secrets():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".git", ".env", "**/var", "**/.venv", "**/*.sqlite3*", "**/secret_key", "**/encryption_key"} <= set(ignored)


def test_every_app_is_in_the_image():
    site = " ".join(STAGES["site"])
    for path in ROOT.glob("*/apps.py"):
        assert f"COPY {path.parent.name} " in site


def test_the_samples_run_it_as_strictly_as_it_can_be_run():
    sample = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["sasha"]
    assert sample["read_only"] is True
    assert sample["cap_drop"] == ["ALL"]
    assert sample["security_opt"] == ["no-new-privileges:true"]
    (scratch,) = sample["tmpfs"]
    mebibytes = int(re.search(r"/tmp:size=(\d+)m", scratch)[1])
    # As it comes, as Django keeps it, and as the form's file.
    assert mebibytes << 20 > 3 * (settings.CHAT_IMPORT_BYTES + FORM_BYTES)
    assert {"mem_limit", "pids_limit", "cpus"} <= sample.keys()
    assert sample["volumes"] == ["data:/data"]
    other = yaml.safe_load((ROOT / "compose.postgres.yaml").read_text())["services"]["sasha"]
    assert other.keys() == {"extends", "environment", "depends_on"}
    assert other["extends"] == {"file": "compose.yaml", "service": "sasha"}

"""What others wrote and we serve is named, licensed and as they wrote it."""

from __future__ import annotations

import hashlib
import json

from django.conf import settings

VENDOR = settings.BASE_DIR / "static" / "vendor"
MANIFEST = json.loads((VENDOR / "manifest.json").read_text())


def test_every_vendored_file_is_in_the_manifest_with_its_hash():
    files = {path for path in VENDOR.rglob("*") if path.is_file() and path.name not in ("LICENSE", "manifest.json")}
    hashes = {path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert hashes == {name: entry["sha256"] for name, entry in MANIFEST.items()}


def test_every_vendored_file_says_where_it_is_from_and_has_its_licence_beside_it():
    for name, entry in MANIFEST.items():
        assert entry["package"]
        assert entry["version"]
        assert entry["licence"]
        assert (VENDOR / name.split("/")[0] / "LICENSE").is_file(), name

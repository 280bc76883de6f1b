"""What others wrote and we serve is named, licensed and as they wrote it."""

from __future__ import annotations

import hashlib
import json

from django.conf import settings

VENDOR = settings.BASE_DIR / "static" / "vendor"
# What a licence of this name says, so that the file is its text and not a mention of it.
TEXTS = {
    "MIT": "Permission is hereby granted, free of charge",
    "BSD-3-Clause": "Redistribution and use in source and binary forms",
    "OFL-1.1": "SIL OPEN FONT LICENSE Version 1.1",
}
MANIFEST = json.loads((VENDOR / "manifest.json").read_text())


def test_every_vendored_file_is_in_the_manifest_with_its_hash():
    files = {path for path in VENDOR.rglob("*") if path.is_file()} - {
        VENDOR / "manifest.json",
        *VENDOR.glob("*/LICENSE"),
    }
    hashes = {path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert hashes == {name: entry["sha256"] for name, entry in MANIFEST.items()}


def test_every_vendored_file_says_where_it_is_from_and_has_its_licence_beside_it():
    for name, entry in MANIFEST.items():
        assert entry["package"]
        assert entry["version"]
        assert entry["licence"]
        licence = (VENDOR / name.split("/")[0] / "LICENSE").read_text()
        assert TEXTS[entry["licence"]] in " ".join(licence.split()), name

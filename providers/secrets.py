"""The one place where provider keys are read, and where they are taken out of text again."""

from __future__ import annotations

import re

from django.conf import settings

# The shapes of the usual keys, and a key in an address, where Google wants it.
PATTERNS = re.compile(r"\b(sk-[\w-]{8,}|AIza[\w-]{20,}|gsk_\w{8,}|xai-\w{8,})|(?<=[?&]key=)[^&\s)]+")
MASK = "[key]"


def find_key(variable: str) -> str:
    """Return the key held by the environment variable `variable`, or "" where there is none."""
    return settings.PROVIDER_KEYS.get(variable, "")


def redact(text: str) -> str:
    """Return `text` without any key that this site knows, or that looks like one."""
    # The longest first: one key may be the beginning of another.
    for key in sorted(settings.PROVIDER_KEYS.values(), key=len, reverse=True):
        text = text.replace(key, MASK)
    return PATTERNS.sub(MASK, text)

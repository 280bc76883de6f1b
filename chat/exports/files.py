"""A download: its name, from a title that anybody may have written, and its headers."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

from django.http.response import HttpResponseBase

# Longest name without its extension: with it, below what any file system takes, in UTF-8 too.
NAME_LENGTH = 60
# Windows takes none of these, and nobody takes a slash.
FORBIDDEN = re.compile(r'[\\/:*?"<>|]+')


def name_file(title: str, extension: str) -> str:
    """Return a name without control or direction characters, path or hidden-file marks."""
    shown = "".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in title)
    words = " ".join(FORBIDDEN.sub(" ", shown).split())[:NAME_LENGTH]
    return f"{words.strip('. ') or 'conversation'}.{extension}"


def as_download(response: HttpResponseBase, name: str) -> HttpResponseBase:
    """Make `response` a file to be stored under `name`, never shown: RFC 6266, with the name twice as it advises."""
    stem, _, extension = name.rpartition(".")
    # Named again, since this turns wide letters into those that mean something: a quote would end the name.
    plain = name_file(unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode(), extension)
    response["Content-Disposition"] = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    # Said here too, since a file of other people's text must never be guessed to be a page.
    response["X-Content-Type-Options"] = "nosniff"
    return response

"""A file that somebody sent: which JSON documents are in it, one after the other.

Names in an archive are compared and never used as paths. What it says about its own sizes is not believed.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from json.decoder import WHITESPACE  # type: ignore[attr-defined]
from typing import IO, Any, NamedTuple

from django.conf import settings
from django.utils.translation import gettext as _

from chat.imports.drafts import Refused

ZIP_START = b"PK\x03\x04"
# A conversation each, a file for reading beside it, attachments; each member costs a kilobyte before anything is read.
MOST_MEMBERS = 100_000
MEMBER_HEADER = b"PK\x01\x02"
# All members together, as a multiple of the largest file that may be sent.
MOST_UNPACKED = 10
# Text shrinks to a tenth; a bomb to a thousandth.
MOST_RATIO = 200
# Below it a bomb does no harm.
SMALL_BYTES = 1_000_000
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0x1
BLOCK = 1 << 20
# ChatGPT's and ours, in whatever folder.
CONVERSATIONS = re.compile(r"(?:.*/)?(?:conversations(?:-\d+)?\.json|conversations/[^/]+\.json)")
# Each value of JSON takes some 60 bytes, however few in the file: so many can be in one.
MOST_BRACKETS = 3_000_000
MOST_QUOTES = 12_000_000


class Found(NamedTuple):
    """A document, and how to get the bytes of a file that came with it."""

    document: Any
    find: Callable[[str], bytes | None]


def read_documents(file: IO[bytes]) -> Iterator[Found]:
    """Yield the documents; a list counts as its elements. Raises Refused, after what came before the trouble."""
    start = file.read(len(ZIP_START))
    file.seek(0)
    if start == ZIP_START:
        yield from _read_archive(file)
        return
    for document in parse(file.read(settings.CHAT_IMPORT_BYTES + 1)):
        yield Found(document, _find_nothing)


def _find_nothing(name: str) -> bytes | None:
    return None


def _read_archive(file: IO[bytes]) -> Iterator[Found]:
    _limit_members(file)
    try:
        with zipfile.ZipFile(file) as archive:
            members = Members(archive)
            names = [name for name in archive.namelist() if CONVERSATIONS.fullmatch(name)]
            names = names or [name for name in archive.namelist() if name.endswith(".json")]
            if not names:
                raise Refused(_("There are no conversations in this archive."))
            for name in names:
                for document in parse(members.read(name)):
                    yield Found(document, members.find)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError) as error:
        raise Refused(_("The archive is damaged.")) from error


def _limit_members(file: IO[bytes]) -> None:
    """Raise Refused where the archive has too many members, before a list of them is made."""
    count, tail = 0, b""
    while block := file.read(BLOCK):
        count += (tail + block).count(MEMBER_HEADER)
        tail = block[1 - len(MEMBER_HEADER) :]
    file.seek(0)
    if count > MOST_MEMBERS:
        raise Refused(_("There are too many files in this archive."))


class Members:
    """The members of an archive, unpacked within limits."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._left = MOST_UNPACKED * settings.CHAT_IMPORT_BYTES

    def read(self, name: str) -> bytes:
        """Return a member's bytes. Raises Refused."""
        info = self._archive.getinfo(name)
        if info.flag_bits & ENCRYPTED:
            raise Refused(_("The archive is protected by a password."))
        if info.compress_type not in METHODS:
            raise Refused(_("The archive is packed in a way that is not read here."))
        most = min(settings.CHAT_IMPORT_BYTES, self._left, max(SMALL_BYTES, MOST_RATIO * info.compress_size))
        try:
            with self._archive.open(info) as member:
                content = member.read(most + 1)
        except zlib.error as error:
            raise zipfile.BadZipFile(str(error)) from error
        if len(content) > most:
            raise Refused(_("A file in this archive is too large once it is unpacked."))
        self._left -= len(content)
        return content

    def find(self, name: str) -> bytes | None:
        """Return the bytes of a member, or None where there is none of this name or it cannot be read."""
        try:
            return self.read(name)
        except (KeyError, Refused, zipfile.BadZipFile, EOFError):
            return None


def parse(content: bytes) -> Iterator[Any]:
    """Yield the elements of the list that `content` is in JSON, or what else it is. Raises Refused.

    One element at a time: the parser holds everything up while it works, and what comes before a mistake counts.
    """
    text = _decode(content)
    start = WHITESPACE.match(text, 0).end()
    if text[start : start + 1] != "[":
        document, end = _parse_one(text, start)
        _expect_end(text, end)
        yield document
        return
    at = WHITESPACE.match(text, start + 1).end()
    while text[at : at + 1] != "]":
        document, at = _parse_one(text, at)
        yield document
        at = WHITESPACE.match(text, at).end()
        if text[at : at + 1] not in (",", "]"):
            raise _bad_json(text, at)
        if text[at] == ",":
            at = WHITESPACE.match(text, at + 1).end()
    _expect_end(text, at + 1)


def _decode(content: bytes) -> str:
    if len(content) > settings.CHAT_IMPORT_BYTES:
        raise Refused(describe_too_large())
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refused(_("This is neither JSON nor a ZIP archive.")) from None
    if text.count("[") + text.count("{") > MOST_BRACKETS or text.count('"') > MOST_QUOTES:
        raise Refused(_("There are too many small parts in this file."))
    return text


def describe_too_large() -> str:
    """Return what to tell somebody whose file is over the limit."""
    most = settings.CHAT_IMPORT_BYTES // 1_000_000
    return _(
        "The file is larger than %(most)s MB. Of a large archive, send the file conversations.json that is in it."
    ) % {"most": most}


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def _parse_one(text: str, at: int) -> tuple[Any, int]:
    try:
        return _decoder.raw_decode(text, at)
    except json.JSONDecodeError as error:
        # An unfinished string is reported where it began.
        at = len(text) if error.msg.startswith("Unterminated string") else error.pos
        raise _bad_json(text, at) from None
    except RecursionError:
        raise Refused(_("Something in this file is nested too deeply.")) from None
    except ValueError:
        raise _bad_json(text, at) from None


def _expect_end(text: str, at: int) -> None:
    if WHITESPACE.match(text, at).end() != len(text):
        raise _bad_json(text, at)


def _bad_json(text: str, at: int) -> Refused:
    if not text.strip():
        return Refused(_("The file is empty."))
    if at >= len(text.rstrip()):
        return Refused(_("The file ends in the middle: it is not whole."))
    line = text.count("\n", 0, at) + 1
    return Refused(_("The file is not valid JSON: there is a mistake in line %(line)s.") % {"line": line})

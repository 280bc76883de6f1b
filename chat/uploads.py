"""What a file is, by its content alone, and what is kept of it: an image (pictures.py), or a text as UTF-8.

Pure: neither names nor headers are believed.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from django.conf import settings
from django.utils.translation import gettext as _

from chat.models import AttachmentKind

NAME_LENGTH = 120
# The first element of a text that begins with markup.
FIRST_TAG = re.compile(r"<([a-z][\w:-]*)", re.IGNORECASE)
# Line breaks of every kind, tabs and form feeds are text; other control characters are not.
NOT_TEXT = re.compile("[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


class BadUpload(Exception):
    """A file that cannot be taken, with the `sentence` that its sender reads."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@dataclass(frozen=True)
class Upload:
    """What is kept of a file; `width` and `height` are those of an image, in pixels."""

    kind: AttachmentKind
    name: str
    media_type: str
    data: bytes
    width: int | None = None
    height: int | None = None


def read_upload(name: str, content: bytes) -> Upload:
    """Return what is kept of a file. Raises BadUpload. Takes up to a second or two: not for an event loop."""
    name = clean_name(name)
    if not content:
        raise BadUpload(_("%(name)s is empty.") % {"name": name})
    from chat import pictures  # three megabytes of code, which nobody needs before the first file

    return pictures.read(name, content) or _read_text(name, content)


def clean_name(name: str) -> str:
    """Return a file's name as a label: without folders, and without what cannot be seen or turns the text around."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    visible = "".join(c for c in unicodedata.normalize("NFC", last) if not unicodedata.category(c).startswith("C"))
    stem, dot, ending = visible.strip().rpartition(".")
    if len(visible) > NAME_LENGTH and stem and len(ending) < 12:
        return f"{stem[: NAME_LENGTH - len(ending) - 2]}…{dot}{ending}"
    return visible.strip()[:NAME_LENGTH] or _("file")


def _read_text(name: str, content: bytes) -> Upload:
    text = _decode(content)
    if text is None or NOT_TEXT.search(text) or text.startswith("%PDF-"):
        sentence = _("%(name)s is neither a text nor a PNG, JPEG, WebP or GIF picture; nothing else can be attached.")
        raise BadUpload(sentence % {"name": name})
    if _is_svg(text):
        raise BadUpload(_("%(name)s is an SVG picture; save it as a PNG to attach it.") % {"name": name})
    if not text.strip():
        raise BadUpload(_("%(name)s is empty.") % {"name": name})
    data = text.encode()
    if len(data) > settings.CHAT_TEXT_FILE_BYTES:
        sentence = _("%(name)s is too long: a text may have %(most)s KiB.")
        raise BadUpload(sentence % {"name": name, "most": settings.CHAT_TEXT_FILE_BYTES // 1024})
    return Upload(AttachmentKind.TEXT, name, "text/plain", data)


def _is_svg(text: str) -> bool:
    found = FIRST_TAG.search(text[:4096]) if text.lstrip().startswith("<") else None
    return bool(found and found[1].lower().rpartition(":")[2] == "svg")


def _decode(content: bytes) -> str | None:
    """Return the text in UTF-8, or in UTF-16 where it says so at its beginning; None for what is neither."""
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return None

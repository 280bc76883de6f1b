"""What a file is, by its content alone, and what is kept of it: an image encoded anew, or a text as UTF-8.

Pure but for the clock that decoding takes: neither names nor headers are believed, and nothing of what a camera or a
program wrote beside the picture (EXIF, colour profiles, comments, what follows the image's end) is kept.
"""

from __future__ import annotations

import io
import logging
import re
import threading
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.utils.translation import gettext as _
from PIL import Image, ImageOps, UnidentifiedImageError

from chat.models import AttachmentKind

logger = logging.getLogger(__name__)

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
# Providers scale larger ones down by themselves, after they have been paid for the trip.
LONGEST_SIDE = 2048
# Aimed at: eight of them stay far below what providers take in one request (Google 20 MB, Anthropic 32 MB).
IMAGE_BYTES = 1024 * 1024
QUALITIES = (85, 75, 60)
SHRINK = 0.75
NAME_LENGTH = 120
# The first element of a text that begins with markup.
FIRST_TAG = re.compile(r"<([a-z][\w:-]*)", re.IGNORECASE)
# Line breaks of every kind, tabs and form feeds are text; other control characters are not.
NOT_TEXT = re.compile("[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
# Decoded pixels are what takes memory: one picture at a time, whoever sends it.
_decoding = threading.Lock()
# What Pillow would only warn of, at 89 million pixels, whatever the setting says.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


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
    if image := _open_image(name, content):
        with _decoding:
            return _read_image(name, image)
    return _read_text(name, content)


def clean_name(name: str) -> str:
    """Return a file's name as a label: without folders, and without what cannot be seen or turns the text around."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    visible = "".join(c for c in unicodedata.normalize("NFC", last) if not unicodedata.category(c).startswith("C"))
    stem, dot, ending = visible.strip().rpartition(".")
    if len(visible) > NAME_LENGTH and stem and len(ending) < 12:
        return f"{stem[: NAME_LENGTH - len(ending) - 2]}…{dot}{ending}"
    return visible.strip()[:NAME_LENGTH] or _("file")


# --- Images -----------------------------------------------------------------------------------------------------------


def _open_image(name: str, content: bytes) -> Image.Image | None:
    """Return the image with its header read, or None where this is none. Raises BadUpload for one that is too large."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        return None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels(name) from None
    except Exception:
        raise _damaged(name) from None
    # A JPEG can be decoded at a fraction of its size, for a fraction of the memory.
    image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
    if image.width * image.height > settings.CHAT_IMAGE_PIXELS:
        raise _too_many_pixels(name)
    return image


def _read_image(name: str, image: Image.Image) -> Upload:
    try:
        pixels = _load(image)
        media_type, data = _encode(pixels)
    # A decoder fails with whatever it stumbles over; every one of those means the same to the sender.
    except Exception as error:
        logger.info("an image could not be read: %s", type(error).__name__)
        raise _damaged(name) from None
    finally:
        # Else its pixels would wait for the garbage collector.
        image.close()
    size = Image.open(io.BytesIO(data)).size
    return Upload(AttachmentKind.IMAGE, name, media_type, data, *size)


def _load(image: Image.Image) -> Image.Image:
    """Return the first frame upright, in RGB or, where something shines through, RGBA, and no larger than needed."""
    image.load()
    if image.mode.startswith("I"):
        # 16 bits a pixel: what is brighter than the lowest 8 would be cut off, not scaled.
        image = image.point(lambda value: value / 256).convert("L")
    if image.mode in ("1", "P"):
        # Scaled as they are, they would lose every other line.
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    ImageOps.exif_transpose(image, in_place=True)
    if not image.has_transparency_data:
        return image.convert("RGB")
    pixels = image.convert("RGBA")
    return pixels if pixels.getchannel("A").getextrema() != (255, 255) else pixels.convert("RGB")


def _encode(pixels: Image.Image) -> tuple[str, bytes]:
    """Return the media type and the bytes, at most IMAGE_BYTES of them."""
    # What the file said about itself would be written again.
    pixels.info.clear()
    attempts: Iterator[bytes]
    while True:
        if pixels.mode == "RGBA":
            media_type, attempts = "image/png", iter([_saved(pixels, "PNG")])
        else:
            media_type, attempts = "image/jpeg", (_saved(pixels, "JPEG", quality=quality) for quality in QUALITIES)
        for data in attempts:
            if len(data) <= IMAGE_BYTES:
                return media_type, data
        pixels = pixels.resize((max(1, int(pixels.width * SHRINK)), max(1, int(pixels.height * SHRINK))))


def _saved(pixels: Image.Image, kind: str, **options: object) -> bytes:
    written = io.BytesIO()
    pixels.save(written, kind, **options)
    return written.getvalue()


def _too_many_pixels(name: str) -> BadUpload:
    most = settings.CHAT_IMAGE_PIXELS // 1_000_000
    sentence = _("%(name)s has too many pixels; up to %(most)s million can be taken. Make it smaller first.")
    return BadUpload(sentence % {"name": name, "most": most})


def _damaged(name: str) -> BadUpload:
    return BadUpload(_("%(name)s cannot be read: the picture is damaged or incomplete.") % {"name": name})


# --- Texts ------------------------------------------------------------------------------------------------------------


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

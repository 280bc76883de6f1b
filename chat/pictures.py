"""Images as they are kept: encoded anew, upright, no larger than a model needs.

Nothing of what a camera or a program wrote beside the picture (EXIF, colour profiles, comments, what follows the
image's end) is kept.
"""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Iterator

from django.conf import settings
from django.utils.translation import gettext as _
from PIL import Image, ImageOps, UnidentifiedImageError

from chat.models import AttachmentKind
from chat.uploads import BadUpload, Upload

logger = logging.getLogger(__name__)

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
# Providers scale larger ones down by themselves, after they have been paid for the trip.
LONGEST_SIDE = 2048
# Aimed at: eight of them stay far below what providers take in one request (Google 20 MB, Anthropic 32 MB).
IMAGE_BYTES = 1024 * 1024
QUALITIES = (85, 75, 60)
SHRINK = 0.75
# Decoded pixels are what takes memory: one picture at a time, whoever sends it.
_decoding = threading.Lock()
# What Pillow would only warn of, at 89 million pixels, whatever the setting says.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


def read(name: str, content: bytes) -> Upload | None:
    """Return the image in `content`, None where there is none. Raises BadUpload. Takes up to a second or two."""
    image = _open_image(name, content)
    if image is None:
        return None
    with _decoding:
        return _read_image(name, image)


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

"""The bytes of an attached file, piece by piece: whole, they would wait in memory for a slow reader."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from django.db.models import BinaryField
from django.db.models.functions import Substr

from chat.models import Attachment

# Whole groups of three bytes, for base64. Smaller ones would make a database unpack the file more often.
PIECE_BYTES = 768 * 1024


def read_pieces(key: uuid.UUID | str) -> Iterator[bytes]:
    """Yield the file's bytes; none where it has been deleted meanwhile."""
    piece, start = b"", 1
    while start == 1 or len(piece) == PIECE_BYTES:
        cut = Substr("data", start, PIECE_BYTES, output_field=BinaryField())
        piece = bytes(Attachment.objects.filter(pk=key).values_list(cut, flat=True).first() or b"")
        yield piece
        start += PIECE_BYTES

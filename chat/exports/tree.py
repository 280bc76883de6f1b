"""A conversation as a JSON file: the whole tree, with the bytes of its attachments or without."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterator

from chat.exports.document import Carrier, left_out
from chat.exports.rows import Rows, fetch
from chat.models import Attachment, Conversation

# Of an attachment at a time: whole groups of three bytes, which become 64 KiB of text.
STEP_BYTES = 48 * 1024


def write_json(rows: Rows, carry: Carrier = left_out) -> str:
    """Return the whole tree; attachments by name alone, if `carry` does not say otherwise."""
    return json.dumps(rows.as_document(carry), ensure_ascii=False, indent=1)


def write_json_with_files(conversation: Conversation) -> Iterator[bytes]:
    """Yield the whole tree in pieces, each attachment where it belongs: only one is in memory at a time."""
    # Made after everything that could hold it has been written.
    rows, mark = fetch(conversation), secrets.token_hex()
    text = write_json(rows, lambda attachment: {"data": f"{mark}{attachment.pk}"})
    for number, part in enumerate(re.split(f"{mark}(.{{36}})", text)):
        if number % 2:
            yield from _in_base64(part)
        else:
            yield part.encode(errors="replace")


def _in_base64(key: str) -> Iterator[bytes]:
    # None where it has been deleted meanwhile.
    for data in Attachment.objects.filter(pk=key).values_list("data", flat=True):
        for start in range(0, len(data), STEP_BYTES):
            yield base64.b64encode(data[start : start + STEP_BYTES])

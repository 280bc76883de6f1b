"""A conversation as a JSON file: the whole tree, with the bytes of its attachments or without."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterator

from chat.exports.attached import read_pieces
from chat.exports.document import Carrier, left_out
from chat.exports.rows import Rows, fetch
from chat.models import Conversation


def write_json(rows: Rows, carry: Carrier = left_out) -> str:
    """Return the whole tree; attachments by name alone, if `carry` does not say otherwise."""
    return json.dumps(rows.as_document(carry), ensure_ascii=False, indent=1)


def write_json_with_files(conversation: Conversation) -> Iterator[bytes]:
    """Yield the whole tree in pieces, with the bytes of each attachment where they belong."""
    # Made after everything that could hold it has been written.
    rows, mark = fetch(conversation), secrets.token_hex()
    text = write_json(rows, lambda attachment: {"data": f"{mark}{attachment.pk}"})
    for number, part in enumerate(re.split(f"{mark}(.{{36}})", text)):
        if number % 2:
            yield from map(base64.b64encode, read_pieces(part))
        else:
            yield part.encode(errors="replace")

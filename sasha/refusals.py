"""What the server itself answers, before the application or instead of it: JSON, with the headers of every response."""

from __future__ import annotations

import json

from chat import protocol
from sasha.headers import Headers, came_over_tls, complete

# After which somebody who found no room may try again.
RETRY_SECONDS = 10
CODES = {401: "sign_in", 413: "too_large", 429: "too_many", 503: "too_many"}
SENTENCES = {
    400: "This request is malformed.",
    401: "Sign in first.",
    413: "This is too large.",
    429: "Too much comes from your address at once. Try again in a moment.",
    500: "Something went wrong here.",
    503: "Too much comes in at once. Try again in a moment.",
}


def make_refusal(status: int, asked: Headers) -> tuple[Headers, bytes]:
    """Return the headers and the body of a refusal; `asked`: the headers of the request, as far as they came."""
    error = {"type": protocol.Error.type, "error": SENTENCES.get(status, ""), "code": CODES.get(status, "failed")}
    content = json.dumps(error).encode()
    own = [(b"Content-Type", b"application/json"), (b"Content-Length", str(len(content)).encode())]
    if status in (429, 503):
        own.append((b"Retry-After", str(RETRY_SECONDS).encode()))
    return complete(own, is_secure=came_over_tls(asked)), content

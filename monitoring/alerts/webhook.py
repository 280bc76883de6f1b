"""A POST to an address that an admin has typed: only where a provider could be, too, and to the very host checked.

The name is resolved once. Every address that it leads to is checked, the connection is made to one of those, and no
redirect is followed, so that neither the name's DNS nor its server can lead the site into its own network.
"""

from __future__ import annotations

import contextlib
import hmac
import http.client
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import SplitResult, urlsplit

from django.utils import timezone
from django.utils.crypto import salted_hmac

from monitoring.alerts.errors import NotSent
from monitoring.alerts.messages import Notice, as_json
from monitoring.models.alerts import AlertReceiver
from providers.addresses import Address, BadAddress, find_checked
from providers.checkup import make_tls_context

# From the first connection to the last header.
TIMEOUT_SECONDS = 10.0
TOO_LONG = "it takes too long"
SALT = "monitoring.alerts.webhook"
CONNECTIONS = {"https": http.client.HTTPSConnection, "http": http.client.HTTPConnection}


def post(receiver: AlertReceiver, notice: Notice) -> None:
    """Send the notice to a webhook. Raises NotSent. What it answers, beside the status, is not read."""
    body = as_json(notice)
    try:
        status = _post(receiver.address, body, _headers(receiver, notice, body))
    except BadAddress as problem:
        raise NotSent(str(problem)) from None
    except (OSError, http.client.HTTPException) as trouble:
        words = getattr(trouble, "strerror", None) or str(trouble) or type(trouble).__name__
        raise NotSent(f"It cannot be reached: {words}.") from None
    if 300 <= status < 400:
        raise NotSent(f"It answers with a redirect (HTTP {status}), which is not followed. Give the final address.")
    if not 200 <= status < 300:
        raise NotSent(f"It answers with HTTP {status}.")


def check(url: str) -> list[Address]:
    """Return the addresses that a webhook's name resolves to. Raises BadAddress where a provider could not be there.

    Other than a provider's address it may have a query: some services keep their token there.
    """
    base, _, query = url.partition("?")
    if not query.isascii() or not query.isprintable() or " " in query or "#" in query:
        raise BadAddress("What comes after the ? has a character that no address has.")
    return find_checked(base)


def secret_of(receiver: AlertReceiver) -> str:
    """Return what its messages are signed with: made from SECRET_KEY and the row, so that it is stored nowhere."""
    return salted_hmac(SALT, str(receiver.pk), algorithm="sha256").hexdigest()


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature that docs/alerts.md describes."""
    return "sha256=" + hmac.digest(secret.encode(), f"{timestamp}.".encode() + body, "sha256").hex()


def _headers(receiver: AlertReceiver, notice: Notice, body: bytes) -> dict[str, str]:
    timestamp = str(int(timezone.now().timestamp()))
    return {
        "Content-Type": "application/json",
        "User-Agent": "sasha-studio",
        "Connection": "close",
        "X-Sasha-Message": notice.id,
        "X-Sasha-Timestamp": timestamp,
        "X-Sasha-Signature": sign(secret_of(receiver), timestamp, body),
    }


def _post(url: str, body: bytes, headers: dict[str, str]) -> int:
    addresses = check(url)
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with _connected(parts, addresses) as connection:
        connection.request("POST", target, body, headers)
        return connection.getresponse().status


@contextmanager
def _connected(parts: SplitResult, addresses: Sequence[Address]) -> Iterator[http.client.HTTPConnection]:
    """Yield a connection to one of the addresses, which ends by itself when the time is over."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    connection = CONNECTIONS[parts.scheme](parts.hostname or "", parts.port)
    # A connection that has its socket asks no resolver.
    connection.sock = _connect(addresses, connection.port, deadline)
    # The time-out of a socket is that of one read: a server that drips could hold the thread for ever.
    watch = threading.Timer(max(0.0, deadline - time.monotonic()), _hang_up, [connection])
    watch.start()
    try:
        if parts.scheme == "https":
            secured = make_tls_context().wrap_socket(
                connection.sock, server_hostname=parts.hostname, do_handshake_on_connect=False
            )
            connection.sock = secured
            secured.do_handshake()
        yield connection
    except (OSError, http.client.HTTPException):
        if time.monotonic() >= deadline:
            raise TimeoutError(TOO_LONG) from None
        raise
    finally:
        watch.cancel()
        connection.close()


def _connect(addresses: Sequence[Address], port: int, deadline: float) -> socket.socket:
    """Return a connection to the first of the addresses that takes one."""
    trouble: OSError = TimeoutError(TOO_LONG)
    for address in addresses:
        if (left := deadline - time.monotonic()) <= 0:
            break
        connecting = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
        connecting.settimeout(left)
        try:
            connecting.connect((str(address), port))
        except OSError as refusal:
            connecting.close()
            trouble = refusal
        else:
            return connecting
    raise trouble


def _hang_up(connection: http.client.HTTPConnection) -> None:
    with contextlib.suppress(OSError):
        connection.sock.shutdown(socket.SHUT_RDWR)

"""The headers of every response, whoever makes it: a page, a static file, a refused WebSocket, or the server itself.

What depends on the page, its Content-Security-Policy, comes from sasha/csp.py and is kept.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings

from sasha.csp import BARE_POLICY, HEADER
from sasha.proxy import forwarded

# Everything that a page of a chat does not need. Left alone is what the copy buttons do: clipboard-write.
FEATURES_OFF = (
    "accelerometer",
    "autoplay",
    "browsing-topics",
    "camera",
    "clipboard-read",
    "display-capture",
    "encrypted-media",
    "fullscreen",
    "geolocation",
    "gyroscope",
    "hid",
    "idle-detection",
    "local-fonts",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "picture-in-picture",
    "publickey-credentials-get",
    "screen-wake-lock",
    "serial",
    "storage-access",
    "usb",
    "window-management",
    "xr-spatial-tracking",
)
PERMISSIONS_POLICY = ", ".join(f"{feature}=()" for feature in FEATURES_OFF)

Headers = list[tuple[bytes, bytes]]


class SecurityHeaders:
    """ASGI middleware: add to each HTTP response the headers that it has not got."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        async def send_completed(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                message = {**message, "headers": complete(given, is_secure=scope.get("scheme") == "https")}
            await send(message)

        await self.app(scope, receive, send_completed if scope["type"] == "http" else send)


def came_over_tls(headers: Headers) -> bool:
    """Whether a request with these headers, their names in small letters, has come to a proxy of ours over TLS."""
    told = forwarded({"type": "http", "headers": headers}, settings.PROXIES) if settings.PROXIES else {}
    return told.get("scheme") == "https"


def complete(headers: Headers, *, is_secure: bool) -> Headers:
    """Return the headers of a response with those added that it lacks."""
    present = {name.lower() for name, _ in headers}
    return headers + [pair for pair in _wanted(is_secure) if pair[0].lower() not in present]


def _wanted(is_secure: bool) -> Headers:
    wanted = {
        HEADER: BARE_POLICY,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": settings.X_FRAME_OPTIONS,
        "Referrer-Policy": settings.SECURE_REFERRER_POLICY,
        "Permissions-Policy": PERMISSIONS_POLICY,
        "Cross-Origin-Opener-Policy": settings.SECURE_CROSS_ORIGIN_OPENER_POLICY,
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if is_secure and settings.SECURE_HSTS_SECONDS:
        # Over plain HTTP browsers must ignore it (RFC 6797, section 7.2).
        wanted["Strict-Transport-Security"] = f"max-age={settings.SECURE_HSTS_SECONDS}; includeSubDomains; preload"
    return [(name.encode(), value.encode()) for name, value in wanted.items()]

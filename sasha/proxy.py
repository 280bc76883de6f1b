"""Whose requests a proxy of ours brings: the one place that reads X-Forwarded-For and X-Forwarded-Proto."""

from __future__ import annotations

import ipaddress
from typing import Any

from django.conf import settings


class ForwardedClient:
    """ASGI middleware: put the client that the outermost proxy saw into the scope. Without proxies nothing is believed.

    Each proxy appends whom it was asked by, so that of PROXIES entries from the right the first one is ours, and what
    the client itself has written stands before it.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if settings.PROXIES and scope["type"] in ("http", "websocket"):
            scope = {**scope, **forwarded(scope, settings.PROXIES)}
        await self.app(scope, receive, send)


def forwarded(scope: dict[str, Any], proxies: int) -> dict[str, Any]:
    """Return the `client` and `scheme` of a scope as `proxies` proxies tell them; what they do not tell is left out."""
    told: dict[str, Any] = {}
    hops = _values(scope, b"x-forwarded-for")
    if len(hops) >= proxies and (address := _address(hops[-proxies])):
        told["client"] = [address, 0]
    schemes = _values(scope, b"x-forwarded-proto")
    if scope["type"] == "http" and schemes and schemes[-1] in ("http", "https"):
        told["scheme"] = schemes[-1]
    return told


def _values(scope: dict[str, Any], wanted: bytes) -> list[str]:
    lines = [value.decode("latin1") for name, value in scope["headers"] if name == wanted]
    return [part.strip() for part in ",".join(lines).split(",") if part.strip()]


def _address(text: str) -> str | None:
    """Return the address in `text`, which some proxies write with a port and, of IPv6, in brackets."""
    host = text[1:].partition("]")[0] if text.startswith("[") else text
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None

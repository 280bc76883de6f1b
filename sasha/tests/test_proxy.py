from __future__ import annotations

import io

import pytest
from django.core.handlers.asgi import ASGIRequest

from sasha.proxy import ForwardedClient

PEER = ["10.0.0.9", 40000]


async def seen(settings, proxies: int, *lines: str, proto: str = "", kind: str = "http") -> dict:
    """Return the scope that the site gets of a request with these lines of X-Forwarded-For."""
    settings.PROXIES = proxies
    headers = [(b"x-forwarded-for", line.encode()) for line in lines]
    if proto:
        headers.append((b"x-forwarded-proto", proto.encode()))
    scopes = []

    async def site(scope, receive, send):
        scopes.append(scope)

    await ForwardedClient(site)({"type": kind, "client": PEER, "scheme": "http", "headers": headers}, None, None)
    return scopes[0]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("proxies", "lines", "client"),
    [
        # Without a proxy of ours nobody is believed.
        (0, ["1.2.3.4"], "10.0.0.9"),
        (1, [], "10.0.0.9"),
        (1, ["1.2.3.4"], "1.2.3.4"),
        # What the client has written itself stands to the left of what our proxies have seen.
        (1, ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        (1, ["6.6.6.6", "1.2.3.4"], "1.2.3.4"),
        (2, ["6.6.6.6, 1.2.3.4, 10.0.0.1"], "1.2.3.4"),
        # It has not come through both.
        (2, ["1.2.3.4"], "10.0.0.9"),
        (1, ["nonsense"], "10.0.0.9"),
        (1, ["unknown, "], "10.0.0.9"),
        (1, ["1.2.3.4:5678"], "1.2.3.4"),
        (1, ["2001:db8::1"], "2001:db8::1"),
        (1, ["[2001:db8::1]:5678"], "2001:db8::1"),
    ],
)
async def test_the_client_is_who_the_outermost_proxy_of_ours_saw(settings, kind, proxies, lines, client):
    assert (await seen(settings, proxies, *lines, kind=kind))["client"][0] == client


@pytest.mark.parametrize(
    ("proxies", "proto", "scheme"),
    # The last is what our own proxy has written.
    [(1, "https", "https"), (1, "https, http", "http"), (0, "https", "http"), (1, "ftp", "http"), (1, "", "http")],
)
async def test_the_scheme_is_that_of_the_proxy(settings, proxies, proto, scheme):
    assert (await seen(settings, proxies, proto=proto))["scheme"] == scheme


@pytest.mark.parametrize(("proto", "is_secure"), [("https", True), ("https, http", False)])
async def test_a_request_is_as_secure_as_the_proxy_says_and_not_the_client(settings, proto, is_secure):
    scope = await seen(settings, 1, proto=proto)
    request = ASGIRequest(scope | {"method": "GET", "path": "/", "query_string": b""}, io.BytesIO())
    assert request.is_secure() is is_secure

from __future__ import annotations

import pytest
from asgiref.testing import ApplicationCommunicator

from sasha.asgi import application
from sasha.headers import FEATURES_OFF
from sasha.testing import PATIENCE

WANTED = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


async def fetch(path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, dict[str, str]]:
    """Return the status and the headers of what the whole application answers."""
    given = {"host": "127.0.0.1:8000"} | (headers or {})
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "scheme": "http",
        "client": ["127.0.0.1", 1],
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    asked = ApplicationCommunicator(application, scope)
    await asked.send_input({"type": "http.request", "body": b""})
    start = await asked.receive_output(PATIENCE)
    while (await asked.receive_output(PATIENCE)).get("more_body"):
        pass
    await asked.wait(PATIENCE)
    return start["status"], {name.decode().lower(): value.decode() for name, value in start["headers"]}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 200),
        ("/nowhere", "GET", 404),
        ("/admin/", "GET", 302),
        ("/account/sign-out", "GET", 405),
        ("/account/sign-in", "POST", 403),
        ("/api/connection", "GET", 200),
        ("/words/en.js", "GET", 200),
    ],
)
async def test_every_response_of_the_site_has_them(path, method, status):
    headers = {"origin": "http://evil.example", "cookie": "csrftoken=x"} if method == "POST" else {}
    got, headers = await fetch(path, method, headers)
    assert got == status
    assert headers.items() >= WANTED.items()
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert all(f"{feature}=()" in headers["permissions-policy"] for feature in FEATURES_OFF)


@pytest.mark.django_db(transaction=True)
async def test_what_the_view_says_of_itself_is_kept(settings):
    settings.X_FRAME_OPTIONS = "SAMEORIGIN"
    _, headers = await fetch("/words/en.js")
    assert headers["x-frame-options"] == "SAMEORIGIN"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("proto", "insists"), [("https", True), ("http", False)])
async def test_browsers_are_told_to_insist_on_tls_where_there_is_some(settings, proto, insists):
    settings.PROXIES, settings.SECURE_HSTS_SECONDS = 1, 31_536_000
    _, headers = await fetch("/words/en.js", headers={"x-forwarded-proto": proto})
    assert ("strict-transport-security" in headers) is insists
    if insists:
        assert headers["strict-transport-security"] == "max-age=31536000; includeSubDomains; preload"

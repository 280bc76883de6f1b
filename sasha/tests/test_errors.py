from __future__ import annotations

import pytest
from django.test import Client

FORM = "application/x-www-form-urlencoded"


UNREADABLE = [(FORM, "a=1&" * 2000), ("multipart/form-data", "x")]


@pytest.mark.django_db
@pytest.mark.parametrize(("media_type", "body"), UNREADABLE)
@pytest.mark.parametrize(
    ("host", "path", "status"),
    [("127.0.0.1", "/account/sign-in", 400), ("[::1", "/account/sign-in", 400), ("127.0.0.1", "/nowhere", 404)],
)
def test_what_cannot_be_read_is_no_failure_of_the_server(host, path, status, media_type, body):
    client = Client(raise_request_exception=False, enforce_csrf_checks=True, headers={"host": host})
    # With it, the body is looked into for the other half.
    client.cookies["csrftoken"] = "c" * 32
    assert client.post(path, body, content_type=media_type).status_code == status

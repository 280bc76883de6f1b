"""No GET changes anything: whoever can make a browser fetch an address has done nothing yet.

The addresses come from the URL configuration: a new one is tried without an entry here.
"""

from __future__ import annotations

import re

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from chat.models import ApiToken, PolicyRule, SiteSettings
from chat.routes import find_routes
from chat.tests.test_production import addresses
from chat.tests.test_strangers import Alice
from sasha.testing import make_provider

# What a visit may write: that it took place. The rows of settings and rules are made where they are first looked at.
LEFT_OUT = {Session, LogEntry, SiteSettings, PolicyRule}
# What writes down that something was taken away is no change of it.
WATCHING = "monitoring"


def everything() -> dict[str, list[tuple]]:
    """Return every row of every table; of a token without when it was last used."""
    rows = {}
    for model in apps.get_models():
        if model not in LEFT_OUT and model._meta.app_label != WATCHING:
            skipped = {"last_login", "last_used_at"} if model is ApiToken or model.__name__ == "User" else set()
            names = [field.attname for field in model._meta.concrete_fields if field.attname not in skipped]
            rows[model._meta.label] = sorted(map(repr, model.objects.values_list(*names)))
    return rows


def filled(address: str, ids: dict[str, object]) -> str:
    """Return an address with rows of alice's in the place of its parameters."""
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(ids.get(found[1], 1)), address)


@pytest.mark.django_db(transaction=True)
def test_no_get_changes_a_row(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    settings.CHAT_SHARING = True
    alice = Alice()
    alice.user.is_staff = alice.user.is_superuser = True
    alice.user.save()
    provider = make_provider("http://127.0.0.1:1/v1", "m")
    client = Client()
    client.force_login(alice.user)
    client.get(reverse("admin:index"))
    before = everything()
    tried = set()
    for route in sorted({route.template for route in find_routes() if "^" not in route.template}):
        # The address of a list of events never ends by itself.
        if "/events" in route:
            continue
        ids = alice.ids | {"name": alice.session, "object_id": provider.pk if "/providers/" in route else 1}
        address = filled(route, ids)
        response = client.get(address)
        if response.streaming:
            list(response.streaming_content) if not response.is_async else response.close()
        tried.add(response.status_code)
        assert everything() == before, address
    assert {200, 302, 404, 405} <= tried
    assert len(addresses()) > 60

from __future__ import annotations

import re
from pathlib import Path

import pytest
from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.template import engines
from django.test import Client
from django.urls import reverse

from providers.models import Provider
from sasha.csp import BARE_POLICY, HEADER, ContentSecurityPolicyMiddleware, build_policy

POLICY = {"default-src": ["'none'"], "img-src": ["'self'", "data:"]}


def test_a_policy_is_one_line():
    assert build_policy(POLICY) == "default-src 'none'; img-src 'self' data:"


def test_every_response_gets_the_policy(rf, settings):
    settings.SECURE_CSP = POLICY
    middleware = ContentSecurityPolicyMiddleware(lambda request: HttpResponse())
    assert middleware(rf.get("/"))[HEADER] == f"{build_policy(POLICY)}, script-src 'self'"


def test_a_policy_of_the_view_is_kept(rf):
    middleware = ContentSecurityPolicyMiddleware(lambda request: HttpResponse(headers={HEADER: "default-src 'self'"}))
    assert middleware(rf.get("/"))[HEADER] == "default-src 'self'"


async def test_an_asynchronous_site_stays_asynchronous(rf, settings):
    settings.SECURE_CSP = POLICY

    async def view(request):
        return HttpResponse()

    middleware = ContentSecurityPolicyMiddleware(view)
    assert iscoroutinefunction(middleware)
    assert (await middleware(rf.get("/")))[HEADER] == f"{build_policy(POLICY)}, script-src 'self'"


# --- On the site's own pages ------------------------------------------------------------------------------------------

SCRIPT = re.compile(r"<script\b([^>]*)>")


def nonce_of(response) -> str:
    """Return the nonce in the policy of a page; every script of the page that is run has it, and no other."""
    found = re.search(r"script-src 'nonce-([\w-]{22})' 'strict-dynamic';.*, script-src 'self'$", response[HEADER])
    assert found, response[HEADER]
    for attributes in SCRIPT.findall(response.text):
        assert 'type="application/json"' in attributes or f'nonce="{found[1]}"' in attributes, attributes
    return found[1]


@pytest.fixture
def staff(client, db, tmp_path, settings):
    """A browser of an admin."""
    settings.STATIC_ROOT = tmp_path
    client.force_login(User.objects.create_superuser("root"))
    return client


def admin_addresses() -> list[str]:
    names = [f"admin:{model._meta.app_label}_{model._meta.model_name}" for model in admin.site._registry]
    lists = [reverse(f"{name}_changelist") for name in names]
    return [*lists, *(f"{address}add/" for address in lists), reverse("admin:index"), reverse("money")]


def test_the_scripts_of_every_admin_page_have_its_nonce_and_no_trusted_types(staff):
    Provider.objects.create(slug="sim", name="Sim", kind="openai", api_base="http://127.0.0.1:1/v1")
    seen = {200: 0}
    for address in admin_addresses():
        response = staff.get(address, follow=True)
        if response.status_code == 200:
            seen[200] += 1
            nonce_of(response)
            assert "<script" in response.text
            assert "trusted-types" not in response[HEADER]
    assert seen[200] > 10
    provider = Provider.objects.get()
    for action in ("change", "delete", "history"):
        nonce_of(staff.get(reverse(f"admin:providers_provider_{action}", args=[provider.pk])))


def test_the_admin_s_sign_in_has_a_nonce(client, db):
    nonce_of(client.get(reverse("admin:login")))


def test_each_response_has_a_nonce_of_its_own(client, db):
    pages = [client.get(reverse("chat:sign-in")) for _ in range(2)]
    assert len({nonce_of(page) for page in pages}) == 2
    assert all("require-trusted-types-for 'script'" in page[HEADER] for page in pages)


@pytest.mark.parametrize("status", [403, 404, 500])
def test_the_pages_of_what_went_wrong_have_a_nonce(db, status, monkeypatch):
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    if status == 403:
        response = client.post(reverse("chat:sign-in"))
    else:
        if status == 500:
            monkeypatch.setattr("chat.views.account.SignInForm", None)
        response = client.get("/nowhere" if status == 404 else reverse("chat:sign-in"))
    assert response.status_code == status
    nonce_of(response)


def test_what_is_no_page_may_do_nothing(client, db):
    assert client.get("/words/en.js")[HEADER] == BARE_POLICY
    assert client.get("/api/connection")[HEADER] == BARE_POLICY


def test_a_script_that_somebody_has_got_into_a_page_has_no_nonce(staff):
    """The nonce is written into the templates, never into what they show."""
    Provider.objects.create(slug="sim", name="<script src=/x>", kind="openai", api_base="http://127.0.0.1:1/v1")
    page = staff.get(reverse("admin:providers_provider_changelist"))
    nonce_of(page)
    assert "<script src=/x>" not in page.text
    rendered = engines["django"].from_string("{{ text|safe }}").render({"text": "<script src=/x>"}, page.wsgi_request)
    assert rendered == "<script src=/x>"


def test_every_script_of_our_templates_has_the_nonce():
    pages = {path: path.read_text() for path in Path(settings.BASE_DIR, "templates").rglob("*.html")}
    tags = [(path.name, tag) for path, text in pages.items() for tag in re.findall(r"<script\b[^>]*>", text)]
    assert len(tags) > 5
    assert [tag for tag in tags if 'nonce="{{ csp_nonce }}"' not in tag[1]] == []

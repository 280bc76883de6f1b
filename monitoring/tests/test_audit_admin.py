from __future__ import annotations

import re
import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from monitoring import sealer
from monitoring.admin.audit import find_pages
from monitoring.audit import Actor, Deed, Target, record
from monitoring.models import AuditEntry
from monitoring.tests.audits import ALICE, fill, run, say
from providers.models import Budget, Price
from sasha.testing import make_provider

pytestmark = pytest.mark.django_db

LIST = "admin:monitoring_auditentry_changelist"
HOSTILE = "<script>alert(1)</script>\n\x1b[31m‮'\"&"


@pytest.fixture
def auditor(client):
    """A client of somebody on the staff who may see the audit and nothing else."""
    user = User.objects.create_user("audrey", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_auditentry"))
    client.force_login(user)
    return client


def page_of(entry):
    return reverse("admin:monitoring_auditentry_change", args=[entry.pk])


def actions(response):
    assert response.status_code == 200
    return re.findall(r'<td class="field-action">([^<]*)</td>', response.text)


def listed(client, **asked):
    return actions(client.get(reverse(LIST), asked))


def test_without_the_permission_nobody_of_the_staff_sees_it(client):
    fill()
    client.force_login(User.objects.create_user("stella", is_staff=True))
    assert client.get(reverse(LIST)).status_code == 403
    assert client.get(page_of(AuditEntry.objects.first())).status_code == 403


def test_even_an_admin_can_only_read(client):
    fill()
    client.force_login(User.objects.create_user("ada", is_staff=True, is_superuser=True))
    entry = AuditEntry.objects.first()
    assert client.get(page_of(entry)).status_code == 200
    assert client.post(page_of(entry), {"action": "x"}).status_code == 403
    for name in ("add", "delete"):
        arguments = [entry.pk] if name == "delete" else []
        assert client.get(reverse(f"admin:monitoring_auditentry_{name}", args=arguments)).status_code == 403
    assert 'name="action"' not in client.get(reverse(LIST)).text


def test_the_newest_stand_first_and_say_whether_they_are_sealed(auditor):
    fill()
    record(Deed("share.deleted"))
    response = auditor.get(reverse(LIST))
    assert actions(response)[0] == "share.deleted"
    assert "not sealed yet" in response.text
    assert "number 6" in response.text


def test_filters_and_search_narrow_it_down(auditor):
    record(Deed("group.added", at=timezone.now() - timedelta(days=3)))
    fill()
    ours = str(uuid.uuid4())
    record(Deed("process.stopped", ALICE, Target("reply", ours)))
    assert listed(auditor, actor="bob") == ["chat.message.posted", "provider.changed"]
    theirs = {"chat.reply.ended", "site.started", "group.added", "user.added", "user.changed"}
    assert set(listed(auditor, actor="(site)")) == theirs
    assert set(listed(auditor, action="chat.")) == {"chat.message.posted", "chat.reply.ended"}
    assert listed(auditor, action="site.started") == ["site.started"]
    assert listed(auditor, target="provider:") == ["provider.changed"]
    assert listed(auditor, target="provider:4") == []
    assert listed(auditor, target="conversation:c2") == ["chat.reply.ended", "chat.message.posted"]
    assert listed(auditor, day=str(timezone.localdate() - timedelta(days=3))) == ["group.added"]
    assert listed(auditor, q=ours.upper().replace("-", "")) == ["process.stopped"]
    assert listed(auditor, q="bob") == ["chat.message.posted", "provider.changed"]
    assert "group.added" in listed(auditor, q=str(AuditEntry.objects.get(action="group.added").pk))


def test_a_page_takes_the_same_queries_however_many_entries_there_are(auditor, django_assert_max_num_queries):
    for _ in range(30):
        say(ALICE, "Hi")
    sealer.seal_all()
    with django_assert_max_num_queries(12):
        assert len(listed(auditor)) == 50


def test_prices_lead_to_their_models_in_one_query(auditor, django_assert_max_num_queries):
    models = make_provider("http://127.0.0.1:9/v1", *map(str, range(9))).models.all()
    for model in models:
        Price.objects.create(model=model, input=1, output=1)
    with django_assert_max_num_queries(12):
        html = auditor.get(reverse(LIST), {"target": "price:"}).text
    for model in models:
        assert f'href="/admin/providers/model/{model.pk}/change/"' in html


def test_texts_are_shown_as_text_alone(auditor):
    record(Deed("chat.message.posted", Actor("<i>eve</i>", 7), Target("<b>", "<u>"), {"a": HOSTILE}, HOSTILE))
    entry = AuditEntry.objects.first()
    for html in (auditor.get(page_of(entry)).text, auditor.get(reverse(LIST)).text):
        assert "<script>alert" not in html
        assert not re.search("<i>eve|<b>|<u>", html)
    html = auditor.get(page_of(entry)).text
    shown = escape(HOSTILE).replace("\x1b", "[U+001B]").replace("\u202e", "[U+202E]")
    assert f'<pre class="verbatim" dir="auto">{shown}</pre>' in html


@pytest.mark.parametrize("sign", ["\x1b", "\u202e", "\u200b", "\u2066", "\ufeff", "\U000e0041", "\u00ad"])
def test_what_does_not_show_is_named(auditor, sign):
    record(Deed("chat.message.posted", text=f"before{sign}after\n\tנ"))
    html = auditor.get(page_of(AuditEntry.objects.first())).text
    assert sign not in html
    assert f"before[U+{ord(sign):04X}]after\n\tנ" in html


@pytest.mark.sqlite
def test_half_a_character_is_shown_as_its_number(auditor):
    # PostgreSQL refuses it.
    record(Deed("money.exported", data={"half": "\ud800"}))
    assert "\\ud800" in auditor.get(page_of(AuditEntry.objects.first())).text


def test_a_text_that_is_not_there_says_why(auditor, settings):
    say(ALICE, "Gone")
    run("erase_audit_texts", "--user", "alice")
    assert (
        '<div class="readonly">erased</div>'
        in auditor.get(page_of(AuditEntry.objects.filter(actor="alice").get())).text
    )
    settings.AUDIT_TEXTS = False
    say(ALICE, "Never kept")
    assert "only the digest is kept" in auditor.get(page_of(AuditEntry.objects.first())).text


def test_an_entry_leads_to_what_it_is_about(auditor, admin_client):
    provider = make_provider("http://127.0.0.1:9/v1", "one")
    model = provider.models.get()
    price = Price.objects.create(model=model, input=1, output=1, valid_from=timezone.now())
    budget = Budget.objects.create(scope="everyone", period="day", limit_usd=1)
    user = User.objects.get(username="audrey")
    talk = uuid.uuid4()
    pages = {
        Target("provider", provider.pk): f"/admin/providers/provider/{provider.pk}/change/",
        Target("model", model.pk): f"/admin/providers/model/{model.pk}/change/",
        Target("price", price.pk): f"/admin/providers/model/{model.pk}/change/",
        Target("budget", budget.pk): f"/admin/providers/budget/{budget.pk}/change/",
        Target("user", user.pk): f"/admin/auth/user/{user.pk}/change/",
        Target("conversation", talk): f"/admin/providers/attempt/?q={talk}",
        Target("reply", talk): f"/admin/providers/attempt/?q={talk}",
        Target("site_settings", 1): "/admin/chat/sitesettings/1/change/",
    }
    record(*[Deed("money.exported", target=target) for target in pages])
    recorded = AuditEntry.objects.filter(action="money.exported").order_by("pk")
    for entry, (target, page) in zip(recorded, pages.items(), strict=True):
        html = auditor.get(page_of(entry)).text
        assert f'href="{page}"' in html
        assert f"target={target.kind}%3A{target.id}" in html
        assert admin_client.get(page).status_code in (200, 302)


@pytest.mark.parametrize("target", [("nothing", "1"), ("provider", ""), ("price", "x"), ("price", "99"), ("", "")])
def test_a_target_without_a_page_is_no_link(auditor, target):
    record(Deed("money.exported", target=Target(*target)))
    entry = AuditEntry.objects.first()
    assert find_pages([entry]) == {}
    assert auditor.get(page_of(entry)).status_code == 200
    assert auditor.get(reverse(LIST)).status_code == 200

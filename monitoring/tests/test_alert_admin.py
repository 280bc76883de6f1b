"""Alerts in the admin: levels that make sense, addresses that may be told, and history that nobody changes."""

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.utils import timezone

from monitoring.alerts.sending import NO_MAIL
from monitoring.alerts.webhook import secret_of
from monitoring.models import Alert, AlertReceiver, AlertRule
from monitoring.models.alerts import AlertState, RuleKind
from monitoring.tests.receiving import web_receiver
from sasha.testing import free_port

pytestmark = pytest.mark.django_db


def page(model, name="changelist", *args):
    return reverse(f"admin:monitoring_{model}_{name}", args=args)


def errors_of(response):
    return dict(response.context["adminform"].form.errors)


# --- Rules ------------------------------------------------------------------------------------------------------------


def change_rule(admin_client, kind, **values):
    rule = AlertRule.objects.get(kind=kind)
    fields = {name: getattr(rule, name) for name in ("threshold", "clear_below", "for_seconds", "clear_seconds")}
    return admin_client.post(page("alertrule", "change", rule.pk), {"enabled": "on"} | fields | values)


def test_every_rule_is_shown_with_its_unit(admin_client):
    shown = admin_client.get(page("alertrule")).content.decode()
    for words in ("20 % for 60 s", "90 % used for 60 s", "80 %<", "20 MB an hour for 1,800 s", "90 is 10 % free"):
        assert words in shown
    rule = AlertRule.objects.get(kind=RuleKind.DISK)
    assert "Begins at (% used)" in admin_client.get(page("alertrule", "change", rule.pk)).content.decode()


def test_levels_are_changed_and_a_rule_is_switched_off(admin_client):
    assert change_rule(admin_client, RuleKind.DISK, threshold=95, clear_below=95, enabled="").status_code == 302
    rule = AlertRule.objects.get(kind=RuleKind.DISK)
    assert (rule.threshold, rule.clear_below, rule.enabled) == (95, 95, False)


@pytest.mark.parametrize(
    ("kind", "values", "field", "words"),
    [
        (RuleKind.DISK, {"clear_below": 91}, "clear_below", "must be over below that or less: give at most 90."),
        (RuleKind.DISK, {"clear_below": 0}, "clear_below", "it would never be over"),
        (RuleKind.DISK, {"clear_below": -1}, "clear_below", "it would never be over"),
        (RuleKind.DISK, {"threshold": 101}, "threshold", "never above 100 % used."),
        (RuleKind.ERROR_RATE, {"threshold": "nan"}, "threshold", "Enter a number."),
        (RuleKind.MEMORY_SLOPE, {"for_seconds": 2_678_401}, "for_seconds", "which is a month."),
        (RuleKind.MEMORY_SLOPE, {"clear_seconds": -1}, "clear_seconds", "greater than or equal to 0"),
    ],
)
def test_levels_that_make_no_sense_are_refused_in_a_sentence(admin_client, kind, values, field, words):
    (error,) = errors_of(change_rule(admin_client, kind, **values))[field]
    assert words in error


def test_a_rule_of_another_version_is_not_listed(admin_client):
    AlertRule.objects.create(kind="of_tomorrow", threshold=1, clear_below=1, for_seconds=0, clear_seconds=0)
    response = admin_client.get(reverse("admin:monitoring_alertrule_changelist"))
    assert response.status_code == 200
    assert "of_tomorrow" not in response.text


def test_rules_are_neither_added_nor_deleted(admin_client):
    assert admin_client.get(page("alertrule", "add")).status_code == 403
    assert admin_client.post(page("alertrule", "delete", AlertRule.objects.first().pk)).status_code == 403


def test_rules_are_switched_in_their_list(admin_client):
    rules = list(AlertRule.objects.order_by("pk"))
    data = {"form-TOTAL_FORMS": len(rules), "form-INITIAL_FORMS": len(rules), "_save": "Save"}
    data |= {f"form-{number}-id": rule.pk for number, rule in enumerate(rules)}
    data |= {"form-0-enabled": "on"}
    assert admin_client.post(page("alertrule"), data).status_code == 302
    assert list(AlertRule.objects.filter(enabled=True)) == rules[:1]


# --- Receivers --------------------------------------------------------------------------------------------------------


def add_receiver(admin_client, kind, address):
    return admin_client.post(page("alertreceiver", "add"), {"kind": kind, "address": address, "enabled": "on"})


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("email", "night@example.org"),
        ("webhook", "https://93.184.216.34/hook?token=1"),
        ("webhook", "http://127.0.0.1:9999/"),
    ],
)
def test_a_receiver_is_added(admin_client, kind, address):
    assert add_receiver(admin_client, kind, address).status_code == 302
    assert AlertReceiver.objects.get().address == address


@pytest.mark.parametrize(
    ("kind", "address", "words"),
    [
        ("email", "https://example.org", "Enter a valid email address."),
        ("email", "night@example.org, two@example.org", "Enter a valid email address."),
        ("webhook", "night@example.org", "must begin with https://"),
        ("webhook", "https://169.254.169.254/", "where clouds and networks keep their own secrets"),
        ("webhook", "http://93.184.216.34/", "use https"),
    ],
)
def test_an_address_has_to_fit_its_kind(admin_client, kind, address, words):
    (error,) = errors_of(add_receiver(admin_client, kind, address))["address"]
    assert words in error


def test_a_private_address_is_refused_where_the_site_does_not_allow_it(admin_client, settings):
    settings.ALLOW_PRIVATE_ADDRESSES = False
    (error,) = errors_of(add_receiver(admin_client, "webhook", "https://10.0.0.1/"))["address"]
    assert "which is private" in error


def test_a_mail_address_is_refused_where_no_mail_can_be_sent(admin_client, settings):
    settings.EMAIL_BACKEND = NO_MAIL
    (error,) = errors_of(add_receiver(admin_client, "email", "night@example.org"))["address"]
    assert error == "This site cannot send mail yet: set EMAIL_URL first."


def test_the_secret_of_a_webhook_is_shown_and_a_mail_address_has_none(admin_client):
    hook = AlertReceiver.objects.create(kind="webhook", address="https://example.org/")
    night = AlertReceiver.objects.create(kind="email", address="night@example.org")
    assert secret_of(hook) in admin_client.get(page("alertreceiver", "change", hook.pk)).content.decode()
    assert secret_of(night) not in admin_client.get(page("alertreceiver", "change", night.pk)).content.decode()


def send_a_test(admin_client, *rows):
    data = {"action": "send_a_test", "_selected_action": [row.pk for row in rows]}
    return admin_client.post(page("alertreceiver"), data, follow=True).content.decode()


def test_a_test_is_sent_and_what_came_of_it_is_said_and_kept(admin_client):
    with web_receiver() as received:
        fine = AlertReceiver.objects.create(kind="webhook", address=received.address)
        gone = AlertReceiver.objects.create(kind="webhook", address=f"http://127.0.0.1:{free_port()}/")
        shown = send_a_test(admin_client, fine, gone)
    assert [body["event"] for body in received.bodies] == ["test"]
    assert "127.0.0.1: the test was sent." in shown
    assert shown.count("It cannot be reached: Connection refused.") == 2
    # What stands behind the host is as good as a password.
    assert received.address not in shown
    assert {entry.object_repr for entry in LogEntry.objects.all()} == {"127.0.0.1"}
    fine.refresh_from_db()
    assert fine.last_sent_at
    assert LogEntry.objects.count() == 2


# --- Alerts -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def alert():
    rule = AlertRule.objects.get(kind=RuleKind.DISK)
    now = timezone.now()
    return Alert.objects.create(
        rule=rule, sentence="8 % is free.", value=92, state=AlertState.FIRING, began_at=now, fired_at=now
    )


def test_alerts_are_only_read(admin_client, alert):
    assert "8 % is free." in admin_client.get(page("alert"), {"state": "firing"}).content.decode()
    assert "8 % is free." not in admin_client.get(page("alert"), {"state": "cleared"}).content.decode()
    assert admin_client.get(page("alert", "change", alert.pk)).status_code == 200
    assert admin_client.post(page("alert", "change", alert.pk), {"sentence": "x"}).status_code == 403
    assert admin_client.get(page("alert", "add")).status_code == 403
    assert admin_client.post(page("alert", "delete", alert.pk)).status_code == 403


@pytest.mark.parametrize("model", ["alert", "alertrule", "alertreceiver"])
def test_nobody_else_sees_them(client, django_user_model, model):
    client.force_login(django_user_model.objects.create_user("bob", is_staff=True))
    assert client.get(page(model)).status_code == 403


def test_a_receiver_that_was_told_can_be_deleted(admin_client, alert):
    receiver = AlertReceiver.objects.create(kind="email", address="night@example.org")
    now = timezone.now()
    alert.messages.create(receiver=receiver, event="fired", created_at=now, due_at=now)
    assert admin_client.post(page("alertreceiver", "delete", receiver.pk), {"post": "yes"}).status_code == 302
    assert not AlertReceiver.objects.exists()

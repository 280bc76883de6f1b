"""Who is told of an alert: once when it begins and once when it is over, and nobody inside the network by mistake."""

import contextlib
import hashlib
import hmac
import logging
import socket
import threading
import time
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.core import mail
from django.utils import timezone

from monitoring.alerts import outbox, rounds, webhook
from monitoring.alerts.errors import NotSent
from monitoring.alerts.sending import NO_MAIL
from monitoring.models import Alert, AlertMessage, AlertReceiver, AlertRule
from monitoring.models.alerts import AlertEvent, AlertState, RuleKind
from monitoring.tests.receiving import mail_server, web_receiver
from providers import breaker
from providers.addresses import BadAddress
from providers.breaker import Outcome
from providers.endings import Ending
from providers.models import Provider
from providers.tests.racing import on_threads
from sasha.testing import eventually, free_port, make_provider, running_site

pytestmark = pytest.mark.django_db

REFUSED = "where clouds and networks keep their own secrets"
PRIVATE = "private; ALLOW_PRIVATE_ADDRESSES=true"


def make_receiver(address, kind="webhook", **values):
    return AlertReceiver.objects.create(kind=kind, address=address, **values)


def make_alert(*told, sentence="P is not asked.", **values):
    """An alert that fires, with what there is to tell of it in the outbox."""
    now = timezone.now()
    rule = AlertRule.objects.get(kind=RuleKind.PROVIDER_DOWN)
    times = {"began_at": now, "fired_at": now, "cleared_at": now}
    values = times | {"subject": "p", "state": AlertState.FIRING} | values
    alert = Alert.objects.create(rule=rule, value=61, sentence=sentence, **values)
    for event in told or [AlertEvent.FIRED]:
        outbox.put(alert.pk, event, now)
    return alert


def send_all(now=None):
    """Send what is due, as the oldest server does; return how many messages were taken."""
    taken = 0
    while messages := outbox.take(now or timezone.now()):
        for message in messages:
            outbox.deliver(message)
        taken += len(messages)
    return taken


@pytest.fixture
def receiver():
    with web_receiver() as received:
        received.row = make_receiver(received.address)
        yield received


# --- A webhook --------------------------------------------------------------------------------------------------------


def flap(provider):
    """Let the real breaker open, and close again after a trial."""
    before = timezone.now()
    model_id = provider.models.get().pk
    breaker.record(provider.pk, model_id, Outcome(Ending.UNAUTHORISED, before, "It said no."))
    yield "open"
    Provider.objects.update(open_until=timezone.now())
    assert breaker.admit(provider.pk)
    breaker.record(provider.pk, model_id, Outcome(Ending.COMPLETE, timezone.now(), "", trial=True))
    yield "closed"


@pytest.mark.slow
def test_of_a_provider_that_flaps_two_hundred_times_a_webhook_hears_twice(receiver):
    provider = make_provider("https://example.org/v1", "m", slug="p")
    AlertRule.objects.exclude(kind=RuleKind.PROVIDER_DOWN).update(enabled=False)
    now = timezone.now()
    for _ in range(200):
        for _ in flap(provider):
            for seconds in (70, 5):
                now += timedelta(seconds=seconds)
                rounds.evaluate(now)
                send_all(now)
    for seconds in (1, 700):
        rounds.evaluate(now + timedelta(seconds=seconds))
        send_all(now + timedelta(seconds=seconds))
    first, last = receiver.bodies
    assert (first["event"], first["text"]) == ("fired", "Alert: P is not asked: It said no.")
    assert (last["event"], last["text"]) == ("cleared", "Over: P is not asked: It said no.")


def test_a_webhook_gets_json_that_is_signed(receiver):
    make_alert(sentence="P <b> & c is not asked.")
    assert send_all() == 1
    ((path, headers, body),) = receiver.requests
    assert (path, headers["Content-Type"], headers["User-Agent"]) == ("/hook", "application/json", "sasha-studio")
    (said,) = receiver.bodies
    assert said.keys() == {"text", "event", "sentence", "at", "alert", "url"}
    assert said["sentence"] == "P <b> & c is not asked."
    assert said["text"] == "Alert: P &lt;b&gt; &amp; c is not asked."
    assert said["alert"] == {
        "id": Alert.objects.get().pk,
        "rule": "provider_down",
        "subject": "p",
        "value": 61,
        "unit": "s",
        "beganAt": Alert.objects.get().began_at.isoformat(),
    }
    assert said["url"].endswith("/admin/monitoring/alert/")
    signed = f"{headers['X-Sasha-Timestamp']}.".encode() + body
    secret = webhook.secret_of(receiver.row)
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["X-Sasha-Signature"] == f"sha256={expected}"
    assert headers["X-Sasha-Message"] == f"alert-{AlertMessage.objects.get().pk}"
    assert secret != webhook.secret_of(make_receiver("https://example.org"))


def test_what_was_sent_is_noted_and_not_sent_again(receiver):
    AlertReceiver.objects.update(last_error="It answered with HTTP 500.")
    make_alert()
    assert (send_all(), send_all(), len(receiver.requests)) == (1, 0, 1)
    row = AlertReceiver.objects.get()
    assert (bool(row.last_sent_at), row.last_error) == (True, "")


def test_a_query_goes_along(receiver):
    AlertReceiver.objects.update(address=f"{receiver.address}?token=1&x=2")
    make_alert()
    send_all()
    assert receiver.requests[0][0] == "/hook?token=1&x=2"


@pytest.mark.parametrize(
    ("status", "words"),
    [(500, "It answers with HTTP 500."), (404, "It answers with HTTP 404."), (302, "a redirect (HTTP 302)")],
)
def test_a_failure_is_told_and_tried_again_with_growing_pauses_and_an_end(receiver, status, words, caplog):
    receiver.status = status
    receiver.headers = {"Location": "http://127.0.0.1:1/"}
    make_alert()
    now = timezone.now()
    tried_at = []
    with caplog.at_level(logging.ERROR):
        for minutes in range(400):
            if send_all(now + timedelta(minutes=minutes)):
                tried_at.append(minutes)
    assert tried_at == [0, 1, 3, 7, 15, 31, 63, 127]
    assert len(receiver.requests) == 8
    row = AlertReceiver.objects.get()
    assert words in row.last_error
    assert row.last_sent_at is None
    assert [record.message.split(":")[0] for record in caplog.records] == ["alert_not_told"]


def test_that_it_is_over_is_never_told_before_that_it_began(receiver):
    receiver.status = 500
    make_alert(AlertEvent.FIRED, AlertEvent.CLEARED)
    now = timezone.now()
    assert send_all(now) == 1
    receiver.status = 200
    assert send_all(now + timedelta(seconds=59)) == 0
    assert send_all(now + timedelta(seconds=60)) == 2
    assert [body["event"] for body in receiver.bodies] == ["fired", "fired", "cleared"]


def test_one_receiver_that_fails_keeps_no_other_waiting(receiver):
    make_receiver(f"http://127.0.0.1:{free_port()}/")
    make_alert()
    send_all()
    assert [body["event"] for body in receiver.bodies] == ["fired"]
    assert AlertReceiver.objects.get(last_sent_at=None).last_error == "It cannot be reached: Connection refused."


def test_who_was_switched_off_for_a_day_is_not_told_old_news(receiver):
    make_alert()
    AlertReceiver.objects.update(enabled=False)
    assert send_all() == 0
    AlertReceiver.objects.update(enabled=True)
    assert send_all(timezone.now() + timedelta(days=1, seconds=1)) == 0
    assert send_all() == 1


@pytest.mark.django_db(transaction=True)
def test_servers_that_send_at_once_send_one_message(receiver):
    make_alert()
    taken = on_threads([send_all] * 6)
    assert (sum(taken), len(receiver.requests)) == (1, 1)


def test_of_two_that_have_read_the_same_message_one_sends_it(receiver):
    make_alert()
    first, second = (AlertMessage.objects.get() for _ in range(2))
    now = timezone.now()
    assert (outbox.claim(first, now), outbox.claim(second, now)) == (True, False)


@pytest.mark.django_db(transaction=True)
def test_a_message_survives_the_server_that_took_it(receiver):
    make_alert()
    now = timezone.now()
    # Taken, and then the server is gone.
    assert len(outbox.take(now)) == 1
    assert send_all(now) == 0
    assert send_all(now + outbox.FIRST_PAUSE) == 1
    assert len(receiver.requests) == 1


@pytest.mark.django_db(transaction=True)
async def test_a_server_that_runs_sends_what_is_due(receiver):
    await sync_to_async(make_alert)()
    async with running_site():
        await eventually(lambda: receiver.requests)


# --- Where it does not go ---------------------------------------------------------------------------------------------


class Names(dict):
    """What names resolve to: each time the next answer, and the last one for ever."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def look_up(self, host, port, *_, **__):
        self.asked.append(host)
        if host not in self:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        addresses = self[host].pop(0) if len(self[host]) > 1 else self[host][0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


@pytest.fixture
def names(monkeypatch):
    found = Names()
    monkeypatch.setattr(socket, "getaddrinfo", found.look_up)
    return found


def failure(address):
    with pytest.raises(NotSent) as caught:
        outbox.send_test(make_receiver(address))
    return str(caught.value)


def test_a_redirect_into_the_network_is_not_followed():
    with web_receiver() as inside, web_receiver(307, Location=inside.address) as outside:
        assert "a redirect (HTTP 307), which is not followed" in failure(outside.address)
        assert inside.requests == []


@pytest.mark.parametrize(
    ("address", "allowed", "words"),
    [
        ("http://127.0.0.1:8000/", False, PRIVATE),
        ("https://10.0.0.1/", False, PRIVATE),
        ("https://[::ffff:192.168.0.1]/", False, PRIVATE),
        ("http://169.254.169.254/latest", True, REFUSED),
        ("https://100.100.100.200/?x=1", True, REFUSED),
        ("http://93.184.216.34/", True, "use https"),
        ("https://inside.example/", False, PRIVATE),
        ("https://metadata.example/", True, REFUSED),
        ("https://two-faced.example/", True, REFUSED),
        ("https://nowhere.example/", True, "The name nowhere.example leads nowhere."),
        ("https://user:password@example.org/", True, "user name or a password"),
        ("file:///etc/passwd", True, "must begin with https://"),
        ("https://example.org/?a b", True, "no address has"),
        ("https://example.org/?a#b", True, "no address has"),
        ("https://example.org/?a\r\nX: y", True, "no address has"),
    ],
)
def test_what_no_provider_may_have_no_webhook_may(settings, names, address, allowed, words):
    settings.ALLOW_PRIVATE_ADDRESSES = allowed
    names |= {
        "inside.example": [["10.0.0.1"]],
        "metadata.example": [["169.254.169.254"]],
        "two-faced.example": [["127.0.0.1", "169.254.169.254"]],
    }
    with pytest.raises(BadAddress, match=words.replace("(", "[(]").replace(")", "[)]")):
        webhook.check(address)
    assert words in failure(address)


def test_a_name_that_changes_between_the_check_and_the_use_is_asked_once(receiver, names):
    port = receiver.address.split(":")[2].split("/")[0]
    # Another look would find the metadata service; any connection by name would go there.
    names["hook.example"] = [["127.0.0.1"], ["169.254.169.254"]]
    outbox.send_test(make_receiver(f"http://hook.example:{port}/x"))
    assert names.asked == ["hook.example"]
    ((path, headers, _body),) = receiver.requests
    assert (path, headers["Host"]) == ("/x", f"hook.example:{port}")
    # What was fine when it was saved is looked at again when it is used.
    assert REFUSED in failure(f"http://hook.example:{port}/x")
    assert len(receiver.requests) == 1


def test_of_several_addresses_the_next_takes_the_place_of_a_dead_one(receiver, names):
    port = receiver.address.split(":")[2].split("/")[0]
    names["hook.example"] = [["127.0.0.2", "127.0.0.1"]]
    outbox.send_test(make_receiver(f"http://hook.example:{port}/x"))
    assert len(receiver.requests) == 1


def test_a_certificate_is_checked_under_the_name(receiver, names):
    # It speaks no TLS at all.
    port = receiver.address.split(":")[2].split("/")[0]
    names["hook.example"] = [["127.0.0.1"]]
    assert failure(f"https://hook.example:{port}/x").startswith("It cannot be reached: ")
    assert receiver.requests == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_receiver_that_drips_is_left_when_the_time_is_over(monkeypatch, scheme):
    monkeypatch.setattr(webhook, "TIMEOUT_SECONDS", 0.5)
    done = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def drip():
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            # A handshake's beginning where TLS is spoken.
            connection.sendall(b"HT" if scheme == "http" else b"\x16\x03\x03\x40\x00")
            while not done.wait(0.05):
                connection.sendall(b"a")

    thread = threading.Thread(target=drip)
    thread.start()
    began = time.monotonic()
    assert failure(f"{scheme}://127.0.0.1:{listening.getsockname()[1]}/") == "It cannot be reached: it takes too long."
    assert time.monotonic() - began < 5
    done.set()
    thread.join()
    listening.close()


def test_the_body_of_the_answer_is_not_read():
    with web_receiver(200, **{"Content-Length": str(10**12)}) as endless:
        outbox.send_test(make_receiver(endless.address))
        assert len(endless.requests) == 1


# --- A mail -----------------------------------------------------------------------------------------------------------


def test_a_mail_says_it_in_its_subject():
    make_receiver("night@example.org", "email")
    make_alert(AlertEvent.FIRED, AlertEvent.CLEARED)
    send_all()
    began, over = mail.outbox
    assert (began.to, began.subject) == (["night@example.org"], "[Sasha Studio] Alert: P is not asked.")
    assert began.body.startswith("P is not asked.\n\nAlert at 20")
    assert "/admin/monitoring/alert/" in began.body
    assert over.subject == "[Sasha Studio] Over: P is not asked."
    assert "; it began at 20" in over.body


@pytest.fixture
def smtp(settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    return settings


def test_a_mail_goes_out_by_smtp(smtp):
    with mail_server() as (smtp.EMAIL_PORT, lines):
        outbox.send_test(make_receiver("night@example.org", "email"))
    # A long subject goes on in the next line.
    assert "Subject: [Sasha Studio] Test: This is a test: alerts of this site will come here." in "".join(lines)
    assert "To: night@example.org" in lines


def test_a_mail_server_that_refuses_is_told_in_its_words(smtp):
    with mail_server(refuse=True) as (smtp.EMAIL_PORT, _):
        assert "nobody of that name" in failure_of_mail()


def test_a_mail_server_that_is_gone_is_told(smtp):
    smtp.EMAIL_PORT = free_port()
    assert failure_of_mail().startswith("The mail server did not take it: ")


def test_without_a_mail_server_no_mail_is_sent(settings):
    settings.EMAIL_BACKEND = NO_MAIL
    assert failure_of_mail() == "No mail can be sent: EMAIL_URL is not set."


def failure_of_mail():
    receiver = make_receiver("night@example.org", "email")
    with pytest.raises(NotSent) as caught:
        outbox.send_test(receiver)
    receiver.refresh_from_db()
    assert receiver.last_error == str(caught.value)
    return receiver.last_error

"""What is told of an alert: one notice, as a mail's text and as a webhook's JSON. docs/alerts.md has the schema."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from monitoring.alerts.kinds import KINDS
from monitoring.models.alerts import AlertEvent, AlertMessage, RuleKind

TEST = "test"
TEST_SENTENCE = "This is a test: alerts of this site will come here."
HEADS = {AlertEvent.FIRED: "Alert", AlertEvent.CLEARED: "Over", TEST: "Test"}


@dataclass(frozen=True)
class Notice:
    """Something to tell. `event`: fired, cleared or test, which has no alert. `id` is the same at each try."""

    event: str
    sentence: str
    at: datetime
    id: str = ""
    alert: dict[str, Any] | None = None

    @property
    def head(self) -> str:
        """The whole of it in one line."""
        return f"{HEADS[self.event]}: {self.sentence}"


def notice_of(message: AlertMessage) -> Notice:
    """Return what a message of the outbox has to tell."""
    alert = message.alert
    at = alert.cleared_at if message.event == AlertEvent.CLEARED else alert.fired_at
    about = {
        "id": alert.pk,
        "rule": alert.rule.kind,
        "subject": alert.subject,
        "value": round(alert.value, 3),
        "unit": KINDS[RuleKind(alert.rule.kind)].unit,
        "beganAt": alert.began_at.isoformat(),
    }
    return Notice(message.event, alert.sentence, at or message.created_at, f"alert-{message.pk}", about)


def trial_notice(now: datetime) -> Notice:
    """Return what a receiver is told so that somebody sees whether it comes."""
    return Notice(TEST, TEST_SENTENCE, now)


def as_text(notice: Notice) -> str:
    """Return the body of a mail."""
    lines = [notice.sentence, "", f"{_when(notice)}."]
    if address := _page():
        lines += ["", address]
    return "\n".join(lines) + "\n"


def as_json(notice: Notice) -> bytes:
    """Return the body of a webhook, which is one for Slack and its like, too: they show `text`."""
    body = {
        "text": _escape(notice.head),
        "event": notice.event,
        "sentence": notice.sentence,
        "at": notice.at.isoformat(),
        "alert": notice.alert,
        "url": _page(),
    }
    return json.dumps(body, ensure_ascii=False).encode()


def _when(notice: Notice) -> str:
    words = f"{HEADS[notice.event]} at {timezone.localtime(notice.at):%Y-%m-%d %H:%M:%S} ({settings.TIME_ZONE})"
    if notice.event != AlertEvent.CLEARED or notice.alert is None:
        return words
    return (
        f"{words}; it began at {timezone.localtime(datetime.fromisoformat(notice.alert['beganAt'])):%Y-%m-%d %H:%M:%S}"
    )


def _page() -> str:
    """Return the address of the list of alerts, "" where the site does not know its own."""
    origin = next(iter(settings.CSRF_TRUSTED_ORIGINS), "")
    return origin and origin + reverse("admin:monitoring_alert_changelist")


def _escape(text: str) -> str:
    # https://docs.slack.dev/messaging/formatting-message-text#escaping: nothing in it calls a channel or is a link.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

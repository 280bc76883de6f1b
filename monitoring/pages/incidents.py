"""What went wrong lately, whatever it was, the newest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from chat.models import Message
from monitoring.models import Alert
from monitoring.models.samples import HealthCheck
from monitoring.pages.facts import INCIDENT_DAYS, INCIDENTS, Facts
from monitoring.pages.words import moment, short
from providers.endings import Ending
from providers.models import Breaker, Forced, Provider

SENTENCE_CHARACTERS = 200
REPLY = "answer"


@dataclass(frozen=True)
class Incident:
    """One thing that went wrong, with the page about it."""

    at: datetime
    kind: str
    sentence: str
    url: str

    @property
    def when(self) -> str:
        return moment(self.at)

    @property
    def is_reply(self) -> bool:
        return self.kind == REPLY


def collect(facts: Facts) -> list[Incident]:
    """Return the last incidents of all kinds."""
    providers = {provider.slug: provider for provider in facts.providers}
    found = [_of_reply(reply) for reply in facts.replies]
    found += [
        _of_change(change, providers)
        for change in facts.changes
        if change.state in (Breaker.OPEN, Forced.OPEN) and change.at > facts.now - INCIDENT_DAYS
    ]
    found += [_of_alert(alert) for alert in facts.alerts if alert.fired_at]
    return sorted(found, key=lambda incident: incident.at, reverse=True)[:INCIDENTS]


def _of_reply(reply: Message) -> Incident:
    assert reply.ended_at is not None
    asker = short(reply.conversation.owner.get_username(), 40)
    model = short(f"{reply.provider}:{reply.model}" if reply.provider else reply.requested_model or "Auto", 50)
    words = reply.error or Ending(reply.ending).sentence if reply.ending else ""
    many = f" after {reply.attempts} attempts" if reply.attempts > 1 else ""
    ending = reply.get_ending_display()
    sentence = f"{asker}, {model}: {ending}{many}. {short(words, SENTENCE_CHARACTERS)}"
    return Incident(reply.ended_at, REPLY, sentence, reverse("monitor-reply", args=[reply.pk]))


def _of_change(change: HealthCheck, providers: dict[str, Provider]) -> Incident:
    provider = providers.get(change.provider)
    url = reverse("admin:providers_provider_change", args=[provider.pk]) if provider else ""
    name = short(provider.name if provider else change.provider)
    return Incident(change.at, "provider", f"{name} is paused. {short(change.sentence, SENTENCE_CHARACTERS)}", url)


def _of_alert(alert: Alert) -> Incident:
    over = f" Over since {moment(alert.cleared_at)}." if alert.cleared_at else ""
    assert alert.fired_at is not None
    return Incident(alert.fired_at, "alert", f"{short(alert.sentence, SENTENCE_CHARACTERS)}{over}", "")

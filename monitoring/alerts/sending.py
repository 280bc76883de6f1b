"""The one door out of the site for alerts: a mail, or a POST. Everything here blocks: ten seconds for each step."""

from __future__ import annotations

import smtplib
from collections.abc import Callable

from django.conf import settings
from django.core.mail import EmailMessage

from monitoring.alerts import webhook
from monitoring.alerts.errors import NotSent
from monitoring.alerts.messages import Notice, as_text
from monitoring.models.alerts import AlertReceiver, ReceiverKind
from providers.secrets import redact

# RFC 5322 lets a header line have 998; what shows a subject cuts it far earlier.
SUBJECT_CHARACTERS = 160
# What the settings have where EMAIL_URL is empty.
NO_MAIL = "django.core.mail.backends.dummy.EmailBackend"


def send(receiver: AlertReceiver, notice: Notice) -> None:
    """Tell the receiver. Raises NotSent, whose text is a sentence for an admin."""
    SENDERS[ReceiverKind(receiver.kind)](receiver, notice)


def can_mail() -> bool:
    """Return whether this site has been told how to send mail."""
    return bool(settings.EMAIL_BACKEND != NO_MAIL)


def _mail(receiver: AlertReceiver, notice: Notice) -> None:
    if not can_mail():
        raise NotSent("No mail can be sent: EMAIL_URL is not set.")
    subject = f"[Sasha Studio] {notice.head}"[:SUBJECT_CHARACTERS]
    try:
        EmailMessage(subject, as_text(notice), to=[receiver.address]).send()
    except (OSError, smtplib.SMTPException) as trouble:
        raise NotSent(f"The mail server did not take it: {redact(str(trouble) or type(trouble).__name__)}") from None


SENDERS: dict[ReceiverKind, Callable[[AlertReceiver, Notice], None]] = {
    ReceiverKind.EMAIL: _mail,
    ReceiverKind.WEBHOOK: webhook.post,
}

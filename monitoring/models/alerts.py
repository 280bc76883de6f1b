"""What somebody wants to be told of, whom to tell, and what there was to tell."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.db import models


class RuleKind(models.TextChoices):
    PROVIDER_DOWN = "provider_down", "a provider is not asked"
    ERROR_RATE = "error_rate", "share of failed answers"
    UNKNOWN_COST = "unknown_cost", "answers of unknown cost"
    BUDGET = "budget", "budget used"
    MEMORY_SLOPE = "memory_slope", "memory grows"
    DISK = "disk", "disk is filling up"
    NOT_SEALED = "not_sealed", "the audit is not sealed"


class AlertRule(models.Model):
    """When an alert begins and when it is over: different levels and both for a while, so that nothing flaps."""

    kind = models.CharField(max_length=24, choices=RuleKind, unique=True)
    enabled = models.BooleanField(default=True)
    threshold = models.FloatField(help_text="From this on there is an alert; more is worse.")
    clear_below = models.FloatField(help_text="Below this it is over.")
    for_seconds = models.PositiveIntegerField(default=60, help_text="It must have lasted so long.")
    clear_seconds = models.PositiveIntegerField(default=300, help_text="It must have been over for so long.")

    class Meta:
        verbose_name = "alert rule"

    def __str__(self) -> str:
        return self.get_kind_display()


class ReceiverKind(models.TextChoices):
    EMAIL = "email", "e-mail"
    WEBHOOK = "webhook", "webhook"


class AlertReceiver(models.Model):
    """Who is told when an alert begins and when it is over."""

    kind = models.CharField(max_length=8, choices=ReceiverKind)
    address = models.CharField(max_length=400, help_text="An e-mail address, or an https:// address to post to.")
    enabled = models.BooleanField(default=True)
    last_sent_at = models.DateTimeField(null=True, editable=False)
    last_error = models.CharField(max_length=300, blank=True, editable=False)

    class Meta:
        verbose_name = "receiver of alerts"
        verbose_name_plural = "receivers of alerts"

    def __str__(self) -> str:
        """Return the host of a webhook: what follows is as good as a password, and this is for logs and lists."""
        return urlsplit(self.address).hostname or self.address


class AlertState(models.TextChoices):
    PENDING = "pending", "not for long enough yet"
    FIRING = "firing", "now"
    CLEARED = "cleared", "over"


class Alert(models.Model):
    """One occurrence of a rule, for one thing that it is about."""

    rule = models.ForeignKey(AlertRule, models.CASCADE, related_name="alerts")
    subject = models.CharField(max_length=160, blank=True, help_text="Such as a provider's slug.")
    state = models.CharField(max_length=8, choices=AlertState, default=AlertState.PENDING)
    value = models.FloatField()
    sentence = models.CharField(max_length=300)
    began_at = models.DateTimeField()
    fired_at = models.DateTimeField(null=True)
    # Since when it has been below the rule's lower level.
    calm_since = models.DateTimeField(null=True)
    cleared_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-began_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "subject"],
                condition=~models.Q(state="cleared"),
                name="one_alert_at_a_time",
            )
        ]

    def __str__(self) -> str:
        return self.sentence


class AlertEvent(models.TextChoices):
    FIRED = "fired", "it began"
    CLEARED = "cleared", "it is over"


class AlertMessage(models.Model):
    """What one receiver is still to be told of an alert, or has been: the outbox, which survives a restart."""

    alert = models.ForeignKey(Alert, models.CASCADE, related_name="messages")
    receiver = models.ForeignKey(AlertReceiver, models.CASCADE, related_name="messages")
    event = models.CharField(max_length=8, choices=AlertEvent)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(help_text="Moved on by whoever begins to send it, so that nobody else does.")
    tries = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["alert", "receiver", "event"], name="told_once")]
        indexes = [models.Index(fields=["due_at"], condition=models.Q(sent_at=None), name="alert_message_due")]

    def __str__(self) -> str:
        return f"{self.alert}, {self.event}, to {self.receiver}"

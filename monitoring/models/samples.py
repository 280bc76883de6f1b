"""How the site was: minute by minute, server by server, and provider by provider."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.utils import timezone

# For so long it is kept what a server said that has gone since; the overview shows it.
GONE_FOR = timedelta(minutes=10)


class Sample(models.Model):
    """A minute of one server: sizes are the largest of the minute, in bytes; times in ms; CPU in percent of a core."""

    replica = models.CharField(max_length=120)
    at = models.DateTimeField(help_text="The beginning of the minute.")
    rss = models.BigIntegerField(help_text="Resident memory of the server.")
    uss = models.BigIntegerField(help_text="What would be free if the server ended.")
    children_rss = models.BigIntegerField()
    children_uss = models.BigIntegerField()
    blocks = models.BigIntegerField(help_text="Blocks that Python has allocated.")
    cpu = models.FloatField()
    children_cpu = models.FloatField()
    processes = models.PositiveIntegerField()
    sockets = models.PositiveIntegerField()
    queued = models.PositiveIntegerField()
    loop_lag_ms = models.FloatField()
    database_ms = models.FloatField(null=True)
    log_ms = models.FloatField(null=True)
    replies = models.PositiveIntegerField(help_text="That ended in this minute.")
    failed = models.PositiveIntegerField(help_text="Of these.")
    response_p50_ms = models.FloatField(null=True)
    response_p95_ms = models.FloatField(null=True)
    first_token_p50_ms = models.FloatField(null=True)
    first_token_p95_ms = models.FloatField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["replica", "at"], name="one_sample_a_minute")]
        indexes = [models.Index(fields=["at"], name="sample_at")]

    def __str__(self) -> str:
        return f"{self.replica} at {self.at:%Y-%m-%d %H:%M}"


class ReplicaState(models.Model):
    """What a server last said of itself, for the pages that another one serves."""

    replica = models.CharField(max_length=120, primary_key=True)
    at = models.DateTimeField()
    data = models.JSONField(default=dict, help_text="Its latest sample, its figures and its processes.")

    class Meta:
        verbose_name = "state of a server"
        verbose_name_plural = "states of servers"
        permissions = [("stop_process", "Can stop somebody else's answer")]

    def __str__(self) -> str:
        return self.replica


class CheckKind(models.TextChoices):
    PROBE = "probe", "check"
    STATE = "state", "change of state"


class HealthCheck(models.Model):
    """What was seen of a provider's health: the result of a check, or a move of its breaker."""

    at = models.DateTimeField(default=timezone.now)
    # The name is kept: a provider that has gone was still down.
    provider_id = models.BigIntegerField(null=True)
    provider = models.CharField(max_length=32)
    kind = models.CharField(max_length=8, choices=CheckKind)
    state = models.CharField(max_length=16, blank=True, help_text="Of the breaker, after a move.")
    ok = models.BooleanField(null=True)
    sentence = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-at"]
        indexes = [
            models.Index(fields=["provider", "-at"], name="health_of_provider"),
            models.Index(fields=["at"], name="health_at"),
            # The overview looks for the last moves of breakers, among any number of checks.
            models.Index(fields=["-at"], condition=models.Q(kind="state"), name="health_moves"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} at {self.at:%Y-%m-%d %H:%M:%S}: {self.state or self.ok}"

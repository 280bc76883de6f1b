"""The conversation: who said what, how each answer ended, and which replica is answering."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from providers.endings import Ending


class Replica(models.Model):
    """A server process that owns replies. Dead when its heartbeat is older than `replicas.DEAD_AFTER`."""

    name = models.CharField(max_length=120, primary_key=True, help_text="Host, process id and a random part.")
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class Failover(models.TextChoices):
    """What happens when a provider fails in the middle of an answer."""

    CONTINUE = "continue", "the next provider continues"
    ASK = "ask", "the reader is asked"
    OFF = "off", "the answer ends there"


CONTINUE_PROMPT = (
    "Your last answer was cut off. Continue it exactly where it stopped, in the same language and format. "
    "Do not repeat anything and do not comment on the interruption."
)


class SiteSettings(models.Model):
    """What an admin decides for all conversations: one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    failover = models.CharField(
        "when a provider fails in mid-answer", max_length=16, choices=Failover, default=Failover.CONTINUE
    )
    continue_prompt = models.TextField(
        default=CONTINUE_PROMPT,
        max_length=2000,
        help_text="What the next model is told after the text it should continue. Sent as the user's words.",
    )

    class Meta:
        verbose_name_plural = "site settings"
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="one_row_of_site_settings")]

    def __str__(self) -> str:
        return "Site settings"


class Conversation(models.Model):
    """A tree of messages of one owner; `current_leaf` names the branch that is shown and sent to the model."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="conversations")
    name = models.CharField(max_length=64, help_text="What /ws?session= calls it; the id where the page made it.")
    title = models.CharField(max_length=200, blank=True)
    model = models.CharField(max_length=160, blank=True, help_text="provider:model. Empty: whatever is best.")
    failover = models.CharField(
        max_length=16, choices=Failover, blank=True, help_text="Empty: as the site's settings say."
    )
    current_leaf = models.ForeignKey("Message", models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "name"], name="conversation_name_once_per_owner")]
        # The list beside the page: newest first.
        indexes = [models.Index(fields=["owner", "-updated_at"], name="conversation_by_owner")]

    def __str__(self) -> str:
        return self.title or self.name


class Role(models.TextChoices):
    USER = "user"
    ASSISTANT = "assistant"


class State(models.TextChoices):
    """Where a reply stands; a person's own message is `ended` from the start."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


class Message(models.Model):
    """One turn: what a person wrote, or a reply with its ending, its numbers and its money."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="messages")
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="children")
    # NULL, since the unique constraint below would take two empty strings for the same id.
    client_id = models.CharField(  # noqa: DJ001
        max_length=64, null=True, blank=True, help_text="The sender's own id: sent twice, stored once."
    )
    role = models.CharField(max_length=16, choices=Role)
    text = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    # A reply only, from here on.
    continues = models.BooleanField(default=False, help_text="Goes on where its parent, a reply, stopped.")
    reasoning = models.TextField(blank=True)
    notices = models.JSONField(
        default=list, blank=True, help_text="Notice frames, each with the length of text before it."
    )
    state = models.CharField(max_length=16, choices=State, default=State.ENDED)
    ending = models.CharField(max_length=16, choices=Ending.choices(), blank=True)
    evidence = models.CharField(max_length=80, blank=True, help_text="What the ending was decided from.")
    error = models.CharField(max_length=500, blank=True, help_text="The sentence that the person read.")
    last_seq = models.PositiveIntegerField(default=0)
    owner = models.CharField(max_length=120, blank=True, help_text="The replica that answers.")
    epoch = models.PositiveIntegerField(default=0, help_text="Grows with every change of owner; a write names it.")
    stop_requested = models.BooleanField(default=False)
    requested_model = models.CharField(max_length=160, blank=True)
    only_model = models.BooleanField(default=False, help_text="Nobody else may answer.")
    skipped = models.JSONField(default=list, blank=True, help_text="Who was not asked, and why: [[model, reason]].")
    parameters = models.JSONField(default=dict, blank=True)
    provider = models.CharField(max_length=32, blank=True)
    model = models.CharField(max_length=120, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    duration_ms = models.PositiveIntegerField(null=True, blank=True)
    first_token_ms = models.PositiveIntegerField(null=True, blank=True)
    chunks = models.PositiveIntegerField(default=0)
    exit_code = models.SmallIntegerField(null=True, blank=True)
    input_tokens = models.PositiveIntegerField(null=True, blank=True, help_text="Fresh ones; NULL is unknown.")
    cache_read_tokens = models.PositiveIntegerField(null=True, blank=True)
    cache_write_tokens = models.PositiveIntegerField(null=True, blank=True)
    output_tokens = models.PositiveIntegerField(null=True, blank=True, help_text="Reasoning included.")
    reasoning_tokens = models.PositiveIntegerField(null=True, blank=True)
    cost_usd = models.DecimalField(
        max_digits=20, decimal_places=12, null=True, blank=True, help_text="Of all attempts. NULL is unknown."
    )
    cost_source = models.CharField(max_length=16, blank=True)

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(fields=["conversation", "client_id"], name="message_stored_once"),
            models.UniqueConstraint(
                fields=["conversation"], condition=Q(state="running"), name="one_running_reply_per_conversation"
            ),
        ]
        # Finds the replies of a vanished owner and the next in line.
        indexes = [models.Index(fields=["state"], condition=~Q(state="ended"), name="message_unfinished")]

    def __str__(self) -> str:
        return f"{self.role} {self.id}"

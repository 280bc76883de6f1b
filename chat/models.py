"""The conversation: who said what, how each answer ended, and which replica is answering."""

from __future__ import annotations

import secrets
import uuid
from functools import reduce
from operator import or_
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

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


class PolicyMode(models.TextChoices):
    """What becomes of a message that breaks a rule of the input policy."""

    REFUSE = "refuse", "refuse"
    FLAG = "flag", "accept and flag"
    OFF = "off", "off"


class PolicyRule(models.Model):
    """A rule of the input policy, by its name in `chat.policy.judging`, and how often it was broken."""

    name = models.CharField(max_length=32, primary_key=True, editable=False)
    mode = models.CharField(max_length=8, choices=PolicyMode, default=PolicyMode.REFUSE)
    refused = models.PositiveBigIntegerField(default=0, editable=False)
    flagged = models.PositiveBigIntegerField(default=0, editable=False)
    last_hit_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Account(models.Model):
    """What a person has chosen for all of their conversations; made with the first choice."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="account")
    system_prompt = models.TextField(blank=True, max_length=8000, help_text="For conversations without their own.")
    parameters = models.JSONField(default=dict, blank=True, help_text="As of Conversation.")
    language = models.CharField(max_length=16, blank=True, help_text="Empty: as the browser asks.")
    # Sessions and sockets that began under another number count no longer.
    session_epoch = models.PositiveIntegerField(default=0, help_text="Grows with `sign out everywhere`.")

    def __str__(self) -> str:
        return f"Account of {self.user}"


class ApiToken(models.Model):
    """A script's way in, as its owner. The token itself is shown once and never stored."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=80, help_text="What it is for, in its owner's words.")
    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the whole token, in hex.")
    ending = models.CharField(max_length=4, help_text="The last characters, to tell tokens apart.")
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} (…{self.ending})"


class ConversationQuerySet(models.QuerySet["Conversation"]):
    """Conversations by who may see them."""

    def of(self, user: Any) -> ConversationQuerySet:
        """Return the user's own, without those that are deleted; nobody's for None."""
        return self.filter(owner=user, deleted_at=None) if user else self.none()


class Conversation(models.Model):
    """A tree of messages of one owner; `current_leaf` names the branch that is shown and sent to the model."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="conversations")
    name = models.CharField(max_length=64, help_text="What /ws?session= calls it; the id where the page made it.")
    title = models.CharField(max_length=200, blank=True)
    has_own_title = models.BooleanField(default=False, help_text="A person named it: no title is made any more.")
    system_prompt = models.TextField(blank=True, max_length=8000, help_text="Empty: that of the account.")
    parameters = models.JSONField(
        default=dict, blank=True, help_text="`temperature` and `max_tokens`; what is missing is as in the account."
    )
    pinned = models.BooleanField(default=False)
    archived = models.BooleanField(default=False)
    # Kept for a while, so that it can be undone.
    deleted_at = models.DateTimeField(null=True, blank=True)
    model = models.CharField(max_length=160, blank=True, help_text="provider:model. Empty: whatever is best.")
    failover = models.CharField(
        max_length=16, choices=Failover, blank=True, help_text="Empty: as the site's settings say."
    )
    origin = models.CharField(
        max_length=80, blank=True, help_text="Of an imported one: where it comes from, and a digest of what was there."
    )
    current_leaf = models.ForeignKey("Message", models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True, help_text="When something was said last.")

    objects = ConversationQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "name"], name="conversation_name_once_per_owner")]
        # The list beside the page, what is archived, and what waits to be purged. Two for the first two, since SQLite
        # does not look up a boolean in an index.
        indexes = [
            models.Index(
                fields=["owner", "-pinned", "-updated_at", "-id"],
                condition=Q(deleted_at=None, archived=False),
                name="conversation_list",
            ),
            models.Index(
                fields=["owner", "-pinned", "-updated_at", "-id"],
                condition=Q(deleted_at=None, archived=True),
                name="conversation_archive",
            ),
            models.Index(
                fields=["deleted_at"], condition=Q(deleted_at__isnull=False), name="conversation_to_be_purged"
            ),
            # Whether something was imported before.
            models.Index(fields=["owner", "origin"], condition=~Q(origin=""), name="conversation_by_origin"),
        ]

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


# What somebody who runs the site wants to see: a reply that failed, or took more than one attempt.
# Not `ending__in`, whose values SQLite does not compare with those of its index.
IN_TROUBLE = reduce(or_, (Q(ending=ending.value) for ending in Ending if ending.failed), Q(attempts__gt=1))
# The `evidence` of an answer that came in a file.
IMPORTED = "imported"


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
    # No auto_now_add, which would give what is imported another date than its own.
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    # A reply only, from here on.
    continues = models.BooleanField(default=False, help_text="Goes on where its parent, a reply, stopped.")
    reasoning = models.TextField(blank=True)
    reasoning_ms = models.PositiveIntegerField(null=True, blank=True, help_text="From its first word to the text.")
    left_out = models.PositiveIntegerField(
        default=0, help_text="Messages from the beginning of the branch that were not sent, for lack of room."
    )
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
    # Milliseconds since the message arrived.
    stored_ms = models.PositiveIntegerField(null=True, blank=True, help_text="Until both of them were stored.")
    begun_ms = models.PositiveIntegerField(null=True, blank=True, help_text="Until its turn came, and a place.")
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

    # Not stored: the rules of the input policy that flagged what is just being posted, for whoever hears of it.
    flags: tuple[str, ...] = ()

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(fields=["conversation", "client_id"], name="message_stored_once"),
            models.UniqueConstraint(
                fields=["conversation"], condition=Q(state="running"), name="one_running_reply_per_conversation"
            ),
        ]
        # The replies of a vanished owner and the next in line; and the last ones in trouble, however many went well.
        indexes = [
            models.Index(fields=["state"], condition=~Q(state="ended"), name="message_unfinished"),
            models.Index(fields=["-ended_at"], condition=IN_TROUBLE, name="message_in_trouble"),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.id}"


class AttachmentKind(models.TextChoices):
    IMAGE = "image"
    TEXT = "text"


class Attachment(models.Model):
    """A file that goes with a message: an image as it was encoded here, or a text that is quoted."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="attachments")
    # NULL until the message is sent; what never is, goes away after a while.
    message = models.ForeignKey(Message, models.CASCADE, null=True, blank=True, related_name="attachments")
    kind = models.CharField(max_length=8, choices=AttachmentKind)
    name = models.CharField(max_length=120, help_text="What its sender calls it: a label, never a path.")
    media_type = models.CharField(max_length=40)
    width = models.PositiveIntegerField(null=True, blank=True, help_text="Pixels, of an image.")
    height = models.PositiveIntegerField(null=True, blank=True)
    size = models.PositiveIntegerField(editable=False, help_text="Bytes of data.")
    # In the database, so that every replica has it and a backup is one file.
    data = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["created_at"]
        # Finds what was never sent.
        indexes = [models.Index(fields=["created_at"], condition=Q(message=None), name="attachment_unsent")]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        if "data" not in self.get_deferred_fields():
            self.size = len(self.data)
        super().save(*args, **kwargs)

    def get_absolute_url(self) -> str:
        return reverse("chat:attachment", args=[self.pk])

    @property
    def is_image(self) -> bool:
        return self.kind == AttachmentKind.IMAGE


def new_share_key() -> str:
    """Return what makes the address of a shared conversation unguessable: 128 random bits."""
    return secrets.token_urlsafe(16)


class Share(models.Model):
    """A link under which anybody can read one branch of a conversation, up to the message at its end."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    key = models.CharField(max_length=32, unique=True, default=new_share_key, editable=False)
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="shares")
    leaf = models.ForeignKey(Message, models.CASCADE, related_name="+", help_text="What comes after it is not shown.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.conversation} since {self.created_at:%Y-%m-%d}"

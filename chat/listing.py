"""The list of conversations: in which order, under which headings by the reader's calendar, and where a page ends."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from django.contrib.auth.models import User
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.models import Conversation

# Conversations that are sent at once; more are fetched when somebody scrolls there.
PAGE_LENGTH = 30
# The name of the browser's time zone, which static/js/grouping.js stores: without it, the site's own.
ZONE_COOKIE = "timezone"
# static/js/grouping.js has the same rules.
GROUPS = {
    "pinned": _("Pinned"),
    "today": _("Today"),
    "yesterday": _("Yesterday"),
    "week": _("Previous 7 days"),
    "earlier": _("Earlier"),
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What a row of the list shows: a system prompt is long.
COLUMNS = ("pk", "owner_id", "name", "title", "pinned", "archived", "updated_at")


@dataclass(frozen=True)
class Place:
    """A place in the list: right behind the conversation that has these."""

    pinned: bool
    updated_at: datetime
    pk: uuid.UUID

    PATTERN = re.compile(r"\A([01])-([0-9]{1,17})-([0-9a-f]{32})\Z")

    @classmethod
    def behind(cls, conversation: Conversation) -> Place:
        return cls(conversation.pinned, conversation.updated_at, conversation.pk)

    @classmethod
    def parse(cls, text: str) -> Place:
        """Return the place that `str` has written. Raises ValueError for anything else."""
        match = cls.PATTERN.match(text)
        if match is None:
            raise ValueError(f"no place in a list: {text[:80]!r}")
        pinned, microseconds, pk = match.groups()
        return cls(pinned == "1", EPOCH + timedelta(microseconds=int(microseconds)), uuid.UUID(pk))

    def __str__(self) -> str:
        microseconds = (self.updated_at - EPOCH) // timedelta(microseconds=1)
        return f"{self.pinned:d}-{microseconds}-{self.pk.hex}"

    def condition(self) -> Q:
        """Return what holds for all that comes behind this place."""
        older = Q(updated_at__lte=self.updated_at) & (Q(updated_at__lt=self.updated_at) | Q(pk__lt=self.pk))
        # Not `pinned=False`, which SQLite would not look up in the index.
        here = Q(pinned__in=[self.pinned]) & older
        return here | Q(pinned=False) if self.pinned else here


@dataclass(frozen=True)
class Group:
    """The conversations under one heading; there may be none."""

    key: str
    label: str
    items: list[Conversation] = field(default_factory=list)


@dataclass(frozen=True)
class Listing:
    """One page of the list. `after`: where the next one begins, None behind the last."""

    groups: list[Group]
    after: Place | None
    now: datetime
    archived: bool = False

    @property
    def is_empty(self) -> bool:
        return not any(group.items for group in self.groups)


def list_conversations(
    user: User | None, zone: tzinfo, *, after: Place | None = None, archived: bool = False
) -> Listing:
    """Return a page of the user's conversations: pinned ones first, then the last used ones."""
    rows = Conversation.objects.of(user).filter(archived=archived).only(*COLUMNS)
    if after:
        rows = rows.filter(after.condition())
    found = list(rows.order_by("-pinned", "-updated_at", "-pk")[: PAGE_LENGTH + 1])
    shown, now = found[:PAGE_LENGTH], timezone.now()
    more = Place.behind(shown[-1]) if len(found) > PAGE_LENGTH else None
    return Listing(group(shown, now.astimezone(zone)), more, now, archived)


def group(conversations: Iterable[Conversation], now: datetime) -> list[Group]:
    """Return every group, in order, with its conversations; the days are those of the time zone of `now`."""
    groups = {key: Group(key, str(label)) for key, label in GROUPS.items()}
    for conversation in conversations:
        groups[group_of(conversation, now)].items.append(conversation)
    return list(groups.values())


def group_of(conversation: Conversation, now: datetime) -> str:
    """Return under which key of GROUPS a conversation is listed."""
    if conversation.pinned:
        return "pinned"
    days = (now.date() - conversation.updated_at.astimezone(now.tzinfo).date()).days
    # What a wrong clock has put into the future is of today.
    if days < 1:
        return "today"
    return "yesterday" if days == 1 else "week" if days <= 7 else "earlier"


def find_zone(request: HttpRequest) -> tzinfo:
    """Return the browser's time zone, or the site's where the browser has named none that is known here."""
    name = request.COOKIES.get(ZONE_COOKIE, "")
    if not re.fullmatch(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}", name):
        return timezone.get_default_timezone()
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return timezone.get_default_timezone()

"""Whether a visitor still is who they were when their socket opened: asked with each frame, and again and again.

The rows alone decide, so it does not matter who changed them: a page of ours, the admin, another server, or plain SQL.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from chat.identity import GUEST_PREFIX, Visitor, epoch_of, stamp_of
from chat.models import Account, ApiToken
from chat.protocol import CloseCode
from providers.prepared import Given, Prepared, build, columns_of


@dataclass(frozen=True)
class Dismissal:
    """Why a socket must close."""

    code: int
    reason: str | Promise


SIGNED_OUT = Dismissal(CloseCode.SIGN_IN, _("You have signed out."))
ENDED = Dismissal(CloseCode.SIGN_IN, _("The password was changed, or you signed out everywhere."))
SWITCHED_OFF = Dismissal(CloseCode.SIGN_IN, _("This account has been switched off."))
GONE = Dismissal(CloseCode.SIGN_IN, _("This account no longer exists."))
REVOKED = Dismissal(CloseCode.SIGN_IN, _("This token has been revoked."))
# Coming back answers the question who it is by now.
CHANGED = Dismissal(CloseCode.CHANGED, _("You are signed in differently now."))


class Dismissed(Exception):
    """The visitor may not do anything any more."""

    def __init__(self, dismissal: Dismissal) -> None:
        super().__init__(str(dismissal.reason))
        self.dismissal = dismissal


class _Row(NamedTuple):
    """A user as far as this is concerned."""

    pk: int
    username: str
    is_active: bool
    password: str
    epoch: int | None


def admit(visitor: Visitor) -> User | None:
    """Return the visitor's row as it is now, None for a guest who has not said anything yet. Raises Dismissed."""
    user = _find_by_id(visitor.user_id) if visitor.user_id else _find_by_name(visitor.username)
    if user is None and not visitor.user_id:
        return None
    epoch = epoch_of(user) if user and visitor.session_key else 0
    row = _Row(user.pk, user.username, user.is_active, user.password, epoch) if user else None
    dismissal = _judge(visitor, row, _living_sessions([visitor]), _living_tokens([visitor]))
    if dismissal:
        raise Dismissed(dismissal)
    return user


def _find_by_id(user_id: int) -> User | None:
    return _user_of(_by_id.first(pk=user_id))


def _find_by_name(username: str) -> User | None:
    return _user_of(_by_name.first(username=username))


# With the account: most frames need it, if only to know that there is none.
_by_id = Prepared(lambda: User.objects.select_related("account").filter(pk=Given("pk")))
_by_name = Prepared(lambda: User.objects.select_related("account").filter(username=Given("username")))
_ACCOUNT_AT = len(columns_of(User))


def _user_of(row: tuple[Any, ...] | None) -> User | None:
    if row is None:
        return None
    user = build(User, row[:_ACCOUNT_AT])
    account = build(Account, row[_ACCOUNT_AT:]) if row[_ACCOUNT_AT] else None
    # As `select_related` does it: None is remembered as well.
    User._meta.get_field("account").set_cached_value(user, account)
    return user


def admit_or_make(visitor: Visitor) -> User:
    """Return the visitor's row as it is now, made where they speak for the first time. Raises Dismissed."""
    return admit(visitor) or visitor.make_user()


def find_dismissals(visitors: Collection[Visitor]) -> dict[Visitor, Dismissal]:
    """Return which of the visitors must go, and why: in three queries, however many they are."""
    ids = {visitor.user_id for visitor in visitors if visitor.user_id}
    columns = ("pk", "username", "is_active", "password", "account__session_epoch")
    rows = {values[0]: _Row(*values) for values in User.objects.filter(pk__in=ids).values_list(*columns)}
    sessions, tokens = _living_sessions(visitors), _living_tokens(visitors)
    judged = {
        visitor: _judge(visitor, rows.get(visitor.user_id), sessions, tokens) for visitor in visitors if visitor.user_id
    }
    return {visitor: dismissal for visitor, dismissal in judged.items() if dismissal}


def _judge(visitor: Visitor, row: _Row | None, sessions: set[str], tokens: set[object]) -> Dismissal | None:
    is_guest = visitor.username.startswith(GUEST_PREFIX) and not visitor.is_account
    if is_guest and (row is None or row.username != visitor.username):
        # Signed up or in meanwhile, in another tab.
        return CHANGED
    if row is None:
        return GONE
    if not row.is_active:
        return SWITCHED_OFF
    if visitor.token_id:
        return None if visitor.token_id in tokens else REVOKED
    if visitor.session_key:
        return _judge_session(
            has_session=visitor.session_key in sessions,
            is_same=visitor.stamp == stamp_of(row.password, row.epoch),
        )
    return None


def _judge_session(*, has_session: bool, is_same: bool) -> Dismissal | None:
    if is_same:
        return None if has_session else SIGNED_OUT
    # A session that goes on, in the tab that did it, has another key from then on: its own sockets may come back.
    return ENDED if has_session else CHANGED


def _living_sessions(visitors: Collection[Visitor]) -> set[str]:
    keys = {visitor.session_key for visitor in visitors if visitor.session_key}
    if not keys:
        return set()
    living = Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
    return set(living.values_list("session_key", flat=True))


def _living_tokens(visitors: Collection[Visitor]) -> set[object]:
    ids = {visitor.token_id for visitor in visitors if visitor.token_id}
    return set(ApiToken.objects.filter(pk__in=ids).values_list("pk", flat=True)) if ids else set()

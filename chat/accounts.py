"""What happens to accounts: made out of guests, signed in and out, left for good. Views ask here and decide nothing."""

from __future__ import annotations

import logging
import uuid
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, transaction
from django.db.models import F
from django.dispatch import receiver
from django.http import HttpRequest

from chat import identity, sessions
from chat.identity import GUEST_PREFIX, LOCAL_USER, SESSION_EPOCH, epoch_of
from chat.models import Account, ApiToken, Attachment, Conversation, SiteSettings
from chat.signals import tell
from chat.sockets import open_sockets
from providers.models import Attempt
from providers.spending import CHECK_USER

logger = logging.getLogger(__name__)

# Names with a meaning of their own: the local script, and the site's questions to its providers.
RESERVED = {LOCAL_USER, CHECK_USER}
# Whose the ledger's rows are after their account has gone. Brackets cannot stand in a name.
DELETED = "(deleted)"
# Conversations: some tenths of a second.
DELETED_AT_ONCE = 100


class NameTaken(Exception):
    """Somebody else has that name, perhaps in other letters' case."""


def is_reserved(name: str) -> bool:
    """Return whether nobody may choose this name."""
    folded = name.casefold()
    return folded in RESERVED or folded.startswith(GUEST_PREFIX)


def sign_up(request: HttpRequest, name: str, password: str) -> None:
    """Make an account and sign it in. Raises NameTaken.

    A guest becomes the account: the same row, so that whatever they wrote, and what is being answered, is its own.
    """
    # Hashed before: it takes a third of a second, and SQLite has one writer.
    encoded = make_password(password)
    with transaction.atomic():
        user = _make_account(name, encoded, identity.guest_name_of(request))
        _begin_session(request, user)


def _make_account(name: str, password: str, guest_name: str) -> User:
    # One at a time, so that there is one first account, and one of each name.
    SiteSettings.objects.get_or_create(pk=1)
    SiteSettings.objects.select_for_update().get(pk=1)
    if User.objects.filter(username__iexact=name).exists():
        raise NameTaken
    is_admin = makes_admin()
    guest = User.objects.select_for_update().filter(username=guest_name, is_active=True).first()
    user = guest or User()
    user.username, user.password = name, password
    user.is_staff = user.is_superuser = is_admin
    user.save()
    Attempt.objects.filter(user=user).update(username=name)
    return user


def makes_admin() -> bool:
    """Return whether the next account is this site's admin: the first one, in local mode."""
    people = User.objects.exclude(username=LOCAL_USER).exclude(username__startswith=GUEST_PREFIX)
    return settings.LOCAL_MODE and not people.exists()


@transaction.atomic
def sign_in(request: HttpRequest, user: User) -> None:
    """Sign in somebody whose password was right; what they wrote here as a guest becomes the account's."""
    if guest_name := identity.guest_name_of(request):
        _adopt(guest_name, user)
    _begin_session(request, user)


def _adopt(guest_name: str, user: User) -> None:
    guest = User.objects.select_for_update().filter(username=guest_name).first()
    if guest is None:
        return
    taken = set(Conversation.objects.filter(owner=user).values_list("name", flat=True))
    for pk, name in Conversation.objects.filter(owner=guest, name__in=taken).values_list("pk", "name"):
        renamed = f"{name[:55]}-{uuid.uuid4().hex[:8]}"
        Conversation.objects.filter(pk=pk).update(name=renamed)
    Conversation.objects.filter(owner=guest).update(owner=user)
    Attachment.objects.filter(owner=guest).update(owner=user)
    Attempt.objects.filter(user=guest).update(user=user, username=user.username)
    tell("account.guest_adopted", user, "user", guest.pk)
    # Running answers go on, and write down what they cost under this row. Nobody has its name in a cookie any more.
    guest.username = f"{GUEST_PREFIX}{uuid.uuid4().hex}"
    guest.save(update_fields=["username"])


def _begin_session(request: HttpRequest, user: User) -> None:
    # Gives the session another key, so that nobody can have planted the one of before.
    auth.login(request, user, backend=settings.AUTHENTICATION_BACKENDS[-1])
    if guest_name := identity.guest_name_of(request):
        identity.forget_guest(request)
        # Before the rows change for others: a tab that comes back too early, with the old cookie, is told to try again.
        open_sockets.call_back(guest_name)


@receiver(user_logged_in, dispatch_uid="chat.accounts")
def note_epoch(request: HttpRequest, user: User, **_: Any) -> None:
    """Write into a new session, the admin's too, since when it counts."""
    request.session[SESSION_EPOCH] = epoch_of(user)
    sessions.begin(request.session)


def sign_out(request: HttpRequest) -> None:
    """End this session and the sockets that it has open."""
    auth.logout(request)
    open_sockets.look_now()


def change_password(request: HttpRequest, user: User, password: str) -> None:
    """Store the new password, which ends every session but this one."""
    encoded = make_password(password)
    # Together, so that this session's sockets, too, find either both or none.
    with transaction.atomic():
        user.password = encoded
        user.save(update_fields=["password"])
        auth.update_session_auth_hash(request, user)


@transaction.atomic
def end_other_sessions(request: HttpRequest, user: User) -> None:
    """Sign out everywhere but here."""
    Account.objects.get_or_create(user=user)
    Account.objects.filter(user=user).update(session_epoch=F("session_epoch") + 1)
    tell("account.signed_out_everywhere", user, "user", user.pk)
    request.session.cycle_key()
    request.session[SESSION_EPOCH] = Account.objects.get(user=user).session_epoch


def end_all_sessions(request: HttpRequest, user: User) -> None:
    """Sign out everywhere."""
    end_other_sessions(request, user)
    sign_out(request)


def language_of(user: User) -> str:
    """Return the language that the account has chosen, or ""."""
    return Account.objects.filter(user=user).values_list("language", flat=True).first() or ""


def choose_language(user: User, language: str) -> None:
    """Store in which language the account wants its pages."""
    Account.objects.update_or_create(user=user, defaults={"language": language})


def choose_defaults(user: User, system_prompt: str, parameters: dict[str, float]) -> None:
    """Store what holds for conversations without a choice of their own."""
    Account.objects.update_or_create(user=user, defaults={"system_prompt": system_prompt, "parameters": parameters})


def revoke(user: User, token_id: uuid.UUID) -> bool:
    """Delete a token of the user's; return False where there is none."""
    deleted, _ = ApiToken.objects.filter(user=user, pk=token_id).delete()
    open_sockets.look_now()
    return bool(deleted)


def delete(request: HttpRequest, user: User) -> None:
    """Delete a person and everything they wrote. The ledger keeps its sums, without saying whose they were."""
    auth.logout(request)
    _delete(user)
    if guest_name := identity.guest_name_of(request):
        identity.forget_guest(request)
        open_sockets.call_back(guest_name)
    open_sockets.look_now()


def _delete(user: User) -> None:
    owned = Conversation.objects.filter(owner=user)
    # A few at a time: the one writer of SQLite would keep everybody waiting for all of them. An answer that is being
    # written loses its row, by which its server knows that it must end.
    while some := list(owned.values_list("pk", flat=True)[:DELETED_AT_ONCE]):
        Conversation.objects.filter(pk__in=some).delete()
    with transaction.atomic():
        Attempt.objects.filter(user=user).update(user=None, username=DELETED)
        user.delete()


def is_only_admin(user: User) -> bool:
    """Return whether nobody else could change the site's settings."""
    others = User.objects.filter(is_superuser=True, is_active=True).exclude(pk=user.pk)
    return user.is_superuser and not others.exists()


def ensure_admin() -> None:
    """Make the admin that the settings name, where nobody has that name yet."""
    name, password = settings.ADMIN_USERNAME, settings.ADMIN_PASSWORD
    if not name or User.objects.filter(username=name).exists():
        return
    if not password:
        raise ImproperlyConfigured("SASHA_ADMIN_USERNAME is set, but neither SASHA_ADMIN_PASSWORD nor its _FILE.")
    try:
        with transaction.atomic():
            User.objects.create_superuser(name, password=password)
    except IntegrityError:
        # Another server of this site was faster.
        return
    logger.info("The admin %s was made. Change the password after the first sign-in.", name)

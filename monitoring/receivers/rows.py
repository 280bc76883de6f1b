"""Changes of the rows that decide something, from value to value, whoever makes them: a page, the admin, a command."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.contrib.auth.hashers import is_password_usable
from django.contrib.auth.models import Group, User
from django.db.models import Model as Row
from django.db.models.signals import m2m_changed, post_save, pre_delete, pre_save

from chat.identity import GUEST_PREFIX
from chat.models import ApiToken, Conversation, PolicyRule, Share, SiteSettings
from monitoring import acting
from monitoring.audit import Actor, Deed, Target, record
from monitoring.models import AlertReceiver, AlertRule
from monitoring.receivers.conversations import on_conversation_goes
from providers.models import Budget, Model, Price, Provider

Values = dict[str, Any]
Mask = Callable[[Any], Any]


def is_set(value: Any) -> str:
    """Return whether there is a secret, and nothing of it. A digest tells one from the next."""
    return "set" if value else "none"


def has_password(value: str) -> str:
    """Return whether somebody can sign in with a password."""
    return is_set(value and is_password_usable(value))


def host_of(value: Any) -> str:
    """Return the host of an address, whose path may be a secret; an e-mail address as it is."""
    return urlsplit(value).hostname or value


def name_share(share: Share) -> str:
    """Return a link's name without the conversation's title: those are somebody's words, which can be erased."""
    return f"of conversation {share.conversation_id}"


@dataclass(frozen=True)
class Watched:
    """Rows of one model: how the audit calls them, which of their columns count, and what is shown of secret ones."""

    kind: str
    columns: tuple[str, ...]
    masks: dict[str, Mask] = field(default_factory=dict)
    name: Callable[[Any], str] = str


WATCHED: dict[type[Row], Watched] = {
    Provider: Watched(
        "provider",
        (
            *("slug", "name", "kind", "api_base", "options", "key_variable", "encrypted_key", "priority", "enabled"),
            *("sends_finish_reason", "first_token_seconds", "idle_seconds", "total_seconds"),
        ),
        {"encrypted_key": is_set},
    ),
    Model: Watched(
        "model",
        (
            *("provider_id", "name", "label", "priority", "enabled", "context_window", "max_output", "vision"),
            "extra_body",
        ),
    ),
    Price: Watched(
        "price",
        (
            *("model_id", "valid_from", "above_tokens", "input", "cache_read", "cache_write", "output", "reasoning"),
            "source",
        ),
    ),
    Budget: Watched("budget", ("scope", "user_id", "period", "limit_usd", "enabled")),
    SiteSettings: Watched("site_settings", ("failover", "continue_prompt")),
    PolicyRule: Watched("policy_rule", ("mode",)),
    User: Watched(
        "user",
        ("username", "email", "is_active", "is_staff", "is_superuser", "password"),
        {"password": has_password},
    ),
    Group: Watched("group", ("name",)),
    ApiToken: Watched("token", ("user_id", "name", "ending")),
    Share: Watched("share", ("conversation_id", "leaf_id"), name=name_share),
    AlertRule: Watched("alert_rule", ("kind", "enabled", "threshold", "clear_below", "for_seconds", "clear_seconds")),
    AlertReceiver: Watched("alert_receiver", ("kind", "address", "enabled"), {"address": host_of}),
}
# What the row of a guest changes by itself.
OF_GUESTS = {"username", "password"}
THROUGH = {
    User.groups.through: "groups",
    User.user_permissions.through: "permissions",
    Group.permissions.through: "permissions",
}


# When each is written down, and as what: after `clear` nobody knows any more what it was.
LINKED = {"post_add": "add", "post_remove": "remove", "pre_clear": "remove"}


def connect() -> None:
    """Hear of these rows alone: the signals of all others are sent a hundred times a second."""
    for model in WATCHED:
        uid = f"audit {model._meta.label}"
        pre_save.connect(before_save, sender=model, dispatch_uid=uid)
        post_save.connect(after_save, sender=model, dispatch_uid=uid)
        # Before: what its name is made of may go first.
        pre_delete.connect(before_delete, sender=model, dispatch_uid=uid)
    pre_delete.connect(on_conversation_goes, sender=Conversation, dispatch_uid="audit conversation")
    for through in THROUGH:
        m2m_changed.connect(on_linked, sender=through, dispatch_uid=f"audit {through._meta.label}")


def before_save(instance: Any, update_fields: Iterable[str] | None = None, **_: Any) -> None:
    """Read what the row was, for the comparison behind the save."""
    watched = WATCHED[type(instance)]
    untouched = update_fields is not None and not set(update_fields) & _names(watched)
    was: Values | None = None
    if not untouched:
        was = type(instance)._default_manager.filter(pk=instance.pk).values(*watched.columns).first()
    instance._audit_was, instance._audit_untouched = was, untouched


def _names(watched: Watched) -> set[str]:
    """Return what `update_fields` may call the columns: a foreign key has two names."""
    return {*watched.columns, *(name.removesuffix("_id") for name in watched.columns)}


def after_save(instance: Any, created: bool, **_: Any) -> None:
    """Write down a new row, or the values that are not what they were."""
    if instance._audit_untouched:
        return
    watched = WATCHED[type(instance)]
    now = {name: _value(instance, name) for name in watched.columns}
    was = None if created else instance._audit_was
    if was is None:
        if not _is_guest(instance):
            shown = {name: _shown(watched, name, value) for name, value in now.items() if value != ""}
            _record(instance, "added", shown)
        return
    changes = _compare(watched, was, now)
    if _is_guest(instance):
        changes = {name: values for name, values in changes.items() if name not in OF_GUESTS}
    if changes:
        _record(instance, "changed", changes)


def before_delete(instance: Any, **_: Any) -> None:
    """Write down what the row was."""
    if _is_guest(instance):
        return
    watched = WATCHED[type(instance)]
    _record(instance, "deleted", {name: _shown(watched, name, getattr(instance, name)) for name in watched.columns})


def on_linked(
    sender: type[Row],
    instance: Any,
    action: str,
    reverse: bool,
    model: type[Row],
    pk_set: set[Any] | None,
    **_: Any,
) -> None:
    """Write down which groups or permissions somebody was given or lost."""
    if action == "pre_clear":
        links = sender._default_manager.filter(**{str(instance._meta.model_name): instance})
        pk_set = set(links.values_list(f"{model._meta.model_name}_id", flat=True))
    done = LINKED.get(action)
    if not (done and pk_set):
        return
    others = model._default_manager.filter(pk__in=pk_set).order_by("pk")
    if reverse:
        # `group.user_set.add(user)`: the change is the user's.
        for row in others:
            _record(row, "changed", {THROUGH[sender]: {done: [str(instance)]}})
    else:
        _record(instance, "changed", {THROUGH[sender]: {done: sorted(map(str, others))}})


def _value(instance: Row, name: str) -> Any:
    """Return a column's value as the database gives it back: what was assigned may be 1, or "2026-11-29"."""
    field = instance._meta.get_field(name)
    return field.to_python(getattr(instance, field.attname))  # type: ignore[union-attr]


def _compare(watched: Watched, was: Values, now: Values) -> dict[str, list[Any]]:
    """Return the old and the new value of each column that has changed."""
    return {
        name: [_shown(watched, name, was[name]), _shown(watched, name, now[name])]
        for name in watched.columns
        if was[name] != now[name]
    }


def _shown(watched: Watched, name: str, value: Any) -> Any:
    mask = watched.masks.get(name)
    return mask(value) if mask else _plain(value)


def _plain(value: Any) -> Any:
    """Return a column's value as JSON has it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return str(value) if isinstance(value, str | UUID) else value


def _record(instance: Any, deed: str, data: dict[str, Any]) -> None:
    watched = WATCHED[type(instance)]
    actor = acting.current()
    if actor == Actor() and isinstance(instance, User) and acting.in_request():
        # Who makes an account is nobody before.
        actor = Actor.of(instance)
    record(
        Deed(
            f"{watched.kind}.{deed}", actor, Target(watched.kind, instance.pk), {"name": watched.name(instance)} | data
        )
    )


def _is_guest(instance: Any) -> bool:
    """Return whether it is the row of a visitor without an account: there are as many as visitors.

    An admin can give such a name, or make more of such a row.
    """
    if not isinstance(instance, User) or not instance.username.startswith(GUEST_PREFIX):
        return False
    return not (instance.is_staff or instance.is_superuser or has_password(instance.password) == "set")

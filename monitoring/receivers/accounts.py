"""Who came in, who was not let in, who left."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest

from chat.doors import is_untried
from monitoring import acting
from monitoring.audit import Actor, Deed, Target, record


def on_signed_in(request: HttpRequest | None, user: User, **_: Any) -> None:
    """Write down who signed in, and from where."""
    record(Deed("account.signed_in", Actor.of(user), Target("user", user.pk), _where(request)))


def on_signed_out(request: HttpRequest | None, user: User | None, **_: Any) -> None:
    """Write down who signed out; whoever was nobody still is."""
    if isinstance(user, User):
        actor = Actor.of(user)
        record(Deed("account.signed_out", actor, Target("user", user.pk), _where(request)))
        if request:
            acting.leave(request, actor)


def on_sign_in_failed(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Write down whose account was tried. A name that nobody has is not kept: people type passwords there.

    What a door that is shut already turns away is not written down: a stranger could fill the disk with it.
    """
    if is_untried(request):
        return
    name = str(credentials.get("username", ""))
    user = User.objects.filter(username=name).first()
    data = {"name": name if user else "(nobody's)", **_where(request)}
    record(Deed("account.sign_in_failed", target=Target("user", user.pk if user else ""), data=data))


def _where(request: HttpRequest | None) -> dict[str, str]:
    return {"address": request.META.get("REMOTE_ADDR", "")} if request else {}

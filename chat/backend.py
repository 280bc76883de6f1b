"""Who may try a password now, how Django finds the user of a session, and the one that a password belongs to."""

from __future__ import annotations

from time import sleep
from typing import Any

from axes.backends import AxesStandaloneBackend
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from chat import doors, rates
from chat.rates import TooMany

# What a guess costs where too many were wrong for that name. Its owner waits as long, once.
SLOW_SECONDS = 2.0


class Doorkeeper(AxesStandaloneBackend):
    """Asked before every password, the admin's door included.

    Axes locks one name out for one address, so that nobody can lock somebody else out. Beside it stand a limit for each
    address, whatever the names, and a pause for each name, wherever the guesses come from.
    """

    def authenticate(
        self, request: HttpRequest, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> None:
        """Return for who may try. Raises PermissionDenied, which ends the sign-in, and marks the request for axes."""
        try:
            doors.count_try(request)
            super().authenticate(request, username, password, **kwargs)
        except (TooMany, PermissionDenied) as refused:
            doors.mark_untried(request, refused)
            raise PermissionDenied from refused
        try:
            rates.check("RATE_FAILURES_PER_NAME", doors.name_tried(request, {"username": username}))
        except TooMany:
            # On the thread of this request alone.
            sleep(SLOW_SECONDS)


class AccountBackend(ModelBackend):
    """Django's own, which reads the account in the same query: every request looks at it."""

    def get_user(self, user_id: int) -> User | None:
        user = User.objects.select_related("account").filter(pk=user_id).first()
        return user if user and self.user_can_authenticate(user) else None

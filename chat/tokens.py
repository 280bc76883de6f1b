"""API tokens: how they are made, and whose token a request has brought. Only their digests are stored."""

from __future__ import annotations

import hashlib
import secrets
import string
from datetime import timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from chat import rates
from chat.models import ApiToken

# Tells people, and programs that search for leaked secrets, what it is.
PREFIX = "sasha_"
# 40 of 62 characters are 238 random bits: nothing that can be guessed, so one fast hash is enough.
RANDOM_CHARACTERS = 40
SCHEME = "bearer"
# A script may come a hundred times a second; its row need not be written each time.
NOTED_EVERY = timedelta(minutes=1)


@transaction.atomic
def make(user: User, name: str) -> tuple[ApiToken, str]:
    """Store a new token of the user's and return it with its text, which cannot be had again."""
    letters = string.ascii_letters + string.digits
    text = PREFIX + "".join(secrets.choice(letters) for _ in range(RANDOM_CHARACTERS))
    return ApiToken.objects.create(user=user, name=name, digest=digest_of(text), ending=text[-4:]), text


def digest_of(text: str) -> str:
    """Return what is stored of a token. Looking it up tells nothing by its time: nobody can choose a digest."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_meant(authorization: str) -> bool:
    """Return whether the value of a header Authorization is a token, good or bad: other schemes are a proxy's."""
    return authorization.partition(" ")[0].lower() == SCHEME


def find_used(authorization: str, address: str | None) -> ApiToken | None:
    """Return the token in the value of a header Authorization, with its user, if both are good; note its use.

    Raises TooMany for a bad one where too many came from that address. A good one is never refused: somebody's script
    with an old token must not turn away everybody else's at that address.
    """
    if not is_meant(authorization):
        return None
    digest = digest_of(authorization.partition(" ")[2].strip())
    token = ApiToken.objects.select_related("user").filter(digest=digest, user__is_active=True).first()
    if token is None:
        rates.hit("RATE_BAD_TOKENS_PER_ADDRESS", address)
    else:
        now = timezone.now()
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - NOTED_EVERY)
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
    return token

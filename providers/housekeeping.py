"""What a site must do now and then about its providers: learn, sweep, and look after those that nobody asks.

Blocking; one server of a site does it, and nothing is spoilt where two do.
"""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from providers import breaker, budgets, checkup, costs
from providers.models import Attempt, Provider

# Between two rounds. Learning looks a little further back, so that nothing falls between them.
ROUND_SECONDS = 60
# Longer than any answer may take; what has been held back so long, nobody will come back for.
STALE = timedelta(hours=2)


def do_round() -> None:
    """Learn from what has ended since the last round, and release what was held back for nothing."""
    costs.learn_all(timezone.now() - timedelta(seconds=2 * ROUND_SECONDS))
    budgets.sweep(STALE)


def find_quiet() -> list[Provider]:
    """Return the enabled providers that have neither been asked nor checked for a while."""
    if not settings.PROVIDER_CHECK_SECONDS:
        return []
    since = timezone.now() - timedelta(seconds=settings.PROVIDER_CHECK_SECONDS)
    asked = Attempt.objects.filter(model__provider=OuterRef("pk"), started_at__gt=since)
    unchecked = Q(checked_at__isnull=True) | Q(checked_at__lte=since)
    return list(Provider.objects.filter(unchecked, ~Exists(asked), enabled=True))


def check_quiet() -> None:
    """Ask every quiet provider for the list of its models, which is free. A failure counts like any other."""
    for provider in find_quiet():
        result = checkup.check(provider)
        if result.ok is False:
            breaker.record_check(provider.pk, result.sentence)

"""What a site must do now and then about its providers: learn, sweep, and look after those that nobody asks.

All of it blocks; one server of a site does it, and nothing is spoilt where two do.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, Sum
from django.utils import timezone

from providers import breaker, budgets, checkup, costs, ledger
from providers.models import Attempt, Model, Provider
from providers.spending import CHECK_USER

# Between two rounds. Learning looks a little further back, so that nothing falls between them.
ROUND_SECONDS = 60
# Longer than any answer may take; what has been held back so long, nobody will come back for.
STALE = timedelta(hours=2)


def do_round() -> None:
    """Learn from what has ended since the last round, and release what was held back for nothing."""
    costs.learn_all(timezone.now() - timedelta(seconds=2 * ROUND_SECONDS))
    ledger.interrupt_stale(STALE)
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
    """Ask every quiet provider for the list of its models, which is free. Trouble counts like a failed answer."""
    for provider in find_quiet():
        started_at = timezone.now()
        result = checkup.check(provider)
        if result.ok or result.trouble:
            breaker.record_check(provider.pk, started_at, result.sentence if result.trouble else "")


def find_live_due() -> list[Model]:
    """Return the models that the schedule of live checks would ask now; nothing where there is no schedule."""
    if not settings.PROVIDER_LIVE_CHECK_SECONDS:
        return []
    since = timezone.now() - timedelta(seconds=settings.PROVIDER_LIVE_CHECK_SECONDS)
    checks = Attempt.objects.filter(model__provider=OuterRef("pk"), username=CHECK_USER, started_at__gt=since)
    due = Provider.objects.filter(~Exists(checks), enabled=True)
    return [model for provider in due if (model := checkup.first_model(provider))]


def begin_live(model: Model) -> checkup.Begun | None:
    """Begin a live check of `model`, unless it could cost more than the day's cap has left, or an unknown amount."""
    most, unknown = checkup.find_most([model])
    if unknown or spent_on_checks() + most > settings.PROVIDER_LIVE_CHECK_DAILY_USD:
        return None
    begun = checkup.begin_live(model)
    return begun if isinstance(begun, checkup.Begun) else None


def spent_on_checks() -> Decimal:
    """Return what live checks have cost today, in USD."""
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    checks = Attempt.objects.filter(username=CHECK_USER, started_at__gte=midnight)
    return checks.aggregate(cost=Sum("cost_usd"))["cost"] or Decimal(0)

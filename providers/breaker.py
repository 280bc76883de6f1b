"""Which providers are not asked for a while: columns moved by conditional updates alone, so that many replicas agree.

closed: asked as usual. Three failures in a row, half of the last minute's attempts, a refused key or a rate limit open
it. open: not asked until `open_until`; then one live request may try. half_open: that request is trying; it closes
the breaker, or opens it again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, F, Q, QuerySet
from django.utils import timezone

from providers.endings import RULES, Effect, Ending
from providers.models import Attempt, Breaker, Forced, Model, Provider
from providers.signals import provider_state_changed

FAILURES_IN_A_ROW = 3
# Or so much of a minute's attempts, of at least so many.
WINDOW = timedelta(minutes=1)
WINDOW_ATTEMPTS = 10
WINDOW_SHARE = 0.5
# The first pause after a rate limit that names no time; each one without a recovery between is twice as long.
RATE_LIMIT_SECONDS = 10
LONGEST_RETRY_SECONDS = 3600
# A trial whose server died keeps the seat no longer than this.
TRIAL_SECONDS = 120
FAILURES = [ending for ending, rule in RULES.items() if rule.effect in (Effect.FAILURE, Effect.OPEN)]


def admit(provider_id: int, *, early: bool = False) -> bool:
    """Take the one seat of a trial; return whether it was free. `early`: even before the pause is over."""
    now = timezone.now()
    over = Q(breaker=Breaker.OPEN) if early else Q(breaker=Breaker.OPEN, open_until__lte=now)
    abandoned = Q(breaker=Breaker.HALF_OPEN, open_until__lte=now)
    seats = Provider.objects.filter(over | abandoned, pk=provider_id)
    return _move(seats, provider_id, Breaker.HALF_OPEN, open_until=now + timedelta(seconds=TRIAL_SECONDS))


def record(
    provider_id: int, model_id: int, ending: Ending, *, trial: bool, sentence: str, retry_seconds: float | None = None
) -> None:
    """Draw the conclusions from an attempt's end. `sentence` says what happened, for the admin."""
    effect = RULES[ending].effect
    if effect is Effect.SUCCESS:
        _succeed(provider_id, trial)
    elif effect is Effect.FAILURE:
        _fail(provider_id, trial, sentence)
    elif effect is Effect.OPEN:
        _open(provider_id, trial, sentence, _pause(provider_id, ending, retry_seconds))
    else:
        if effect is Effect.OPEN_MODEL:
            Model.objects.filter(pk=model_id).update(out_until=timezone.now() + _memory(), out_reason=sentence[:300])
        if trial:
            # It has proved nothing: the next request may try.
            seat = Provider.objects.filter(pk=provider_id, breaker=Breaker.HALF_OPEN)
            seat.update(breaker=Breaker.OPEN, open_until=timezone.now())


def record_check(provider_id: int, sentence: str) -> None:
    """Count a failed check of a provider that nobody has asked for a while."""
    _fail(provider_id, False, sentence)


def force(provider: Provider, forced: str) -> None:
    """Decide over the breaker's head: Forced.OPEN, Forced.CLOSED, or "" to let it decide again, from a fresh start."""
    values = {"forced": forced} | _closed()
    Provider.objects.filter(pk=provider.pk).update(**values)
    for name, value in values.items():
        setattr(provider, name, value)
    reason = "an admin has decided so"
    provider_state_changed.send(Provider, provider_id=provider.pk, state=forced or Breaker.CLOSED, reason=reason)


def put_back(model: Model) -> None:
    """Let a model be asked again that was taken out."""
    Model.objects.filter(pk=model.pk).update(out_until=None, out_reason="")
    model.out_until, model.out_reason = None, ""


def describe(provider: Provider, now: datetime | None = None) -> str:
    """Return the provider's state in plain words."""
    return describe_state(provider.forced, provider.breaker, provider.open_until, provider.open_reason, now)


def describe_state(forced: str, breaker: str, until: datetime | None, reason: str, now: datetime | None = None) -> str:
    """Return a state in plain words; the arguments are the columns."""
    if forced == Forced.OPEN:
        return "Never asked: an admin has decided so."
    if forced == Forced.CLOSED:
        return "Always asked: an admin has decided so."
    if breaker == Breaker.CLOSED or until is None:
        return "Asked as usual."
    if until <= (now or timezone.now()):
        return f"Paused, and the next request tries it again. {reason}".strip()
    if breaker == Breaker.HALF_OPEN:
        return f"One request is finding out whether it has recovered. {reason}".strip()
    return f"Paused until {clock(until)}. {reason}".strip()


def clock(at: datetime) -> str:
    """Return the time of day in the site's time zone, with the date where that is not today."""
    local = timezone.localtime(at)
    return f"{local:%H:%M:%S}" if local.date() == timezone.localdate() else f"{local:%Y-%m-%d %H:%M}"


def _succeed(provider_id: int, trial: bool) -> None:
    if trial:
        _move(Provider.objects.filter(pk=provider_id, breaker=Breaker.HALF_OPEN), provider_id, Breaker.CLOSED)
    Provider.objects.filter(pk=provider_id, failures_in_a_row__gt=0).update(failures_in_a_row=0)


def _fail(provider_id: int, trial: bool, sentence: str) -> None:
    provider = Provider.objects.filter(pk=provider_id)
    provider.update(failures_in_a_row=F("failures_in_a_row") + 1)
    failures = provider.values_list("failures_in_a_row", flat=True).first() or 0
    if trial:
        _open(provider_id, trial, sentence, _memory())
    elif failures >= FAILURES_IN_A_ROW:
        _open(provider_id, trial, f"{failures} failures in a row. {sentence}", _memory())
    elif share := _failing_share(provider_id):
        _open(provider_id, trial, f"{share:.0%} of the last minute's requests failed. {sentence}", _memory())


def _failing_share(provider_id: int) -> float:
    """Return the share of failures in the window, 0 where it is too small or there are too few attempts."""
    recent = Attempt.objects.filter(model__provider_id=provider_id, ended_at__gt=timezone.now() - WINDOW)
    counts = recent.aggregate(all=Count("pk"), failed=Count("pk", filter=Q(ending__in=FAILURES)))
    share = counts["failed"] / counts["all"] if counts["all"] >= WINDOW_ATTEMPTS else 0.0
    return share if share >= WINDOW_SHARE else 0.0


def _open(provider_id: int, trial: bool, sentence: str, pause: timedelta) -> None:
    now = timezone.now()
    words: dict[str, Any] = {"open_until": now + pause, "open_reason": sentence[:300]}
    # An attempt from before does not decide over a trial.
    movable = Q(breaker=Breaker.CLOSED) | Q(breaker=Breaker.HALF_OPEN) if trial else Q(breaker=Breaker.CLOSED)
    rows = Provider.objects.filter(movable, pk=provider_id)
    if not _move(rows, provider_id, Breaker.OPEN, **words, opened_at=now, openings=F("openings") + 1):
        # Never to a shorter pause.
        Provider.objects.filter(pk=provider_id, breaker=Breaker.OPEN, open_until__lt=now + pause).update(**words)


def _move(rows: QuerySet[Provider], provider_id: int, state: Breaker, **values: object) -> bool:
    """Move the provider to `state` where it is still among `rows`; tell the listeners, and return whether it was."""
    changes = _closed() if state is Breaker.CLOSED else values
    moved = rows.update(**{"breaker": state} | changes) > 0
    if moved:
        reason = str(values.get("open_reason", ""))
        provider_state_changed.send(Provider, provider_id=provider_id, state=state, reason=reason)
    return moved


def _closed() -> dict[str, object]:
    return {
        "breaker": Breaker.CLOSED,
        "failures_in_a_row": 0,
        "openings": 0,
        "opened_at": None,
        "open_until": None,
        "open_reason": "",
    }


def _pause(provider_id: int, ending: Ending, retry_seconds: float | None) -> timedelta:
    if ending is not Ending.RATE_LIMITED:
        return _memory()
    if retry_seconds is not None:
        return timedelta(seconds=min(retry_seconds, LONGEST_RETRY_SECONDS))
    openings = Provider.objects.filter(pk=provider_id).values_list("openings", flat=True).first() or 0
    return min(_memory(), timedelta(seconds=RATE_LIMIT_SECONDS * 2 ** min(openings, 10)))


def _memory() -> timedelta:
    return timedelta(seconds=settings.PROVIDER_MEMORY_SECONDS)

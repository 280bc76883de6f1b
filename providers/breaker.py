"""Which providers are not asked for a while: columns moved by conditional updates alone, so that many replicas agree.

closed: asked as usual. Three failures in a row, half of the last minute's attempts, a refused key or a rate limit open
it. open: not asked until `open_until`; then one live request may try. half_open: that request is trying; it closes
the breaker, or opens it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Q, QuerySet, Value
from django.db.models.functions import Least
from django.utils import timezone

from providers.endings import RULES, Effect, Ending
from providers.models import Attempt, Breaker, Forced, Model, Provider
from providers.prepared import Given, Prepared
from providers.signals import model_state_changed, provider_state_changed

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
# Beyond that a count says nothing more, and its column has an end.
MOST_COUNTED = 1000
FAILURES = [ending for ending, rule in RULES.items() if rule.effect in (Effect.FAILURE, Effect.OPEN)]


@dataclass(frozen=True)
class Outcome:
    """What an attempt has shown. `sentence` is for everybody; `detail`, the provider's own words, for admins.

    `personal`: the message brought parameters of its own, which may be what was refused.
    """

    ending: Ending
    started_at: datetime
    sentence: str
    detail: str = ""
    trial: bool = False
    retry_seconds: float | None = None
    personal: bool = False


def admit(provider_id: int) -> bool:
    """Take the one seat of a trial; return whether it was free."""
    now = timezone.now()
    seats = Provider.objects.filter(pk=provider_id, breaker__in=[Breaker.OPEN, Breaker.HALF_OPEN], open_until__lte=now)
    return _move(seats, provider_id, Breaker.HALF_OPEN, open_until=now + timedelta(seconds=TRIAL_SECONDS))


def record(provider_id: int, model_id: int, seen: Outcome) -> None:
    """Draw the conclusions from an attempt's end."""
    effect = RULES[seen.ending].effect
    if effect is Effect.SUCCESS:
        _succeed(provider_id, seen.started_at)
    elif effect is Effect.FAILURE:
        _fail(provider_id, seen)
    elif effect is Effect.OPEN:
        _open(provider_id, seen, seen.sentence, _pause(provider_id, seen))
    else:
        if effect is Effect.OPEN_MODEL and not seen.personal:
            out = {"out_reason": seen.sentence[:300], "out_detail": seen.detail[:300]}
            until = timezone.now() + _memory()
            Model.objects.filter(pk=model_id).update(out_until=until, **out)
            model_state_changed.send(Model, model_id=model_id, until=until, reason=seen.sentence)
        if seen.trial:
            # It has proved nothing: the next request may try.
            seat = Provider.objects.filter(pk=provider_id, breaker=Breaker.HALF_OPEN)
            _move(seat, provider_id, Breaker.OPEN, open_until=timezone.now())


@transaction.atomic
def record_check(provider_id: int, started_at: datetime, sentence: str) -> None:
    """Count a check of a provider that nobody has asked for a while; `sentence`: why it failed, or "".

    A list of models is no answer, so a good check only ends a row of failures, not a pause.
    """
    if sentence:
        _fail(provider_id, Outcome(Ending.UNREACHABLE, started_at, "It does not answer.", sentence))
    else:
        Provider.objects.filter(pk=provider_id, breaker=Breaker.CLOSED).update(failures_in_a_row=0)


@transaction.atomic
def force(provider: Provider, forced: str) -> None:
    """Decide over the breaker's head: Forced.OPEN, Forced.CLOSED, or "" to let it decide again, from a fresh start."""
    values, was = {"forced": forced} | _closed(), _state_of(provider.pk)
    if forced == Forced.OPEN:
        # Since when it is not asked.
        values["opened_at"] = timezone.now()
    Provider.objects.filter(pk=provider.pk).update(**values)
    for name, value in values.items():
        setattr(provider, name, value)
    _tell(provider.pk, was, forced or Breaker.CLOSED, "an admin has decided so")


@transaction.atomic
def put_back(model: Model) -> None:
    """Let a model be asked again that was taken out."""
    Model.objects.filter(pk=model.pk).update(out_until=None, out_reason="", out_detail="")
    model.out_until, model.out_reason, model.out_detail = None, "", ""
    model_state_changed.send(Model, model_id=model.pk, until=None, reason="an admin has decided so")


def describe(provider: Provider, *, quoting: bool = False) -> str:
    """Return the provider's state in plain words.

    `quoting`: with its own words, which may repeat a prompt; for those who may see the ledger, which has them too.
    """
    reason = f"{provider.open_reason} {provider.open_detail}".strip() if quoting else provider.open_reason
    return describe_state(provider.forced, provider.breaker, provider.open_until, reason)


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


def _succeed(provider_id: int, started_at: datetime) -> None:
    if _find_state.first(pk=provider_id) == (Breaker.CLOSED, 0):
        # What most answers find: a look is cheaper than two updates of nothing.
        return
    # An answer that was begun before the pause proves nothing about the time since.
    recovered = Provider.objects.filter(pk=provider_id, opened_at__lt=started_at).exclude(breaker=Breaker.CLOSED)
    _move(recovered, provider_id, Breaker.CLOSED)
    Provider.objects.filter(pk=provider_id, failures_in_a_row__gt=0).update(failures_in_a_row=0)


_find_state = Prepared(
    lambda: Provider.objects.order_by().filter(pk=Given("pk")).values_list("breaker", "failures_in_a_row")
)


def _fail(provider_id: int, seen: Outcome) -> None:
    provider = Provider.objects.filter(pk=provider_id)
    provider.update(failures_in_a_row=Least(F("failures_in_a_row") + 1, Value(MOST_COUNTED)))
    failures = provider.values_list("failures_in_a_row", flat=True).first() or 0
    if seen.trial:
        _open(provider_id, seen, seen.sentence, _memory())
    elif failures >= FAILURES_IN_A_ROW:
        _open(provider_id, seen, f"{failures} failures in a row. {seen.sentence}", _memory())
    elif share := _failing_share(provider_id):
        _open(provider_id, seen, f"{share:.0%} of the last minute's requests failed. {seen.sentence}", _memory())


def _failing_share(provider_id: int) -> float:
    """Return the share of failures in the window, 0 where it is too small or there are too few attempts."""
    recent = Attempt.objects.filter(model__provider_id=provider_id, ended_at__gt=timezone.now() - WINDOW)
    counts = recent.aggregate(all=Count("pk"), failed=Count("pk", filter=Q(ending__in=FAILURES)))
    share = counts["failed"] / counts["all"] if counts["all"] >= WINDOW_ATTEMPTS else 0.0
    return share if share >= WINDOW_SHARE else 0.0


def _open(provider_id: int, seen: Outcome, sentence: str, pause: timedelta) -> None:
    now = timezone.now()
    words: dict[str, Any] = {"open_reason": sentence[:300], "open_detail": seen.detail[:300]}
    # An attempt from before does not decide over a trial.
    movable = Q(breaker=Breaker.CLOSED) | Q(breaker=Breaker.HALF_OPEN) if seen.trial else Q(breaker=Breaker.CLOSED)
    moves = {"opened_at": now, "open_until": now + pause, "openings": Least(F("openings") + 1, Value(MOST_COUNTED))}
    moved = _move(Provider.objects.filter(movable, pk=provider_id), provider_id, Breaker.OPEN, **words, **moves)
    if not moved and seen.retry_seconds is not None:
        # The provider's own word prolongs a pause, and never shortens one.
        paused = Provider.objects.filter(pk=provider_id, breaker=Breaker.OPEN, open_until__lt=now + pause)
        paused.update(open_until=now + pause, **words)


def _move(rows: QuerySet[Provider], provider_id: int, state: Breaker, **values: object) -> bool:
    """Move the provider to `state` where it is still among `rows`; tell the listeners, and return whether it was."""
    changes = _closed() if state is Breaker.CLOSED else values
    was = _state_of(provider_id)
    moved = rows.update(**{"breaker": state} | changes) > 0
    if moved:
        _tell(provider_id, was, state, str(values.get("open_reason", "")))
    return moved


def _state_of(provider_id: int) -> str:
    """Return the state as it is told: what an admin has decided, or else the breaker's."""
    # A provider may be deleted while it answers.
    states = Provider.objects.filter(pk=provider_id).values_list("forced", "breaker").first()
    return next(filter(None, states or ()), "")


def _tell(provider_id: int, was: str, state: str, reason: str) -> None:
    provider_state_changed.send(Provider, provider_id=provider_id, was=was, state=state, reason=reason)


def _closed() -> dict[str, object]:
    return {
        "breaker": Breaker.CLOSED,
        "failures_in_a_row": 0,
        "openings": 0,
        "opened_at": None,
        "open_until": None,
        "open_reason": "",
        "open_detail": "",
    }


def _pause(provider_id: int, seen: Outcome) -> timedelta:
    if seen.ending is not Ending.RATE_LIMITED:
        return _memory()
    if seen.retry_seconds is not None:
        return timedelta(seconds=min(seen.retry_seconds, LONGEST_RETRY_SECONDS))
    openings = Provider.objects.filter(pk=provider_id).values_list("openings", flat=True).first() or 0
    return min(_memory(), timedelta(seconds=RATE_LIMIT_SECONDS * 2 ** min(openings, 10)))


def _memory() -> timedelta:
    return timedelta(seconds=settings.PROVIDER_MEMORY_SECONDS)

"""The stand's database: the providers as a phase wants them, and what the site has written down of each message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from chat.models import Message, SiteSettings
from monitoring.faults.money import Spent
from monitoring.faults.rows import KEY_VARIABLES, PROTOCOLS, By, Row, When
from monitoring.faults.story import Case, Seen, Stored, Tried
from providers.endings import Ending
from providers.models import Attempt, Forced, Model, Price, Provider
from providers.simulator.server import API_BASES

# Of a row that is not in use; those in use count from 1.
LAST = 1000
# How the simulator counts the input.
PROMPT_CHARACTERS_PER_TOKEN = 4.0
# No row's clock but those that are meant runs out, however busy the machine is.
PATIENT_SECONDS, CLOCK_SECONDS = 30, 1


@dataclass(frozen=True)
class Outcome:
    """What one message came to, from all sides."""

    case: Case
    seen: Seen
    stored: Stored | None
    attempts: list[Attempt]

    @property
    def tried(self) -> list[Tried]:
        """Return the attempts as the story knows them."""
        return [Tried(one.provider_slug, one.ending, one.text_from, one.cost_usd) for one in self.attempts]


def create(rows: Iterable[Row], simulator: str, closed: str) -> None:
    """Make the database, and a provider with a model and a price of each row, all of them switched off."""
    call_command("migrate", verbosity=0, interactive=False)
    SiteSettings.objects.create()
    with transaction.atomic():
        for row in rows:
            _create(row, closed if row.fault.by is By.ADDRESS else simulator)


def _create(row: Row, address: str) -> None:
    kind, clock = PROTOCOLS[row.protocol], row.fault.clock
    provider = Provider.objects.create(
        slug=row.slug,
        name=row.slug,
        kind=kind,
        api_base=address + API_BASES[kind],
        key_variable=KEY_VARIABLES[row.protocol],
        priority=LAST,
        enabled=False,
        # Else the breaker would hide the fault.
        forced=Forced.CLOSED,
        first_token_seconds=CLOCK_SECONDS if clock and row.fault.when is When.BEFORE else PATIENT_SECONDS,
        idle_seconds=CLOCK_SECONDS if clock and row.fault.when is When.AFTER else PATIENT_SECONDS,
    )
    model = Model.objects.create(provider=provider, name=row.model, context_window=row.context_window)
    if not row.learns:
        # As learned in better days: a model that never ends an answer teaches nothing. Its tokens end in spaces.
        words = row.text.count(" ")
        Model.objects.filter(pk=model.pk).update(
            characters_per_token=len(row.text) / words if words else None,
            prompt_characters_per_token=PROMPT_CHARACTERS_PER_TOKEN,
        )
    # The tiers of one price.
    valid_from = timezone.now() - timedelta(days=1)
    for price in row.prices:
        Price.objects.create(
            model=model,
            valid_from=valid_from,
            above_tokens=price.above_tokens,
            input=price.input,
            output=price.output,
            cache_read=price.cache_read,
            cache_write=price.cache_write,
            reasoning=price.reasoning,
        )


@transaction.atomic
def arrange(alternatives: Sequence[Row], asked: Iterable[Row]) -> None:
    """Switch on these rows and no others: the alternatives in their order, and behind them those asked for by name."""
    Provider.objects.update(enabled=False, priority=LAST)
    Provider.objects.filter(slug__in={row.slug for row in asked}).update(enabled=True)
    for number, row in enumerate(alternatives, start=1):
        Provider.objects.filter(slug=row.slug).update(enabled=True, priority=number)
        Model.objects.filter(provider__slug=row.slug).update(context_window=row.context_window)
    # `misconfigured` takes a model out for a while, whatever an admin has decided about its provider.
    Model.objects.exclude(out_until=None).update(out_until=None, out_reason="")


def set_policy(policy: str) -> None:
    """Decide for all conversations what happens when a provider fails in the middle of an answer."""
    SiteSettings.objects.update(failover=policy)


def read(cases: Sequence[Case], seen: dict[int, Seen]) -> list[Outcome]:
    """Return what the site has written down of these messages."""
    ids = [seen[case.number].reply_id for case in cases if seen[case.number].reply_id]
    columns = ("id", "state", "ending", "text", "cost_usd")
    rows = {str(pk): Stored(*rest) for pk, *rest in Message.objects.filter(pk__in=ids).values_list(*columns)}
    attempts: dict[str, list[Attempt]] = {}
    for attempt in Attempt.objects.filter(reply_id__in=ids).order_by("number"):
        attempts.setdefault(str(attempt.reply_id), []).append(attempt)
    return [
        Outcome(
            case, seen[case.number], rows.get(seen[case.number].reply_id), attempts.get(seen[case.number].reply_id, [])
        )
        for case in cases
    ]


def spent(outcomes: Iterable[Outcome], rows: dict[str, Row]) -> list[Spent]:
    """Return the attempts as the money's side sees them."""
    return [_spent(outcome.case, attempt, rows) for outcome in outcomes for attempt in outcome.attempts]


def _spent(case: Case, attempt: Attempt, rows: dict[str, Row]) -> Spent:
    return Spent(
        row=replace(rows[attempt.provider_slug], model=attempt.model_name),
        ending=attempt.ending,
        # Of an attempt whose server was killed nobody knows it, but they are killed in mid-answer.
        asked=attempt.request_ms is not None or attempt.ending == Ending.INTERRUPTED,
        message=case.message,
        before=attempt.text_from,
        source=attempt.count_source,
        cost_usd=attempt.cost_usd,
        tokens={"output": attempt.output_tokens},
    )


def switch_ms(outcome: Outcome) -> list[float]:
    """Return the milliseconds between each attempt's end and the next one, the life of the processes left out.

    The row of an attempt is written right before its process starts: from row to row, less what the process took.
    """
    pairs = zip(outcome.attempts, outcome.attempts[1:], strict=False)
    return [
        (after.started_at - before.started_at).total_seconds() * 1000 - (before.total_ms or 0)
        for before, after in pairs
    ]

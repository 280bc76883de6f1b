"""How much may still be spent: held back before an attempt starts, booked once it has ended.

An attempt's worst case is held back in every budget that applies to its user, each by one conditional update of the
current period's row, so that no number of parallel attempts overdraws it. Everything here runs in the transaction of
the caller, on the caller's thread. docs/budgets.md is this page for those who run the site.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from uuid import UUID

from django.db import models, transaction
from django.db.models import Exists, F, FilteredRelation, OuterRef, Q, Sum
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Round
from django.utils import timezone
from django.utils.formats import date_format, time_format
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from providers.models import COST, Attempt, Budget, BudgetUse, Period, Reservation, Scope
from providers.prepared import Given, Prepared, build, columns_of

# The share of a budget from which on its users are warned.
WARNING_SHARE = Decimal("0.8")
# SQLite computes with floats, so that 0.1 three times is a little more than 0.3. Far below any price.
TOLERANCE_USD = Decimal("1e-9")
# Amounts are shown to a hundredth of a cent, as exactly as a limit can be set.
SHOWN = Decimal("0.0001")
# What a user is told, by whether the budget is the site's, its period, and whether nothing is left of it.
WARNINGS = {
    (False, Period.DAY, False): _("Your budget of %(limit)s a day is used to %(percent)s %%."),
    (False, Period.DAY, True): _("Your budget of %(limit)s a day is used up."),
    (False, Period.MONTH, False): _("Your budget of %(limit)s a month is used to %(percent)s %%."),
    (False, Period.MONTH, True): _("Your budget of %(limit)s a month is used up."),
    (True, Period.DAY, False): _("This site's budget of %(limit)s a day is used to %(percent)s %%."),
    (True, Period.DAY, True): _("This site's budget of %(limit)s a day is used up."),
    (True, Period.MONTH, False): _("This site's budget of %(limit)s a month is used to %(percent)s %%."),
    (True, Period.MONTH, True): _("This site's budget of %(limit)s a month is used up."),
}


@dataclass(frozen=True)
class Span:
    """One period of a budget: its first day on the site's clocks, and in UTC its first moment and the next one's."""

    begins: date
    starts_at: datetime
    renews_at: datetime


@dataclass(frozen=True)
class Standing:
    """How much of a budget is used. `reserved_usd` is held back for attempts that are running."""

    budget: Budget
    spent_usd: Decimal
    reserved_usd: Decimal
    renews_at: datetime

    @property
    def limit_usd(self) -> Decimal:
        return self.budget.limit_usd

    @property
    def used_usd(self) -> Decimal:
        return self.spent_usd + self.reserved_usd

    @property
    def left_usd(self) -> Decimal:
        """What is left, never below 0, though an answer may have cost more than its worst case."""
        return max(Decimal(0), self.limit_usd - self.used_usd)

    @property
    def share(self) -> Decimal:
        """The used part, from 0; 1 is all of it, and so is a limit of 0."""
        return self.used_usd / self.limit_usd if self.limit_usd else Decimal(1)


@dataclass(frozen=True)
class Refusal:
    """A budget that has no room for an attempt; `sentence` is for the person who asked."""

    sentence: str
    budget: Budget
    left_usd: Decimal
    renews_at: datetime


# --- Before and after an attempt --------------------------------------------------------------------------------------


def reserve(uses: Iterable[BudgetUse], attempt_id: UUID, amount: Decimal, now: datetime) -> Refusal | None:
    """Hold back `amount` USD in each of `uses`, or in none and return the first that has no room.

    They are those that apply, as `find_uses` has just found them for this `now`.

    Nothing is held back for an amount of 0, which is never refused: a free model answers in an overdrawn site, too.
    An attempt reserves once; a second time raises IntegrityError.
    """
    if amount < 0:
        raise ValueError(f"{amount} USD cannot be held back")
    if amount == 0:
        return None
    # Outside the savepoint: a refusal keeps the period's rows, and the sums of the ledger in them.
    uses = _open(uses)
    with transaction.atomic():
        for use in uses:
            if not _hold(use, amount):
                use.refresh_from_db(fields=["spent_usd", "reserved_usd"])
                transaction.set_rollback(True)
                return _refuse(_standing(use, now), amount)
        Reservation.objects.bulk_create(Reservation(use=use, attempt_id=attempt_id, amount_usd=amount) for use in uses)
    return None


def settle(attempt_id: UUID, cost: Decimal | None) -> None:
    """Turn what was held back for an attempt into spending of the period in which it was held back.

    `cost` in USD; None is unknown, and counts as the whole amount held back: unknown is not 0. Call it once the ledger
    has the cost, in the same transaction. Budgets in which the attempt holds nothing, such as one made while it ran,
    are brought up to the ledger, so that calling it twice changes nothing.
    """
    with transaction.atomic(savepoint=False):
        held = _held(attempt_id)
        for reservation in held:
            _book(reservation, cost)
        if cost and (attempt := _find_whose.first(pk=attempt_id)):
            booked = {reservation.use.budget_id for reservation in held}
            uses = find_uses(*attempt)
            for use in _open(use for use in uses if use.budget_id not in booked):
                _catch_up(use)


def sweep(older_than: timedelta) -> int:
    """Settle what nobody will come back for and return the number of reservations.

    These are the reservations of attempts that have ended in the ledger, and all that are older than the longest
    answer can be: an attempt that the ledger has not seen end counts as its worst case, one that it does not know as
    nothing. Each attempt in a transaction of its own, so call it outside one. Safe to run twice at once.
    """
    ended = Attempt.objects.filter(pk=OuterRef("attempt_id"), ended_at__isnull=False)
    stale = Reservation.objects.filter(Exists(ended) | Q(created_at__lt=timezone.now() - older_than))
    return sum(_release(attempt_id) for attempt_id in set(stale.values_list("attempt_id", flat=True)))


def _hold(use: BudgetUse, amount: Decimal) -> bool:
    # The limit is a value, not a join: after a wait for the row PostgreSQL looks again at this row alone.
    room = use.budget.limit_usd + TOLERANCE_USD - amount
    fits = BudgetUse.objects.filter(pk=use.pk, reserved_usd__lte=room - F("spent_usd"))
    return fits.update(reserved_usd=_rounded(F("reserved_usd") + amount)) == 1


def _held(attempt_id: UUID) -> list[Reservation]:
    held = []
    for row in _find_held(attempt_id=attempt_id):
        reservation = build(Reservation, row[:_USE_AT])
        reservation.use = build(BudgetUse, row[_USE_AT:_BUDGET_AT])
        reservation.use.budget = build(Budget, row[_BUDGET_AT:])
        held.append(reservation)
    return sorted(held, key=lambda reservation: _lock_order(reservation.use.budget))


_USE_AT = len(columns_of(Reservation))
_BUDGET_AT = _USE_AT + len(columns_of(BudgetUse))
_find_held = Prepared(
    lambda: (
        Reservation.objects.order_by()
        .filter(attempt_id=Given("attempt_id", models.UUIDField()))
        .values_list(
            *columns_of(Reservation),
            *(f"use__{name}" for name in columns_of(BudgetUse)),
            *(f"use__budget__{name}" for name in columns_of(Budget)),
        )
    )
)
_find_whose = Prepared(
    lambda: Attempt.objects.order_by().filter(pk=Given("pk", models.UUIDField())).values_list("user_id", "started_at")
)


def _book(reservation: Reservation, cost: Decimal | None) -> int:
    # Whoever deletes the row books it: a sweep and the attempt's own end may come at once.
    deleted, _ = Reservation.objects.filter(pk=reservation.pk).delete()
    if deleted:
        amount = reservation.amount_usd
        BudgetUse.objects.filter(pk=reservation.use_id).update(
            spent_usd=_rounded(F("spent_usd") + (amount if cost is None else cost)),
            reserved_usd=_rounded(F("reserved_usd") - amount),
        )
    return deleted


@transaction.atomic
def _release(attempt_id: UUID) -> int:
    attempt = Attempt.objects.filter(pk=attempt_id).only("cost_usd").first()
    cost = attempt.cost_usd if attempt else Decimal(0)
    return sum(_book(reservation, cost) for reservation in _held(attempt_id))


def _rounded(expression: CombinedExpression) -> Round:
    """Keep the crumbs of float arithmetic from adding up."""
    return Round(expression, precision=COST["decimal_places"])


# --- Which budgets, and their periods ---------------------------------------------------------------------------------


def get_span(period: str, now: datetime) -> Span:
    """Return the period that `now` falls in."""
    return _span(period, now.astimezone(timezone.get_default_timezone()).date())


def _span(period: str, day: date) -> Span:
    if period == Period.DAY:
        return Span(day, _midnight(day), _midnight(day + timedelta(days=1)))
    begins = day.replace(day=1)
    return Span(begins, _midnight(begins), _midnight((begins + timedelta(days=31)).replace(day=1)))


def _midnight(day: date) -> datetime:
    # In UTC, in which a midnight that the clocks skip or repeat is one moment like any other.
    return datetime.combine(day, time.min, timezone.get_default_timezone()).astimezone(UTC)


def find_uses(user_id: int | None, now: datetime) -> list[BudgetUse]:
    """Return the current period of each budget that applies, in the order in which everybody locks their rows.

    A period that has no row yet comes as one that is not stored. One query; where a budget applies, a model of unknown
    price cannot be asked.
    """
    begins = {period: get_span(period, now).begins for period in Period}
    stored: dict[int, BudgetUse] = {}
    found: dict[int, Budget] = {}
    for row in _with_uses(user_id=user_id, day=begins[Period.DAY], month=begins[Period.MONTH]):
        budget = build(Budget, row[:_BUDGET_COLUMNS])
        found[budget.pk] = budget
        use = build(BudgetUse, row[_BUDGET_COLUMNS:])
        if (use.holder, use.begins) == (_holder_of(budget, user_id), begins[Period(budget.period)]):
            stored[budget.pk] = use
    uses = []
    for budget in _applying(found.values(), user_id):
        use = stored.get(budget.pk) or BudgetUse(
            holder=_holder_of(budget, user_id), begins=begins[Period(budget.period)]
        )
        use.budget = budget
        uses.append(use)
    return uses


# With every row of a period that may be the current one: a day's, a month's, the site's, the user's.
_with_uses = Prepared(
    lambda: (
        Budget.objects.order_by()
        .filter(~Q(scope=Scope.USER) | Q(user_id=Given("user_id")), enabled=True)
        .annotate(
            use=FilteredRelation(
                "uses",
                condition=Q(uses__holder__in=[0, Given("user_id")])
                & Q(uses__begins__in=[Given("day", models.DateField()), Given("month", models.DateField())]),
            )
        )
        .values_list(*columns_of(Budget), *(f"use__{name}" for name in columns_of(BudgetUse)))
    )
)
_BUDGET_COLUMNS = len(columns_of(Budget))


def _applying(budgets: Iterable[Budget], user_id: int | None) -> list[Budget]:
    """Return which of the site's, everyone's and the user's own budgets apply, in the order of locks."""
    found = [budget for budget in budgets if user_id is not None or budget.scope == Scope.SITE]
    own = {budget.period for budget in found if budget.scope == Scope.USER}
    applying = [budget for budget in found if budget.scope != Scope.EVERYONE or budget.period not in own]
    return sorted(applying, key=_lock_order)


def _holder_of(budget: Budget, user_id: int | None) -> int:
    return 0 if budget.scope == Scope.SITE else user_id or 0


def _lock_order(budget: Budget) -> tuple[bool, int]:
    # One order for all, or two transactions wait for each other; the site's last, since everybody waits for that.
    return budget.scope == Scope.SITE, budget.pk


def _open(uses: Iterable[BudgetUse]) -> list[BudgetUse]:
    """Return these periods, made where they are missing, with what the ledger has of them already."""
    return [use if use.pk else _make(use) for use in uses]


def _make(use: BudgetUse) -> BudgetUse:
    use.spent_usd = _sum_ledger(use)
    # Somebody else may be making it: this waits for them, and the row of the first stands.
    BudgetUse.objects.bulk_create([use], ignore_conflicts=True)
    return BudgetUse.objects.select_related("budget").get(budget=use.budget_id, holder=use.holder, begins=use.begins)


# --- For pages --------------------------------------------------------------------------------------------------------


def list_uses(user_id: int | None, *, now: datetime | None = None) -> list[Standing]:
    """Return how much is used of every budget that applies to this user, the site's last. Writes nothing."""
    now = now or timezone.now()
    return standings_of(find_uses(user_id, now), now)


def standings_of(uses: list[BudgetUse], now: datetime) -> list[Standing]:
    """Return how much is used of these budgets, as they were found for this `now`."""
    for use in uses:
        if not use.pk:
            use.spent_usd = _sum_ledger(use)
    return [_standing(use, now) for use in uses]


def find_warning(user_id: int | None, *, staff: bool = False, now: datetime | None = None) -> str:
    """Return a sentence where 80 % or more of a budget is used, about the most used one, or "".

    The site's own budget is left out unless `staff`.
    """
    return warning_of(list_uses(user_id, now=now), staff=staff)


def warning_of(standings: Iterable[Standing], *, staff: bool = False) -> str:
    """Return what `find_warning` says about these."""
    shown = [standing for standing in standings if staff or standing.budget.scope != Scope.SITE]
    most = max(shown, key=lambda use: use.share, default=None)
    if most is None or most.share < WARNING_SHARE:
        return ""
    return " ".join([_warn(most), *_tell_reserved(most), _tell_renewal(most)])


def _warn(standing: Standing) -> str:
    budget = standing.budget
    words = WARNINGS[budget.scope == Scope.SITE, Period(budget.period), _is_used_up(standing)]
    limit = _usd(budget.limit_usd, ROUND_FLOOR)
    return gettext(words) % {"limit": limit, "percent": int(100 * standing.share)}


def _tell_reserved(standing: Standing) -> list[str]:
    if standing.reserved_usd < SHOWN:
        return []
    held = _usd(standing.reserved_usd, ROUND_FLOOR)
    return [gettext("Of it, %(held)s is held back for answers that are still running.") % {"held": held}]


def _tell_renewal(standing: Standing) -> str:
    at = standing.renews_at.astimezone(timezone.get_default_timezone())
    when = {"time": time_format(at, "H:i"), "zone": timezone.get_default_timezone_name()}
    if standing.budget.period != Period.MONTH:
        return gettext("It renews at %(time)s (%(zone)s).") % when
    when["day"] = date_format(at, "MONTH_DAY_FORMAT")
    return gettext("It renews on %(day)s at %(time)s (%(zone)s).") % when


def find_refusal(standings: Iterable[Standing], amount: Decimal) -> Refusal | None:
    """Return what `reserve` would say now, and hold nothing back: routing must not promise what is too dear."""
    if amount == 0:
        return None
    refusing = (standing for standing in standings if standing.used_usd + amount > standing.limit_usd + TOLERANCE_USD)
    return next((_refuse(standing, amount) for standing in refusing), None)


def _standing(use: BudgetUse, now: datetime) -> Standing:
    return Standing(use.budget, use.spent_usd, use.reserved_usd, get_span(use.budget.period, now).renews_at)


def _refuse(standing: Standing, amount: Decimal) -> Refusal:
    left = "is used up" if _is_used_up(standing) else f"has {_usd(standing.left_usd, ROUND_FLOOR)} left"
    sentence = (
        f"{_name(standing.budget)} {left}{_held_back(standing)}, "
        f"and this answer may cost up to {_usd(amount, ROUND_CEILING)}{_outlook(standing, amount)}"
    )
    return Refusal(sentence, standing.budget, standing.left_usd, standing.renews_at)


def _name(budget: Budget) -> str:
    whose = "This site's" if budget.scope == Scope.SITE else "Your"
    return f"{whose} budget of {_usd(budget.limit_usd, ROUND_FLOOR)} a {budget.period}"


def _is_used_up(standing: Standing) -> bool:
    return standing.left_usd < SHOWN


def _held_back(standing: Standing) -> str:
    if standing.reserved_usd < SHOWN:
        return ""
    return f" ({_usd(standing.reserved_usd, ROUND_FLOOR)} of it held back for answers that are still running)"


def _outlook(standing: Standing, amount: Decimal) -> str:
    if amount > standing.limit_usd:
        return ", which is more than all of it: a cheaper model or a shorter answer may do."
    return f". {_renewal(standing)}"


def _renewal(standing: Standing) -> str:
    at = standing.renews_at.astimezone(timezone.get_default_timezone())
    day = f"on {at.day} {at:%B} " if standing.budget.period == Period.MONTH else ""
    return f"It renews {day}at {at:%H:%M} ({timezone.get_default_timezone_name()})."


def _usd(amount: Decimal, rounding: str) -> str:
    """Return "5.00 USD": two places, or four where the cents hide something."""
    shown = amount.quantize(SHOWN, rounding)
    places = 2 if shown == shown.quantize(Decimal("0.01"), rounding) else 4
    return f"{shown:.{places}f} USD"


# --- The ledger has the last word -------------------------------------------------------------------------------------


def find_drift(use: BudgetUse) -> Decimal:
    """Return how much more a period counts as spent than the ledger does, in USD; answers of unknown cost are why."""
    return use.spent_usd - _sum_ledger(use)


def rebuild(use: BudgetUse) -> None:
    """Count a period anew, from the ledger and its reservations. What answers of unknown cost counted as is lost."""
    with transaction.atomic():
        locked = _lock(use)
        reserved = locked.reservations.aggregate(total=Sum("amount_usd"))["total"] or Decimal(0)
        BudgetUse.objects.filter(pk=use.pk).update(spent_usd=_sum_ledger(locked), reserved_usd=reserved)


def refresh(*, now: datetime | None = None) -> int:
    """Bring every current period up to the ledger and return how many were behind.

    For the admin, after a budget was changed or deleted: while it was off, or another took its place, nobody counted.
    """
    now = now or timezone.now()
    current = Q()
    for period in Period:
        current |= Q(budget__period=period, begins=get_span(period, now).begins)
    return sum(_catch_up(use) for use in BudgetUse.objects.filter(current).select_related("budget"))


def _catch_up(use: BudgetUse) -> bool:
    """Raise what is spent to what the ledger says; never lower it, since the ledger has no amount for the unknown."""
    with transaction.atomic():
        locked = _lock(use)
        spent = _sum_ledger(locked)
        if spent <= locked.spent_usd + TOLERANCE_USD:
            return False
        BudgetUse.objects.filter(pk=use.pk).update(spent_usd=spent)
    return True


def _lock(use: BudgetUse) -> BudgetUse:
    # First the lock, then the sum: what ends in between is not in the sum, and is added when the lock is free.
    return BudgetUse.objects.select_related("budget").select_for_update(of=("self",)).get(pk=use.pk)


def _sum_ledger(use: BudgetUse) -> Decimal:
    """Return the known costs of all attempts that started in this period, of its user or of the whole site."""
    span = _span(use.budget.period, use.begins)
    attempts = Attempt.objects.filter(started_at__gte=span.starts_at, started_at__lt=span.renews_at)
    if use.holder:
        attempts = attempts.filter(user_id=use.holder)
    return attempts.aggregate(total=Sum("cost_usd"))["total"] or Decimal(0)

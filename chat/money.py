"""How money is written for people who chat. Pure. static/js/facts.js writes costs in the same words."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from providers.models import CountSource

# A cost of less than this is written with three digits that count, however far behind the point they are.
SMALL = Decimal("0.001")
# Places of a cost in the ledger.
MOST_PLACES = 12


def format_usd(usd: Decimal) -> str:
    """Return `$1.23`, `$0.0123` or `$0.000123`: never an exponent, and 0 only for nothing. Halves are rounded up."""
    places = 2 if usd >= 1 or not usd else 4
    if 0 < usd < SMALL:
        places = min(2 - usd.adjusted(), MOST_PLACES)
    return f"${usd.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):,f}"


def format_rate(rate: Decimal) -> str:
    """Return a price per million tokens with the digits it has: `$10`, `$2.50`, `$0.075`."""
    whole, _, places = f"{rate:f}".partition(".")
    places = places.rstrip("0")
    return f"${whole}.{places:0<2}" if places else f"${whole}"


def describe_cost(usd: Decimal | None, source: str, attempts: int) -> str:
    """Return what an answer cost; "" where nobody was asked, and `free` only where it is known to have cost nothing."""
    if usd is None:
        return "cost unknown" if attempts else ""
    if source == CountSource.NOT_BILLED:
        return "nothing billed"
    if not usd:
        return "free"
    return f"about {format_usd(usd)}" if source == CountSource.ESTIMATED else format_usd(usd)


def describe_total(usd: Decimal | None, *, estimated: bool, unknown: int) -> str:
    """Return what a conversation cost. `unknown`: answers with a part of unknown cost, which is in no sum."""
    if usd is None:
        return "This conversation: cost unknown" if unknown else ""
    known = f"{'about ' if estimated else ''}{format_usd(usd)}" if usd else "free"
    if not unknown:
        return f"This conversation: {known}"
    known = known if usd else format_usd(usd)
    return f"This conversation: {known} ({unknown} {'answer' if unknown == 1 else 'answers'} of unknown cost)"

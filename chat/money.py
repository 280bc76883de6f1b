"""How money is written for people who chat. Pure. static/js/facts.js writes costs in the same words."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

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
        return _("cost unknown") if attempts else ""
    if source == CountSource.NOT_BILLED:
        return _("nothing billed")
    if not usd:
        return _("free")
    return about(usd) if source == CountSource.ESTIMATED else format_usd(usd)


def describe_total(usd: Decimal | None, *, estimated: bool, unknown: int) -> str:
    """Return what a conversation cost. `unknown`: answers with a part of unknown cost, which is in no sum."""
    if usd is None:
        return _("This conversation: cost unknown") if unknown else ""
    if not unknown:
        known = _("free") if not usd else about(usd) if estimated else format_usd(usd)
        return _("This conversation: %(cost)s") % {"cost": known}
    words = ngettext(
        "This conversation: %(cost)s (%(count)s answer of unknown cost)",
        "This conversation: %(cost)s (%(count)s answers of unknown cost)",
        unknown,
    )
    return words % {"cost": about(usd) if usd and estimated else format_usd(usd), "count": unknown}


def about(usd: Decimal) -> str:
    """Return an amount that is an estimate: `about $0.12`."""
    return _("about %(cost)s") % {"cost": format_usd(usd)}

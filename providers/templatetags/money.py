"""How amounts, counts and moments are written on the admin's pages."""

from __future__ import annotations

from decimal import Decimal

from django import template

register = template.Library()

SMALLEST = Decimal("0.000001")


@register.filter
def usd(amount: Decimal | None) -> str:
    """Return an amount as 0.0330 USD, to a millionth where that would hide something; "unknown" for None."""
    if amount is None:
        return "unknown"
    if 0 < amount < SMALLEST:
        return "< 0.000001 USD"
    return f"{amount:,.6f} USD".replace("00 USD", " USD")


@register.filter
def percent(share: Decimal | float) -> str:
    """Return a share of 1 as "12 %", and never 0 % for what is more, nor 100 % for what is less."""
    if 0 < share < Decimal("0.01"):
        return "< 1 %"
    if Decimal("0.99") < share < 1:
        return "> 99 %"
    return f"{share:.0%}".replace("%", " %")


@register.filter
def count(number: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{number:,}"

"""How numbers are written, by the reader's language: 128,000 or 128.000, 1.2 or 1,2. Money is not: chat.money. Pure."""

from __future__ import annotations

from decimal import Decimal

from django.utils.formats import number_format


def format_count(count: int) -> str:
    """Return `128,000`, as the language groups digits."""
    return number_format(count, force_grouping=True)


def format_tenths(tenths: int) -> str:
    """Return `1.2` for 12 tenths, with the language's own point."""
    return number_format(Decimal(tenths) / 10, decimal_pos=1)

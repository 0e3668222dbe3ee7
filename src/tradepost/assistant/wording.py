"""How amounts and days are written in replies."""

from datetime import date
from functools import lru_cache

from babel.dates import format_date
from babel.numbers import format_currency

from tradepost.core.money import to_major


@lru_cache(maxsize=16384)
def amount_text(locale: str, currency: str, minor: int) -> str:
    """Return minor units as the locale writes money: “$46.75”."""
    return str(format_currency(to_major(minor, currency), currency, locale=locale))


def day_text(locale: str, day: date) -> str:
    """Return a day as the locale writes it: “Nov 21, 2026”."""
    return str(format_date(day, "medium", locale=locale))

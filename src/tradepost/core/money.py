"""Money as whole minor units and a currency; rounding half-up, in this one place.

Promises that a split adds up to what was split, to the last minor unit. Never uses floats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, Inexact, InvalidOperation, Overflow

from tradepost.core.errors import Invalid

# ISO 4217 minor-unit exponents that are not 2 (list of 2026-01-01).
_EXPONENTS = {
    "BHD": 3, "BIF": 0, "CLF": 4, "CLP": 0, "DJF": 0, "GNF": 0, "IQD": 3, "ISK": 0, "JOD": 3, "JPY": 0, "KMF": 0,
    "KRW": 0, "KWD": 3, "LYD": 3, "OMR": 3, "PYG": 0, "RWF": 0, "TND": 3, "UGX": 0, "UYI": 0, "UYW": 4, "VND": 0,
    "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
}  # fmt: skip
LARGEST_MINOR = 10**15
# Text from outside is scaled exactly or not at all: never rounded, never a number of a million digits.
_EXACT = Context(prec=28, Emax=40, Emin=-40, traps=[Inexact, InvalidOperation, Overflow])


@dataclass(eq=False)
class NotAnAmount(Invalid):
    """“{text}” is not an amount of money in {currency}."""

    text: str
    currency: str
    field: str | None = None


def exponent(currency: str) -> int:
    """Return how many decimals the currency has (ISO 4217): 0 for JPY, 2 for USD, 3 for TND."""
    return _EXPONENTS.get(currency, 2)


def rounded(amount: Decimal) -> int:
    """Return the whole number nearest to `amount`; halves go away from zero."""
    return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def to_minor(text: str | Decimal, currency: str, field: str | None = None) -> int:
    """Return an amount written in major units as minor units.

    Raises `NotAnAmount` for text that is not a finite number, has more decimals than the currency, or is out of range.
    """
    try:
        scaled = Decimal(text if isinstance(text, Decimal) else text.strip()).scaleb(exponent(currency), _EXACT)
        minor = int(scaled)
    except (ArithmeticError, ValueError):
        raise NotAnAmount(str(text)[:40], currency, field) from None
    if scaled != minor or abs(minor) > LARGEST_MINOR:
        raise NotAnAmount(str(text)[:40], currency, field)
    return minor


def to_major(minor: int, currency: str) -> Decimal:
    """Return minor units as a decimal number of major units with the currency's own number of decimals."""
    return Decimal(minor).scaleb(-exponent(currency)).quantize(Decimal(1).scaleb(-exponent(currency)))


def times(unit_minor: int, quantity: Decimal) -> int:
    """Return the price of `quantity` units, rounded half-up to a minor unit."""
    return rounded(unit_minor * quantity)


def plain_number(amount: Decimal) -> int | float:
    """Return a decimal as JSON has numbers: a whole one without a point."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)


def percent_of(minor: int, percent: Decimal) -> int:
    """Return so many percent of an amount, rounded half-up."""
    return rounded(minor * percent / 100)


def included_tax(gross_minor: int, percent: Decimal) -> int:
    """Return the tax contained in a tax-inclusive amount, rounded half-up."""
    return rounded(gross_minor * percent / (100 + percent))


def split(total_minor: int, weights: Sequence[int]) -> list[int]:
    """Share out an amount in proportion to `weights`, exactly: the parts add up to the total.

    Remainders go to the largest fractions first, ties to the earlier part. All weights 0 puts everything on the first.
    """
    whole = sum(weights)
    if not weights:
        return []
    if whole == 0:
        return [total_minor, *([0] * (len(weights) - 1))]
    sign = -1 if total_minor < 0 else 1
    parts = [abs(total_minor) * w // whole for w in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(abs(total_minor) * weights[i] % whole), i))
    for i in by_remainder[: abs(total_minor) - sum(parts)]:
        parts[i] += 1
    return [sign * part for part in parts]

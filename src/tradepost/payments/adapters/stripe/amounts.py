"""Amounts as Stripe writes them, which is not always as ISO 4217 does (https://docs.stripe.com/currencies)."""

from decimal import Decimal

from tradepost.core.money import exponent, rounded

# UGX stands in Stripe's list of zero decimals too, but its special cases, with ISK, are what holds: two decimals, always 00.
_ZERO = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF")
)
_THREE = frozenset(("BHD", "JOD", "KWD", "OMR", "TND"))


def to_stripe(minor: int, currency: str) -> int:
    """Return minor units as Stripe counts them; three-decimal currencies are rounded to the tens, as Stripe asks for."""
    if currency in _THREE:
        return rounded(Decimal(minor) / 10) * 10
    return rounded(Decimal(minor).scaleb(_places(currency) - exponent(currency)))


def from_stripe(amount: int, currency: str, asked: int | None = None) -> int:
    """Return an amount of Stripe's as minor units: as `asked`, where that is what the amount was rounded from."""
    if asked is not None and to_stripe(asked, currency) == amount:
        return asked
    return rounded(Decimal(amount).scaleb(exponent(currency) - _places(currency)))


def _places(currency: str) -> int:
    if currency in _THREE:
        return 3
    return 0 if currency in _ZERO else 2

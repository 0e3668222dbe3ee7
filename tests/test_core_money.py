"""Money: exact in, exact out, and shared out to the last minor unit."""

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tradepost.core.money import (
    LARGEST_MINOR,
    NotAnAmount,
    exponent,
    included_tax,
    percent_of,
    rounded,
    split,
    times,
    to_major,
    to_minor,
)

currencies = st.sampled_from(["USD", "ZWG", "EUR", "JPY", "KRW", "TND", "KWD", "CLF"])
minors = st.integers(-LARGEST_MINOR, LARGEST_MINOR)
amounts = st.integers(0, 10**12)
percents = st.decimals(0, 100, places=4)
quantities = st.decimals("0.001", "999999.999", places=3)


def half_up(value: Fraction) -> int:
    """Round as a shopkeeper does, written down a second time and without decimals: halves away from zero."""
    away = (abs(value) * 2 + 1) // 2
    return int(away) if value >= 0 else -int(away)


@pytest.mark.parametrize(
    ("currency", "decimals"),
    [("USD", 2), ("EUR", 2), ("ZWG", 2), ("JPY", 0), ("UGX", 0), ("XOF", 0), ("TND", 3), ("BHD", 3), ("CLF", 4)],
)
def test_a_currency_has_the_decimals_of_iso_4217(currency: str, decimals: int) -> None:
    assert exponent(currency) == decimals


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.50", "USD", 1250),
        ("12.5", "USD", 1250),
        ("  7 ", "USD", 700),
        ("-0.01", "USD", -1),
        ("1.000000", "USD", 100),
        ("1200", "JPY", 1200),
        ("0.125", "TND", 125),
        ("1.0001", "CLF", 10001),
        (Decimal("3.30"), "EUR", 330),
        ("10000000000000", "USD", LARGEST_MINOR),
    ],
)
def test_an_amount_is_read_in_the_currencys_own_minor_unit(text: str | Decimal, currency: str, minor: int) -> None:
    assert to_minor(text, currency) == minor


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("", "USD"),
        ("a lot", "USD"),
        ("1,50", "USD"),
        ("0.001", "USD"),
        ("0.5", "JPY"),
        ("0.0001", "TND"),
        ("NaN", "USD"),
        ("sNaN", "USD"),
        ("Infinity", "USD"),
        ("-Infinity", "USD"),
        ("1e999999", "USD"),
        ("1e1000000", "USD"),
        ("1e-999999", "USD"),
        ("10000000000000.01", "USD"),
        ("1.0000000000000000000000000000000000000001", "USD"),
        ("9" * 5000, "USD"),
        (Decimal("1.005"), "USD"),
        (Decimal("Infinity"), "USD"),
    ],
)
def test_what_is_not_an_exact_amount_is_refused(text: str | Decimal, currency: str) -> None:
    with pytest.raises(NotAnAmount) as refusal:
        to_minor(text, currency, "price")
    assert refusal.value.field == "price"
    assert refusal.value.currency == currency
    assert len(refusal.value.text) <= 40


@given(minors, currencies)
def test_minor_units_survive_the_way_to_major_units_and_back(minor: int, currency: str) -> None:
    major = to_major(minor, currency)
    assert to_minor(major, currency) == minor
    assert to_minor(str(major), currency) == minor
    assert -major.as_tuple().exponent == exponent(currency)  # type: ignore[operator]  # finite, so a number


@given(st.decimals(-(10**15), 10**15, places=6))
@example(Decimal("0.5"))
@example(Decimal("-0.5"))
@example(Decimal("2.5"))
@example(Decimal("0.499999"))
def test_halves_are_rounded_away_from_zero(amount: Decimal) -> None:
    assert rounded(amount) == half_up(Fraction(amount))


@given(amounts, quantities)
def test_a_price_times_a_quantity_is_rounded_once(unit_minor: int, quantity: Decimal) -> None:
    assert times(unit_minor, quantity) == half_up(unit_minor * Fraction(quantity))


@given(amounts, percents)
def test_a_percentage_is_rounded_once(minor: int, percent: Decimal) -> None:
    assert percent_of(minor, percent) == half_up(minor * Fraction(percent) / 100)


@given(amounts, percents)
@example(115, Decimal(15))
def test_the_tax_inside_a_price_is_what_the_net_price_would_add(gross_minor: int, percent: Decimal) -> None:
    tax = included_tax(gross_minor, percent)
    assert tax == half_up(gross_minor * Fraction(percent) / (100 + Fraction(percent)))
    assert 0 <= tax <= gross_minor
    assert abs(percent_of(gross_minor - tax, percent) - tax) <= 1


@given(minors, st.lists(st.integers(0, 10**9), min_size=1, max_size=30))
@example(100, [1, 1, 1])
@example(-100, [1, 1, 1])
@example(1, [0, 0])
def test_a_split_adds_up_and_no_part_is_off_by_a_minor_unit(total: int, weights: list[int]) -> None:
    parts = split(total, weights)
    assert len(parts) == len(weights)
    assert sum(parts) == total
    if whole := sum(weights):
        assert all(abs(part - Fraction(total * weight, whole)) < 1 for part, weight in zip(parts, weights, strict=True))
        assert all(part == 0 for part, weight in zip(parts, weights, strict=True) if weight == 0)


@given(minors, st.lists(st.integers(1, 10**6), min_size=2, max_size=10))
def test_a_bigger_weight_never_gets_less(total: int, weights: list[int]) -> None:
    shares = sorted(zip(weights, (abs(part) for part in split(total, weights)), strict=True))
    assert all(small[1] <= big[1] for small, big in pairwise(shares) if small[0] < big[0])


def test_the_remainder_goes_to_the_largest_fraction_and_then_to_the_first() -> None:
    assert split(100, [1, 1, 1]) == [34, 33, 33]
    assert split(-100, [1, 1, 1]) == [-34, -33, -33]
    assert split(10, [1, 2, 4]) == [1, 3, 6]


def test_without_weight_the_first_part_takes_everything() -> None:
    assert split(7, [0, 0, 0]) == [7, 0, 0]
    assert split(7, []) == []

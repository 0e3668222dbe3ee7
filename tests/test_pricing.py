"""Prices: every rule by example, and for any basket that the parts add up to the total."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradepost.core.money import exponent
from tradepost.flows.pricing import BasketLine, Loyalty, Priced, PricingRules, Terms, price_basket
from tradepost.orders.rules import ShippingOption, TaxRule, choose_shipping, tax_rule
from tradepost.orders.types import NoDelivery, ShippingUnknown
from tradepost.payments.rules import NOTHING, CommissionRule, LineShares, commission_rule, part_of
from tradepost.promotions.types import Promo

NOW = datetime(2026, 6, 1, tzinfo=UTC)
FARM, SHOP = UUID(int=1), UUID(int=2)
STANDARD = ShippingOption("standard", "Standard", "", 500, 5000, (), False)


def line(price: int, quantity: str = "1", *, no: int = 1, seller: UUID = FARM, path: str = "food/fruit") -> BasketLine:
    return BasketLine(
        line_no=no, variant_id=UUID(int=100 + no), listing_id=UUID(int=200 + no), seller_id=seller,
        seller_name={FARM: "Farm", SHOP: "Shop"}.get(seller, "Other"), title=f"Thing {no}", slug="thing", kind="product",
        category_path=path, image_id=None, sku=None, options={}, configuration={}, unit="piece", quantity=Decimal(quantity),
        unit_price_minor=price,
    )  # fmt: skip


def promo(code: str = "TEN", **fields: Any) -> Promo:
    values: dict[str, Any] = {
        "id": UUID(bytes=code.encode().ljust(16)[:16]), "code": code, "kind": "percent", "percent": Decimal(10),
        "valid_from": NOW - timedelta(days=1), "valid_to": NOW + timedelta(days=1), **fields,
    }  # fmt: skip
    return Promo(**values)


def fixed(code: str, amount: int, **fields: Any) -> Promo:
    return promo(code, kind="fixed", percent=None, amount_minor=amount, currency="USD", **fields)


def price(lines: list[BasketLine], *promos: Promo, taxes: tuple[TaxRule, ...] = (), **terms: Any) -> Priced:
    rules = PricingRules(taxes, (STANDARD,), terms.pop("commissions", ()))
    values: dict[str, Any] = {
        "currency": "USD", "tax_inclusive": True, "country": "US", "region": "", "shipping": None,
        "codes": tuple(p.code for p in promos), "promos": {p.code: p for p in promos}, "loyalty": None,
        "points_available": 0, "points_wanted": 0, "now": NOW, **terms,
    }  # fmt: skip
    return price_basket(lines, rules, Terms(**values))


def test_goods_and_delivery_make_the_total() -> None:
    priced = price([line(250, "3"), line(1000, no=2, seller=SHOP)], shipping=STANDARD)
    assert [(e.kind, e.text, e.amount_minor) for e in priced.explanation] == [
        ("goods", "3 × Thing 1", 750),
        ("goods", "1 × Thing 2", 1000),
        ("shipping", "Standard, Farm", 500),
        ("shipping", "Standard, Shop", 500),
        ("total", "Total", 2750),
    ]


def test_delivery_is_free_from_the_value_of_one_sellers_goods() -> None:
    assert price([line(5000)], shipping=STANDARD).shipping_minor == 0
    assert price([line(4999)], shipping=STANDARD).shipping_minor == 500
    halves = [line(3000), line(3000, no=2, seller=SHOP)]
    assert price(halves, shipping=STANDARD).shipping_minor == 1000


def test_weighed_goods_round_half_up_to_the_minor_unit() -> None:
    assert price([line(333, "1.250")]).total_minor == 416
    assert price([line(333, "1.500")]).total_minor == 500  # 499.5


def test_percent_code_is_shared_out_exactly() -> None:
    priced = price([line(333), line(333, no=2), line(333, no=3)], promo(percent=Decimal("33.33")))
    assert [p.discount_minor for p in priced.lines] == [111, 111, 111]
    priced = price([line(101), line(101, no=2), line(101, no=3)], promo())
    assert [p.discount_minor for p in priced.lines] == [10, 10, 10]
    assert price([line(5), line(5, no=2), line(5, no=3)], promo()).sum_of("discount_minor") == 2  # 1.5


def test_fixed_code_never_exceeds_what_it_is_for() -> None:
    assert price([line(300)], fixed("FIVE", 500)).total_minor == 0
    only_food = fixed("FIVE", 500, category_paths=("food",))
    priced = price([line(300), line(900, no=2, path="tools")], only_food)
    assert [p.discount_minor for p in priced.lines] == [300, 0]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"valid_to": NOW}, "PromoExpired"),
        ({"valid_from": NOW + timedelta(seconds=1)}, "PromoExpired"),
        ({"is_active": False}, "PromoExpired"),
        ({"usage_limit": 3, "used_count": 3}, "PromoUsedUp"),
        ({"per_person_limit": 1, "used_by_me": 1}, "PromoUsedUp"),
        ({"minimum_minor": 1001}, "PromoBelowMinimum"),
        ({"category_paths": ("tools",)}, "PromoNotForThese"),
        ({"category_paths": ("foo",)}, "PromoNotForThese"),
        ({"seller_id": SHOP}, "PromoNotForThese"),
        ({"currency": "EUR"}, "PromoUnknown"),
    ],
)
def test_code_that_does_not_apply_says_why_and_takes_nothing_off(fields: dict[str, Any], problem: str) -> None:
    priced = price([line(1000)], promo(**fields))
    assert priced.promos[0].problem is not None
    assert (priced.promos[0].problem.code, priced.total_minor) == (problem, 1000)


def test_unknown_code_says_so() -> None:
    priced = price([line(1000)], codes=("NOPE",), promos={})
    assert priced.promos[0].problem is not None
    assert priced.promos[0].problem.message == "There is no promo code “NOPE” here."


def test_codes_stack_only_where_both_say_so() -> None:
    both = price([line(1000)], promo("A", stacks=True), promo("B", stacks=True))
    assert [e.discount_minor for e in both.promos] == [100, 90]  # ten percent of what the first left
    first_only = price([line(1000)], promo("A"), promo("B", stacks=True))
    assert [e.discount_minor for e in first_only.promos] == [100, 0]
    twice = price([line(1000)], codes=("A", "A"), promos={"A": promo("A", stacks=True)})
    assert [e.discount_minor for e in twice.promos] == [100, 0]


@pytest.mark.parametrize(("inclusive", "parts"), [(True, (0, 130, 1000)), (False, (150, 0, 1150))])
def test_tax_is_contained_or_added(inclusive: bool, parts: tuple[int, int, int]) -> None:
    vat = TaxRule("VAT", Decimal(15), None, None, None)
    priced = price([line(1000)], taxes=(vat,), tax_inclusive=inclusive)
    assert (priced.lines[0].tax_minor, priced.lines[0].included_tax_minor, priced.total_minor) == parts


def test_tax_is_reckoned_after_discounts_but_not_after_points() -> None:
    vat = TaxRule("VAT", Decimal(10), None, None, None)
    points = {"loyalty": Loyalty(Decimal("0.01"), Decimal(1)), "points_available": 500, "points_wanted": 300}
    priced = price([line(1000)], promo(), taxes=(vat,), tax_inclusive=False, **points)
    assert (priced.lines[0].points_minor, priced.lines[0].tax_minor, priced.total_minor) == (300, 90, 690)


def test_most_specific_rate_wins() -> None:
    rules = [
        TaxRule("all", Decimal(15), None, None, None),
        TaxRule("food", Decimal(5), "food", None, None),
        TaxRule("fruit", Decimal(0), "food/fruit", None, None),
        TaxRule("abroad", Decimal(20), None, "DE", None),
        TaxRule("state", Decimal(8), None, "US", "Maine"),
        TaxRule("country", Decimal(7), None, "US", None),
    ]

    def name(*place: str) -> str:
        found = tax_rule(rules, *place)
        return found.name if found else ""

    assert name("tools", "GB", "") == "all"
    assert name("tools", "DE", "") == "abroad"
    assert name("tools", "US", "maine") == "state"
    assert name("tools", "US", "Ohio") == "country"
    assert name("food/meat", "DE", "") == "food"
    assert name("food/fruit/apples", "US", "Maine") == "fruit"
    assert name("foodstuff", "GB", "") == "all"


def test_commission_rule_of_the_seller_goes_before_the_category() -> None:
    def rule(name: str, seller: UUID | None, path: str | None, kind: str | None) -> CommissionRule:
        return CommissionRule(UUID(int=hash(name) % 2**64), name, Decimal(5), 0, None, seller, path, kind)

    rules = [rule("all", None, None, None), rule("food", None, "food", None), rule("farm", FARM, None, None),
             rule("services", None, None, "service")]  # fmt: skip

    def name(seller: UUID, path: str, kind: str = "product") -> str:
        found = commission_rule(rules, seller, path, kind, "USD")
        return found.name if found else ""

    assert name(FARM, "food/fruit") == "farm"
    assert name(SHOP, "food/fruit") == "food"
    assert name(SHOP, "tools") == "all"
    assert name(SHOP, "tools", "service") == "services"


def test_store_bears_its_own_code_and_the_seller_the_sellers() -> None:
    five = CommissionRule(UUID(int=9), "five", Decimal(5), 0, None, None, None, None)
    of_store = price([line(1000)], promo(), commissions=(five,)).lines[0].shares
    assert of_store == LineShares(paid=900, points=0, store_discount=100, seller=950, commission=50, tax=0)
    of_seller = price([line(1000)], promo(seller_id=FARM), commissions=(five,)).lines[0].shares
    assert of_seller == LineShares(paid=900, points=0, store_discount=0, seller=855, commission=45, tax=0)


def test_delivery_must_exist_and_go_there() -> None:
    at_home = ShippingOption("van", "Van", "", 100, None, ("ZW",), False)
    shop = ShippingOption("shop", "Shop", "", 0, None, ("ZW",), True)
    assert choose_shipping([at_home, shop], "", "US") is shop
    with pytest.raises(NoDelivery):
        choose_shipping([at_home], "van", "US")
    with pytest.raises(ShippingUnknown):
        choose_shipping([at_home], "ship", "ZW")


lines_of = st.lists(
    st.tuples(
        st.integers(0, 10**7),
        st.decimals("0.001", "999", places=3),
        st.sampled_from([FARM, SHOP, UUID(int=3)]),
        st.sampled_from(["food", "food/fruit", "tools"]),
    ),
    min_size=1,
    max_size=8,
)
codes_of = st.lists(
    st.one_of(
        st.builds(
            lambda n, percent, seller, stacks: promo(f"P{n}", percent=percent, seller_id=seller, stacks=stacks),
            st.integers(0, 9), st.decimals("0.01", "100", places=2), st.sampled_from([None, FARM]), st.booleans(),
        ),
        st.builds(
            lambda n, amount, paths: fixed(f"F{n}", amount, category_paths=paths, stacks=True),
            st.integers(0, 9), st.integers(1, 10**6), st.sampled_from([(), ("food",), ("tools",)]),
        ),
    ),
    max_size=3,
)  # fmt: skip


@settings(deadline=None)
@given(
    rows=lines_of,
    codes=codes_of,
    currency=st.sampled_from(["USD", "JPY", "TND"]),
    percent=st.decimals("0", "40", places=4),
    inclusive=st.booleans(),
    points=st.integers(0, 10**6),
    commission=st.decimals("0", "100", places=2),
    shipped=st.booleans(),
)
def test_parts_of_any_basket_add_up_to_its_total(
    rows: list[Any], codes: list[Promo], currency: str, percent: Decimal, inclusive: bool, points: int,
    commission: Decimal, shipped: bool,
) -> None:  # fmt: skip
    basket = [line(p, str(q), no=n, seller=s, path=path) for n, (p, q, s, path) in enumerate(rows, 1)]
    loyalty = Loyalty(Decimal(5).scaleb(-exponent(currency)), Decimal(1))
    known = {c.code: c for c in codes}
    rule = CommissionRule(UUID(int=9), "any", commission, 3, None, None, None, None)
    priced = price(
        basket, taxes=(TaxRule("VAT", percent, None, None, None),), currency=currency, tax_inclusive=inclusive,
        codes=tuple(known), promos=known, loyalty=loyalty, points_available=points, points_wanted=points,
        commissions=(rule,), shipping=STANDARD if shipped else None,
    )  # fmt: skip
    counted = [e for e in priced.explanation if e.kind not in {"included_tax", "total"}]
    assert sum(e.amount_minor for e in counted) == priced.total_minor == priced.explanation[-1].amount_minor
    for p in priced.lines:
        shares = p.shares
        assert 0 <= p.discount_minor + p.points_minor <= p.gross_minor
        assert 0 <= p.store_discount_minor <= p.discount_minor
        assert shares.paid == p.total_minor >= 0
        assert shares.paid + shares.points + shares.store_discount == shares.seller + shares.commission + shares.tax
        assert shares.seller >= 0
        assert shares.commission == p.commission_minor
    assert sum(e.discount_minor for e in priced.promos) == priced.sum_of("discount_minor")
    assert 0 <= priced.points_spent <= points


shares_of = st.builds(
    lambda paid, points, discount, commission, tax: LineShares(
        paid, points, discount, paid + points + discount - commission - tax, commission, tax
    ),
    *[st.integers(0, 10**12)] * 5,
)


@settings(deadline=None)
@given(shares=shares_of, cuts=st.lists(st.fractions(0, 1), max_size=6))
def test_refunds_in_steps_add_up_to_the_whole(shares: LineShares, cuts: list[Fraction]) -> None:
    given_back = NOTHING
    for cut in [*sorted(cuts), Fraction(1)]:
        step = part_of(shares, cut).minus(given_back)
        assert step.paid + step.points + step.store_discount == step.seller + step.commission + step.tax
        assert step.paid >= 0
        given_back = given_back.plus(step)
    assert given_back == shares

"""What a basket costs: goods, promo codes, points, delivery, tax and the store's share, as one pure function.

Promises that the explanation adds up to the total, that the parts of every line add up to what is paid for it, and that a
discount shared out over lines is exact, in every currency (tests/test_pricing.py).
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from tradepost.core.money import split, times
from tradepost.orders.rules import ShippingOption, TaxRule, shipping_price, tax_on, tax_rule
from tradepost.orders.types import ExplanationLine
from tradepost.payments.rules import CommissionRule, LineShares, commission_on, commission_rule, shares_of_line
from tradepost.promotions.rules import Item, PromoEffect, apply_promos, points_earned, points_usable, points_worth
from tradepost.promotions.types import Promo


class PricingRules(msgspec.Struct, frozen=True):
    """The store's rules, as its tables hold them."""

    taxes: tuple[TaxRule, ...]
    shipping: tuple[ShippingOption, ...]
    commissions: tuple[CommissionRule, ...]


class BasketLine(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be priced, with what an order keeps of it."""

    line_no: int
    variant_id: UUID
    listing_id: UUID
    seller_id: UUID
    seller_name: str
    title: str
    slug: str
    kind: str
    category_path: str
    image_id: UUID | None
    sku: str | None
    options: dict[str, str]
    configuration: dict[str, Any]
    unit: str
    quantity: Decimal
    unit_price_minor: int


class Loyalty(msgspec.Struct, frozen=True):
    """What points are worth, and how many a whole unit of the currency earns."""

    value_per_point: Decimal
    points_per_unit: Decimal


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Everything beside the lines that a price depends on. `points_wanted` is cut to what can be used."""

    currency: str
    tax_inclusive: bool
    country: str
    region: str
    shipping: ShippingOption | None
    codes: tuple[str, ...]
    promos: dict[str, Promo]
    loyalty: Loyalty | None
    points_available: int
    points_wanted: int
    now: datetime


class PricedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line with all of its parts: `total` = gross − discount − points + tax."""

    line: BasketLine
    gross_minor: int
    discount_minor: int
    store_discount_minor: int
    points_minor: int
    tax_minor: int
    included_tax_minor: int
    tax_name: str
    tax_percent: Decimal
    commission_minor: int
    commission_rule: CommissionRule | None

    @property
    def total_minor(self) -> int:
        """What is paid for it."""
        return self.gross_minor - self.discount_minor - self.points_minor + self.tax_minor

    @property
    def shares(self) -> LineShares:
        """Who puts in and who gets what of it."""
        return shares_of_line(
            gross=self.gross_minor, discount=self.discount_minor, store_discount=self.store_discount_minor,
            points=self.points_minor, tax=self.tax_minor, included_tax=self.included_tax_minor,
            commission=self.commission_minor,
        )  # fmt: skip


class Delivery(msgspec.Struct, frozen=True):
    """What delivery of one seller's part costs."""

    seller_id: UUID
    seller_name: str
    price_minor: int


class Priced(msgspec.Struct, frozen=True, kw_only=True):
    """A basket's price. `points_usable`: the most points that could be spent on it; `points_earned`: what it will bring."""

    lines: tuple[PricedLine, ...]
    deliveries: tuple[Delivery, ...]
    promos: tuple[PromoEffect, ...]
    explanation: tuple[ExplanationLine, ...]
    points_usable: int
    points_spent: int
    points_earned: int

    def sum_of(self, part: str) -> int:
        """Return the sum of one part, e.g. `tax_minor`, over all lines."""
        return sum(getattr(line, part) for line in self.lines)

    @property
    def shipping_minor(self) -> int:
        """All deliveries together."""
        return sum(d.price_minor for d in self.deliveries)

    @property
    def total_minor(self) -> int:
        """What the buyer pays."""
        return self.sum_of("total_minor") + self.shipping_minor


def price_basket(lines: Sequence[BasketLine], rules: PricingRules, terms: Terms) -> Priced:
    """Return what a basket costs on these terms, with the reasons. Changes nothing and asks nobody."""
    gross = {line.line_no: times(line.unit_price_minor, line.quantity) for line in lines}
    items = [Item(line.line_no, line.seller_id, line.category_path, gross[line.line_no]) for line in lines]
    effects = apply_promos(terms.codes, terms.promos, items, terms.currency, terms.now)
    discounts = {n: sum(e.by_line.get(n, 0) for e in effects) for n in gross}
    store_discounts = {
        n: sum(e.by_line.get(n, 0) for e in effects if e.promo and e.promo.seller_id is None) for n in gross
    }
    left = [gross[line.line_no] - discounts[line.line_no] for line in lines]
    usable, spent, points_parts = _points(left, terms)
    priced = tuple(
        _line(line, gross[line.line_no], discounts[line.line_no], store_discounts[line.line_no], points, rules, terms)
        for line, points in zip(lines, points_parts, strict=True)
    )
    deliveries = _deliveries(priced, terms.shipping)
    paid_for_goods = sum(p.gross_minor - p.discount_minor - p.points_minor for p in priced)
    earned = points_earned(paid_for_goods, terms.loyalty.points_per_unit, terms.currency) if terms.loyalty else 0
    return Priced(
        lines=priced,
        deliveries=deliveries,
        promos=tuple(effects),
        explanation=_explain(priced, deliveries, effects, spent, terms),
        points_usable=usable,
        points_spent=spent,
        points_earned=earned,
    )


def _points(left: list[int], terms: Terms) -> tuple[int, int, list[int]]:
    """Return how many points could be spent, how many are, and what they take off each line."""
    if terms.loyalty is None:
        return 0, 0, [0] * len(left)
    usable = points_usable(terms.points_available, sum(left), terms.loyalty.value_per_point, terms.currency)
    spent = min(usable, max(0, terms.points_wanted))
    return usable, spent, split(points_worth(spent, terms.loyalty.value_per_point, terms.currency), left)


def _line(
    line: BasketLine, gross: int, discount: int, store_discount: int, points: int, rules: PricingRules, terms: Terms
) -> PricedLine:
    taxed = tax_rule(rules.taxes, line.category_path, terms.country, terms.region)
    tax, included = tax_on(gross - discount, taxed, inclusive=terms.tax_inclusive)
    kept = commission_rule(rules.commissions, line.seller_id, line.category_path, line.kind, terms.currency)
    before = gross - discount + store_discount - included  # what the seller would get without commission
    return PricedLine(
        line=line,
        gross_minor=gross,
        discount_minor=discount,
        store_discount_minor=store_discount,
        points_minor=points,
        tax_minor=tax,
        included_tax_minor=included,
        tax_name=taxed.name if taxed else "",
        tax_percent=taxed.percent if taxed else Decimal(0),
        commission_minor=min(commission_on(gross - discount + store_discount, kept), max(before, 0)),
        commission_rule=kept,
    )


def _deliveries(lines: Sequence[PricedLine], option: ShippingOption | None) -> tuple[Delivery, ...]:
    """Price the delivery of each seller's part, by the value of its goods after discounts, in the order of their ids."""
    goods: dict[UUID, int] = {}
    names: dict[UUID, str] = {}
    for p in lines:
        seller = p.line.seller_id
        goods[seller] = goods.get(seller, 0) + p.gross_minor - p.discount_minor
        names[seller] = p.line.seller_name
    return tuple(Delivery(s, names[s], shipping_price(option, goods[s]) if option else 0) for s in sorted(goods))


def _explain(
    lines: Sequence[PricedLine],
    deliveries: Sequence[Delivery],
    effects: Sequence[PromoEffect],
    spent: int,
    terms: Terms,
) -> tuple[ExplanationLine, ...]:
    """Say how the total came about; every amount counts towards it but contained tax and the total itself."""
    steps = [
        ExplanationLine(kind="goods", text=f"{p.line.quantity.normalize():f} × {p.line.title}", amount_minor=p.gross_minor,
                        line_no=p.line.line_no, seller_id=p.line.seller_id)
        for p in lines
    ]  # fmt: skip
    steps += [
        ExplanationLine(kind="discount", text=_promo_text(e), amount_minor=-e.discount_minor)
        for e in effects
        if e.by_line
    ]
    if spent:
        worth = sum(p.points_minor for p in lines)
        steps.append(ExplanationLine(kind="points", text=f"{spent} points", amount_minor=-worth))
    if terms.shipping is not None:
        several = len(deliveries) > 1
        steps += [
            ExplanationLine(kind="shipping", text=f"{terms.shipping.name}, {d.seller_name}" if several else terms.shipping.name,
                            amount_minor=d.price_minor, seller_id=d.seller_id)
            for d in deliveries
        ]  # fmt: skip
    steps += _taxes(lines, "tax", "tax_minor") + _taxes(lines, "included_tax", "included_tax_minor")
    total = sum(p.total_minor for p in lines) + sum(d.price_minor for d in deliveries)
    steps.append(ExplanationLine(kind="total", text="Total", amount_minor=total))
    return tuple(steps)


def _promo_text(effect: PromoEffect) -> str:
    percent = effect.promo.percent if effect.promo else None
    return effect.code if percent is None else f"{effect.code}, {percent.normalize():f} % off"


def _taxes(lines: Sequence[PricedLine], kind: str, part: str) -> list[ExplanationLine]:
    by_rate: dict[tuple[str, Decimal], int] = {}
    for p in lines:
        if getattr(p, part):
            rate = (p.tax_name, p.tax_percent)
            by_rate[rate] = by_rate.get(rate, 0) + getattr(p, part)
    return [
        ExplanationLine(kind=kind, text=f"{name}, {percent.normalize():f} %", amount_minor=amount)
        for (name, percent), amount in by_rate.items()
    ]

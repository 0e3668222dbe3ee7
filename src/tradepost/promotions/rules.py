"""What promo codes and points take off, as pure arithmetic in minor units.

A discount never exceeds what it is for, and is shared out over its lines exactly: the parts add up to the whole.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from uuid import UUID

import msgspec

from tradepost.core.errors import DomainError
from tradepost.core.money import exponent, percent_of, rounded, split, to_major
from tradepost.promotions.types import (
    Promo,
    PromoBelowMinimum,
    PromoExpired,
    PromoNotForThese,
    PromoStandsAlone,
    PromoUnknown,
    PromoUsedUp,
)


class Item(msgspec.Struct, frozen=True):
    """A line as discounts see it; `gross_minor` is its price before any."""

    line_no: int
    seller_id: UUID
    category_path: str
    gross_minor: int


class PromoEffect(msgspec.Struct, frozen=True):
    """What one code on the cart does: so much off each line, or nothing because of `problem`."""

    code: str
    promo: Promo | None
    by_line: dict[int, int]
    problem: DomainError | None

    @property
    def discount_minor(self) -> int:
        """All that it takes off."""
        return sum(self.by_line.values())


def is_below(path: str, ancestor: str) -> bool:
    """Whether a category's path is that of `ancestor` or of one below it."""
    return path == ancestor or path.startswith(ancestor + "/")


def apply_promos(
    codes: Sequence[str], known: dict[str, Promo], items: Sequence[Item], currency: str, now: datetime
) -> list[PromoEffect]:
    """Return what each code does, in the order they were given; later ones see the price that earlier ones left.

    `known` is keyed by the code in capitals. A code that does not stack stands alone: whichever came first holds.
    """
    left = {item.line_no: item.gross_minor for item in items}
    effects: list[PromoEffect] = []
    in_force: list[Promo] = []
    for code in codes:
        promo = known.get(code.upper())
        problem = _problem(code, promo, in_force, items, currency, now)
        if promo is None or problem is not None:
            effects.append(PromoEffect(code, promo, {}, problem))
            continue
        by_line = _discount(promo, [item for item in items if _is_for(promo, item)], left)
        for line_no, part in by_line.items():
            left[line_no] -= part
        in_force.append(promo)
        effects.append(PromoEffect(promo.code, promo, by_line, None))
    return effects


def _problem(
    code: str, promo: Promo | None, in_force: list[Promo], items: Sequence[Item], currency: str, now: datetime
) -> DomainError | None:
    if promo is None or (promo.currency is not None and promo.currency != currency):
        return PromoUnknown(code)
    if not promo.is_active or not promo.valid_from <= now < promo.valid_to:
        return PromoExpired(promo.code)
    if _is_used_up(promo):
        return PromoUsedUp(promo.code)
    if in_force and not (promo.stacks and all(other.stacks and other.id != promo.id for other in in_force)):
        return PromoStandsAlone(promo.code)
    return _misfit(promo, sum(item.gross_minor for item in items if _is_for(promo, item)), currency)


def _is_used_up(promo: Promo) -> bool:
    by_all = promo.usage_limit is not None and promo.used_count >= promo.usage_limit
    return by_all or (promo.per_person_limit is not None and promo.used_by_me >= promo.per_person_limit)


def _misfit(promo: Promo, fitting_minor: int, currency: str) -> DomainError | None:
    if not fitting_minor:
        return PromoNotForThese(promo.code)
    if fitting_minor < promo.minimum_minor:
        return PromoBelowMinimum(promo.code, f"{to_major(promo.minimum_minor, currency)} {currency}")
    return None


def _is_for(promo: Promo, item: Item) -> bool:
    if promo.seller_id is not None and promo.seller_id != item.seller_id:
        return False
    return not promo.category_paths or any(is_below(item.category_path, path) for path in promo.category_paths)


def _discount(promo: Promo, items: Sequence[Item], left: dict[int, int]) -> dict[int, int]:
    weights = [left[item.line_no] for item in items]
    whole = percent_of(sum(weights), promo.percent) if promo.percent is not None else promo.amount_minor or 0
    parts = split(min(whole, sum(weights)), weights)
    return {item.line_no: part for item, part in zip(items, parts, strict=True) if part}


def points_worth(points: int, value_per_point: Decimal, currency: str) -> int:
    """Return what points are worth in minor units, rounded half-up."""
    return rounded(points * value_per_point.scaleb(exponent(currency)))


def points_usable(available: int, left_minor: int, value_per_point: Decimal, currency: str) -> int:
    """Return how many points can be spent on so much: never worth more than it."""
    value = value_per_point.scaleb(exponent(currency))
    if value <= 0:
        return 0
    return max(0, min(available, int((left_minor / value).to_integral_value(ROUND_FLOOR))))


def points_earned(paid_minor: int, points_per_unit: Decimal, currency: str) -> int:
    """Return the points for so much paid for goods: whole points only, per whole unit of the currency."""
    return int((to_major(max(paid_minor, 0), currency) * points_per_unit).to_integral_value(ROUND_FLOOR))

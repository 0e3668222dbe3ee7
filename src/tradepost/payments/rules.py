"""What the store keeps of a line, and how a refund of part of a line is shared out, as pure arithmetic in minor units."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import msgspec

from tradepost.core.money import percent_of


class CommissionRule(msgspec.Struct, frozen=True):
    """So many percent and a fixed amount of a line, for a seller, a category and all below it, a kind, or everything."""

    id: UUID
    name: str
    percent: Decimal
    fixed_minor: int
    currency: str | None
    seller_id: UUID | None
    category_path: str | None
    kind: str | None


class LineShares(msgspec.Struct, frozen=True):
    """Who put in and who got what of a line (or of one seller's delivery).

    Always `paid + points + store_discount == seller + commission + tax`.
    """

    paid: int
    points: int
    store_discount: int
    seller: int
    commission: int
    tax: int

    def minus(self, other: "LineShares") -> "LineShares":
        """Return what is left of these shares after others have gone."""
        return LineShares(*(a - b for a, b in zip(_parts(self), _parts(other), strict=True)))

    def plus(self, other: "LineShares") -> "LineShares":
        """Return both together."""
        return LineShares(*(a + b for a, b in zip(_parts(self), _parts(other), strict=True)))


NOTHING = LineShares(0, 0, 0, 0, 0, 0)


def _parts(shares: LineShares) -> tuple[int, ...]:
    return (shares.paid, shares.points, shares.store_discount, shares.seller, shares.commission, shares.tax)


def commission_rule(
    rules: Sequence[CommissionRule], seller_id: UUID, category_path: str, kind: str, currency: str
) -> CommissionRule | None:
    """Return the most specific rule: the seller's own first, then the deepest category, then the kind of listing."""
    fitting = [r for r in rules if _applies(r, seller_id, category_path, kind, currency)]
    return max(fitting, key=_weight, default=None)


class RuleVerdict(msgspec.Struct, frozen=True):
    """What was found of a rule: whether it fires, and otherwise why not, in words."""

    rule: CommissionRule
    fires: bool
    reason: str


def weigh_rules(
    rules: Sequence[CommissionRule], seller_id: UUID, category_path: str, kind: str, currency: str
) -> list[RuleVerdict]:
    """Return what becomes of every rule for a sale, the most specific first: the one that fires, and why the others do not."""
    winner = commission_rule(rules, seller_id, category_path, kind, currency)
    found = []
    for rule in sorted(rules, key=_weight, reverse=True):
        misfit = _misfit(rule, seller_id, category_path, kind, currency)
        reason = misfit or (_why(rule) if rule is winner else "fits, but a more specific rule goes first")
        found.append(RuleVerdict(rule, rule is winner, reason))
    return found


def _why(rule: CommissionRule) -> str:
    named = [
        word
        for word, value in (
            ("the seller", rule.seller_id),
            ("the category", rule.category_path),
            ("the kind", rule.kind),
        )
        if value is not None
    ]
    return f"is made for {' and '.join(named)}" if named else "holds for everything that no other rule is made for"


def _applies(rule: CommissionRule, seller_id: UUID, category_path: str, kind: str, currency: str) -> bool:
    return not _misfit(rule, seller_id, category_path, kind, currency)


def _misfit(rule: CommissionRule, seller_id: UUID, category_path: str, kind: str, currency: str) -> str:
    """Return why a rule does not apply; nothing where it does."""
    path = rule.category_path
    if rule.seller_id is not None and rule.seller_id != seller_id:
        return "is another seller's"
    if path is not None and category_path != path and not category_path.startswith(path + "/"):
        return "is for another category"
    if rule.kind is not None and rule.kind != kind:
        return "is for another kind of listing"
    if rule.currency is not None and rule.currency != currency:
        return "is for another currency"
    return ""


def _weight(rule: CommissionRule) -> tuple[bool, int, bool]:
    depth = 0 if rule.category_path is None else rule.category_path.count("/") + 1
    return rule.seller_id is not None, depth, rule.kind is not None


def commission_on(amount_minor: int, rule: CommissionRule | None) -> int:
    """Return what the store keeps of an amount; never more than the amount."""
    if rule is None or amount_minor <= 0:
        return 0
    return min(amount_minor, percent_of(amount_minor, rule.percent) + rule.fixed_minor)


def shares_of_line(
    *, gross: int, discount: int, store_discount: int, points: int, tax: int, included_tax: int, commission: int
) -> LineShares:
    """Return who put in and who gets what of a line. Commission is capped by what the seller would get."""
    before = gross - (discount - store_discount) - included_tax
    commission = min(commission, max(before, 0))
    return LineShares(
        paid=gross - discount - points + tax,
        points=points,
        store_discount=store_discount,
        seller=before - commission,
        commission=commission,
        tax=tax + included_tax,
    )


def shares_of_delivery(price_minor: int) -> LineShares:
    """Return the shares of one seller's delivery: the seller's whole."""
    return LineShares(price_minor, 0, 0, price_minor, 0, 0)


def part_of(shares: LineShares, part: Fraction) -> LineShares:
    """Return a part of shares, between none and all of them, balanced to the minor unit; all of them is exactly all of them.

    What is refunded in steps is the difference of two such parts, so that the steps add up to the whole.
    """

    def scaled(amount: int) -> int:
        return (2 * amount * part.numerator + part.denominator) // (2 * part.denominator)  # half-up; none is negative

    paid, points, discount = scaled(shares.paid), scaled(shares.points), scaled(shares.store_discount)
    commission, tax = scaled(shares.commission), scaled(shares.tax)
    return LineShares(paid, points, discount, paid + points + discount - commission - tax, commission, tax)

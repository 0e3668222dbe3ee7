"""Tax and delivery of an order, as pure arithmetic in minor units.

Tax is reckoned line by line on what is left after discounts; points are a means of payment and change no tax. Delivery is
priced for each seller's part, as a final price.
"""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from tradepost.core.money import included_tax, percent_of
from tradepost.orders.types import NoDelivery, ShippingUnknown


class TaxRule(msgspec.Struct, frozen=True):
    """A rate for a category and all below it, a country or a region of one; empty ones mean everywhere and everything."""

    name: str
    percent: Decimal
    category_path: str | None
    country: str | None
    region: str | None


class ShippingOption(msgspec.Struct, frozen=True):
    """A way of delivery; the price is for each seller's part, free from a value of its goods on.

    `by_distance`: the price is that of the zone the address is in; `out_of_reach`: it is in none.
    """

    code: str
    name: str
    description: str
    price_minor: int
    free_from_minor: int | None
    countries: tuple[str, ...]
    is_pickup: bool
    by_distance: bool = False
    out_of_reach: bool = False


def tax_rule(rules: Sequence[TaxRule], category_path: str, country: str, region: str) -> TaxRule | None:
    """Return the most specific rule: the deepest category first, then a region before a country before everywhere."""
    fitting = [r for r in rules if _applies(r, category_path, country, region)]
    return max(fitting, key=_weight, default=None)


def _applies(rule: TaxRule, category_path: str, country: str, region: str) -> bool:
    if rule.country is not None and rule.country != country:
        return False
    if rule.region is not None and rule.region.casefold() != region.casefold():
        return False
    path = rule.category_path
    return path is None or category_path == path or category_path.startswith(path + "/")


def _weight(rule: TaxRule) -> tuple[int, bool, bool]:
    depth = 0 if rule.category_path is None else rule.category_path.count("/") + 1
    return depth, rule.region is not None, rule.country is not None


def tax_on(amount_minor: int, rule: TaxRule | None, *, inclusive: bool) -> tuple[int, int]:
    """Return the tax added to an amount and the tax contained in it, in minor units; one of the two is 0."""
    if rule is None or not rule.percent:
        return 0, 0
    if inclusive:
        return 0, included_tax(amount_minor, rule.percent)
    return percent_of(amount_minor, rule.percent), 0


def choose_shipping(options: Sequence[ShippingOption], code: str, country: str | None) -> ShippingOption | None:
    """Return the chosen way of delivery; with no code the first that delivers there. None where the store has none.

    `country` None: not known yet, everything is open. Raises `ShippingUnknown`, `NoDelivery`.
    """
    if not code:
        return next((o for o in options if delivers_to(o, country)), None)
    for option in options:
        if option.code == code:
            if not delivers_to(option, country):
                raise NoDelivery(option.name)
            return option
    raise ShippingUnknown(code[:60])


def delivers_to(option: ShippingOption, country: str | None) -> bool:
    """Whether a way of delivery goes to a country; one can pick up from everywhere."""
    if option.out_of_reach:
        return False
    return option.is_pickup or country is None or not option.countries or country in option.countries


def shipping_price(option: ShippingOption, goods_minor: int) -> int:
    """Return what delivery of one seller's part costs, whose goods come to so much."""
    free = option.free_from_minor is not None and goods_minor >= option.free_from_minor
    return 0 if free else option.price_minor

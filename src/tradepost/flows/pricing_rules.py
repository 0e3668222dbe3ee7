"""The store's pricing rules: loading them once a version, and filling them from a preset.

A trigger raises `rules_version` whenever a rate, a way of delivery or a commission rule changes; a process reads the rules
again when it sees another number, so a price is never reckoned by old ones.
"""

from weakref import WeakKeyDictionary

from sqlalchemy import text

from tradepost.core.database import Database, Transaction
from tradepost.core.money import to_minor
from tradepost.flows.preset import StoreSettings
from tradepost.flows.pricing import Loyalty, PricingRules
from tradepost.orders import queries as order_queries
from tradepost.orders.rules import ShippingOption, TaxRule
from tradepost.payments import queries as payment_queries
from tradepost.payments.rules import CommissionRule

_known: WeakKeyDictionary[Database, tuple[str, PricingRules]] = WeakKeyDictionary()


async def pricing_rules(tx: Transaction, version: str) -> PricingRules:
    """Return the rules of that version; reads them where this process has not."""
    known = _known.get(tx.database)
    if known and known[0] == version:
        return known[1]
    rules = PricingRules(
        tuple(await tx.all(order_queries.TAX_RULES, into=TaxRule)),
        tuple(await tx.all(order_queries.SHIPPING_OPTIONS, into=ShippingOption)),
        tuple(await tx.all(payment_queries.COMMISSION_RULES, into=CommissionRule)),
    )
    _known[tx.database] = version, rules
    return rules


def loyalty_of(settings: StoreSettings) -> Loyalty | None:
    """Return what points are worth in a store; None where there are none."""
    found = settings.loyalty
    return Loyalty(found.value_per_point, found.points_per_unit) if found else None


_ADD_TAX = text("""
    INSERT INTO tax_rates (name, percent, category_id, country)
    SELECT :name, :percent, c.id, :country FROM (SELECT CAST(:category AS text) AS slug) AS wanted
    LEFT JOIN categories c ON c.slug = wanted.slug WHERE wanted.slug IS NULL OR c.id IS NOT NULL
    ON CONFLICT (category_id, country, region) DO NOTHING
""")
_ADD_SHIPPING = text("""
    INSERT INTO shipping_options (code, name, description, price_minor, free_from_minor, currency, countries, is_pickup, by_distance, position)
    VALUES (:code, :name, :description, :price_minor, :free_from_minor, :currency, :countries, :is_pickup, :by_distance, :position)
    ON CONFLICT (code) DO NOTHING
""")
_ADD_COMMISSION = text("""
    INSERT INTO commission_rules (name, percent) VALUES (:name, :percent) ON CONFLICT (seller_id, category_id, kind) DO NOTHING
""")
_ADD_PROMO = text("""
    INSERT INTO promo_codes (code, kind, percent, amount_minor, currency, valid_to, usage_limit)
    VALUES (:code, :kind, :percent, :amount_minor, :currency, now() + make_interval(days => :days), :usage_limit)
    ON CONFLICT (code) DO NOTHING
""")


async def install_pricing(tx: Transaction, settings: StoreSettings) -> None:
    """Fill in the rules a preset begins with. What an operator has changed or added since stays as it is."""
    for rate in settings.tax.rates:
        await tx.run(_ADD_TAX, name=rate.name, percent=rate.percent, category=rate.category, country=rate.country)
    currency = settings.store.currency
    for position, option in enumerate(settings.shipping):
        await tx.run(
            _ADD_SHIPPING, code=option.code, name=option.name, description=option.description,
            price_minor=to_minor(option.price, currency), countries=list(option.countries), is_pickup=option.pickup,
            free_from_minor=None if option.free_from is None else to_minor(option.free_from, currency),
            currency=currency, by_distance=option.by_distance, position=position,
        )  # fmt: skip
    await tx.run(_ADD_COMMISSION, name="Store", percent=settings.payments.commission)
    for promo in settings.sample.promo_codes:
        is_percent = promo.kind == "percent"
        await tx.run(
            _ADD_PROMO, code=promo.code, kind=promo.kind, percent=promo.amount if is_percent else None,
            amount_minor=None if is_percent else to_minor(promo.amount, currency), currency=None if is_percent else currency,
            days=promo.valid_days, usage_limit=promo.usage_limit,
        )  # fmt: skip

"""Every read of carts. One statement returns a whole cart with all that a page or a checkout needs of it."""

from typing import Any

from sqlalchemy import Select, String, bindparam, case, func, literal_column, or_, select, true
from sqlalchemy.dialects.postgresql import BYTEA, UUID

from tradepost.accounts.tables import users
from tradepost.cart.tables import cart_lines, carts
from tradepost.catalog.tables import categories, listings, prices, units, variants
from tradepost.core.tables import store_facts

_USER = bindparam("user_id", type_=UUID)
_SESSION = bindparam("session", type_=BYTEA)
_CURRENCY = bindparam("currency", type_=String)

OF_PERSON = carts.c.user_id == _USER
OF_SESSION = carts.c.session_hash == _SESSION


def current_price(currency: Any) -> Any:
    """Return a variant's running price in a currency, to join laterally."""
    return (
        select(prices.c.amount_minor, prices.c.compare_at_minor)
        .where(
            prices.c.variant_id == variants.c.id,
            prices.c.currency == currency,
            prices.c.valid_from <= func.now(),
            or_(prices.c.valid_to.is_(None), prices.c.valid_to > func.now()),
        )
        .limit(1)
        .lateral("price")
    )


SELLER_NAME = func.coalesce(users.c.business_name, users.c.display_name).label("seller_name")
# What can still be had: null where stock is not tracked.
AVAILABLE = (variants.c.on_hand - variants.c.reserved).label("available")
_PRICE = current_price(carts.c.currency)
_GOODS = (
    variants.c.options, variants.c.sku, variants.c.unit, units.c.short.label("unit_short"), variants.c.sale_step, AVAILABLE,
    func.coalesce(variants.c.backorder_until > func.now(), literal_column("false")).label("can_backorder"),
    variants.c.expected_on, variants.c.is_active, listings.c.id.label("listing_id"), listings.c.slug, listings.c.title,
    listings.c.kind, listings.c.category_id, listings.c.image_id, listings.c.status, listings.c.seller_id,
)  # fmt: skip
_LINES = (
    carts.outerjoin(cart_lines, cart_lines.c.cart_id == carts.c.id)
    .outerjoin(variants, variants.c.id == cart_lines.c.variant_id)
    .outerjoin(units, units.c.code == variants.c.unit)
    .outerjoin(listings, listings.c.id == variants.c.listing_id)
    .outerjoin(categories, categories.c.id == listings.c.category_id)
    .outerjoin(users, users.c.id == listings.c.seller_id)
    .outerjoin(_PRICE, true())
)
_schema = case((cart_lines.c.configuration != literal_column("'{}'::jsonb"), listings.c.configuration_schema))
_rules_version = (
    select(store_facts.c.value).where(store_facts.c.name == literal_column("'rules_version'")).scalar_subquery()
)
_CART = (
    select(
        carts.c.id.label("cart_id"), carts.c.version, carts.c.updated_at, carts.c.currency, carts.c.promo_codes, carts.c.slot_id,
        _rules_version.label("rules_version"),
        cart_lines.c.line_no, cart_lines.c.variant_id, cart_lines.c.quantity, cart_lines.c.unit_price_minor.label("price_when_added"),
        cart_lines.c.configuration, *_GOODS, categories.c.path.label("category_path"),
        users.c.username.label("seller_username"), SELLER_NAME,
        _PRICE.c.amount_minor, _PRICE.c.compare_at_minor, _schema.label("configuration_schema"),
    )
    .select_from(_LINES)
    .order_by(cart_lines.c.line_no)
)  # fmt: skip
CART_OF_PERSON: Select[Any] = _CART.where(OF_PERSON)
CART_OF_SESSION: Select[Any] = _CART.where(OF_SESSION)

_COUNT = select(func.count()).select_from(cart_lines.join(carts, carts.c.id == cart_lines.c.cart_id))
COUNT_OF_PERSON = _COUNT.where(OF_PERSON)
COUNT_OF_SESSION = _COUNT.where(OF_SESSION)

COPY_OF_PERSON = (
    select(
        variants.c.listing_id, cart_lines.c.quantity, cart_lines.c.unit_price_minor.label("price_when_added"),
        carts.c.currency, carts.c.updated_at,
    )
    .select_from(
        carts.join(cart_lines, cart_lines.c.cart_id == carts.c.id).join(
            variants, variants.c.id == cart_lines.c.variant_id
        )
    )
    .where(OF_PERSON)
    .order_by(cart_lines.c.line_no)
)  # fmt: skip

_OFFER_PRICE = current_price(_CURRENCY)
OFFER = (
    select(*_GOODS, _OFFER_PRICE.c.amount_minor, listings.c.configuration_schema)
    .select_from(
        variants.join(units, units.c.code == variants.c.unit)
        .join(listings, listings.c.id == variants.c.listing_id)
        .outerjoin(_OFFER_PRICE, true())
    )
    .where(variants.c.id == bindparam("variant_id", type_=UUID))
)

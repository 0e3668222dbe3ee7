"""Every read of the catalogue. Listing pages are composed once for each shape of filter and kept compiled."""

from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Double,
    Select,
    String,
    and_,
    any_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID, aggregate_order_by

from tradepost.accounts.tables import users
from tradepost.catalog.tables import (
    categories,
    conditions,
    likes,
    listing_images,
    listing_stats,
    listings,
    places,
    price_history,
    prices,
    sources,
    units,
    variants,
    wishlists,
)
from tradepost.catalog.types import Sort
from tradepost.core.columns import Timestamp

_LAT, _LON = bindparam("lat", type_=Double), bindparam("lon", type_=Double)

# Written into the statements, not bound: only so does a prepared plan match the partial indexes.
ACTIVE = listings.c.status == literal_column("'active'")

_above = categories.alias("above")
CATEGORIES = (
    select(
        categories.c.id, categories.c.parent_id, categories.c.slug, categories.c.name, categories.c.description,
        categories.c.emoji, categories.c.path,
    )
    .where(
        categories.c.is_active,
        ~exists().where(
            ~_above.c.is_active, func.starts_with(categories.c.path, _above.c.path + literal_column("'/'"))
        ),
    )
    .order_by(func.cardinality(func.string_to_array(categories.c.path, "/")), categories.c.position, categories.c.name)
)  # fmt: skip

_PLACE = (
    places.c.id, places.c.name, places.c.region, places.c.district, places.c.country,
    func.geo_lat(places.c.location).label("lat"), func.geo_lon(places.c.location).label("lon"),
)  # fmt: skip
PLACES_BY_PREFIX = (
    select(*_PLACE)
    .where(func.lower(places.c.name).like(bindparam("prefix", type_=String)), places.c.is_active)
    .order_by(places.c.population.desc(), places.c.name)
    .limit(10)
)
PLACE_BY_NAME = (
    select(*_PLACE)
    .where(func.lower(places.c.name) == func.lower(bindparam("name", type_=String)), places.c.is_active)
    .order_by(places.c.population.desc())
    .limit(1)
)
PLACE_NEAREST = (
    select(*_PLACE)
    .where(places.c.is_active, places.c.location.is_not(None))
    .order_by(func.geo_order(places.c.location, _LAT, _LON))
    .limit(1)
)

_SELLER_NAME = func.coalesce(users.c.business_name, users.c.display_name).label("seller_name")
_CARD = (
    listings.c.id, listings.c.slug, listings.c.title, listings.c.kind, listings.c.feed,
    listings.c.price_minor, listings.c.price_to_minor, listings.c.compare_at_minor, listings.c.currency,
    units.c.short.label("unit"), listings.c.in_stock, listings.c.condition, conditions.c.name.label("condition_name"),
    listings.c.seller_id, _SELLER_NAME, sources.c.name.label("source_name"), listings.c.location_text.label("place"),
)  # fmt: skip
_CARD_END = (
    listings.c.image_id, listings.c.rating_count, listings.c.rating_sum,
    func.coalesce(listing_stats.c.likes, 0).label("likes"), listings.c.attributes, listings.c.published_at,
)  # fmt: skip
CARD_TABLES = (
    listings.outerjoin(users, users.c.id == listings.c.seller_id)
    .outerjoin(sources, sources.c.id == listings.c.source_id)
    .outerjoin(conditions, conditions.c.code == listings.c.condition)
    .outerjoin(units, units.c.code == listings.c.unit)
    .outerjoin(listing_stats, listing_stats.c.listing_id == listings.c.id)
)


def card_columns(*, distance: bool) -> tuple[Any, ...]:
    """Return the columns of a `ListingCard`, in its order; with `distance` the statement takes :lat and :lon."""
    metres = func.geo_distance_m(listings.c.location, _LAT, _LON) if distance else null()
    return (*_CARD, metres.label("distance_m"), *_CARD_END)


def _sort(sort: Sort) -> tuple[Any, Any, bool]:
    """Return the value listings are sorted by, its type for the cursor, and whether it goes down."""
    orders: dict[str, tuple[Any, Any, bool]] = {
        "newest": (listings.c.published_at, Timestamp, True),
        "popular": (listings.c.popularity, listings.c.popularity.type, True),
        "cheapest": (listings.c.price_minor, BigInteger, False),
        "dearest": (listings.c.price_minor, BigInteger, True),
        "nearest": (func.geo_order(listings.c.location, _LAT, _LON), Double, False),
    }
    return orders[sort]


@lru_cache(maxsize=512)
def listing_page(sort: Sort, present: frozenset[str], *, after: bool) -> Select[Any]:
    """Return the statement of a page of cards for one shape of filter.

    `present` names the filters in force, which are also the statement's parameters: category_ids, feed, kind, condition,
    seller_id, min_minor, max_minor, in_stock, attributes, near (lat, lon), radius_m. With `after` it takes :after_value and
    :after_id. Always takes :limit.
    """
    by, kind, descending = _sort(sort)
    tests: list[Any] = [ACTIVE, *(_TESTS[name] for name in _TESTS if name in present)]
    if sort in {"cheapest", "dearest"}:
        tests.append(listings.c.price_minor.is_not(None))
    if sort == "nearest":
        tests.append(listings.c.location.is_not(None))
    if after:
        place = tuple_(bindparam("after_value", type_=kind), bindparam("after_id", type_=UUID))
        tests.append(tuple_(by, listings.c.id) < place if descending else tuple_(by, listings.c.id) > place)
    order: tuple[Any, ...] = (by.desc(), listings.c.id.desc()) if descending else (by, listings.c.id)
    return (
        select(*card_columns(distance="near" in present), by.label("sort_value"))
        .select_from(CARD_TABLES)
        .where(*tests)
        .order_by(*order)
        .limit(bindparam("limit", type_=BigInteger))
    )


_TESTS: dict[str, Any] = {
    "category_ids": listings.c.category_id == func.any(bindparam("category_ids", type_=ARRAY(UUID))),
    "feed": listings.c.feed == bindparam("feed", type_=String),
    "kind": listings.c.kind == bindparam("kind", type_=String),
    "condition": listings.c.condition == bindparam("condition", type_=String),
    "seller_id": listings.c.seller_id == bindparam("seller_id", type_=UUID),
    "min_minor": listings.c.price_minor >= bindparam("min_minor", type_=BigInteger),
    "max_minor": listings.c.price_minor <= bindparam("max_minor", type_=BigInteger),
    "in_stock": listings.c.in_stock,
    "attributes": listings.c.attributes.op("@>")(bindparam("attributes", type_=JSONB)),
    "radius_m": func.geo_within(listings.c.location, _LAT, _LON, bindparam("radius_m", type_=Double)),
}

CARDS_BY_ID = select(*card_columns(distance=False)).select_from(CARD_TABLES).where(
    listings.c.id == func.any(bindparam("ids", type_=ARRAY(UUID))), ACTIVE
)  # fmt: skip

_current_price = (
    select(prices.c.amount_minor, prices.c.compare_at_minor, prices.c.currency)
    .where(
        prices.c.variant_id == variants.c.id,
        prices.c.currency == bindparam("currency", type_=String),
        prices.c.valid_from <= func.now(),
        or_(prices.c.valid_to.is_(None), prices.c.valid_to > func.now()),
    )
    .limit(1)
    .lateral("price")
)
_AVAILABLE = func.greatest(variants.c.on_hand - variants.c.reserved, 0)


def _object(**columns: Any) -> Any:
    """Return one JSON object of columns; its keys are ours, so they are written into the statement."""
    parts: list[Any] = []
    for name, column in columns.items():
        parts += [literal_column(f"'{name}'"), column]
    return func.jsonb_build_object(*parts)


_VARIANTS = (
    select(
        func.jsonb_agg(
            aggregate_order_by(
                _object(
                    id=variants.c.id, position=variants.c.position, sku=variants.c.sku, options=variants.c.options,
                    unit=variants.c.unit, unit_name=units.c.name, unit_short=units.c.short,
                    sale_step=cast(func.trim_scale(variants.c.sale_step), String), on_hand=cast(func.trim_scale(variants.c.on_hand), String),
                    available=case((variants.c.on_hand.is_not(None), cast(func.trim_scale(_AVAILABLE), String))),
                    is_active=variants.c.is_active, price_minor=_current_price.c.amount_minor,
                    compare_at_minor=_current_price.c.compare_at_minor, currency=_current_price.c.currency,
                    backorder_until=case((variants.c.backorder_until > func.now(), variants.c.backorder_until)),
                    expected_on=variants.c.expected_on,
                ),
                variants.c.position,
            )
        )
    )
    .select_from(variants.join(units, units.c.code == variants.c.unit).outerjoin(_current_price, true()))
    .where(variants.c.listing_id == listings.c.id)
    .correlate(listings)
    .scalar_subquery()
)  # fmt: skip
_IMAGES = (
    select(
        func.jsonb_agg(
            aggregate_order_by(
                _object(
                    position=listing_images.c.position, file_id=listing_images.c.file_id, url=listing_images.c.url,
                    width=listing_images.c.width, height=listing_images.c.height, alt=listing_images.c.alt,
                ),
                listing_images.c.position,
            )
        )
    )
    .where(listing_images.c.listing_id == listings.c.id)
    .correlate(listings)
    .scalar_subquery()
)  # fmt: skip
_ME = bindparam("me", type_=UUID)


def _marked(table: Any) -> Any:
    return exists().where(and_(table.c.listing_id == listings.c.id, table.c.user_id == _ME)).correlate(listings)


_LISTING = (
    select(
        listings.c.id, listings.c.slug, listings.c.title, listings.c.description, listings.c.kind, listings.c.feed,
        listings.c.status, listings.c.brand, listings.c.condition, conditions.c.name.label("condition_name"),
        listings.c.attributes, listings.c.category_id, listings.c.seller_id, users.c.username.label("seller_username"),
        _SELLER_NAME, users.c.bio.label("seller_bio"), users.c.created_at.label("seller_since"),
        users.c.avatar_file_id.label("seller_avatar_file_id"), sources.c.name.label("source_name"), listings.c.outside_url,
        listings.c.outside_seller, listings.c.location_text.label("place"),
        func.geo_lat(listings.c.location).label("lat"), func.geo_lon(listings.c.location).label("lon"),
        func.geo_distance_m(listings.c.location, _LAT, _LON).label("distance_m"),
        listings.c.is_customizable, listings.c.configuration_schema, listings.c.video_url,
        listings.c.price_minor, listings.c.compare_at_minor, listings.c.currency,
        listings.c.rating_count, listings.c.rating_sum, func.coalesce(listing_stats.c.views, 0).label("views"),
        func.coalesce(listing_stats.c.likes, 0).label("likes"), _marked(likes).label("is_liked"),
        _marked(wishlists).label("is_wished"), listings.c.in_stock, listings.c.version,
        listings.c.published_at, listings.c.created_at, listings.c.updated_at,
        func.coalesce(_IMAGES, literal_column("'[]'::jsonb")).label("images"),
        func.coalesce(_VARIANTS, literal_column("'[]'::jsonb")).label("variants"),
    )
    .select_from(CARD_TABLES)
)  # fmt: skip
LISTING_BY_ID = _LISTING.where(listings.c.id == bindparam("listing_id", type_=UUID))

_ON_HAND = (
    select(func.trim_scale(func.sum(variants.c.on_hand)))
    .where(variants.c.listing_id == listings.c.id)
    .correlate(listings)
    .scalar_subquery()
)
_SELLER_ROW = select(
    listings.c.id, listings.c.slug, listings.c.title, listings.c.status, listings.c.kind, listings.c.price_minor,
    listings.c.currency, listings.c.unit, listings.c.in_stock, _ON_HAND.label("on_hand"), listings.c.image_id,
    func.coalesce(listing_stats.c.views, 0).label("views"), func.coalesce(listing_stats.c.likes, 0).label("likes"),
    listings.c.created_at, listings.c.updated_at,
).select_from(listings.outerjoin(listing_stats, listing_stats.c.listing_id == listings.c.id))  # fmt: skip
SELLER_LISTINGS = (
    _SELLER_ROW.where(
        listings.c.seller_id == bindparam("seller_id", type_=UUID),
        listings.c.status != literal_column("'removed'"),
        or_(bindparam("after_id", type_=UUID).is_(None), listings.c.id < bindparam("after_id", type_=UUID)),
        or_(bindparam("status", type_=String).is_(None), listings.c.status == bindparam("status", type_=String)),
    )
    .order_by(listings.c.id.desc())
    .limit(bindparam("limit", type_=BigInteger))
)

COUNT_VIEW = (
    update(listing_stats)
    .values(views=listing_stats.c.views + 1)
    .where(listing_stats.c.listing_id == bindparam("of", type_=UUID))
)

NEWEST_PATHS = (
    select(listings.c.id, listings.c.slug, listings.c.updated_at)
    .where(ACTIVE)
    .order_by(listings.c.published_at.desc(), listings.c.id.desc())
    .limit(bindparam("limit", type_=BigInteger))
)
LIKED = (
    select(wishlists.c.listing_id).where(wishlists.c.user_id == _ME).order_by(wishlists.c.created_at.desc()).limit(500)
)
IS_SAVED = select(
    exists().where(wishlists.c.user_id == _ME, wishlists.c.listing_id == bindparam("listing_id", type_=UUID))
)
SAVED_CARDS = (
    select(*card_columns(distance=False))
    .select_from(CARD_TABLES.join(wishlists, wishlists.c.listing_id == listings.c.id))
    .where(wishlists.c.user_id == _ME, listings.c.status == any_(literal_column("'{active,sold}'::text[]")))
    .order_by(wishlists.c.created_at.desc())
    .limit(200)
)
PRICE_CURVE = (
    select(price_history.c.at, price_history.c.amount_minor, price_history.c.currency, price_history.c.availability)
    .where(price_history.c.listing_id == bindparam("listing_id", type_=UUID), price_history.c.amount_minor.is_not(None))
    .order_by(price_history.c.at)
    .limit(400)
)
LISTING_OF_VARIANT = select(variants.c.listing_id).where(variants.c.id == bindparam("variant_id", type_=UUID))

"""The assistant's tools for finding and comparing: thin doors to the store's own flows, with facts ready to be said."""

from decimal import Decimal
from typing import Annotated, Final, Literal
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.accounts.types import Caller
from tradepost.assistant.results import (
    Amount,
    AskedOption,
    Categories,
    CategoryFacts,
    Comparison,
    Difference,
    Found,
    Hit,
    ListingFacts,
    MadeToOrder,
    Option,
)
from tradepost.assistant.types import ChooseOption, NoSuchOption
from tradepost.assistant.wording import amount_text
from tradepost.cart.questions import Question, questions_of
from tradepost.catalog.listing_pages import category_tree, find_place, get_listing
from tradepost.catalog.types import Listing, ListingCard, NoSuchListing, Variant
from tradepost.core.money import plain_number, to_minor
from tradepost.core.text import one_line
from tradepost.flows.product_page import trail_of
from tradepost.flows.search_listings import search
from tradepost.flows.store import Store
from tradepost.search.similar import similar_listings
from tradepost.search.types import SearchRequest, Sort

MOST_HITS: Final = 12
_LONGEST_DESCRIPTION: Final = 600
Words = Annotated[str, Meta(max_length=200)]
Price = Annotated[Decimal, Meta()]


class FindListings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words, and what it must be. Prices in the store's currency, major units; `place` a town's name, `category` a slug."""

    query: Words = ""
    category: Annotated[str, Meta(max_length=80)] | None = None
    brand: Annotated[str, Meta(max_length=100)] | None = None
    min_price: Price | None = None
    max_price: Price | None = None
    in_stock: bool = False
    attributes: Annotated[dict[str, Annotated[str, Meta(max_length=120)]], Meta(max_length=10)] = {}
    place: Annotated[str, Meta(max_length=120)] | None = None
    radius_km: Annotated[float, Meta(ge=0.1, le=20_000)] | None = None
    sort: Literal["best", "newest", "popular", "nearest", "cheapest", "dearest", "rated"] = "best"
    limit: Annotated[int, Meta(ge=1, le=MOST_HITS)] = 5


class OneListing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A listing by its id."""

    listing_id: UUID


class SeveralListings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two to four listings by their ids."""

    listing_ids: Annotated[tuple[UUID, ...], Meta(min_length=2, max_length=4)]


class CategoriesOf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The slug of a category to look into; none: the top ones."""

    parent: Annotated[str, Meta(max_length=80)] | None = None


def amount(store: Store, minor: int, currency: str | None = None) -> Amount:
    """Return an amount with how this store writes it."""
    code = currency or store.currency
    return Amount(minor, code, amount_text(store.settings.store.locale, code, minor))


async def search_listings(store: Store, caller: Caller, wanted: FindListings) -> Found:
    """Find what the store offers. Raises `NoSuchCategory`, `NotAnAmount`."""
    request = await _request(store, wanted)
    found = await search(store, caller, request)
    pairs = {"q": wanted.query, "min": wanted.min_price, "max": wanted.max_price, "category": wanted.category}
    return Found(
        items=tuple(hit(store, card) for card in found.items), at_least=found.at_least,
        is_more=found.at_least > len(found.items), corrected=found.corrected_query, is_relaxed=found.is_relaxed,
        link="/search?" + urlencode({k: str(v) for k, v in pairs.items() if v}),
    )  # fmt: skip


async def _request(store: Store, wanted: FindListings) -> SearchRequest:
    if wanted.category is not None:
        (await category_tree(store.db)).get(wanted.category)
    place = await find_place(store.db, wanted.place) if wanted.place else None
    near = (place.lat, place.lon) if place and place.lat is not None and place.lon is not None else None
    sort: Sort = "best" if wanted.sort == "nearest" and near is None else wanted.sort
    return SearchRequest(
        query=one_line(wanted.query), category=wanted.category, brands=(wanted.brand,) if wanted.brand else (),
        min_minor=_minor(store, wanted.min_price), max_minor=_minor(store, wanted.max_price), in_stock=wanted.in_stock,
        attributes={key: (value,) for key, value in wanted.attributes.items()}, near=near,
        radius_m=wanted.radius_km * 1000 if wanted.radius_km and near else None, sort=sort, limit=wanted.limit, facets=False,
    )  # fmt: skip


def _minor(store: Store, price: Decimal | None) -> int | None:
    return None if price is None else to_minor(price, store.currency)


def hit(store: Store, card: ListingCard) -> Hit:
    """Return a listing's card as the assistant says it."""
    dearer = card.price_to_minor is not None and card.price_to_minor != card.price_minor
    return Hit(
        listing_id=card.id, title=card.title, path=card.path,
        price=amount(store, card.price_minor, card.currency) if card.price_minor is not None else None,
        price_to=amount(store, card.price_to_minor, card.currency) if dearer and card.price_to_minor is not None else None,
        in_stock=card.in_stock, condition=card.condition_name or "", place=card.place,
        away_km=round(card.distance_m / 1000, 1) if card.distance_m is not None else None,
        rating=round(card.rating, 1) if card.rating is not None else None, reviews=card.rating_count, image_id=card.image_id,
    )  # fmt: skip


async def read_listing(store: Store, caller: Caller, listing_id: UUID) -> Listing:
    """Return a listing as the caller may see it. Raises `NoSuchListing`."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await get_listing(tx, listing_id, currency=store.currency)


async def look_up_listing(store: Store, caller: Caller, wanted: OneListing) -> ListingFacts:
    """Return everything that is known of a listing. Raises `NoSuchListing`."""
    return await _facts(store, await read_listing(store, caller, wanted.listing_id))


async def _facts(store: Store, listing: Listing) -> ListingFacts:
    trail = trail_of(await category_tree(store.db), listing.category_id)
    options = tuple(_option(store, v) for v in listing.offered)
    prices = sorted((o.price for o in options), key=lambda p: p.minor)
    labels = {
        f.key: (f.label, f.unit) for kind in store.settings.kinds if kind.code == listing.kind for f in kind.fields
    }
    return ListingFacts(
        listing_id=listing.id, title=listing.title, path=listing.path, kind=listing.kind, brand=listing.brand or "",
        condition=listing.condition_name or "", description=listing.description[:_LONGEST_DESCRIPTION], place=listing.place,
        seller=listing.seller_name or listing.source_name or "", category=trail[-1][0] if trail else "",
        price=prices[0] if prices else None, price_to=prices[-1] if prices and prices[-1].minor > prices[0].minor else None,
        in_stock=listing.in_stock, rating=round(listing.rating, 1) if listing.rating is not None else None,
        reviews=listing.rating_count, image_id=next((i.file_id for i in listing.images if i.file_id), None),
        attributes=_attributes(listing, labels), choices=_choices(listing.offered), options=options,
        is_made_to_order=bool(listing.configuration_schema), outside_url=listing.outside_url,
    )  # fmt: skip


def _option(store: Store, variant: Variant) -> Option:
    return Option(
        variant_id=variant.id, sku=variant.sku, options=variant.options,
        price=amount(store, variant.price_minor or 0, variant.currency), in_stock=variant.in_stock,
        available=None if variant.available is None else plain_number(variant.available), unit=variant.unit_name,
        step=variant.sale_step,
    )  # fmt: skip


def _choices(variants: tuple[Variant, ...]) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for variant in variants:
        for name, value in variant.options.items():
            found.setdefault(name, {})[str(value)] = None
    return {name: tuple(values) for name, values in found.items()}


def _attributes(listing: Listing, labels: dict[str, tuple[str, str]]) -> dict[str, str]:
    said = {}
    for key, value in listing.attributes.items():
        label, unit = labels.get(key, (key.replace("_", " ").capitalize(), ""))
        text = {True: "yes", False: "no"}.get(value) if isinstance(value, bool) else str(value)
        if text and not isinstance(value, dict | list):
            said[label] = f"{text} {unit}".strip()
    return said


async def compare_listings(store: Store, caller: Caller, wanted: SeveralListings) -> Comparison:
    """Return listings side by side, and in what they differ. Raises `NoSuchListing`."""
    facts = [await look_up_listing(store, caller, OneListing(listing_id=i)) for i in dict.fromkeys(wanted.listing_ids)]
    rows: dict[str, list[str]] = {}
    for n, one in enumerate(facts):
        for name, value in (("Brand", one.brand), ("Condition", one.condition), *one.attributes.items()):
            rows.setdefault(name, [""] * len(facts))[n] = value
    differing = tuple(Difference(name, tuple(values)) for name, values in rows.items() if len(set(values)) > 1)
    return Comparison(tuple(facts), differing)


async def list_categories(store: Store, _caller: Caller, wanted: CategoriesOf) -> Categories:
    """Return the categories below one, or the top ones. Raises `NoSuchCategory`."""
    tree = await category_tree(store.db)
    parent = tree.get(wanted.parent) if wanted.parent else None
    items = tuple(CategoryFacts(c.slug, c.name, c.description, f"/c/{c.slug}") for c in tree.children(parent))
    return Categories(items, parent.name if parent else "")


async def find_similar(store: Store, caller: Caller, wanted: OneListing) -> Found:
    """Return listings that are most like one. Raises `NoSuchListing`."""
    await read_listing(store, caller, wanted.listing_id)
    cards = await similar_listings(store.db, wanted.listing_id, limit=5)
    return Found(items=tuple(hit(store, card) for card in cards), at_least=len(cards), is_more=False)


async def made_to_order_options(store: Store, caller: Caller, wanted: OneListing) -> MadeToOrder:
    """Return what may be chosen of a thing that is made to order, such as a cake; nothing for others. Raises `NoSuchListing`."""
    listing = await read_listing(store, caller, wanted.listing_id)
    asked = tuple(_asked(store, question) for question in questions_of(listing.configuration_schema))
    return MadeToOrder(listing.id, listing.title, listing.path, asked)


def _asked(store: Store, question: Question) -> AskedOption:
    def said(title: str, price: str) -> str:
        extra = to_minor(price, store.currency) if price else 0
        return f"{title} (+{amount(store, extra).text})" if extra else title

    choices = tuple(said(choice.title, choice.price) for choice in question.choices)
    return AskedOption(title=question.title, is_required=question.is_required, choices=choices, key=question.key)


def option_of(listing: Listing, wanted: dict[str, str]) -> Variant:
    """Return the one variant that has these options. Raises `ChooseOption` where several have, `NoSuchOption` where none has."""
    offered = listing.offered
    if not offered:
        raise NoSuchListing
    given = {name.casefold(): str(value).casefold() for name, value in wanted.items()}
    fitting = [v for v in offered if _fits(v, given)]
    if not fitting:
        raise NoSuchOption(listing.title, ", ".join(wanted.values()))
    in_stock = [v for v in fitting if v.in_stock]
    if len(fitting) == 1:
        return fitting[0]
    if len(in_stock) == 1 and given:
        return in_stock[0]
    left = {name for v in fitting for name in v.options if len({o.options.get(name) for o in fitting}) > 1}
    raise ChooseOption(listing.title, ", ".join(sorted(left)) or "one")


def _fits(variant: Variant, given: dict[str, str]) -> bool:
    own = {name.casefold(): str(value).casefold() for name, value in variant.options.items()}
    return all(own.get(name) == value for name, value in given.items())

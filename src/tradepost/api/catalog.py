"""Listings, categories, places and people, for programs."""

from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import delete, get, post, put
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT

from tradepost.accounts.queries import find_profile
from tradepost.accounts.types import PublicProfile
from tradepost.catalog.listing_pages import (
    category_tree,
    find_place,
    get_listing,
    list_listings,
    list_own_listings,
    list_saved,
    suggest_places,
)
from tradepost.catalog.pictures import StoredPicture, add_picture, receive_picture
from tradepost.catalog.service import (
    access_own_listing,
    add_image,
    create_listing,
    toggle_saved,
    update_listing,
    withdraw_listing,
)
from tradepost.catalog.types import Category, Listing, ListingCard, ListingDraft, ListingFilter, Place, SellerRow, Sort
from tradepost.core.errors import FieldErrors
from tradepost.core.pages import Page
from tradepost.flows import offering
from tradepost.flows.review_listing import review_listing
from tradepost.reviews.queries import list_reviews
from tradepost.reviews.types import Review, ReviewDraft
from tradepost.web.typing import GivenCaller, GivenStore

Cursor = Annotated[str | None, QueryParameter(max_length=400, description="`after` of the page before.")]
Limit = Annotated[int, QueryParameter(ge=1, le=100, description="How many rows.")]
Minor = Annotated[int | None, QueryParameter(ge=0, le=10**15, description="Minor units of the store's currency.")]


class StoreFacts(msgspec.Struct, frozen=True):
    """What a program must know of a store."""

    code: str
    name: str
    tagline: str
    currency: str
    locale: str
    timezone: str
    country: str
    kinds: tuple[dict[str, Any], ...]
    feeds: tuple[str, ...]
    conditions: tuple[str, ...]
    units: dict[str, Decimal]


class Created(msgspec.Struct, frozen=True):
    """The id of what was made."""

    id: UUID


class ListingWithVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A listing as its seller writes it, and the version the change began from; without one the last writer wins."""

    listing: ListingDraft
    version: int | None = None


class Saved(msgspec.Struct, frozen=True):
    """Whether the listing is on the person's list now."""

    saved: bool


@get("/store", tags=["Store"], sync_to_thread=False)
def store_facts(store: GivenStore) -> StoreFacts:
    """Say who the store is and what may be listed in it."""
    known = store.settings.store
    return StoreFacts(
        known.code, known.name, known.tagline, known.currency, known.locale, known.timezone, known.country,
        tuple(msgspec.to_builtins(k) for k in store.settings.kinds), tuple(f.code for f in store.settings.feeds),
        tuple(c.code for c in store.settings.conditions), {u.code: u.step for u in store.settings.units},
    )  # fmt: skip


@get("/categories", tags=["Catalogue"])
async def categories(store: GivenStore) -> tuple[Category, ...]:
    """List the categories, parents before children."""
    return (await category_tree(store.db)).rows


@get("/places", tags=["Catalogue"])
async def places(store: GivenStore, q: Annotated[str, QueryParameter(min_length=1, max_length=60)]) -> list[Place]:
    """Suggest up to ten places whose name begins so."""
    return await suggest_places(store.db, q)


@get("/listings", tags=["Catalogue"])
async def listings(  # one parameter for each filter
    store: GivenStore,
    sort: FromQuery[Sort] = "newest",
    category: Annotated[
        str | None, QueryParameter(max_length=100, description="A category's slug; those below it count.")
    ] = None,
    feed: Annotated[str | None, QueryParameter(max_length=60)] = None,
    kind: Annotated[str | None, QueryParameter(max_length=60)] = None,
    condition: Annotated[str | None, QueryParameter(max_length=60)] = None,
    seller: FromQuery[UUID | None] = None,
    min_price: Minor = None,
    max_price: Minor = None,
    in_stock: FromQuery[bool] = False,
    lat: Annotated[float | None, QueryParameter(ge=-90, le=90)] = None,
    lon: Annotated[float | None, QueryParameter(ge=-180, le=180)] = None,
    within_m: Annotated[float | None, QueryParameter(ge=1, le=20_100_000)] = None,
    after: Cursor = None,
    limit: Limit = 24,
) -> Page[ListingCard]:
    """List what is on offer, a page at a time."""
    if (lat is None) != (lon is None):
        raise FieldErrors(
            {"lat": "Latitude and longitude come together.", "lon": "Latitude and longitude come together."}
        )
    tree = await category_tree(store.db) if category else None
    wanted = ListingFilter(
        category_ids=tree.subtree(tree.get(category)) if tree and category else (), feed=feed, kind=kind, condition=condition,
        seller_id=seller, min_minor=min_price, max_minor=max_price, in_stock=in_stock,
        near=(round(lat, 6), round(lon, 6)) if lat is not None and lon is not None else None, radius_m=within_m if lat is not None else None,
    )  # fmt: skip
    return await list_listings(store.db, wanted, sort=sort, after=after, limit=limit)


@get("/listings/{listing_id:uuid}", tags=["Catalogue"])
async def listing(store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID]) -> Listing:
    """Return one listing with its variants and pictures; one that is not on offer only to its seller and staff."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await get_listing(tx, listing_id, currency=store.currency)


@post("/listings", tags=["Selling"])
async def make_listing(store: GivenStore, caller: GivenCaller, data: JSONBody[ListingDraft]) -> Created:
    """Make a listing as a draft; publish it with `POST …/publish`."""
    tree, place = await category_tree(store.db), await find_place(store.db, data.place) if data.place else None
    async with store.db.transaction(actor=caller.actor) as tx:
        return Created(await create_listing(tx, caller, data, tree=tree, place=place, currency=store.currency))


@put("/listings/{listing_id:uuid}", tags=["Selling"])
async def change_listing(
    store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID], data: JSONBody[ListingWithVersion]
) -> Listing:
    """Change a listing to what is sent; variants that are left out are no longer offered."""
    draft = data.listing
    tree, place = await category_tree(store.db), await find_place(store.db, draft.place) if draft.place else None
    async with store.db.transaction(actor=caller.actor) as tx:
        await update_listing(
            tx, caller, listing_id, draft, version=data.version, tree=tree, place=place, currency=store.currency
        )
        await offering.check_limits(tx, store, caller, listing_id)
        return await get_listing(tx, listing_id, currency=store.currency)


@post("/listings/{listing_id:uuid}/publish", tags=["Selling"], status_code=HTTP_204_NO_CONTENT)
async def publish(store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID]) -> None:
    """Show a listing to everybody."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await offering.publish(tx, store, caller, listing_id)


@post("/listings/{listing_id:uuid}/withdraw", tags=["Selling"], status_code=HTTP_204_NO_CONTENT)
async def withdraw(store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID]) -> None:
    """Hide a listing from everybody but its seller."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await withdraw_listing(tx, caller, listing_id)


@delete("/listings/{listing_id:uuid}", tags=["Selling"])
async def remove(store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID]) -> None:
    """Take a listing off its seller's list; orders keep what they need of it."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await withdraw_listing(tx, caller, listing_id, remove=True)


class PictureUpload(msgspec.Struct):
    """A picture as a form sends it."""

    picture: UploadFile


@post("/listings/{listing_id:uuid}/pictures", tags=["Selling"])
async def upload_picture(
    store: GivenStore,
    caller: GivenCaller,
    listing_id: FromPath[UUID],
    data: Annotated[PictureUpload, Body(media_type=RequestEncodingType.MULTI_PART)],
) -> StoredPicture:
    """Add a picture to a listing: JPEG, PNG, WebP, GIF or AVIF, up to 12 MB unless the operator says otherwise."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        await access_own_listing(tx, caller, listing_id)
    most_mb = store.installation.files.upload_limit_mb
    received = await receive_picture(store.files, await data.picture.read(), most_mb=most_mb)
    async with store.db.transaction(actor=caller.actor) as tx:
        stored = await add_picture(tx, received)
        await add_image(tx, caller, listing_id, stored)
        return stored


@get("/me/listings", tags=["Selling"])
async def own_listings(
    store: GivenStore,
    caller: GivenCaller,
    status: Annotated[str | None, QueryParameter(max_length=20)] = None,
    after: FromQuery[UUID | None] = None,
    limit: Limit = 50,
) -> list[SellerRow]:
    """List the caller's own listings, newest first; `after` is the last id of the page before."""
    seller_id = caller.check_signed_in()
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await list_own_listings(tx, seller_id, status=status, after=after, limit=limit)


@post("/listings/{listing_id:uuid}/save", tags=["Catalogue"], status_code=HTTP_200_OK)
async def save(store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID]) -> Saved:
    """Put a listing on the person's list, or take it off."""
    async with store.db.transaction(actor=caller.actor) as tx:
        return Saved(await toggle_saved(tx, caller, listing_id))


@get("/me/saved", tags=["Catalogue"])
async def saved(store: GivenStore, caller: GivenCaller) -> list[ListingCard]:
    """List what the person saved, newest first."""
    user_id = caller.check_signed_in()
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await list_saved(tx, user_id)


@get("/listings/{listing_id:uuid}/reviews", tags=["Reviews"])
async def reviews(
    store: GivenStore, listing_id: FromPath[UUID], after: Cursor = None, limit: Limit = 12
) -> Page[Review]:
    """List the reviews of a listing, newest first."""
    return await list_reviews(store.db, listing_id, after=after, limit=limit)


@post("/listings/{listing_id:uuid}/reviews", tags=["Reviews"])
async def write_review(
    store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID], data: JSONBody[ReviewDraft]
) -> Created:
    """Review something one bought, or change one's review of it."""
    return Created(await review_listing(store, caller, listing_id, data))


@get("/people/{username:str}", tags=["People"])
async def person(store: GivenStore, caller: GivenCaller, username: FromPath[str]) -> PublicProfile:
    """Return a person as others see them."""
    return await find_profile(store.db, username, caller.user_id)


catalog_routes: list[Any] = [
    store_facts, categories, places, listings, listing, make_listing, change_listing, publish, withdraw, remove, upload_picture,
    own_listings, save, saved, reviews, write_review, person,
]  # fmt: skip

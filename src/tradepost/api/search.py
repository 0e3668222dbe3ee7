"""Searching, for programs."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_204_NO_CONTENT

from tradepost.api.catalog import Cursor, Limit, Minor
from tradepost.catalog.listing_pages import category_tree
from tradepost.catalog.types import ListingCard
from tradepost.core.errors import FieldErrors
from tradepost.flows.search_listings import search, suggestions
from tradepost.search.log import note_click
from tradepost.search.similar import similar_listings
from tradepost.search.types import SearchRequest, SearchResult, Sort, Suggestion
from tradepost.web.typing import GivenCaller, GivenStore

Texts = Annotated[list[str] | None, QueryParameter(max_length=20)]


class Click(msgspec.Struct, frozen=True):
    """The result that a search was left for."""

    listing_id: UUID


@get("/search", tags=["Search"])
async def search_listings(  # one parameter for each filter
    store: GivenStore,
    caller: GivenCaller,
    q: Annotated[
        str, QueryParameter(max_length=1000, description="Words, “phrases”, -without, under 20, 5 km, size 42.")
    ] = "",
    sort: FromQuery[Sort] = "best",
    category: Annotated[str | None, QueryParameter(max_length=100)] = None,
    feed: Annotated[str | None, QueryParameter(max_length=60)] = None,
    kind: Annotated[str | None, QueryParameter(max_length=60)] = None,
    condition: Texts = None,
    brand: Texts = None,
    attribute: Annotated[
        list[str] | None, QueryParameter(max_length=20, description="key:value, repeated; of one key any.")
    ] = None,
    seller: FromQuery[UUID | None] = None,
    verified_seller: FromQuery[bool] = False,
    min_price: Minor = None,
    max_price: Minor = None,
    in_stock: FromQuery[bool] = False,
    lat: Annotated[float | None, QueryParameter(ge=-90, le=90)] = None,
    lon: Annotated[float | None, QueryParameter(ge=-180, le=180)] = None,
    within_m: Annotated[float | None, QueryParameter(ge=1, le=20_100_000)] = None,
    max_age_days: Annotated[int | None, QueryParameter(ge=1, le=3650)] = None,
    facets: FromQuery[bool] = False,
    explain: Annotated[bool, QueryParameter(description="Show the parts of each score.")] = False,
    after: Cursor = None,
    limit: Limit = 24,
) -> SearchResult:
    """Search what is on offer, a page at a time, with counts of what could narrow it."""
    if (lat is None) != (lon is None):
        together = "Latitude and longitude come together."
        raise FieldErrors({"lat": together, "lon": together})
    if category is not None:
        (await category_tree(store.db)).get(category)
    request = SearchRequest(
        query=q, sort=sort, category=category, feed=feed, kind=kind, conditions=tuple(condition or ()), brands=tuple(brand or ()),
        attributes=_attributes(attribute or []), seller_id=seller, verified_seller=verified_seller, min_minor=min_price,
        max_minor=max_price, in_stock=in_stock, near=(lat, lon) if lat is not None and lon is not None else None,
        radius_m=within_m if lat is not None else None, max_age_days=max_age_days, facets=facets, explain=explain, after=after,
        limit=limit,
    )  # fmt: skip
    return await search(store, caller, request)


def _attributes(given: list[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for pair in given:
        key, colon, value = pair.partition(":")
        if not colon or not key or not value:
            raise FieldErrors({"attribute": "Write an attribute as key:value."})
        found.setdefault(key[:60], []).append(value[:200])
    return {key: tuple(values) for key, values in found.items()}


@get("/search/suggest", tags=["Search"])
async def suggest(
    store: GivenStore, q: Annotated[str, QueryParameter(min_length=1, max_length=200)]
) -> tuple[Suggestion, ...]:
    """Suggest up to eight ways to go on from what was typed."""
    return await suggestions(store, q)


@post("/search/{search_id:uuid}/click", tags=["Search"], status_code=HTTP_204_NO_CONTENT)
async def click(store: GivenStore, caller: GivenCaller, search_id: FromPath[UUID], data: JSONBody[Click]) -> None:
    """Say which result a search was left for; the first one counts."""
    await note_click(store.db, search_id, data.listing_id, user_id=caller.user_id, session=caller.session)


@get("/listings/{listing_id:uuid}/similar", tags=["Search"])
async def similar(store: GivenStore, listing_id: FromPath[UUID]) -> tuple[ListingCard, ...]:
    """List what is most like a listing."""
    return await similar_listings(store.db, listing_id)


search_routes: list[Any] = [search_listings, suggest, click, similar]

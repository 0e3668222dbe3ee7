"""Looking around: the store's front page, a listing's page, a person's page."""

from typing import Any

import msgspec
from litestar import Response, get

from tradepost.accounts.types import Caller
from tradepost.catalog.listing_pages import CategoryTree, category_tree, find_place, list_listings
from tradepost.catalog.types import ListingCard, ListingFilter, Sort
from tradepost.flows.preset import HomeSection
from tradepost.flows.store import Store
from tradepost.web.pages import page
from tradepost.web.typing import HttpRequest

_SORTS: dict[str, Sort] = {"newest": "newest", "popular": "popular", "nearest": "nearest", "price": "cheapest"}


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A band of the front page, ready to draw."""

    kind: str
    title: str
    text: str
    items: tuple[Any, ...] = ()
    action_label: str | None = None
    action_path: str | None = None
    more_path: str | None = None


@get("/", include_in_schema=False)
async def home(request: HttpRequest, store: Store, caller: Caller) -> Response[str]:
    """Show the store's front page, as its preset composes it."""
    tree = await category_tree(store.db)
    sections = [await _section(store, section, tree) for section in store.settings.home]
    return await page(request, store, caller, "home", sections=sections, liked_ids=await liked_ids(store, caller))


async def _section(store: Store, section: HomeSection, tree: CategoryTree) -> Section:
    copy = store.settings.copy
    if section.kind == "hero":
        items = await _listings(store, ListingFilter(in_stock=True), "popular", 4)
        return Section(
            kind="hero", title=section.title or copy.hero_title, text=section.text or copy.hero_text,
            action_label=copy.hero_action, action_path="/search", items=items,
        )  # fmt: skip
    if section.kind == "categories":
        return Section(kind="categories", title=section.title, text=section.text, items=tree.top)
    if section.kind == "story":
        sells = store.settings.features.selling in {"everyone", "sellers"}
        return Section(
            kind="story", title=section.title, text=section.text,
            action_label=copy.sell_title if sells else None, action_path="/me/listings/new" if sells else None,
        )  # fmt: skip
    wanted = ListingFilter(
        feed=section.feed, kind=section.kind_code,
        category_ids=tree.subtree(tree.get(section.category)) if section.category else (),
        near=await _home_position(store) if section.sort == "nearest" else None,
    )  # fmt: skip
    items = await _listings(store, wanted, _SORTS[section.sort], section.limit)
    return Section(kind="listings", title=section.title, text=section.text, items=items, more_path=_more(section))


async def _listings(store: Store, wanted: ListingFilter, sort: Sort, limit: int) -> tuple[ListingCard, ...]:
    return (await list_listings(store.db, wanted, sort=sort, limit=limit)).items


async def _home_position(store: Store) -> tuple[float, float] | None:
    place = await find_place(store.db, store.settings.store.place)
    return (place.lat, place.lon) if place and place.lat is not None and place.lon is not None else None


def _more(section: HomeSection) -> str:
    base = f"/c/{section.category}" if section.category else "/search"
    sort = {"newest": "newest", "popular": "popular", "nearest": "nearest", "price": "cheapest"}[section.sort]
    parts = [
        f"sort={sort}",
        *([f"feed={section.feed}"] if section.feed else []),
        *([f"kind={section.kind_code}"] if section.kind_code else []),
    ]
    return f"{base}?{'&'.join(parts)}"


async def liked_ids(store: Store, caller: Caller) -> frozenset[UUID]:
    """Return which listings the person has saved, to draw their hearts full."""
    if caller.user_id is None:
        return frozenset()
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await saved_ids(tx, caller.user_id)


def listing_id_of(name: str) -> UUID:
    """Return the id at the end of a listing's address. Raises `NoSuchListing`."""
    found = from_short_id(name[-22:])
    if found is None:
        raise NoSuchListing
    return found

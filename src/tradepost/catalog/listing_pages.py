"""Reading pages of listings, one listing, categories and places."""

import time
from datetime import datetime
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import msgspec

from tradepost.catalog import queries
from tradepost.catalog.types import (
    Category,
    Listing,
    ListingCard,
    ListingFilter,
    NoSuchCategory,
    NoSuchListing,
    Place,
    PricePoint,
    SellerRow,
    Sort,
)
from tradepost.core.database import Database, Transaction
from tradepost.core.ids import short_id
from tradepost.core.pages import Moment, NoSuchPage, Page, from_cursor, page_size, to_cursor

_TREE_LIFETIME_S = 10.0
_SORT_VALUES: dict[str, Any] = {"newest": Moment, "popular": float, "nearest": float, "cheapest": int, "dearest": int}


class CategoryTree:
    """All active categories of a store, parents before children; a few hundred rows that every page needs."""

    def __init__(self, rows: list[Category]) -> None:
        self.rows = tuple(rows)
        self.by_slug = {c.slug: c for c in rows}
        self.by_id = {c.id: c for c in rows}
        self.top = tuple(c for c in rows if c.parent_id is None)

    def get(self, slug: str) -> Category:
        """Return the category of that slug. Raises `NoSuchCategory`."""
        try:
            return self.by_slug[slug]
        except KeyError:
            raise NoSuchCategory from None

    def subtree(self, category: Category) -> tuple[UUID, ...]:
        """Return the ids of a category and of all below it."""
        below = category.path + "/"
        return tuple(c.id for c in self.rows if c.id == category.id or c.path.startswith(below))

    def children(self, category: Category | None) -> tuple[Category, ...]:
        """Return the categories directly below one, or at the top."""
        parent = category.id if category else None
        return tuple(c for c in self.rows if c.parent_id == parent)

    def ancestry(self, category_id: UUID) -> tuple[Category, ...]:
        """Return the categories from the root down to this one."""
        found = self.by_id.get(category_id)
        return tuple(self.by_slug[slug] for slug in found.path.split("/") if slug in self.by_slug) if found else ()


_trees: WeakKeyDictionary[Database, tuple[float, CategoryTree]] = WeakKeyDictionary()


async def category_tree(db: Database) -> CategoryTree:
    """Return the store's categories; a process reads them again after ten seconds, or after `forget_categories`."""
    known = _trees.get(db)
    if known and time.monotonic() - known[0] < _TREE_LIFETIME_S:
        return known[1]
    tree = CategoryTree(await db.read(queries.CATEGORIES, into=Category))
    _trees[db] = time.monotonic(), tree
    return tree


def known_categories(db: Database) -> tuple[Category, ...]:
    """Return the top categories as far as this process knows them, without asking the database."""
    known = _trees.get(db)
    return known[1].top if known else ()


def forget_categories(db: Database) -> None:
    """Have this process read the categories anew: call it after changing them."""
    _trees.pop(db, None)


async def list_listings(
    db: Database, wanted: ListingFilter, *, sort: Sort = "newest", after: str | None = None, limit: int = 24
) -> Page[ListingCard]:
    """Return one page of active listings in one query. `after` is the cursor of the page before.

    Raises `NoSuchPage`. `limit` is cut to 100.
    """
    limit = page_size(limit)
    sort = "newest" if sort == "nearest" and wanted.near is None else sort
    params = _params(wanted, sort)
    if after is not None:
        params["after_value"], params["after_id"] = _read_cursor(after, sort)
    statement = queries.listing_page(sort, _present(wanted), after=after is not None)
    rows = await db.read(statement, into=ListingCard, limit=limit + 1, **params)
    items = tuple(rows[:limit])
    return Page(items, to_cursor(sort, items[-1].sort_value, items[-1].id) if len(rows) > limit else None)


def _present(wanted: ListingFilter) -> frozenset[str]:
    """Name the filters in force; 0 is a price and a radius like any other."""
    values = ((name, getattr(wanted, name)) for name in ListingFilter.__struct_fields__)
    return frozenset(n for n, value in values if value is not None and value is not False and value not in ((), {}))


def _params(wanted: ListingFilter, sort: Sort) -> dict[str, Any]:
    present = _present(wanted)
    params = {n: getattr(wanted, n) for n in present if n not in {"near", "in_stock", "category_ids"}}
    if "category_ids" in present:
        params["category_ids"] = list(wanted.category_ids)
    if wanted.near and (sort == "nearest" or "near" in present):
        params["lat"], params["lon"] = wanted.near
    return params


def _read_cursor(cursor: str, sort: Sort) -> tuple[Any, UUID]:
    of, value, key = from_cursor(cursor, str, _SORT_VALUES[sort], UUID)
    if of != sort:
        raise NoSuchPage
    return value, key


async def get_listing(
    tx: Transaction, listing_id: UUID, *, currency: str, near: tuple[float, float] | None = None
) -> Listing:
    """Return a listing as the transaction's actor may see it: an inactive one only to its seller and to staff.

    Raises `NoSuchListing`.
    """
    lat, lon = near or (None, None)
    found = await tx.maybe(
        queries.LISTING_BY_ID,
        into=Listing,
        listing_id=listing_id,
        currency=currency,
        me=tx.actor.user_id,
        lat=lat,
        lon=lon,
    )
    if found is None or not _may_see(found, tx):
        raise NoSuchListing
    return found


def _may_see(listing: Listing, tx: Transaction) -> bool:
    if listing.status in {"active", "sold"}:
        return True
    own = tx.actor.user_id is not None and tx.actor.user_id == listing.seller_id
    return tx.actor.role in {"staff", "system"} or (own and listing.status != "removed")


async def list_own_listings(
    tx: Transaction, seller_id: UUID, *, status: str | None = None, after: UUID | None = None, limit: int = 50
) -> list[SellerRow]:
    """Return a seller's listings, newest first, whatever their status; `after` is the last id of the page before."""
    return await tx.all(
        queries.SELLER_LISTINGS,
        into=SellerRow,
        seller_id=seller_id,
        status=status,
        after_id=after,
        limit=page_size(limit),
    )


async def suggest_places(db: Database, prefix: str) -> list[Place]:
    """Return up to ten places whose name begins so, the largest first."""
    pattern = prefix.strip().lower().replace("\\", "").replace("%", "").replace("_", "")[:60]
    return await db.read(queries.PLACES_BY_PREFIX, into=Place, prefix=pattern + "%") if pattern else []


async def find_place(db: Database, name: str) -> Place | None:
    """Return the place of that name (“Name” or “Name, Region”), the largest where several share it."""
    return await db.read_maybe(queries.PLACE_BY_NAME, into=Place, name=name.split(",", maxsplit=1)[0].strip()[:120])


async def nearest_place(db: Database, lat: float, lon: float) -> Place | None:
    """Return the named place nearest to a position in degrees."""
    return await db.read_maybe(queries.PLACE_NEAREST, into=Place, lat=lat, lon=lon)


class ListingPath(msgspec.Struct, frozen=True):
    """Where a listing's page is, and when it last changed."""

    id: UUID
    slug: str
    updated_at: datetime

    @property
    def path(self) -> str:
        """The address of the listing's page."""
        return f"/l/{self.slug}-{short_id(self.id)}"


async def newest_paths(db: Database, limit: int) -> list[ListingPath]:
    """Return the addresses of the newest active listings, for site maps."""
    return await db.read(queries.NEWEST_PATHS, into=ListingPath, limit=limit)


async def saved_ids(tx: Transaction, user_id: UUID) -> frozenset[UUID]:
    """Return the listings a person has saved, the newest 500."""
    return frozenset(await tx.values(queries.LIKED, me=user_id))


async def is_saved(tx: Transaction, user_id: UUID, listing_id: UUID) -> bool:
    """Whether a person has saved a listing."""
    return bool(await tx.value(queries.IS_SAVED, me=user_id, listing_id=listing_id))


async def list_saved(tx: Transaction, user_id: UUID) -> list[ListingCard]:
    """Return the listings a person has saved, the newest first."""
    return await tx.all(queries.SAVED_CARDS, into=ListingCard, me=user_id)


async def price_curve(db: Database, listing_id: UUID) -> tuple[PricePoint, ...]:
    """Return what a listing has cost and whether it was to be had, each time that changed, the oldest first."""
    return tuple(await db.read(queries.PRICE_CURVE, into=PricePoint, listing_id=listing_id))


async def listing_of_variant(db: Database, variant_id: UUID) -> UUID | None:
    """Return the listing a variant belongs to."""
    rows = await db.read(queries.LISTING_OF_VARIANT, variant_id=variant_id)
    return rows[0][0] if rows else None

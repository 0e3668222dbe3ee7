"""What a listing's page shows, kept in the cache under `product:{id}` for an hour, as documented.

Promises that nobody sees a price, a stock or a word that has been changed: what is kept carries a mark of the rows it was read
from, and is believed only while the database still has the same ones, which one short statement tells. Kept is only what
everybody may see. Read and marked in one snapshot, so that a change in between can never be hidden; the commands of the catalogue
forget the key after their commit all the same, for those who read the cache themselves.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.catalog.listing_pages import CategoryTree, category_tree, get_listing, list_listings, price_curve
from tradepost.catalog.outside import same_thing
from tradepost.catalog.outside_types import SameThing
from tradepost.catalog.types import Listing, ListingCard, ListingFilter, NoSuchListing, PricePoint, product_key
from tradepost.core.clock import now
from tradepost.core.database import ANYBODY, Actor, Transaction
from tradepost.core.ids import short_id
from tradepost.core.money import plain_number, to_major
from tradepost.flows.store import Store
from tradepost.reviews.queries import list_reviews, summarise_reviews
from tradepost.reviews.types import Review

LIFETIME: Final = timedelta(hours=1)
_YOUNG, _SOON_OLD = timedelta(days=1), timedelta(minutes=1)  # “2 minutes ago” is wrong soon, “2 days ago” is not

# Every row that the page shows something of, by where its present version lies and who wrote it; a price also by the clock.
_MARK = text("""
    SELECT md5(concat_ws('/',
        (SELECT string_agg(concat(l.xmin, l.ctid), '' ORDER BY l.id) FROM listings l WHERE l.id = ANY (CAST(:listings AS uuid[]))),
        (SELECT string_agg(concat(v.xmin, v.ctid, v.backorder_until > now()), '' ORDER BY v.id) FROM variants v WHERE v.listing_id = :id),
        (SELECT string_agg(concat(p.xmin, p.ctid), '' ORDER BY p.id) FROM variants v JOIN prices p ON p.variant_id = v.id
         WHERE v.listing_id = :id AND p.valid_from <= now() AND (p.valid_to IS NULL OR p.valid_to > now())),
        (SELECT string_agg(concat(i.xmin, i.ctid), '' ORDER BY i.position) FROM listing_images i WHERE i.listing_id = :id),
        (SELECT string_agg(concat(r.xmin, r.ctid), '' ORDER BY r.id) FROM (
            SELECT id, xmin, ctid FROM reviews WHERE listing_id = :id AND status = 'shown' ORDER BY created_at DESC, id DESC LIMIT 21) r),
        (SELECT string_agg(concat(u.xmin, u.ctid), '' ORDER BY u.id) FROM users u WHERE u.id = ANY (CAST(:people AS uuid[])))
    ))
""")
_AWAY = text("SELECT geo_distance_m(location, :lat, :lon) FROM listings WHERE id = :id")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a listing's page says, to whomever. `trail`: name and slug of its categories, from the root."""

    listing: Listing
    trail: tuple[tuple[str, str], ...]
    reviews: tuple[Review, ...]
    counts: dict[int, int]
    related: tuple[ListingCard, ...]
    curve: tuple[PricePoint, ...]
    elsewhere: tuple[SameThing, ...] = ()


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """A listing as the cache holds it: the six documented fields, then what makes its page.

    `price` is that of the cheapest variant and `stock` what all of them have left, None where that is not counted. `drawn` are the
    parts of the page as a visitor sees them, in the `look` the store had then. `mark` is of the rows that it was read from.
    """

    id: UUID
    name: str
    price: float | None
    stock: int | float | None
    category: str
    is_customizable: bool
    slug: str
    is_active: bool
    mark: str
    listings: tuple[UUID, ...]
    people: tuple[UUID, ...]
    trail: tuple[tuple[str, str], ...]
    category_id: UUID
    good_until: datetime
    look: str
    drawn: tuple[str, ...]
    page: msgspec.Raw

    @property
    def path(self) -> str:
        """The address of the listing's page."""
        return f"/l/{self.slug}-{short_id(self.id)}"

    def facts(self) -> Facts:
        """Return what the page says."""
        return msgspec.json.decode(self.page, type=Facts)


class Easel(msgspec.Struct, frozen=True):
    """How pages are drawn at this moment: `look` changes with the store's settings and with the templates."""

    look: str
    draw: Callable[[Facts], Awaitable[tuple[str, ...]]]


async def read_product(store: Store, listing_id: UUID, easel: Easel) -> Product:
    """Return a listing that everybody may see, from the cache while it is as it was. Raises `NoSuchListing`."""
    return await store.cache.get_or_make(
        product_key(listing_id), into=Product, ttl_s=LIFETIME.total_seconds(),
        make=partial(_make, store, listing_id, easel), still=partial(_is_still_so, store, easel),
    )  # fmt: skip


async def read_facts(store: Store, actor: Actor, listing_id: UUID) -> Facts:
    """Return what a listing's page says, straight from the database, as its seller or the staff may see it. Raises `NoSuchListing`."""
    async with store.db.transaction(actor=actor, read_only=True) as tx:
        return await _read_facts(tx, store, listing_id)


async def _read_facts(tx: Transaction, store: Store, listing_id: UUID) -> Facts:
    listing = await get_listing(tx, listing_id, currency=store.currency)
    with store.db.joined_by(tx):
        tree = await category_tree(store.db)
        return Facts(
            listing=listing, trail=trail_of(tree, listing.category_id),
            reviews=tuple((await list_reviews(store.db, listing_id, limit=20)).items),
            counts=(await summarise_reviews(store.db, listing_id)).counts, related=await _related(store, listing, tree),
            curve=await price_curve(store.db, listing_id) if listing.source_name else (),
            elsewhere=tuple(await same_thing(store.db, listing_id)) if listing.source_name else (),
        )  # fmt: skip


async def see_facts(
    store: Store, caller: Caller, listing_id: UUID, easel: Easel, near: tuple[float, float] | None
) -> Facts:
    """Return what a listing's page says to somebody: kept or not, with how far away it is. Raises `NoSuchListing`."""
    try:
        facts = (await read_product(store, listing_id, easel)).facts()
    except NoSuchListing:
        if not caller.is_signed_in:
            raise
        facts = await read_facts(store, caller.actor, listing_id)  # its seller's, or for the staff's eyes
    if near is None:
        return facts
    rows = await store.db.read(_AWAY, id=listing_id, lat=near[0], lon=near[1])
    away = rows[0][0] if rows else None
    return msgspec.structs.replace(facts, listing=msgspec.structs.replace(facts.listing, distance_m=away))


def trail_of(tree: CategoryTree, category_id: UUID) -> tuple[tuple[str, str], ...]:
    """Return the names and slugs of a category and of those it lies in, from the root."""
    return tuple((c.name, c.slug) for c in tree.ancestry(category_id))


async def _related(store: Store, listing: Listing, tree: CategoryTree) -> tuple[ListingCard, ...]:
    category = tree.by_id.get(listing.category_id)
    wanted = ListingFilter(category_ids=tree.subtree(category) if category else ())
    cards = await list_listings(store.db, wanted, sort="popular", limit=7)
    return tuple(card for card in cards.items if card.id != listing.id)[:6]


async def _make(store: Store, listing_id: UUID, easel: Easel) -> Product:
    async with store.db.transaction(actor=ANYBODY, read_only=True, snapshot=True) as tx:
        facts = await _read_facts(tx, store, listing_id)
        shown, people = _shown(facts)
        mark = await tx.value(_MARK, id=listing_id, listings=list(shown), people=list(people))
    listing = facts.listing
    counted = [v.available for v in listing.offered if v.available is not None]
    prices = [v.price_minor for v in listing.offered if v.price_minor is not None]
    return Product(
        id=listing.id, name=listing.title, price=float(to_major(min(prices), store.currency)) if prices else None,
        stock=plain_number(sum(counted, Decimal(0))) if counted and len(counted) == len(listing.offered) else None,
        category=facts.trail[-1][1] if facts.trail else "", is_customizable=listing.is_customizable,
        slug=listing.slug, is_active=listing.status == "active", mark=mark,
        listings=shown, people=people, trail=facts.trail, category_id=listing.category_id, good_until=_good_until(facts),
        look=easel.look, drawn=await easel.draw(facts), page=msgspec.Raw(msgspec.json.encode(facts)),
    )  # fmt: skip


def _shown(facts: Facts) -> tuple[tuple[UUID, ...], tuple[UUID, ...]]:
    """Return the listings and the people of whom a page shows something."""
    sellers = (facts.listing.seller_id, *(card.seller_id for card in facts.related))
    people = {*(s for s in sellers if s is not None), *(r.author_id for r in facts.reviews)}
    return (facts.listing.id, *(card.id for card in facts.related), *(one.id for one in facts.elsewhere)), tuple(
        sorted(people)
    )


def _good_until(facts: Facts) -> datetime:
    """Return until when the times on a page are right, which say how long ago something was."""
    moment = now()
    told = [
        facts.listing.published_at,
        *(r.created_at for r in facts.reviews),
        *(c.published_at for c in facts.related),
    ]
    newest = max((t for t in told if t is not None), default=None)
    return moment + (_SOON_OLD if newest is not None and moment - newest < _YOUNG else LIFETIME)


async def _is_still_so(store: Store, easel: Easel, product: Product) -> bool:
    if product.look != easel.look or product.good_until <= now():
        return False
    if product.trail != trail_of(await category_tree(store.db), product.category_id):
        return False
    rows = await store.db.read(
        _MARK, fresh=True, id=product.id, listings=list(product.listings), people=list(product.people)
    )
    return bool(rows[0][0] == product.mark)

"""Listings that the staff take off everybody's sight, and give back.

Promises that what a decision hid stays hidden until that decision ends, whatever the seller does (a CHECK holds it), and that
what was not on offer before does not come on offer by being given back. Who may decide is asked by the flow.
"""

from uuid import UUID

from sqlalchemy import Boolean, and_, bindparam, case, select, update
from sqlalchemy.dialects import postgresql

from tradepost.catalog.events import ListingPublished, ListingWithdrawn
from tradepost.catalog.tables import listings
from tradepost.catalog.types import ListingHidden, product_key
from tradepost.core.database import Transaction, on_violation
from tradepost.core.events import record, record_all

on_violation("ck_listings_hidden_stays", ListingHidden)

_ID = bindparam("listing_id", type_=postgresql.UUID)
_BY = bindparam("by", type_=postgresql.UUID)
_LOCK = select(listings.c.status).where(listings.c.id == _ID).with_for_update()
_INACTIVE = case((listings.c.status == "active", "inactive"), else_=listings.c.status)
_HIDE = (
    update(listings)
    .where(listings.c.id == _ID, listings.c.hidden_by.is_(None))
    .values(hidden_by=_BY, status=_INACTIVE, version=listings.c.version + 1)
)
_HIDE_ALL = (
    update(listings)
    .where(
        listings.c.seller_id == bindparam("seller_id", type_=postgresql.UUID),
        listings.c.status == "active",
        listings.c.hidden_by.is_(None),
    )
    .values(hidden_by=_BY, status="inactive", version=listings.c.version + 1)
    .returning(listings.c.id)
)
_AGAIN = and_(bindparam("as_active", type_=Boolean), listings.c.status == "inactive")
_SHOW = (
    update(listings)
    .where(listings.c.hidden_by == _BY)
    .values(hidden_by=None, status=case((_AGAIN, "active"), else_=listings.c.status), version=listings.c.version + 1)
    .returning(listings.c.id, listings.c.seller_id, listings.c.status)
)
_REMOVE_ALL = (
    update(listings)
    .where(listings.c.seller_id == bindparam("seller_id", type_=postgresql.UUID), listings.c.status != "removed")
    .values(status="removed", version=listings.c.version + 1)
    .returning(listings.c.id)
)


async def hide_listing(tx: Transaction, listing_id: UUID, by: UUID) -> bool:
    """Take a listing off everybody's sight by a decision; return whether it was on offer. Locks the listing."""
    was_active: bool = await tx.value(_LOCK, listing_id=listing_id) == "active"
    tx.forget(product_key(listing_id))
    if await tx.run(_HIDE, listing_id=listing_id, by=by):
        await record(tx, ListingWithdrawn(listing_id), subject_id=listing_id)
    return was_active


async def hide_listings_of(tx: Transaction, seller_id: UUID, by: UUID) -> int:
    """Take everything that a seller has on offer off everybody's sight by a decision; return how many there were."""
    hidden = await tx.values(_HIDE_ALL, seller_id=seller_id, by=by)
    tx.forget(*map(product_key, hidden))
    await record_all(tx, [(ListingWithdrawn(listing_id), listing_id) for listing_id in hidden])
    return len(hidden)


async def show_listings(tx: Transaction, by: UUID, *, as_active: bool) -> int:
    """Give back what a decision hid; with `as_active` it is on offer again, unless its seller removed it meanwhile."""
    shown = await tx.all(_SHOW, by=by, as_active=as_active)
    again = [(row["id"], row["seller_id"]) for row in shown if row["status"] == "active"]
    await record_all(tx, [(ListingPublished(key, seller_id), key) for key, seller_id in again])
    return len(shown)


async def remove_listings_of(tx: Transaction, seller_id: UUID) -> int:
    """Remove everything a person offers, for good; orders keep what they need of it. Return how many there were."""
    gone = await tx.values(_REMOVE_ALL, seller_id=seller_id)
    tx.forget(*map(product_key, gone))
    await record_all(tx, [(ListingWithdrawn(listing_id), listing_id) for listing_id in gone])
    return len(gone)

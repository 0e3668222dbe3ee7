"""Many listings changed or made at once, by staff who manage the catalogue: one statement for each sort of change.

Promises what the commands for one listing promise: rows locked in the order of their ids, versions counted, facts recorded. Whoever
calls has checked that the caller manages the catalogue.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.catalog.events import ListingChanged, ListingPublished, ListingWithdrawn
from tradepost.catalog.service import NothingToSell
from tradepost.catalog.stock import set_stocks
from tradepost.catalog.types import NoSuchListing, VariantDraft, product_key
from tradepost.catalog.variants import NewVariant, add_variants, change_amounts
from tradepost.core.database import Transaction
from tradepost.core.events import record_all
from tradepost.core.ids import uuid7


class Known(msgspec.Struct, frozen=True):
    """A variant that is there, by its SKU."""

    variant_id: UUID
    listing_id: UUID
    sku: str
    title: str
    status: str
    on_hand: Decimal | None
    amount_minor: int | None


class NewListing(msgspec.Struct, frozen=True):
    """A listing that is not there yet: what its row holds (`columns_of`), its one variant, and whether everybody sees it at once."""

    columns: dict[str, Any]
    variant: VariantDraft
    is_published: bool


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What shall become of listings that are there: amounts and stock by variant, states by listing."""

    listing_ids: frozenset[UUID] = frozenset()
    amounts: dict[UUID, int] = {}
    stock: dict[UUID, Decimal] = {}
    statuses: dict[UUID, Literal["active", "inactive"]] = {}


_BY_SKU = text("""
    SELECT v.id AS variant_id, v.listing_id, v.sku, l.title, l.status, v.on_hand, p.amount_minor
    FROM variants v JOIN listings l ON l.id = v.listing_id AND l.status <> 'removed'
    LEFT JOIN LATERAL (SELECT amount_minor FROM prices WHERE variant_id = v.id AND currency = :currency AND valid_from <= now()
                       AND (valid_to IS NULL OR valid_to > now()) LIMIT 1) p ON true
    WHERE v.sku = ANY (:skus) AND v.is_active
""")
_FIELDS = text("SELECT code, fields FROM listing_kinds")
_LOCK = text("""
    SELECT id, seller_id, status FROM listings WHERE id = ANY (CAST(:ids AS uuid[])) AND status <> 'removed' ORDER BY id FOR UPDATE
""")
_PUBLISH = text("""
    UPDATE listings SET status = 'active', published_at = coalesce(published_at, now()), version = version + 1
    WHERE id = ANY (CAST(:ids AS uuid[])) AND price_minor IS NOT NULL
""")
_WITHDRAW = text("UPDATE listings SET status = 'inactive', version = version + 1 WHERE id = ANY (CAST(:ids AS uuid[]))")
_ADD = text("""
    INSERT INTO listings (id, seller_id, status, published_at, kind, feed, slug, title, description, category_id, brand, condition,
                          location_text, attributes)
    SELECT w.id, :seller_id, CASE WHEN w.shown THEN 'active' ELSE 'draft' END, CASE WHEN w.shown THEN now() END,
           w.kind, w.feed, w.slug, w.title, w.description, w.category_id, w.brand, w.condition, w.place, w.attributes
    FROM unnest(CAST(:ids AS uuid[]), CAST(:shown AS bool[]), CAST(:kind AS text[]), CAST(:feed AS text[]), CAST(:slug AS text[]),
                CAST(:title AS text[]), CAST(:description AS text[]), CAST(:category_id AS uuid[]), CAST(:brand AS text[]),
                CAST(:condition AS text[]), CAST(:location_text AS text[]), CAST(:attributes AS jsonb[]))
         AS w(id, shown, kind, feed, slug, title, description, category_id, brand, condition, place, attributes)
""")
_COLUMNS = (
    "kind",
    "feed",
    "slug",
    "title",
    "description",
    "category_id",
    "brand",
    "condition",
    "location_text",
    "attributes",
)


async def find_by_sku(tx: Transaction, skus: Sequence[str], currency: str) -> dict[str, Known]:
    """Return the variants on offer or in store that have these SKUs."""
    found = await tx.all(_BY_SKU, into=Known, skus=list(skus), currency=currency)
    return {known.sku: known for known in found}


async def fields_by_kind(tx: Transaction) -> dict[str, list[dict[str, Any]]]:
    """Return the fields of each kind of listing."""
    return {row["code"]: row["fields"] for row in await tx.all(_FIELDS)}


async def change_listings(tx: Transaction, caller: Caller, changes: Changes, currency: str) -> None:
    """Make all these changes. Raises `NoSuchListing`, `StockPromised`, `NothingToSell`, `ListingHidden`."""
    ids = sorted(changes.listing_ids)
    found = {row["id"]: row for row in await tx.all(_LOCK, ids=ids)} if ids else {}
    if len(found) < len(ids):
        raise NoSuchListing
    tx.forget(*(product_key(listing) for listing in ids))
    if changes.amounts:
        await change_amounts(tx, changes.amounts, currency)
    if changes.stock:
        await set_stocks(tx, changes.stock, actor_id=caller.user_id, reason="import")
    await _change_states(tx, changes.statuses, found)
    shown = [listing for listing in ids if found[listing]["status"] == "active" and listing not in changes.statuses]
    await record_all(tx, [(ListingChanged(listing), listing) for listing in shown])


async def _change_states(tx: Transaction, wanted: Mapping[UUID, str], found: Mapping[UUID, Any]) -> None:
    moved = {listing: state for listing, state in wanted.items() if found[listing]["status"] != state}
    shown = [listing for listing, state in moved.items() if state == "active"]
    hidden = [listing for listing, state in moved.items() if state != "active"]
    if shown and await tx.run(_PUBLISH, ids=shown) < len(shown):
        raise NothingToSell
    if hidden:
        await tx.run(_WITHDRAW, ids=hidden)
    await record_all(tx, [(ListingPublished(listing, found[listing]["seller_id"]), listing) for listing in shown])
    await record_all(tx, [(ListingWithdrawn(listing), listing) for listing in hidden])


async def add_listings(tx: Transaction, caller: Caller, fresh: Sequence[NewListing], currency: str) -> None:
    """Make listings of one variant each, the caller's own. Raises `SkuTaken`, `FieldErrors`."""
    if not fresh:
        return
    seller_id = caller.check_signed_in()
    ids = [uuid7() for _ in fresh]
    columns = {name: [new.columns[name] for new in fresh] for name in _COLUMNS}
    await tx.run(_ADD, seller_id=seller_id, ids=ids, shown=[new.is_published for new in fresh], **columns)
    variants = [NewVariant(uuid7(), listing, 0, new.variant) for listing, new in zip(ids, fresh, strict=True)]
    await add_variants(tx, variants, currency, actor_id=seller_id)
    shown = [listing for listing, new in zip(ids, fresh, strict=True) if new.is_published]
    await record_all(tx, [(ListingPublished(listing, seller_id), listing) for listing in shown])

"""Listings of outside markets: rows of a source become listings, many at a time.

Promises that `(source_id, external_id)` is one listing, however often its row is sent and by however many at once; that what has not
changed is not written; and that every change of price and availability is in the history. Rows arrive by COPY in a table of the
session's own and are merged by a handful of statements, whatever their number. A listing that the staff hid stays hidden.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, TEXT
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from tradepost.catalog.outside_types import KnownItem, Merged, OutsideRow
from tradepost.core.database import Transaction
from tradepost.core.ids import uuid7
from tradepost.core.text import slugify

_COLUMNS: Final = (
    "n", "fresh_id", "external_id", "raw_hash", "content_hash", "kind", "feed", "slug", "title", "description", "category_id",
    "brand", "condition", "status", "in_stock", "price_minor", "compare_at_minor", "currency", "unit", "place", "lat", "lon",
    "attributes", "url", "seller", "listed_at", "images", "bands",
)  # fmt: skip
# Made once a session, emptied by every commit: no other session sees it, and the catalogue of tables does not grow with the rows.
_STAGE = text("""
    CREATE TEMP TABLE IF NOT EXISTS incoming (
        n integer, fresh_id uuid, external_id text, raw_hash bytea, content_hash bytea, kind text, feed text, slug text, title text,
        description text, category_id uuid, brand text, condition text, status text, in_stock boolean, price_minor bigint,
        compare_at_minor bigint, currency char(3), unit text, place text, lat float8, lon float8, attributes jsonb, url text,
        seller jsonb, listed_at timestamptz, images jsonb, bands bigint[],
        listing_id uuid, was_hash bytea, was_missing boolean, was_status text, was_in_stock boolean, was_minor bigint,
        was_currency char(3), change text
    ) ON COMMIT DELETE ROWS
""")
_LOCK_SOURCE = text("SELECT true FROM sources WHERE id = :source FOR NO KEY UPDATE")
_KNOWN = text("""
    SELECT g.n::int AS n, i.listing_id, i.raw_hash = g.raw_hash AND i.missing_since IS NULL AS is_same
    FROM unnest(:ids, :hashes) WITH ORDINALITY AS g(external_id, raw_hash, n)
    JOIN outside_items i ON i.source_id = :source AND i.external_id = g.external_id
""").bindparams(
    bindparam("ids", type_=ARRAY(TEXT)), bindparam("hashes", type_=ARRAY(BYTEA)), bindparam("source", type_=PG_UUID)
)
_RESOLVE = text("""
    UPDATE incoming n SET listing_id = l.id, was_hash = i.content_hash, was_missing = i.missing_since IS NOT NULL,
        was_status = l.status, was_in_stock = l.in_stock, was_minor = l.price_minor, was_currency = l.currency
    FROM listings l LEFT JOIN outside_items i ON i.listing_id = l.id
    WHERE l.source_id = :source AND l.external_id = n.external_id
""")
_JUDGE = text("""
    UPDATE incoming SET change = CASE
        WHEN listing_id IS NULL THEN 'inserted'
        WHEN status = 'active' AND (coalesce(was_missing, false) OR was_status <> 'active') THEN 'returned'
        ELSE 'changed' END
    WHERE listing_id IS NULL OR was_hash IS DISTINCT FROM content_hash OR was_missing
""")
_INSERT = text("""
    INSERT INTO listings (id, source_id, external_id, kind, feed, slug, title, description, category_id, brand, condition, status,
        location_text, location, attributes, outside_url, outside_seller, published_at, listed_at, price_minor, price_to_minor,
        compare_at_minor, currency, unit, in_stock)
    SELECT fresh_id, :source, external_id, kind, feed, slug, title, description, category_id, brand, condition, status, place,
        CASE WHEN lat IS NOT NULL AND lon IS NOT NULL THEN geo_point(lat, lon) END, attributes, url, seller, now(), listed_at,
        price_minor, price_minor, compare_at_minor, currency, unit, in_stock AND status = 'active'
    FROM incoming WHERE change = 'inserted' ORDER BY n
""")
_UPDATE = text("""
    UPDATE listings l SET
        kind = n.kind, feed = n.feed, slug = n.slug, title = n.title, description = n.description, category_id = n.category_id,
        brand = n.brand, condition = n.condition, status = CASE WHEN l.hidden_by IS NULL THEN n.status ELSE l.status END,
        location_text = n.place, location = CASE WHEN n.lat IS NOT NULL AND n.lon IS NOT NULL THEN geo_point(n.lat, n.lon) END,
        attributes = n.attributes, outside_url = n.url, outside_seller = n.seller,
        published_at = coalesce(l.published_at, now()), listed_at = coalesce(n.listed_at, l.listed_at),
        price_minor = n.price_minor, price_to_minor = n.price_minor, compare_at_minor = n.compare_at_minor,
        currency = n.currency, unit = n.unit, in_stock = n.in_stock AND n.status = 'active', version = l.version + 1
    FROM incoming n WHERE l.id = n.listing_id AND n.change IS NOT NULL
""")
_ITEMS = text("""
    INSERT INTO outside_items AS i (source_id, external_id, listing_id, raw_hash, content_hash, cluster_id, bands)
    SELECT :source, external_id, coalesce(listing_id, fresh_id), raw_hash, content_hash, coalesce(listing_id, fresh_id), bands
    FROM incoming WHERE change IS NOT NULL
    ON CONFLICT (source_id, external_id) DO UPDATE SET raw_hash = excluded.raw_hash, content_hash = excluded.content_hash,
        bands = excluded.bands, changed_at = now(), missing_since = NULL
""")
_DROP_IMAGES = text("""
    DELETE FROM listing_images g USING incoming n
    WHERE n.change IN ('changed', 'returned') AND jsonb_array_length(n.images) > 0 AND g.listing_id = n.listing_id
      AND ARRAY(SELECT url FROM listing_images o WHERE o.listing_id = n.listing_id ORDER BY position)
          IS DISTINCT FROM ARRAY(SELECT e ->> 'url' FROM jsonb_array_elements(n.images) AS e)
""")
_ADD_IMAGES = text("""
    INSERT INTO listing_images (listing_id, position, url, width, height, bytes, format, alt)
    SELECT coalesce(n.listing_id, n.fresh_id), e.position - 1, e.image ->> 'url', (e.image ->> 'width')::int,
           (e.image ->> 'height')::int, (e.image ->> 'bytes')::int, e.image ->> 'format', n.title
    FROM incoming n CROSS JOIN LATERAL jsonb_array_elements(n.images) WITH ORDINALITY AS e(image, position)
    WHERE n.change IS NOT NULL
    ON CONFLICT (listing_id, position) DO NOTHING
""")
_AVAILABILITY = "CASE {0}status WHEN 'sold' THEN 'sold' WHEN 'removed' THEN 'deleted' ELSE CASE WHEN {0}in_stock THEN 'available' ELSE 'out_of_stock' END END"
_HISTORY = text(f"""
    INSERT INTO price_history (listing_id, at, amount_minor, currency, availability)
    SELECT coalesce(listing_id, fresh_id), now(), price_minor, currency, {_AVAILABILITY.format("")} FROM incoming
    WHERE change = 'inserted' OR (change IS NOT NULL AND (price_minor, currency, {_AVAILABILITY.format("")})
        IS DISTINCT FROM (was_minor, was_currency, {_AVAILABILITY.format("was_")}))
    ON CONFLICT (listing_id, at) DO NOTHING
""")
_OUTCOME = text("""
    SELECT external_id, coalesce(listing_id, fresh_id) AS listing_id, change, price_minor, currency, was_minor, was_currency
    FROM incoming WHERE change IS NOT NULL ORDER BY n
""")
_MARK_GONE = text("""
    WITH missing AS (
        UPDATE outside_items SET missing_since = now(), changed_at = now()
        WHERE listing_id = ANY (:ids) AND missing_since IS NULL RETURNING listing_id
    ), gone AS (
        UPDATE listings l SET status = :status, in_stock = false, version = version + 1
        FROM missing m WHERE l.id = m.listing_id AND l.status = 'active' RETURNING l.id, l.price_minor, l.currency
    )
    INSERT INTO price_history (listing_id, at, amount_minor, currency, availability)
    SELECT id, now(), price_minor, currency, :availability FROM gone ON CONFLICT (listing_id, at) DO NOTHING
""").bindparams(bindparam("ids", type_=ARRAY(PG_UUID)), bindparam("status", type_=TEXT), bindparam("availability", type_=TEXT))  # fmt: skip


async def known_items(tx: Transaction, source_id: UUID, ids: Sequence[str], hashes: Sequence[bytes]) -> list[KnownItem]:
    """Return what is known of external ids, by their position from 1, given the hashes of their rows as they came."""
    return await tx.all(_KNOWN, into=KnownItem, source=source_id, ids=list(ids), hashes=list(hashes))


async def lock_source(tx: Transaction, source_id: UUID) -> bool:
    """Let one batch of a source be merged at a time; return whether there is such a source."""
    return bool(await tx.value(_LOCK_SOURCE, source=source_id))


async def merge_rows(tx: Transaction, source_id: UUID, rows: Sequence[OutsideRow]) -> list[Merged]:
    """Make listings be as their source shows them; return what changed, in the order of the rows. Idempotent.

    Every external id may be among the rows once. Whoever merges holds the source's lock (`lock_source`).
    """
    if not rows:
        return []
    await tx.run(_STAGE)
    await tx.copy_in("incoming", _COLUMNS, (_staged(n, row) for n, row in enumerate(rows)))
    await tx.run(_RESOLVE, source=source_id)
    if not await tx.run(_JUDGE):
        return []
    await tx.run(_INSERT, source=source_id)
    await tx.run(_UPDATE)
    await tx.run(_ITEMS, source=source_id)
    await tx.run(_DROP_IMAGES)
    await tx.run(_ADD_IMAGES)
    await tx.run(_HISTORY)
    return await tx.all(_OUTCOME, into=Merged)


def content_hash(row: OutsideRow) -> bytes:
    """Return a hash of what a row says, apart from how it said so."""
    said = msgspec.structs.replace(row, raw_hash=b"", content_hash=b"")
    return hashlib.blake2b(msgspec.json.encode(said, order="sorted"), digest_size=16).digest()


async def mark_gone(tx: Transaction, listing_ids: Sequence[UUID], *, as_sold: bool) -> int:
    """Take listings off that their source no longer shows; return how many were on offer until now. Idempotent."""
    status, availability = ("sold", "sold") if as_sold else ("removed", "deleted")
    return await tx.run(_MARK_GONE, ids=list(listing_ids), status=status, availability=availability)


def _staged(n: int, row: OutsideRow) -> tuple[Any, ...]:
    return (
        n, uuid7(), row.external_id, row.raw_hash, row.content_hash, row.kind, row.feed, slugify(row.title), row.title,
        row.description, row.category_id, row.brand, row.condition, row.status, row.in_stock, row.price_minor,
        row.compare_at_minor, row.currency, row.unit, row.place, row.lat, row.lon, row.attributes, row.url, row.seller,
        row.listed_at, row.images, row.bands,
    )  # fmt: skip

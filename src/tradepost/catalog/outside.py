"""Listings of outside markets: rows of a source become listings, many at a time.

Promises that `(source_id, external_id)` is one listing, however often its row is sent and by however many at once; that what has not
changed is not written; and that every change of price and availability is in the history. Rows arrive by COPY in a table of the
session's own and are merged by a handful of statements, whatever their number. A listing that the staff hid stays hidden.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, BIGINT, BYTEA, TEXT
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from tradepost.catalog.outside_types import KnownItem, Merged, OutsideRow, SameThing, WantedPicture
from tradepost.catalog.pictures import StoredPicture
from tradepost.catalog.types import product_key
from tradepost.core.database import Database, Transaction
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
LANES: Final = 2
"""In how many transactions at once a source's rows are merged; a listing is always merged in the same lane."""
_LOCK_SOURCE = text("""
    SELECT s.id IS NOT NULL FROM pg_advisory_xact_lock(1936681065, (hashtext(CAST(:source AS text)) & -2) + CAST(:lane AS int))
    LEFT JOIN sources s ON s.id = CAST(:source AS uuid)
""")
_FINISH = text("SET CONSTRAINTS apply_changes IMMEDIATE")
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


_JOIN = text("""
    UPDATE outside_items i SET cluster_id = j.theirs
    FROM unnest(:mine, :theirs) AS j(mine, theirs), outside_items m
    WHERE m.listing_id = j.mine AND i.cluster_id = m.cluster_id AND i.cluster_id <> j.theirs
""").bindparams(bindparam("mine", type_=ARRAY(PG_UUID)), bindparam("theirs", type_=ARRAY(PG_UUID)))
_WANTED = text("""
    SELECT i.listing_id, l.source_id, i.url FROM listing_images i JOIN listings l ON l.id = i.listing_id
    WHERE i.listing_id = ANY (:ids) AND i.position = 0 AND i.file_id IS NULL AND l.status = 'active' ORDER BY i.listing_id
""").bindparams(bindparam("ids", type_=ARRAY(PG_UUID)))
_ATTACH = text("""
    UPDATE listing_images SET file_id = :file, width = :width, height = :height, bytes = :bytes, format = :format
    WHERE listing_id = :listing AND position = 0 AND url = :url AND file_id IS NULL
""")
_MARK_PICTURE = text("""
    UPDATE outside_items SET picture_print = :mark, bands = ARRAY(SELECT b FROM unnest(bands) AS b WHERE b >= 0) || :more
    WHERE listing_id = :listing
""").bindparams(bindparam("mark", type_=BIGINT), bindparam("more", type_=ARRAY(BIGINT)))
_SAME_THING = text("""
    SELECT l.id, l.slug, l.title, l.price_minor, l.currency, l.status, l.outside_url, s.name AS source_name
    FROM outside_items i JOIN outside_items o ON o.cluster_id = i.cluster_id AND o.listing_id <> i.listing_id
    JOIN listings l ON l.id = o.listing_id JOIN sources s ON s.id = o.source_id
    WHERE i.listing_id = :listing AND l.status IN ('active', 'sold') ORDER BY l.status, l.price_minor NULLS LAST, l.id LIMIT 12
""")


async def same_thing(db: Database, listing_id: UUID) -> list[SameThing]:
    """Return what is the same thing as a listing at other sources, what can be had and is cheapest first."""
    return await db.read(_SAME_THING, into=SameThing, listing=listing_id)


async def known_items(tx: Transaction, source_id: UUID, ids: Sequence[str], hashes: Sequence[bytes]) -> list[KnownItem]:
    """Return what is known of external ids, by their position from 1, given the hashes of their rows as they came."""
    return await tx.all(_KNOWN, into=KnownItem, source=source_id, ids=list(ids), hashes=list(hashes))


async def lock_source(tx: Transaction, source_id: UUID, lane: int) -> bool:
    """Let one transaction at a time merge rows of a source in a lane; return whether there is such a source."""
    return bool(await tx.value(_LOCK_SOURCE, source=str(source_id), lane=lane))


async def finish_documents(tx: Transaction) -> None:
    """Have the documents of search made now instead of with the commit, before rows are locked that others wait for."""
    await tx.run(_FINISH)


async def merge_rows(tx: Transaction, source_id: UUID, rows: Sequence[OutsideRow]) -> list[Merged]:
    """Make listings be as their source shows them; return what changed, in the order of the rows. Idempotent.

    Every external id may be among the rows once. Whoever merges holds the lock of their lane (`lock_source`).
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


async def join_clusters(tx: Transaction, joins: Mapping[UUID, UUID]) -> int:
    """Put listings into the clusters of others; whoever is in a listing's own cluster comes along. Return how many moved."""
    if not joins:
        return 0
    return await tx.run(_JOIN, mine=list(joins), theirs=list(joins.values()))


async def pictures_wanted(tx: Transaction, listing_ids: Sequence[UUID]) -> list[WantedPicture]:
    """Return the first pictures of listings that there is no copy of yet."""
    return await tx.all(_WANTED, into=WantedPicture, ids=list(listing_ids))


async def attach_picture(
    tx: Transaction, wanted: WantedPicture, picture: StoredPicture, mark: int, bands: Sequence[int]
) -> bool:
    """Put a copy to a listing's first picture, if that is still the same; `mark` is its fingerprint, `bands` what like ones share."""
    attached = await tx.run(
        _ATTACH, listing=wanted.listing_id, url=wanted.url, file=picture.id, width=picture.width, height=picture.height,
        bytes=picture.bytes, format=picture.media_type.removeprefix("image/"),
    )  # fmt: skip
    if attached:
        await tx.run(_MARK_PICTURE, listing=wanted.listing_id, mark=mark, more=list(bands))
        tx.forget(product_key(wanted.listing_id))
    return bool(attached)


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

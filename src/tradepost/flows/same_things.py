"""The same thing at several sources: candidates by an index, each pair judged by words, numbers, price, pictures and meaning."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from tradepost.catalog.outside import join_clusters
from tradepost.core.database import Transaction
from tradepost.sources.likeness import is_same_thing, picture_distance

_HAS_OTHERS = text("SELECT EXISTS (SELECT FROM outside_items WHERE source_id <> :source)")
_CANDIDATES = text("""
    SELECT m.listing_id, l.title, l.price_minor, l.currency, m.picture_print, o.listing_id AS other_id, o.cluster_id AS other_cluster_id,
           o.title AS other_title, o.price_minor AS other_minor, o.currency AS other_currency, o.picture_print AS other_print,
           CASE WHEN v.embedding IS NOT NULL AND w.embedding IS NOT NULL THEN 1 - (v.embedding <=> w.embedding) END AS meaning
    FROM outside_items m JOIN listings l ON l.id = m.listing_id
    CROSS JOIN LATERAL (
        SELECT i.listing_id, i.cluster_id, x.title, x.price_minor, x.currency, i.picture_print FROM outside_items i
        JOIN listings x ON x.id = i.listing_id AND x.status = 'active'
        WHERE i.bands && m.bands AND i.source_id <> :source AND i.missing_since IS NULL LIMIT 30
    ) o
    LEFT JOIN search_vectors v ON v.listing_id = m.listing_id
    LEFT JOIN search_vectors w ON w.listing_id = o.listing_id
    WHERE m.listing_id = ANY (:ids) AND m.bands <> '{}'
""").bindparams(bindparam("ids", type_=ARRAY(PG_UUID)))


class Pair(msgspec.Struct, frozen=True):
    """A new listing and one of another source that may be the same thing. `meaning`: the cosine of their vectors, where both have one."""

    listing_id: UUID
    title: str
    price_minor: int | None
    currency: str | None
    picture_print: int | None
    other_id: UUID
    other_cluster_id: UUID
    other_title: str
    other_minor: int | None
    other_currency: str | None
    other_print: int | None
    meaning: float | None


async def cluster(tx: Transaction, source_id: UUID, listing_ids: Sequence[UUID]) -> int:
    """Put new listings of a source to those of others that are the same thing, before anybody is told of them; return how many."""
    if not listing_ids or not await tx.value(_HAS_OTHERS, source=source_id):
        return 0
    joins: dict[UUID, UUID] = {}
    for pair in await tx.all(_CANDIDATES, into=Pair, source=source_id, ids=list(listing_ids)):
        if pair.listing_id not in joins and is_same(pair):
            joins[pair.listing_id] = pair.other_cluster_id
    return await join_clusters(tx, joins)


def is_same(pair: Pair) -> bool:
    """Whether a pair of listings is the same thing."""
    prices = (pair.price_minor, pair.other_minor) if pair.currency == pair.other_currency else ()
    known = pair.picture_print is not None and pair.other_print is not None
    bits = picture_distance(pair.picture_print or 0, pair.other_print or 0) if known else None
    return is_same_thing(pair.title, pair.other_title, prices=prices, picture_bits=bits, meaning=pair.meaning)

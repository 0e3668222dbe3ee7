"""Giving documents their vectors: those that wait in the queue, in batches, and the choice of the vector index."""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec
from pgvector import Vector
from sqlalchemy import text

from tradepost.core.database import SYSTEM, Database
from tradepost.core.embeddings import Embedder
from tradepost.search.plan import signature_of

BATCH = 64
_LONGEST = 1200  # characters of a description that are read; the model takes fewer
Index = Literal["hnsw", "ivfflat"]


class Waiting(msgspec.Struct, frozen=True):
    """A document that waits for its vector; `queued_at` tells whether it changed meanwhile."""

    listing_id: UUID
    queued_at: Any
    title: str
    description: str
    text_hash: bytes | None
    model: str | None

    @property
    def text(self) -> str:
        """What the vector is made of."""
        return f"{self.title}. {self.description[:_LONGEST]}"


_NEXT = text("""
    SELECT q.listing_id, q.created_at AS queued_at, l.title, l.description, v.text_hash, v.model
    FROM search_queue q JOIN listings l ON l.id = q.listing_id
    LEFT JOIN search_vectors v ON v.listing_id = q.listing_id
    ORDER BY q.created_at LIMIT :limit
""")
_PUT = text("""
    WITH given AS (
        SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:vectors AS vector[]), CAST(:signatures AS bit varying[]), CAST(:hashes AS bytea[]))
            AS g(listing_id, embedding, signature, text_hash)
    ), present AS (
        UPDATE search_documents d SET signature = CAST(g.signature AS bit(384)) FROM given g WHERE d.listing_id = g.listing_id
        RETURNING d.listing_id
    )
    INSERT INTO search_vectors (listing_id, embedding, model, text_hash)
    SELECT g.listing_id, g.embedding, :model, g.text_hash FROM given g JOIN present USING (listing_id)
    ON CONFLICT (listing_id) DO UPDATE SET embedding = excluded.embedding, model = excluded.model,
        text_hash = excluded.text_hash, created_at = now()
""")
_DONE = text("""
    DELETE FROM search_queue q USING unnest(CAST(:ids AS uuid[]), CAST(:times AS timestamptz[])) AS g(listing_id, queued_at)
    WHERE q.listing_id = g.listing_id AND q.created_at = g.queued_at
""")
_COUNT = text("SELECT count(*) FROM search_queue")
_QUEUE_ALL = text("""
    INSERT INTO search_queue (listing_id)
    SELECT d.listing_id FROM search_documents d LEFT JOIN search_vectors v ON v.listing_id = d.listing_id
    WHERE v.model IS DISTINCT FROM :model OR :anew ON CONFLICT DO NOTHING
""")


async def embed_batch(db: Database, embedder: Embedder, limit: int = BATCH) -> int:
    """Give up to `limit` waiting documents their vectors; return how many were taken off the queue, 0 when it is empty.

    Nothing is locked while the model works; a document that changes meanwhile stays in the queue. Raises `Unavailable`.
    """
    async with db.transaction(actor=SYSTEM, read_only=True) as tx:
        waiting = await tx.all(_NEXT, into=Waiting, limit=limit)
    if not waiting:
        return 0
    hashes = [hashlib.sha256(w.text.encode()).digest() for w in waiting]
    stale = [(w, h) for w, h in zip(waiting, hashes, strict=True) if (w.text_hash, w.model) != (h, embedder.model)]
    vectors = await embedder.embed([w.text for w, _ in stale])
    async with db.transaction(actor=SYSTEM) as tx:
        if stale:
            await tx.run(
                _PUT, ids=[w.listing_id for w, _ in stale], vectors=[Vector(v) for v in vectors], model=embedder.model,
                signatures=[signature_of(v) for v in vectors], hashes=[h for _, h in stale],
            )  # fmt: skip
        await tx.run(_DONE, ids=[w.listing_id for w in waiting], times=[w.queued_at for w in waiting])
    return len(waiting)


async def count_waiting(db: Database) -> int:
    """Return how many documents wait for their vector."""
    return int((await db.read(_COUNT))[0][0])


async def queue_all(db: Database, model: str, *, anew: bool = False) -> int:
    """Queue every document that has no vector of this model, or all of them; return how many were added."""
    async with db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("SET LOCAL statement_timeout = '10min'"))
        return await tx.run(_QUEUE_ALL, model=model, anew=anew)


def index_statements(kind: Index, documents: int) -> Sequence[str]:
    """Return the statements that put the vector index of this kind in place of the present one; they run outside a transaction."""
    target = "search_vectors USING {} ((embedding::halfvec(384)) halfvec_cosine_ops) WITH ({})"
    lists = max(10, min(4000, documents // 1000))
    made = (
        target.format("hnsw", "m = 24, ef_construction = 128")
        if kind == "hnsw"
        else target.format("ivfflat", f"lists = {lists}")
    )
    return (
        "DROP INDEX CONCURRENTLY IF EXISTS ix_search_vectors_near_new",
        f"CREATE INDEX CONCURRENTLY ix_search_vectors_near_new ON {made}",
        "DROP INDEX CONCURRENTLY IF EXISTS ix_search_vectors_near",
        "ALTER INDEX ix_search_vectors_near_new RENAME TO ix_search_vectors_near",
    )

"""A store with a million findable listings, made in minutes and kept for the next run.

The store's own sample is grown to 10,000 listings as everywhere (benchmarks/ground.py); these are then multiplied in SQL with other
last words in the title, other words in the description, other places, prices, ages and popularities; words follow Zipf's law.
Triggers rest meanwhile and the documents are made in bulk, by the same functions that triggers call. The multiplied listings have no
variants: a search never looks at them.

Vectors are made up, because embedding a million texts takes hours: the real vector of the sample listing that a listing descends
from, plus a direction of its own for each word that was added, plus noise. So listings lie in clusters that overlap, as real ones do.
"""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import asyncpg
import numpy as np
from pgvector import Vector
from pgvector.asyncpg import register_vector

from benchmarks.ground import Ground
from tradepost.core.database import Database
from tradepost.core.embeddings import open_embedder
from tradepost.core.settings import EmbeddingSettings
from tradepost.search.counting import count_terms

BASE = 10_000
_MODEL = "made-up"
_CHUNK = 20_000
_OWNER = "SET ROLE tradepost_owner"
_WORDS = """
    CREATE UNLOGGED TABLE IF NOT EXISTS bench_words AS
    SELECT n, string_agg((ARRAY['ba','be','bo','da','de','do','fa','fi','go','ha','jo','ka','ke','ko','la','le','lo','ma','me','mi','mo',
        'na','ne','no','pa','pe','ra','re','ri','ro','sa','se','so','ta','te','to','va','ve','vo','za','ze','zo'])[1 + floor(random() * 42)::int], '') AS word
    FROM generate_series(1, 20000) n, generate_series(1, 2 + (n % 3)) s GROUP BY n
"""
_MULTIPLY = """
    INSERT INTO listings (id, seller_id, kind, feed, slug, title, description, category_id, brand, condition, status, location_text,
        location, attributes, published_at, price_minor, price_to_minor, currency, unit, in_stock, image_id, popularity)
    SELECT uuidv7(), s.seller_id, s.kind, s.feed, s.slug, regexp_replace(s.title, '\\S+$', '') || w1.word,
           s.description || ' ' || w2.word || ' ' || w3.word, s.category_id,
           CASE WHEN s.brand IS NOT NULL AND random() < 0.5 THEN s.brand ELSE initcap(w4.word) END, s.condition, 'active',
           p.location_text, p.location, s.attributes, now() - s.age, greatest(1, (s.price_minor * s.factor)::bigint),
           greatest(1, (s.price_to_minor * s.factor)::bigint), s.currency, s.unit, random() < 0.85, s.image_id,
           (power(random() + 1e-7, -1 / 1.2) - 1)::real
    FROM (SELECT b.*, exp(random() * 0.8 - 0.4) AS factor, -ln(random() + 1e-9) * interval '60 days' AS age,
                 1 + floor(exp(random() * ln(19999)))::int AS a, 1 + floor(exp(random() * ln(19999)))::int AS b2,
                 1 + floor(exp(random() * ln(19999)))::int AS c, 1 + floor(exp(random() * ln(19999)))::int AS d,
                 1 + floor(random() * (SELECT count(*) FROM bench_places))::int AS place
          FROM bench_base b OFFSET 0) s
    JOIN bench_words w1 ON w1.n = s.a JOIN bench_words w2 ON w2.n = s.b2 JOIN bench_words w3 ON w3.n = s.c
    JOIN bench_words w4 ON w4.n = s.d JOIN bench_places p ON p.n = s.place LIMIT $1
"""
_TIERS = """
    UPDATE search_state SET tiers = CASE WHEN (SELECT count(*) FROM listings) >= 20000 THEN (
        SELECT percentile_disc(ARRAY[0.75, 0.9375, 0.984375, 0.99609375]) WITHIN GROUP (ORDER BY popularity)::real[] FROM listings)
        ELSE '{}' END
"""


async def searchable(on: Ground, listings: int) -> str:
    """Return the database of a store with so many listings, their documents, vectors and counts."""
    name = f"bench_search_{listings}"
    owner = await asyncpg.connect(on.dsn("postgres", "postgres"))
    exists = await owner.fetchval("SELECT true FROM pg_database WHERE datname = $1", name)
    if not exists:
        grown = await on.store("tese", BASE)
        await owner.execute(f'CREATE DATABASE "{name}" OWNER tradepost_owner TEMPLATE "{grown}"')
    await owner.close()
    connection = await asyncpg.connect(on.dsn(name, "postgres"), command_timeout=7200)
    try:
        await register_vector(connection)
        if not await connection.fetchval("SELECT to_regclass('bench_ready') IS NOT NULL"):
            await _multiply(connection, listings)
            indexes = await _drop_indexes(connection)
            await _documents(connection)
            await _vectors(connection)
            await _create_indexes(connection, indexes)
            await connection.execute("VACUUM ANALYZE")
            await _count(on.dsn(name, "postgres"))
            await connection.execute("CREATE TABLE bench_ready ()")
    finally:
        await connection.close()
    return name


async def _multiply(connection: asyncpg.Connection, listings: int) -> None:
    await connection.execute("SET session_replication_role = replica")
    await connection.execute(_WORDS)
    await connection.execute(
        "CREATE TEMP TABLE bench_base AS SELECT * FROM listings WHERE status = 'active' ORDER BY id LIMIT 10000"
    )
    await connection.execute(
        "CREATE TEMP TABLE bench_places AS SELECT row_number() OVER () AS n, location_text, location FROM bench_base WHERE location IS NOT NULL"
    )
    await connection.execute("ANALYZE bench_base; ANALYZE bench_places; ANALYZE bench_words")
    while (have := await connection.fetchval("SELECT count(*) FROM listings")) < listings:
        await connection.execute(_MULTIPLY, listings - have)
        _say("listings", have, listings)
    await connection.execute("VACUUM ANALYZE listings")


async def _drop_indexes(connection: asyncpg.Connection) -> list[str]:
    """Drop what is quicker to make at the end; return how."""
    rows = await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('search_documents', 'search_vectors') AND indexname LIKE 'ix_%'"
    )
    for row in rows:
        await connection.execute(f"DROP INDEX {row['indexname']}")
    return sorted((row["indexdef"] for row in rows), key=lambda text: "hnsw" in text)


async def _create_indexes(connection: asyncpg.Connection, statements: Sequence[str]) -> None:
    await connection.execute(f"{_OWNER}; SET maintenance_work_mem = '3GB'; SET max_parallel_maintenance_workers = 2")
    for statement in statements:
        _say(statement.split(" ON ")[0].lower(), 0, 0)
        await connection.execute(statement)
    await connection.execute("RESET ROLE")


async def _documents(connection: asyncpg.Connection) -> None:
    await connection.execute(_TIERS)
    await connection.execute("TRUNCATE search_documents CASCADE; TRUNCATE search_queue")
    ids = [row[0] for row in await connection.fetch("SELECT id FROM listings WHERE status = 'active' ORDER BY id")]
    for start in range(0, len(ids), _CHUNK):
        await connection.execute("SELECT search_refresh_words($1)", ids[start : start + _CHUNK])
        _say("documents", start, len(ids))
    await connection.execute("TRUNCATE search_queue")


async def _vectors(connection: asyncpg.Connection) -> None:
    """Give every document a vector and its signature, by COPY and one update."""
    await connection.execute("TRUNCATE search_vectors")
    rows = await connection.fetch("SELECT listing_id, title FROM search_documents ORDER BY listing_id")
    parents = await _parents(connection)
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        made = made_up([row["title"] for row in part], parents, start)
        await connection.copy_records_to_table(
            "search_vectors", columns=("listing_id", "embedding", "model", "text_hash"), records=_records(part, made)
        )
        _say("vectors", start, len(rows))
    await connection.execute(
        "UPDATE search_documents d SET signature = binary_quantize(v.embedding)::bit(384) FROM search_vectors v "
        "WHERE v.listing_id = d.listing_id"
    )


def _records(part: Sequence[Any], made: Any) -> Iterator[tuple[Any, ...]]:
    return ((row["listing_id"], Vector(vector), _MODEL, b"") for row, vector in zip(part, made, strict=True))


async def _parents(connection: asyncpg.Connection) -> dict[str, Any]:
    """Return the real vectors of the sample listings, by title."""
    embedder = open_embedder(EmbeddingSettings(threads=2))
    if embedder is None:
        raise SystemExit("The language model is not installed: make bench installs it.")
    rows = await connection.fetch("SELECT title, description FROM listings ORDER BY id LIMIT 106")
    vectors = await embedder.embed([f"{row['title']}. {row['description'][:1200]}" for row in rows])
    return {row["title"].lower(): np.array(vector, np.float32) for row, vector in zip(rows, vectors, strict=True)}


def made_up(titles: Sequence[str], parents: dict[str, Any], seed: int) -> Any:
    """Return a vector of length one for each title: its parent's, its words' and noise."""
    chance = np.random.default_rng(seed)
    noise = chance.standard_normal((len(titles), 384), np.float32) * (0.45 / 384**0.5)
    made = np.empty((len(titles), 384), np.float32)
    known = sorted(parents, key=len, reverse=True)
    for n, title in enumerate(titles):
        lower = title.lower()
        parent = next((p for p in known if p.split(",")[0] in lower), known[0])
        words = [w for w in lower.split() if w not in parent]
        made[n] = parents[parent] + sum((direction(w) for w in words), noise[n])
    return made / np.linalg.norm(made, axis=1, keepdims=True)


_directions: dict[str, Any] = {}


def direction(word: str) -> Any:
    """Return the direction that a word adds, always the same."""
    found = _directions.get(word)
    if found is None:
        chance = np.random.default_rng(int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big"))
        found = _directions[word] = chance.standard_normal(384).astype(np.float32) * (0.3 / 384**0.5)
    return found


async def _count(dsn: str) -> None:
    db = await Database.open(dsn, size=2, statement_timeout_ms=3_600_000)
    await count_terms(db)
    await db.close()


def _say(what: str, done: int, whole: int) -> None:
    print(f"  {what}: {done:,} of {whole:,}" if whole else f"  {what}", flush=True)


if __name__ == "__main__":
    from benchmarks.ground import ground

    async def main() -> None:
        """Make the store and stop."""
        async with ground() as on:
            print(await searchable(on, 1_000_000))

    asyncio.run(main())

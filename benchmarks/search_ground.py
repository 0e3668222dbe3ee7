"""A store with up to a million findable listings, made in half an hour and kept for the next run.

The frame (sellers, kinds, categories, places, prices) is the store's own sample, grown as everywhere (benchmarks/ground.py). The
texts are those of 19,406 real products (`chorus_icecat`): each listing has the title of one product with a word of another, and
the description and features of both; so words are as common and as rare as in a real shop, and those that go together do.
Triggers rest meanwhile and the documents are made in bulk, by the same functions that triggers call. The multiplied listings have
no variants: a search never looks at them.

Vectors are derived, because the model takes hours for a million texts: the real vector of the first product, two fifths of the
second's, and noise. So listings lie in clusters that overlap, as real ones do; the queries' vectors are the model's own.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
from pgvector import Vector
from pgvector.asyncpg import register_vector

from benchmarks.catalogue import Product, catalogue_mark, read_catalogue
from benchmarks.ground import HOME, Ground
from tradepost.core.database import Database
from tradepost.core.embeddings import open_embedder
from tradepost.core.settings import EmbeddingSettings
from tradepost.migrations import migrate
from tradepost.search.counting import count_terms

STORE, BASE = "tese", 10_000
_MODEL = "derived"
_CHUNK = 20_000
_NOISE = 0.35
_OWNER = "SET ROLE tradepost_owner"
_PICK = """
    CREATE UNLOGGED TABLE bench_made AS
    SELECT row_number() OVER () AS n, uuidv7() AS id, a.n AS a, 1 + floor(random() * $2::int)::int AS b, random() AS place,
           1 + (a.n * 131 + floor(random() * 3)::int) % (SELECT count(*)::int FROM bench_base) AS base
    FROM bench_products a CROSS JOIN generate_series(1, 1 + $1::int / $2::int) ORDER BY random() LIMIT $1::int
"""
_MULTIPLY = """
    INSERT INTO listings (id, seller_id, kind, feed, slug, title, description, category_id, brand, condition, status, location_text,
        location, attributes, published_at, price_minor, price_to_minor, currency, unit, in_stock, image_id, popularity)
    SELECT m.id, s.seller_id, s.kind, s.feed, s.slug,
           left(array_to_string(a.words[1:k.at - 1] || b.words[1 + k.at % cardinality(b.words):][1:1] || a.words[k.at + 1:], ' '), 255),
           concat_ws('. ', a.description, a.features, left(b.features, 200)), s.category_id, a.brand, s.condition, 'active',
           p.location_text, p.location, s.attributes, now() - k.age, greatest(1, (s.price_minor * k.factor)::bigint),
           greatest(1, (s.price_to_minor * k.factor)::bigint), s.currency, s.unit, random() < 0.85, s.image_id,
           (power(random() + 1e-7, -1 / 1.2) - 1)::real
    FROM bench_made m JOIN bench_products a ON a.n = m.a JOIN bench_products b ON b.n = m.b JOIN bench_base s ON s.n = m.base
    JOIN bench_places p ON p.n = 1 + floor(m.place * (SELECT count(*) FROM bench_places))::int
    CROSS JOIN LATERAL (SELECT 1 + floor(m.place * cardinality(a.words))::int AS at, exp(random() * 0.8 - 0.4) AS factor,
                               -ln(random() + 1e-9) * interval '60 days' AS age) k
    WHERE m.n BETWEEN $1 AND $2
"""
_TIERS = """
    UPDATE search_state SET tiers = CASE WHEN (SELECT count(*) FROM listings) >= 20000 THEN (
        SELECT percentile_disc(ARRAY[0.75, 0.9375, 0.984375, 0.99609375]) WITHIN GROUP (ORDER BY popularity)::real[] FROM listings)
        ELSE '{}' END
"""


async def searchable(on: Ground, listings: int, data: Path) -> str:
    """Return the database of a store with so many listings, their documents, vectors and counts. One left half made is made anew."""
    name = f"bench_search_{listings}"
    owner = await asyncpg.connect(on.dsn("postgres", "postgres"), command_timeout=7200)
    try:
        if await owner.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
            await migrate(on.dsn(name, "postgres"))
            return name
        making = f"{name}_making"
        grown = await on.store(STORE, BASE)
        await owner.execute(f'DROP DATABASE IF EXISTS "{making}"')
        await owner.execute(f'CREATE DATABASE "{making}" OWNER tradepost_owner TEMPLATE "{grown}"')
        await _make(on.dsn(making, "postgres"), listings, data)
        await owner.execute(f'ALTER DATABASE "{making}" RENAME TO "{name}"')
    finally:
        await owner.close()
    return name


async def _make(dsn: str, listings: int, data: Path) -> None:
    connection = await asyncpg.connect(dsn, command_timeout=7200)
    try:
        await register_vector(connection)
        await _fill(connection, listings, data)
    finally:
        await connection.close()
    await _count(dsn)


async def _fill(connection: asyncpg.Connection, listings: int, data: Path) -> None:
    products = read_catalogue(data)
    vectors = await product_vectors(products, data)
    await connection.execute("SET session_replication_role = replica; SET synchronous_commit = off")
    indexes = await _drop_indexes(connection)
    await _multiply(connection, listings, products)
    await _documents(connection)
    await _vectors(connection, vectors)
    await _create_indexes(connection, indexes)
    await connection.execute("DROP TABLE bench_products, bench_base, bench_places, bench_made")
    await connection.execute("VACUUM ANALYZE")


async def product_vectors(products: Sequence[Product], data: Path) -> Any:
    """Return the model's vector of every product, made once and kept."""
    file = HOME / f"products-{catalogue_mark(data)}.npy"
    if not file.exists():
        embedder = open_embedder(EmbeddingSettings(threads=os.cpu_count() or 1))
        if embedder is None:
            raise SystemExit("The language model is not installed: make bench installs it.")
        made: list[list[float]] = []
        for start in range(0, len(products), 1000):
            made += await embedder.embed([f"{p.name}. {p.description[:1200]}" for p in products[start : start + 1000]])
            _say("vectors of products", len(made), len(products))
        np.save(file, np.array(made, np.float32))
    return np.load(file)


async def _multiply(connection: asyncpg.Connection, listings: int, products: Sequence[Product]) -> None:
    """Replace the sample's listings by `listings` made of the products."""
    await connection.execute("""
        CREATE UNLOGGED TABLE bench_products (n int PRIMARY KEY, words text[], description text, features text, brand text);
        CREATE TABLE bench_base AS SELECT row_number() OVER (ORDER BY id) AS n, * FROM listings WHERE status = 'active' ORDER BY id LIMIT 10000;
        CREATE TABLE bench_places AS SELECT row_number() OVER () AS n, location_text, location FROM bench_base WHERE location IS NOT NULL;
        TRUNCATE listings CASCADE
    """)
    await connection.copy_records_to_table(
        "bench_products",
        records=[
            (n, p.name.split() or ["Product"], p.description, p.features[:3000], p.brand)
            for n, p in enumerate(products, 1)
        ],
    )
    await connection.execute(_PICK, listings, len(products))
    await connection.execute(
        "CREATE UNIQUE INDEX ON bench_made (n); ANALYZE bench_made, bench_products, bench_base, bench_places"
    )
    for start in range(1, listings + 1, _CHUNK):
        await connection.execute(_MULTIPLY, start, start + _CHUNK - 1)
        _say("listings", start - 1, listings)
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
    ids = [row[0] for row in await connection.fetch("SELECT id FROM bench_made ORDER BY n")]
    for start in range(0, len(ids), _CHUNK):
        await connection.execute("SELECT search_refresh_words($1)", ids[start : start + _CHUNK])
        _say("documents", start, len(ids))
    await connection.execute("TRUNCATE search_queue")


async def _vectors(connection: asyncpg.Connection, products: Any) -> None:
    """Give every document a vector, by COPY, and its signature, by one update."""
    rows = await connection.fetch("SELECT id, a, b FROM bench_made ORDER BY n")
    chance = np.random.default_rng(7)
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        noise = chance.standard_normal((len(part), products.shape[1]), np.float32) * (_NOISE / products.shape[1] ** 0.5)
        made = products[[row["a"] - 1 for row in part]] + 0.4 * products[[row["b"] - 1 for row in part]] + noise
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        await connection.copy_records_to_table(
            "search_vectors", columns=("listing_id", "embedding", "model", "text_hash"), records=_records(part, made)
        )
        _say("vectors", start, len(rows))
    await connection.execute(
        "UPDATE search_documents d SET signature = binary_quantize(v.embedding)::bit(384) FROM search_vectors v "
        "WHERE v.listing_id = d.listing_id"
    )


def _records(part: Sequence[Any], made: Any) -> Iterator[tuple[Any, ...]]:
    return ((row["id"], Vector(vector), _MODEL, b"") for row, vector in zip(part, made, strict=True))


async def _count(dsn: str) -> None:
    db = await Database.open(dsn, size=2, statement_timeout_ms=3_600_000)
    await count_terms(db)
    await db.close()


def _say(what: str, done: int, whole: int) -> None:
    print(f"  {what}: {done:,} of {whole:,}" if whole else f"  {what}", flush=True)

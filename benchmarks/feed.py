"""A page of each feed, in a store of a million listings: how many statements, and how long.

A feed reads listings and whom they are from, so the million are rows of that one table, written with its triggers at rest: spread over a
year, over the country and over both feeds.
"""

import time

import asyncpg

from benchmarks.ground import ground
from tradepost.catalog.feeds import read_feed
from tradepost.core.database import ANYBODY, Database, count_queries

STORE, LISTINGS, ROUNDS = "souk-loop", 1_000_000, 60
HERE = (36.81, 10.18)


_ADD = """
    INSERT INTO listings (seller_id, kind, feed, slug, title, description, category_id, status, published_at, location, price_minor,
                          currency, unit, in_stock)
    SELECT s.people[1 + n % cardinality(s.people)], 'product', CASE WHEN n % 2 = 0 THEN 'discover' ELSE 'community' END, 'bench',
           'Bench ' || n, '', s.categories[1 + n % cardinality(s.categories)], 'active', now() - n * interval '31 seconds',
           geo_point(33 + random() * 4, 8 + random() * 3), 1000, 'TND', 'piece', true
    FROM generate_series(1, $1::int) AS n,
         (SELECT (SELECT array_agg(id) FROM users) AS people, (SELECT array_agg(id) FROM categories) AS categories) s
"""


async def _grow(dsn: str, listings: int) -> None:
    """Fill the table up to so many, once."""
    owner = await asyncpg.connect(dsn)
    try:
        known = await owner.fetchval("SELECT count(*) FROM listings")
        if known < listings:
            await owner.execute("SET session_replication_role = replica")
            await owner.execute(_ADD, listings - known, timeout=3_600)
            await owner.execute("ANALYZE listings")
    finally:
        await owner.close()


async def measure(listings: int = LISTINGS) -> dict[str, float]:
    """Walk both feeds, page by page."""
    async with ground() as on:
        name = await on.store(STORE, 1)  # the sample alone, in a database of its own
        await _grow(on.dsn(name, "postgres"), listings)
        db = await Database.open(on.dsn(name), size=2)
        try:
            found: dict[str, float] = {}
            for feed, is_local in (("discover", False), ("community", True)):
                found |= await _walk(db, feed, is_local=is_local)
            return found
        finally:
            await db.close()


async def _walk(db: Database, feed: str, *, is_local: bool) -> dict[str, float]:
    after, waits, seen, queries = None, [], [], 0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        with count_queries() as count:
            async with db.transaction(actor=ANYBODY, read_only=True) as tx:
                page = await read_feed(tx, feed, None, near=HERE, is_local=is_local, after=after)
        waits.append((time.perf_counter() - began) * 1000)
        queries = max(queries, count.queries)
        seen += [item.id for item in page.items]
        after = page.after
        if after is None:
            break
    waits.sort()
    return {
        f"{feed}_queries": queries,
        f"{feed}_p50_ms": round(waits[len(waits) // 2], 1),
        f"{feed}_p95_ms": round(waits[int(len(waits) * 0.95)], 1),
        f"{feed}_doubled": len(seen) - len(set(seen)),
        f"{feed}_seen": len(seen),
    }

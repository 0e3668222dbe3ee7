"""A page of each feed, in a store of a million listings: how many statements, and how long."""

import time

from benchmarks.ground import ground
from tradepost.catalog.feeds import read_feed
from tradepost.core.database import ANYBODY, Database, count_queries

STORE, LISTINGS, ROUNDS = "souk-loop", 1_000_000, 60
HERE = (36.81, 10.18)


async def measure(listings: int = LISTINGS) -> dict[str, float]:
    """Walk both feeds, page by page."""
    async with ground() as on:
        db = await Database.open(on.dsn(await on.store(STORE, listings)), size=2)
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

"""Listings a second from a feed into the store, and half a million known ones sent again: nothing written, nothing grown.

The first feed is new to the store: each listing gets its row, its words for search, its attributes, its price history; vectors are
another job's. The second feed is the same file again, with its tail changed by one price, and must leave the table as long as it was.
TRADEPOST_BENCH_KNOWN is how many; those before the first measured ones warm the tables. Beside it, in the same run: COPY of the same rows into a bare table without indexes, which is what PostgreSQL takes at best.
"""

import asyncio
import os
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import msgspec

from benchmarks.ground import ground
from benchmarks.load import cpu_seconds
from tradepost.accounts.types import Caller
from tradepost.core.crypto import Keyring
from tradepost.core.settings import IngestSettings, Settings
from tradepost.flows.manage_sources import put_source
from tradepost.flows.read_sources import read_source
from tradepost.flows.store import Store, open_store
from tradepost.sources.queries import find_source
from tradepost.sources.types import Reading, SourceDraft

STORE, CODE = "marketplace-watch", "bench-feed"
MAKES = ("Cascade", "Tamarack", "Northfold", "Halden", "Brightwater", "Orrin", "Kestrel", "Lumen", "Alder", "Vantage")
THINGS = (
    "hatchback",
    "wagon",
    "gravel bike",
    "commuter bike",
    "phone",
    "tablet",
    "laptop",
    "monitor",
    "prime lens",
    "film camera",
    "oak table",
    "armchair",
    "circular saw",
    "tool chest",
    "guitar",
    "amplifier",
    "bookshelf",
    "kayak",
    "tent",
    "record player",
)
TRAITS = ("barely used", "one owner", "with charger", "needs work", "rebuilt last spring", "boxed", "scratched but fine", "full service history",
          "black", "silver", "walnut", "size M", "size L", "for parts", "with case", "original papers")  # fmt: skip
CATEGORIES = (
    "cars",
    "city-bikes",
    "smartphones",
    "laptops",
    "cameras",
    "seating-and-beds",
    "hand-tools",
    "guitars-and-strings",
)


async def measure(new: int = 30_000) -> dict[str, Any]:
    """Measure both on a store of its own."""
    known = int(os.environ.get("TRADEPOST_BENCH_KNOWN", "500000"))
    async with ground() as on:
        name = await on.store(STORE, 0)
        with TemporaryDirectory() as folder:
            installation = Settings(stores=(STORE,), ingest=IngestSettings(folder=folder))
            opened = open_store(
                STORE, installation, dsn=on.dsn(name), cache_url=on.cache_url, files_url=str(on.home.files(STORE)),
                keys=Keyring.from_secret("bench", b"0" * 32),
            )  # fmt: skip
            async with opened as store:
                owner = await asyncpg.connect(on.dsn(name, "postgres"))
                try:
                    result = await _measured(store, owner, Path(folder) / "feed.ndjson", new, known)
                finally:
                    await _clean(owner)
                    await owner.close()
    print(f"ingest: {result}")
    return result


async def _measured(store: Store, owner: asyncpg.Connection, feed: Path, new: int, known: int) -> dict[str, Any]:
    await _clean(owner)
    staff = Caller(
        user_id=await owner.fetchval("SELECT user_id FROM user_roles WHERE role = 'admin' LIMIT 1"),
        permissions=frozenset({"manage_catalog", "staff"}),
    )
    draft = SourceDraft(
        code=CODE, name="Bench feed", kind="ndjson_feed", url="folder:feed.ndjson", settings=Reading(category="cars")
    )
    await put_source(store, staff, draft)
    source = await find_source(store.db, CODE)
    write_feed(feed, min(known, 4_000))
    warmed, _ = await _read(store, source.id)
    new -= warmed
    write_feed(feed, new + warmed)
    before_cpu = await _cpu(owner)
    inserted, took = await _read(store, source.id)
    cpu = await _cpu(owner) - before_cpu
    rows_s = new / took
    floor = await _copy_floor(owner, feed)
    print(
        f"  {inserted:,} new in {took:.1f} s: {rows_s:,.0f} a second, {1000 * cpu / new:.2f} ms of CPU each; a bare COPY takes {floor:,.0f}"
    )
    if known > new + warmed:
        write_feed(feed, known)
        _, filled = await _read(store, source.id)
        print(f"  filled to {known:,} in {filled:.0f} s: {(known - new - warmed) / filled:,.0f} a second")
    for table in ("listings", "outside_items", "search_documents"):
        await owner.execute(f"VACUUM ANALYZE {table}")
    await owner.execute("CHECKPOINT")
    before, rows_before = await _sizes(owner), await _written(owner)
    before_cpu = await _cpu(owner)
    _, again = await _read(store, source.id, touch=feed)
    again_cpu = await _cpu(owner) - before_cpu
    after, written = await _sizes(owner), await _written(owner) - rows_before
    print(
        f"  {known:,} known again in {again:.1f} s, {again_cpu:.1f} s of CPU; {written} rows written; sizes {before} then {after}"
    )
    return {"rows_s": round(rows_s), "cpu_ms": round(1000 * cpu / new, 3), "copy_rows_s": round(floor), "known_s": round(again, 1), "known_cpu_s": round(again_cpu, 1),
            "known": known, "known_written": written,
            "grown": round(sum(after.values()) / sum(before.values()) - 1, 4)}  # fmt: skip


async def _read(store: Store, source_id: Any, touch: Path | None = None) -> tuple[int, float]:
    if touch is not None:
        with touch.open("ab") as lines:
            lines.write(b"\n")
    began = time.perf_counter()
    ending = await read_source(store, source_id, "command")
    assert not ending.problem, ending.problem
    return ending.run.inserted, time.perf_counter() - began


async def _cpu(owner: asyncpg.Connection) -> float:
    """Return the seconds of CPU that this process and the database's connections have used so far."""
    pids = await owner.fetch("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
    return time.process_time() + sum(cpu_seconds(row["pid"]) for row in pids)


async def _copy_floor(owner: asyncpg.Connection, feed: Path) -> float:
    rows = [(line,) for line in lines_of(feed)]
    await owner.execute("CREATE TABLE bench_floor (line text)")
    began = time.perf_counter()
    await owner.copy_records_to_table("bench_floor", records=rows)
    took = time.perf_counter() - began
    await owner.execute("DROP TABLE bench_floor")
    return len(rows) / took


async def _sizes(owner: asyncpg.Connection) -> dict[str, int]:
    names = ("listings", "outside_items", "search_documents", "price_history")
    return {n: await owner.fetchval("SELECT pg_total_relation_size($1::regclass)", n) for n in names}


async def _written(owner: asyncpg.Connection) -> int:
    """Return how many rows of the catalogue and of search were ever inserted, updated or deleted."""
    await owner.execute("SELECT pg_stat_force_next_flush()")
    await asyncio.sleep(1.5)  # others write their counts down once a second
    await owner.execute("SELECT pg_stat_clear_snapshot()")
    return int(await owner.fetchval(
        "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables WHERE relname = ANY ($1)",
        ["listings", "outside_items", "search_documents", "price_history", "listing_images", "listing_attributes", "alert_queue"],
    ))  # fmt: skip


async def _clean(owner: asyncpg.Connection) -> None:
    await owner.execute("SET statement_timeout = 0")
    for table in (
        "outside_items",
        "price_history",
        "listing_images",
        "listing_attributes",
        "listing_stats",
        "search_vectors",
        "search_documents",
    ):
        await owner.execute(
            f"DELETE FROM {table} WHERE listing_id IN (SELECT l.id FROM listings l JOIN sources s ON s.id = l.source_id WHERE s.code = $1)",
            CODE,
        )
    await owner.execute("DELETE FROM listings l USING sources s WHERE s.id = l.source_id AND s.code = $1", CODE)
    await owner.execute("DELETE FROM sources WHERE code = $1", CODE)


def lines_of(feed: Path) -> list[str]:
    """Return the lines of a feed."""
    return feed.read_text("utf-8").splitlines()


def write_feed(path: Path, count: int) -> None:
    """Write a feed of so many made-up listings, always the same ones."""
    choose = random.Random(7)  # noqa: S311  # the same listings each time, nothing secret
    with path.open("wb") as lines:
        for n in range(count):
            make, thing, trait, other = (
                choose.choice(MAKES),
                choose.choice(THINGS),
                choose.choice(TRAITS),
                choose.choice(TRAITS),
            )
            year = choose.randrange(1995, 2026)
            row = {
                "id": f"B-{n:07}", "title": f"{year} {make} {thing}, {trait}", "price": f"${choose.randrange(5, 9000)}.00",
                "description": f"Selling my {make} {thing}. It is {trait} and {other}; model {choose.randrange(100, 999)}. Pick up in the evening, cash.",
                "category": choose.choice(CATEGORIES), "url": f"https://bench.example.com/{n}", "location": "Portland",
                "images": [f"https://bench.example.com/{n}.jpg"], "seller": {"name": f"Seller {n % 997}", "id": str(n % 997)},
                "attributes": {"make": make, "year": year, "condition": choose.choice(("Like new", "Good", "Fair"))},
            }  # fmt: skip
            lines.write(msgspec.json.encode(row) + b"\n")

"""What noting visitors' events costs a page: the same pages from a server that notes them and from one that does not, in turns.

Counted is the CPU of the server and of its database connections, until everything that waited is written; and whether it all was.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg

from benchmarks.ground import ground
from benchmarks.load import cpu_seconds, hammer
from benchmarks.pages import server
from tradepost.analytics.noting import PAUSE_S

STORE, LISTINGS, REQUESTS, ROUNDS, CLIENTS = "tese", 2_000, 600, 5, 8
COLLECT = "TRADEPOST_BENCH_COLLECT"


async def measure() -> dict[str, Any]:
    """Serve category pages with and without events, in turns, and compare."""
    async with ground() as on:
        name = await on.store(STORE, LISTINGS)
        dsn, files = on.dsn(name), str(on.home.files(STORE))
        owner = await asyncpg.connect(on.dsn(name, "postgres"))
        slugs = await owner.fetch("SELECT slug FROM categories WHERE is_active ORDER BY slug LIMIT 10")
        paths = [f"/c/{row['slug']}" for row in slugs]
        before = await owner.fetchval("SELECT count(*) FROM analytics_events")
        with (
            collecting("off"),
            server("store", dsn, STORE, on.cache_url, files) as (off_pid, off_port),
            collecting("all"),
            server("store", dsn, STORE, on.cache_url, files) as (pid, port),
        ):
            with_events, without = [], []
            for round_no in range(ROUNDS + 1):
                a = await _round(owner, off_port, paths, off_pid)
                b = await _round(owner, port, paths, pid)
                if round_no:  # the first warms both up
                    without.append(a)
                    with_events.append(b)
        written = await owner.fetchval("SELECT count(*) FROM analytics_events") - before
        await owner.close()
    found = {
        "cpu_ratio": round(median(with_events) / median(without), 3), "with_ms": round(median(with_events), 3),
        "without_ms": round(median(without), 3), "lost": (ROUNDS + 1) * REQUESTS - written,
    }  # fmt: skip
    print(f"analytics: {found}")
    return found


@contextmanager
def collecting(what: str) -> Iterator[None]:
    """Within the block, servers that are started collect events so."""
    os.environ[COLLECT] = what
    try:
        yield
    finally:
        os.environ.pop(COLLECT, None)


async def _round(owner: asyncpg.Connection, port: int, paths: list[str], pid: int) -> float:
    """Return the milliseconds of CPU that a page took in the server and in the database, events written included."""
    before, server_before = await _database(owner), cpu_seconds(pid)
    await hammer(port, f"{STORE}.localhost", paths, requests=REQUESTS, clients=CLIENTS, pid=pid)
    await asyncio.sleep(PAUSE_S + 0.5)  # until what waits is written
    used = cpu_seconds(pid) - server_before + await _database(owner) - before
    return used * 1000 / REQUESTS


async def _database(owner: asyncpg.Connection) -> float:
    """Return the CPU that the store's connections have used; none ends during a run."""
    rows = await owner.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = $1", f"tradepost-{STORE}")
    return sum(_used(row["pid"]) for row in rows)


def _used(pid: int) -> float:
    return cpu_seconds(pid) if Path(f"/proc/{pid}").exists() else 0.0

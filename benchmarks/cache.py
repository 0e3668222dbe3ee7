"""A listing's page for a visitor: from the cache, and without it, in turns by one server process; the CPU that each takes.

Without it means that the same server finds none: its cache is a second, empty address while it is off. Counted is the CPU of the
server and that of its database connections.
"""

import asyncio
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg

from benchmarks.ground import ground
from benchmarks.load import Result, cpu_seconds, hammer
from benchmarks.pages import look, server
from tradepost.core.ids import short_id

STORE, LISTINGS, REQUESTS, ROUNDS, CLIENTS, PAGES = "tese", 20_000, 400, 5, 8, 40
_NOWHERE = "redis://127.0.0.1:1/0"


async def measure() -> dict[str, Any]:
    """Serve the same pages with and without a cache, in turns, and compare."""
    async with ground() as on:
        name = await on.store(STORE, LISTINGS)
        dsn, files = on.dsn(name), str(on.home.files(STORE))
        owner = await asyncpg.connect(on.dsn(name, "postgres"))
        rows = await owner.fetch(
            "SELECT id, slug FROM listings WHERE status = 'active' ORDER BY popularity DESC, id LIMIT $1", PAGES
        )
        paths = [f"/l/{row['slug']}-{short_id(row['id'])}" for row in rows]
        host = f"{STORE}.localhost"
        with (
            server("store", dsn, STORE, on.cache_url, files) as (kept_pid, kept_port),
            server("store", dsn, STORE, _NOWHERE, files) as (bare_pid, bare_port),
        ):
            queries = {"kept": (await asyncio.to_thread(look, kept_port, host, paths[0]))[0],
                       "bare": (await asyncio.to_thread(look, bare_port, host, paths[0]))[0]}  # fmt: skip
            kept, bare = [], []
            for round_no in range(ROUNDS + 1):
                a = await _round(owner, bare_port, host, paths, bare_pid)
                b = await _round(owner, kept_port, host, paths, kept_pid)
                if round_no:  # the first warms both up
                    bare.append(a)
                    kept.append(b)
        await owner.close()
    found = {
        "cpu_ratio": round(median(k[0] + k[1] for k in kept) / median(b[0] + b[1] for b in bare), 2),
        "server_ratio": round(median(k[0] for k in kept) / median(b[0] for b in bare), 2),
        "cached_ms": round(median(k[0] for k in kept), 2), "cached_database_ms": round(median(k[1] for k in kept), 2),
        "uncached_ms": round(median(b[0] for b in bare), 2), "uncached_database_ms": round(median(b[1] for b in bare), 2),
        "cached_queries": queries["kept"], "uncached_queries": queries["bare"],
    }  # fmt: skip
    print(f"cache: {found}")
    return found


async def _round(owner: asyncpg.Connection, port: int, host: str, paths: list[str], pid: int) -> tuple[float, float]:
    """Return the milliseconds of CPU that a page took in the server and in its database connections."""
    backends = [
        row["pid"]
        for row in await owner.fetch(
            "SELECT pid FROM pg_stat_activity WHERE application_name = $1", f"tradepost-{STORE}"
        )
    ]
    before = {p: _used(p) for p in backends}
    result: Result = await hammer(port, host, paths, requests=REQUESTS, clients=CLIENTS, pid=pid)
    after = [
        row["pid"]
        for row in await owner.fetch(
            "SELECT pid FROM pg_stat_activity WHERE application_name = $1", f"tradepost-{STORE}"
        )
    ]
    database = sum(_used(p) - before.get(p, 0.0) for p in after)
    return result.cpu_ms, database * 1000 / REQUESTS


def _used(pid: int) -> float:
    return cpu_seconds(pid) if Path(f"/proc/{pid}").exists() else 0.0

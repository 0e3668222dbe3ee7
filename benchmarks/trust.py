"""What row-level security and the audit log cost: CPU of the server and its database connections, with them and without, in turns.

One server process and one database; between rounds the guards are taken away and put back, so that both sides see the same plans,
the same caches and the same noise of the machine. The CPU of what works beside (WAL writer, autovacuum) is not in it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from statistics import median

import asyncpg

from benchmarks.checkout import Run, check_out
from benchmarks.ground import ground
from benchmarks.load import Client, cpu_seconds
from benchmarks.pages import server
from benchmarks.trading import Buyer, add_buyers, add_goods, fill_carts

STORE, LISTINGS, CLIENTS = "tese", 20_000, 4
PAGE, PAGES, PAGE_ROUNDS = "/search?sort=newest", 600, 7
ORDERS, ORDER_ROUNDS = 300, 7
_GUARDED = "SELECT oid::regclass::text FROM pg_class WHERE relrowsecurity AND relkind IN ('r', 'p')"
_AUDITED = """
    SELECT tgrelid::regclass::text, tgname::text FROM pg_trigger
    WHERE tgname IN ('audit', 'audit_update') AND NOT tgisinternal AND tgparentid = 0
"""
_CONNECTIONS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = 'tradepost_app'"


@dataclass(frozen=True)
class Guards:
    """Row-level security and the audit triggers of a database."""

    owner: asyncpg.Connection
    tables: tuple[str, ...]
    triggers: tuple[tuple[str, str], ...]

    @classmethod
    async def of(cls, owner: asyncpg.Connection) -> "Guards":
        """Return those that are on."""
        tables = tuple(row[0] for row in await owner.fetch(_GUARDED))
        return cls(owner, tables, tuple((row[0], row[1]) for row in await owner.fetch(_AUDITED)))

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Take them away for the length of the block."""
        await self._turn("DISABLE")
        try:
            yield
        finally:
            await self._turn("ENABLE")

    async def _turn(self, how: str) -> None:
        async with self.owner.transaction():
            for table in self.tables:
                await self.owner.execute(f"ALTER TABLE {table} {how} ROW LEVEL SECURITY")
            for table, trigger in self.triggers:
                await self.owner.execute(f"ALTER TABLE {table} {how} TRIGGER {trigger}")


async def measure() -> dict[str, float]:
    """Measure the catalogue page of somebody signed in, and a checkout of two sellers' goods."""
    async with ground() as on:
        name = await on.store(STORE, LISTINGS)
        owner = await asyncpg.connect(on.dsn(name, "postgres"))
        guards, numbers = await Guards.of(owner), count()
        mark = f"t{await owner.fetchval('SELECT extract(epoch FROM now())::bigint')}"
        goods = await add_goods(owner, mark, 20, 5, 1_000_000, 250)
        [reader] = await add_buyers(owner, f"{mark}-reader", 1)
        with server("store", on.dsn(name), STORE, on.cache_url, str(on.home.files(STORE))) as (pid, port):

            async def look() -> float:
                return await _cpu_of(owner, pid, PAGES, lambda: _pages(port, reader))

            async def buy() -> float:
                buyers = await add_buyers(owner, f"{mark}-{next(numbers)}", ORDERS)
                half = len(goods) // 2
                await fill_carts(owner, buyers, [(goods[n], goods[n + half]) for n in range(half)])
                return await _cpu_of(owner, pid, ORDERS, lambda: _orders(port, buyers, mark))

            page, page_bare = await _in_turns(guards, look, PAGE_ROUNDS)
            order, order_bare = await _in_turns(guards, buy, ORDER_ROUNDS)
        await owner.close()
    result = {
        "page_cpu_ms": page, "page_bare_cpu_ms": page_bare, "page_added": round(page / page_bare - 1, 3),
        "checkout_cpu_ms": order, "checkout_bare_cpu_ms": order_bare, "checkout_added": round(order / order_bare - 1, 3),
    }  # fmt: skip
    print(f"trust: {result}")
    return result


async def _in_turns(guards: Guards, work: Callable[[], Awaitable[float]], rounds: int) -> tuple[float, float]:
    """Return the middle of the CPU milliseconds with the guards and without; the first round of each only warms up."""
    with_them, without = [], []
    for _ in range(rounds + 1):
        with_them.append(await work())
        async with guards.away():
            without.append(await work())
    return round(median(with_them[1:]), 3), round(median(without[1:]), 3)


async def _cpu_of(owner: asyncpg.Connection, pid: int, times: int, work: Callable[[], Awaitable[None]]) -> float:
    """Return the CPU milliseconds that one of so many takes of the server and of its connections."""
    pids = [pid, *(row["pid"] for row in await owner.fetch(_CONNECTIONS))]
    before = sum(cpu_seconds(p) for p in pids)
    await work()
    return (sum(cpu_seconds(p) for p in pids) - before) * 1000 / times


async def _pages(port: int, reader: Buyer) -> None:
    turn = iter(range(PAGES))

    async def client() -> None:
        one = Client(port, f"{STORE}.localhost", reader.token)
        for _ in turn:
            status, answer = await one.post(PAGE, b"", method="GET")
            if status != 200:
                raise RuntimeError(answer[:300].decode())
        one.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


async def _orders(port: int, buyers: list[Buyer], mark: str) -> None:
    run, turn = Run(), iter(buyers)

    async def client() -> None:
        one = Client(port, f"{STORE}.localhost", "")
        for buyer in turn:
            one.become(buyer.token)
            await check_out(run, one, f"{mark}-{buyer.user_id}")
        one.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    if run.refused:
        raise RuntimeError(f"{run.refused} checkouts were refused")

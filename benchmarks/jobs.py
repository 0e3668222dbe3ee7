"""What a job costs, beside pgqueuer's own way on the same tables: to ask for, to tell of, to find among deferred ones, to wait for.

Run it with `python -m benchmarks.jobs` on a machine that does nothing else; it takes about three minutes. The figures of
docs/decisions/0004-jobs-and-events.md come from here. The last line is JSON.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from uuid import uuid4

import asyncpg
import msgspec
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pgqueuer.queries import Queries
from pgqueuer.types import QueueEntrypoint, QueueManagerId
from sqlalchemy import text

from tradepost.core import events, job_runner
from tradepost.core.database import SYSTEM, Database, Transaction
from tradepost.core.embedded import PostgresServer, embedded_postgres
from tradepost.core.job_runner import run_jobs
from tradepost.core.jobs import Registry, Request, enqueue, enqueue_all
from tradepost.migrations import create_database, migrate

DEFERRED = 100_000
CLIENTS = 16
STORES = 5
IDLE_S = 30
APP = "tradepost_app"
_ONE = text("SELECT 1")
_INSERT = "BEGIN; INSERT INTO pgqueuer (priority, entrypoint, status) VALUES (0, 'shop.work', 'queued'); COMMIT"


@dataclass
class Shop:
    """A store, as far as jobs need one."""

    db: Database


class Work(msgspec.Struct, frozen=True):
    """The arguments of the job."""

    number: int


class Done(msgspec.Struct, frozen=True):
    """An event with one subscriber."""

    number: int


async def measure() -> dict[str, dict[str, float]]:
    """Return every figure, by what it is about."""
    with tempfile.TemporaryDirectory() as home:
        async with embedded_postgres(Path(home)) as server:
            for n in range(STORES):
                await create_database(server.dsn("postgres"), f"jobs{n}")
                await migrate(server.dsn(f"jobs{n}"))
            return {
                "enqueue_ms": await _enqueueing(server),
                "commits_s": await _committing(server),
                "find_ms": await _finding(server),
                "worker": await _working(server),
                "idle_cpu_percent": await _idling(server),
            }


async def _enqueueing(server: PostgresServer) -> dict[str, float]:
    """Measure the median time within a transaction: of nothing, of our ways, of pgqueuer's."""
    db = await Database.open(server.dsn("jobs0", APP))
    events.subscribe(Done, "shop.work")
    ways: dict[str, Callable[[Transaction], Awaitable[object]]] = {
        "select_1": lambda tx: tx.value(_ONE),
        "enqueue": lambda tx: enqueue(tx, "shop.work", Work(1)),
        "enqueue_ten": lambda tx: enqueue_all(tx, [Request("shop.work", Work(n)) for n in range(10)]),
        "record_event_with_job": lambda tx: events.record(tx, Done(1)),
    }
    found = {name: await _median(db, way) for name, way in ways.items()}
    await db.close()
    connection = await asyncpg.connect(server.dsn("jobs0", APP))
    queries, times = Queries(AsyncpgDriver(connection)), []
    for _ in range(500):
        async with connection.transaction():
            started = time.perf_counter()
            await queries.enqueue("shop.work", b"{}")
            times.append(time.perf_counter() - started)
    await connection.execute("DELETE FROM pgqueuer")
    await connection.close()
    return found | {"pgqueuer_enqueue": 1000 * median(times)}


async def _median(db: Database, way: Callable[[Transaction], Awaitable[object]]) -> float:
    times = []
    for _ in range(500):
        async with db.transaction(actor=SYSTEM) as tx:
            started = time.perf_counter()
            await way(tx)
            times.append(time.perf_counter() - started)
    return 1000 * median(times)


async def _committing(server: PostgresServer) -> dict[str, float]:
    """Measure how many transactions that insert a job commit a second at sixteen clients, told within and told after."""
    owner = await asyncpg.connect(server.dsn("jobs0"))
    found = {}
    for name, switch in (("told_within", "ENABLE"), ("told_after", "DISABLE")):
        await owner.execute(f"ALTER TABLE pgqueuer {switch} TRIGGER tg_pgqueuer_changed")
        clients = [await asyncpg.connect(server.dsn("jobs0", APP)) for _ in range(CLIENTS)]
        deadline = time.perf_counter() + 5
        counts = await asyncio.gather(*(_inserts(client, deadline) for client in clients))
        found[name] = sum(counts) / 5
        for client in clients:
            await client.close()
    await owner.execute("TRUNCATE pgqueuer")
    await owner.close()
    return found


async def _inserts(client: asyncpg.Connection, deadline: float) -> int:
    done = 0
    while time.perf_counter() < deadline:
        await client.execute(_INSERT)
        done += 1
    return done


async def _finding(server: PostgresServer) -> dict[str, float]:
    """Measure one look for due work, and for when the next is due, while many jobs wait for later."""
    connection = await asyncpg.connect(server.dsn("jobs0", APP))
    await connection.execute(
        "INSERT INTO pgqueuer (priority, entrypoint, status, execute_after) "
        f"SELECT 0, 'shop.work', 'queued', now() + interval '30 minutes' FROM generate_series(1, {DEFERRED})"
    )
    names = ["shop.work", *(f"shop.other{n}" for n in range(40))]
    queries = Queries(AsyncpgDriver(connection))
    limits = {QueueEntrypoint(name): EntrypointExecutionParameter(concurrency_limit=0) for name in names}
    silence = timedelta(seconds=30)

    async def ours() -> None:
        await job_runner._fetch(  # noqa: SLF001  # the statements themselves are what is measured
            connection, job_runner._CLAIM, levels=job_runner._LEVELS, names=names, most=4, silence=silence,  # noqa: SLF001
            mine=[], worker=uuid4(),
        )  # fmt: skip
        await job_runner._fetch(connection, job_runner._NEXT_DUE, levels=job_runner._LEVELS, names=names)  # noqa: SLF001

    async def theirs() -> None:
        await queries.dequeue(4, limits, QueueManagerId(uuid4()), None, silence)
        await queries.next_deferred_eta(list(limits))

    found = {"ours": await _looked(ours), "pgqueuer": await _looked(theirs)}
    await connection.execute("DELETE FROM pgqueuer")
    await connection.close()
    return found


async def _looked(look: Callable[[], Awaitable[None]]) -> float:
    times = []
    for _ in range(30):
        started = time.perf_counter()
        await look()
        times.append(time.perf_counter() - started)
    return 1000 * median(times)


async def _working(server: PostgresServer) -> dict[str, float]:
    """Measure jobs that do nothing: how many a second, what each costs here, and how soon one runs after its commit."""
    db = await Database.open(server.dsn("jobs0", APP))
    registry, ran = Registry(), asyncio.Queue[float]()

    @registry.job("shop.work", args=Work)
    async def work(_shop: Shop, _work: Work) -> None:
        ran.put_nowait(time.perf_counter())

    async with db.transaction(actor=SYSTEM) as tx:
        await enqueue_all(tx, [Request("shop.work", Work(n)) for n in range(5000)])
    stop = asyncio.Event()
    cpu, started = time.process_time(), time.perf_counter()
    worker = asyncio.create_task(run_jobs(Shop(db), registry, stop))
    for _ in range(5000):
        await ran.get()
    found = {"jobs_s": 5000 / (time.perf_counter() - started), "cpu_us_a_job": 200 * (time.process_time() - cpu)}
    delays = []
    for _ in range(100):
        await asyncio.sleep(0.03)
        async with db.transaction(actor=SYSTEM) as tx:
            await enqueue(tx, "shop.work", Work(0))
        committed = time.perf_counter()
        delays.append(await ran.get() - committed)
    stop.set()
    started = time.perf_counter()
    await worker
    await db.close()
    return found | {"starts_after_ms": 1000 * median(delays), "stops_after_ms": 1000 * (time.perf_counter() - started)}


async def _idling(server: PostgresServer) -> dict[str, float]:
    """Measure five stores with nothing to do but six schedules a minute each."""
    names = [f"shop.work{n}" for n in range(30)]
    return {"ours": await _idle_ours(server, names), "pgqueuer": await _idle_pgqueuer(server, names)}


async def _idle_ours(server: PostgresServer, names: Sequence[str]) -> float:
    registry = Registry()

    async def nothing(_shop: Shop) -> None: ...

    for name in names:
        registry.job(name)(nothing)
    for n in range(6):
        registry.scheduled(f"shop.tick{n}", cron="* * * * *")(nothing)
    stores = [Shop(await Database.open(server.dsn(f"jobs{n}", APP))) for n in range(STORES)]
    stop = asyncio.Event()
    workers = [asyncio.create_task(run_jobs(store, registry, stop)) for store in stores]
    percent = await _cpu_while_idle()
    stop.set()
    await asyncio.gather(*workers)
    for store in stores:
        await store.db.close()
    return percent


async def _idle_pgqueuer(server: PostgresServer, names: Sequence[str]) -> float:
    connections = [await asyncpg.connect(server.dsn(f"jobs{n}", APP)) for n in range(STORES)]
    managers = [PgQueuer.from_asyncpg_connection(connection) for connection in connections]

    async def nothing(_job: object) -> None: ...

    for manager in managers:
        for name in names:
            manager.entrypoint(name)(nothing)
        for n in range(6):
            manager.schedule(f"shop.tick{n}", "* * * * *")(nothing)
    workers = [asyncio.create_task(manager.run()) for manager in managers]
    percent = await _cpu_while_idle()
    for manager in managers:
        manager.shutdown.set()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*workers)
    for connection in connections:
        await connection.close()
    return percent


async def _cpu_while_idle() -> float:
    await asyncio.sleep(3)
    cpu, started = time.process_time(), time.perf_counter()
    await asyncio.sleep(IDLE_S)
    return 100 * (time.process_time() - cpu) / (time.perf_counter() - started)


def main() -> None:
    """Measure, and print."""
    found = asyncio.run(measure())
    for subject, figures in found.items():
        print(f"{subject:>18}  " + "  ".join(f"{name} {value:.2f}" for name, value in figures.items()))
    print(json.dumps({subject: {k: round(v, 3) for k, v in figures.items()} for subject, figures in found.items()}))


if __name__ == "__main__":
    main()

"""The engine room as operators see it: whether everything answers, how the database does, jobs that failed, and advice."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from tradepost.accounts.types import Caller
from tradepost.core.cache import HitRate
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Actor
from tradepost.core.health import Health, readiness
from tradepost.core.jobs import FailedJob, QueueState, discard_failed, list_failed, queue_lag, queue_state, retry_failed
from tradepost.flows.store import Store
from tradepost.ops.queries import latest_runs, observe
from tradepost.ops.rules import advise, unused_indexes, whole_tables
from tradepost.ops.types import (
    Advice,
    DatabaseState,
    IndexHealth,
    MaintenanceRun,
    Sample,
    SlowQuery,
    Standby,
    WholeTable,
)


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator looks at first. `failed`: the latest 50 jobs that gave up; `rates`: of the cache, in this process."""

    health: Health
    queue: QueueState
    failed: tuple[FailedJob, ...]
    rates: tuple[HitRate, ...]
    advice: tuple[Advice, ...]
    lag_s: float


class UnusedIndex(msgspec.Struct, frozen=True):
    """An index that nobody has read since statistics began."""

    name: str
    table_name: str
    index_bytes: int


class DatabaseHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How a store's database does. `slow` is empty where PostgreSQL does not count statements (`statements`).

    `samples`: figures of the last two days; `books`: the last look whether the ledger adds up; `lag_s`: of the oldest due job.
    """

    at: datetime
    state: DatabaseState
    hit_percent: float | None
    advice: tuple[Advice, ...]
    tables: tuple[WholeTable, ...]
    indexes: tuple[IndexHealth, ...]
    unused: tuple[UnusedIndex, ...]
    slow: tuple[SlowQuery, ...]
    statements: bool
    standbys: tuple[Standby, ...]
    samples: tuple[Sample, ...]
    runs: tuple[MaintenanceRun, ...]
    books: MaintenanceRun | None
    queue: QueueState
    lag_s: float
    rates: tuple[HitRate, ...]


async def get_engine(store: Store, caller: Caller) -> Engine:
    """Return how the engine room does. Raises `NotAllowed`."""
    caller.check_can("manage_store")
    health = await readiness(store.db, store.cache)
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        queue, lag = await queue_state(tx), await queue_lag(tx)
        failed = await list_failed(tx)
        found = await observe(tx)
    return Engine(
        health=health, queue=queue, failed=tuple(failed), rates=tuple(store.cache.rates()), advice=advise(found, now()), lag_s=lag,
    )  # fmt: skip


async def get_database_health(store: Store, caller: Caller) -> DatabaseHealth:
    """Return how the store's database does, with advice. Raises `NotAllowed`."""
    caller.check_can("manage_store")
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        found = await observe(tx)
        queue, lag = await queue_state(tx), await queue_lag(tx)
        latest = await latest_runs(tx)
    at = now()
    return DatabaseHealth(
        at=at, state=found.state, hit_percent=found.state.hit_percent, advice=advise(found, at), tables=tuple(whole_tables(found.tables)),
        indexes=tuple(sorted(found.indexes, key=lambda i: (-i.index_bytes, i.name))),
        unused=tuple(UnusedIndex(*unused) for unused in unused_indexes(found.indexes, least_bytes=64 * 1024)),
        slow=found.slow, statements=found.statements, standbys=found.standbys, samples=found.samples, runs=found.runs,
        books=latest.get("books"), queue=queue, lag_s=lag, rates=tuple(store.cache.rates()),
    )  # fmt: skip


async def decide_jobs(store: Store, caller: Caller, ids: Iterable[int], *, retry: bool) -> int:
    """Put failed jobs back into the queue, or forget them; return how many there were. Raises `NotAllowed`."""
    caller.check_can("manage_store")
    chosen = list(ids)[:100]
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        return await (retry_failed(tx, chosen) if retry else discard_failed(tx, chosen))

"""Keeping the database well: what needs it is cleaned up, looked at anew and written anew, one thing after the other, on record.

Promises that two workers never maintain one database at once, that indexes are written anew in quiet hours only, and that a run which
was killed is taken up by the next: what needs work is what the database says at that moment, and what an interrupted command has left
is cleared first.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg
import structlog
from sqlalchemy import text

from tradepost.core.clock import now
from tradepost.core.database import SYSTEM
from tradepost.core.housekeeping import make_months
from tradepost.core.jobs import scheduled
from tradepost.core.settings import MaintenanceSettings
from tradepost.flows.store import Store
from tradepost.ops import upkeep
from tradepost.ops.books import Drift, find_drift
from tradepost.ops.queries import list_indexes, list_tables
from tradepost.ops.rules import BLOAT_BYTES, is_leftover, needs_analyze, needs_reindex, needs_vacuum
from tradepost.ops.service import begin_run, end_run, forget_runs, give_up_running, note_run, take_sample
from tradepost.ops.types import IndexHealth, Kind, TableHealth

_MOST_BOOKS_MS = 600_000
_log = structlog.get_logger()


def is_quiet(maintenance: MaintenanceSettings, hour: int) -> bool:
    """Whether an hour of the day is one of the quiet ones; they may go over midnight, and the same hour twice is the whole day."""
    begin, end = maintenance.quiet_from, maintenance.quiet_until
    return begin <= hour < end if begin < end else hour >= begin or hour < end


def _is_quiet_now(store: Store) -> bool:
    return is_quiet(store.installation.maintenance, now().astimezone(store.zone).hour)


@scheduled("ops.take_sample", cron="*/10 * * * *")
async def sample(store: Store) -> None:
    """Write the database's figures down, for the health page."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await take_sample(tx)


@scheduled("ops.make_months", cron="17 3 * * *")
async def months(store: Store) -> None:
    """Make the coming months of every table that is kept by month, and say on record how many were new."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        made = await make_months(tx)
        if made:
            await note_run(tx, "months", "all tables by month", detail=f"{made} months made ahead.", found=made)


@scheduled("ops.check_books", cron="37 4 * * *", time_limit=timedelta(minutes=15))
async def check_books_job(store: Store) -> None:
    """Add the ledger up, and say on record and in the log where it does not."""
    await check_books(store)


async def check_books(store: Store) -> Drift:
    """Add the ledger up and write down what came of it."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text(f"SET LOCAL statement_timeout = {_MOST_BOOKS_MS}"))
        drift = await find_drift(tx)
        await note_run(tx, "books", "ledger", detail=drift.sentence, found=drift.found)
    if drift.found:
        _log.error("ledger.drift", unbalanced=drift.unbalanced, off_minor=drift.off_minor, unbooked=drift.unbooked)
    return drift


@scheduled("ops.maintain", cron="23 * * * *", time_limit=timedelta(hours=4))
async def maintain_job(store: Store) -> None:
    """Clean up and look anew where it is needed; in quiet hours write bloated indexes anew too."""
    await maintain(store)


async def maintain(store: Store, *, least_bytes: int = BLOAT_BYTES) -> int:
    """Do all that needs doing and return how much that was. `least_bytes`: of air, for an index to be written anew."""
    async with store.db.own_connection() as connection, upkeep.alone(connection) as is_alone:
        if not is_alone:
            return 0
        async with store.db.transaction(actor=SYSTEM) as tx:
            await give_up_running(tx, "vacuum", "analyze", "reindex", "leftover")
            await forget_runs(tx)
            indexes = [index for index in await list_indexes(tx) if upkeep.is_plain(index.name)]
            tables = [table for table in await list_tables(tx) if upkeep.is_plain(table.name)]
        done = await _clear(store, connection, indexes) + await _tidy(store, connection, tables)
        return done + await _rewrite(store, connection, indexes, least_bytes)


async def _clear(store: Store, connection: asyncpg.Connection, indexes: list[IndexHealth]) -> int:
    """Drop what interrupted rewriting has left, in quiet hours, where nobody is writing an index."""
    left = [index for index in indexes if is_leftover(index)]
    if left and (not _is_quiet_now(store) or await upkeep.writes_indexes(connection)):
        return 0
    for index in left:
        await _recorded(store, "leftover", index.name, index.index_bytes, _dropping(connection, index.name))
    return len(left)


def _dropping(connection: asyncpg.Connection, index: str) -> Callable[[], Awaitable[int]]:
    async def work() -> int:
        await upkeep.drop_leftover(connection, index)
        return 0

    return work


async def _tidy(store: Store, connection: asyncpg.Connection, tables: list[TableHealth]) -> int:
    """Clean up and look anew, the most neglected first."""
    done = 0
    for table in sorted(tables, key=lambda t: -t.dead_rows):
        kind: Kind | None = (
            "vacuum" if needs_vacuum(table, now()) else "analyze" if needs_analyze(table, now()) else None
        )
        if kind is not None:
            command = upkeep.vacuum if kind == "vacuum" else upkeep.analyze
            await _recorded(store, kind, table.name, table.total_bytes, _on_table(connection, command, table.name))
            done += 1
    return done


def _on_table(
    connection: asyncpg.Connection, command: Callable[[asyncpg.Connection, str], Awaitable[None]], table: str
) -> Callable[[], Awaitable[int]]:
    async def work() -> int:
        await command(connection, table)
        return await upkeep.table_size(connection, table)

    return work


async def _rewrite(store: Store, connection: asyncpg.Connection, indexes: list[IndexHealth], least_bytes: int) -> int:
    """Write bloated indexes anew, the worst first, for as long as the quiet hours last."""
    done = 0
    maintenance = store.installation.maintenance
    bloated = [index for index in indexes if needs_reindex(index, least_bytes=least_bytes)]
    for index in sorted(bloated, key=lambda i: -(i.bloat_bytes or 0)):
        if not maintenance.reindex or not _is_quiet_now(store):
            break
        await _recorded(store, "reindex", index.name, index.index_bytes, _writing(connection, index.name))
        done += 1
    return done


def _writing(connection: asyncpg.Connection, index: str) -> Callable[[], Awaitable[int]]:
    async def work() -> int:
        await upkeep.reindex(connection, index)
        return await upkeep.index_size(connection, index)

    return work


async def _recorded(store: Store, kind: Kind, target: str, size: int, work: Callable[[], Awaitable[int]]) -> None:
    """Do one thing; whatever the database says to it is on record, and the next thing is done all the same."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        run_id = await begin_run(tx, kind, target, size)
    failure = ""
    after = None
    try:
        after = await work()
    except (asyncpg.PostgresError, upkeep.Skipped) as error:
        failure = str(error)
        _log.warning("maintenance.failed", kind=kind, target=target, error=failure)
    async with store.db.transaction(actor=SYSTEM) as tx:
        await end_run(tx, run_id, detail=failure, bytes_after=after, failed=bool(failure))

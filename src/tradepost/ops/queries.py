"""Reading PostgreSQL's own statistics, and the record of maintenance. Every transaction here acts as the system, or staff."""

import re
from datetime import timedelta
from typing import Final

import asyncpg
from sqlalchemy import text

from tradepost.core.database import Transaction
from tradepost.ops.types import (
    DatabaseState,
    IndexHealth,
    MaintenanceRun,
    Observed,
    Sample,
    SlowQuery,
    Standby,
    TableHealth,
)

SLOWEST: Final = 8
_LONGEST_TEXT: Final = 300
_STATE = text("""
    WITH mine AS (
        SELECT count(*) FILTER (WHERE datname = current_database()) AS connections,
               count(*) FILTER (WHERE datname = current_database() AND state = 'active') AS active,
               count(*) FILTER (WHERE datname = current_database() AND state LIKE 'idle in transaction%') AS idle_in_transaction,
               count(*) FILTER (WHERE datname = current_database() AND wait_event_type = 'Lock') AS waiting,
               CAST(coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)
                    FILTER (WHERE datname = current_database() AND pid <> pg_backend_pid())), 0) AS float8) AS longest_s,
               count(*) AS server_connections
        FROM pg_stat_activity WHERE backend_type = 'client backend'
    )
    SELECT d.datname::text AS name, current_setting('server_version') AS version, pg_database_size(d.datname) AS database_bytes,
           d.blks_hit AS blocks_hit, d.blks_read AS blocks_read, d.xact_commit AS commits, d.xact_rollback AS rollbacks,
           d.deadlocks, d.temp_bytes, d.stats_reset AS counted_since, pg_postmaster_start_time() AS started_at,
           age(own.datfrozenxid) AS frozen_age, mine.*, CAST(current_setting('max_connections') AS int) AS most_connections,
           CAST(coalesce((SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) FROM pg_replication_slots
                          WHERE NOT pg_is_in_recovery()), 0) AS bigint) AS kept_wal_bytes,
           ARRAY(SELECT slot_name::text FROM pg_replication_slots WHERE wal_status = 'lost' ORDER BY 1) AS lost_slots,
           ARRAY(SELECT slot_name::text FROM pg_replication_slots WHERE NOT active AND wal_status IS DISTINCT FROM 'lost' ORDER BY 1) AS idle_slots
    FROM pg_stat_database d JOIN pg_database own ON own.oid = d.datid, mine WHERE d.datname = current_database()
""")
_TABLES = text("SELECT * FROM table_health()")
_INDEXES = text("SELECT * FROM index_health()")
_STANDBYS = text("SELECT * FROM replication_health()")
_SLOW = text(r"""
    SELECT left(query, 4000) AS text, calls, total_exec_time AS total_ms, mean_exec_time AS mean_ms, max_exec_time AS longest_ms,
           rows, 100 * total_exec_time / greatest(sum(total_exec_time) OVER (), 0.001) AS percent
    FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND query !~ '(table|index|replication)_health\(|pg_stat_|typeinfo_tree'  -- what this page and the driver ask
      AND query <> '<insufficient privilege>' AND query !~* '^(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|LISTEN|NOTIFY|SET|DEALLOCATE)'
    ORDER BY total_exec_time DESC LIMIT :most
""")
_SAMPLES = text("SELECT * FROM engine_samples WHERE taken_at > now() - CAST(:since AS interval) ORDER BY taken_at")
_RUNS = text("""
    SELECT id, kind, target, outcome, detail, found, bytes_before, bytes_after, began_at, ended_at
    FROM maintenance_runs ORDER BY began_at DESC, id DESC LIMIT :limit
""")
_LATEST = text("""
    SELECT DISTINCT ON (kind) id, kind, target, outcome, detail, found, bytes_before, bytes_after, began_at, ended_at
    FROM maintenance_runs WHERE outcome <> 'running' ORDER BY kind, began_at DESC
""")
_LATEST_OF_EACH = text("""
    SELECT DISTINCT ON (kind, target) id, kind, target, outcome, detail, found, bytes_before, bytes_after, began_at, ended_at
    FROM maintenance_runs WHERE outcome <> 'running' AND (began_at > now() - interval '3 days' OR kind = 'books')
    ORDER BY kind, target, began_at DESC
""")
_UNAVAILABLE: Final = (
    asyncpg.UndefinedTableError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.InsufficientPrivilegeError,
)
# PostgreSQL puts $1 for values by itself, but not in everything it counts; what else could be one goes as well.
_VALUES: Final = ((re.compile(r"'(?:[^']|'')*'"), "'…'"), (re.compile(r"(?<![\w$.])\d+(?:\.\d+)?\b"), "?"))


async def observe(tx: Transaction, *, history: timedelta = timedelta(days=2), runs: int = 40) -> Observed:
    """Read everything the health page shows: nine statements, none of which reads a table of the store but the samples and runs."""
    slow = await slow_queries(tx)
    return Observed(
        state=await database_state(tx),
        tables=tuple(await list_tables(tx)),
        indexes=tuple(await list_indexes(tx)),
        standbys=tuple(await list_standbys(tx)),
        slow=tuple(slow or ()),
        statements=slow is not None,
        samples=tuple(await tx.all(_SAMPLES, into=Sample, since=history)),
        runs=tuple(await list_runs(tx, limit=runs)),
        latest=tuple(await tx.all(_LATEST_OF_EACH, into=MaintenanceRun)),
    )


async def database_state(tx: Transaction) -> DatabaseState:
    """Return the figures of the database as a whole."""
    return await tx.one(_STATE, into=DatabaseState)


async def list_tables(tx: Transaction) -> list[TableHealth]:
    """Return every table and every month of one, by name."""
    return await tx.all(_TABLES, into=TableHealth)


async def list_indexes(tx: Transaction) -> list[IndexHealth]:
    """Return every index, by name."""
    return await tx.all(_INDEXES, into=IndexHealth)


async def list_standbys(tx: Transaction) -> list[Standby]:
    """Return the servers that follow this one."""
    return await tx.all(_STANDBYS, into=Standby)


async def slow_queries(tx: Transaction, *, most: int = SLOWEST) -> list[SlowQuery] | None:
    """Return the statements that took most time in all, of this database and of our own role; None where they are not counted."""
    try:
        async with tx.savepoint():
            rows = await tx.all(_SLOW, most=most)
    except _UNAVAILABLE:
        return None
    return [SlowQuery(without_values(row["text"]), *list(row.values())[1:]) for row in rows]


def without_values(statement: str) -> str:
    """Return a statement on one line, without anything that could be a value of somebody's, cut where it is long."""
    for pattern, instead in _VALUES:
        statement = pattern.sub(instead, statement)
    words = " ".join(statement.split())
    return words if len(words) <= _LONGEST_TEXT else words[: _LONGEST_TEXT - 1] + "…"


async def list_runs(tx: Transaction, *, limit: int = 40) -> list[MaintenanceRun]:
    """Return what was done for the database, the latest first."""
    return await tx.all(_RUNS, into=MaintenanceRun, limit=limit)


async def latest_runs(tx: Transaction) -> dict[str, MaintenanceRun]:
    """Return the last finished run of each kind."""
    return {run.kind: run for run in await tx.all(_LATEST, into=MaintenanceRun)}

"""What the figures mean: which tables and indexes need work, and advice in words. Pure functions."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from tradepost.core.archiving.place import NAME as ARCHIVE
from tradepost.ops.types import (
    Advice,
    DatabaseState,
    IndexHealth,
    MaintenanceRun,
    Observed,
    Sample,
    Standby,
    TableHealth,
    WholeTable,
)

MB: Final = 1024 * 1024
# PostgreSQL's own autovacuum comes at 20 % by default; the hourly job comes before it, as slowly as that.
DEAD_SHARE: Final = 0.1
DEAD_ROWS: Final = 1_000
VACUUM_AGAIN: Final = timedelta(hours=6)
CHANGED_SHARE: Final = 0.1
CHANGED_ROWS: Final = 500
PARENT_AGE: Final = timedelta(days=7)  # autovacuum never looks at a table that is only the sum of its months
BLOAT_SHARE: Final = 0.4
BLOAT_BYTES: Final = 16 * MB
UNUSED_BYTES: Final = 8 * MB
LONG_ENOUGH: Final = timedelta(days=7)
FROZEN_AGE: Final = 1_000_000_000  # of the 2,100,000,000 after which PostgreSQL stops writing
_TONES: Final = {"bad": 0, "warn": 1, "info": 2}


def whole_tables(tables: Iterable[TableHealth]) -> list[WholeTable]:
    """Return tables with their months added up, the largest first."""
    parts: dict[str, list[TableHealth]] = {}
    for table in tables:
        parts.setdefault(table.root, []).append(table)
    whole = [_whole(root, found) for root, found in parts.items()]
    return sorted(whole, key=lambda t: (-t.total_bytes, t.name))


def _whole(root: str, parts: Sequence[TableHealth]) -> WholeTable:
    leaves = [part for part in parts if not part.is_parent]
    bloats = [part.bloat_bytes for part in leaves if part.bloat_bytes is not None]
    return WholeTable(
        name=root, months=len(leaves) if len(parts) > 1 else 0, rows_about=sum(p.rows_about for p in leaves),
        dead_rows=sum(p.dead_rows for p in leaves), table_bytes=sum(p.table_bytes for p in leaves),
        index_bytes=sum(p.index_bytes for p in leaves), toast_bytes=sum(p.toast_bytes for p in leaves),
        bloat_bytes=sum(bloats) if bloats else None, seq_scans=sum(p.seq_scans for p in leaves),
        index_scans=sum(p.index_scans for p in leaves),
        vacuumed_at=max((p.vacuumed_at for p in leaves if p.vacuumed_at), default=None),
        analyzed_at=max((p.analyzed_at for p in parts if p.analyzed_at), default=None),
    )  # fmt: skip


def needs_vacuum(table: TableHealth, now: datetime) -> bool:
    """Whether enough of a table is dead to clean it up, which was not tried a moment ago: what somebody still sees stays."""
    if table.vacuumed_at is not None and now - table.vacuumed_at < VACUUM_AGAIN and table.frozen_age <= FROZEN_AGE:
        return False
    share = table.dead_rows >= DEAD_SHARE * (table.rows_about + table.dead_rows)
    return not table.is_parent and ((table.dead_rows >= DEAD_ROWS and share) or table.frozen_age > FROZEN_AGE)


def needs_analyze(table: TableHealth, now: datetime) -> bool:
    """Whether PostgreSQL's picture of what is in a table is too old to plan by."""
    if table.is_parent:
        return table.analyzed_at is None or now - table.analyzed_at > PARENT_AGE
    return table.changed_rows >= CHANGED_ROWS + CHANGED_SHARE * table.rows_about


def needs_reindex(index: IndexHealth, *, least_bytes: int = BLOAT_BYTES) -> bool:
    """Whether so much of an index is air that writing it anew is worth it."""
    bloat = index.bloat_bytes or 0
    return index.is_valid and bloat >= least_bytes and bloat >= BLOAT_SHARE * index.index_bytes


def is_leftover(index: IndexHealth) -> bool:
    """Whether an index is what an interrupted REINDEX CONCURRENTLY has left."""
    ending = index.name.rpartition("_cc")[2]
    return not index.is_valid and not index.is_constraint and ending.rstrip("0123456789") in {"new", "old"}


def unused_indexes(indexes: Iterable[IndexHealth], *, least_bytes: int = UNUSED_BYTES) -> list[tuple[str, str, int]]:
    """Return indexes nobody reads and no promise needs, with their table and bytes, the largest first; months are one."""
    bytes_of: dict[tuple[str, str], int] = {}
    used = set()
    for index in indexes:
        key = (_without_month(index), index.root)
        bytes_of[key] = bytes_of.get(key, 0) + index.index_bytes
        if index.scans or index.is_constraint:
            used.add(key)
    found = [(name, root, size) for (name, root), size in bytes_of.items() if (name, root) not in used]
    return sorted((f for f in found if f[2] >= least_bytes), key=lambda f: (-f[2], f[0]))


def _without_month(index: IndexHealth) -> str:
    return index.name.replace(index.table_name, index.root, 1) if index.table_name != index.root else index.name


def in_words(size: float) -> str:
    """Return bytes as people say them: 1.5 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"


def advise(found: Observed, now: datetime) -> tuple[Advice, ...]:
    """Return what to do, the most pressing first; nothing where all is well."""
    advice = [
        *_of_state(found.state),
        *_of_slots(found.state),
        *_of_standbys(found.standbys),
        *(a for table in whole_tables(found.tables) for a in _of_table(table)),
        *_of_indexes(found, now),
        *_of_growth(found.samples),
        *_of_runs(found.latest),
    ]
    if not found.statements:
        text = "PostgreSQL does not count statements, so the slow ones are not known. Put pg_stat_statements into shared_preload_libraries and start it anew."
        advice.append(Advice("info", "pg_stat_statements", text))
    return tuple(sorted(advice, key=lambda a: _TONES[a.tone]))


def _of_state(state: DatabaseState) -> Iterator[Advice]:
    used = state.server_connections / max(1, state.most_connections)
    if used >= 0.8:
        text = (
            f"{state.server_connections} of {state.most_connections} connections are taken. Make the pools of servers and workers smaller "
            "(database.pool_size), raise max_connections, or put pgbouncer between."
        )
        yield Advice("bad" if used >= 0.95 else "warn", "connections", text)
    if state.hit_percent is not None and state.blocks_hit + state.blocks_read > 1_000_000 and state.hit_percent < 95:
        text = f"Only {state.hit_percent} % of the pages asked for were in memory; 99 % is usual. Give PostgreSQL more memory: shared_buffers is usually a quarter of the machine’s."
        yield Advice("warn", "memory", text)
    if state.longest_s > 900:
        text = f"A transaction has been open for {state.longest_s / 60:.0f} minutes: nothing that died since can be cleaned up. See who it is in pg_stat_activity, and end it with pg_terminate_backend."
        yield Advice("warn", "transactions", text)
    if state.waiting >= 5:
        text = f"{state.waiting} connections wait for locks of others. pg_blocking_pids says for whom."
        yield Advice("warn", "locks", text)
    if state.frozen_age > FROZEN_AGE:
        text = f"The oldest transaction number is {state.frozen_age:,} behind; at 2,100,000,000 PostgreSQL stops writing. Run VACUUM FREEZE, and see why autovacuum does not get there."
        yield Advice("bad", "transaction numbers", text)
    if state.kept_wal_bytes > 4096 * MB:
        text = f"{in_words(state.kept_wal_bytes)} of the write-ahead log are kept for a replica that does not fetch them. Bring the replica back, or drop its replication slot before the disk is full."
        yield Advice("bad", "replication slots", text)


def _of_slots(state: DatabaseState) -> Iterator[Advice]:
    """Speak of log that nobody fetches, before it is dropped or fills the disk."""
    for name in (*state.lost_slots, *state.idle_slots):
        if name == ARCHIVE:
            text = "Nobody fetches the log for the archive: what changes now cannot be brought back, and where commits wait for the archive nothing can be written. See logs/archive.log, or give it up: tradepost archive stop."
            yield Advice("bad", name, text)
        elif name in state.lost_slots:
            text = f"The server dropped log that {name} still needed. Make the replica anew, and drop its replication slot."
            yield Advice("bad", name, text)
        else:
            text = (
                f"Nobody fetches the log that replication slot {name} keeps. Bring the replica back, or drop the slot."
            )
            yield Advice("warn", name, text)


def _of_standbys(standbys: Iterable[Standby]) -> Iterator[Advice]:
    for standby in standbys:
        if (standby.lag_s or 0) > 30 or (standby.lag_bytes or 0) > 512 * MB:
            behind = f"{standby.lag_s:.0f} seconds" if standby.lag_s else in_words(standby.lag_bytes or 0)
            text = f"The replica {standby.name} is {behind} behind. What it serves is that old: see to its disk and network."
            yield Advice("warn", standby.name, text)


def _of_table(table: WholeTable) -> Iterator[Advice]:
    if table.dead_percent >= 20 and table.dead_rows >= 10_000:
        text = f"Table {table.name} has {table.dead_percent} % dead rows ({table.dead_rows:,}); vacuum it: VACUUM (ANALYZE) {table.name}. If they stay, some transaction is open that could still see them."
        yield Advice("warn", table.name, text)
    if table.bloat_bytes and table.bloat_bytes >= 256 * MB and table.bloat_bytes >= 0.5 * table.table_bytes:
        text = f"About {in_words(table.bloat_bytes)} of the {in_words(table.table_bytes)} of table {table.name} are empty. New rows will fill them; VACUUM FULL {table.name} gives them back to the disk, and locks the table meanwhile."
        yield Advice("info", table.name, text)
    if table.analyzed_at is None and table.rows_about >= 1_000:
        text = f"PostgreSQL has never looked at what is in table {table.name}, so it plans by guesses: ANALYZE {table.name}."
        yield Advice("info", table.name, text)


def _of_indexes(found: Observed, now: datetime) -> Iterator[Advice]:
    for index in found.indexes:
        if not index.is_valid:
            text = f"Index {index.name} is invalid: it costs every write and answers nothing. "
            mend = (
                "The job of the quiet hours drops it."
                if is_leftover(index)
                else f"REINDEX INDEX CONCURRENTLY {index.name}."
            )
            yield Advice("warn", index.name, text + mend)
        elif needs_reindex(index):
            text = f"About {in_words(index.bloat_bytes or 0)} of the {in_words(index.index_bytes)} of index {index.name} are empty; the job of the quiet hours writes it anew, or REINDEX INDEX CONCURRENTLY {index.name}."
            yield Advice("info", index.name, text)
    if now - (found.state.counted_since or found.state.started_at) > LONG_ENOUGH:
        for name, root, size in unused_indexes(found.indexes)[:5]:
            text = f"Index {name} of {root} takes {in_words(size)} and has answered nothing for a week and more. If no replica uses it either, DROP INDEX CONCURRENTLY {name}."
            yield Advice("info", name, text)


def _of_growth(samples: Sequence[Sample]) -> Iterator[Advice]:
    """Speak of growth only by at least half a day of figures."""
    if len(samples) < 2 or samples[-1].taken_at - samples[0].taken_at < timedelta(hours=12):
        return
    days = (samples[-1].taken_at - samples[0].taken_at) / timedelta(days=1)
    a_day = (samples[-1].database_bytes - samples[0].database_bytes) / days
    if a_day > 1024 * MB:
        yield Advice(
            "info", "growth", f"The database grows by {in_words(a_day)} a day. See that the disk holds a month of that."
        )


def _of_runs(runs: Sequence[MaintenanceRun]) -> Iterator[Advice]:
    """Say what the last run of each thing found or failed at."""
    for run in runs:
        if run.kind == "books" and run.found:
            text = f"{run.detail} The runbook says what to do: docs/how-to/answer-alarms.md."
            yield Advice("bad", "ledger", text)
        elif run.outcome == "failed":
            yield Advice(
                "warn",
                run.target,
                f"Maintenance ({run.kind}) of {run.target} failed: {run.detail}. It is tried again by itself; docs/how-to/answer-alarms.md says what helps.",
            )

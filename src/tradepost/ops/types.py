"""What is known of a database: frozen views, and advice."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

Kind = Literal["vacuum", "analyze", "reindex", "leftover", "months", "retention", "books"]
Tone = Literal["bad", "warn", "info"]


class _Measured:
    """What follows from the figures of a table, or of all its months together."""

    __slots__ = ()
    rows_about: int
    dead_rows: int
    table_bytes: int
    index_bytes: int
    toast_bytes: int

    @property
    def total_bytes(self) -> int:
        """With indexes and what is stored aside."""
        return self.table_bytes + self.index_bytes + self.toast_bytes

    @property
    def dead_percent(self) -> int:
        """How many of a hundred rows are dead."""
        return round(100 * self.dead_rows / max(1, self.rows_about + self.dead_rows))


class TableHealth(_Measured, msgspec.Struct, frozen=True):
    """One table, or one month of one: `root` is the table it is a part of, itself where it is none.

    `rows_about`, `dead_rows` and `changed_rows` (since its statistics were taken) are PostgreSQL's estimates; `bloat_bytes` is ours,
    None where there are no statistics. A parent holds no rows itself. `written_rows` and scans: since the statistics began.
    """

    name: str
    root: str
    is_parent: bool
    rows_about: int
    dead_rows: int
    changed_rows: int
    table_bytes: int
    index_bytes: int
    toast_bytes: int
    bloat_bytes: int | None
    seq_scans: int
    seq_rows: int
    index_scans: int
    written_rows: int
    vacuumed_at: datetime | None
    analyzed_at: datetime | None
    frozen_age: int


class WholeTable(_Measured, msgspec.Struct, frozen=True):
    """A table with all its months."""

    name: str
    months: int
    rows_about: int
    dead_rows: int
    table_bytes: int
    index_bytes: int
    toast_bytes: int
    bloat_bytes: int | None
    seq_scans: int
    index_scans: int
    vacuumed_at: datetime | None
    analyzed_at: datetime | None


class IndexHealth(msgspec.Struct, frozen=True):
    """One index of one table. `is_constraint`: it keeps a promise, so it is needed even where nobody reads it."""

    name: str
    table_name: str
    root: str
    method: str
    index_bytes: int
    bloat_bytes: int | None
    scans: int
    rows_read: int
    used_at: datetime | None
    is_constraint: bool
    is_valid: bool


class SlowQuery(msgspec.Struct, frozen=True):
    """A statement as PostgreSQL counts it; `text` has no values in it."""

    text: str
    calls: int
    total_ms: float
    mean_ms: float
    longest_ms: float
    rows: int
    percent: float


class Standby(msgspec.Struct, frozen=True):
    """A server that follows this one; None where we may not know."""

    name: str
    state: str
    lag_bytes: int | None
    lag_s: float | None


class DatabaseState(msgspec.Struct, frozen=True):
    """The database as a whole. Counters run since `counted_since`, None where they were never set back."""

    name: str
    version: str
    database_bytes: int
    blocks_hit: int
    blocks_read: int
    commits: int
    rollbacks: int
    deadlocks: int
    temp_bytes: int
    counted_since: datetime | None
    started_at: datetime
    frozen_age: int
    connections: int
    active: int
    idle_in_transaction: int
    waiting: int
    longest_s: float
    server_connections: int
    most_connections: int
    kept_wal_bytes: int
    lost_slots: list[str]
    idle_slots: list[str]

    @property
    def hit_percent(self) -> float | None:
        """How many of a hundred pages were in memory already; None before any was asked for."""
        asked = self.blocks_hit + self.blocks_read
        return round(100 * self.blocks_hit / asked, 1) if asked else None


class Sample(msgspec.Struct, frozen=True):
    """The database's figures at a moment; counters as PostgreSQL has them."""

    taken_at: datetime
    database_bytes: int
    connections: int
    blocks_hit: int
    blocks_read: int
    commits: int
    rollbacks: int
    live_rows: int
    dead_rows: int
    jobs_due: int
    jobs_failed: int
    lag_s: float


class MaintenanceRun(msgspec.Struct, frozen=True):
    """Something done for the database. `found`: how many of what it looked for, such as months, or journals that do not add up."""

    id: UUID
    kind: Kind
    target: str
    outcome: Literal["running", "done", "failed"]
    detail: str
    found: int
    bytes_before: int | None
    bytes_after: int | None
    began_at: datetime
    ended_at: datetime | None


class Advice(msgspec.Struct, frozen=True):
    """What is wrong and what to do about it, in words; `about` is the table, index or part it speaks of."""

    tone: Tone
    about: str
    text: str


class Observed(msgspec.Struct, frozen=True):
    """All that was read of the database in one look. `statements`: whether PostgreSQL counts them (pg_stat_statements).

    `latest`: the last finished run of each thing of the last days, and of the books however old: what advice is about.
    """

    state: DatabaseState
    tables: tuple[TableHealth, ...]
    indexes: tuple[IndexHealth, ...]
    standbys: tuple[Standby, ...]
    slow: tuple[SlowQuery, ...]
    statements: bool
    samples: tuple[Sample, ...]
    runs: tuple[MaintenanceRun, ...]
    latest: tuple[MaintenanceRun, ...] = ()

"""Tables of readings. What was seen of each listing is the catalogue's (`outside_items`)."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from tradepost.core.columns import key, moment, one_of, reference, updated, words
from tradepost.core.database import metadata


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


source_states = Table(
    "source_states",
    metadata,
    reference("source_id", "sources.id", on_delete="CASCADE", primary_key=True),
    moment("due_at", nullable=True),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("validators", JSONB, nullable=False, server_default="{}"),
    updated(),
    CheckConstraint("failures >= 0", name="failures_not_negative"),
    Index("ix_source_states_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    comment="When a source is read next, how often reading it failed in a row, and what its server said to recognise an unchanged answer by.",
)

ingest_runs = Table(
    "ingest_runs",
    metadata,
    key(),
    reference("source_id", "sources.id", on_delete="CASCADE"),
    words("began_by"),
    words("state", default="running"),
    moment("started_at", default_now=True),
    moment("moved_at", default_now=True),
    moment("finished_at", nullable=True),
    _count("at_row"),
    words("document", default=""),
    *(_count(n) for n in ("seen", "inserted", "changed", "unchanged", "returned", "gone", "refused", "bytes")),
    Column("whole", BigInteger),
    words("message", default=""),
    Column("turn", Integer, nullable=False, server_default="0"),
    one_of("began_by", "schedule", "hand", "push", "command"),
    one_of("state", "running", "done", "failed", "stopped"),
    CheckConstraint("(state = 'running') = (finished_at IS NULL)", name="finished"),
    Index("ix_ingest_runs_source_id", "source_id", text("id DESC")),
    Index(
        "uq_ingest_runs_running",
        "source_id",
        unique=True,
        postgresql_where=text("state = 'running' AND began_by <> 'push'"),
    ),
    comment="One reading of a source: how far it is (`at_row`, of `whole` bytes where that is known), what it brought, and how it ended. `turn` counts who went on with it; only the last one writes.",
)

ingest_errors = Table(
    "ingest_errors",
    metadata,
    Column("run_id", UUID, ForeignKey("ingest_runs.id", ondelete="CASCADE"), nullable=False),
    Column("n", Integer, nullable=False),
    words("place"),
    words("external_id", nullable=True),
    words("reason"),
    words("excerpt", default=""),
    PrimaryKeyConstraint("run_id", "n"),
    comment="Rows of a source that were refused, where they are and why; the first thousands of a run.",
)

source_hosts = Table(
    "source_hosts",
    metadata,
    words("host"),
    moment("free_at"),
    PrimaryKeyConstraint("host"),
    CheckConstraint("char_length(host) BETWEEN 1 AND 300", name="host_length"),
    comment="When a server of outside markets may be asked again, however many workers read from it.",
)

ingest_seen = Table(
    "ingest_seen",
    metadata,
    Column("run_id", UUID, ForeignKey("ingest_runs.id", ondelete="CASCADE"), nullable=False),
    Column("batch", Integer, nullable=False),
    Column("listing_ids", ARRAY(UUID), nullable=False),
    PrimaryKeyConstraint("run_id", "batch"),
    comment="What a running reading has seen so far, one row a batch; what is not in it at the end has disappeared. Emptied with the run's end.",
)

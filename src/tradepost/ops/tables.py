"""Tables of the database's own figures and of maintenance."""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, PrimaryKeyConstraint, Table

from tradepost.core.columns import key, moment, one_of, words
from tradepost.core.database import metadata

engine_samples = Table(
    "engine_samples",
    metadata,
    moment("taken_at", default_now=True),
    Column("database_bytes", BigInteger, nullable=False),
    Column("connections", Integer, nullable=False),
    Column("blocks_hit", BigInteger, nullable=False),
    Column("blocks_read", BigInteger, nullable=False),
    Column("commits", BigInteger, nullable=False),
    Column("rollbacks", BigInteger, nullable=False),
    Column("live_rows", BigInteger, nullable=False),
    Column("dead_rows", BigInteger, nullable=False),
    Column("jobs_due", Integer, nullable=False),
    Column("jobs_failed", Integer, nullable=False),
    Column("lag_s", Float(53), nullable=False),
    PrimaryKeyConstraint("taken_at"),
    comment="The database's own figures every ten minutes; counters are PostgreSQL's, since its statistics began. After two weeks one a "
    "day stays.",
)

maintenance_runs = Table(
    "maintenance_runs",
    metadata,
    key(),
    words("kind"),
    words("target"),
    words("outcome", default="running"),
    words("detail", default=""),
    Column("found", BigInteger, nullable=False, server_default="0"),
    Column("bytes_before", BigInteger),
    Column("bytes_after", BigInteger),
    moment("began_at", default_now=True),
    moment("ended_at", nullable=True),
    one_of("kind", "vacuum", "analyze", "reindex", "leftover", "months", "retention", "books"),
    one_of("outcome", "running", "done", "failed"),
    Index("ix_maintenance_runs_kind_began_at", "kind", "began_at"),
    comment="What was done to keep the database well, or looked after in it, each with what came of it.",
)

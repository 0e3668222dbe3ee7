"""Tables of kept searches."""

from sqlalchemy import Boolean, CheckConstraint, Column, Index, LargeBinary, Table, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB

from tradepost.core.columns import at_most, created, key, moment, reference, updated, words
from tradepost.core.database import metadata

alerts = Table(
    "alerts",
    metadata,
    key(),
    reference("user_id", "users.id", on_delete="CASCADE"),
    words("name"),
    words("query", default=""),
    Column("criteria", JSONB, nullable=False, server_default="{}"),
    Column("criteria_hash", LargeBinary, nullable=False),
    Column("is_active", Boolean, nullable=False, server_default="true"),
    Column("notification_settings", JSONB, nullable=False, server_default="{}"),
    moment("last_checked_at", default_now=True),
    moment("removed_at", nullable=True),
    created(),
    updated(),
    UniqueConstraint("user_id", "criteria_hash"),
    CheckConstraint("char_length(name) BETWEEN 1 AND 80", name="name_length"),
    at_most("query", 200),
    CheckConstraint("pg_column_size(criteria) <= 8000", name="criteria_size"),
    CheckConstraint("query <> '' OR criteria <> '{}'", name="asks_something"),
    Index("ix_alerts_removed_at", "removed_at", postgresql_where=text("removed_at IS NOT NULL")),
    comment="Searches that people keep: `query` are the words, `criteria` the filters, in one spelling for one meaning, so that equal ones have equal `criteria_hash`. A removed one can come back for a day.",
)

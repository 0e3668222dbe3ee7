"""Tables of the engine room itself: recorded facts, and replies kept for repeated requests."""

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from tradepost.core.columns import created, moment, one_of, words
from tradepost.core.database import metadata

events = Table(
    "events",
    metadata,
    Column("id", UUID, nullable=False, server_default=text("uuidv7()")),
    moment("at", default_now=True),
    words("kind"),
    Column("user_id", UUID),
    Column("session_hash", LargeBinary),
    Column("subject_id", UUID),
    Column("data", JSONB, nullable=False, server_default="{}"),
    PrimaryKeyConstraint("id", "at"),
    Index("ix_events_kind_user_id_at", "kind", "user_id", "at"),
    Index("ix_events_subject_id_at", "subject_id", "at"),
    Index("ix_events_at", "at"),
    postgresql_partition_by="RANGE (at)",
    comment="Facts, written in the transaction that caused them; never changed. One partition a month.",
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", UUID, nullable=False, server_default=text("uuidv7()")),
    moment("at", default_now=True),
    words("actor_role"),
    Column("actor_id", UUID),
    Column("behind_id", UUID),
    words("database_user"),
    words("action"),
    words("table_name"),
    words("row_key"),
    Column("before", JSONB),
    Column("after", JSONB),
    PrimaryKeyConstraint("id", "at"),
    one_of("action", "insert", "update", "delete", "look", "act"),
    Index("ix_audit_log_row_key_id", text("row_key text_pattern_ops"), "id"),
    Index("ix_audit_log_actor_id_id", "actor_id", "id", postgresql_where=text("actor_id IS NOT NULL")),
    postgresql_partition_by="RANGE (at)",
    comment="Who changed which row when, and what it was before; written by triggers only. One partition a month.",
)

encryption_keys = Table(
    "encryption_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    moment("first_used_at", default_now=True),
    moment("retired_at", nullable=True),
    Column("is_index", Boolean, nullable=False, server_default="false"),
    Index("uq_encryption_keys_is_index", "is_index", unique=True, postgresql_where=text("is_index")),
    comment="The keys that values in this database were encrypted with; none may be missing before it is retired.",
)

store_facts = Table(
    "store_facts",
    metadata,
    Column("name", Text, primary_key=True),
    words("value"),
    comment="What SQL itself must know of the store's settings: currency, country, preset version.",
)

store_editions = Table(
    "store_editions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    moment("at", default_now=True),
    Column("by_id", UUID),
    Column("changes", JSONB, nullable=False),
    words("note", default=""),
    Column("brings_back", Integer),
    comment="What the staff set differently from the preset: each edition whole, the highest number in force. Never changed, only followed.",
)

store_drafts = Table(
    "store_drafts",
    metadata,
    Column("user_id", UUID, primary_key=True),
    Column("changes", JSONB, nullable=False),
    moment("at", default_now=True),
    comment="What somebody tries before it becomes an edition: one each, seen by them alone.",
)

move_in_steps = Table(
    "move_in_steps",
    metadata,
    words("system"),
    words("step"),
    Column("position", Integer, nullable=False),
    words("last_key", nullable=True),
    Column("is_done", Boolean, nullable=False, server_default="false"),
    Column("tally", JSONB, nullable=False, server_default="{}"),
    moment("updated_at", default_now=True),
    PrimaryKeyConstraint("system", "step"),
    comment="How far each step of an import has come, written with each batch, so that a killed one goes on.",
)

move_in_notes = Table(
    "move_in_notes",
    metadata,
    words("system"),
    words("table_name"),
    words("row_key"),
    words("reason"),
    Column("is_refused", Boolean, nullable=False),
    PrimaryKeyConstraint("system", "table_name", "row_key", "reason"),
    comment="Rows of another system that an import refused, or kept with a change, and why; never their values.",
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    words("actor"),
    words("key"),
    Column("request_hash", LargeBinary, nullable=False),
    words("state", default="running"),
    Column("status", Integer),
    Column("response", JSONB),
    created(),
    PrimaryKeyConstraint("actor", "key"),
    one_of("state", "running", "done"),
    Index("ix_idempotency_keys_created_at", "created_at"),
    comment="One row for each Idempotency-Key a client sent, with the reply to repeat.",
)

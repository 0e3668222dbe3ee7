"""Tables of the assistant: talks, and their turns."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from tradepost.core.columns import at_most, created, key, moment, one_of, reference, words
from tradepost.core.database import metadata

assistant_talks = Table(
    "assistant_talks",
    metadata,
    key(),
    reference("user_id", "users.id", nullable=True, on_delete="CASCADE"),
    Column("session_hash", LargeBinary),
    words("channel"),
    Column("state", JSONB, nullable=False, server_default="{}"),
    Column("turns", Integer, nullable=False, server_default="0"),
    created(),
    moment("last_at", default_now=True),
    moment("expires_at"),
    moment("busy_until", nullable=True),
    moment("handed_over_at", nullable=True),
    reference("conversation_id", "conversations.id", nullable=True, on_delete="SET NULL"),
    one_of("channel", "web", "api", "mcp"),
    CheckConstraint("user_id IS NOT NULL OR session_hash IS NOT NULL", name="has_owner"),
    Index(
        "ix_assistant_talks_user_id", "user_id", text("last_at DESC"), postgresql_where=text("user_id IS NOT NULL")
    ),
    Index(
        "ix_assistant_talks_session_hash", "session_hash", text("last_at DESC"), postgresql_where=text("user_id IS NULL")
    ),
    Index("ix_assistant_talks_expires_at", "expires_at"),
    Index(
        "ix_assistant_talks_conversation_id", "conversation_id", postgresql_where=text("conversation_id IS NOT NULL")
    ),
    comment="A talk with the assistant: a visitor's by their session, a person's once they sign in; `state` is what is remembered between turns.",
)  # fmt: skip

assistant_turns = Table(
    "assistant_turns",
    metadata,
    reference("talk_id", "assistant_talks.id", on_delete="CASCADE"),
    Column("seq", Integer, nullable=False),
    moment("at", default_now=True),
    words("asked"),
    Column("reply", JSONB, nullable=False),
    Column("intents", ARRAY(Text), nullable=False, server_default="{}"),
    Column("is_understood", Boolean, nullable=False),
    words("made_by"),
    Column("ms", Integer, nullable=False),
    Column("tokens", Integer, nullable=False, server_default="0"),
    Column("withheld", Integer, nullable=False, server_default="0"),
    Column("feedback", SmallInteger),
    moment("settled_at", nullable=True),
    Column("settled_by", UUID),
    PrimaryKeyConstraint("talk_id", "seq"),
    one_of("made_by", "engine", "model"),
    at_most("asked", 2000),
    CheckConstraint("feedback IN (-1, 1)", name="thumb"),
    Index("ix_assistant_turns_at", "at"),
    Index(
        "ix_assistant_turns_unanswered",
        text("at DESC"),
        postgresql_where=text("NOT is_understood AND settled_at IS NULL"),
    ),
    comment="What was asked and answered, whole, with the results of tools that the answer rests on; `settled_at`: staff saw to a question that was not understood.",
)

"""Tables of what people are told."""

from sqlalchemy import CheckConstraint, Column, Index, Table, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import UUID

from tradepost.core.columns import at_most, created, encrypted, key, moment, one_of, reference, words
from tradepost.core.database import metadata

mails = Table(
    "mails",
    metadata,
    key(),
    reference("user_id", "users.id", nullable=True, on_delete="CASCADE"),
    words("kind"),
    encrypted("letter_enc"),
    words("state", default="queued"),
    words("error", nullable=True),
    moment("sent_at", nullable=True),
    created(),
    at_most("kind", 40),
    one_of("state", "queued", "sent", "kept", "failed"),
    CheckConstraint("letter_enc IS NOT NULL OR state IN ('sent', 'failed')", name="letter_until_sent"),
    Index("ix_mails_user_id", "user_id"),
    Index("ix_mails_created_at", "created_at"),
    comment="Letters on their way: encrypted until the mail server has them, then only that they went; kept where there is no "
    "mail server.",
)

notices = Table(
    "notices",
    metadata,
    key(),
    reference("user_id", "users.id", on_delete="CASCADE"),
    words("kind"),
    Column("subject_id", UUID, nullable=False),
    words("title"),
    words("path"),
    moment("at", default_now=True),
    moment("read_at", nullable=True),
    one_of("kind", "show_planned", "show_started", "evidence"),
    at_most("title", 300),
    at_most("path", 300),
    UniqueConstraint("user_id", "kind", "subject_id"),
    Index("ix_notices_latest", "user_id", text("at DESC"), text("id DESC")),
    Index("ix_notices_unread", "user_id", postgresql_where=text("read_at IS NULL")),
    Index("ix_notices_at", "at"),
    comment="What somebody is told within the store: once for each kind and subject, forgotten after some months.",
)

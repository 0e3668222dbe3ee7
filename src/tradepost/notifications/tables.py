"""Tables of what people are told."""

from sqlalchemy import CheckConstraint, Index, Table

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

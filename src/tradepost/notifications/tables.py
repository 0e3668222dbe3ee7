"""Tables of what people are told."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Time,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

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
    words("content", default=""),
    Column("data", JSONB, nullable=False, server_default="{}"),
    one_of(
        "kind",
        "show_planned",
        "show_started",
        "evidence",
        "order",
        "message",
        "offer",
        "verification",
        "alert_match",
        "alert_digest",
    ),
    at_most("title", 300),
    at_most("path", 300),
    at_most("content", 2000),
    UniqueConstraint("user_id", "kind", "subject_id"),
    Index("ix_notices_latest", "user_id", text("at DESC"), text("id DESC")),
    Index("ix_notices_unread", "user_id", postgresql_where=text("read_at IS NULL")),
    Index("ix_notices_at", "at"),
    comment="What somebody is told within the store: once for each kind and subject, forgotten after some months.",
)

deliveries = Table(
    "deliveries",
    metadata,
    reference("notice_id", "notices.id", on_delete="CASCADE"),
    words("channel"),
    Column("user_id", UUID, nullable=False),
    words("state", default="pending"),
    moment("due_at", default_now=True),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("mail_id", UUID),
    words("error", nullable=True),
    moment("sent_at", nullable=True),
    PrimaryKeyConstraint("notice_id", "channel"),
    one_of("channel", "email", "push", "webhook"),
    one_of("state", "pending", "sent", "failed"),
    Index("ix_deliveries_due_at", "due_at", postgresql_where=text("state = 'pending'")),
    Index("ix_deliveries_pending", "user_id", "channel", "due_at", postgresql_where=text("state = 'pending'")),
    Index("ix_deliveries_mail_id", "mail_id", postgresql_where=text("mail_id IS NOT NULL")),
    comment="A notice on its way to its person by one channel: once for each, and not before `due_at`. While somebody sends it `due_at` lies ahead, so that another takes over if they die.",
)

notice_preferences = Table(
    "notice_preferences",
    metadata,
    reference("user_id", "users.id", on_delete="CASCADE"),
    words("topic"),
    words("channel"),
    words("frequency"),
    PrimaryKeyConstraint("user_id", "topic", "channel"),
    one_of("topic", "orders", "messages", "offers", "shows", "account", "alerts"),
    one_of("channel", "email", "push", "webhook"),
    one_of("frequency", "off", "instant", "hourly", "daily", "weekly"),
    comment="How somebody wants to hear of what; where a row is missing, the usual holds. Alerts say it themselves, but “off” is above them.",
)

notice_times = Table(
    "notice_times",
    metadata,
    reference("user_id", "users.id", on_delete="CASCADE", primary_key=True),
    Column("quiet_from", Time),
    Column("quiet_to", Time),
    Column("digest_hour", Integer, nullable=False, server_default="8"),
    CheckConstraint(
        "(quiet_from IS NULL) = (quiet_to IS NULL) AND (quiet_from IS NULL OR quiet_from <> quiet_to)", name="quiet"
    ),
    CheckConstraint("digest_hour BETWEEN 0 AND 23", name="digest_hour"),
    comment="When somebody wants to be left alone, and when digests come; in their own time zone.",
)

push_subscriptions = Table(
    "push_subscriptions",
    metadata,
    key(),
    reference("user_id", "users.id", on_delete="CASCADE"),
    Column("endpoint_hash", LargeBinary, nullable=False, unique=True),
    encrypted("subscription_enc", nullable=False),
    words("label", default=""),
    created(),
    at_most("label", 200),
    Index("ix_push_subscriptions_user_id", "user_id"),
    comment="Browsers that somebody lets us push notices to; forgotten when the push service says that they are gone.",
)

notice_hooks = Table(
    "notice_hooks",
    metadata,
    reference("user_id", "users.id", on_delete="CASCADE", primary_key=True),
    words("url"),
    encrypted("secret_enc", nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    words("error", nullable=True),
    created(),
    at_most("url", 2000),
    comment="Where somebody's own program is told, with the secret that signs what it gets.",
)

push_keys = Table(
    "push_keys",
    metadata,
    Column("id", Integer, primary_key=True, server_default="1"),
    encrypted("private_enc", nullable=False),
    words("public"),
    created(),
    CheckConstraint("id = 1", name="one_row"),
    comment="The store's own key, by which push services know it (VAPID); made when it is first needed.",
)

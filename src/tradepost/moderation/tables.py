"""Tables of reports, decisions, appeals and blocks."""

from sqlalchemy import CheckConstraint, Column, Index, PrimaryKeyConstraint, Table, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from tradepost.core.columns import at_most, created, key, moment, one_of, reference, words
from tradepost.core.database import metadata

decisions = Table(
    "decisions",
    metadata,
    key(),
    words("subject_kind"),
    Column("subject_id", UUID, nullable=False),
    reference("person_id", "users.id", nullable=True),
    words("action"),
    words("reason"),
    moment("until", nullable=True),
    Column("effect", JSONB, nullable=False, server_default="{}"),
    reference("decided_by", "users.id"),
    created(),
    moment("ended_at", nullable=True),
    reference("undone_by", "users.id", nullable=True),
    words("undo_reason", nullable=True),
    one_of("subject_kind", "listing", "person", "review", "message"),
    one_of("action", "none", "warn", "hide", "suspend", "ban"),
    at_most("reason", 2000),
    at_most("undo_reason", 2000),
    CheckConstraint("(action = 'suspend') = (until IS NOT NULL)", name="suspension_ends"),
    CheckConstraint("undone_by IS NULL OR (ended_at IS NOT NULL AND undo_reason IS NOT NULL)", name="undone_whole"),
    Index("ix_decisions_subject_id", "subject_id", text("created_at DESC")),
    Index("ix_decisions_person_id", "person_id", text("created_at DESC")),
    Index("ix_decisions_until", "until", postgresql_where=text("until IS NOT NULL AND ended_at IS NULL")),
    comment="What somebody of the staff decided about a listing, a person or a review, why, and what it did.",
)

reports = Table(
    "reports",
    metadata,
    key(),
    words("subject_kind"),
    Column("subject_id", UUID, nullable=False),
    reference("reporter_id", "users.id"),
    words("reason"),
    words("details", default=""),
    reference("decision_id", "decisions.id", nullable=True),
    created(),
    one_of("subject_kind", "listing", "person", "review", "message"),
    one_of("reason", "counterfeit", "forbidden", "fraud", "abuse", "spam", "wrong", "other"),
    at_most("details", 2000),
    Index(
        "uq_reports_open", "subject_id", "reporter_id", unique=True, postgresql_where=text("decision_id IS NULL"),
    ),
    Index("ix_reports_open", "subject_kind", "subject_id", "created_at", postgresql_where=text("decision_id IS NULL")),
    Index("ix_reports_reporter_id", "reporter_id", text("created_at DESC")),
    Index("ix_reports_decision_id", "decision_id"),
    comment="What somebody said is wrong with a listing, a person or a review. One open for each reporter and subject.",
)  # fmt: skip

appeals = Table(
    "appeals",
    metadata,
    reference("decision_id", "decisions.id", primary_key=True),
    words("text"),
    words("state", default="open"),
    words("answer", nullable=True),
    reference("decided_by", "users.id", nullable=True),
    moment("decided_at", nullable=True),
    created(),
    one_of("state", "open", "granted", "refused"),
    at_most("text", 2000),
    at_most("answer", 2000),
    CheckConstraint("(state = 'open') = (decided_at IS NULL)", name="decided"),
    Index("ix_appeals_open", "created_at", postgresql_where=text("state = 'open'")),
    comment="That a person does not accept a decision about them; one for each decision.",
)

blocks = Table(
    "blocks",
    metadata,
    reference("user_id", "users.id", on_delete="CASCADE"),
    reference("blocked_id", "users.id", on_delete="CASCADE"),
    created(),
    PrimaryKeyConstraint("user_id", "blocked_id"),
    CheckConstraint("user_id <> blocked_id", name="not_oneself"),
    Index("ix_blocks_blocked_id", "blocked_id"),
    comment="Who wants nothing to do with whom; the blocked person is not told.",
)

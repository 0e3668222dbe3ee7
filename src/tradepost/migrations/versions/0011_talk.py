"""Conversations: who takes part, numbered messages, row-level security on all of it."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0011_talk.sql")


def downgrade() -> None:
    """Undo."""
    op.execute("DROP TABLE messages, participants, conversations")
    op.execute("DROP FUNCTION messages_number(), conversations_people()")

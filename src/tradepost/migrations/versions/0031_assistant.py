"""Talks with the assistant."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0031_assistant.sql")


def downgrade() -> None:
    """Undo."""
    op.execute("DROP TABLE assistant_turns, assistant_talks")

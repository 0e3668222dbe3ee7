"""Alerts find their listings: an index of what each requires, what waits to be matched, and what was found."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0029_matching.sql")


def downgrade() -> None:
    """Undo."""
    run_file(op, "0029_matching_undo.sql")

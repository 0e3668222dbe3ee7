"""Notices by letter, push and web hook: at once or gathered, with quiet hours."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0030_telling.sql")


def downgrade() -> None:
    """Undo."""
    run_file(op, "0030_telling_undo.sql")

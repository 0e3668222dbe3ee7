"""Telephone numbers that their person has proved: when, and for how long: until the number changes."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0021_phone.sql")


def downgrade() -> None:
    """Undo."""
    run_file(op, "0021_phone_undo.sql")

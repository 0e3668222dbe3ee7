"""Moving in from another system's database."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0035_move_in.sql")


def downgrade() -> None:
    """Undo."""
    run_file(op, "0035_move_in_undo.sql")

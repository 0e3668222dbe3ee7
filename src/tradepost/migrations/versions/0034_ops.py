"""The database's own health: figures over time, estimates of bloat, and the right to clean up."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0034_ops.sql")


def downgrade() -> None:
    """Undo."""
    run_file(op, "0034_ops_undo.sql")

"""Search documents for less than half of what they cost, and tags counted in whatever letters."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0036"
down_revision = "0035"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0036_lean.sql")


def downgrade() -> None:
    """Undo."""
    run_file(op, "0036_lean_undo.sql")

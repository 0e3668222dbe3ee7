"""Whose turn a reading is, and when servers of outside markets may be asked again."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0033_turns.sql")


def downgrade() -> None:
    """Undo."""
    op.execute("DROP TABLE source_hosts")
    op.execute("ALTER TABLE ingest_runs DROP COLUMN turn")

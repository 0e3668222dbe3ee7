"""How far a conversation has reached each of its people."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0032_delivered.sql")


def downgrade() -> None:
    """Undo."""
    op.execute("ALTER TABLE participants DROP COLUMN last_delivered_seq, DROP COLUMN last_delivered_at")

"""What is shown in a dispute, and what people are told within the store."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0024_evidence.sql")


def downgrade() -> None:
    """Undo."""
    op.execute("DROP TABLE dispute_evidence, notices")

"""What visitors do, by month: for funnels and reports."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0027_analytics.sql")


def downgrade() -> None:
    """Undo."""
    op.execute("DROP TABLE analytics_events")
    op.execute("DROP FUNCTION analytics_drop_months(integer)")

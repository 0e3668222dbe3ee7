"""Sales by month, whole days only where they are asked for, delivery that is given back, open orders by process and state."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0025_sales_months.sql")


def downgrade() -> None:
    """Undo."""
    run_file(op, "0025_sales_months_undo.sql")

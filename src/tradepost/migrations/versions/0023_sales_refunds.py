"""Sales: delivery that is given back."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0023_sales_refunds.sql")


def downgrade() -> None:
    """Undo."""
    op.execute("DROP TRIGGER sales_changed ON fulfilments")
    op.execute("DROP FUNCTION fulfilments_sales_changed()")

"""Tables of listings that a job brings in; orders by how they are paid."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0028_imports.sql")


def downgrade() -> None:
    """Undo."""
    op.execute("DROP INDEX ix_orders_payment_method")
    op.execute("DROP TABLE listing_import_rows, listing_imports")

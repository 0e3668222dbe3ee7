"""Indexes for the orders board: numbers by their beginning, and what is not simply paid."""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE INDEX ix_orders_number_prefix ON orders (number text_pattern_ops)")
    op.execute(
        "CREATE INDEX ix_orders_not_paid ON orders (payment_state, placed_at DESC, id DESC) WHERE payment_state <> 'paid'"
    )


def downgrade() -> None:
    """Undo."""
    op.execute("DROP INDEX ix_orders_not_paid, ix_orders_number_prefix")

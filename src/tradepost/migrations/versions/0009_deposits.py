"""Deposits: processes that say what is paid first and which orders take them, an account for it, a state of the payment."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0009_deposits.sql")


def downgrade() -> None:
    """Undo; orders of which only the deposit was paid cannot be told apart from unpaid ones afterwards."""
    op.execute("UPDATE orders SET payment_state = 'pending' WHERE payment_state = 'deposit_paid'")
    op.execute("ALTER TABLE orders DROP CONSTRAINT ck_orders_payment_state_known")
    op.execute(
        "ALTER TABLE orders ADD CONSTRAINT ck_orders_payment_state_known "
        "CHECK (payment_state IN ('pending', 'paid', 'failed', 'partly_refunded', 'refunded'))"
    )
    op.execute("ALTER TABLE ledger_accounts DROP CONSTRAINT ck_ledger_accounts_kind_known")
    op.execute(
        "ALTER TABLE ledger_accounts ADD CONSTRAINT ck_ledger_accounts_kind_known CHECK (kind IN ('clearing', 'buyer', "
        "'seller', 'held', 'fee', 'tax', 'shipping', 'points', 'promotion', 'payout', 'loss'))"
    )
    op.execute("DROP TRIGGER raise_rules_version ON processes")
    op.execute("ALTER TABLE processes DROP COLUMN deposit, DROP COLUMN takes")
    op.execute("COMMENT ON TABLE processes IS 'A named course that orders take, from the preset.'")

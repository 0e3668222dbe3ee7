"""Payouts: their states, sellers' accounts at gateways, runs, money fetched back."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0013_payouts.sql")


def downgrade() -> None:
    """Undo."""
    for table in ("payout_reversals", "payout_runs", "payout_accounts"):
        op.execute(f"DROP TABLE {table}")
    op.execute("UPDATE payouts SET state = 'requested' WHERE state = 'sent'")
    op.execute("DROP INDEX uq_payouts_open, ix_payouts_created_at")
    op.execute("ALTER TABLE payouts DROP CONSTRAINT ck_payouts_state_known, DROP CONSTRAINT ck_payouts_reversed_within_amount")
    op.execute("ALTER TABLE payouts DROP COLUMN reversed_minor, DROP COLUMN run_id, DROP COLUMN decided_by, DROP COLUMN settled_at")
    op.execute("ALTER TABLE payouts ADD CONSTRAINT ck_payouts_state_known CHECK (state IN ('requested', 'paid', 'failed'))")
    op.execute("CREATE UNIQUE INDEX uq_payouts_open ON payouts (seller_id, currency) WHERE state = 'requested'")
    op.execute("COMMENT ON TABLE payouts IS 'Money paid out to a seller.'")

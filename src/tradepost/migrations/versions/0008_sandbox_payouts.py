"""The sandbox gateway's books of money paid out to sellers."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

TABLES = ("sandbox_payouts", "sandbox_reversals")


def upgrade() -> None:
    """Apply."""
    # fmt: off
    op.create_table('sandbox_payouts',
    sa.Column('payout_id', sa.UUID(), nullable=False),
    sa.Column('account', sa.Text(), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.Column('reversed_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('currency', sa.CHAR(length=3), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('reversed_minor BETWEEN 0 AND amount_minor', name=op.f('ck_sandbox_payouts_reversed_within_amount')),
    sa.PrimaryKeyConstraint('payout_id', name=op.f('pk_sandbox_payouts')),
    comment="The sandbox gateway's own record of money it paid to sellers; its key makes a repeated request harmless."
    )
    op.create_table('sandbox_reversals',
    sa.Column('reversal_id', sa.UUID(), nullable=False),
    sa.Column('payout_id', sa.UUID(), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('reversal_id', name=op.f('pk_sandbox_reversals')),
    comment="The sandbox gateway's own record of money it fetched back from sellers."
    )
    # fmt: on
    op.create_index("ix_sandbox_reversals_payout_id", "sandbox_reversals", ["payout_id"], unique=False)
    for table in TABLES:
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO tradepost_app")
        op.execute(f"GRANT SELECT ON {table} TO tradepost_readonly")


def downgrade() -> None:
    """Undo."""
    for table in reversed(TABLES):
        op.drop_table(table)

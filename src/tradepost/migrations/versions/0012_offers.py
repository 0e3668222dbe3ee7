"""Offers: prices that people propose to each other, and floors nobody else sees."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0012_offers.sql")


def downgrade() -> None:
    """Undo."""
    op.execute("DROP TABLE offer_floors, offers")

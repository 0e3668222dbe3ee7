"""Finding: popularity from what people do, scheduled prices in time, searches that people keep."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0010_finding.sql")


def downgrade() -> None:
    """Undo."""
    op.execute("DROP TABLE alerts")
    op.execute("DROP INDEX ix_prices_valid_from, ix_prices_valid_to, ix_variants_backorder_until")
    op.execute("ALTER TABLE search_state DROP COLUMN interest_seen_at, DROP COLUMN due_seen_at")
    op.execute("ALTER TABLE listing_stats DROP COLUMN interest, DROP COLUMN interest_at, DROP COLUMN noted")

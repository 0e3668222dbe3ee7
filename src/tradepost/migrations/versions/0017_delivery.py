"""Delivery: the plan, zones, rounds, tries to hand something over."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0017_delivery.sql")


def downgrade() -> None:
    """Undo."""
    for table in ("attempts", "stops", "zones", "days_off", "windows", "terms"):
        op.execute(f"DROP TABLE delivery_{table}")
    op.execute("ALTER TABLE shipping_options DROP COLUMN by_distance")
    op.execute("ALTER TABLE delivery_slots DROP COLUMN is_open")

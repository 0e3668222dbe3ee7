"""Sales summed up by day and by listing."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0020_sales.sql")


def downgrade() -> None:
    """Undo."""
    op.execute("DROP SCHEMA IF EXISTS documented CASCADE")
    op.execute("DROP VIEW sales_by_day, sales_by_listing")
    for name in ("inserted", "updated", "deleted"):
        op.execute(f"DROP TRIGGER sales_changed_{name} ON order_lines")
    op.execute("DROP TRIGGER sales_changed ON orders")
    op.execute("DROP TRIGGER sales_changed_too ON orders")
    op.execute("DROP TABLE sales_days, sales_listings, sales_changed")
    op.execute("DROP VIEW sale_states CASCADE")
    op.execute(
        "DROP FUNCTION rebuild_sales(), refresh_sales(), sum_up_days(date[]), sum_up_listings(date[]), orders_sales_changed(), "
        "order_lines_sales_changed(), order_part_sales_changed(), is_sale(text, text), store_timezone(), major_units(bigint, text)"
    )

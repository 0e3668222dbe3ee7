"""The engine room: the worker itself makes the months of partitioned tables."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0002_partitions.sql")


def downgrade() -> None:
    """Undo: the functions go with the foundation's; only the new one and the right to run them are ours."""
    op.execute("DROP FUNCTION ensure_all_month_partitions(integer)")
    op.execute("ALTER FUNCTION ensure_month_partitions(regclass, integer) SECURITY INVOKER RESET search_path")

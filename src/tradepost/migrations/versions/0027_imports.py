"""Tables of listings that a job brings in."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0027_imports.sql")


def downgrade() -> None:
    """Undo."""
    op.execute("DROP TABLE listing_import_rows, listing_imports")

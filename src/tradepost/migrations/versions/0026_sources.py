"""Outside markets: how they are read, what was seen of each listing, and what each reading brought."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0026_sources.sql")


def downgrade() -> None:
    """Undo."""
    run_file(op, "0026_sources_undo.sql")

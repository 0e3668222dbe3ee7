"""Ways in: one-time links, second steps, passkeys, outside logins, tokens that take turns; and the letters that go with them."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0018_ways_in.sql")


def downgrade() -> None:
    """Undo."""
    run_file(op, "0018_ways_in_undo.sql")

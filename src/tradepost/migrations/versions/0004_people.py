"""People: names that look alike, doors for cookies and tokens, row-level security on sessions and reviews."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0004_people.sql")


def downgrade() -> None:
    """Undo."""
    for policy in ("reading", "writing", "changing", "removing", "reporting"):
        op.execute(f"DROP POLICY {policy} ON reviews")
    op.execute("DROP POLICY actor ON sessions")
    op.execute("ALTER TABLE reviews DISABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE sessions DISABLE ROW LEVEL SECURITY")
    op.execute("DROP FUNCTION token_caller(bytea), session_caller(bytea), person_roles(uuid)")
    op.execute("DROP INDEX ix_users_created_at, ix_follows_follower_id, ix_follows_followed_id, ix_users_find, ix_users_username_looks")
    op.execute("CREATE INDEX ix_follows_followed_id ON follows (followed_id)")
    op.execute("DROP FUNCTION username_looks(text)")

"""What the staff shape themselves: the category tree, places, and the store's words and colours."""

from alembic import op

from tradepost.migrations.script import run_file, run_script

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0023_office.sql")


def downgrade() -> None:
    """Undo."""
    run_script(
        op,
        """
        DROP TRIGGER audit ON places;
        DROP TABLE store_drafts, store_editions, former_categories;
        DROP FUNCTION audit_places(), audit_store_editions(), audit_former_categories();
        ALTER TABLE places DROP COLUMN is_active;
        ALTER TABLE categories DROP COLUMN is_own;
        COMMENT ON TABLE categories IS
            'The category tree; `path` is the slugs from the root, kept by a trigger that also refuses cycles.';
        SELECT audit_anew();
        """,
    )

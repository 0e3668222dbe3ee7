"""The kitchen: ingredients, recipes, movements."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0019_kitchen.sql")


def downgrade() -> None:
    """Undo."""
    op.execute("DROP TABLE ingredient_movements, recipe_lines, ingredients")
    op.execute("DROP FUNCTION ingredient_movements_apply")
    op.execute("DROP INDEX ix_fulfilments_in_hand")

"""Search in large stores: more of the nearest, quick suggestions."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0022_quick_search.sql")


def downgrade() -> None:
    """Undo."""
    op.execute("DROP FUNCTION search_near(vector, integer)")
    op.execute("DROP INDEX ix_search_documents_find_tier_1, ix_search_documents_find_tier_2, ix_search_documents_find_tier_3")
    op.execute("SELECT '[1]'::vector")
    op.execute("ALTER FUNCTION search_nearest(vector, integer) SET hnsw.ef_search = 160")
    op.execute("DROP INDEX IF EXISTS ix_search_vectors_near")
    op.execute(
        "CREATE INDEX ix_search_vectors_near ON search_vectors USING hnsw ((embedding::halfvec(384)) halfvec_cosine_ops) "
        "WITH (m = 16, ef_construction = 64)"
    )

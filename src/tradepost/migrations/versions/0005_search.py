"""Search: documents kept fresh at the commit, statistics of words, synonyms, the log of searches."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0005_search.sql")


def downgrade() -> None:
    """Undo; the mended triggers of the catalogue stay."""
    for table, name in (
        ("listings", "note_inserted"), ("listings", "note_updated"),
        ("variants", "note_inserted"), ("variants", "note_updated"), ("variants", "note_deleted"),
    ):
        op.execute(f"DROP TRIGGER {name} ON {table}")
    op.execute(
        "DROP TABLE search_changed, search_changes, search_log, search_synonyms, search_state, search_vocabulary, search_terms, "
        "search_queue, search_vectors, search_documents"
    )
    op.execute(
        "DROP FUNCTION search_nearest(vector, integer), variants_note(), listings_note_updated(), listings_note_inserted(), search_apply(), "
        "search_note(uuid[], boolean), search_refresh_facts(uuid[]), search_refresh_words(uuid[]), search_drop_absent(uuid[]), "
        "search_words_of(text, text, text, jsonb, text, text), search_facts_of(uuid[], boolean), search_price_band(bigint), "
        "search_deletes(text), search_text(text), search_use_language(text)"
    )
    op.execute("DROP TEXT SEARCH CONFIGURATION store_words")

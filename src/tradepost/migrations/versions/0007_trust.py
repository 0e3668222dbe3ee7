"""Trust: the audit log, verification, moderation, exports and erasure, keys in use."""

from alembic import op

from tradepost.migrations.script import FOLDER, run_file

revision = "0007"
down_revision = "0006"

TABLES = (
    "appeals", "reports", "decisions", "blocks", "impersonations", "data_exports", "user_badges", "badges",
    "verification_documents", "verifications", "encryption_keys",
)


def upgrade() -> None:
    """Apply."""
    run_file(op, "0007_trust.sql")


def downgrade() -> None:
    """Undo; whoever is suspended may do everything again."""
    op.execute("""
        DO $$
        DECLARE
            t regclass;
        BEGIN
            FOR t IN SELECT tgrelid::regclass FROM pg_trigger WHERE tgname = 'audit' AND NOT tgisinternal LOOP
                EXECUTE format('DROP TRIGGER audit ON %s', t);
            END LOOP;
        END $$
    """)
    op.execute("DROP TRIGGER hidden_stays ON reviews")
    op.execute("DROP TRIGGER hidden_is_kept ON reviews")
    op.execute("DROP TRIGGER hidden_stays ON listings")
    op.execute("DROP TRIGGER check_block ON follows")
    op.execute("DROP TRIGGER keep_reopened ON users")
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP TABLE audit_log")
    op.execute(
        "DROP FUNCTION users_keep_reopened(), refuse_own_decision(), refuse_showing(), blocks_end_follows(), follows_check_block(), is_blocked(uuid, uuid), "
        "audit_drop_months(integer), audit_blank(jsonb, text[]), audit_forget(uuid), audit_note(text, text, text, jsonb), "
        "audit_table(regclass, text), audit_row(), audit_write(text, text, text, jsonb, jsonb)"
    )
    op.execute("DROP POLICY carrying ON orders")
    op.execute("DROP POLICY carrying ON order_lines")
    # Back to what 0004 made it.
    text = (FOLDER / "0004_people.sql").read_text("utf-8")
    start = text.index("CREATE FUNCTION person_roles")
    op.get_bind().exec_driver_sql(text[start : text.index("$$;", start) + 3].replace("CREATE", "CREATE OR REPLACE", 1))
    op.execute("DROP INDEX ix_users_erase_at, ix_listings_hidden_by")
    op.execute("ALTER TABLE users DROP COLUMN suspended_until, DROP COLUMN erase_at")
    op.execute("ALTER TABLE listings DROP CONSTRAINT ck_listings_hidden_stays, DROP COLUMN hidden_by")

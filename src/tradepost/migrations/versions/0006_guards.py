"""Guards that were missing: whose session, whose wish list, which links; variants that swap options; two indexes."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0006_guards.sql")


def downgrade() -> None:
    """Undo."""
    op.execute("DROP POLICY locking ON loyalty_accounts")
    op.execute("REVOKE UPDATE (updated_at) ON loyalty_accounts FROM tradepost_app")
    op.execute("DROP INDEX ix_listings_category_popular, ix_listings_seller_newest, ix_listing_images_file_id")
    op.execute("ALTER TABLE variants DROP CONSTRAINT uq_variants_listing_id_options")
    op.execute("ALTER TABLE variants ADD CONSTRAINT uq_variants_listing_id_options UNIQUE (listing_id, options)")
    op.execute("ALTER TABLE listings DROP CONSTRAINT ck_listings_outside_url, DROP CONSTRAINT ck_listings_video_url")
    for table in ("wishlists", "likes"):
        op.execute(f"DROP POLICY actor ON {table}")
        op.execute(f"DROP POLICY reporting ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    op.execute("DROP POLICY actor ON sessions")
    op.execute(
        "CREATE POLICY actor ON sessions FOR ALL TO tradepost_app USING ((SELECT app_sees_all()) "
        "OR user_id = (SELECT app_user_id()) OR id_hash = (SELECT app_session()))"
    )

"""Live shows: streams, pins, their log, auctions, giveaways."""

from alembic import op

from tradepost.migrations.script import run_file

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Apply."""
    run_file(op, "0015_streams.sql")


def downgrade() -> None:
    """Undo."""
    op.execute("DELETE FROM offers WHERE origin <> 'haggle'")
    op.execute("ALTER TABLE offers DROP COLUMN origin, ALTER COLUMN conversation_id SET NOT NULL")
    op.execute(
        "DROP TABLE giveaway_entries, giveaway_seeds, giveaways, bids, auctions, stream_viewers, stream_mutes, stream_likes, "
        "stream_events, stream_listings, streams"
    )
    op.execute(
        "DROP FUNCTION stream_events_number(), stream_likes_count(), bids_in_time(), giveaway_entries_number()"
    )

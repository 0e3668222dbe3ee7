"""Tables of reviews."""

from sqlalchemy import CheckConstraint, Column, Index, SmallInteger, Table, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import UUID

from tradepost.core.columns import at_most, created, key, moment, one_of, reference, updated, words
from tradepost.core.database import metadata

reviews = Table(
    "reviews",
    metadata,
    key(),
    reference("listing_id", "listings.id", on_delete="CASCADE"),
    reference("user_id", "users.id"),
    Column("order_id", UUID),
    Column("rating", SmallInteger, nullable=False),
    words("comment", default=""),
    words("reply", nullable=True),
    moment("replied_at", nullable=True),
    words("status", default="shown"),
    created(),
    updated(),
    UniqueConstraint("user_id", "listing_id"),
    CheckConstraint("rating BETWEEN 1 AND 5", name="rating_range"),
    at_most("comment", 4000),
    at_most("reply", 4000),
    one_of("status", "shown", "hidden"),
    Index("ix_reviews_listing_id_rating", "listing_id", "rating"),
    Index("ix_reviews_listing_id_created_at", "listing_id", text("created_at DESC"), text("id DESC")),
    comment="One person's rating of one listing.",
)

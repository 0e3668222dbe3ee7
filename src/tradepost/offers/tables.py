"""Tables of offers."""

from sqlalchemy import CheckConstraint, Column, Index, Numeric, Table, text
from sqlalchemy.dialects.postgresql import UUID

from tradepost.core.columns import created, currency, key, minor, moment, one_of, reference, updated, words
from tradepost.core.database import metadata

offers = Table(
    "offers",
    metadata,
    key(),
    reference("listing_id", "listings.id"),
    reference("variant_id", "variants.id"),
    reference("buyer_id", "users.id"),
    reference("seller_id", "users.id"),
    words("by"),
    minor("amount_minor"),
    currency(),
    Column("quantity", Numeric(12, 3), nullable=False),
    words("status", default="pending"),
    reference("parent_id", "offers.id", nullable=True),
    reference("conversation_id", "conversations.id", nullable=True),
    moment("expires_at"),
    moment("held_until", nullable=True),
    Column("order_id", UUID, unique=True),
    created(),
    updated(),
    words("origin", default="haggle"),
    one_of("origin", "haggle", "show", "auction"),
    CheckConstraint("origin <> 'haggle' OR conversation_id IS NOT NULL", name="haggled_in_conversation"),
    one_of("by", "buyer", "seller"),
    one_of("status", "pending", "accepted", "rejected", "countered", "expired", "cancelled"),
    CheckConstraint("amount_minor > 0", name="amount_positive"),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    CheckConstraint("buyer_id <> seller_id", name="two_people"),
    CheckConstraint("(status = 'accepted') <= (held_until IS NOT NULL)", name="accepted_is_held"),
    CheckConstraint("order_id IS NULL OR status = 'accepted'", name="ordered_was_accepted"),
    Index("uq_offers_open", "listing_id", "buyer_id", unique=True, postgresql_where=text("status = 'pending'")),
    Index("ix_offers_due", "expires_at", postgresql_where=text("status = 'pending'")),
    Index("ix_offers_held", "held_until", postgresql_where=text("status = 'accepted' AND order_id IS NULL")),
    Index("ix_offers_listing_id", "listing_id", "status"),
    Index("ix_offers_buyer_id", "buyer_id", text("created_at DESC")),
    Index("ix_offers_seller_id", "seller_id", text("created_at DESC")),
    Index("ix_offers_conversation_id", "conversation_id"),
    comment="A price proposed for a listing by its buyer or, in answer, by its seller. One open for each buyer and listing. An accepted one holds stock under its own id until its order does.",
)  # fmt: skip

offer_floors = Table(
    "offer_floors",
    metadata,
    reference("listing_id", "listings.id", on_delete="CASCADE", primary_key=True),
    reference("seller_id", "users.id", on_delete="CASCADE"),
    minor("floor_minor"),
    created(),
    updated(),
    CheckConstraint("floor_minor > 0", name="floor_positive"),
    Index("ix_offer_floors_seller_id", "seller_id"),
    comment="The least a seller would take, which nobody else ever sees; offers below it are declined after a while.",
)

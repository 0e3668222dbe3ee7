"""Tables of carts."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from tradepost.core.columns import Quantity, created, currency, key, minor, reference, updated
from tradepost.core.database import metadata

carts = Table(
    "carts",
    metadata,
    key(),
    Column("user_id", UUID, unique=True),
    Column("session_hash", LargeBinary, unique=True),
    currency(),
    Column("promo_codes", ARRAY(Text), nullable=False, server_default="{}"),
    Column("slot_id", UUID),
    Column("version", Integer, nullable=False, server_default="1"),
    created(),
    updated(),
    CheckConstraint("(user_id IS NULL) <> (session_hash IS NULL)", name="one_owner"),
    Index("ix_carts_updated_at", "updated_at"),
    comment="The cart of one person, or of one visitor's session; every change of its lines raises `version`.",
)

cart_lines = Table(
    "cart_lines",
    metadata,
    reference("cart_id", "carts.id", on_delete="CASCADE"),
    Column("line_no", Integer, nullable=False),
    reference("variant_id", "variants.id", on_delete="CASCADE"),
    Column("quantity", Quantity, nullable=False),
    minor("unit_price_minor"),
    Column("configuration", JSONB, nullable=False, server_default="{}"),
    Column("configuration_hash", LargeBinary, nullable=False),
    created(),
    updated(),
    PrimaryKeyConstraint("cart_id", "line_no"),
    UniqueConstraint("cart_id", "variant_id", "configuration_hash"),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    CheckConstraint("unit_price_minor >= 0", name="price_not_negative"),
    Index("ix_cart_lines_variant_id", "variant_id"),
    comment="One variant in a cart with the price it had when it was put there.",
)

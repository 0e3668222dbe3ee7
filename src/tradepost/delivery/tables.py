"""Tables of delivery."""

from sqlalchemy import Boolean, CheckConstraint, Column, Date, Index, Integer, Table, Time, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import UUID

from tradepost.core.columns import at_most, created, encrypted, key, one_of, reference, updated, words
from tradepost.core.database import metadata

addresses = Table(
    "addresses",
    metadata,
    key(),
    reference("user_id", "users.id", on_delete="CASCADE"),
    words("label", default=""),
    encrypted("address_enc", nullable=False),
    Column("is_default", Boolean, nullable=False, server_default="false"),
    created(),
    updated(),
    at_most("label", 60),
    Index("uq_addresses_default", "user_id", unique=True, postgresql_where=text("is_default")),
    Index("ix_addresses_user_id", "user_id"),
    comment="A person's address book; the address itself is encrypted.",
)

delivery_slots = Table(
    "delivery_slots",
    metadata,
    key(),
    Column("delivery_on", Date, nullable=False),
    Column("starts_at", Time, nullable=False),
    Column("ends_at", Time, nullable=False),
    Column("capacity", Integer, nullable=False),
    Column("taken", Integer, nullable=False, server_default="0"),
    reference("rider_id", "users.id", nullable=True),
    words("status", default="available"),
    created(),
    updated(),
    UniqueConstraint("delivery_on", "starts_at", "ends_at", "rider_id", postgresql_nulls_not_distinct=True),
    one_of("status", "available", "assigned", "completed"),
    CheckConstraint("ends_at > starts_at", name="ends_after_start"),
    CheckConstraint("capacity > 0", name="capacity_positive"),
    CheckConstraint("taken >= 0", name="taken_not_negative"),
    CheckConstraint("taken <= capacity", name="not_overbooked"),
    Index("ix_delivery_slots_rider_id", "rider_id", "delivery_on"),
    comment="A window of a day in which so many orders can be brought, in the store's own time. Only a trigger on slot_bookings "
    "changes `taken`.",
)

slot_bookings = Table(
    "slot_bookings",
    metadata,
    Column("order_id", UUID, primary_key=True),
    reference("slot_id", "delivery_slots.id"),
    words("state", default="booked"),
    created(),
    updated(),
    one_of("state", "booked", "given_back"),
    Index("ix_slot_bookings_slot_id", "slot_id"),
    comment="The delivery window an order has taken.",
)

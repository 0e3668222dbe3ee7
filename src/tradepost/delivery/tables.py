"""Tables of delivery."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Time,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import UUID

from tradepost.core.columns import at_most, created, encrypted, key, minor, moment, one_of, reference, updated, words
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
    Column("is_open", Boolean, nullable=False, server_default="true"),
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

delivery_terms = Table(
    "delivery_terms",
    metadata,
    Column("id", Boolean, primary_key=True, server_default="true"),
    Column("lead_minutes", Integer, nullable=False, server_default="0"),
    Column("cut_off", Time),
    Column("days_ahead", Integer, nullable=False, server_default="14"),
    updated(),
    CheckConstraint("id", name="one_row"),
    CheckConstraint("lead_minutes BETWEEN 0 AND 129600", name="lead_range"),
    CheckConstraint("days_ahead BETWEEN 1 AND 90", name="days_ahead_range"),
    comment="For when orders are taken: how long before a window begins, until what time of the day before, how many days ahead.",
)

delivery_windows = Table(
    "delivery_windows",
    metadata,
    key(),
    Column("weekday", SmallInteger, nullable=False),
    Column("starts_at", Time, nullable=False),
    Column("ends_at", Time, nullable=False),
    Column("capacity", Integer, nullable=False),
    created(),
    updated(),
    UniqueConstraint("weekday", "starts_at", "ends_at"),
    CheckConstraint("weekday BETWEEN 0 AND 6", name="weekday_range"),
    CheckConstraint("ends_at > starts_at", name="ends_after_start"),
    CheckConstraint("capacity BETWEEN 1 AND 10000", name="capacity_range"),
    comment="The windows of a usual week (0 is Monday), from which the slots of the days to come are opened.",
)

delivery_days_off = Table(
    "delivery_days_off",
    metadata,
    Column("day", Date, primary_key=True),
    words("reason", default=""),
    created(),
    at_most("reason", 200),
    comment="A day on which nothing is brought.",
)

delivery_zones = Table(
    "delivery_zones",
    metadata,
    Column("radius_m", Integer, primary_key=True, autoincrement=False),
    words("name"),
    minor("fee_minor"),
    minor("free_from_minor", nullable=True),
    created(),
    updated(),
    CheckConstraint("radius_m BETWEEN 1 AND 20000000", name="radius_range"),
    CheckConstraint("fee_minor >= 0 AND free_from_minor > 0", name="fee_not_negative"),
    at_most("name", 60),
    comment="What delivery costs up to a distance from the store's place; beyond the widest nothing is brought.",
)

delivery_stops = Table(
    "delivery_stops",
    metadata,
    Column("order_id", UUID, nullable=False),
    Column("seller_id", UUID, nullable=False),
    Column("position", Integer, nullable=False, server_default="0"),
    updated(),
    PrimaryKeyConstraint("order_id", "seller_id"),
    comment="The place of a seller's part on its rider's round; who the rider is, the fulfilment knows.",
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column("key", UUID, primary_key=True),
    Column("order_id", UUID, nullable=False),
    Column("seller_id", UUID, nullable=False),
    reference("rider_id", "users.id", nullable=True),
    moment("at", default_now=True),
    words("outcome"),
    words("proof", default=""),
    words("reason", default=""),
    words("note", default=""),
    reference("file_id", "files.id", nullable=True),
    one_of("outcome", "handed_over", "failed"),
    one_of("proof", "", "pin", "photo"),
    one_of("reason", "", "nobody_home", "wrong_address", "refused", "damaged", "no_access", "other"),
    at_most("note", 500),
    Index("ix_delivery_attempts_order_id", "order_id", "at"),
    comment="A try to hand something over, under a key of the rider's phone, so that one sent twice counts once.",
)

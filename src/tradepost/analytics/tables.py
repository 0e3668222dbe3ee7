"""Tables of summaries, and of what visitors do."""

from sqlalchemy import Column, Date, Index, Integer, LargeBinary, Numeric, PrimaryKeyConstraint, Table, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from tradepost.core.columns import currency, key, minor, moment, one_of, words
from tradepost.core.database import metadata

sales_days = Table(
    "sales_days",
    metadata,
    Column("day", Date, nullable=False),
    currency(),
    Column("orders", Integer, nullable=False),
    minor("revenue_minor"),
    minor("refunded_minor"),
    PrimaryKeyConstraint("day", "currency"),
    comment="The orders placed on a day, in the store's time, that were handed over; summed up by refresh_sales().",
)

sales_listings = Table(
    "sales_listings",
    metadata,
    Column("listing_id", UUID, nullable=False),
    Column("day", Date, nullable=False),
    currency(),
    Column("quantity", Numeric(16, 3), nullable=False),
    minor("revenue_minor"),
    Column("orders", Integer, nullable=False),
    PrimaryKeyConstraint("listing_id", "day", "currency"),
    Index(
        "ix_sales_listings_day",
        "day",
        postgresql_include=["currency", "listing_id", "quantity", "revenue_minor", "orders"],
    ),
    comment="What was sold of a listing in the orders of a day that were handed over; summed up by refresh_sales().",
)

sales_listing_months = Table(
    "sales_listing_months",
    metadata,
    Column("listing_id", UUID, nullable=False),
    Column("month", Date, nullable=False),
    currency(),
    Column("quantity", Numeric(16, 3), nullable=False),
    minor("revenue_minor"),
    Column("orders", Integer, nullable=False),
    PrimaryKeyConstraint("month", "currency", "listing_id"),
    comment="What was sold of a listing in a month, by its first day: the sums of sales_listings, kept by refresh_sales().",
)

sales_changed = Table(
    "sales_changed",
    metadata,
    key(),
    Column("day", Date, nullable=False),
    Index("ix_sales_changed_day", "day"),
    comment="A day whose orders changed since it was summed up, once for every change.",
)

analytics_events = Table(
    "analytics_events",
    metadata,
    Column("id", UUID, nullable=False, server_default=text("uuidv7()")),
    moment("at", default_now=True),
    words("kind"),
    Column("user_id", UUID),
    Column("session_hash", LargeBinary),
    Column("visitor", LargeBinary),
    Column("listing_id", UUID),
    Column("data", JSONB, nullable=False, server_default="{}"),
    PrimaryKeyConstraint("id", "at"),
    one_of(
        "kind",
        "listing_viewed",
        "category_viewed",
        "searched",
        "cart_added",
        "checkout_opened",
        "order_placed",
        "assistant_asked",
        "assistant_handed_over",
    ),
    Index("ix_analytics_events_kind_at", "kind", "at", postgresql_include=["visitor"]),
    Index("ix_analytics_events_user_id_at", "user_id", "at", postgresql_where=text("user_id IS NOT NULL")),
    postgresql_partition_by="RANGE (at)",
    comment="What visitors do: looks at listings, searches, carts, orders, questions. Counts, no accounts; one partition a month, dropped after a while.",
)

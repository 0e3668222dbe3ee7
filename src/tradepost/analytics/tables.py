"""Tables of summaries."""

from sqlalchemy import Column, Date, Index, Integer, Numeric, PrimaryKeyConstraint, Table
from sqlalchemy.dialects.postgresql import UUID

from tradepost.core.columns import currency, key, minor
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

"""Every table of the product, for Alembic and for the data browser: importing this fills `metadata`."""

import tradepost.accounts.tables
import tradepost.alerts.tables
import tradepost.analytics.tables
import tradepost.assistant.tables
import tradepost.cart.tables
import tradepost.catalog.tables
import tradepost.core.tables
import tradepost.delivery.tables
import tradepost.kitchen.tables
import tradepost.messaging.tables
import tradepost.moderation.tables
import tradepost.notifications.tables
import tradepost.offers.tables
import tradepost.ops.tables
import tradepost.orders.tables
import tradepost.payments.tables
import tradepost.promotions.tables
import tradepost.reviews.tables
import tradepost.search.tables
import tradepost.sources.tables
import tradepost.streams.tables  # noqa: F401  # imported for what it adds to the metadata
from tradepost.core.database import metadata

__all__ = ["metadata"]

"""What the rest of the product sees of the figures."""

from datetime import date
from decimal import Decimal
from uuid import UUID

import msgspec


class SalesDay(msgspec.Struct, frozen=True):
    """The sales of a day."""

    day: date
    orders: int
    revenue_minor: int
    refunded_minor: int


class BestSeller(msgspec.Struct, frozen=True):
    """What was sold of a listing in a stretch of days."""

    listing_id: UUID
    title: str
    quantity: Decimal
    revenue_minor: int
    orders: int


class SlotDay(msgspec.Struct, frozen=True):
    """How full the delivery windows of a day were."""

    day: date
    capacity: int
    taken: int


class ReturnReasonCount(msgspec.Struct, frozen=True):
    """How often things came back for one reason."""

    reason: str
    returns: int

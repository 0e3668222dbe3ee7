"""What the rest of the product sees of the figures."""

from datetime import date
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import msgspec

Kind = Literal[
    "listing_viewed",
    "category_viewed",
    "searched",
    "cart_added",
    "checkout_opened",
    "order_placed",
    "assistant_asked",
    "assistant_handed_over",
]


class Visit(msgspec.Struct, frozen=True):
    """Who does something, as far as it may be told: one browser of one day, a session, a person; nothing of it without consent.

    `visitor` is a keyed hash of address, browser and day: the same for a day, and nothing to anybody without the key.
    """

    visitor: bytes | None = None
    session: bytes | None = None
    user_id: UUID | None = None


class Noted(msgspec.Struct, frozen=True):
    """Something a visitor did, as it waits to be written."""

    at: Any
    kind: Kind
    visit: Visit
    listing_id: UUID | None
    data: dict[str, Any]


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


class FunnelStep(msgspec.Struct, frozen=True):
    """How many visits came so far, in the order of the steps: each had the step before it, earlier."""

    kind: Kind
    visits: int


class ListingInterest(msgspec.Struct, frozen=True):
    """What became of the looks at a listing: visits that looked at it, and orders of the same days that have it."""

    listing_id: UUID
    title: str
    visits: int
    orders: int


class SearchTerm(msgspec.Struct, frozen=True):
    """What was searched for, how often, and what came of it."""

    query: str
    searches: int
    unanswered: int
    clicked: int
    ordered: int


class VisitDay(msgspec.Struct, frozen=True):
    """The visits of a day: browsers that looked at something, and those of them that ordered."""

    day: date
    visits: int
    ordered: int


class CohortCell(msgspec.Struct, frozen=True):
    """What people who ordered first in a month did some months after it. `later` 0 is that month itself."""

    month: date
    later: int
    people: int
    revenue_minor: int


class RevenueMonth(msgspec.Struct, frozen=True):
    """What a month's orders came to: first orders of somebody, and those of people who came back. Visitors always come first."""

    month: date
    first_minor: int
    again_minor: int
    buyers: int

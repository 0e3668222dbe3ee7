"""What the rest of the product knows of offers."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.core.errors import Conflict, Invalid, NotFound, Refused, TooMany

LARGEST = 10**12
Status = Literal["pending", "accepted", "rejected", "countered", "expired", "cancelled"]
Side = Literal["buyer", "seller"]
Origin = Literal["haggle", "show", "auction"]


class NoSuchOffer(NotFound):
    """There is no such offer."""


class NotOpenToOffers(Refused):
    """This has a fixed price; it takes no offers."""


class OfferOnOwnListing(Refused):
    """You cannot make an offer on what you sell yourself."""


class NoLongerThere(Conflict):
    """This is sold, or promised to somebody else."""


class OfferOpen(Conflict):
    """You have an open offer on this already; withdraw it first, or wait for the answer."""


@dataclass(eq=False)
class OfferClosed(Conflict):
    """This offer is not open any more: it is {status}."""

    status: str


class NotYourTurn(Refused):
    """This offer waits for the other side."""


@dataclass(eq=False)
class OfferAboveAsking(Invalid):
    """That is more than the asking price; you can simply buy it."""

    field: str | None = "amount"


@dataclass(eq=False)
class TooManyOffers(TooMany):
    """You have made {most} offers on this today; please wait until tomorrow."""

    most: int
    retry_after_s: int = 3600


class Offer(msgspec.Struct, frozen=True):
    """An offer as both sides see it. `by` made it and the other side answers; `held_until`: the item waits for its buyer.

    One from a show or an auction (`origin`) was agreed on there: it is accepted from the start, and has no conversation.
    """

    id: UUID
    listing_id: UUID
    variant_id: UUID
    buyer_id: UUID
    seller_id: UUID
    by: Side
    amount_minor: int
    currency: str
    quantity: Decimal
    status: Status
    parent_id: UUID | None
    conversation_id: UUID | None
    expires_at: datetime
    held_until: datetime | None
    order_id: UUID | None
    created_at: datetime
    origin: Origin = "haggle"

    def side_of(self, user_id: UUID | None) -> Side | None:
        """Return which side somebody is on, None for strangers."""
        return "buyer" if user_id == self.buyer_id else "seller" if user_id == self.seller_id else None


class OfferForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price somebody proposes, in minor units of the listing's currency, with a word to it."""

    amount_minor: Annotated[int, Meta(ge=1, le=LARGEST)]
    message: Annotated[str, Meta(max_length=1000)] = ""


class NewOffer(OfferForm, frozen=True, kw_only=True):
    """An offer on a listing; `variant_id` None: its only variant, or the first."""

    variant_id: UUID | None = None


class Goods(msgspec.Struct, frozen=True):
    """What an offer is about, as it is now. `left` None: stock is not tracked."""

    listing_id: UUID
    variant_id: UUID
    seller_id: UUID | None
    title: str
    feed: str
    status: str
    price_minor: int | None
    currency: str | None
    sale_step: Decimal
    left: Decimal | None

    @property
    def is_there(self) -> bool:
        """Whether one sale step of it can still be promised."""
        return self.status == "active" and (self.left is None or self.left >= self.sale_step)

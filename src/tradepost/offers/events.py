"""Facts of offers."""

from uuid import UUID

import msgspec


class OfferMade(msgspec.Struct, frozen=True):
    """Somebody proposed a price, a buyer or, in answer, a seller."""

    offer_id: UUID
    listing_id: UUID
    buyer_id: UUID
    seller_id: UUID
    by: str


class OfferAccepted(msgspec.Struct, frozen=True):
    """The other side took an offer; the item is held for the buyer."""

    offer_id: UUID
    listing_id: UUID
    buyer_id: UUID
    seller_id: UUID


class OfferEnded(msgspec.Struct, frozen=True):
    """An offer came to nothing: rejected, withdrawn, or its time was up."""

    offer_id: UUID
    listing_id: UUID
    buyer_id: UUID
    status: str

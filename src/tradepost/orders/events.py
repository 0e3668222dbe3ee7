"""Facts about orders. Whoever is to be told is named, so that a message can be written without asking again."""

from uuid import UUID

import msgspec


class OrderPlaced(msgspec.Struct, frozen=True):
    """An order exists and waits for its payment."""

    order_id: UUID
    number: str
    buyer_id: UUID | None
    seller_ids: tuple[UUID, ...]
    total_minor: int
    currency: str


class OrderMoved(msgspec.Struct, frozen=True):
    """An order, or one seller's part of it, came into another state. `tell`: buyer, seller, or both."""

    order_id: UUID
    number: str
    buyer_id: UUID | None
    seller_ids: tuple[UUID, ...]
    from_state: str
    to_state: str
    seller_id: UUID | None
    tell: tuple[str, ...]
    reason: str = ""


class ReturnRequested(msgspec.Struct, frozen=True):
    """A buyer wants to give something back."""

    return_id: UUID
    order_id: UUID
    number: str
    seller_id: UUID


class ReturnDecided(msgspec.Struct, frozen=True):
    """A seller or staff accepted or rejected a return, or has the goods back."""

    return_id: UUID
    order_id: UUID
    number: str
    state: str


class EvidenceAdded(msgspec.Struct, frozen=True):
    """One side of a disputed order, or staff, showed something."""

    evidence_id: UUID
    order_id: UUID
    number: str
    side: str

"""Facts of the catalogue."""

from uuid import UUID

import msgspec


class ListingPublished(msgspec.Struct, frozen=True):
    """A listing became visible to everybody."""

    listing_id: UUID
    seller_id: UUID | None


class ListingChanged(msgspec.Struct, frozen=True):
    """A visible listing changed: words, price, stock or pictures."""

    listing_id: UUID


class ListingWithdrawn(msgspec.Struct, frozen=True):
    """A listing is no longer visible."""

    listing_id: UUID

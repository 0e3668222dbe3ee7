"""What happens to reviews, as facts."""

from uuid import UUID

import msgspec


class ReviewWritten(msgspec.Struct, frozen=True):
    """A buyer rated what they bought."""

    review_id: UUID
    listing_id: UUID
    user_id: UUID
    rating: int


class ReviewChanged(msgspec.Struct, frozen=True):
    """Somebody changed their own review."""

    review_id: UUID
    listing_id: UUID
    user_id: UUID
    rating: int


class ReviewRemoved(msgspec.Struct, frozen=True):
    """Somebody took their own review back."""

    review_id: UUID
    listing_id: UUID
    user_id: UUID


class ReviewAnswered(msgspec.Struct, frozen=True):
    """A seller answered a review, or changed the answer."""

    review_id: UUID
    listing_id: UUID
    seller_id: UUID

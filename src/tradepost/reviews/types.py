"""What the rest of the product knows of reviews."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.core.errors import Conflict, NotFound, Refused

LONGEST = 4000


class NoSuchReview(NotFound):
    """There is no such review."""


class NotBought(Refused):
    """Reviews are by people who bought it; yours can follow when you have."""


class OwnListing(Refused):
    """You cannot review what you sell yourself."""


class NotYourListing(Refused):
    """Only who sells it may answer a review."""


class ReviewHidden(Conflict):
    """The staff have hidden this review; until they show it again it stays as it is."""


class NoReviewsHere(Refused):
    """This store does without reviews."""


class Review(msgspec.Struct, frozen=True):
    """A review as everybody reads it. `rating` is 1 to 5; `reply` is the seller's."""

    id: UUID
    author_id: UUID
    author_username: str
    author_name: str
    author_avatar_file_id: UUID | None
    rating: int
    comment: str
    reply: str | None
    replied_at: datetime | None
    created_at: datetime


class SellerReview(msgspec.Struct, frozen=True):
    """A review of something that somebody sells, as their page shows it."""

    id: UUID
    author_name: str
    author_avatar_file_id: UUID | None
    rating: int
    comment: str
    listing_title: str
    created_at: datetime


class OwnReview(msgspec.Struct, frozen=True):
    """A review as its author has it, hidden or not."""

    id: UUID
    listing_id: UUID
    rating: int
    comment: str
    reply: str | None
    status: str
    created_at: datetime
    updated_at: datetime


class WrittenReview(msgspec.Struct, frozen=True):
    """A review in the list of those one person wrote."""

    id: UUID
    listing_id: UUID
    listing_title: str
    listing_slug: str
    rating: int
    comment: str
    reply: str | None
    created_at: datetime


class RatingSummary(msgspec.Struct, frozen=True):
    """How a listing, or all of a seller's, is rated. `counts` says how often each rating from 5 down to 1 was given."""

    count: int
    total: int
    counts: dict[int, int] = {}

    @property
    def average(self) -> float | None:
        """The average of the ratings, or None without any."""
        return self.total / self.count if self.count else None


class ReviewDraft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A review as somebody writes it."""

    rating: Annotated[int, Meta(ge=1, le=5)]
    comment: Annotated[str, Meta(max_length=LONGEST)] = ""


class Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The seller's answer to a review; empty takes it back."""

    text: Annotated[str, Meta(max_length=LONGEST)]

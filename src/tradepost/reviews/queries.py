"""Every read of reviews. Reviews that are shown are public; a hidden one is its author's and the staff's."""

from uuid import UUID

from sqlalchemy import BigInteger, Integer, Text, bindparam, cast, func, select, tuple_
from sqlalchemy.dialects import postgresql

from tradepost.accounts.tables import users
from tradepost.accounts.types import Caller
from tradepost.catalog.tables import listings
from tradepost.core.columns import Timestamp
from tradepost.core.database import Database, Transaction
from tradepost.core.pages import Page, newest_first, page_of, page_size, to_cursor
from tradepost.reviews.tables import reviews
from tradepost.reviews.types import NoSuchReview, OwnReview, RatingSummary, Review, SellerReview, WrittenReview

_LISTING_ID = bindparam("listing_id", type_=postgresql.UUID)
_USER_ID = bindparam("user_id", type_=postgresql.UUID)
_REVIEW_ID = bindparam("review_id", type_=postgresql.UUID)
_LIMIT = bindparam("limit", type_=BigInteger)
_BEFORE = tuple_(bindparam("before_at", type_=Timestamp), bindparam("before_id", type_=postgresql.UUID))

REVIEWS_OF = (
    select(
        reviews.c.id, reviews.c.user_id.label("author_id"), cast(users.c.username, Text).label("author_username"),
        users.c.display_name.label("author_name"), users.c.avatar_file_id.label("author_avatar_file_id"), reviews.c.rating,
        reviews.c.comment, reviews.c.reply, reviews.c.replied_at, reviews.c.created_at,
    )
    .select_from(reviews.join(users, users.c.id == reviews.c.user_id))
    .where(
        reviews.c.listing_id == _LISTING_ID, reviews.c.status == "shown", tuple_(reviews.c.created_at, reviews.c.id) < _BEFORE
    )
    .order_by(reviews.c.created_at.desc(), reviews.c.id.desc())
    .limit(_LIMIT)
)  # fmt: skip
REVIEWS_OF_SELLER = (
    select(
        reviews.c.id, users.c.display_name.label("author_name"), users.c.avatar_file_id.label("author_avatar_file_id"),
        reviews.c.rating, reviews.c.comment, listings.c.title.label("listing_title"), reviews.c.created_at,
    )
    .select_from(
        listings.join(reviews, reviews.c.listing_id == listings.c.id).join(users, users.c.id == reviews.c.user_id)
    )
    .where(listings.c.seller_id == bindparam("seller_id", type_=postgresql.UUID), reviews.c.status == "shown")
    .order_by(reviews.c.created_at.desc(), reviews.c.id.desc())
    .limit(_LIMIT)
)  # fmt: skip
REVIEWS_BY = (
    select(
        reviews.c.id, reviews.c.listing_id, listings.c.title.label("listing_title"), listings.c.slug.label("listing_slug"),
        reviews.c.rating, reviews.c.comment, reviews.c.reply, reviews.c.created_at,
    )
    .select_from(reviews.join(listings, listings.c.id == reviews.c.listing_id))
    .where(reviews.c.user_id == _USER_ID, reviews.c.status == "shown", tuple_(reviews.c.created_at, reviews.c.id) < _BEFORE)
    .order_by(reviews.c.created_at.desc(), reviews.c.id.desc())
    .limit(_LIMIT)
)  # fmt: skip
RATINGS_OF = (
    select(reviews.c.rating, func.count().label("number"))
    .where(reviews.c.listing_id == _LISTING_ID, reviews.c.status == "shown")
    .group_by(reviews.c.rating)
)
RATING_OF_SELLER = select(
    cast(func.coalesce(func.sum(listings.c.rating_count), 0), Integer).label("count"),
    cast(func.coalesce(func.sum(listings.c.rating_sum), 0), Integer).label("total"),
).where(listings.c.seller_id == bindparam("seller_id", type_=postgresql.UUID), listings.c.status != "removed")
_OWN = select(
    reviews.c.id, reviews.c.listing_id, reviews.c.rating, reviews.c.comment, reviews.c.reply, reviews.c.status,
    reviews.c.created_at, reviews.c.updated_at,
).where(reviews.c.user_id == _USER_ID)  # fmt: skip
OWN_REVIEW = _OWN.where(reviews.c.id == _REVIEW_ID)
OWN_REVIEW_OF = _OWN.where(reviews.c.listing_id == _LISTING_ID)
SELLER_OF_REVIEW = (
    select(reviews.c.listing_id, listings.c.seller_id)
    .select_from(reviews.join(listings, listings.c.id == reviews.c.listing_id))
    .where(reviews.c.id == _REVIEW_ID, reviews.c.status == "shown")
)


async def list_reviews(db: Database, listing_id: UUID, *, after: str | None = None, limit: int = 12) -> Page[Review]:
    """Return a listing's reviews, the latest first. Raises `NoSuchPage`."""
    at, key = newest_first(after)
    size = page_size(limit)
    rows = await db.read(REVIEWS_OF, into=Review, listing_id=listing_id, before_at=at, before_id=key, limit=size + 1)
    return page_of(rows, size, lambda last: to_cursor(last.created_at, last.id))


async def summarise_reviews(db: Database, listing_id: UUID) -> RatingSummary:
    """Return how often each rating was given to a listing, 5 first; all five are there, with 0 where none was."""
    given = {row["rating"]: row["number"] for row in await db.read(RATINGS_OF, listing_id=listing_id)}
    counts = {stars: given.get(stars, 0) for stars in (5, 4, 3, 2, 1)}
    return RatingSummary(sum(counts.values()), sum(stars * n for stars, n in counts.items()), counts)


async def seller_rating(db: Database, seller_id: UUID) -> RatingSummary:
    """Return how all of a seller's listings together are rated, without `counts`."""
    return (await db.read(RATING_OF_SELLER, into=RatingSummary, seller_id=seller_id))[0]


async def list_seller_reviews(db: Database, seller_id: UUID, limit: int = 6) -> list[SellerReview]:
    """Return the latest reviews of all that somebody sells."""
    return await db.read(REVIEWS_OF_SELLER, into=SellerReview, seller_id=seller_id, limit=limit)


async def list_reviews_by(
    db: Database, user_id: UUID, *, after: str | None = None, limit: int = 12
) -> Page[WrittenReview]:
    """Return the reviews a person wrote, the latest first. Raises `NoSuchPage`."""
    at, key = newest_first(after)
    size = page_size(limit)
    rows = await db.read(REVIEWS_BY, into=WrittenReview, user_id=user_id, before_at=at, before_id=key, limit=size + 1)
    return page_of(rows, size, lambda last: to_cursor(last.created_at, last.id))


async def own_review_of(tx: Transaction, caller: Caller, listing_id: UUID) -> OwnReview | None:
    """Return what the caller wrote about a listing, or None."""
    return await tx.maybe(OWN_REVIEW_OF, into=OwnReview, user_id=caller.check_signed_in(), listing_id=listing_id)


async def access_own_review(tx: Transaction, caller: Caller, review_id: UUID) -> OwnReview:
    """Return one of the caller's own reviews. Raises `NoSuchReview` for anybody else's."""
    found = await tx.maybe(OWN_REVIEW, into=OwnReview, user_id=caller.check_signed_in(), review_id=review_id)
    if found is None:
        raise NoSuchReview
    return found

"""Reviewing what one bought: where reviews meet the orders."""

from uuid import UUID

import msgspec
from sqlalchemy import and_, bindparam, exists, func, literal_column, not_, or_, select
from sqlalchemy.dialects import postgresql

from tradepost.accounts.types import Caller
from tradepost.catalog.tables import listings
from tradepost.catalog.types import NoSuchListing
from tradepost.core.database import Transaction
from tradepost.flows.store import Store
from tradepost.orders.tables import fulfilments, order_lines, order_states, order_transitions, orders
from tradepost.reviews.queries import own_review_of
from tradepost.reviews.service import put_review
from tradepost.reviews.types import NoReviewsHere, NotBought, OwnListing, OwnReview, ReviewDraft

_LISTING_ID = bindparam("listing_id", type_=postgresql.UUID)
SELLER = select(listings.c.seller_id).where(listings.c.id == _LISTING_ID, listings.c.status != "removed")
_PART = and_(fulfilments.c.order_id == order_lines.c.order_id, fulfilments.c.seller_id == order_lines.c.seller_id)
_HANDED_OVER = exists().where(_PART, fulfilments.c.handed_over_at.is_not(None))
_KNOWS_ARRIVAL = exists().where(
    order_transitions.c.process == orders.c.process,
    order_transitions.c.effects.contains(literal_column("ARRAY['complete_fulfilments']")),
)
_ENDED = exists().where(
    _PART,
    order_states.c.process == fulfilments.c.process,
    order_states.c.code == fulfilments.c.state,
    order_states.c.is_final,
)
PURCHASE = (
    select(orders.c.id)
    .select_from(order_lines.join(orders, orders.c.id == order_lines.c.order_id))
    .where(
        order_lines.c.listing_id == _LISTING_ID,
        orders.c.buyer_id == bindparam("user_id", type_=postgresql.UUID),
        # "pending" with the goods handed over is cash that the rider has not brought in yet.
        orders.c.payment_state == func.any(postgresql.array(["paid", "partly_refunded", "pending"])),
        or_(_HANDED_OVER, and_(not_(_KNOWS_ARRIVAL), _ENDED, orders.c.payment_state != "pending")),
        order_lines.c.returned_quantity < order_lines.c.quantity,
    )
    .order_by(orders.c.placed_at.desc())
    .limit(1)
)


class ReviewStanding(msgspec.Struct, frozen=True):
    """Whether somebody who looks at a listing may write a review, or rewrite theirs, which is `own`."""

    may_review: bool
    own: OwnReview | None


async def review_listing(store: Store, caller: Caller, listing_id: UUID, draft: ReviewDraft) -> UUID:
    """Review a listing one has paid for, received and kept, or rewrite one's review of it; return the review's id.

    Raises `SignInFirst`, `NotAllowed`, `NoReviewsHere`, `NoSuchListing`, `OwnListing`, `NotBought`, `FieldErrors`.
    """
    caller.check_can("review")
    if not store.settings.features.reviews:
        raise NoReviewsHere
    async with store.db.transaction(actor=caller.actor) as tx:
        seller = await tx.maybe(SELLER, listing_id=listing_id)
        if seller is None:
            raise NoSuchListing
        if seller["seller_id"] == caller.user_id:
            raise OwnListing
        order_id = await _purchase(tx, caller, listing_id)
        if order_id is None and await own_review_of(tx, caller, listing_id) is None:
            raise NotBought
        return await put_review(tx, caller, listing_id, order_id, draft)


async def review_standing(store: Store, caller: Caller, listing_id: UUID) -> ReviewStanding:
    """Return whether the caller may review a listing now, and what they wrote about it before."""
    if not store.settings.features.reviews or not caller.can("review"):
        return ReviewStanding(may_review=False, own=None)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        own = await own_review_of(tx, caller, listing_id)
        may = own is not None or await _purchase(tx, caller, listing_id) is not None
    return ReviewStanding(may_review=may, own=own)


async def _purchase(tx: Transaction, caller: Caller, listing_id: UUID) -> UUID | None:
    found: UUID | None = await tx.value(PURCHASE, listing_id=listing_id, user_id=caller.user_id)
    return found

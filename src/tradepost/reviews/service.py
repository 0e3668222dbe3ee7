"""Writing, changing, taking back and answering reviews. Who may review is asked in the flow, which knows the orders."""

from uuid import UUID

from sqlalchemy import Text, bindparam, delete, func, literal_column, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert as upsert

from tradepost.accounts.types import Caller
from tradepost.core.database import Transaction
from tradepost.core.events import record
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.text import paragraphs
from tradepost.reviews import queries
from tradepost.reviews.events import ReviewAnswered, ReviewChanged, ReviewRemoved, ReviewWritten
from tradepost.reviews.tables import reviews
from tradepost.reviews.types import NoSuchReview, NotYourListing, Reply, ReviewDraft, ReviewHidden

_ID = bindparam("review_id", type_=postgresql.UUID)
_PUT = upsert(reviews).values({n: bindparam(n) for n in ("listing_id", "user_id", "order_id", "rating", "comment")})
_PUT_REVIEW = _PUT.on_conflict_do_update(
    index_elements=["user_id", "listing_id"],
    set_={"rating": _PUT.excluded.rating, "comment": _PUT.excluded.comment},
).returning(reviews.c.id, literal_column("xmax = 0").label("is_new"))
_REMOVE = delete(reviews).where(reviews.c.id == _ID)
_ANSWER = update(reviews).where(reviews.c.id == _ID).values(reply=bindparam("reply", type_=Text), replied_at=func.now())
_SET_STATUS = (
    update(reviews)
    .where(reviews.c.id == _ID, reviews.c.status == bindparam("before", type_=Text))
    .values(status=bindparam("status", type_=Text))
)
_TAKE_BACK_ANSWER = update(reviews).where(reviews.c.id == _ID).values(reply=None, replied_at=None)


async def put_review(
    tx: Transaction, caller: Caller, listing_id: UUID, order_id: UUID | None, draft: ReviewDraft
) -> UUID:
    """Write the caller's review of a listing they bought with that order, or rewrite the one there is; return its id.

    Raises `FieldErrors`, `NotAllowed`.
    """
    caller.check_can("review")
    user_id = caller.check_signed_in()
    check_fields(broken_limits(draft))
    row = await tx.one(
        _PUT_REVIEW, listing_id=listing_id, user_id=user_id, order_id=order_id, rating=draft.rating,
        comment=paragraphs(draft.comment),
    )  # fmt: skip
    written = ReviewWritten if row["is_new"] else ReviewChanged
    await record(tx, written(row["id"], listing_id, user_id, draft.rating), subject_id=listing_id)
    return UUID(str(row["id"]))


async def remove_review(tx: Transaction, caller: Caller, review_id: UUID) -> None:
    """Take one's own review back. Raises `NoSuchReview`, `ReviewHidden`, `NotAllowed`."""
    caller.check_can("review")
    known = await queries.access_own_review(tx, caller, review_id)
    if known.status == "hidden":
        raise ReviewHidden
    await tx.run(_REMOVE, review_id=review_id)
    event = ReviewRemoved(review_id, known.listing_id, caller.check_signed_in())
    await record(tx, event, subject_id=known.listing_id)


async def set_hidden(tx: Transaction, review_id: UUID, *, hidden: bool) -> bool:
    """Hide a review by a decision of the staff, or show it again; return whether that changed anything."""
    before, after = ("shown", "hidden") if hidden else ("hidden", "shown")
    return await tx.run(_SET_STATUS, review_id=review_id, before=before, status=after) > 0


async def answer_review(tx: Transaction, caller: Caller, review_id: UUID, answer: Reply) -> None:
    """Answer a review as the listing's seller, or change the answer; an empty one takes it back.

    Raises `NoSuchReview`, `NotYourListing`, `NotAllowed`, `FieldErrors`.
    """
    caller.check_can("sell")
    check_fields(broken_limits(answer))
    row = await tx.maybe(queries.SELLER_OF_REVIEW, review_id=review_id)
    if row is None:
        raise NoSuchReview
    if row["seller_id"] != caller.user_id:
        raise NotYourListing
    text = paragraphs(answer.text)
    if not text:
        await tx.run(_TAKE_BACK_ANSWER, review_id=review_id)
        return
    await tx.run(_ANSWER, review_id=review_id, reply=text)
    event = ReviewAnswered(review_id, row["listing_id"], caller.check_signed_in())
    await record(tx, event, subject_id=row["listing_id"])

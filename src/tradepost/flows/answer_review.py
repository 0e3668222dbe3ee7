"""Answering and taking back reviews."""

from uuid import UUID

from tradepost.accounts.types import Caller
from tradepost.flows.store import Store
from tradepost.reviews.service import answer_review, remove_review
from tradepost.reviews.types import Reply


async def answer_own_review(store: Store, caller: Caller, review_id: UUID, text: str) -> None:
    """Answer a review of what the caller sells; an empty text takes the answer back.

    Raises `NotAllowed`, `NoSuchReview`, `NotYourListing`, `FieldErrors`.
    """
    async with store.db.transaction(actor=caller.actor) as tx:
        await answer_review(tx, caller, review_id, Reply(text=text))


async def take_back_review(store: Store, caller: Caller, review_id: UUID) -> None:
    """Remove the caller's own review. Raises `NotAllowed`, `NoSuchReview`, `ReviewHidden`."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await remove_review(tx, caller, review_id)

"""What a seller asks whoever orders something that is made for them."""

from collections.abc import Iterable
from uuid import UUID

import msgspec

from tradepost.accounts.types import Caller
from tradepost.cart.questions import Question, questions_of, schema_of
from tradepost.catalog.listing_pages import get_listing
from tradepost.catalog.service import access_own_listing, set_configuration
from tradepost.catalog.types import Listing
from tradepost.flows.store import Store


class MadeToOrder(msgspec.Struct, frozen=True):
    """A listing and what is asked of whoever orders it."""

    listing: Listing
    questions: tuple[Question, ...]


async def get_questions(store: Store, caller: Caller, listing_id: UUID) -> MadeToOrder:
    """Return what one's listing asks. Raises `NoSuchListing`, `SellersOnly`."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        await access_own_listing(tx, caller, listing_id)
        listing = await get_listing(tx, listing_id, currency=store.currency)
    return MadeToOrder(listing, tuple(questions_of(listing.configuration_schema)))


async def save_questions(
    store: Store, caller: Caller, listing_id: UUID, questions: Iterable[Question], *, version: int | None
) -> Listing:
    """Ask these questions from now on; none: it is not made to order. Carts keep what was answered and say if it no longer fits.

    Raises `NoSuchListing`, `SellersOnly`, `EditedMeanwhile`, `FieldErrors`.
    """
    async with store.db.transaction(actor=caller.actor) as tx:
        await access_own_listing(tx, caller, listing_id)
        listing = await get_listing(tx, listing_id, currency=store.currency)
        schema = schema_of(questions, listing.configuration_schema, store.currency)
        await set_configuration(tx, caller, listing_id, schema, version=version)
        return listing

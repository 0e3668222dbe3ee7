"""What the head of every page counts, in one statement."""

import msgspec
from sqlalchemy import literal_column, select

from tradepost.accounts.types import Caller
from tradepost.cart.queries import COUNT_OF_PERSON
from tradepost.flows.cart import count_cart
from tradepost.flows.store import Store
from tradepost.messaging.queries import UNREAD


class Head(msgspec.Struct, frozen=True):
    """Lines in the cart, and conversations with something unread; None where there are no messages."""

    cart: int
    unread: int | None = None


_COUNTS = select(COUNT_OF_PERSON.scalar_subquery().label("cart"), UNREAD.scalar_subquery().label("unread"))
_ONLY_CART = select(COUNT_OF_PERSON.scalar_subquery().label("cart"), literal_column("NULL::int").label("unread"))


async def read_head(store: Store, caller: Caller) -> Head:
    """Return the counts for whoever looks; no query for a visitor without a session."""
    if caller.user_id is None:
        return Head(await count_cart(store, caller))
    statement = _COUNTS if store.settings.features.messages else _ONLY_CART
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await tx.one(statement, into=Head, user_id=caller.user_id)

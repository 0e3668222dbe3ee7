"""What the head of every page counts, in one statement."""

import msgspec
from sqlalchemy import bindparam, func, literal_column, select
from sqlalchemy.dialects.postgresql import UUID

from tradepost.accounts.tables import follows
from tradepost.accounts.types import Caller
from tradepost.cart.queries import COUNT_OF_PERSON
from tradepost.flows.cart import cart_copy, count_cart
from tradepost.flows.store import Store
from tradepost.messaging.queries import UNREAD
from tradepost.notifications.notices import COUNT_UNREAD
from tradepost.streams.tables import streams


class Head(msgspec.Struct, frozen=True):
    """Lines in the cart, conversations with something unread (None where there are no messages), followed people who are live,
    and what the person was told and has not seen.
    """

    cart: int
    unread: int | None = None
    live: int = 0
    notices: int = 0


_LIVE = (
    select(func.count())
    .select_from(streams.join(follows, follows.c.followed_id == streams.c.host_id))
    .where(streams.c.status == literal_column("'live'"), follows.c.follower_id == bindparam("user_id", type_=UUID))
)
_COUNTS = select(
    COUNT_OF_PERSON.scalar_subquery().label("cart"),
    UNREAD.scalar_subquery().label("unread"),
    _LIVE.scalar_subquery().label("live"),
    COUNT_UNREAD.scalar_subquery().label("notices"),
)


async def read_head(store: Store, caller: Caller) -> Head:
    """Return the counts for whoever looks; no query for a visitor without a session."""
    if caller.user_id is None:
        return Head(await count_cart(store, caller))
    if not store.settings.features.messages:
        items = len((await cart_copy(store, caller, caller.user_id)).items)
        async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
            return Head(items, notices=await tx.value(COUNT_UNREAD, user_id=caller.user_id))
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await tx.one(_COUNTS, into=Head, user_id=caller.user_id)

"""Feeds and neighbours: what a store shows to whom, and where they are."""

from tradepost.accounts.queries import PersonNear, place_of
from tradepost.accounts.queries import people_near as find_people
from tradepost.accounts.types import Caller
from tradepost.catalog.feeds import FeedPage
from tradepost.catalog.feeds import read_feed as walk
from tradepost.core.errors import NotFound
from tradepost.flows.haggle import COMMUNITY
from tradepost.flows.store import Store


class NoSuchFeed(NotFound):
    """There is no such feed."""


async def read_feed(
    store: Store,
    caller: Caller,
    feed: str,
    *,
    near: tuple[float, float] | None = None,
    after: str | None = None,
    limit: int = 24,
) -> FeedPage:
    """Return a page of a feed: Community shows people near by and people one follows, any other shows everybody.

    Raises `NoSuchFeed`, `NoSuchPage`.
    """
    if not store.settings.features.feeds or feed not in {f.code for f in store.settings.feeds}:
        raise NoSuchFeed
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await walk(tx, feed, caller.user_id, near=near, is_local=feed == COMMUNITY, after=after, limit=limit)


async def people_near(
    store: Store, caller: Caller, near: tuple[float, float] | None, *, radius_m: float = 25_000, limit: int = 24
) -> list[PersonNear] | None:
    """Return people near a position who sell, the nearest first, where they roughly are.

    Without a position near where the caller lives; None where nobody knows where that is.
    """
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        if near is None and caller.user_id is not None:
            near = await place_of(tx, caller.user_id)
        if near is None:
            return None
        return await find_people(tx, caller.user_id, *near, radius_m=radius_m, limit=limit)

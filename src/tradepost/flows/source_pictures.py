"""Copies of the first pictures of outside listings: for cards, and to recognise the same thing by its picture.

A server is asked at its pace, whoever else reads from it. One job fetches for some minutes and leaves the rest to another; what could
not be fetched because the server was away is asked for again later.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec

from tradepost.catalog.outside import attach_picture, pictures_wanted
from tradepost.catalog.outside_types import WantedPicture
from tradepost.catalog.pictures import add_picture, receive_picture
from tradepost.core.database import SYSTEM
from tradepost.core.errors import DomainError, Unavailable
from tradepost.core.jobs import Priority, Request
from tradepost.flows.read_sources import Connect, opened_fetcher
from tradepost.flows.same_things import cluster
from tradepost.flows.store import Store
from tradepost.flows.wanted_pictures import FetchPictures
from tradepost.sources.fetching import Fetcher
from tradepost.sources.likeness import picture_bands, picture_print
from tradepost.sources.queries import get_source

_MOST_MB: Final = 8
_LONGEST_S: Final = 120.0
_AWAY_IN_A_ROW: Final = 3
_AWAY_FOR: Final = timedelta(minutes=15)
_TRIES: Final = 5


class Kept(msgspec.Struct, frozen=True):
    """What came of fetching pictures: how many are kept, the listings not come to yet, and those whose server was away."""

    count: int = 0
    left: tuple[UUID, ...] = ()
    away: tuple[UUID, ...] = ()


async def keep_pictures(
    store: Store,
    source_id: UUID,
    listing_ids: Sequence[UUID],
    *,
    connect: Connect | None = None,
    longest_s: float = _LONGEST_S,
) -> Kept:
    """Fetch and keep the first pictures of listings, at their source's pace, until it has taken so long; what is no picture is left out.

    A server that is away three times in a row is left alone with all that is left.
    """
    async with store.db.transaction(actor=SYSTEM) as tx:
        source, wanted = await get_source(tx, source_id), await pictures_wanted(tx, listing_ids)
    ends = _now() + longest_s
    kept, in_a_row, away, left = 0, 0, [], list(wanted)
    async with opened_fetcher(store, source, connect) as fetcher:
        while left and in_a_row < _AWAY_IN_A_ROW and (len(left) == len(wanted) or _now() < ends):
            one = left.pop(0)
            try:
                kept += await _keep(store, fetcher, one)
                in_a_row = 0
            except Unavailable:
                away.append(one.listing_id)
                in_a_row += 1
    rest = tuple(one.listing_id for one in left)
    if in_a_row == _AWAY_IN_A_ROW:
        return Kept(kept, away=(*away, *rest))
    return Kept(kept, rest, tuple(away))


def _now() -> float:
    return asyncio.get_running_loop().time()


def requests_for_rest(args: FetchPictures, kept: Kept) -> list[Request]:
    """Return the jobs that go on with what one did not fetch: at once, and later where the server was away, five times at most."""
    requests = []
    if kept.left:
        requests.append((FetchPictures(args.source_id, kept.left, args.tries), None))
    if kept.away and args.tries + 1 < _TRIES:
        requests.append((FetchPictures(args.source_id, kept.away, args.tries + 1), _AWAY_FOR * 2**args.tries))
    return [Request("sources.fetch_pictures", rest, after=after, priority=Priority.PATIENT) for rest, after in requests]


async def _keep(store: Store, fetcher: Fetcher, wanted: WantedPicture) -> bool:
    """Keep one picture; return whether it is one. Raises `Unavailable` where its server is away."""
    try:
        received = await receive_picture(store.files, (await fetcher.page(wanted.url)).body, most_mb=_MOST_MB)
    except Unavailable:
        raise
    except DomainError:
        return False  # no picture, not allowed, or not there: the listing does without
    mark = await asyncio.to_thread(picture_print, await store.files.get(received.storage_key))
    async with store.db.transaction(actor=SYSTEM) as tx:
        picture = await add_picture(tx, received)
        attached = await attach_picture(tx, wanted, picture, mark, picture_bands(mark))
        if attached:
            await cluster(tx, wanted.source_id, [wanted.listing_id])
    return attached

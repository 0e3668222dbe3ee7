"""Copies of the first pictures of outside listings: for cards, and to recognise the same thing by its picture."""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from tradepost.catalog.outside import attach_picture, pictures_wanted
from tradepost.catalog.outside_types import WantedPicture
from tradepost.catalog.pictures import add_picture, receive_picture
from tradepost.core.database import SYSTEM
from tradepost.core.errors import DomainError
from tradepost.flows.read_sources import Connect, opened_fetcher
from tradepost.flows.same_things import cluster
from tradepost.flows.store import Store
from tradepost.sources.fetching import Fetcher
from tradepost.sources.likeness import picture_bands, picture_print
from tradepost.sources.queries import get_source

_MOST_MB: Final = 8


async def keep_pictures(
    store: Store, source_id: UUID, listing_ids: Sequence[UUID], *, connect: Connect | None = None
) -> int:
    """Fetch and keep the first pictures of listings, at their source's pace; return how many. What is no picture is left out."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        source, wanted = await get_source(tx, source_id), await pictures_wanted(tx, listing_ids)
    kept = 0
    async with opened_fetcher(store, source, connect) as fetcher:
        for one in wanted:
            kept += await _keep(store, fetcher, one)
    return kept


async def _keep(store: Store, fetcher: Fetcher, wanted: WantedPicture) -> bool:
    try:
        received = await receive_picture(store.files, (await fetcher.page(wanted.url)).body, most_mb=_MOST_MB)
    except DomainError:
        return False  # no picture, not allowed, or not there: the listing does without
    mark = await asyncio.to_thread(picture_print, await store.files.get(received.storage_key))
    async with store.db.transaction(actor=SYSTEM) as tx:
        picture = await add_picture(tx, received)
        attached = await attach_picture(tx, wanted, picture, mark, picture_bands(mark))
        if attached:
            await cluster(tx, wanted.source_id, [wanted.listing_id])
    return attached

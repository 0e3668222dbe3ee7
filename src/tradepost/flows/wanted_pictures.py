"""Asking for copies of outside pictures, in the transaction that brings their listings."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from tradepost.core.database import Transaction
from tradepost.core.jobs import Priority, Request, enqueue_all

_AT_ONCE: Final = 200


class FetchPictures(msgspec.Struct, frozen=True):
    """Listings of a source whose first pictures are wanted. `tries`: how often its server was away."""

    source_id: UUID
    listing_ids: tuple[UUID, ...]
    tries: int = 0


async def want_pictures(tx: Transaction, source_id: UUID, listing_ids: Sequence[UUID]) -> None:
    """Have the first pictures of listings fetched after this transaction, some hundreds a job."""
    parts = [tuple(listing_ids[n : n + _AT_ONCE]) for n in range(0, len(listing_ids), _AT_ONCE)]
    await enqueue_all(
        tx,
        [
            Request("sources.fetch_pictures", FetchPictures(source_id, part), priority=Priority.PATIENT)
            for part in parts
        ],
    )

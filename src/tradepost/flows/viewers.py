"""Who watches which show through this process, and what such a show is told every few seconds: viewers, stock, prices, the hammer.

Counts live in the database with a time, so that those of a process that died count no more after a while. What is told are notes,
which may be lost: the page draws the present state whenever it is opened.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary, ref

import structlog

from tradepost.core.database import SYSTEM, Database
from tradepost.core.errors import DomainError
from tradepost.core.ids import readable_code
from tradepost.core.live import bells_of
from tradepost.flows.store import Store
from tradepost.streams import queries, service

EVERY_S: Final = 1.0
_RENEW_ROUNDS: Final = 8  # well within `queries.FRESH_S`
_log = structlog.get_logger(__name__)

OnDue = Callable[[Store, UUID], Awaitable[None]]
on_due: list[OnDue] = []
"""What is called for an auction whose time is up, in the process where people watch: nobody waits for a worker."""


class Viewers:
    """The viewers of one database's shows in this process."""

    def __init__(self, store: Store) -> None:
        self._store = ref(store)
        self._me = readable_code(10)
        self._here: dict[UUID, int] = {}
        self._written: dict[UUID, int] = {}
        self._told: dict[UUID, dict[str, Any]] = {}
        self._work: asyncio.Task[None] | None = None

    def note(self, stream_id: UUID, viewers: int) -> None:
        """Note how many watch a show through this process."""
        self._here[stream_id] = viewers
        if self._work is None or self._work.done():
            self._work = asyncio.get_running_loop().create_task(self._rounds(), context=Context())

    async def nobody_left(self) -> None:
        """Wait until nobody watches any more and that was written down."""
        if self._work is not None:
            await self._work

    async def _rounds(self) -> None:
        """Go round for as long as anybody watches, and once more to say that nobody does."""
        n = 0
        while self._here or self._written:
            await asyncio.sleep(EVERY_S)
            n += 1
            store = self._store()
            if store is None:
                return
            for stream_id in list(self._here):
                try:
                    await self._round(store, stream_id, renew=n % _RENEW_ROUNDS == 0)
                except (DomainError, OSError) as error:
                    _log.warning("viewers.round_failed", stream=str(stream_id), error=str(error))

    async def _round(self, store: Store, stream_id: UUID, *, renew: bool) -> None:
        here = self._here[stream_id]
        async with store.db.transaction(actor=SYSTEM) as tx:
            if renew or self._written.get(stream_id) != here:
                await service.note_viewers(tx, stream_id, self._me, here)
                self._written[stream_id] = here
            counts = await queries.counts_of(tx, stream_id)
            pins = await queries.list_pins(tx, stream_id)
            auction = await queries.latest_auction(tx, stream_id)
        note = {
            "viewers": counts["viewers"],
            "pins": {str(p.position): [p.price_minor, None if p.left is None else f"{p.left.normalize():f}", p.is_there] for p in pins if p.is_shown},
        }  # fmt: skip
        if note != self._told.get(stream_id):
            self._told[stream_id] = note
            bells_of(store.db).ring(service.topic_of(stream_id), note)
        if auction is not None and auction.state == "open" and auction.seconds_left == 0:
            for call in on_due:
                await call(store, auction.id)
        if not here and self._here[stream_id] == 0:
            del self._here[stream_id], self._written[stream_id]
            self._told.pop(stream_id, None)


_viewers: WeakKeyDictionary[Database, Viewers] = WeakKeyDictionary()


def viewers_of(store: Store) -> Viewers:
    """Return the viewers of a store in this process."""
    found = _viewers.get(store.db)
    if found is None:
        found = _viewers[store.db] = Viewers(store)
    return found

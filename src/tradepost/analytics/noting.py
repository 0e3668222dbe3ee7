"""Noting what visitors do: kept in this process for some seconds, then written as one statement.

Promises that whoever notes something never waits, that `write_rest` loses nothing, and that a database which is away for a while
only makes it later: what waits is tried again, up to `MOST_WAITING`.
"""

import asyncio
from contextlib import suppress
from contextvars import Context
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog
from sqlalchemy import text

from tradepost.analytics.types import Kind, Noted, Visit
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Database, Transaction
from tradepost.core.errors import DomainError, Unavailable

PAUSE_S: Final = 3.0
AT_ONCE: Final = 1_000
MOST_WAITING: Final = 20_000
_log = structlog.get_logger()

_WRITE = text("""
    INSERT INTO analytics_events (at, kind, user_id, session_hash, visitor, listing_id, data)
    SELECT * FROM unnest(CAST(:moments AS timestamptz[]), CAST(:kinds AS text[]), CAST(:users AS uuid[]), CAST(:sessions AS bytea[]),
        CAST(:visitors AS bytea[]), CAST(:listings AS uuid[]), CAST(:data AS jsonb[]))
""")
_FORGET = text("""
    UPDATE analytics_events SET user_id = NULL, session_hash = NULL, visitor = NULL WHERE user_id = :user_id
""")
_DROP_MONTHS = text("SELECT analytics_drop_months(CAST(:months AS int))")


class _Desk:
    """What waits to be written to one database."""

    __slots__ = ("busy", "dropped", "full", "lock", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Noted] = []
        self.full = asyncio.Event()
        self.lock = asyncio.Lock()
        self.busy: asyncio.Task[None] | None = None
        self.dropped = 0


_desks: WeakKeyDictionary[Database, _Desk] = WeakKeyDictionary()


def note(db: Database, visit: Visit | None, kind: Kind, listing_id: UUID | None = None, **data: Any) -> None:
    """Have it written within some seconds that a visitor did something; nothing where nobody may know (`visit` is None).

    `data` is of the store's own making: ids, numbers, codes. What people type belongs in the logs that are made for it.
    """
    if visit is None:
        return
    desk = _desks.get(db)
    if desk is None:
        desk = _desks[db] = _Desk()
    if len(desk.waiting) >= MOST_WAITING:
        desk.dropped += 1
        return
    desk.waiting.append(Noted(now(), kind, visit, listing_id, data))
    if desk.busy is None or desk.busy.done():
        # In no context: a request's may be within a transaction that is over when this is written.
        desk.busy = asyncio.create_task(_write_soon(db, desk), context=Context())
    elif len(desk.waiting) == AT_ONCE:
        desk.full.set()


async def _write_soon(db: Database, desk: _Desk) -> None:
    while desk.waiting:
        desk.full.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(desk.full.wait(), PAUSE_S)
        try:
            await _write(db, desk)
        except Unavailable as error:
            _log.warning("analytics.waiting", events=len(desk.waiting), error=error.message)
        except DomainError as error:
            _log.error("analytics.refused", error=error.message)


async def _write(db: Database, desk: _Desk) -> None:
    """Write what waits. What a database that is away did not take waits on, in its place."""
    async with desk.lock:
        notes, desk.waiting = desk.waiting, []
        if not notes:
            return
        try:
            async with db.transaction(actor=SYSTEM) as tx:
                await tx.run(
                    _WRITE, moments=[n.at for n in notes], kinds=[n.kind for n in notes], users=[n.visit.user_id for n in notes],
                    sessions=[n.visit.session for n in notes], visitors=[n.visit.visitor for n in notes],
                    listings=[n.listing_id for n in notes], data=[n.data for n in notes],
                )  # fmt: skip
        except (Unavailable, asyncio.CancelledError):
            desk.waiting = notes + desk.waiting
            raise
        if desk.dropped:
            _log.warning("analytics.dropped", events=desk.dropped)
            desk.dropped = 0


async def write_rest(db: Database) -> None:
    """Write everything that waits, after what is being written: before the database is closed, or read."""
    desk = _desks.get(db)
    if desk is None:
        return
    try:
        await _write(db, desk)
    except DomainError as error:
        _log.warning("analytics.not_written", events=len(desk.waiting), error=error.message)
    if desk.busy is not None and not desk.waiting:
        desk.busy.cancel()
        desk.busy = None


async def forget_events_of(tx: Transaction, user_id: UUID) -> int:
    """Let nobody tell any more which events were a person's; return how many there were."""
    return await tx.run(_FORGET, user_id=user_id)


async def drop_old_events(tx: Transaction, months: int) -> int:
    """Drop the months of events that are older than so many; return how many went."""
    return int(await tx.value(_DROP_MONTHS, months=months))

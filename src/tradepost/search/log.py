"""The log of searches: written in the background, a second's worth at a time; clicks and orders are noted beside them.

A crash loses at most the last second: the log counts, it does not account.
"""

import asyncio
from contextvars import Context
from datetime import timedelta
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import msgspec
import structlog
from sqlalchemy import text

from tradepost.core.database import SYSTEM, Database, Transaction
from tradepost.core.errors import DomainError
from tradepost.search.types import SearchType

_log = structlog.get_logger()
_PAUSE_S = 1.0
_MOST_WAITING = 5000
ATTRIBUTED_FOR = timedelta(days=7)


class SearchNote(msgspec.Struct, frozen=True, kw_only=True):
    """A search as it is logged."""

    id: UUID
    query: str
    corrected: str | None
    user_id: UUID | None
    session_hash: bytes | None
    results_count: int
    search_type: SearchType
    response_ms: float
    filters: dict[str, Any]


_waiting: WeakKeyDictionary[Database, list[SearchNote]] = WeakKeyDictionary()
_writing: WeakKeyDictionary[Database, asyncio.Task[None]] = WeakKeyDictionary()

_WRITE = text("""
    INSERT INTO search_log (id, query, corrected, user_id, session_hash, results_count, search_type, response_ms, filters)
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:queries AS text[]), CAST(:corrected AS text[]), CAST(:users AS uuid[]),
        CAST(:sessions AS bytea[]), CAST(:counts AS int[]), CAST(:types AS text[]), CAST(:times AS real[]), CAST(:filters AS jsonb[]))
""")


def note_search(db: Database, note: SearchNote) -> None:
    """Have a search logged within a second or so; the caller does not wait. A flood beyond the database's pace is dropped."""
    waiting = _waiting.setdefault(db, [])
    if len(waiting) < _MOST_WAITING:
        waiting.append(note)
    task = _writing.get(db)
    if task is None or task.done():
        _writing[db] = asyncio.create_task(_write_soon(db), context=Context())  # no request’s transaction


async def _write_soon(db: Database) -> None:
    await asyncio.sleep(_PAUSE_S)
    try:
        await flush_log(db)
    except DomainError as error:
        _log.warning("search.log_lost", error=str(error))


async def flush_log(db: Database) -> None:
    """Write what waits for the log now."""
    notes = _waiting.pop(db, [])
    if not notes:
        return
    async with db.transaction(actor=SYSTEM) as tx:
        await tx.run(
            _WRITE, ids=[n.id for n in notes], queries=[n.query for n in notes], corrected=[n.corrected for n in notes],
            users=[n.user_id for n in notes], sessions=[n.session_hash for n in notes], counts=[n.results_count for n in notes],
            types=[n.search_type for n in notes], times=[n.response_ms for n in notes], filters=[n.filters for n in notes],
        )  # fmt: skip


_CLICK = text("""
    UPDATE search_log SET clicked_id = :listing_id, clicked_at = now(), user_id = coalesce(user_id, CAST(:user_id AS uuid)),
           session_hash = coalesce(session_hash, CAST(:session AS bytea))
    WHERE id = :search_id AND at > now() - interval '1 day' AND clicked_id IS NULL
""")
_ORDERED = text("""
    UPDATE search_log s SET ordered_id = s.clicked_id, ordered_at = now()
    WHERE s.ordered_id IS NULL AND s.clicked_id = ANY (CAST(:listing_ids AS uuid[])) AND s.at > now() - CAST(:within AS interval)
      AND (s.user_id = CAST(:user_id AS uuid) OR s.session_hash = CAST(:session AS bytea))
""")


async def note_click(
    db: Database, search_id: UUID, listing_id: UUID, *, user_id: UUID | None, session: bytes | None
) -> None:
    """Note which of its results a search was left for, and by whom; the first click counts."""
    await flush_log(db)
    async with db.transaction(actor=SYSTEM) as tx:
        await tx.run(_CLICK, search_id=search_id, listing_id=listing_id, user_id=user_id, session=session)


async def note_order(tx: Transaction, listing_ids: list[UUID], *, user_id: UUID | None, session: bytes | None) -> int:
    """Attribute an order to the searches of the last seven days whose results were clicked and are in it; return how many."""
    return await tx.run(_ORDERED, listing_ids=listing_ids, user_id=user_id, session=session, within=ATTRIBUTED_FOR)


_FORGET = text("UPDATE search_log SET user_id = NULL, session_hash = NULL WHERE user_id = :user_id")


async def forget_searches_of(tx: Transaction, user_id: UUID) -> int:
    """Let nobody tell any more which searches were a person's; return how many there were."""
    return await tx.run(_FORGET, user_id=user_id)

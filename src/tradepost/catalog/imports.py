"""The record of tables that a job brings in: how far it is, what each row leads to, what came of it.

It knows nothing of what a row means. The file itself is in the store's files, under `file_key`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.database import Transaction
from tradepost.core.errors import Conflict, NotFound

Does = Literal["new", "changed", "same", "refused"]
State = Literal["checking", "checked", "refused", "importing", "done", "cancelled", "failed"]
RUNNING: tuple[State, ...] = ("checking", "importing")


class NoSuchImport(NotFound):
    """There is no such table, or it has been forgotten."""


class ImportMovedOn(Conflict):
    """Somebody has decided about this table already."""


class SheetRow(msgspec.Struct, frozen=True):
    """What a row of a table leads to. `does`: new, changed, same, or refused with the problems by column."""

    number: int
    sku: str
    title: str
    does: Does
    problems: dict[str, str] = {}


class ListingImport(msgspec.Struct, frozen=True):
    """A table that a job checks or brings in. `rows_about` is an estimate until it has been read once."""

    id: UUID
    by_id: UUID
    name: str
    state: State
    rows_about: int
    rows_done: int
    counts: dict[str, int]
    problem: str
    created_at: datetime
    ended_at: datetime | None

    @property
    def is_running(self) -> bool:
        """Whether a job is at it, or will be."""
        return self.state in RUNNING

    def count(self, does: str) -> int:
        """Return how many rows do this."""
        return self.counts.get(does, 0)


_COLUMNS = "id, by_id, name, state, rows_about, rows_done, counts, problem, created_at, ended_at"
_ADD = text("INSERT INTO listing_imports (id, by_id, name, rows_about) VALUES (:id, :by_id, :name, :rows_about)")
_ONE = text(f"SELECT {_COLUMNS} FROM listing_imports WHERE id = :id")
_LATEST = text(f"SELECT {_COLUMNS} FROM listing_imports ORDER BY created_at DESC LIMIT :limit")
_MOVE = text("""
    UPDATE listing_imports SET state = :to, rows_done = :done, counts = CAST(:counts AS jsonb), problem = :problem,
           rows_about = CASE WHEN CAST(:about AS int) IS NULL THEN rows_about ELSE CAST(:about AS int) END,
           ended_at = CASE WHEN :to IN ('done', 'cancelled', 'failed', 'refused') THEN now() END
    WHERE id = :id AND state = ANY (:states)
""")
_PROGRESS = text("""
    UPDATE listing_imports SET rows_done = :done, rows_about = greatest(rows_about, :done)
    WHERE id = :id AND state = ANY (:states)
""")
_LOCK_WORK = text("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:id AS text), 26))")
_CLEAR = text("DELETE FROM listing_import_rows WHERE import_id = :id")
_ADD_ROWS = text("""
    INSERT INTO listing_import_rows (import_id, number, sku, title, does, problems)
    SELECT :id, * FROM unnest(CAST(:numbers AS int[]), CAST(:skus AS text[]), CAST(:titles AS text[]), CAST(:does AS text[]),
                              CAST(:problems AS jsonb[]))
""")
_ROWS = text("""
    SELECT number, sku, title, does, problems FROM listing_import_rows
    WHERE import_id = :id AND number > :after ORDER BY number LIMIT :limit
""")
_ROWS_DOING = text("""
    SELECT number, sku, title, does, problems FROM listing_import_rows
    WHERE import_id = :id AND does = :does AND number > :after ORDER BY number LIMIT :limit
""")
_FORGET = text("DELETE FROM listing_imports WHERE created_at < now() - interval '30 days' RETURNING id")


def file_key(import_id: UUID) -> str:
    """Return the key of a table's file."""
    return f"imports/{import_id}"


async def add_import(tx: Transaction, import_id: UUID, by_id: UUID, name: str, rows_about: int) -> None:
    """Write down that a table was handed in, to be checked."""
    await tx.run(_ADD, id=import_id, by_id=by_id, name=name[:200], rows_about=rows_about)


async def get_import(tx: Transaction, import_id: UUID) -> ListingImport:
    """Return a table's record. Raises `NoSuchImport`."""
    found = await tx.maybe(_ONE, into=ListingImport, id=import_id)
    if found is None:
        raise NoSuchImport
    return found


async def list_imports(tx: Transaction, limit: int = 10) -> list[ListingImport]:
    """Return the tables handed in last."""
    return await tx.all(_LATEST, into=ListingImport, limit=limit)


async def move_import(
    tx: Transaction, import_id: UUID, states: Sequence[State], to: State, *, done: int = 0, about: int | None = None,
    counts: Mapping[str, int] | None = None, problem: str = "",
) -> None:  # fmt: skip
    """Bring a table from one of these states into another. Raises `ImportMovedOn`."""
    moved = await tx.run(
        _MOVE, id=import_id, states=list(states), to=to, done=done, about=about, counts=dict(counts or {}), problem=problem[:500]
    )  # fmt: skip
    if not moved:
        raise ImportMovedOn


async def note_progress(tx: Transaction, import_id: UUID, done: int) -> None:
    """Write down how many rows are done. Raises `ImportMovedOn` where somebody has called it off."""
    if not await tx.run(_PROGRESS, id=import_id, done=done, states=list(RUNNING)):
        raise ImportMovedOn


async def lock_work(tx: Transaction, import_id: UUID) -> None:
    """Wait until nobody else works on this table; held until the end of the transaction."""
    await tx.run(_LOCK_WORK, id=str(import_id))


async def clear_rows(tx: Transaction, import_id: UUID) -> None:
    """Forget what the rows lead to."""
    await tx.run(_CLEAR, id=import_id)


async def add_rows(tx: Transaction, import_id: UUID, rows: Sequence[SheetRow]) -> None:
    """Write down what rows lead to."""
    await tx.run(
        _ADD_ROWS, id=import_id, numbers=[r.number for r in rows], skus=[r.sku for r in rows], titles=[r.title for r in rows],
        does=[r.does for r in rows], problems=[r.problems for r in rows],
    )  # fmt: skip


async def list_rows(
    tx: Transaction, import_id: UUID, *, does: Does | None = None, after: int = 0, limit: int = 101
) -> list[SheetRow]:
    """Return what rows lead to in their order, after a number; with `does` only those that do this."""
    if does is None:
        return await tx.all(_ROWS, into=SheetRow, id=import_id, after=after, limit=limit)
    return await tx.all(_ROWS_DOING, into=SheetRow, id=import_id, does=does, after=after, limit=limit)


async def forget_old(tx: Transaction) -> list[UUID]:
    """Forget tables that are a month old; return which."""
    return [UUID(str(found)) for found in await tx.values(_FORGET)]

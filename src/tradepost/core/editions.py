"""Editions of a store's settings: what the staff set differently from the preset, each edition whole and numbered, none ever changed.

Also a draft for each person, which nobody else sees. It knows nothing of what is set.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.database import Database, Transaction, on_violation
from tradepost.core.errors import Conflict, NotFound


class SettingsChangedMeanwhile(Conflict):
    """Somebody changed the store's settings meanwhile: look at the history, then save again."""


class NoSuchEdition(NotFound):
    """There is no such edition."""


on_violation("pk_store_editions", SettingsChangedMeanwhile)


class Edition(msgspec.Struct, frozen=True):
    """One state of the settings. `brings_back`: the number of the edition it repeats; 0 is the preset itself."""

    number: int
    at: datetime
    by_id: UUID | None
    changes: dict[str, Any]
    note: str
    brings_back: int | None


_COLUMNS = "number, at, by_id, changes, note, brings_back"
_NEWER = text(f"SELECT {_COLUMNS} FROM store_editions WHERE number > :known ORDER BY number DESC LIMIT 1")
_ONE = text(f"SELECT {_COLUMNS} FROM store_editions WHERE number = :number")
_HISTORY = text(f"SELECT {_COLUMNS} FROM store_editions ORDER BY number DESC LIMIT :limit")
_ADD = text("""
    INSERT INTO store_editions (number, by_id, changes, note, brings_back)
    VALUES (:number, CAST(:by_id AS uuid), CAST(:changes AS jsonb), :note, CAST(:brings_back AS int))
""")
_LAST = text("SELECT coalesce(max(number), 0) FROM store_editions")
_KEEP_DRAFT = text("""
    INSERT INTO store_drafts (user_id, changes) VALUES (:user_id, CAST(:changes AS jsonb))
    ON CONFLICT (user_id) DO UPDATE SET changes = excluded.changes, at = now()
""")
_DRAFT = text("SELECT changes FROM store_drafts WHERE user_id = :user_id")
_DROP_DRAFT = text("DELETE FROM store_drafts WHERE user_id = :user_id")


async def newer_edition(db: Database, known: int) -> Edition | None:
    """Return the edition in force if its number is above `known`."""
    return await db.read_maybe(_NEWER, into=Edition, known=known)


async def list_editions(tx: Transaction, limit: int = 50) -> list[Edition]:
    """Return the latest editions, the newest first."""
    return await tx.all(_HISTORY, into=Edition, limit=limit)


async def get_edition(tx: Transaction, number: int) -> Edition:
    """Return one edition. Raises `NoSuchEdition`."""
    found = await tx.maybe(_ONE, into=Edition, number=number)
    if found is None:
        raise NoSuchEdition
    return found


async def last_number(tx: Transaction) -> int:
    """Return the number of the edition in force, 0 for the preset itself."""
    return int(await tx.value(_LAST))


async def add_edition(
    tx: Transaction, after: int, changes: dict[str, Any], by_id: UUID | None, *, note: str = "", brings_back: int | None = None
) -> int:  # fmt: skip
    """Put an edition in force that follows number `after`; return its number. Raises `SettingsChangedMeanwhile` where that is not the last."""
    if await last_number(tx) != after:
        raise SettingsChangedMeanwhile
    await tx.run(_ADD, number=after + 1, by_id=by_id, changes=changes, note=note, brings_back=brings_back)
    return after + 1


async def keep_draft(tx: Transaction, user_id: UUID, changes: dict[str, Any]) -> None:
    """Keep what somebody tries, instead of what they tried before."""
    await tx.run(_KEEP_DRAFT, user_id=user_id, changes=changes)


async def find_draft(tx: Transaction, user_id: UUID) -> dict[str, Any] | None:
    """Return what somebody tries, if anything."""
    found: dict[str, Any] | None = await tx.value(_DRAFT, user_id=user_id)
    return found


async def drop_draft(tx: Transaction, user_id: UUID) -> None:
    """Forget what somebody tried. Idempotent."""
    await tx.run(_DROP_DRAFT, user_id=user_id)

"""A person's rights to their data: a copy of everything, and to be forgotten.

Owns the exports' rows and what erasure does to a person's own row. Promises that an erased person's row stays, without a word of
theirs in it, so that the books keep adding up, and that whatever the database would delete with a person is deleted.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import delete, text

from tradepost.accounts.events import DataExportRequested, ErasureRequested, PersonErased
from tradepost.accounts.types import Caller
from tradepost.core.clock import now
from tradepost.core.database import Transaction, metadata, on_violation
from tradepost.core.errors import Conflict, NotFound
from tradepost.core.events import record
from tradepost.core.ids import uuid7


class ExportUnderWay(Conflict):
    """A copy is being made already; it will be here soon."""


class NoSuchExport(NotFound):
    """There is no such copy (any more)."""


on_violation("uq_data_exports_under_way", ExportUnderWay)

FORMER: str = "Former member"
_ADD = text("INSERT INTO data_exports (id, user_id) VALUES (:id, :user_id)")
_OF = text("""
    SELECT id, state, done, parts, bytes, created_at, ready_at, expires_at FROM data_exports
    WHERE user_id = :user_id ORDER BY created_at DESC LIMIT 10
""")
_KEY = text("""
    SELECT storage_key FROM data_exports
    WHERE id = :id AND user_id = :user_id AND state = 'ready' AND expires_at > :now
""")
_START = text("""
    UPDATE data_exports SET state = 'running', done = 0, parts = :parts
    WHERE id = :id AND (state = 'waiting' OR state = 'running') RETURNING user_id
""")
_PROGRESS = text("UPDATE data_exports SET done = :done WHERE id = :id")
_READY = text("""
    UPDATE data_exports SET state = 'ready', done = parts, storage_key = :key, bytes = :bytes, ready_at = :now, expires_at = :expires_at
    WHERE id = :id AND state = 'running'
""")
_OVER = text("""
    UPDATE data_exports SET state = 'expired' WHERE state = 'ready' AND expires_at <= :now RETURNING storage_key
""")
_KEYS_OF = text("SELECT storage_key FROM data_exports WHERE user_id = :user_id AND storage_key IS NOT NULL")
_ASK_ERASURE = text("UPDATE users SET erase_at = :at WHERE id = :user_id AND NOT is_active AND erased_at IS NULL")
_DUE = text(
    "SELECT id FROM users WHERE erase_at <= :now AND erased_at IS NULL AND NOT is_active ORDER BY erase_at LIMIT 100"
)
_LOCK = text("""
    SELECT avatar_file_id FROM users
    WHERE id = :user_id AND erase_at <= :now AND erased_at IS NULL AND NOT is_active FOR UPDATE
""")
_EMPTY = text("""
    UPDATE users SET username = :username, email = NULL, email_verified_at = NULL, phone_enc = NULL, phone_index = NULL,
           password_hash = NULL, first_name = '', last_name = '', display_name = :former, avatar_file_id = NULL, bio = '',
           business_name = NULL, service_type = NULL, location_text = '', location = NULL, locale = NULL, timezone = NULL,
           stripe_customer_id = NULL, stripe_account_id = NULL, suspended_until = NULL, erase_at = NULL, erased_at = :now
    WHERE id = :user_id
""")


class Export(msgspec.Struct, frozen=True):
    """A copy of everything, as its person sees it: how far it is, and until when it can be fetched."""

    id: UUID
    state: str
    done: int
    parts: int
    bytes: int | None
    created_at: datetime
    ready_at: datetime | None
    expires_at: datetime | None


async def ask_for_export(tx: Transaction, caller: Caller) -> UUID:
    """Write down that the caller wants a copy of everything. Raises `ExportUnderWay`, `NotByToken`."""
    user_id, export_id = caller.check_in_person(), uuid7()
    await tx.run(_ADD, id=export_id, user_id=user_id)
    await record(tx, DataExportRequested(export_id, user_id), subject_id=user_id)
    return export_id


async def own_exports(tx: Transaction, caller: Caller) -> list[Export]:
    """Return the caller's copies, the latest first."""
    return await tx.all(_OF, into=Export, user_id=caller.check_signed_in())


async def access_export(tx: Transaction, caller: Caller, export_id: UUID) -> str:
    """Return the storage key of one of the caller's copies that can be fetched. Raises `NoSuchExport`, `NotByToken`."""
    key: str | None = await tx.value(_KEY, id=export_id, user_id=caller.check_in_person(), now=now())
    if key is None:
        raise NoSuchExport
    return key


async def start_export(tx: Transaction, export_id: UUID, parts: int) -> UUID | None:
    """Begin, or begin again, to make a copy; return whose it is, None when it is made or given up."""
    found: UUID | None = await tx.value(_START, id=export_id, parts=parts)
    return found


async def note_progress(tx: Transaction, export_id: UUID, done: int) -> None:
    """Write down how many parts of a copy are made."""
    await tx.run(_PROGRESS, id=export_id, done=done)


async def finish_export(tx: Transaction, export_id: UUID, key: str, size: int, days: int) -> None:
    """Let a copy be fetched for so many days."""
    moment = now()
    await tx.run(_READY, id=export_id, key=key, bytes=size, now=moment, expires_at=moment + timedelta(days=days))


async def expire_exports(tx: Transaction) -> list[str]:
    """End the copies whose time is over and return the keys of their files."""
    return await tx.values(_OVER, now=now())


async def export_keys_of(tx: Transaction, user_id: UUID) -> list[str]:
    """Return the keys of all copies of a person."""
    return await tx.values(_KEYS_OF, user_id=user_id)


async def ask_for_erasure(tx: Transaction, caller: Caller, at: datetime) -> None:
    """Have the caller's closed account erased at a moment; opening it again before calls that off."""
    user_id = caller.check_in_person()
    if await tx.run(_ASK_ERASURE, user_id=user_id, at=at):
        await record(tx, ErasureRequested(user_id), subject_id=user_id)


async def due_erasures(tx: Transaction) -> list[UUID]:
    """Return who is to be erased by now."""
    return await tx.values(_DUE, now=now())


async def lock_for_erasure(tx: Transaction, user_id: UUID) -> bool:
    """Lock a person who is to be erased by now; return whether they still are."""
    return await tx.maybe(_LOCK, user_id=user_id, now=now()) is not None


async def empty_person(tx: Transaction, user_id: UUID) -> None:
    """Take every word of a person out of their row, and delete what the database would delete with them."""
    for table, column in going_with_a_person():
        await tx.run(delete(table).where(column == user_id))
    await tx.run(_EMPTY, user_id=user_id, username=f"erased-{user_id.hex[-16:]}", former=FORMER, now=now())
    await record(tx, PersonErased(user_id), subject_id=user_id)


def going_with_a_person() -> list[tuple[Any, Any]]:
    """Return every table and column that refers to a person and is deleted with them, whichever module owns it."""
    return [
        (table, column)
        for table in metadata.sorted_tables[::-1]
        for column in table.columns
        for key in column.foreign_keys
        if key.target_fullname == "users.id" and key.ondelete == "CASCADE" and table.name != "impersonations"
    ]

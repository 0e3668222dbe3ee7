"""The audit log: who changed which row when, and what it was before.

Triggers write it (migrations, `audit_row`), as the owner of the tables: the server's own role can read it and cannot write,
change or empty it. What a trigger cannot see, that somebody looked at a document, is noted by `note_look`. Values of secret
columns are left out. It knows no person by name.
"""

from datetime import datetime
from functools import cache
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import TextClause, text

from tradepost.core.database import Transaction
from tradepost.core.pages import Page, from_cursor, page_of, page_size, to_cursor

Action = Literal["insert", "update", "delete", "look", "act"]
LEFT_OUT = "…"
"""What stands in the log for a value that is secret."""


class AuditEntry(msgspec.Struct, frozen=True):
    """One change. `before` and `after` hold the columns that differ; `behind_id` is who looked with the actor's eyes."""

    id: UUID
    at: datetime
    actor_role: str
    actor_id: UUID | None
    behind_id: UUID | None
    database_user: str
    action: str
    table_name: str
    row_key: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class AuditSearch(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for: every field that is set must fit. `row` is the key of a row, or the first part of one."""

    actor_id: UUID | None = None
    table: str | None = None
    row: str | None = None
    action: Action | None = None
    since: datetime | None = None
    until: datetime | None = None


_TESTS = {
    "actor_id": "(actor_id = :actor_id OR behind_id = :actor_id)",
    "table": "table_name = :table",
    "row": "(row_key = :row OR row_key LIKE :below)",
    "action": "action = :action",
    "since": "at >= :since",
    "until": "at < :until",
}
_NOTE = text("SELECT audit_note(:action, :table, :key, CAST(:detail AS jsonb))")
_FORGET = text("SELECT audit_forget(CAST(:user_id AS uuid))")
_DROP_MONTHS = text("SELECT audit_drop_months(CAST(:months AS int))")
_LAST = UUID(int=(1 << 128) - 1)


@cache
def _statement(given: tuple[str, ...]) -> TextClause:
    """Return the search for these fields; each combination has a plan of its own."""
    tests = " AND ".join(["id < CAST(:before_id AS uuid)", *(_TESTS[name] for name in given)])
    columns = ", ".join(AuditEntry.__struct_fields__)
    return text(f"SELECT {columns} FROM audit_log WHERE {tests} ORDER BY id DESC LIMIT :limit")


async def search_audit(
    tx: Transaction, wanted: AuditSearch, *, after: str | None = None, limit: int = 50
) -> Page[AuditEntry]:
    """Return changes, the latest first. The transaction's actor must be staff or the system. Raises `NoSuchPage`."""
    (before_id,) = from_cursor(after, UUID) if after else (_LAST,)
    found = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not None}
    size = page_size(limit)
    below = {"below": _literally(found["row"]) + "/%"} if "row" in found else {}
    rows = await tx.all(
        _statement(tuple(found)), into=AuditEntry, before_id=before_id, limit=size + 1, **found, **below
    )
    return page_of(rows, size, lambda last: to_cursor(last.id))


def _literally(words: str) -> str:
    return words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


async def note_look(tx: Transaction, table: str, key: str, **detail: Any) -> None:
    """Write down that the transaction's actor looked at something that is not everybody's."""
    await tx.value(_NOTE, action="look", table=table, key=key, detail=detail)


async def note_act(tx: Transaction, table: str, key: str, **detail: Any) -> None:
    """Write down what the transaction's actor did where no row tells."""
    await tx.value(_NOTE, action="act", table=table, key=key, detail=detail)


async def forget_words_of(tx: Transaction, user_id: UUID) -> int:
    """Take an erased person's own words out of the log; return how many entries had some. Only after the erasure."""
    return int(await tx.value(_FORGET, user_id=user_id))


async def drop_old_months(tx: Transaction, months: int) -> int:
    """Drop the months of the log that are older than so many (at least six); return how many went."""
    return int(await tx.value(_DROP_MONTHS, months=months))

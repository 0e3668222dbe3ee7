"""Looking through the audit log, with people by their names."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Text, bindparam, cast, func, select
from sqlalchemy.dialects import postgresql

from tradepost.accounts.tables import users
from tradepost.accounts.types import Caller, NoSuchPerson
from tradepost.core.audit import AuditEntry, AuditSearch, search_audit
from tradepost.core.database import Actor, Transaction
from tradepost.core.pages import Page
from tradepost.core.text import is_plain
from tradepost.flows.store import Store

_ID_OF = select(users.c.id).where(users.c.username == bindparam("name", type_=Text))
_NAMES = select(users.c.id, cast(users.c.username, Text).label("name")).where(
    users.c.id == func.any(bindparam("ids", type_=postgresql.ARRAY(postgresql.UUID)))
)


class AuditQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A search as a person words it: people by username, `about` for what happened to somebody's own rows."""

    person: str = ""
    about: str = ""
    table: str = ""
    row: str = ""
    action: str = ""
    since: datetime | None = None
    until: datetime | None = None


class AuditLine(msgspec.Struct, frozen=True):
    """A change with the name of who made it, and of who looked with their eyes."""

    entry: AuditEntry
    who: str
    behind: str


async def audit_page(
    store: Store, caller: Caller, question: AuditQuestion, *, after: str | None = None, limit: int = 50
) -> Page[AuditLine]:
    """Return changes, the latest first, for those who manage people. Raises `NotAllowed`, `NoSuchPerson`, `NoSuchPage`."""
    caller.check_can("manage_people")
    async with store.db.transaction(actor=Actor("staff", caller.user_id), read_only=True) as tx:
        return await read_audit(tx, question, after=after, limit=limit)


async def read_audit(
    tx: Transaction, question: AuditQuestion, *, after: str | None = None, limit: int = 50
) -> Page[AuditLine]:
    """Return changes, the latest first; the transaction's actor must be one who sees all. Raises `NoSuchPerson`."""
    row = str(await _person(tx, question.about)) if question.about else question.row or None
    wanted = AuditSearch(
        actor_id=await _person(tx, question.person) if question.person else None, table=question.table or None, row=row,
        action=question.action or None, since=question.since, until=question.until,  # type: ignore[arg-type]  # checked by edges
    )  # fmt: skip
    found = await search_audit(tx, wanted, after=after, limit=limit)
    names = await _names(tx, (i for e in found.items for i in (e.actor_id, e.behind_id)))
    lines = tuple(AuditLine(e, _who(e, names), names.get(e.behind_id, "")) for e in found.items)
    return Page(lines, found.after)


async def _person(tx: Transaction, name: str) -> UUID:
    found: UUID | None = await tx.value(_ID_OF, name=name) if is_plain(name) else None
    if found is None:
        raise NoSuchPerson
    return found


async def _names(tx: Transaction, ids: Iterable[UUID | None]) -> dict[Any, str]:
    wanted = list({i for i in ids if i is not None})
    return {row["id"]: row["name"] for row in await tx.all(_NAMES, ids=wanted)} if wanted else {}


def _who(entry: AuditEntry, names: dict[Any, str]) -> str:
    """Return who it was in a word: a name, “the system”, a visitor, or the database's user who came around the product."""
    if entry.actor_id is not None:
        return names.get(entry.actor_id, "somebody who is gone")
    return {"system": "the system", "anonymous": "a visitor", "person": "a visitor"}.get(
        entry.actor_role, f"{entry.database_user} (database)"
    )


def as_moment(text: str) -> datetime | None:
    """Return a day or a moment (ISO 8601, UTC unless it says otherwise), None for an empty text. Raises ValueError."""
    if not text:
        return None
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)

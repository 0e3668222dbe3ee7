"""Outside markets as rows: the staff add one, change how it is read, and switch it off."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, insert, text, update
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from tradepost.catalog.tables import sources
from tradepost.core.database import Transaction

_NAMES = ("code", "name", "kind", "url", "description", "settings", "schedule", "pause_s", "terms")
_VALUES = {n: bindparam(n, type_=sources.c[n].type) for n in _NAMES}
_ADD = insert(sources).values(_VALUES).returning(sources.c.id)
_CHANGE = update(sources).values(_VALUES).where(sources.c.id == bindparam("source", type_=PG_UUID))
_SWITCH = (
    update(sources)
    .values(is_active=bindparam("on", type_=sources.c.is_active.type))
    .where(sources.c.id == bindparam("source", type_=PG_UUID))
)
_REMOVE = text("""
    DELETE FROM sources s WHERE s.id = :source AND NOT EXISTS (SELECT FROM listings WHERE source_id = s.id)
""")


async def add_source(tx: Transaction, values: Mapping[str, Any]) -> UUID:
    """Write a new outside market and return its id."""
    return UUID(str(await tx.value(_ADD, **{n: values[n] for n in _NAMES})))


async def change_source(tx: Transaction, source_id: UUID, values: Mapping[str, Any]) -> bool:
    """Change how an outside market is called and read; return whether there is such a one."""
    return bool(await tx.run(_CHANGE, source=source_id, **{n: values[n] for n in _NAMES}))


async def switch_source(tx: Transaction, source_id: UUID, *, on: bool) -> bool:
    """Have an outside market read, or no longer; what it showed stays. Return whether there is such a one."""
    return bool(await tx.run(_SWITCH, source=source_id, on=on))


async def remove_source(tx: Transaction, source_id: UUID) -> bool:
    """Delete an outside market nothing was ever read from; return whether it was one."""
    return bool(await tx.run(_REMOVE, source=source_id))

"""Every table of the store, row by row, to read: for the questions that no page answers.

Promises that nothing can be changed here, that what is secret or sealed is not shown, and that each look is in the audit log.
"""

import re
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Column, LargeBinary, Table, TextClause, text

from tradepost.accounts.types import Caller
from tradepost.core.audit import note_look
from tradepost.core.database import Actor
from tradepost.core.errors import NotFound
from tradepost.flows.store import Store
from tradepost.migrations.schema import metadata

ROWS = 50
_SECRET = re.compile(r"(_hash|_enc|_index|_bidx|password|secret|token|session)$")
_CLOSED = {
    "sessions", "tokens", "totp_secrets", "recovery_codes", "passkeys", "encryption_keys", "idempotency_keys", "messages", "mails",
    "verification_documents", "gateway_events", "sandbox_charges", "move_in_notes", "move_in_steps",
}  # fmt: skip


class NoSuchTable(NotFound):
    """There is no such table to look at."""


class TableName(msgspec.Struct, frozen=True):
    """A table with what it is for."""

    name: str
    about: str


class TableRows(msgspec.Struct, frozen=True):
    """Some rows of a table, the last by their key first; values as text, cut where they are long."""

    name: str
    about: str
    columns: tuple[str, ...]
    hidden: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables() -> tuple[TableName, ...]:
    """Return the tables that may be looked at, by name."""
    return tuple(TableName(t.name, t.comment or "") for t in metadata.sorted_tables if t.name not in _CLOSED)


def _is_secret(column: "Column[Any]") -> bool:
    return isinstance(column.type, LargeBinary) or bool(_SECRET.search(column.name))


@cache
def _statement(name: str) -> TextClause:
    table: Table = metadata.tables[name]
    shown = ", ".join(f'left(CAST("{c.name}" AS text), 120) AS "{c.name}"' for c in table.columns if not _is_secret(c))
    order = ", ".join(f'"{c.name}" DESC' for c in table.primary_key.columns if not _is_secret(c)) or "1"
    return text(f'SELECT {shown} FROM "{name}" ORDER BY {order} LIMIT {ROWS}')


async def read_table(store: Store, caller: Caller, name: str) -> TableRows:
    """Return the latest fifty rows of a table. Raises `NotAllowed`, `NoSuchTable`."""
    caller.check_can("manage_store")
    if name not in {table.name for table in tables()}:
        raise NoSuchTable
    table = metadata.tables[name]
    async with store.db.transaction(actor=Actor("staff", caller.user_id)) as tx:
        rows = await tx.all(_statement(name))
        await note_look(tx, name, "*", rows=len(rows))
    shown = tuple(c.name for c in table.columns if not _is_secret(c))
    return TableRows(
        name, table.comment or "", shown, tuple(c.name for c in table.columns if _is_secret(c)),
        tuple(tuple("" if value is None else str(value) for value in row) for row in rows),
    )  # fmt: skip

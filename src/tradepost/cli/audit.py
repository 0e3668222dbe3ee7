"""`tradepost audit`: look through a store's audit log."""

import sys
from datetime import UTC
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from tradepost.cli.owner_database import owner_database
from tradepost.core.database import SYSTEM
from tradepost.flows.audit import AuditLine, AuditQuestion, read_audit


async def print_audit(store: str, dsn: str, question: AuditQuestion, *, most: int, as_json: bool) -> None:
    """Print at most so many changes, the latest first: as a table, or as one line of JSON each. Raises `NoSuchPerson`."""
    table, after, left = _table(), None, most
    async with owner_database(store, dsn) as db:
        while left > 0:
            async with db.transaction(actor=SYSTEM, read_only=True) as tx:
                found = await read_audit(tx, question, after=after, limit=min(left, 100))
            for line in found.items:
                if as_json:
                    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
                else:
                    table.add_row(*_cells(line))
            left, after = left - len(found.items), found.after
            if after is None:
                break
    if not as_json:
        Console().print(table)


def _table() -> Table:
    table = Table(show_lines=False)
    for column in ("When (UTC)", "Who", "Did", "Table", "Row", "Before", "After"):
        table.add_column(column, overflow="fold")
    return table


def _cells(line: AuditLine) -> tuple[str, ...]:
    entry = line.entry
    who = f"{line.behind} as {line.who}" if line.behind else line.who
    at = entry.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return at, who, entry.action, entry.table_name, entry.row_key, _written(entry.before), _written(entry.after)


def _written(values: dict[str, Any] | None) -> str:
    return ", ".join(f"{name}={_short(value)}" for name, value in (values or {}).items())


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:57] + "…"

"""The commands of maintenance: cleaning up, looking anew, writing indexes anew without locking anybody out.

They run on a connection of their own, outside of transactions, as PostgreSQL asks for, and at autovacuum's pace. Promises that none
keeps anybody from reading or writing rows (each waits in a lock mode that conflicts with changes of the schema only; dropping a leftover,
which needs the table for a moment, gives up after two seconds), and that none is begun on a name that is not plain.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

LOCK: Final = 0x7570_6B65_6570  # “upkeep” in ASCII: one maintenance at a time in a database
LONGEST_S: Final = 3 * 3600.0
_SKIPPED: Final = "skipping"
_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class Skipped(Exception):
    """PostgreSQL left out what it was told to do; its own words say why."""


@asynccontextmanager
async def alone(connection: asyncpg.Connection) -> AsyncIterator[bool]:
    """Within the block nobody else maintains this database; False where somebody already does. A dead holder holds nothing."""
    await connection.execute(
        f"SET statement_timeout = '{LONGEST_S:.0f}s'; SET lock_timeout = '10min'; SET vacuum_cost_delay = '2ms'"
    )
    held = bool(await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK))
    try:
        yield held
    finally:
        if held and not connection.is_closed():
            await connection.execute(f"SELECT pg_advisory_unlock({LOCK})")


async def vacuum(connection: asyncpg.Connection, table: str) -> None:
    """Clean dead rows up and look at what is left; leaves a table alone that others hold."""
    await _run(connection, f"VACUUM (ANALYZE, SKIP_LOCKED, TRUNCATE false) {_named(table)}")


async def analyze(connection: asyncpg.Connection, table: str) -> None:
    """Look anew at what is in a table, so that statements are planned by it."""
    await _run(connection, f"ANALYZE (SKIP_LOCKED) {_named(table)}")


async def reindex(connection: asyncpg.Connection, index: str) -> None:
    """Write an index anew beside the old one, while everybody reads and writes."""
    await _run(connection, f"REINDEX INDEX CONCURRENTLY {_named(index)}")


async def drop_leftover(connection: asyncpg.Connection, index: str) -> None:
    """Drop what an interrupted `reindex` has left; anything else is refused by the database."""
    await connection.execute("SELECT drop_leftover_index($1)", index, timeout=LONGEST_S)


async def index_size(connection: asyncpg.Connection, index: str) -> int:
    """Return the bytes of an index."""
    return int(await connection.fetchval("SELECT pg_relation_size(to_regclass($1))", f"public.{_named(index)}") or 0)


async def table_size(connection: asyncpg.Connection, table: str) -> int:
    """Return the bytes of a table with its indexes."""
    return int(
        await connection.fetchval("SELECT pg_total_relation_size(to_regclass($1))", f"public.{_named(table)}") or 0
    )


async def _run(connection: asyncpg.Connection, command: str) -> None:
    """Run a command. Raises `Skipped` where PostgreSQL warns that it did nothing: somebody holds the table, or we may not."""
    said: list[str] = []

    def listen(_: object, message: asyncpg.PostgresLogMessage) -> None:
        said.append(str(message))

    connection.add_log_listener(listen)
    try:
        await connection.execute(command, timeout=LONGEST_S)
    finally:
        connection.remove_log_listener(listen)
    if skipped := [one for one in said if _SKIPPED in one]:
        raise Skipped(skipped[0])


async def writes_indexes(connection: asyncpg.Connection) -> bool:
    """Whether somebody writes an index of this database just now: what looks like a leftover may be theirs."""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_progress_create_index WHERE datname = current_database())"
        )
    )


def is_plain(name: str) -> bool:
    """Whether a table or an index can be named here."""
    return _PLAIN.fullmatch(name) is not None


def _named(name: str) -> str:
    if not is_plain(name):
        raise ValueError(f"not a plain name: {name!r}")
    return name

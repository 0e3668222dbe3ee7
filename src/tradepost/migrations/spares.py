"""Databases that exist for the length of one command, beside those of the stores: a plan, a rehearsal, a dump or backup looked into.

They may hold copies of what customers told a store, so one that a killed command left behind is dropped by the next command that
needs one. Whoever uses one holds a lock on its name, because nobody need be connected to it meanwhile.
"""

import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import asyncpg

from tradepost.core.errors import Unavailable

Purpose = Literal["plan", "rehearse", "verify", "import"]

_LOCKS = 0x5350  # the first key of the locks on names; the second is made from the name
LEFT_BEHIND = f"""
    SELECT d.datname FROM pg_database d
    WHERE d.datname ~ '^tradepost_(plan|rehearse|verify|import)_[0-9a-f]{{8}}$'
      AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)
      AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid = {_LOCKS}
                      AND l.objid = (hashtext(d.datname::text)::bigint & 4294967295)::oid)
    ORDER BY 1
"""
_IS_HERE = "SELECT coalesce(inet_server_addr() = inet_client_addr(), true)"


@dataclass(eq=False)
class NoRoomForCopy(Unavailable):
    """A copy needs about {needed_mb} MB where PostgreSQL keeps its data, and {free_mb} MB are free there."""

    needed_mb: int
    free_mb: int


@asynccontextmanager
async def spare_database(dsn: str, purpose: Purpose) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    """Yield a free name for a database, to be made by the caller and dropped after the block, and a connection to `dsn`.

    `dsn` is a superuser's, of the database `postgres`. What killed commands have left behind is dropped first.
    """
    name = f"tradepost_{purpose}_{secrets.token_hex(4)}"
    keeper = await asyncpg.connect(dsn)
    try:
        await keeper.execute("SELECT pg_advisory_lock($1, hashtext($2))", _LOCKS, name)
        await _drop_left_behind(keeper)
        try:
            yield name, keeper
        finally:
            await _drop(dsn, name)
    finally:
        await keeper.close(timeout=5)


async def check_room(connection: asyncpg.Connection, needed: int) -> None:
    """Raise `NoRoomForCopy` where the server is on this machine and has fewer bytes free than a copy needs."""
    free = await _free_bytes(connection)
    if free is not None and free < needed:
        raise NoRoomForCopy(-(-needed // 2**20), free // 2**20)


async def size_of(connection: asyncpg.Connection, name: str) -> int:
    """Return how many bytes a database has, 0 where there is none."""
    return await connection.fetchval("SELECT pg_database_size(oid) FROM pg_database WHERE datname = $1", name) or 0


async def _free_bytes(connection: asyncpg.Connection) -> int | None:
    """Return what is free where the server keeps its data; None where that is another machine, or nobody may know."""
    if not await connection.fetchval(_IS_HERE):
        return None
    try:
        return shutil.disk_usage(Path(await connection.fetchval("SHOW data_directory"))).free
    except (OSError, asyncpg.InsufficientPrivilegeError):
        return None


async def _drop_left_behind(connection: asyncpg.Connection) -> None:
    for (name,) in await connection.fetch(LEFT_BEHIND):
        with suppress(
            asyncpg.ObjectInUseError, asyncpg.InsufficientPrivilegeError
        ):  # somebody looks into it, or made it
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}"')


async def _drop(dsn: str, name: str) -> None:
    """Drop a database, by a connection of its own: the other one may be gone by now."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()

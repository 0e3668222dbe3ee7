"""Connections to one server, made when first needed: the usual ones, and some whose statements are planned once."""

from typing import Any, Self

import asyncpg
import msgspec
from pgvector.asyncpg import register_vector


class PoolOptions(msgspec.Struct, frozen=True):
    """What a store's connections have in common.

    `direct_dsn` is given where the address leads to a pooler that lends a connection for one transaction at a time: PostgreSQL's own
    address, for what needs a session. Then time limits are said in each transaction, and `read` has the role's. `idle_timeout_ms`: how
    long a transaction may wait for us between two statements; 0 is for ever.
    """

    size: int = 8
    statement_timeout_ms: int = 10_000
    lock_timeout_ms: int = 5_000
    idle_timeout_ms: int = 60_000
    statement_cache: int = 512
    name: str = "tradepost"
    direct_dsn: str = ""

    @property
    def limits(self) -> dict[str, str]:
        """What no statement may spend, by PostgreSQL's names."""
        return {
            "statement_timeout": str(self.statement_timeout_ms),
            "lock_timeout": str(self.lock_timeout_ms),
            "idle_in_transaction_session_timeout": str(self.idle_timeout_ms),
            "jit": "off",  # it compiles a search for a second that runs for milliseconds
        }

    @property
    def said_each_time(self) -> str:
        """What each transaction says where a session cannot keep it."""
        return "".join(f"SET LOCAL {key} = {value}; " for key, value in self.limits.items()) if self.direct_dsn else ""

    @property
    def session(self) -> dict[str, Any]:
        """What asyncpg is told for a connection that is its own session."""
        return {"statement_cache_size": self.statement_cache, "server_settings": self._kept | self.limits}

    def pooled(self, **also: str) -> dict[str, Any]:
        """Return what asyncpg is told for the connections of a pool."""
        settings = self._kept if self.direct_dsn else self._kept | self.limits
        return {"statement_cache_size": self.statement_cache, "server_settings": settings | also}

    @property
    def _kept(self) -> dict[str, str]:
        return {"application_name": self.name, "timezone": "UTC"}


class Pools:
    """The pools of one server. `planned_once`: for long statements written so that one plan suits all values."""

    def __init__(self, usual: asyncpg.Pool, planned_once: asyncpg.Pool) -> None:
        self.usual = usual
        self.planned_once = planned_once

    @classmethod
    async def open(cls, dsn: str, options: PoolOptions) -> Self:
        """Open the pools of a server."""
        usual = await _pool(dsn, options, options.size)
        if not options.statement_cache or options.direct_dsn:
            return cls(usual, usual)
        most = max(2, options.size // 2)
        return cls(usual, await _pool(dsn, options, most, plan_cache_mode="force_generic_plan"))

    async def close(self) -> None:
        """Close every connection; waits for those in use."""
        for pool in {self.usual, self.planned_once}:
            await pool.close()


async def leave_clean(connection: asyncpg.Connection) -> None:
    """Replace asyncpg's own reset, which costs a round trip: settings are only ever local to a transaction here."""
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")


async def _pool(dsn: str, options: PoolOptions, most: int, **also: str) -> asyncpg.Pool:
    return await asyncpg.create_pool(
        dsn, min_size=0, max_size=most, init=_no_json_text, reset=leave_clean, max_inactive_connection_lifetime=300,
        **options.pooled(**also),
    )  # fmt: skip


async def _no_json_text(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + msgspec.json.encode(value),
        decoder=lambda data: msgspec.json.decode(data[1:]),
    )
    if await connection.fetchval("select true from pg_type where typname = 'vector'"):
        await register_vector(connection)

"""The two servers that Tradepost brings along: PostgreSQL and Valkey, from wheels, with no set-up and no root needed.

Owns everything between the wheels and a connection URL. Promises that the servers listen on private sockets below the home
only, stop with the process that started them, and fail with one clear sentence each. Which database or cache a store uses is
decided elsewhere: in production these servers are not started at all.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tradepost.core.embedded.postgres import PostgresServer, embedded_postgres
from tradepost.core.embedded.process import EmbeddedServerStopped
from tradepost.core.embedded.valkey import ValkeyServer, embedded_valkey

__all__ = [
    "EmbeddedServices",
    "PostgresServer",
    "ValkeyServer",
    "embedded_postgres",
    "embedded_services",
    "embedded_valkey",
]


@dataclass(frozen=True, slots=True)
class EmbeddedServices:
    """Both servers, running."""

    postgres: PostgresServer
    cache: ValkeyServer

    async def wait(self) -> EmbeddedServerStopped:
        """Wait until one of them stops by itself; return, as an error to raise, which and why."""
        waiting = [asyncio.ensure_future(server.wait()) for server in (self.postgres, self.cache)]
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        return done.pop().result()


@asynccontextmanager
async def embedded_services(home: Path, settings: Mapping[str, str] | None = None) -> AsyncIterator[EmbeddedServices]:
    """Run PostgreSQL and Valkey on a home for as long as the block lasts; `settings` are PostgreSQL's.

    Raises what `embedded_postgres` and `embedded_valkey` raise.
    """
    async with embedded_postgres(home, settings) as postgres, embedded_valkey(home) as cache:
        yield EmbeddedServices(postgres, cache)

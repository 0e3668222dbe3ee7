"""The two servers that page benchmarks compare, each in a process of its own: `python -m benchmarks.serve floor|store ARGS`.

The floor is what nothing in this framework can undercut: a bare Litestar handler that sends the same SQL over asyncpg.
"""

import sys
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar, get

from tradepost.app import create_app
from tradepost.catalog.queries import listing_page
from tradepost.core.crypto import Keyring
from tradepost.core.database import compiled
from tradepost.core.log import configure_logging
from tradepost.core.settings import LogSettings, Settings
from tradepost.flows.store import open_store


async def floor(port: int, dsn: str) -> None:
    """Serve the first page of newest listings from a handler that does nothing else."""
    ready = compiled(listing_page("newest", frozenset(), after=False))
    sql, arguments = ready.sql, ready.arguments({"limit": 25})

    async def json_codec(connection: asyncpg.Connection) -> None:
        await connection.set_type_codec(
            "jsonb", schema="pg_catalog", format="binary",
            encoder=lambda value: b"\x01" + msgspec.json.encode(value), decoder=lambda data: msgspec.json.decode(data[1:]),
        )  # fmt: skip

    pool = await asyncpg.create_pool(dsn, min_size=8, max_size=8, init=json_codec)

    @get("/floor")
    async def handler() -> list[dict[str, Any]]:
        return [dict(row) for row in await pool.fetch(sql, *arguments)]

    await _serve(Litestar([handler], openapi_config=None), port)


async def store(port: int, dsn: str, code: str, cache_url: str, files: str) -> None:
    """Serve a store as production does, logging warnings only."""
    configure_logging(LogSettings("warning", "json"))
    keys = Keyring.from_secret("bench", b"bench" * 8)
    async with open_store(
        code, Settings(test_payments=True), dsn=dsn, cache_url=cache_url, files_url=files, keys=keys
    ) as opened:
        await _serve(create_app({code: opened}, show_costs=True), port)


async def _serve(app: Any, port: int) -> None:
    server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False)
    await server.serve()


if __name__ == "__main__":
    kind, number, *rest = sys.argv[1:]
    sys.path.insert(0, str(Path(__file__).parents[1]))
    uvloop.run({"floor": floor, "store": store}[kind](int(number), *rest))

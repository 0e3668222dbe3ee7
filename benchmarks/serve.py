"""What benchmarks measure, each in a process of its own: `python -m benchmarks.serve floor|store|worker|lines PORT ARGS`.

The floor is what nothing in this framework can undercut: a bare Litestar handler that sends the same SQL over asyncpg.
"""

import asyncio
import os
import sys
from contextlib import AbstractAsyncContextManager
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
from tradepost.cli.serve import BACKLOG, MOST_OPEN
from tradepost.core.crypto import Keyring
from tradepost.core.log import configure_logging
from tradepost.core.settings import AnalyticsSettings, HttpSettings, LogSettings, Settings
from tradepost.core.statements import compiled
from tradepost.flows.store import Store, open_store
from tradepost.worker import compose, run_worker


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


def bench_store(
    code: str, dsn: str, cache_url: str, files: str, preset: str = ""
) -> AbstractAsyncContextManager[Store]:
    """Open a store as production does, with the sandbox, logging errors only; `preset` is its folder if not the package's."""
    configure_logging(LogSettings("error", "json"))
    compose()
    return open_store(
        code, Settings(test_payments=True, http=HttpSettings(most_changes=0), analytics=_analytics()), dsn=dsn, cache_url=cache_url, files_url=files,
        keys=Keyring.from_secret("bench", b"bench" * 8), preset_folder=Path(preset) if preset else None,
    )  # fmt: skip


def _analytics() -> AnalyticsSettings:
    return msgspec.convert({"collect": os.environ.get("TRADEPOST_BENCH_COLLECT", "all")}, AnalyticsSettings)


async def store(port: int, dsn: str, code: str, cache_url: str, files: str, preset: str = "") -> None:
    """Serve a store."""
    async with bench_store(code, dsn, cache_url, files, preset) as opened:
        await _serve(create_app({code: opened}, show_costs=True), port)


async def worker(_port: int, dsn: str, code: str, cache_url: str, files: str, preset: str = "") -> None:
    """Do a store's jobs until the process is ended."""
    async with bench_store(code, dsn, cache_url, files, preset) as opened:
        await run_worker(opened, asyncio.Event())


async def lines(port: int) -> None:
    """Hold lines open, of events and WebSockets, and tell nothing: what the server itself takes for one."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
        else:
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
            )
            await send({"type": "http.response.body", "body": b"retry: 1000\n\n", "more_body": True})
            await receive()  # the request itself
        await receive()

    await _serve(app, port)


async def _serve(app: Any, port: int) -> None:
    server = Server(
        app,
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGI,
        log_enabled=False,
        backlog=BACKLOG,
        backpressure=MOST_OPEN,
    )
    await server.serve()


if __name__ == "__main__":
    kind, number, *rest = sys.argv[1:]
    sys.path.insert(0, str(Path(__file__).parents[1]))
    uvloop.run({"floor": floor, "store": store, "worker": worker, "lines": lines}[kind](int(number), *rest))

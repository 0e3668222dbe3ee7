"""A WebSocket at the application's door, without a network: for tests of what is told and of what is said."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec

from tests.people import visitor
from tradepost.app import create_app
from tradepost.flows.store import Store
from tradepost.web.security import SESSION_COOKIE

HOST = "market.localhost"


class Call:
    """One WebSocket: what it was told, and how it was closed."""

    def __init__(self) -> None:
        self.closed: int | None = None
        self._in: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._out: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._in.put_nowait({"type": "websocket.connect"})

    async def receive(self) -> dict[str, Any]:
        """Give the application what comes in."""
        return await self._in.get()

    async def send(self, message: dict[str, Any]) -> None:
        """Take what the application sends."""
        if message["type"] == "websocket.close":
            self.closed = message["code"]
        self._out.put_nowait(message)

    def say(self, **what: Any) -> None:
        """Send a JSON object."""
        self._in.put_nowait({"type": "websocket.receive", "text": msgspec.json.encode(what).decode()})

    def say_text(self, text: str) -> None:
        """Send any text."""
        self._in.put_nowait({"type": "websocket.receive", "text": text})

    def hang_up(self) -> None:
        """End the call."""
        self._in.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def told(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Return the next so many of what is told under a name; fails when the call is closed before."""
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(10):
            while len(found) < count:
                message = await self._out.get()
                assert message["type"] != "websocket.close", f"closed with {message['code']}, told {found}"
                if message["type"] == "websocket.send":
                    said = msgspec.json.decode(message["text"])
                    if said["event"] == event:
                        found.append(said)
        return found

    async def ended(self) -> int:
        """Return the code with which the application closes."""
        async with asyncio.timeout(10):
            while self.closed is None:
                await self._out.get()
        return self.closed


@asynccontextmanager
async def call(
    store: Store, path: str, *, token: str | None = None, bearer: str | None = None, query: str = "", **headers: str
) -> AsyncIterator[Call]:
    """Call a store by WebSocket for the length of the block, with a session's cookie or an API token."""
    sent = {"host": HOST, "origin": f"http://{HOST}", **headers}
    if token is not None:
        sent["cookie"] = f"{SESSION_COOKIE}={token}"
    if bearer is not None:
        sent["authorization"] = f"Bearer {bearer}"
    scope = {
        "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws", "path": path,
        "raw_path": path.encode(), "root_path": "", "query_string": query.encode(), "client": (visitor().address, 40_000),
        "server": (HOST, 80), "subprotocols": [], "state": {},
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in sent.items()],
    }  # fmt: skip
    made = Call()
    async with AsyncExitStack() as stack:
        running = asyncio.create_task(create_app({store.code: store})(scope, made.receive, made.send))
        stack.push_async_callback(asyncio.wait_for, running, 10)
        stack.callback(made.hang_up)
        yield made

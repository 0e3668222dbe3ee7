"""A small HTTP server on loopback, for the local doubles of outside services: it can be slow, and lose its own replies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

Fault = Literal["lost", "slow", "broken"]


@dataclass(frozen=True)
class Asked:
    """A request. Header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """A reply."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Loopback:
    """Serves what a subclass's `answer` says, and fails where it is told to (`fail`)."""

    slowness = 30.0

    def __init__(self) -> None:
        self.base = ""
        self._faults: list[tuple[str, Fault]] = []
        self.asked: list[Asked] = []
        self.open: set[asyncio.StreamWriter] = set()

    def fail(self, path: str, fault: Fault, times: int = 1) -> None:
        """Have the next requests to a path fail.

        lost: the request takes effect, the reply never arrives · slow: the reply takes as long as `slowness` · broken: 500 before
        anything happens.
        """
        self._faults += [(path, fault)] * times

    async def answer(self, asked: Asked) -> Answer:
        """Return the reply to a request."""
        raise NotImplementedError

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            while (asked := await _read(reader)) is not None:
                self.asked.append(asked)
                reply = await self._answered(asked)
                if reply is None:
                    break
                writer.write(_written(reply))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    async def _answered(self, asked: Asked) -> Answer | None:
        found = next((f for f in self._faults if f[0] == asked.path), None)
        fault = found[1] if found else None
        if found:
            self._faults.remove(found)
        if fault == "broken":
            return Answer(500, b"{}", {"content-type": "application/json", "stripe-should-retry": "false"})
        reply = await self.answer(asked)
        if fault == "slow":
            await asyncio.sleep(self.slowness)  # the provider's own slowness, cut short by the store's limit
        return None if fault == "lost" else reply


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    return Asked(method, parts.path, dict(parse_qsl(parts.query)), headers, body)


def _written(reply: Answer) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} x", f"content-length: {len(reply.body)}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + reply.body


@asynccontextmanager
async def serving(server: Loopback) -> AsyncIterator[None]:
    """Serve on a free port for the length of the block."""
    listener = await asyncio.start_server(server._serve, "127.0.0.1", 0)  # its own module
    server.base = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield
    finally:
        listener.close()
        for writer in list(server.open):
            writer.close()

"""Live conversations: thousands of open streams, messages at a steady pace; what arrives late, never, or twice, and what a quiet stream costs."""

import asyncio
import re
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec

from benchmarks.ground import ground
from benchmarks.load import cpu_seconds
from benchmarks.pages import server
from tradepost.core.ids import secret_token, token_hash, uuid7

STORE, CONVERSATIONS, TALKING = "souk-loop", 1_000, 200
RATE, SECONDS, FLOOD, SENDERS, SOCKETS = 100, 20.0, 2_000, 16, 300
_EVENT = re.compile(rb'id: (\d+)\nevent: message\ndata: \{"conversation_id":"([0-9a-f-]+)".*?"body":"(\d+)"')


@dataclass(frozen=True)
class Talk:
    """Two people who talk: their conversation, and the API token of each."""

    id: UUID
    tokens: tuple[str, str]


@dataclass
class Heard:
    """What came out of the streams: when each message arrived, and how often."""

    waits: list[float] = field(default_factory=list)
    times: Counter[tuple[int, int]] = field(default_factory=Counter)
    sent: dict[int, float] = field(default_factory=dict)

    def note(self, watcher: int, mark: int) -> None:
        """Note that a message reached a watcher."""
        self.times[watcher, mark] += mark > 0  # the first only warms up
        if mark in self.sent:
            self.waits.append((time.perf_counter() - self.sent[mark]) * 1000)


async def measure() -> dict[str, float]:
    """Open two streams a conversation, talk at a steady pace, then as fast as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8_192)), hard))
    async with ground() as on:
        dsn = await on.store(STORE, 0)
        owner = await asyncpg.connect(on.dsn(dsn, "postgres"))
        talks = await make_talks(owner)
        with server("store", on.dsn(dsn), STORE, on.cache_url, str(on.home.files(STORE))) as (pid, port):
            found = await _measure(port, pid, talks)
        with server("store", on.dsn(dsn), STORE, on.cache_url, str(on.home.files(STORE))) as (pid, port):
            await send_all(port, [0], _request(talks[:1], Heard()))
            return found | {"socket_kb": await _socket_kb(port, pid, talks[:SOCKETS])}


async def _measure(port: int, pid: int, talks: list[Talk]) -> dict[str, float]:
    heard = Heard()
    await send_all(port, [0], _request(talks[:1], heard))  # everything is loaded and compiled
    before = memory_kb(pid)
    streams = [
        asyncio.create_task(_watch(port, n, talk, side, heard)) for n, talk in enumerate(talks) for side in (0, 1)
    ]
    await asyncio.sleep(3 + len(streams) / 400)
    idle_kb = (memory_kb(pid) - before) / len(streams)
    heard.waits.clear()
    cpu = cpu_seconds(pid)
    marks, request = int(RATE * SECONDS), _request(talks[:TALKING], heard)
    await send_all(port, range(1, marks + 1), request, rate=RATE)
    await asyncio.sleep(2)
    cpu_ms = (cpu_seconds(pid) - cpu) * 1000 / marks
    waits = sorted(heard.waits)
    began = time.perf_counter()
    await send_all(port, range(marks + 1, marks + FLOOD + 1), request)
    messages_s = FLOOD / (time.perf_counter() - began)
    await asyncio.sleep(3)
    open_streams = sum(not s.done() for s in streams)
    for stream in streams:
        stream.cancel()
    expected = (marks + FLOOD) * 2
    return {
        "connections": open_streams,
        "idle_kb": round(idle_kb, 1),
        "deliveries_s": round(len(waits) / SECONDS, 1),
        "p50_ms": round(waits[len(waits) // 2], 1),
        "p99_ms": round(waits[int(len(waits) * 0.99)], 1),
        "cpu_ms": round(cpu_ms, 2),
        "messages_s": round(messages_s, 1),
        "lost": expected - sum(n > 0 for n in heard.times.values()),
        "doubled": sum(max(0, n - 1) for n in heard.times.values()),
    }


async def make_talks(owner: asyncpg.Connection) -> list[Talk]:
    """Make people, a token for each, and their conversations, beside those of runs before."""
    talks, users, tokens = [], [], []
    mark = f"c{int(time.time())}"
    for n in range(CONVERSATIONS):
        pair, secrets = (uuid7(), uuid7()), (secret_token(), secret_token())
        talks.append((Talk(uuid7(), secrets), pair))
        users += [(p, f"{mark}_{n}_{side}", f"{mark}_{n}_{side}@example.com", "Bench") for side, p in enumerate(pair)]
        tokens += [(p, token_hash(s), "api", "bench", ["profile"]) for p, s in zip(pair, secrets, strict=True)]
    await owner.executemany(
        "INSERT INTO users (id, username, email, display_name, created_at) VALUES ($1, $2, $3, $4, now() - interval '1 year')",
        users,
    )
    await owner.executemany(
        "INSERT INTO tokens (user_id, token_hash, kind, name, scopes, expires_at) VALUES ($1, $2, $3, $4, $5, now() + interval '1 day')",
        tokens,
    )
    await owner.executemany(
        "INSERT INTO conversations (id, people, started_by) VALUES ($1, $2, $3)",
        [(talk.id, sorted(pair), pair[0]) for talk, pair in talks],
    )
    return [talk for talk, _ in talks]


async def _watch(port: int, number: int, talk: Talk, side: int, heard: Heard) -> None:
    """Follow one conversation; come back with the last number when the line breaks."""
    watcher, last = number * 2 + side, 0
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET /api/v1/conversations/{talk.id}/events?after={last} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {talk.tokens[side]}\r\n\r\n".encode()
        )
        held = b""
        try:
            while data := await reader.read(65_536):
                held += data
                *whole, held = held.split(b"\n\n")
                for part in whole:
                    found = _EVENT.search(part)
                    if found:
                        last = int(found[1])
                        heard.note(watcher, int(found[3]))
        finally:
            writer.close()
        await asyncio.sleep(0.1)


async def send_all(
    port: int,
    marks: Iterable[int],
    request: Callable[[int], tuple[str, str, bytes]],
    *,
    rate: float = 0,
    clients: int = SENDERS,
    waits: list[float] | None = None,
    allowed: tuple[bytes, ...] = (b"201",),
) -> None:
    """Post what `request` says for each mark (path, token, body), at a pace or as fast as all clients can; note how long each took."""
    queue: asyncio.Queue[int | None] = asyncio.Queue()
    senders = [asyncio.create_task(_sender(port, queue, request, waits, allowed)) for _ in range(clients)]
    began = time.perf_counter()
    for n, mark in enumerate(marks, 1):
        if rate:
            await asyncio.sleep(max(0.0, began + n / rate - time.perf_counter()))
        queue.put_nowait(mark)
    for _ in senders:
        queue.put_nowait(None)
    await asyncio.gather(*senders)


async def _sender(
    port: int,
    queue: "asyncio.Queue[int | None]",
    request: Callable[[int], tuple[str, str, bytes]],
    waits: list[float] | None,
    allowed: tuple[bytes, ...],
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while (mark := await queue.get()) is not None:
            path, token, body = request(mark)
            began = time.perf_counter()
            writer.write(
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            answer = await reader.readexactly(int(length[1]) if length else 0)
            if head.split(b" ", 2)[1] not in allowed:
                raise RuntimeError(f"{head.splitlines()[0].decode()}: {answer[:300].decode()}")
            if waits is not None:
                waits.append((time.perf_counter() - began) * 1000)
    finally:
        writer.close()


async def _socket_kb(port: int, pid: int, talks: list[Talk]) -> float:
    """Return what an open WebSocket costs in a server that has opened nothing else."""
    before, lines = memory_kb(pid), []
    for talk in talks:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET /api/v1/conversations/{talk.id}/events HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Authorization: Bearer {talk.tokens[0]}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head.splitlines()[0]:
            raise RuntimeError(head.decode())
        lines.append(writer)
    await asyncio.sleep(2)
    found = round((memory_kb(pid) - before) / len(talks), 1)
    for writer in lines:
        writer.close()
    return found


def _request(talks: list[Talk], heard: Heard) -> Callable[[int], tuple[str, str, bytes]]:
    def request(mark: int) -> tuple[str, str, bytes]:
        talk = talks[mark % len(talks)]
        if mark:
            heard.sent[mark] = time.perf_counter()
        return (
            f"/api/v1/conversations/{talk.id}/messages",
            talk.tokens[mark % 2],
            msgspec.json.encode({"body": str(mark)}),
        )

    return request


def memory_kb(pid: int) -> int:
    """Return the resident memory of a process."""
    found = re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0

"""Everything that is live at once: 2,000 open lines at two servers, a show and its comments, conversations at a rising pace; and what a line costs.

Beside the servers stands a bare application of the same server that holds lines and does nothing else: what is left is ours.
"""

import asyncio
import os
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import uvloop

from benchmarks import chat, show
from benchmarks.chat import Talk, memory_kb
from benchmarks.ground import Ground, ground
from benchmarks.load import cpu_seconds
from benchmarks.pages import server

STORE, VIEWERS, TALKS, IDLE, COMMENTS_S = "souk-loop", 1_000, 200, 600, 20
PACES = tuple(
    int(n) for n in os.environ.get("TRADEPOST_BENCH_PACES", "5,100,300,600,1000").split(",")
)  # messages a second, in all
SECONDS = float(os.environ.get("TRADEPOST_BENCH_SECONDS", "10"))
HELD = 400  # lines opened to weigh one
_MARK = b'"body":"m'


@dataclass
class Told:
    """What was sent and what came out: for each mark when it was sent, and what is still to arrive."""

    sent: dict[int, float] = field(default_factory=dict)
    left: dict[int, int] = field(default_factory=dict)
    waits: array = field(default_factory=lambda: array("d"))  # type: ignore[type-arg]  # of doubles
    doubled: int = 0
    refused: int = 0

    def send(self, mark: int, to: int) -> None:
        """Note that a mark is sent to so many."""
        self.left[mark] = to
        self.sent[mark] = time.perf_counter()

    @property
    def lost(self) -> int:
        """How many did not arrive."""
        return sum(self.left.values())

    def figures(self, name: str) -> dict[str, float]:
        """Return half and 99 of a hundred of the waits, in milliseconds."""
        waits = sorted(self.waits)
        if not waits:
            return {}
        return {
            f"{name}_p50_ms": round(waits[len(waits) // 2] * 1000, 1),
            f"{name}_p99_ms": round(waits[int(len(waits) * 0.99)] * 1000, 1),
        }


class Hearer(asyncio.Protocol):
    """One open line, of events or a WebSocket: notes each mark it hears, by what it was sent as. It does little, because thousands share a core."""

    def __init__(self, head: str, told: Told) -> None:
        self.head, self.told, self.seen, self.held = head, told, 0, b""
        self.first = -1
        self.transport: Any = None
        self.is_open = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the line."""
        self.transport = transport
        self.transport.write(self.head.encode())

    def data_received(self, data: bytes) -> None:
        """Note every mark in it."""
        if not self.is_open.done():
            self.is_open.set_result(data[9:12])
        if b'"event":"error"' in data:
            self.told.refused += 1
        if self.held:
            data, self.held = self.held + data, b""
        at, now = 0, time.perf_counter()
        while (found := data.find(_MARK, at)) >= 0:
            end = data.find(b'"', found + len(_MARK))
            if end < 0:
                break
            self._note(int(data[found + len(_MARK) : end]), now)
            at = end
        self.held = data[max(at, len(data) - len(_MARK)) :] if found < 0 else data[found:]

    def _note(self, mark: int, now: float) -> None:
        if self.first < 0:
            self.first = mark
        bit = 1 << (mark - self.first) if mark >= self.first else 0
        if self.seen & bit:
            self.told.doubled += 1
            return
        self.seen |= bit
        self.told.left[mark] -= 1
        self.told.waits.append(now - self.told.sent[mark])


def _ask(path: str, token: str = "", *, is_socket: bool = False) -> str:  # none
    who = f"Authorization: Bearer {token}\r\n" if token else ""
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        if is_socket
        else ""
    )
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{upgrade}{who}\r\n"


async def _open(port: int, head: str, told: Told) -> Hearer:
    line: Hearer
    _, line = await asyncio.get_running_loop().create_connection(lambda: Hearer(head, told), "127.0.0.1", port)
    answer = await asyncio.wait_for(line.is_open, 60)
    if answer not in {b"200", b"101"}:
        raise RuntimeError(answer)
    return line


def _frame(text: bytes) -> bytes:
    """Return a text as a client's WebSocket frame, masked with zeros."""
    size = len(text)
    head = bytes([0x81, 0x80 | size]) if size < 126 else bytes([0x81, 0xFE]) + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + text


async def measure() -> dict[str, Any]:
    """Weigh lines, then have everything happen at once."""
    show.allow_many_files()
    async with ground() as on:
        dsn = await on.store(STORE, 0)
        owner = await asyncpg.connect(on.dsn(dsn, "postgres"))
        chat.CONVERSATIONS = TALKS + IDLE // 2
        talks = await chat.make_talks(owner)
        tokens, people = await show.make_people(owner, 40)
        stream_id = await show.put_on_show(owner, people[0])
        ours = ("store", on.dsn(dsn), STORE, on.cache_url, str(on.home.files(STORE)))
        found = await _weigh(ours, talks, stream_id)
        with server(*ours) as (one, first), server(*ours) as (two, second), _backends(on) as database:
            work = _All((first, second), (one, two), database, talks, tokens, stream_id)
            found |= await asyncio.to_thread(lambda: uvloop.run(work.run()))
        await owner.close()
    print(msgspec.json.format(msgspec.json.encode(found)).decode())
    return found


async def _weigh(ours: tuple[str, ...], talks: list[Talk], stream_id: UUID) -> dict[str, float]:
    """Return what an open line costs our server and the bare one, each kind in a process of its own."""
    talk, found = talks[0], {}
    for kind, path, token, is_socket in (
        ("event_line", f"/api/v1/streams/{stream_id}/events", "", False),
        ("socket", f"/api/v1/conversations/{talk.id}/events", talk.tokens[0], True),
    ):
        for name, command in (("", ours), ("bare_", ("lines",))):
            with server(*command) as (pid, port):
                head, lines = _ask(path, token, is_socket=is_socket), []
                for n in range(HELD + 20):
                    if n == 20:  # everything is loaded by then
                        await asyncio.sleep(1)
                        before = memory_kb(pid)
                    lines.append(await _open(port, head, Told()))
                await asyncio.sleep(1)
                found[f"{name}{kind}_kb"] = round((memory_kb(pid) - before) / HELD, 1)
                for line in lines:
                    line.transport.abort()
    return found


@contextmanager
def _backends(on: Ground) -> Iterator[Callable[[], float]]:
    """Yield what returns the CPU seconds of the database's processes that live."""
    postmaster = int((on.home.pg / "postmaster.pid").read_text().split()[0])

    def spent() -> float:
        total = 0.0
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                if int(status.read_text().rsplit(") ", 1)[1].split()[1]) == postmaster:
                    total += cpu_seconds(int(status.parent.name))
            except OSError:
                continue
        return total

    yield spent


class _All:
    """Two servers, all who are connected, and what they send."""

    def __init__(
        self, ports: tuple[int, int], pids: tuple[int, int], database: Callable[[], float], talks: list[Talk],
        tokens: list[str], stream_id: UUID,
    ) -> None:  # fmt: skip
        self.ports, self.pids, self.database = ports, pids, database
        self.talks, self.idle, self.tokens, self.stream_id = talks[:TALKS], talks[TALKS:], tokens, stream_id
        self.seen, self.said, self.mark, self.shown = Told(), Told(), 0, 0
        self.lines: list[Hearer] = []
        self.sides: list[Hearer] = []

    async def run(self) -> dict[str, Any]:
        """Open every line, then talk at each pace while the show goes on."""
        before = sum(map(memory_kb, self.pids))
        await self._open_all()
        await asyncio.sleep(3)
        kb = round((sum(map(memory_kb, self.pids)) - before) / len(self.lines), 1)
        found: dict[str, Any] = {
            "connections": len(self.lines),
            "line_kb": kb,
            "show_alone": await self._round(0, COMMENTS_S),
        }
        found["chat_alone_5_s"] = await self._round(5, 0)
        for pace in PACES:
            found[f"together_{pace}_s"] = await self._round(pace, COMMENTS_S)
        found["open_still"] = sum(not line.transport.is_closing() for line in self.lines)
        for line in self.lines:
            line.transport.abort()
        return found

    async def _open_all(self) -> None:
        for n in range(VIEWERS):
            self.lines.append(
                await _open(self.ports[n % 2], _ask(f"/api/v1/streams/{self.stream_id}/events"), self.seen)
            )
        for n, talk in enumerate(self.talks):  # the two of every second conversation are at the same server
            for side in (0, 1):
                head = _ask(f"/api/v1/conversations/{talk.id}/events", talk.tokens[side], is_socket=True)
                self.sides.append(await _open(self.ports[(n + (n // 2 % 2) * side) % 2], head, self.said))
        for n, talk in enumerate(self.idle):
            for side in (0, 1):
                self.lines.append(
                    await _open(self.ports[n % 2], _ask("/api/v1/inbox/events", talk.tokens[side]), Told())
                )
        self.lines += self.sides

    async def _round(self, pace: int, comments_s: int) -> dict[str, Any]:
        """Talk and comment for a while; return what came of it."""
        for told in (self.seen, self.said):
            told.sent, told.left, told.waits, told.doubled, told.refused = {}, {}, array("d"), 0, 0
        for line in self.lines:
            line.seen, line.first = 0, -1
        spent, began = (sum(map(cpu_seconds, self.pids)), self.database(), time.process_time()), time.perf_counter()
        await asyncio.gather(self._talk(pace), self._comment(comments_s))
        took = time.perf_counter() - began
        for _ in range(100):
            if not self.seen.lost and not self.said.lost:
                break
            await asyncio.sleep(0.1)
        messages, deliveries = len(self.said.left), len(self.seen.waits) + len(self.said.waits)
        server_s, database_s = sum(map(cpu_seconds, self.pids)) - spent[0], self.database() - spent[1]
        return {
            "messages_s": round(messages / took, 1), "deliveries_s": round(deliveries / took),
            "lost": self.seen.lost + self.said.lost, "doubled": self.seen.doubled + self.said.doubled, "refused": self.said.refused,
            **self.said.figures("chat"), **self.seen.figures("show"),
            "server_cpu": round(server_s / took, 2), "database_cpu": round(database_s / took, 2),
            "clients_cpu": round((time.process_time() - spent[2]) / took, 2),
        }  # fmt: skip

    async def _talk(self, pace: int) -> None:
        async for _ in _paced(pace):
            self.mark += 1
            side = self.sides[(self.mark * 7) % len(self.sides)]
            self.said.send(self.mark, 2)
            side.transport.write(_frame(b'{"do":"say","body":"m%d"}' % self.mark))

    async def _comment(self, pace: int) -> None:
        if not pace:
            return
        marks = int(pace * SECONDS)
        self.shown += marks
        first = self.shown

        def request(mark: int) -> tuple[str, str, bytes]:
            self.seen.send(mark, VIEWERS)
            path = f"/api/v1/streams/{self.stream_id}/comments"
            return path, self.tokens[1 + mark % (len(self.tokens) - 1)], b'{"body":"m%d"}' % mark

        await chat.send_all(self.ports[0], range(first, first + marks), request, rate=pace, clients=8)


async def _paced(pace: int) -> Any:
    began = time.perf_counter()
    for n in range(int(pace * SECONDS)):
        late = began + n / pace - time.perf_counter()
        if late > 0:
            await asyncio.sleep(late)
        yield n

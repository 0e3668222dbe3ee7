"""What happens now, told to those who watch: a bell for each topic, and channels that read once for many watchers.

PostgreSQL holds every truth; a bell only says that it is worth looking. Promises that somebody who watches a channel from a number
gets every entry after it once and in order, whatever was lost on the way: a bell that was not heard is made up for within
`LOOK_EVERY_S`, and who comes back with the last number they saw reads on from there. Notes (somebody types, somebody has read)
have no number and may be lost.

A bell rings at once in its own process, and by one NOTIFY for all that rang within some milliseconds in the others, after the
commit (docs/decisions/0004-jobs-and-events.md says why never inside the transaction). A process listens only while somebody
watches there.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary, ref

import asyncpg
import msgspec
import structlog

from tradepost.core.database import Database, Transaction, translate
from tradepost.core.errors import Unavailable
from tradepost.core.ids import readable_code

LOOK_EVERY_S: Final = 15.0
CHANNEL: Final = "tradepost_live"
_GATHER_S: Final = 0.005
_MOST_PAYLOAD: Final = 7_000  # PostgreSQL takes 8,000 bytes
_KEPT: Final = 256
_AGAIN_S: Final = 1.0
MANY: Final = 100
_log = structlog.get_logger()

Read = Callable[[int], Awaitable[list[tuple[int, bytes]]]]
"""Returns entries after a number in order, as numbers and encoded events: `MANY` at least where there are so many."""


class Entry(NamedTuple):
    """Something a channel passed on: `seq` is its number in the database, None for a note."""

    n: int
    seq: int | None
    data: bytes


class _Ring(NamedTuple):
    """One bell: what it is about, and a note to pass on."""

    topic: str
    note: Any = None


class Channel:
    """One topic, watched by many in this process: entries are read once and handed to everybody."""

    def __init__(self, read: Read, start: int) -> None:
        self.watchers = 0
        self._read = read
        self._seq = start
        self._n = 0
        self._kept: deque[Entry] = deque(maxlen=_KEPT)
        self._rung = asyncio.Event()
        self._news = asyncio.Event()

    def ring(self, note: Any = None) -> None:
        """Say that something happened; a note is passed on as it is."""
        if note is None:
            self._rung.set()
        else:
            self._keep(None, encoded("note", note))
            self._wake()

    async def watch(self, after: int | None) -> AsyncGenerator[bytes, None]:
        """Yield encoded events after number `after` (None: from now on) as they come, those of one moment in one piece, and b"" when
        nothing came for a while.
        """
        n, upto = self._n, self._seq
        seen = upto if after is None else after
        while True:
            while seen < upto:
                rows = await self._read(seen)
                if not rows:
                    break
                seen = rows[-1][0]
                yield b"".join(data for _, data in rows)
            if self._kept and self._kept[0].n > n + 1:  # too slow: what was dropped is read again
                n, upto = self._n, self._seq
                continue
            fresh = [self._kept[i] for i in range(n - self._n, 0)]  # the last so many: numbers have no gaps
            n = self._n
            if data := b"".join(e.data for e in fresh if e.seq is None or e.seq > seen):
                seen = max((e.seq for e in fresh if e.seq is not None), default=seen)
                yield data
            if n == self._n:
                await self._news.wait()
                if n == self._n:
                    yield b""

    async def work(self) -> None:
        """Read what is new whenever it rings, and look by itself now and then; runs until it is cancelled."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._rung.wait(), LOOK_EVERY_S)
            self._rung.clear()
            try:
                await self._look()
            except (Unavailable, OSError):
                await asyncio.sleep(_AGAIN_S)
                self._rung.set()
            self._wake()

    async def _look(self) -> None:
        while rows := await self._read(self._seq):
            for seq, data in rows:
                self._seq = seq
                self._keep(seq, data)
            if len(rows) < MANY:
                break  # whatever came meanwhile rings again

    def _keep(self, seq: int | None, data: bytes) -> None:
        self._n += 1
        self._kept.append(Entry(self._n, seq, data))

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class Bells:
    """The bells of one database in this process."""

    def __init__(self, database: Database) -> None:
        self._database = ref(database)
        self._me = readable_code(10)
        self._channels: dict[str, tuple[Channel, asyncio.Task[None]]] = {}
        self._out: list[_Ring] = []
        self._sending: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None

    def ring(self, topic: str, note: Any = None) -> None:
        """Tell everybody who watches the topic, here now and in other processes soon; never raises, never waits."""
        self._ring_here(topic, note)
        self._out.append(_Ring(topic, note))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())

    def _ring_here(self, topic: str, note: Any) -> None:
        found = self._channels.get(topic)
        if found is not None:
            found[0].ring(note)

    async def watch(
        self, topic: str, read: Read, after: int | None, start: Callable[[], Awaitable[int]]
    ) -> AsyncGenerator[bytes, None]:
        """Yield a topic's events after number `after`, for ever; see `Channel.watch`. `start` returns its present number."""
        channel = await self._join(topic, read, start)
        try:
            async for data in channel.watch(after):
                yield data
        finally:
            self._leave(topic, channel)

    async def _join(self, topic: str, read: Read, start: Callable[[], Awaitable[int]]) -> Channel:
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        if topic not in self._channels:
            channel = Channel(read, await start())
            if topic not in self._channels:  # nobody was faster while `start` asked
                self._channels[topic] = channel, asyncio.create_task(channel.work())
                channel.ring()  # what came since `start` asked
        found = self._channels[topic][0]
        found.watchers += 1
        return found

    def _leave(self, topic: str, channel: Channel) -> None:
        channel.watchers -= 1
        if channel.watchers == 0:
            self._channels.pop(topic)[1].cancel()
        if not self._channels and self._listening is not None:
            self._listening.cancel()
            self._listening = None

    async def _send(self) -> None:
        """NOTIFY for all that rang meanwhile; a process that misses it looks by itself after a while."""
        while self._out:
            await asyncio.sleep(_GATHER_S)
            rings, self._out = list(dict.fromkeys(self._out)) if _are_plain(self._out) else self._out, []
            database = self._database()
            if database is None:
                return
            try:
                async with database.connection() as connection:
                    for payload in _payloads(self._me, rings):
                        await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)
            except (Unavailable, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return

    async def _listen(self) -> None:
        """Hear the bells of other processes for as long as somebody watches here."""
        while (database := self._database()) is not None:
            try:
                async with database.own_connection() as connection:
                    lost = asyncio.Event()
                    connection.add_termination_listener(lambda *_, lost=lost: lost.set())
                    await connection.add_listener(CHANNEL, self._heard)
                    for channel, _ in list(self._channels.values()):
                        channel.ring()  # what rang while nobody listened
                    del database
                    await lost.wait()
            except Exception as error:  # noqa: BLE001  # the next connection may do better; a defect is reported
                if not isinstance(error, Unavailable) and not isinstance(translate(error), Unavailable):
                    _log.error("live.listener_failed", exc_info=error)
            await asyncio.sleep(_AGAIN_S)

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: str) -> None:
        sender, rings = msgspec.json.decode(payload, type=tuple[str, list[tuple[str, Any]]])
        if sender != self._me:
            for topic, note in rings:
                self._ring_here(topic, note)


def _are_plain(rings: list[_Ring]) -> bool:
    return all(ring.note is None for ring in rings)


def _payloads(sender: str, rings: list[_Ring]) -> list[str]:
    """Return rings as texts that PostgreSQL takes."""
    batches: list[list[_Ring]] = [[]]
    size = 0
    for ring in rings:
        length = len(msgspec.json.encode(ring)) + 1
        if batches[-1] and size + length > _MOST_PAYLOAD:
            batches.append([])
            size = 0
        batches[-1].append(ring)
        size += length
    return [msgspec.json.encode((sender, batch)).decode() for batch in batches if batch]


_bells: WeakKeyDictionary[Database, Bells] = WeakKeyDictionary()


def bells_of(database: Database) -> Bells:
    """Return the bells of a database."""
    found = _bells.get(database)
    if found is None:
        found = _bells[database] = Bells(database)
    return found


def ring_after_commit(tx: Transaction, *topics: str, note: Any = None) -> None:
    """Ring these topics once the transaction has committed; never when it rolls back."""

    async def ring() -> None:
        bells = bells_of(tx.database)
        for topic in topics:
            bells.ring(topic, note)

    tx.after_commit(ring)


def encoded(name: str, data: Any, seq: int | None = None) -> bytes:
    """Return one server-sent event: its name, its number where it has one, its data as JSON on one line."""
    number = f"id: {seq}\n" if seq is not None else ""
    return f"{number}event: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"

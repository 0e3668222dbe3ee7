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
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, Final, NamedTuple, Self
from weakref import WeakKeyDictionary, ref

import asyncpg
import msgspec
import structlog

from tradepost.core.database import Database, Transaction, translate
from tradepost.core.errors import Unavailable
from tradepost.core.ids import readable_code

LOOK_EVERY_S: Final = 15.0
CHANNEL: Final = "tradepost_live"
_LOOKS: Final = 15  # each channel's is one of so many, evenly spread
_GATHER_S: Final = 0.005
_MOST_PAYLOAD: Final = 7_000  # PostgreSQL takes 8,000 bytes
_KEPT: Final = 256
_AGAIN_S: Final = 1.0
# Telling somebody costs some 15 µs here and in the server's threads: so much for each leaves half the time for everything else.
_PAUSE_EACH_S: Final = 0.000_03
_MANY_FOLLOW: Final = 100
MANY: Final = 100
_log = structlog.get_logger()


class Entry:
    """Something a channel passes on: `seq` is its number in the database, None for a note. Encoded once, however many watch."""

    __slots__ = ("_data", "_event", "_frame", "name", "seq")

    def __init__(self, name: str, data: Any, seq: int | None = None) -> None:
        self.name, self.seq = name, seq
        self._data = msgspec.json.encode(data)
        self._event: bytes | None = None
        self._frame: str | None = None

    @property
    def event(self) -> bytes:
        """The entry as a server-sent event: its number where it has one, its name, its data as JSON on one line."""
        if self._event is None:
            number = f"id: {self.seq}\n" if self.seq is not None else ""
            self._event = f"{number}event: {self.name}\ndata: ".encode() + self._data + b"\n\n"
        return self._event

    @property
    def frame(self) -> str:
        """The entry as a WebSocket's text: one JSON object that says the same."""
        if self._frame is None:
            number = f'"id":{self.seq},' if self.seq is not None else ""
            self._frame = f'{{{number}"event":"{self.name}","data":{self._data.decode()}}}'
        return self._frame


class Moment:
    """What a channel passes on at one moment, to all who watch: entries, or none for a sign that it is alive.

    `made` is what those who pass it on made of it, by kind of line: once, however many they are.
    """

    __slots__ = ("at", "entries", "first", "last", "made", "n")

    def __init__(self, entries: list[Entry], n: int, at: float) -> None:
        self.entries = entries
        self.n = n
        self.at = at
        numbers = [entry.seq for entry in entries if entry.seq is not None]
        self.first = numbers[0] if numbers else None
        self.last = numbers[-1] if numbers else None
        self.made: dict[type, Any] = {}

    def after(self, seq: int) -> "Moment":
        """Return what of it comes after a number, and all that has none."""
        return Moment([e for e in self.entries if e.seq is None or e.seq > seq], self.n, self.at)


Hear = Callable[[Moment], bool]
"""Takes a moment at once, or returns that it cannot."""
Read = Callable[[int], Awaitable[list[Entry]]]
"""Returns numbered entries after a number in order: `MANY` at least where there are so many."""
Start = Callable[[], Awaitable[int]]
Told = Callable[[int], None]


class _Ring(NamedTuple):
    """One bell: what it is about, and a note to pass on."""

    topic: str
    note: Any = None


class Channel:
    """One topic, watched by many in this process: entries are read once and handed to everybody.

    Thousands are open at once and quiet: one that is has neither a task nor a timer of its own.
    """

    __slots__ = (
        "_again", "_is_quiet", "_kept", "_later", "_looking", "_told_at", "_untold", "_waiting", "following", "n", "read", "seq", "watchers"
    )  # fmt: skip

    def __init__(self, read: Read, start: int) -> None:
        self.watchers = 0
        self.read = read
        self.seq = start
        self.n = 0
        self.following: dict[Watch, Hear] = {}
        self._kept: list[Entry] = []
        self._untold: list[Entry] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._looking: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._told_at = 0.0
        self._again = self._is_quiet = False

    def ring(self, note: Any = None) -> None:
        """Say that something happened; a note is passed on as it is."""
        if note is not None:
            self._keep([Entry("note", note)])
            self._wake()
        elif self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look(), context=Context())
        else:
            self._again = True

    def give(self, entries: list[Entry]) -> None:
        """Pass on what was just committed with these numbers; where some before it is not here yet, all of it is read."""
        if self._looking is None and entries[0].seq == self.seq + 1:
            self.seq = entries[-1].seq or self.seq
            self._keep(entries)
            self._wake()
        else:
            self.ring()

    def look_by_itself(self) -> None:
        """Look although nobody rang, and forget what everybody has heard."""
        if self._is_quiet:
            self._kept = []
        self._is_quiet = True
        self.ring()

    def fresh(self, n: int) -> list[Entry] | None:
        """Return what was passed on after the first `n`, None where some of it is not kept any more."""
        if n == self.n:
            return []
        return self._kept[n - self.n :] if self.n - n <= len(self._kept) else None

    async def news(self) -> None:
        """Wait until something was passed on, or was looked for in vain."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def stop(self) -> None:
        """Look no more: nobody watches."""
        if self._looking is not None:
            self._looking.cancel()
        if self._later is not None:
            self._later.cancel()

    async def _look(self) -> None:
        """Read what is new, once more whenever it rang meanwhile."""
        try:
            self._again = True
            while self._again:
                self._again = False
                try:
                    await self._take()
                except (Unavailable, OSError):
                    await asyncio.sleep(_AGAIN_S)
                    self._again = True
                self._wake()
        finally:
            self._looking = None

    async def _take(self) -> None:
        while rows := await self.read(self.seq):
            self.seq = rows[-1].seq or self.seq
            self._keep(rows)
            if len(rows) < MANY:
                break  # whatever came meanwhile rings again

    def _keep(self, entries: list[Entry]) -> None:
        self._is_quiet = False
        self.n += len(entries)
        self._kept += entries
        self._untold += entries
        if len(self._kept) > 2 * _KEPT:
            del self._kept[:-_KEPT]

    def _wake(self) -> None:
        """Tell everybody now, or where they are many and were told a moment ago, soon and with what comes until then."""
        loop = asyncio.get_running_loop()
        pause = len(self.following) * _PAUSE_EACH_S if len(self.following) > _MANY_FOLLOW else 0.0
        if self._later is None and (wait := self._told_at + pause - loop.time()) > 0:
            self._later = loop.call_later(wait, self._tell)
        elif self._later is None:
            self._tell()

    def _tell(self) -> None:
        self._later = None
        self._told_at = asyncio.get_running_loop().time()
        untold, self._untold = self._untold, []
        moment = Moment(untold, self.n, self._told_at)
        for watch, hear in list(self.following.items()):
            watch.pass_on(moment, hear)
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


class Watch:
    """One who watches a topic: yields entries as they come, those of one moment together, and none when nothing came for a while.

    Begins with the first question and ends with `aclose`. An object rather than nested generators, because each open connection
    holds one.
    """

    __slots__ = ("_after", "_bells", "_channel", "_n", "_read", "_start", "_told", "_topic", "_upto")

    def __init__(
        self, bells: "Bells", topic: str, read: Read, after: int | None, start: Start, told: Told | None
    ) -> None:
        self._bells, self._topic, self._read, self._start, self._told = bells, topic, read, start, told
        self._after = after
        self._channel: Channel | None = None
        self._n = self._upto = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Entry]:
        """Return what came since the last question, waiting for it if need be."""
        found = await self.missed()
        if not found and self._channel is not None:
            await self._channel.news()
            found = await self.missed()
        return found

    async def missed(self) -> list[Entry]:
        """Return what came since the last question without waiting for more; none when everything is told."""
        channel = self._channel or await self._begin()
        while True:
            seen = self._after or 0
            if seen < self._upto:
                rows = await self._read(seen)
                if rows:
                    self._after = rows[-1].seq
                    return rows
                self._upto = seen
            fresh = channel.fresh(self._n)
            if fresh is None:  # too slow: what was dropped is read again
                self._n, self._upto = channel.n, channel.seq
                continue
            self._n = channel.n
            found = [e for e in fresh if e.seq is None or e.seq > seen]
            if found:
                self._after = max((e.seq for e in found if e.seq is not None), default=seen)
            return found

    def follow(self, hear: Hear) -> None:
        """From now on have each moment passed to `hear` as it comes, until that says no: then ask what was missed.

        Right after `missed` returned nothing. Costs a function call for each moment, where waiting for it costs a turn of a task.
        """
        if self._channel is not None:
            self._channel.following[self] = hear

    def pass_on(self, moment: Moment, hear: Hear) -> None:
        """Have a moment heard; for `Channel`."""
        seen = self._after or 0
        if moment.first is not None and moment.first <= seen:
            moment = moment.after(seen)
            if not moment.entries:
                self._n = moment.n
                return
        if hear(moment):
            self._n = moment.n
            self._after = moment.last or self._after
        elif self._channel is not None:
            self._channel.following.pop(self, None)

    async def _begin(self) -> Channel:
        channel = await self._bells.join(self._topic, self._read, self._start, self._told)
        self._channel, self._n, self._upto = channel, channel.n, channel.seq
        if self._after is None:
            self._after = channel.seq
        return channel

    async def aclose(self) -> None:
        """Watch no more; again does nothing."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.following.pop(self, None)
            self._bells.leave(self._topic, channel, self._told)


class Bells:
    """The bells of one database in this process."""

    def __init__(self, database: Database) -> None:
        self._database = ref(database)
        self._me = readable_code(10)
        self._channels: dict[str, Channel] = {}
        self._out: list[_Ring] = []
        self._sending: asyncio.Task[None] | None = None
        self._tending: tuple[asyncio.Task[None], ...] = ()

    def ring(self, topic: str, note: Any = None) -> None:
        """Tell everybody who watches the topic, here now and in other processes soon; never raises, never waits."""
        self._ring_here(topic, note)
        self._ring_elsewhere(topic, note)

    def give(self, topic: str, entries: list[Entry]) -> None:
        """Pass on to everybody who watches the topic what was just committed with these numbers, one after the other; never raises, never waits.

        Here nobody reads it again; other processes hear the bell and do.
        """
        found = self._channels.get(topic)
        if found is not None:
            found.give(entries)
        self._ring_elsewhere(topic, None)

    def _ring_here(self, topic: str, note: Any) -> None:
        found = self._channels.get(topic)
        if found is not None:
            found.ring(note)

    def _ring_elsewhere(self, topic: str, note: Any) -> None:
        self._out.append(_Ring(topic, note))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send(), context=Context())

    def watch(self, topic: str, read: Read, after: int | None, start: Start, told: Told | None = None) -> Watch:
        """Return a watch of a topic's entries after number `after` (None: from now on).

        `start` returns its present number; `told` is called with how many watch it here whenever that changes.
        """
        return Watch(self, topic, read, after, start, told)

    async def join(self, topic: str, read: Read, start: Start, told: Told | None) -> Channel:
        """Return a topic's channel with one more watcher; for `Watch`."""
        if not self._tending:
            loop = asyncio.get_running_loop()
            self._tending = tuple(
                loop.create_task(work, context=Context()) for work in (self._listen(), self._look_now_and_then())
            )
        if topic not in self._channels:
            channel = Channel(read, await start())
            if topic not in self._channels:  # nobody was faster while `start` asked
                self._channels[topic] = channel
                channel.ring()  # what came since `start` asked
        found = self._channels[topic]
        found.watchers += 1
        if told is not None:
            told(found.watchers)
        return found

    def leave(self, topic: str, channel: Channel, told: Told | None) -> None:
        """Take a watcher off a channel that `join` returned; for `Watch`."""
        channel.watchers -= 1
        if told is not None:
            told(channel.watchers)
        if channel.watchers == 0:
            self._channels.pop(topic).stop()
        if not self._channels:
            for task in self._tending:
                task.cancel()
            self._tending = ()

    async def _look_now_and_then(self) -> None:
        """Have every channel look for itself within `LOOK_EVERY_S`, a part of them at a time."""
        while True:
            channels = list(self._channels.values())
            for part in range(_LOOKS):
                await asyncio.sleep(LOOK_EVERY_S / _LOOKS)
                for channel in channels[part::_LOOKS]:
                    if channel.watchers:
                        channel.look_by_itself()

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
                    for channel in list(self._channels.values()):
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


def give_after_commit(tx: Transaction, topic: str, *entries: Entry) -> None:
    """Pass on what this transaction wrote, once it has committed; never when it rolls back. Entries come with their numbers, in order."""

    async def give() -> None:
        bells_of(tx.database).give(topic, list(entries))

    tx.after_commit(give)

"""Read replicas: which of them may answer a read, and who may be answered by one.

Nobody is unless they said so (`reading_after`), because only a page or an answer to show may be a moment old; jobs, commands and
whatever fills a cache read the primary. Promises that a replica which has not replayed what its asker last wrote is not asked, nor
one that lags more than the settings allow, was promoted, or does not answer; each such change is one line in the log.
"""

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from urllib.parse import urlsplit

import asyncpg
import structlog

from tradepost.core.pools import Pools

EVERY_S = 0.5
_LONGEST_S = 2.0
_SAMPLES = 240
_PAGE, _PAGE_HEADS = 8192, (24, 40)
# Where commits do not wait for the disk, what was committed may lie beyond what is there for a replica to have.
POSITION = """
    SELECT (CASE current_setting('synchronous_commit') WHEN 'off' THEN pg_current_wal_insert_lsn()
            ELSE pg_current_wal_flush_lsn() END - '0/0')::bigint
"""
_THERE = "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint"
_REPLAYED = """
    SELECT pg_is_in_recovery(), (pg_last_wal_replay_lsn() - '0/0')::bigint,
           extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8
"""
_UNANSWERED = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError)
_log = structlog.get_logger()


class Reading:
    """What the reads of a request may miss: everything after position `seen`, and nothing once it has `wrote` or a replica has failed it."""

    __slots__ = ("failed", "seen", "wrote")

    def __init__(self, seen: int) -> None:
        self.seen = seen
        self.wrote = False
        self.failed = False

    @property
    def may_repeat(self) -> bool:
        """Whether doing the same once more would find what a replica failed to say, and change nothing twice."""
        return self.failed and not self.wrote


_reading: ContextVar[Reading | None] = ContextVar("reading", default=None)


@contextmanager
def reading_after(seen: int) -> Iterator[Reading]:
    """Within the block, this task's reads may come from a replica that has replayed at least up to a position."""
    reading = Reading(seen)
    token = _reading.set(reading)
    try:
        yield reading
    finally:
        _reading.reset(token)


@contextmanager
def primary_only() -> Iterator[None]:
    """Within the block, this task's reads come from the primary: for what is kept in a cache that is told of changes."""
    token = _reading.set(None)
    try:
        yield
    finally:
        _reading.reset(token)


def note_write() -> None:
    """Remember that this request has changed something: what it reads from now on comes from the primary."""
    reading = _reading.get()
    if reading is not None:
        reading.wrote = True


def note_failure() -> None:
    """Remember that a replica broke off what this request read: what it reads from now on comes from the primary."""
    reading = _reading.get()
    if reading is not None:
        reading.failed = True


class _Asker:
    """One connection beside the pools, so that a probe never waits behind the requests."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: asyncpg.Connection | None = None

    async def ask(self, sql: str) -> asyncpg.Record:
        """Ask, connecting where needed; raises one of `_UNANSWERED`."""
        try:
            async with asyncio.timeout(_LONGEST_S):
                if self._connection is None:
                    self._connection = await asyncpg.connect(self._dsn, statement_cache_size=0)
                return await self._connection.fetchrow(sql)
        except BaseException:
            self.forget()
            raise

    def forget(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


class Replica:
    """One replica, as the last probe found it. `lag_s`: None where nobody knows; `why`: it is left out, "" where it is not."""

    def __init__(self, dsn: str, pools: Pools) -> None:
        self.name = _shown(dsn)
        self.pools = pools
        self.replayed = 0
        self.lag_s: float | None = None
        self.why = "it was not asked yet"
        self.asker = _Asker(dsn)

    def judge(self, why: str) -> None:
        """Take it in or leave it out, and say so where that changes."""
        if why and (not self.why or self.why == "it was not asked yet"):
            _log.warning("replica.left_out", replica=self.name, why=why)
        elif self.why and not why:
            _log.info("replica.in_use", replica=self.name, lag_s=self.lag_s)
        self.why = why


class Replicas:
    """The replicas of one store's database. Probing begins with the first who might read from one."""

    def __init__(
        self, primary: str, replicas: Sequence[Replica], most_lag_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.all = tuple(replicas)
        self._primary = _Asker(primary)
        self._most_lag_s = most_lag_s
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)
        self._turn = 0
        self._task: asyncio.Task[None] | None = None

    def pick(self) -> Replica | None:
        """Return a replica that may answer this task now, each in turn; None for the primary."""
        reading = _reading.get()
        if reading is None or reading.wrote or reading.failed:
            return None
        if self._task is None:
            self._task = asyncio.create_task(self._probe_for_ever(), context=contextvars.Context())
        fit = [replica for replica in self.all if not replica.why and replica.replayed >= reading.seen]
        self._turn += 1
        return fit[self._turn % len(fit)] if fit else None

    async def probe(self) -> None:
        """Ask the primary where it is, and each replica how far it has come."""
        with suppress(*_UNANSWERED):  # the primary is away: the replicas are measured by what it last said
            self._samples.append((self._clock(), (await self._primary.ask(_THERE))[0]))
        await asyncio.gather(*(self._look_at(replica) for replica in self.all))

    async def _look_at(self, replica: Replica) -> None:
        try:
            is_replica, replayed, age_s = await replica.asker.ask(_REPLAYED)
        except _UNANSWERED as error:
            replica.lag_s = None
            replica.judge(f"it does not answer ({type(error).__name__})")
            return
        if not is_replica:
            replica.judge("it is no replica any more")
            return
        replica.replayed = replayed or 0
        replica.lag_s = self._lag(replica.replayed, age_s)
        behind = replica.lag_s is None or replica.lag_s > self._most_lag_s
        replica.judge(f"it is {_in_words(replica.lag_s)} behind" if behind else "")

    def _lag(self, replayed: int, age_s: float | None) -> float | None:
        """Return for how long the replica has lacked something; the age of its last commit where we have not watched for long enough."""
        if not self._samples or self._samples[-1][1] <= replayed:
            return 0.0 if self._samples else None
        since = [at for at, position in self._samples if position > replayed]
        watched = self._clock() - since[0]
        return watched if since[0] != self._samples[0][0] else max(watched, age_s or 0.0)

    async def _probe_for_ever(self) -> None:
        while True:
            await self.probe()
            await asyncio.sleep(EVERY_S)

    async def close(self) -> None:
        """Stop probing and close the replicas' pools."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._primary.forget()
        for replica in self.all:
            replica.asker.forget()
            await replica.pools.close()


def end_of(position: int) -> int:
    """Return where the last record ends: at the start of a page the next one begins after the page's head, which nobody replays."""
    return position - position % _PAGE if position % _PAGE in _PAGE_HEADS else position


def _in_words(seconds: float | None) -> str:
    if seconds is None:
        return "nobody knows how far"
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} seconds"


def _shown(dsn: str) -> str:
    """Return a server's address as a log may show it."""
    parts = urlsplit(dsn)
    return f"{parts.netloc.rpartition('@')[2] or parts.query.partition('&')[0]}{parts.path}"

"""What may be forgotten at any moment: copies of slow answers, and counters for rate limits, in Redis or Valkey.

Promises that a cache which is down is only slower, never an error: reads find nothing, writes are dropped, counters count in
this process, deletions are made up for when it is back. It costs one short timeout every few seconds at most, because a breaker
keeps everybody else from trying.
Values are JSON. Keys are text; a store's prefix keeps stores that share a server apart. No truth is kept here.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Final, Self, TypeVar

import msgspec
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tradepost.core.ids import secret_token
from tradepost.core.replicas import primary_only
from tradepost.core.together import Together

T = TypeVar("T")

PAUSE_S: Final = 3.0
_LOCK_MS: Final = 3_000
_LOOK_AGAIN_S: Final = 0.02
_TIMES_JOINED: Final = 3
_MOST_OWED: Final = 10_000
_MOST_AT_ONCE: Final = 500
_FAILURES: Final = (RedisError, OSError, TimeoutError)
_log = structlog.get_logger()

# Redis 6 has no EXPIRE … NX, and two commands could leave a counter that never ends: one script for both.
_COUNT: Final = """
local counted = {}
for i, key in ipairs(KEYS) do
    local n = redis.call('INCR', key)
    if n == 1 then redis.call('PEXPIRE', key, ARGV[i]) end
    counted[i] = {n, redis.call('PTTL', key)}
end
return counted
"""
_LEASE: Final = """
redis.call('DEL', KEYS[1])
return redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2])
"""
# Only who still holds the lock may write: a value deleted while it was being made again is already out of date.
_KEEP: Final = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1
"""


class HitRate(msgspec.Struct, frozen=True):
    """How often a kind of key (what stands before the colon) was asked for since the process began, and was there."""

    kind: str
    asked: int
    found: int

    @property
    def percent(self) -> int:
        """How many of a hundred were there."""
        return round(100 * self.found / self.asked) if self.asked else 0


class Cache:
    """A connection to the cache. Made by `open`; none of its methods raises because the cache is down."""

    def __init__(self, client: Redis, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._count_script = client.register_script(_COUNT)
        self._lease_script = client.register_script(_LEASE)
        self._keep_script = client.register_script(_KEEP)
        self._quiet_until = 0.0
        self._up = True
        self._local = _LocalCounters()
        self._owed: set[str] = set()
        self._asked: dict[str, list[int]] = {}
        self._making: dict[str, asyncio.Task[Any]] = {}
        self._finished = 0

    @classmethod
    async def open(cls, url: str, *, timeout_ms: int = 250, prefix: str = "") -> Self:
        """Return the cache at `redis://…`, `rediss://…` or `unix://…`; it may be down and come up later."""
        seconds = timeout_ms / 1000
        client = Redis.from_url(
            url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=Retry(NoBackoff(), 0), protocol=2
        )
        cache = cls(client, prefix)
        await cache.ping()
        return cache

    async def close(self) -> None:
        """Close every connection."""
        for task in list(self._making.values()):
            task.cancel()
        await self._client.aclose()

    @property
    def is_up(self) -> bool:
        """Whether the last try reached the cache."""
        return self._up

    async def ping(self) -> bool:
        """Try to reach the cache, unless it was found down a moment ago; return whether it is up."""
        return bool(await self._try(self._client.ping, otherwise=False))

    async def get(self, key: str, *, into: type[T], still: Callable[[T], Awaitable[bool]] | None = None) -> T | None:
        """Return the value under the key, or None where there is none, or one that is not an `into` (any more).

        A value that `still` says no to is as good as none, and is counted so.
        """
        asked = self._asked.setdefault(key.partition(":")[0], [0, 0])
        asked[0] += 1
        data = await _GETS.ask(self, self._prefix + key)
        if data is None:
            return None
        try:
            value: T = _decoder(into).decode(data)
        except msgspec.DecodeError:
            return None
        if still is not None and not await still(value):
            return None
        asked[1] += 1
        return value

    def rates(self) -> list["HitRate"]:
        """Return how often each kind of key was asked for by this process, and how often it was there."""
        return [HitRate(kind, asked, found) for kind, (asked, found) in sorted(self._asked.items())]

    async def set(self, key: str, value: Any, ttl_s: float) -> None:
        """Keep a value for so many seconds at most."""
        data = msgspec.json.encode(value)
        await self._try(lambda: self._client.set(self._prefix + key, data, px=_ms(ttl_s)), otherwise=None)

    async def delete(self, *keys: str) -> None:
        """Forget values, also those that somebody is making at this moment.

        A cache that does not answer now forgets them before it answers this process anything else; others may see them until
        then, so what must not be believed for long needs a short life.
        """
        names = [name for key in keys for name in (self._prefix + key, self._lock_of(key))]
        for first in range(0, len(names), _MOST_AT_ONCE):
            some = names[first : first + _MOST_AT_ONCE]
            if await self._try(partial(self._client.delete, *some), otherwise=None) is None:
                self._owe(some)

    def _owe(self, names: list[str]) -> None:
        if len(self._owed) < _MOST_OWED:
            self._owed.update(names)
        else:
            _log.warning("cache.deletions_lost", keys=len(names))

    async def count(self, key: str, ttl_s: float) -> int:
        """Add one to a counter and return it; a counter starts over `ttl_s` seconds after its first one."""
        return (await self.count_window(key, ttl_s))[0]

    async def count_window(self, key: str, ttl_s: float) -> tuple[int, float]:
        """Add one to a counter; return it, and in how many seconds it starts over."""
        counted = await _COUNTS.ask(self, (self._prefix + key, _ms(ttl_s)))
        return self._local.count(key, ttl_s) if counted is None else (int(counted[0]), max(0, int(counted[1])) / 1000)

    async def get_all(self, names: list[str]) -> list[bytes | Exception | None]:
        """Return what is under these whole names; for `get`, whose questions of one moment go together."""
        nothing = [None] * len(names)
        return list(await self._try(lambda: self._client.mget(names), otherwise=nothing))

    async def count_all(self, wanted: list[tuple[str, int]]) -> list[Sequence[int] | Exception | None]:
        """Count each of these whole names, with its milliseconds; for `count_window`."""
        names, lives = [name for name, _ in wanted], [ms for _, ms in wanted]
        nothing = [None] * len(names)
        return list(await self._try(lambda: self._count_script(keys=names, args=lives), otherwise=nothing))

    async def lease(self, key: str) -> str | None:
        """Drop the value and announce that one is about to read it afresh; None when somebody else is doing so.

        For what must not be served after its `delete`, not even to those who ask while it is read: nobody waits for another.
        """
        token = secret_token()
        names = [self._prefix + key, self._lock_of(key)]
        held = await self._try(lambda: self._lease_script(keys=names, args=[token, _LOCK_MS]), otherwise=None)
        return token if held else None

    async def keep(self, key: str, value: Any, lease: str | None, *, ttl_s: float) -> None:
        """Keep a value that was read under a lease, unless a `delete` came in between or there was no lease."""
        if lease is None:
            return
        names = [self._prefix + key, self._lock_of(key)]
        data = msgspec.json.encode(value)
        await self._try(lambda: self._keep_script(keys=names, args=[lease, data, _ms(ttl_s)]), otherwise=None)

    async def get_or_make(
        self, key: str, *, into: type[T], ttl_s: float, make: Callable[[], Awaitable[T]],
        still: Callable[[T], Awaitable[bool]] | None = None,
    ) -> T:  # fmt: skip
        """Return the value under the key; where there is none, make it once for everybody who asks meanwhile, and keep it.

        With `still`, nobody gets a value that it says no to: neither one that was kept, nor one that another had begun to
        make before. Errors of `make` reach all who wait for it and are not kept. Two processes make a value at once only
        when the first takes longer than three seconds, or when the cache is down.
        """
        before = self._finished
        found = await self.get(key, into=into, still=still)
        if found is None and self._finished != before:  # it may have been kept after it was looked for
            found = await self.get(key, into=into, still=still)
        if found is not None:
            return found
        for _ in range(_TIMES_JOINED):
            task = self._making.get(key)
            is_own = task is None
            if task is None:
                task = self._making[key] = asyncio.create_task(self._make(key, into, ttl_s, make, still))
                task.add_done_callback(lambda done: self._made(key, done))
            value: T = await asyncio.shield(task)  # whoever asked first may hang up; the others still wait
            if is_own or still is None or await still(value):
                return value
        return await make()  # it changes faster than it is made; at least this one was begun after it was asked for

    def _made(self, key: str, task: "asyncio.Task[Any]") -> None:
        self._making.pop(key, None)
        self._finished += 1
        if not task.cancelled():
            task.exception()  # looked at here, so that one nobody waits for any more is not reported as lost

    async def _make(
        self, key: str, into: type[T], ttl_s: float, make: Callable[[], Awaitable[T]],
        still: Callable[[T], Awaitable[bool]] | None,
    ) -> T:  # fmt: skip
        token = secret_token()
        deadline = time.monotonic() + _LOCK_MS / 1000
        lock = self._lock_of(key)
        while not await self._try(
            lambda: self._client.set(lock, token, nx=True, px=_LOCK_MS), otherwise=True
        ):  # another process is making it
            await asyncio.sleep(_LOOK_AGAIN_S)
            found = await self.get(key, into=into, still=still)
            if found is not None:
                return found
            if time.monotonic() > deadline:
                break
        try:
            with primary_only():  # a replica may lag behind the change that had the key forgotten
                value = await make()
        except BaseException:
            await self._try(lambda: self._client.delete(lock), otherwise=None)
            raise
        await self.keep(key, value, token, ttl_s=ttl_s)
        return value

    def _lock_of(self, key: str) -> str:
        return f"{self._prefix}{key}:making"

    async def _try(self, command: Callable[[], Awaitable[Any]], *, otherwise: Any) -> Any:
        """Run a command unless the breaker is open; after a failure it opens for everybody but one at a time."""
        now = time.monotonic()
        if now < self._quiet_until:
            return otherwise
        if not self._up:
            self._quiet_until = now + PAUSE_S
        try:
            if self._owed:
                owed = list(self._owed)
                await self._client.delete(*owed)
                self._owed.difference_update(owed)
            answer = await command()
        except _FAILURES as error:
            self._quiet_until = time.monotonic() + PAUSE_S
            if self._up:
                self._up = False
                _log.warning("cache.down", error=str(error) or type(error).__name__)
            return otherwise
        if not self._up:
            self._up = True
            self._quiet_until = 0.0
            _log.info("cache.up")
        return answer


_GETS: Final = Together(Cache.get_all)
_COUNTS: Final = Together(Cache.count_all)


class _LocalCounters:
    """Counters of this process, for as long as the cache is down: a password guesser is still slowed."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._counters: dict[str, tuple[int, float]] = {}

    def count(self, key: str, ttl_s: float) -> tuple[int, float]:
        now = time.monotonic()
        if len(self._counters) >= self._most:
            self._counters = {k: c for k, c in self._counters.items() if c[1] > now}
            if len(self._counters) >= self._most:
                self._counters.clear()
        counted, ends = self._counters.get(key, (0, 0.0))
        if ends <= now:
            counted, ends = 0, now + ttl_s
        self._counters[key] = (counted + 1, ends)
        return counted + 1, ends - now


def _new_decoder(into: Any) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(into)


_decoder: Callable[[Any], "msgspec.json.Decoder[Any]"] = lru_cache(maxsize=256)(_new_decoder)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))

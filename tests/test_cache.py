"""The cache: what it keeps, what it counts, and that nobody notices when it is away."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.conftest import Servers
from tradepost.core import cache as cache_module
from tradepost.core.cache import Cache
from tradepost.core.embedded import embedded_valkey


class Card(msgspec.Struct, frozen=True):
    title: str
    price_minor: int


MAIZE = Card("Maize", 85)


@pytest_asyncio.fixture
async def cache(servers: Servers) -> AsyncIterator[Cache]:
    raw = Redis.from_url(servers.cache_url)
    await raw.flushall()
    await raw.aclose()
    opened = await Cache.open(servers.cache_url, timeout_ms=5000, prefix="market:")
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def raw(servers: Servers) -> AsyncIterator[Redis]:
    client = Redis.from_url(servers.cache_url)
    yield client
    await client.aclose()


async def test_a_value_comes_back_as_what_it_was(cache: Cache) -> None:
    assert cache.is_up
    assert await cache.get("card:1", into=Card) is None
    await cache.set("card:1", MAIZE, ttl_s=60)
    await cache.set("cards", [MAIZE, MAIZE], ttl_s=60)
    assert await cache.get("card:1", into=Card) == MAIZE
    assert await cache.get("cards", into=list[Card]) == [MAIZE, MAIZE]


async def test_a_value_is_json_under_the_stores_prefix_and_ends(cache: Cache, raw: Redis) -> None:
    await cache.set("card:1", MAIZE, ttl_s=60)
    assert await raw.get("market:card:1") == b'{"title":"Maize","price_minor":85}'
    assert 59_000 < await raw.pttl("market:card:1") <= 60_000


async def test_stores_do_not_see_each_others_values(cache: Cache, servers: Servers) -> None:
    await cache.set("card:1", MAIZE, ttl_s=60)
    other = await Cache.open(servers.cache_url, timeout_ms=5000, prefix="bakery:")
    assert await other.get("card:1", into=Card) is None
    await other.close()


@pytest.mark.parametrize("value", [b"not json", b'{"title": 1}', b"\xff", b""])
async def test_a_value_of_another_shape_is_none(cache: Cache, raw: Redis, value: bytes) -> None:
    await raw.set("market:card:1", value)
    assert await cache.get("card:1", into=Card) is None


async def test_deleted_values_are_gone(cache: Cache) -> None:
    for key in ("a", "b", "c"):
        await cache.set(key, 1, ttl_s=60)
    await cache.delete("a", "b", "never there")
    await cache.delete()
    assert [await cache.get(key, into=int) for key in ("a", "b", "c")] == [None, None, 1]


async def test_a_counter_counts_everybody_once_and_starts_over_after_its_time(cache: Cache, raw: Redis) -> None:
    counted = await asyncio.gather(*(cache.count("rate_limit:10.0.0.1:/sign-in", 900) for _ in range(50)))
    assert sorted(counted) == list(range(1, 51))
    assert 899_000 < await raw.pttl("market:rate_limit:10.0.0.1:/sign-in") <= 900_000
    await raw.pexpire("market:rate_limit:10.0.0.1:/sign-in", 1)
    async with asyncio.timeout(10):
        while await raw.exists("market:rate_limit:10.0.0.1:/sign-in"):
            pass
    assert await cache.count("rate_limit:10.0.0.1:/sign-in", 900) == 1


async def test_a_missing_value_is_made_once_for_all_who_ask_meanwhile(cache: Cache, servers: Servers) -> None:
    """Also for those who ask in another process, which here is another cache."""
    other = await Cache.open(servers.cache_url, timeout_ms=5000, prefix="market:")
    made, release = [], asyncio.Event()

    async def make() -> Card:
        made.append(1)
        await release.wait()
        return MAIZE

    asking = [
        asyncio.create_task(c.get_or_make("card:1", into=Card, ttl_s=60, make=make))
        for c in (cache, other)
        for _ in range(20)
    ]
    async with asyncio.timeout(10):
        while not made:  # noqa: ASYNC110  # until the first is at it
            await asyncio.sleep(0.001)
    release.set()
    assert await asyncio.gather(*asking) == [MAIZE] * 40
    assert made == [1]
    assert await cache.get("card:1", into=Card) == MAIZE
    assert await other.get_or_make("card:1", into=Card, ttl_s=60, make=make) == MAIZE
    assert made == [1]
    await other.close()


async def test_an_error_of_the_maker_reaches_all_and_is_not_kept(cache: Cache) -> None:
    tries: list[int] = []
    release = asyncio.Event()

    async def make() -> Card:
        tries.append(1)
        await release.wait()
        if len(tries) == 1:
            raise LookupError("no maize")
        return MAIZE

    asking = [asyncio.create_task(cache.get_or_make("card:1", into=Card, ttl_s=60, make=make)) for _ in range(3)]
    for _ in range(100):  # round trips enough for all three to have asked
        await cache.ping()
    release.set()
    assert [str(e) for e in await asyncio.gather(*asking, return_exceptions=True)] == ["no maize"] * 3
    assert await cache.get_or_make("card:1", into=Card, ttl_s=60, make=make) == MAIZE
    assert len(tries) == 2


async def test_who_asked_first_may_leave_without_harm_to_the_others(cache: Cache) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def make() -> Card:
        started.set()
        await release.wait()
        return MAIZE

    first = asyncio.create_task(cache.get_or_make("card:1", into=Card, ttl_s=60, make=make))
    await started.wait()
    second = asyncio.create_task(cache.get_or_make("card:1", into=Card, ttl_s=60, make=make))
    await asyncio.sleep(0)
    first.cancel()
    release.set()
    assert await second == MAIZE
    assert first.cancelled() or first.cancelling()


async def test_a_value_deleted_while_it_is_made_is_not_kept(cache: Cache, servers: Servers) -> None:
    """It may have been read before the change that the deletion tells of."""
    other = await Cache.open(servers.cache_url, timeout_ms=5000, prefix="market:")

    async def make() -> Card:
        await other.delete("card:1")
        return MAIZE

    assert await cache.get_or_make("card:1", into=Card, ttl_s=60, make=make) == MAIZE
    assert await cache.get("card:1", into=Card) is None
    await other.close()


@asynccontextmanager
async def black_hole() -> AsyncIterator[tuple[str, list[int]]]:
    """Listen where a cache should be, and never answer; yield its URL and a list that grows with every connection."""
    connections: list[int] = []
    open_ones: list[Any] = []

    async def swallow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        open_ones.append(writer)

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", connections
    finally:
        server.close()
        for writer in open_ones:
            writer.close()


async def test_a_cache_that_hangs_costs_one_short_timeout_for_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "PAUSE_S", 3600.0)
    async with black_hole() as (url, connections):
        began = time.monotonic()
        cache = await Cache.open(url, timeout_ms=200)
        assert time.monotonic() - began >= 0.19
        assert not cache.is_up
        for _ in range(200):
            assert await cache.get("card:1", into=Card) is None
            await cache.set("card:1", MAIZE, ttl_s=60)
        assert not await cache.ping()
        assert len(connections) == 1
        await cache.close()


async def test_while_the_cache_is_away_it_is_tried_by_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with black_hole() as (url, connections):
        cache = await Cache.open(url, timeout_ms=50)
        monkeypatch.setattr(cache_module, "PAUSE_S", 0.0)
        cache._quiet_until = 0.0
        monkeypatch.setattr(cache_module, "PAUSE_S", 3600.0)
        before = len(connections)
        await asyncio.gather(*(cache.get("card:1", into=Card) for _ in range(50)))
        assert len(connections) - before == 1
        await cache.close()


async def test_without_a_cache_values_are_made_and_counters_count_here() -> None:
    cache = await Cache.open("redis://127.0.0.1:1/0", timeout_ms=100)
    assert not cache.is_up

    async def make() -> Card:
        return MAIZE

    assert await cache.get_or_make("card:1", into=Card, ttl_s=60, make=make) == MAIZE
    assert [await cache.count("sign-in", 900) for _ in range(3)] == [1, 2, 3]
    assert await cache.count("other", 900) == 1
    assert await cache.count("sign-in", 900) == 4
    await cache.delete("card:1")
    await cache.close()


async def connect(address: SplitResult) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.hostname:
        return await asyncio.open_connection(address.hostname, address.port)
    return await asyncio.open_unix_connection(unquote(address.path))


@asynccontextmanager
async def gate(cache_url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Put a gate in front of the cache; yield its URL and the event that is set while it is open."""
    is_open = asyncio.Event()
    is_open.set()
    tasks: list[asyncio.Task[None]] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await is_open.wait()
            writer.write(data)

    async def let_through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside = await connect(urlsplit(cache_url))
        tasks.extend((asyncio.create_task(carry(reader, inside[1])), asyncio.create_task(carry(inside[0], writer))))
        writers.extend((writer, inside[1]))

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(let_through, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", is_open
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        for writer in writers:
            writer.close()


async def test_what_was_deleted_while_the_cache_was_away_is_gone_when_it_is_back(
    servers: Servers, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "PAUSE_S", 0.0)
    async with gate(servers.cache_url) as (url, is_open):
        behind = await Cache.open(url, timeout_ms=1000, prefix="market:")
        await behind.set("card:1", MAIZE, ttl_s=60)
        assert await behind.get("card:1", into=Card) == MAIZE
        is_open.clear()
        await behind.delete("card:1")
        assert not behind.is_up
        assert await cache.get("card:1", into=Card) == MAIZE
        is_open.set()
        assert await behind.get("card:1", into=Card) is None
        assert behind.is_up
        assert await cache.get("card:1", into=Card) is None
        await behind.close()


async def test_a_cache_that_comes_back_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "PAUSE_S", 0.05)
    async with embedded_valkey(tmp_path) as server:
        cache = await Cache.open(server.url)
        await cache.set("card:1", MAIZE, ttl_s=60)
        assert await cache.get("card:1", into=Card) == MAIZE
    assert await cache.get("card:1", into=Card) is None
    assert not cache.is_up
    async with embedded_valkey(tmp_path), asyncio.timeout(20):
        while not await cache.ping():  # noqa: ASYNC110  # the breaker opens by the clock
            await asyncio.sleep(0.01)
        await cache.set("card:2", MAIZE, ttl_s=60)
        assert await cache.get("card:2", into=Card) == MAIZE
        assert cache.is_up
        await cache.close()

"""A live show: a thousand viewers and twenty comments a second; and an auction, bids on one piece as fast as they come."""

import asyncio
import re
import resource
import time
from collections import Counter
from uuid import UUID

import asyncpg
import msgspec

from benchmarks.chat import _memory_kb, send_all
from benchmarks.ground import ground
from benchmarks.load import cpu_seconds
from benchmarks.pages import server
from tradepost.core.ids import secret_token, token_hash, uuid7
from tradepost.streams.rules import Terms, replay

STORE, VIEWERS, RATE, SECONDS, PEOPLE = "souk-loop", 1_000, 20, 20.0, 40
BIDS, BIDDERS, CLIENTS = 6_000, 200, 32
_SAID = re.compile(rb'"body":"m(\d+)"')


class Viewer(asyncio.Protocol):
    """One open stream that notes when it heard which comment."""

    waits: list[float]
    sent: dict[int, float]
    times: Counter[tuple[int, int]]

    def __init__(
        self, number: int, path: str, sent: dict[int, float], waits: list[float], times: Counter[tuple[int, int]]
    ) -> None:
        self.number, self.path, self.sent, self.waits, self.times = number, path, sent, waits, times
        self.held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the show's events."""
        self.transport = transport
        transport.write(f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Note every comment in it."""
        now = time.perf_counter()
        *whole, self.held = (self.held + data).split(b"\n\n")
        for part in whole:
            found = _SAID.search(part)
            if found:
                mark = int(found[1])
                self.times[self.number, mark] += 1
                self.waits.append((now - self.sent[mark]) * 1000)


async def measure_show() -> dict[str, float]:
    """Have a thousand watch, and people comment at a steady pace."""
    _more_files()
    async with ground() as on:
        dsn = await on.store(STORE, 0)
        owner = await asyncpg.connect(on.dsn(dsn, "postgres"))
        tokens, people = await _people(owner, PEOPLE)
        stream_id = await _live(owner, people[0])
        with server("store", on.dsn(dsn), STORE, on.cache_url, str(on.home.files(STORE))) as (pid, port):
            return await _watch(port, pid, stream_id, tokens)


async def _watch(port: int, pid: int, stream_id: UUID, tokens: list[str]) -> dict[str, float]:
    sent: dict[int, float] = {}
    waits: list[float] = []
    times: Counter[tuple[int, int]] = Counter()
    loop = asyncio.get_running_loop()
    path, before = f"/api/v1/streams/{stream_id}/events?after=0", _memory_kb(pid)
    viewers = []
    for n in range(VIEWERS):
        made = await loop.create_connection(lambda n=n: Viewer(n, path, sent, waits, times), "127.0.0.1", port)  # type: ignore[misc]
        viewers.append(made)
        if n % 50 == 49:
            await asyncio.sleep(0.1)
    await asyncio.sleep(3)
    idle_kb, cpu = (_memory_kb(pid) - before) / VIEWERS, cpu_seconds(pid)
    count, began = int(RATE * SECONDS), time.perf_counter()

    def request(mark: int) -> tuple[str, str, bytes]:
        sent[mark] = time.perf_counter()
        return (
            f"/api/v1/streams/{stream_id}/comments",
            tokens[1 + mark % (PEOPLE - 1)],
            msgspec.json.encode({"body": f"m{mark}"}),
        )

    await send_all(port, range(1, count + 1), request, rate=RATE, clients=8)
    taken = time.perf_counter() - began
    await asyncio.sleep(3)
    open_still = sum(not transport.is_closing() for transport, _ in viewers)
    for transport, _ in viewers:
        transport.abort()
    waits.sort()
    return {
        "viewers": open_still,
        "idle_kb": round(idle_kb, 1),
        "deliveries_s": round(len(waits) / taken, 1),
        "p50_ms": round(waits[len(waits) // 2], 1),
        "p99_ms": round(waits[int(len(waits) * 0.99)], 1),
        "server_cpu": round((cpu_seconds(pid) - cpu) / taken, 2),
        "lost": count * VIEWERS - len(times),
        "doubled": sum(n - 1 for n in times.values()),
    }


async def measure_auction() -> dict[str, float]:
    """Have two hundred people bid on one piece as fast as the server takes it, then read the bids again."""
    async with ground() as on:
        dsn = await on.store(STORE, 0)
        owner = await asyncpg.connect(on.dsn(dsn, "postgres"))
        tokens, people = await _people(owner, BIDDERS + 1)
        stream_id = await _live(owner, people[0])
        auction_id = await _auction(owner, stream_id, people[0])
        with server("store", on.dsn(dsn), STORE, on.cache_url, str(on.home.files(STORE))) as (pid, port):
            waits: list[float] = []

            def request(mark: int) -> tuple[str, str, bytes]:
                return (
                    f"/api/v1/auctions/{auction_id}/bids",
                    tokens[1 + mark % BIDDERS],
                    msgspec.json.encode({"max_minor": 1_000 * mark}),
                )

            began, cpu = time.perf_counter(), cpu_seconds(pid)
            await send_all(port, range(1, BIDS + 1), request, clients=CLIENTS, waits=waits, allowed=(b"201", b"409"))
            taken = time.perf_counter() - began
            cpu_ms = (cpu_seconds(pid) - cpu) * 1000 / BIDS
        rows = await owner.fetch(
            "SELECT seq, bidder_id, max_minor FROM bids WHERE auction_id = $1 ORDER BY seq", auction_id
        )
        state = await owner.fetchrow("SELECT leader_id, price_minor FROM auctions WHERE id = $1", auction_id)
    standing = replay(Terms(1_000, 500), ((r["bidder_id"], r["max_minor"]) for r in rows))
    waits.sort()
    return {
        "bids_s": round(BIDS / taken, 1),
        "placed": len(rows),
        "p99_ms": round(waits[int(len(waits) * 0.99)], 1),
        "cpu_ms": round(cpu_ms, 2),
        "in_order": int([r["seq"] for r in rows] == list(range(1, len(rows) + 1))),
        "replay_agrees": int((standing.leader_id, standing.price_minor) == tuple(state)),
    }


def _more_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8_192)), hard))


async def _people(owner: asyncpg.Connection, count: int) -> tuple[list[str], list[UUID]]:
    """Make people who may do everything a buyer may, with a token for each."""
    mark = f"s{time.time_ns()}"
    people, secrets = [uuid7() for _ in range(count)], [secret_token() for _ in range(count)]
    await owner.executemany(
        "INSERT INTO users (id, username, email, display_name, created_at) VALUES ($1, $2, $3, $4, now() - interval '1 year')",
        [(p, f"{mark}_{n}", f"{mark}_{n}@example.com", f"Bench {n}") for n, p in enumerate(people)],
    )
    await owner.executemany("INSERT INTO user_roles (user_id, role) VALUES ($1, 'both')", [(p,) for p in people])
    await owner.executemany(
        "INSERT INTO tokens (user_id, token_hash, kind, name, scopes, expires_at) VALUES ($1, $2, 'api', 'bench', '{profile,buy}', now() + interval '1 day')",
        [(p, token_hash(s)) for p, s in zip(people, secrets, strict=True)],
    )
    return secrets, people


async def _live(owner: asyncpg.Connection, host: UUID) -> UUID:
    """Put a show on."""
    stream_id: UUID = await owner.fetchval(
        """INSERT INTO streams (host_id, title, category_id, status, scheduled_at, started_at, stream_url)
           VALUES ($1, 'Bench', (SELECT id FROM categories LIMIT 1), 'live', now(), now(), '/x.m3u8') RETURNING id""",
        host,
    )
    return stream_id


async def _auction(owner: asyncpg.Connection, stream_id: UUID, host: UUID) -> UUID:
    """Open an auction of an hour on something."""
    goods = await owner.fetchrow("SELECT id, listing_id FROM variants LIMIT 1")
    await owner.execute(
        """INSERT INTO stream_listings (stream_id, position, listing_id, variant_id, currency, pinned_from)
           VALUES ($1, 1, $2, $3, 'TND', now())""",
        stream_id, goods["listing_id"], goods["id"],
    )  # fmt: skip
    auction_id: UUID = await owner.fetchval(
        """INSERT INTO auctions (stream_id, position, listing_id, variant_id, host_id, currency, quantity, starts_minor, increment_minor,
                                 soft_close_s, opens_at, closes_at)
           VALUES ($1, 1, $2, $3, $4, 'TND', 1, 1000, 500, 0, now(), now() + interval '1 hour') RETURNING id""",
        stream_id, goods["listing_id"], goods["id"], host,
    )  # fmt: skip
    return auction_id

"""A live show: a thousand viewers and twenty comments a second; and an auction, bids on one piece as fast as they come."""

import asyncio
import resource
import time
from uuid import UUID

import asyncpg
import msgspec

from benchmarks.chat import memory_kb, send_all
from benchmarks.ground import ground
from benchmarks.load import cpu_seconds
from benchmarks.pages import server
from tradepost.core.ids import secret_token, token_hash, uuid7
from tradepost.streams.rules import Terms, replay

STORE, VIEWERS, RATE, SECONDS, PEOPLE = "souk-loop", 1_000, 20, 20.0, 40
BIDS, BIDDERS, CLIENTS = 6_000, 200, 32
_SAID = b'"body":"m'


class Heard:
    """What came out of all streams: how long it took where that is noted, and what came out of order."""

    def __init__(self) -> None:
        self.sent: dict[int, float] = {}
        self.waits: list[float] = []
        self.count = self.doubled = 0


class Viewer(asyncio.Protocol):
    """One open stream that counts the comments it hears; every tenth notes when. It does little, because a thousand share a processor."""

    def __init__(self, number: int, path: str, heard: Heard) -> None:
        self.is_noting, self.path, self.heard, self.seen, self.held = number % 10 == 0, path, heard, 0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the show's events."""
        transport.write(f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Count every comment in it."""
        if self.held:
            data, self.held = self.held + data, b""
        at = 0
        while (found := data.find(_SAID, at)) >= 0:
            end = data.find(b'"', found + len(_SAID))
            if end < 0:
                break
            self._count(int(data[found + len(_SAID) : end]))
            at = end
        self.held = data[max(at, len(data) - 64) :] if found < 0 else data[found:]

    def _count(self, mark: int) -> None:
        if self.seen >> mark & 1:
            self.heard.doubled += 1
            return
        self.seen |= 1 << mark
        self.heard.count += 1
        if self.is_noting:
            self.heard.waits.append((time.perf_counter() - self.heard.sent[mark]) * 1000)


async def measure_show() -> dict[str, float]:
    """Have a thousand watch, and people comment at a steady pace."""
    allow_many_files()
    async with ground() as on:
        dsn = await on.store(STORE, 0)
        owner = await asyncpg.connect(on.dsn(dsn, "postgres"))
        tokens, people = await make_people(owner, PEOPLE)
        stream_id = await put_on_show(owner, people[0])
        with server("store", on.dsn(dsn), STORE, on.cache_url, str(on.home.files(STORE))) as (pid, port):
            return await _watch(port, pid, stream_id, tokens)


async def _watch(port: int, pid: int, stream_id: UUID, tokens: list[str]) -> dict[str, float]:
    def request(mark: int) -> tuple[str, str, bytes]:
        heard.sent[mark] = time.perf_counter()
        body = msgspec.json.encode({"body": f"m{mark}"})
        return f"/api/v1/streams/{stream_id}/comments", tokens[1 + mark % (PEOPLE - 1)], body

    heard, count = Heard(), int(RATE * SECONDS)
    path, loop, viewers = f"/api/v1/streams/{stream_id}/events", asyncio.get_running_loop(), []
    await send_all(port, [1], request)  # everything is loaded and compiled
    before = memory_kb(pid)
    for n in range(VIEWERS):
        viewers.append((await loop.create_connection(lambda n=n: Viewer(n, path, heard), "127.0.0.1", port))[0])  # type: ignore[misc]
        await asyncio.sleep(0.002)
    await asyncio.sleep(3)
    idle_kb, cpu, began = (memory_kb(pid) - before) / VIEWERS, cpu_seconds(pid), time.perf_counter()
    await send_all(port, range(2, count + 2), request, rate=RATE, clients=PEOPLE - 1)
    taken = time.perf_counter() - began
    await asyncio.sleep(3)
    open_still = sum(not transport.is_closing() for transport in viewers)
    for transport in viewers:
        transport.abort()
    waits = sorted(heard.waits)
    return {
        "viewers": open_still,
        "idle_kb": round(idle_kb, 1),
        "deliveries_s": round(heard.count / taken, 1),
        "p50_ms": round(waits[len(waits) // 2], 1),
        "p99_ms": round(waits[int(len(waits) * 0.99)], 1),
        "delivery_cpu_us": round((cpu_seconds(pid) - cpu) * 1e6 / heard.count, 1),
        "lost": count * VIEWERS - heard.count,
        "doubled": heard.doubled,
    }


async def measure_auction() -> dict[str, float]:
    """Have two hundred people bid on one piece as fast as the server takes it, then read the bids again."""
    async with ground() as on:
        dsn = await on.store(STORE, 0)
        owner = await asyncpg.connect(on.dsn(dsn, "postgres"))
        tokens, people = await make_people(owner, BIDDERS + 1)
        stream_id = await put_on_show(owner, people[0])
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


def allow_many_files() -> None:
    """Let this process, and the servers it starts, hold thousands of connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8_192)), hard))


async def make_people(owner: asyncpg.Connection, count: int) -> tuple[list[str], list[UUID]]:
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


async def put_on_show(owner: asyncpg.Connection, host: UUID) -> UUID:
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

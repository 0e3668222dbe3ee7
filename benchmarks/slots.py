"""Five hundred customers race for the twenty places of one delivery window: twenty win, and nobody waits long for the answer."""

import asyncio
import time
from contextlib import ExitStack
from typing import Any

import asyncpg
import msgspec

from benchmarks.ground import ground
from benchmarks.load import Client
from benchmarks.pages import server
from benchmarks.trading import Buyer, add_buyers, add_goods, fill_carts

STORE, CUSTOMERS, PLACES, CLIENTS, SERVERS = "omade", 500, 20, 16, 2
ADDRESS = {"name": "Bench Buyer", "line1": "1 Main Street", "city": "Boston", "country": "US"}


async def measure() -> dict[str, Any]:
    """Let them all check out, sixteen at a time at two servers, and count who got a place."""
    async with ground() as on:
        name = await on.store(STORE, 0)
        owner = await asyncpg.connect(on.dsn(name, "postgres"))
        mark = f"s{int(time.time())}"
        goods = await add_goods(owner, mark, 10, 5, 1_000_000, 250)
        buyers = await add_buyers(owner, mark, CUSTOMERS)
        early = await add_buyers(owner, f"{mark}e", 4 * CLIENTS)
        await fill_carts(owner, [*buyers, *early], [(good,) for good in goods])
        slot, other = await _window(owner, "10:03", PLACES), await _window(owner, "14:03", 2 * CLIENTS)
        before = await owner.fetchval("SELECT taken FROM delivery_slots WHERE id = $1", slot)
        with ExitStack() as stack:
            arguments = ("store", on.dsn(name), STORE, on.cache_url, str(on.home.files(STORE)))
            servers = [stack.enter_context(server(*arguments)) for _ in range(SERVERS)]
            ports = [port for _, port in servers]
            # Servers that have just started learn every statement first; half of these find their window full.
            await _race(ports, early, str(other), f"{mark}e")
            answers, waits = await _race(ports, buyers, str(slot), mark)
        taken = await owner.fetchval("SELECT taken FROM delivery_slots WHERE id = $1", slot)
        booked = await owner.fetchval(
            "SELECT count(*) FROM slot_bookings WHERE slot_id = $1 AND state = 'booked'", slot
        )
        await owner.close()
    ordered = sorted(waits)
    result = {
        "won": answers.count(201), "refused": answers.count(409), "other": len(answers) - answers.count(201) - answers.count(409),
        "taken": taken - before, "booked": booked - before, "p50_ms": round(ordered[len(ordered) // 2] * 1000, 1),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1000, 1),
    }  # fmt: skip
    print(f"slots: {result}")
    return result


async def _window(owner: asyncpg.Connection, starts: str, places: int) -> Any:
    """Open a window with so many places; return its id."""
    return await owner.fetchval(
        "INSERT INTO delivery_slots (delivery_on, starts_at, ends_at, capacity) "
        "VALUES (current_date + 9, CAST($1 AS text)::time, CAST($1 AS text)::time + interval '2 hours', $2) "
        "ON CONFLICT (delivery_on, starts_at, ends_at, rider_id) DO UPDATE SET capacity = delivery_slots.taken + $2 RETURNING id",
        starts, places,
    )  # fmt: skip


async def _race(ports: list[int], buyers: list[Buyer], slot: str, mark: str) -> tuple[list[int], list[float]]:
    body = msgspec.json.encode(
        {
            "gateway": "sandbox",
            "method": "approve",
            "shipping": "bakery-van",
            "shipping_address": ADDRESS,
            "slot_id": slot,
        }
    )
    answers: list[int] = []
    waits: list[float] = []
    turn = iter(buyers)

    async def client(n: int) -> None:
        opened = Client(ports[n % len(ports)], f"{STORE}.localhost", "")
        for buyer in turn:
            opened.become(buyer.token)
            began = time.perf_counter()
            status, _ = await opened.post("/api/v1/checkout", body, key=f"{mark}-{buyer.user_id}")
            waits.append(time.perf_counter() - began)
            answers.append(status)

    await asyncio.gather(*(client(n) for n in range(CLIENTS)))
    return answers, waits

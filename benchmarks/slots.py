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
        await fill_carts(owner, buyers, [(good,) for good in goods])
        slot = await owner.fetchval(
            "INSERT INTO delivery_slots (delivery_on, starts_at, ends_at, capacity) "
            "VALUES (current_date + 9, '10:03', '12:03', $1) ON CONFLICT (delivery_on, starts_at, ends_at, rider_id) "
            "DO UPDATE SET capacity = delivery_slots.taken + $1 RETURNING id", PLACES,
        )  # fmt: skip
        before = await owner.fetchval("SELECT taken FROM delivery_slots WHERE id = $1", slot)
        with ExitStack() as stack:
            arguments = ("store", on.dsn(name), STORE, on.cache_url, str(on.home.files(STORE)))
            servers = [stack.enter_context(server(*arguments)) for _ in range(SERVERS)]
            answers, waits = await _race([port for _, port in servers], buyers, str(slot), mark)
        taken = await owner.fetchval("SELECT taken FROM delivery_slots WHERE id = $1", slot)
        booked = await owner.fetchval(
            "SELECT count(*) FROM slot_bookings WHERE slot_id = $1 AND state = 'booked'", slot
        )
        await owner.close()
    ordered = sorted(waits)
    result = {
        "won": answers.count(201), "refused": answers.count(409), "other": len(answers) - answers.count(201) - answers.count(409),
        "taken": taken - before, "booked": booked - before, "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1000, 1),
    }  # fmt: skip
    print(f"slots: {result}")
    return result


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

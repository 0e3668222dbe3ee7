"""What moving in costs: each documented system's database, generated with hostile rows among the others, imported whole into an empty store.

`TRADEPOST_BENCH_ROWS` rows in all (1,000,000 unless given; a fifth for each system), and for `TRADEPOST_BENCH_SYSTEMS` only where that
names some. Counted are rows a second by the clock, and the CPU of both databases and of Python for a row; both sides must agree after.
"""

import os
import time
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.ground import ground
from benchmarks.load import cpu_seconds
from tradepost.core.crypto import Keyring
from tradepost.core.database import Database
from tradepost.flows.install_store import install_store
from tradepost.flows.move_in import Wishes, move_in
from tradepost.flows.move_plan import SYSTEMS, load_plan
from tradepost.flows.preset import PRESETS, load_preset
from tradepost.migrations import create_database, migrate

ROWS = int(os.environ.get("TRADEPOST_BENCH_ROWS", "1000000"))
CHOSEN = (
    os.environ.get("TRADEPOST_BENCH_SYSTEMS", "").split(",") if os.environ.get("TRADEPOST_BENCH_SYSTEMS") else SYSTEMS
)
GENERATED = Path(__file__).parents[1] / "tests" / "moving"
ROWS_FOR_A_PERSON = {"omade": 11, "shop-assistant": 13, "tese": 11, "marketplace-watch": 19, "souk-loop": 7}


async def measure() -> dict[str, Any]:
    """Import each system's database and report what it cost."""
    found: dict[str, Any] = {}
    async with ground() as on:
        for system in CHOSEN:
            found[system] = await _system(on, system, ROWS // len(CHOSEN))
            print(f"import {system}: {found[system]}", flush=True)
    return found


async def _system(on: Any, system: str, rows: int) -> dict[str, Any]:
    server = on.dsn("postgres", "postgres")
    names = {side: f"bench_{side}_{system.replace('-', '_')}" for side in ("there", "here")}
    for name in names.values():
        await create_database(server, name)
    source = await asyncpg.connect(on.dsn(names["there"], "postgres"), server_settings={"timezone": "UTC"})
    script = (GENERATED / f"{system}.sql").read_text("utf-8")
    await source.execute(script.replace("{n}", str(rows // ROWS_FOR_A_PERSON[system])))
    await migrate(on.dsn(names["here"], "postgres"))
    db = await Database.open(on.dsn(names["here"], "postgres"), size=2, statement_timeout_ms=3_600_000)
    await install_store(db, PRESETS / system)
    before = await _database_cpu(source, names)
    started, own = time.perf_counter(), time.process_time()
    report = await move_in(
        db, source, load_plan(PRESETS / system, system), load_preset(PRESETS / system), Keyring.from_secret("bench", b"0" * 32), Wishes()
    )  # fmt: skip
    took, own = time.perf_counter() - started, time.process_time() - own
    cpu = await _database_cpu(source, names) - before
    await source.close()
    await db.close()
    there = sum(table.there for table in report.tables)
    return {
        "rows": there, "refused": sum(t.tally.refused for t in report.tables), "rows_per_s": round(there / took),
        "server_cpu_ms_per_row": round(cpu * 1000 / there, 3), "python_cpu_ms_per_row": round(own * 1000 / there, 3),
        "differences": report.differences,
    }  # fmt: skip


async def _database_cpu(connection: asyncpg.Connection, names: dict[str, str]) -> float:
    """Return the seconds of CPU that the connections to both databases have taken so far."""
    pids = await connection.fetch("SELECT pid FROM pg_stat_activity WHERE datname = ANY ($1)", list(names.values()))
    return sum(cpu_seconds(row["pid"]) for row in pids)

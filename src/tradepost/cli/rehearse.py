"""`tradepost rehearse`: the upgrade on a copy first, with every count and sum compared."""

import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from rich.console import Console
from sqlalchemy import Connection

from tradepost.cli.backup_work import DUMP, Place, load_backup, measure, opened_backup, place_of
from tradepost.core.archiving.client import run_client
from tradepost.core.database import Database
from tradepost.core.errors import Invalid
from tradepost.flows.install_store import install_store
from tradepost.flows.preset import find_presets
from tradepost.flows.store import database_name
from tradepost.migrations import create_database, current_revision, migrate
from tradepost.migrations.spares import check_room, size_of, spare_database

Measured = tuple[dict[str, int], dict[str, str], int]
_console = Console()


@dataclass(eq=False)
class RehearsalDiffers(Invalid):
    """The upgrade would change what it must keep: {differences}. The store itself was not touched."""

    differences: str


async def rehearse_upgrade(store: str, backup: str, dsn: str) -> None:
    """Upgrade a copy of a store and compare. Raises `RehearsalDiffers`, and what making the copy or the migration raises."""
    async with place_of(dsn) as place:
        folder = find_presets([store], place.settings.presets)[store]
        async with _copy(place, store, backup) as name:
            before = await _measured(place.dsn(name))
            begin = await current_revision(place.dsn(name))
            took = await upgrade(place.dsn(name))
            compare(before, await _measured(place.dsn(name)))
            await _install(place.dsn(name), folder)
    for revision, seconds in took:
        _console.print(f"{revision}: {seconds:.2f} s", highlight=False)
    _console.print(
        f"[green]Good.[/] {store} from {begin} on: {sum(before[0].values()):,} rows of {len(before[0])} tables, "
        f"{len(before[1])} sums and the ledger are still there."
    )


async def upgrade(dsn: str) -> list[tuple[str, float]]:
    """Migrate a database; return each revision with the seconds it took."""
    took: list[tuple[str, float]] = []
    last = time.perf_counter()

    def begin(_connection: Connection) -> None:
        nonlocal last
        last = time.perf_counter()

    def look(*, step: Any, **_: Any) -> None:
        nonlocal last
        moment = time.perf_counter()
        took.append((step.up_revision_id, moment - last))
        last = moment

    await migrate(dsn, watch=(begin, look))
    return took


async def _install(dsn: str, preset: Path) -> None:
    """Install the preset, as `migrate` will: it may refuse what the store has."""
    db = await Database.open(dsn, size=1, statement_timeout_ms=900_000)
    try:
        await install_store(db, preset)
    finally:
        await db.close()


def compare(before: Measured, after: Measured) -> None:
    """Raise `RehearsalDiffers` where a table lost rows, a sum is another one, or a journal does not balance; a step may add rows."""
    differences = [
        f"{table} {after[0].get(table, 'is gone')} instead of {rows}"
        for table, rows in before[0].items()
        if after[0].get(table, -1) < rows
    ]
    differences += [
        f"{column} {after[1].get(column, 'is gone')} instead of {total}"
        for column, total in before[1].items()
        if after[1].get(column) != total
    ]
    if after[2] > before[2]:
        differences.append(f"{after[2]} journals do not balance")
    if differences:
        raise RehearsalDiffers("; ".join(differences[:5]))


@asynccontextmanager
async def _copy(place: Place, store: str, backup: str) -> AsyncIterator[str]:
    """Make a copy of the store's database, or of what a backup holds, for the length of the block. Raises `NoRoomForCopy`."""
    async with spare_database(place.dsn("postgres"), "rehearse") as (name, server):
        await check_room(server, await size_of(server, database_name(store)))
        await create_database(place.dsn("postgres"), name)
        if backup:
            async with opened_backup(place, backup) as (folder, about, _):
                await load_backup(place, name, folder, about)
        else:
            with tempfile.TemporaryDirectory(dir=place.home.path) as folder:
                dump = Path(folder) / DUMP
                await run_client(
                    "pg_dump", place.dsn(database_name(store)), "--format=custom", "--compress=0", f"--file={dump}"
                )
                await run_client("pg_restore", place.dsn(name), "--exit-on-error", str(dump))
        yield name


async def _measured(dsn: str) -> Measured:
    connection = await asyncpg.connect(dsn)
    try:
        return await measure(connection)
    finally:
        await connection.close()

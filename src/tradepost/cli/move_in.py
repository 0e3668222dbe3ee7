"""`tradepost import`: another system's database moves into a store."""

import csv
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import asyncpg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from tradepost.cli.backup_work import Place, place_of
from tradepost.core.archiving.client import run_client
from tradepost.core.database import Database
from tradepost.core.errors import Invalid, Unavailable
from tradepost.flows.move_in import ImportDiffers, Note, Report, Wishes, move_in
from tradepost.flows.move_plan import SYSTEMS, load_plan
from tradepost.flows.preset import find_presets, load_preset
from tradepost.flows.store import database_name
from tradepost.migrations.spares import check_room, spare_database

__all__ = ["SYSTEMS", "Wishes", "import_database"]
_console = Console()
_LEAVES: Final = re.compile(rb"\s*(\\c(onnect)?\b|(CREATE|ALTER|DROP)\s+(DATABASE|ROLE)\b)", re.IGNORECASE)
_DATA: Final = re.compile(rb"COPY\s.*\sFROM\s+stdin\b.*;\s*", re.IGNORECASE)


@dataclass(eq=False)
class DatabaseToImportAway(Unavailable):
    """The database to import from does not answer: {said}"""

    said: str


@dataclass(eq=False)
class DumpMissing(Invalid):
    """There is no file {path} to import from; an address begins with postgresql://."""

    path: str


@dataclass(eq=False)
class DumpLeavesItsDatabase(Invalid):
    """Line {line:,} of {path} begins with “{said}”, which reaches beyond the database that the dump is restored into; make the dump of one database, without pg_dump's --create."""

    path: str
    line: int
    said: str


async def import_database(
    system: str, source: str, store: str, wishes: Wishes, *, report: Path, database: str
) -> None:  # fmt: skip
    """Import from the database or the dump at `source` and print what became of it. Raises `ImportDiffers` where something is missing after."""
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(place_of(database))
        folder = find_presets([store], place.settings.presets)[store]
        plan = load_plan(folder, system)
        there = await stack.enter_async_context(_opened(source) if "://" in source else _restored(Path(source), place))
        db = await Database.open(
            place.dsn(database_name(store)), size=2, statement_timeout_ms=3_600_000, idle_timeout_ms=0
        )  # it waits while the other database is read
        stack.push_async_callback(db.close)
        notes = stack.enter_context(_NotesFile(report))
        with _Bars() as bars:
            found = await move_in(
                db, there, plan, load_preset(folder), place.keys(), wishes, progress=bars.show, on_note=notes.add
            )
    _print(found, notes, report, is_trial=wishes.dry_run)
    if found.differences:
        raise ImportDiffers("; ".join(found.differences))


@asynccontextmanager
async def _opened(address: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect to the other database, for as long as reading it takes. Raises `DatabaseToImportAway`."""
    try:
        connection = await asyncpg.connect(
            address, timeout=10, server_settings={"timezone": "UTC", "application_name": "tradepost-import"}
        )
        await connection.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
    except (asyncpg.PostgresError, OSError, ValueError, TimeoutError) as error:
        raise DatabaseToImportAway(str(error) or type(error).__name__) from None
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _restored(dump: Path, place: Place) -> AsyncIterator[asyncpg.Connection]:
    """Restore a dump (pg_dump's custom format, or plain SQL) into a database of its own on our server, dropped afterwards.

    Raises `DumpMissing`, `DumpLeavesItsDatabase`, `DumpFailed`, `NoRoomForCopy`.
    """
    if not dump.is_file():  # noqa: ASYNC240  # the command does nothing else meanwhile
        raise DumpMissing(str(dump))
    with dump.open("rb") as file:
        is_custom = file.read(5) == b"PGDMP"
    if not is_custom:
        _check_plain(dump)
    async with spare_database(place.dsn("postgres"), "import") as (name, server):
        await check_room(server, dump.stat().st_size)  # noqa: ASYNC240  # at the least: the dump may be compressed
        await server.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        if is_custom:
            await run_client(
                "pg_restore", place.dsn(name), "--no-owner", "--no-privileges", "--exit-on-error", str(dump)
            )
        else:
            await run_client(
                "psql", place.dsn(name), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={dump}"
            )
        async with _opened(place.dsn(name)) as connection:
            yield connection


def _check_plain(dump: Path) -> None:
    """Look for what a dump of one database never says, outside its rows. Raises `DumpLeavesItsDatabase`."""
    is_data = False
    with dump.open("rb") as file:
        for number, line in enumerate(file, 1):
            if is_data:
                is_data = line.rstrip() != rb"\."
            elif found := _LEAVES.match(line):
                raise DumpLeavesItsDatabase(str(dump), number, found[1].decode())
            else:
                is_data = _DATA.fullmatch(line) is not None


class _NotesFile:
    """A file of what was refused or changed, made when there is something to write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[tuple[bool, str, str]] = Counter()
        self._file: Any = None
        self._rows: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, note: Note) -> None:
        """Write a note down."""
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8", newline="")
            self._rows = csv.writer(self._file)
            self._rows.writerow(("table", "key", "what", "reason"))
        self._rows.writerow((note.table, note.key, "refused" if note.is_refused else "changed", note.reason))
        self.counts[not note.is_refused, note.table, note.reason] += 1


class _Bars:
    """A bar for each step."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=_console
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, what: str, done: int, whole: int) -> None:
        """Say how far a step is."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=whole)
        self._progress.update(self._tasks[what], completed=done)


def _print(report: Report, notes: _NotesFile, path: Path, *, is_trial: bool) -> None:
    table = Table("Table", "There", "Here", "Refused", "Sum there", "Sum here")
    for column in table.columns[1:]:
        column.justify = "right"
    for t in report.tables:
        sums = (f"{t.tally.given:,}", f"{t.tally.kept:,}") if t.sum_there else ("", "")
        table.add_row(t.table, f"{t.there:,}", f"{t.tally.here:,}", f"{t.tally.refused:,}", *sums)
    _console.print(table)
    for (is_kept, name, reason), number in sorted(notes.counts.items()):
        _console.print(f"{name}: {number:,} {'changed' if is_kept else 'refused'}, because {reason}", highlight=False)
    if notes.counts:
        _console.print(f"Each of them is in {path}.", highlight=False)
    if report.went_on:
        _console.print("This went on where an import had stopped.")
    if is_trial:
        _console.print("This was a trial: nothing was kept.")

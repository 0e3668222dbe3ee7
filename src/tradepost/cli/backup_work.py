"""What `tradepost backup` does, with PostgreSQL's own pg_dump and pg_restore.

A backup is one archive (core/archive.py): the dump of one moment, the files its rows name, and the store's preset where it is
not one of ours; encrypted, also the settings file, which holds secrets. Counts and sums are taken in the snapshot that is dumped.
"""

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec
from alembic.script import ScriptDirectory
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tradepost.cli.serve import address, files_of
from tradepost.core.archive import ArchiveBroken, ArchiveWriter, Member, unpack, write_archive
from tradepost.core.archiving.client import run_client
from tradepost.core.crypto import Keyring, open_keyring
from tradepost.core.embedded import embedded_services
from tradepost.core.errors import Conflict, Invalid
from tradepost.core.files import FileStore, NoSuchFile
from tradepost.core.home import Home, find_home, open_home
from tradepost.core.settings import Settings, load_settings
from tradepost.flows.preset import PRESETS, find_presets
from tradepost.flows.store import database_name
from tradepost.migrations import configuration, create_database, current_revision, migrate
from tradepost.migrations.spares import check_room, spare_database

FORMAT, DUMP, SETTINGS = 1, "database.dump", "settings.toml"
SETTINGS_FILE = "tradepost.toml"
_NAMED = re.compile(r"tradepost-([a-z0-9-]+)-[0-9]{8}T[0-9]{9}Z\.tpb")
_console = Console()


@dataclass(eq=False)
class StoreNotEmpty(Conflict):
    """There is a database {name} already, and it holds something; a backup is restored into a new store only."""

    name: str


@dataclass(eq=False)
class BackupTooNew(Invalid):
    """This backup was made by a newer version ({revision}); install that one first."""

    revision: str


@dataclass(eq=False)
class BackupDiffers(Invalid):
    """What was restored is not what was backed up: {differences}."""

    differences: str


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself. `rows`: of each table; `sums`: of each column that is money, points or a quantity."""

    format: int
    store: str
    made_at: datetime
    version: str
    revision: str
    server: str
    rows: dict[str, int]
    sums: dict[str, str]
    unbalanced: int
    missing_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a store lives: its server, reached as the owner, and its files."""

    settings: Settings
    home: Home
    server: str  # an address with {database} in it

    def dsn(self, database: str) -> str:
        """Return the owner's address of a database."""
        return address(self.server, "database.owner_url", database)

    def files(self, store: str) -> FileStore:
        """Return the store's files."""
        return FileStore.open(files_of(self.settings, self.home, store))

    def keys(self) -> Keyring:
        """Return the installation's keys."""
        return open_keyring(self.settings.secret_key, self.home.keys)


@asynccontextmanager
async def place_of(dsn: str) -> AsyncIterator[Place]:
    """Open the installation: at an address of its own, at that of the settings, or the demo's, which must be stopped."""
    settings = load_settings(Path(SETTINGS_FILE), os.environ)
    home = open_home(find_home(os.environ))
    async with AsyncExitStack() as stack:
        server = _any_database(dsn) if dsn else settings.database.owner_url
        if not server:
            services = await stack.enter_async_context(embedded_services(home.path))
            server = _any_database(services.postgres.dsn("postgres", "postgres"))
        yield Place(settings, home, server)


def _any_database(dsn: str) -> str:
    """Return an address with a mark where the database's name stands."""
    return dsn if "{database}" in dsn else urlunsplit(urlsplit(dsn)._replace(path="/{database}"))


async def create_backup(store: str, dsn: str, to: str, *, keep: int, encrypt: bool) -> None:
    """Make a backup, and drop the oldest beyond `keep`. Raises `NoSuchStore`, `FilesUnreachable`, `DumpFailed`."""
    async with place_of(dsn) as place:
        preset = find_presets([store], place.settings.presets)[store]
        target = FileStore.open(to)
        name = f"tradepost-{store}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"[:-3] + "Z.tpb"
        with tempfile.TemporaryDirectory(dir=place.home.path) as temporary:
            path = Path(temporary if "://" in to else to) / name
            with write_archive(path, place.keys(), encrypt=encrypt) as archive:
                about = await _fill(place, store, archive, Path(temporary))
                _add_preset(archive, preset)
                if encrypt:
                    _add_settings(archive)
                archive.finish(about, place.keys())
            if "://" in to:
                await target.put_file(name, path)
            size = path.stat().st_size
        if keep:
            for old in (await _backups(target, store))[:-keep]:
                await target.delete(old)
    _console.print(
        f"{to.rstrip('/')}/{name}: {sum(about.rows.values()):,} rows, {size / 1e6:,.1f} MB.", highlight=False
    )
    if about.missing_files:
        _console.print(f"[yellow]{len(about.missing_files)} files that rows name were not there.[/]")


def _add_preset(archive: ArchiveWriter, preset: Path) -> None:
    """Add a preset of the operator's own; ours come with the product."""
    if not preset.is_relative_to(PRESETS):
        for file in sorted(p for p in preset.rglob("*") if p.is_file()):
            archive.add_file(f"preset/{file.relative_to(preset)}", file)


def _add_settings(archive: ArchiveWriter) -> None:
    if Path(SETTINGS_FILE).is_file():
        archive.add_file(SETTINGS, Path(SETTINGS_FILE))


async def _fill(place: Place, store: str, archive: ArchiveWriter, folder: Path) -> About:
    """Add the dump of one moment and the files that its rows name; return what they are."""
    dsn = place.dsn(database_name(store))
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
            with _spinner("database"):
                dump = folder / DUMP
                await run_client("pg_dump", dsn, "--format=custom", f"--snapshot={snapshot}", f"--file={dump}")
                archive.add_file(DUMP, dump)
            rows, sums, unbalanced = await measure(connection)
            missing = await _add_files(place.files(store), archive, await _file_keys(connection))
            server = await connection.fetchval("SHOW server_version")
    finally:
        await connection.close()
    return About(
        format=FORMAT, store=store, made_at=datetime.now(UTC), version=version("tradepost"),
        revision=await current_revision(dsn) or "", server=server, rows=rows, sums=sums, unbalanced=unbalanced,
        missing_files=missing,
    )  # fmt: skip


async def measure(connection: asyncpg.Connection) -> tuple[dict[str, int], dict[str, str], int]:
    """Return the rows of every table, the sum of every amount, and how many journals of the ledger do not balance."""
    rows: dict[str, int] = {}
    sums: dict[str, str] = {}
    for table, columns in await connection.fetch(_AMOUNTS):
        parts = ", ".join(["count(*)", *(f'coalesce(sum("{c}"), 0)' for c in columns)])
        counted, *totals = await connection.fetchrow(f'SELECT {parts} FROM "{table}"')
        rows[table] = counted
        sums |= {f"{table}.{column}": str(total) for column, total in zip(columns, totals, strict=True)}
    return rows, sums, int(await connection.fetchval(_UNBALANCED))


_AMOUNTS = """
    SELECT t.table_name, coalesce(array_agg(c.column_name ORDER BY c.column_name) FILTER (WHERE c.column_name IS NOT NULL), '{}')
    FROM information_schema.tables t
    LEFT JOIN information_schema.columns c ON c.table_schema = t.table_schema AND c.table_name = t.table_name
        AND (c.column_name LIKE '%\\_minor' OR c.column_name IN ('quantity', 'on_hand', 'reserved', 'points'))
    WHERE t.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND t.table_name NOT LIKE 'pgqueuer%'
    GROUP BY t.table_name ORDER BY t.table_name
"""
_UNBALANCED = """
    SELECT count(*) FROM (SELECT FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id
                          GROUP BY e.journal_id, a.currency HAVING sum(e.amount_minor) <> 0) x
"""
_KEYED = """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND column_name = 'storage_key' ORDER BY table_name
"""


async def _file_keys(connection: asyncpg.Connection) -> list[str]:
    found: set[str] = set()
    for table, column in await connection.fetch(_KEYED):
        found |= {row[0] for row in await connection.fetch(f'SELECT DISTINCT "{column}" FROM "{table}"') if row[0]}
    return sorted(found)


async def _add_files(files: FileStore, archive: ArchiveWriter, keys: list[str]) -> tuple[str, ...]:
    """Add every file; return the keys of those that are not there."""
    missing = []
    with Progress(TextColumn("files"), BarColumn(), MofNCompleteColumn(), console=_console, transient=True) as bar:
        for key in bar.track(keys):
            try:
                archive.add(f"files/{key}", await files.get(key))
            except NoSuchFile:
                missing.append(key)
    return tuple(missing)


async def verify_backup(archive: str, dsn: str) -> None:
    """Restore into a scratch database, compare, and drop it. Raises what `restore_backup` does, and `BackupDiffers`."""
    async with (
        place_of(dsn) as place,
        opened_backup(place, archive) as (folder, about, _),
        spare_database(place.dsn("postgres"), "verify") as (name, server),
    ):
        await check_room(server, (folder / DUMP).stat().st_size)
        await create_database(place.dsn("postgres"), name)
        await load_backup(place, name, folder, about)
    _console.print(
        f"[green]Good.[/] {about.store} of {about.made_at:%Y-%m-%d %H:%M} UTC: {len(about.rows)} tables, {sum(about.rows.values()):,} rows, "
        f"{len(about.sums)} sums and the ledger are as they were."
    )


async def restore_backup(archive: str, dsn: str) -> None:
    """Restore into a new store.

    Raises `ArchiveBroken`, `KeyMissing`, `BackupTooNew`, `StoreNotEmpty`, `DumpFailed`, `BackupDiffers`: then there is no new database.
    """
    async with place_of(dsn) as place, opened_backup(place, archive) as (folder, about, members):
        name = database_name(about.store)
        if not await create_database(place.dsn("postgres"), name) and await current_revision(place.dsn(name)):
            raise StoreNotEmpty(name)
        try:
            await load_backup(place, name, folder, about)
            await migrate(place.dsn(name))
        except BaseException:
            await drop_database(place, name)
            raise
        files = place.files(about.store)
        names = [name for name in members if name.startswith("files/")]
        with Progress(TextColumn("files"), BarColumn(), MofNCompleteColumn(), console=_console, transient=True) as bar:
            for member in bar.track(names):
                await files.put_file(member.removeprefix("files/"), folder / member)
    _console.print(f"[green]Restored[/] {about.store} as of {about.made_at:%Y-%m-%d %H:%M} UTC.")
    if any(member.startswith("preset/") for member in members):
        _console.print("The store has a preset of its own: unpack it from the archive into your presets folder.")


@asynccontextmanager
async def opened_backup(place: Place, archive: str) -> AsyncIterator[tuple[Path, About, Mapping[str, Member]]]:
    """Unpack an archive for the length of the block. Raises `NoSuchFile`, `ArchiveBroken`, `KeyMissing`, `BackupTooNew`."""
    where, _, name = archive.rpartition("/")
    with tempfile.TemporaryDirectory(dir=place.home.path) as temporary:
        path, folder = Path(temporary) / "archive", Path(temporary) / "unpacked"
        folder.mkdir()
        with _spinner(name):
            await FileStore.open(where or ".").get_file(name, path)
            try:
                about, members = await asyncio.to_thread(unpack, path, folder, place.keys(), About)
            except ArchiveBroken as error:
                raise ArchiveBroken(archive, error.reason) from None
        known = {script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()}
        if about.format > FORMAT or about.revision not in known:
            raise BackupTooNew(about.revision)
        yield folder, about, members


async def load_backup(place: Place, name: str, folder: Path, about: About) -> None:
    """Restore the dump into an empty database, all or nothing, and compare it with what the backup says of itself."""
    dsn = place.dsn(name)
    with _spinner("database"):
        await run_client("pg_restore", dsn, "--exit-on-error", "--single-transaction", str(folder / DUMP))
    connection = await asyncpg.connect(dsn)
    try:
        rows, sums, unbalanced = await measure(connection)
    finally:
        await connection.close()
    differences = [
        f"{what} {now.get(what, 'nothing')} instead of {before[what]}"
        for before, now in ((about.rows, rows), (about.sums, sums))
        for what in before
        if before[what] != now.get(what)
    ]
    if unbalanced:
        differences.append(f"{unbalanced} journals do not balance")
    if differences:
        raise BackupDiffers("; ".join(differences[:5]))


async def drop_database(place: Place, name: str) -> None:
    """Drop a database and whoever is connected to it."""
    connection = await asyncpg.connect(place.dsn("postgres"))
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()


async def _backups(files: FileStore, store: str = "") -> list[str]:
    """Return the names of a place's backups, of one store or of all; those of one store oldest first."""
    return [
        key for key in await files.keys_of("tradepost-") if (found := _NAMED.fullmatch(key)) and store in {"", found[1]}
    ]


async def newest(at: str, store: str) -> str | None:
    """Return the name of a store's latest backup in a place."""
    found = await _backups(FileStore.open(at), store)
    return max(found, default=None)


def made_at(name: str) -> datetime:
    """Return when a backup was made, as its name says."""
    stamp = name.removesuffix("Z.tpb").rpartition("-")[2]
    return datetime.strptime(f"{stamp}000", "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)


async def list_backups(at: str) -> None:
    """Print the names of a place's backups."""
    found = await _backups(FileStore.open(at))
    _console.print("\n".join(found) if found else f"There is no backup at {at} yet.", highlight=False)


async def write_sql(store: str, dsn: str, to: Path, *, only: str) -> None:
    """Write a database as SQL. Raises `DumpFailed`."""
    async with place_of(dsn) as place:
        find_presets([store], place.settings.presets)
        options = [*([f"--{only}-only"] if only else []), *(["--compress=gzip"] if to.suffix == ".gz" else [])]
        with _spinner("database"):
            await run_client("pg_dump", place.dsn(database_name(store)), "--format=plain", *options, f"--file={to}")
    _console.print(f"Written: {to}", highlight=False)


def _spinner(what: str) -> Progress:
    """Return a sign that something is going on; use it in a with block."""
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=_console, transient=True
    )
    bar.add_task(what)
    return bar

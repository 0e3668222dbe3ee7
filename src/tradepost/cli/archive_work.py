"""What `tradepost archive` does, and how the demo keeps its own archive."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from rich.console import Console

from tradepost.core.archiving import memory, place
from tradepost.core.archiving.keeping import Archiver, drop_slot, slot_status
from tradepost.core.archiving.place import NAME
from tradepost.core.archiving.recovery import recover
from tradepost.core.crypto import open_keyring
from tradepost.core.embedded.cluster import SUPERUSER
from tradepost.core.embedded.postgres import PORT, PostgresServer
from tradepost.core.errors import Conflict, Invalid, NotFound, Unavailable
from tradepost.core.home import Home, find_home, open_home
from tradepost.core.log import configure_logging
from tradepost.core.settings import Settings, load_settings

SETTINGS_FILE = Path("tradepost.toml")
GIVEN_UP_HALF = (
    "[yellow]Archive: none is named, but there was one, and the server keeps 4 GB of its log for it.[/] "
    "Set TRADEPOST_ARCHIVE__FOLDER again, or give it up: tradepost archive stop."
)
_console = Console()


@dataclass(eq=False)
class NoArchiveFolder(Invalid):
    """No folder for the archive is named: give --folder, or set folder in [archive]."""


@dataclass(eq=False)
class NothingArchived(NotFound):
    """There is no archive at {path}."""

    path: str


@dataclass(eq=False)
class NoServerToArchive(Unavailable):
    """No database server is named and the demo is not running; give --database, or set database.owner_url."""


@dataclass(eq=False)
class ArchiveWritten(Conflict):
    """The archive is being written just now: stop what writes it, or start the demo without TRADEPOST_ARCHIVE__FOLDER, and try again."""


def _settings() -> tuple[Settings, Home]:
    return load_settings(SETTINGS_FILE, os.environ), open_home(find_home(os.environ))


def _folder(given: str, settings: Settings) -> Path:
    chosen = given or settings.archive.folder
    if not chosen:
        raise NoArchiveFolder
    return Path(chosen).expanduser().absolute()


def _server(given: str, settings: Settings, home: Home) -> str:
    """Return the address of the server: as given, as set, or of the demo that is running."""
    socket = home.run / "pg"
    if given or settings.database.owner_url:
        return (given or settings.database.owner_url).replace("{database}", "postgres")
    if not (socket / f".s.PGSQL.{PORT}").exists():
        raise NoServerToArchive
    return f"postgresql://{SUPERUSER}@/postgres?host={quote(str(socket), safe='')}&port={PORT}"


def archiver_of(dsn: str, folder: Path, settings: Settings, home: Home) -> Archiver:
    """Return what keeps a server's archive."""
    chosen = settings.archive
    keys = open_keyring(settings.secret_key, home.keys)
    return Archiver(dsn, folder, keys, home.folder("archive"), timedelta(hours=chosen.backup_hours), chosen.keep)


def server_settings(settings: Settings) -> dict[str, str]:
    """Return what the embedded server must be started with for its archive."""
    waits = {"synchronous_standby_names": NAME} if settings.archive.folder and settings.archive.synchronous else {}
    return {"max_slot_wal_keep_size": "4GB", **waits}


@asynccontextmanager
async def archived(server: PostgresServer, settings: Settings, home: Home) -> AsyncIterator[None]:
    """Keep the embedded server's archive for the length of the block, where the settings name a folder for it."""
    dsn = server.dsn("postgres")
    if not settings.archive.folder:
        _console.print(GIVEN_UP_HALF if await slot_status(dsn) else "[dim]Archive: none[/]")
        yield
        return
    _console.print(f"Archive: {_folder('', settings)}", style="dim", highlight=False)
    async with archiver_of(dsn, _folder("", settings), settings, home).running(home.logs / "archive.log"):
        yield


async def keep_archive(folder: str, dsn: str) -> None:
    """Keep an archive until SIGINT or SIGTERM."""
    settings, home = _settings()
    configure_logging(settings.log)
    archiver = archiver_of(_server(dsn, settings, home), _folder(folder, settings), settings, home)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with archiver.running(home.logs / "archive.log"):
        await stop.wait()


async def make_backup(folder: str, dsn: str) -> None:
    """Make a base backup. Raises what `Archiver.make_backup` does."""
    settings, home = _settings()
    archiver = archiver_of(_server(dsn, settings, home), _folder(folder, settings), settings, home)
    made = await archiver.make_backup()
    _console.print(f"{made.folder}: {made.about.bytes / 1e6:,.0f} MB before compression.", highlight=False)


async def list_moments(folder: str) -> None:
    """Print every base backup with what can be recovered after it. Raises `ArchiveDamaged`, `NothingArchived`."""
    settings, home = _settings()
    where = _folder(folder, settings)
    keys = open_keyring(settings.secret_key, home.keys)
    if not place.timelines(where):
        raise NothingArchived(str(where))
    for timeline in place.timelines(where):
        for base in timeline.bases():
            place.check_backup(base, keys)
            await asyncio.to_thread(place.check_files, base)
            log = timeline.needed(base, keys)
            until = max((piece.stat().st_mtime for piece in log.pieces), default=base.about.finished_at.timestamp())
            begin, end = base.about.finished_at, datetime.fromtimestamp(until, UTC)
            _console.print(
                f"{timeline.folder.name} {base.folder.name}  {begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC, "
                f"{len(log.pieces)} pieces of the log{f'; {log.flaw.reason}' if log.flaw else ''}",
                highlight=False,
            )


async def recover_archive(
    folder: str, home: Path | None, until: datetime | None, timeline: str, *, unsigned: bool
) -> None:
    """Make a data folder from an archive. Raises what `recover` does."""
    settings, own = _settings()
    target = open_home(home) if home else own
    keys, life = open_keyring(settings.secret_key, own.keys), timeline.upper().zfill(8) if timeline else ""
    made = await recover(_folder(folder, settings), target, keys, until, life=life, unsigned=unsigned)
    last = f"{made.last_commit:%Y-%m-%d %H:%M:%S.%f} UTC" if made.last_commit else "the base backup itself"
    _console.print(f"[green]Recovered[/] to {target.pg}: the last change in it is of {last}.", highlight=False)
    _console.print(
        "Start it with a home that has the same keys, and keep the archive on: it goes on as another timeline."
    )


async def stop_archive(dsn: str) -> None:
    """Drop the slot, and forget the archive. Raises `ArchiveWritten`."""
    settings, home = _settings()
    server = _server(dsn, settings, home)
    dropped = await drop_slot(server)
    if not dropped and await slot_status(server):
        raise ArchiveWritten
    memory.forget(home.folder("archive"))
    _console.print("Dropped: the server keeps its log for nobody." if dropped else "There was nothing to drop.")


def as_second(text: str) -> datetime:
    """Read a moment; UTC where it does not say. Raises `ValueError`."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)

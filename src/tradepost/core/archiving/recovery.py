"""A new data folder from an archive: as of one second, or of the last thing that arrived."""

import asyncio
import os
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from tradepost.core.archiving import place
from tradepost.core.archiving.client import DumpFailed, run_program
from tradepost.core.archiving.place import ArchiveDamaged, Backup
from tradepost.core.crypto import Keyring
from tradepost.core.embedded import PostgresServer, embedded_postgres
from tradepost.core.embedded.cluster import check_room
from tradepost.core.embedded.process import EmbeddedServerFailed
from tradepost.core.embedded.programs import postgres_programs
from tradepost.core.errors import Conflict, Invalid
from tradepost.core.home import Home, open_home

_MOST_S = 86_400.0  # for replaying a day's log on a slow disk
_TOO_EARLY = "recovery ended before configured recovery target was reached"


@dataclass(eq=False)
class DataFolderThere(Conflict):
    """There is a data folder at {path} already, and a recovery never writes over one: move it away, or choose another home with --home."""

    path: str


@dataclass(eq=False)
class ArchiveOtherVersion(Conflict):
    """The archive is of PostgreSQL {found} and this is PostgreSQL {ours}: recover with version {found}, then bring the data over."""

    found: int
    ours: int


@dataclass(eq=False)
class MomentNotReached(Invalid):
    """The archive ends before {moment}; nothing was made. Choose an earlier moment, or none for the last one it has."""

    moment: str


@dataclass(frozen=True)
class Recovered:
    """What came of a recovery. `last_commit`: of the last transaction that is in it, None where the base backup was all."""

    base: datetime
    last_commit: datetime | None
    pieces: int
    timeline: int


async def recover(
    archive: Path, home: Home, keys: Keyring, until: datetime | None = None, *, life: str = "", unsigned: bool = False
) -> Recovered:
    """Make a home's data folder from an archive, with everything committed until a moment, or everything there is.

    `life`: the timeline to recover, where the archive has several; `unsigned`: trust the pieces at the end that have no seal. Damage
    after the moment matters to nobody. Raises `DataFolderThere`, `HomeInUse`, `ArchiveDamaged`, `ArchiveBranched`,
    `ArchiveOtherVersion`, `MomentNotReached`, `KeyMissing`, `DiskFull`: then nothing was made.
    """
    if home.pg.exists() and any(home.pg.iterdir()):
        raise DataFolderThere(str(home.pg))
    with home.lock("pg"):
        timeline, base = place.best_backup(archive, until, life)
        place.check_backup(base, keys)
        ours = postgres_programs(None).major
        if base.about.major != ours:
            raise ArchiveOtherVersion(base.about.major, ours)
        log = await asyncio.to_thread(timeline.needed, base, keys, unsigned=unsigned)
        if log.flaw and until is None:
            raise log.flaw
        check_room(home, (base.about.bytes + len(log.pieces) * base.about.segment_bytes) // 1_000_000 + 64)
        staging = open_home(Path(tempfile.mkdtemp(prefix="recovering-", dir=home.path)))
        if (owner := home.path.stat()).st_uid:
            os.chown(staging.path, owner.st_uid, owner.st_gid)
        try:
            await _lay_out(staging.pg, archive, base, log.pieces)
            reached = await _replay(staging, until, log.flaw)
            if home.pg.exists():
                home.pg.rmdir()
            staging.pg.rename(home.pg)
        finally:
            shutil.rmtree(staging.path, ignore_errors=True)
    return Recovered(base.about.finished_at, reached[0], len(log.pieces), reached[1])


async def _lay_out(data: Path, archive: Path, base: Backup, pieces: list[Path]) -> None:
    """Unpack a base backup, have PostgreSQL compare every file with its list, and put the log beside it."""
    await asyncio.to_thread(place.check_files, base)
    try:
        await asyncio.to_thread(_unpack, base, data)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ArchiveDamaged(str(base.folder), f"it does not unpack: {error}") from None
    shutil.copyfile(base.folder / place.MANIFEST, data / place.MANIFEST)
    try:
        await run_program("pg_verifybackup", "--quiet", "--exit-on-error", str(data))
    except DumpFailed as error:
        raise ArchiveDamaged(str(base.folder), error.said.removeprefix("pg_verifybackup: error: ")) from None
    for piece in pieces:
        await asyncio.to_thread(_add_piece, piece, data / "pg_wal" / piece.name.removesuffix(".partial"))
    for name, history in place.histories(place.timelines(archive)).items():
        shutil.copyfile(history, data / "pg_wal" / name)
    (data / "recovery.signal").touch(0o600)


def _unpack(base: Backup, data: Path) -> None:
    data.mkdir(mode=0o700)
    for name, target in (("base.tar.gz", data), ("pg_wal.tar.gz", data / "pg_wal")):
        with tarfile.open(base.folder / name, "r:gz") as packed:
            packed.extractall(target, filter="data")
    for name in ("standby.signal", "recovery.signal"):
        (data / name).unlink(missing_ok=True)
    (data / "postgresql.auto.conf").write_bytes(b"")  # it may name programs to run, and PostgreSQL's list leaves it out


def _add_piece(piece: Path, target: Path) -> None:
    """Copy a piece of the log; one that was not finished only where the base backup has not more of it."""
    if piece.suffix and target.exists() and _written(target) >= _written(piece):
        return
    shutil.copyfile(piece, target)


def _written(piece: Path) -> int:
    return len(piece.read_bytes().rstrip(b"\0"))


async def _replay(staging: Home, until: datetime | None, flaw: ArchiveDamaged | None) -> tuple[datetime | None, int]:
    """Run the server until it has replayed the log and begun a new timeline; return the last commit's time and the timeline.

    PostgreSQL has reached a moment when it has seen a later commit, so a `flaw` counts only where it has not.
    """
    settings = {
        "restore_command": "/bin/false",  # all of the log is in the folder already
        "recovery_target_timeline": "current",
        "recovery_target_action": "promote",
        "hot_standby": "off",  # or it would seem ready before it has replayed everything
        "synchronous_standby_names": "",
        "autovacuum": "off",
    }
    if until:
        settings["recovery_target_time"] = until.astimezone(UTC).isoformat(sep=" ")
    try:
        async with embedded_postgres(staging.path, settings, patience_s=_MOST_S) as server:
            return await _reached(server)
    except EmbeddedServerFailed:
        written = (staging.logs / "postgresql.log").read_text("utf-8", "replace")
        if until and _TOO_EARLY in written:
            raise (flaw or MomentNotReached(f"{until:%Y-%m-%d %H:%M:%S%z}")) from None
        raise


async def _reached(server: PostgresServer) -> tuple[datetime | None, int]:
    connection = await asyncpg.connect(server.dsn())
    try:
        row = await connection.fetchrow("""
            SELECT pg_last_xact_replay_timestamp(),
                   ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int
        """)
    finally:
        await connection.close()
    return row[0], row[1]

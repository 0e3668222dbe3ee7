"""Keeping an archive: the log as it is written, base backups when they are due, old ones dropped."""

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import asyncpg
import msgspec
import structlog

from tradepost.core.archiving import place
from tradepost.core.archiving.client import DumpFailed, run_client, without_password
from tradepost.core.archiving.place import About, ArchiveDamaged, Backup, Timeline, segment_of
from tradepost.core.crypto import Keyring
from tradepost.core.embedded.process import Child, Log
from tradepost.core.embedded.programs import postgres_programs

NAME = (
    "tradepost_archive"  # of the slot that keeps the log until it is here, and of the standby that commits may wait for
)
_AGAIN_S = 0.5
_LOOK_S = 1.0
_ABANDONED_S = 2 * 86_400
_log = structlog.get_logger()


@dataclass(frozen=True)
class Archiver:
    """An archive and the server it is of. `dsn` is a superuser's or that of a role with REPLICATION and pg_monitor."""

    dsn: str
    folder: Path
    keys: Keyring
    backup_every: timedelta = timedelta(hours=24)
    keep: int = 2

    async def timeline(self) -> Timeline:
        """Return the folder of the server's present life, made where it is missing. Raises `ArchiveOfAnother`."""
        server = await ask_server(self.dsn)
        place.check_system(self.folder, server.system)
        found = Timeline(self.folder / server.timeline)
        found.make()
        return found

    @asynccontextmanager
    async def running(self, log: Path) -> AsyncIterator[None]:
        """Keep the archive for the length of the block; the first base backup is begun at once. Raises `ArchiveOfAnother`, `DumpFailed`."""
        await self._make_slot()
        await self.timeline()
        with Log(log) as written:
            tasks = [asyncio.create_task(self._receive(written)), asyncio.create_task(self._maintain())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                for timeline in place.timelines(self.folder):
                    timeline.seal(self.keys)

    async def _make_slot(self) -> None:
        await run_client("pg_receivewal", self.dsn, "--create-slot", "--if-not-exists", f"--slot={NAME}")

    async def _receive(self, log: Log) -> None:
        """Receive the log for ever, beginning again where the connection ends."""
        while True:
            with suppress(OSError, asyncpg.PostgresError, DumpFailed):
                timeline = await self.timeline()
                await self._make_slot()
                await self._receive_once(timeline, log)
                _log.warning("archive_interrupted", reason=log.reason())
            await asyncio.sleep(_AGAIN_S)

    async def _receive_once(self, timeline: Timeline, log: Log) -> None:
        shown, environment = without_password(self.dsn)
        program = postgres_programs(None).folder / "pg_receivewal"
        options = (f"--directory={timeline.wal}", f"--slot={NAME}", "--synchronous", "--no-loop", "--no-password")
        log.mark()
        child = Child(
            [str(program), *options, f"--dbname={shown}"], log=log, user=None, death_signal=signal.SIGINT,
            environment={**environment, "PGAPPNAME": NAME},
        )  # fmt: skip
        try:
            await child.ended(tick_s=0.1)
        finally:
            await child.stop((signal.SIGINT, 10.0))

    async def _maintain(self) -> None:
        """Seal what is finished, and make base backups when they are due."""
        while True:
            try:
                found = place.timelines(self.folder)
                for timeline in found:
                    await asyncio.to_thread(timeline.seal, self.keys)
                if is_due(found[-1], self.backup_every):
                    await self.make_backup()
            except (OSError, asyncpg.PostgresError, DumpFailed) as error:
                _log.warning("archive_maintenance_failed", reason=str(error))
            await asyncio.sleep(_LOOK_S)

    async def make_backup(self) -> Backup:
        """Make a base backup, have PostgreSQL look it through, and drop what is older than those to keep. Raises `DumpFailed`."""
        timeline = await self.timeline()
        for leftover in timeline.copies.glob(".making-*"):
            if time.time() - leftover.stat().st_mtime > _ABANDONED_S:  # not one that another process makes just now
                shutil.rmtree(leftover, ignore_errors=True)
        making = Path(tempfile.mkdtemp(prefix=".making-", dir=timeline.copies))
        try:
            before = await ask_server(self.dsn)
            await run_client(
                "pg_basebackup", self.dsn, f"--pgdata={making}", "--format=tar", "--compress=gzip:1", "--checkpoint=fast",
                "--wal-method=stream", "--manifest-checksums=SHA256", "--no-password",
            )  # fmt: skip
            base = await asyncio.to_thread(self._finish, making, before, await ask_server(self.dsn))
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
        self._drop_old(timeline)
        return base

    def _finish(self, making: Path, before: "Server", after: "Server") -> Backup:
        """Say what a base backup is and give the folder its name: from then on it counts."""
        manifest = (making / place.MANIFEST).read_bytes()
        listed = msgspec.json.decode(manifest)
        start = listed["WAL-Ranges"][0]["Start-LSN"]
        size = sum(file["Size"] for file in listed["Files"])
        about = About(
            system=before.system, major=before.major, timeline=before.timeline, segment_bytes=before.segment_bytes,
            first=segment_of(start, before.timeline, before.segment_bytes), started_at=before.now, finished_at=after.now,
            manifest=sha256(manifest).hexdigest(), bytes=size,
        )  # fmt: skip
        if before.timeline != after.timeline:
            raise ArchiveDamaged(str(making), "the server began another life meanwhile")
        place.sealed(making, about, self.keys)
        return Backup(making.rename(making.with_name(f"{before.now.astimezone(UTC):%Y%m%dT%H%M%S%f}Z")), about)

    def _drop_old(self, timeline: Timeline) -> None:
        bases = timeline.bases()
        for base in bases[: -self.keep]:
            shutil.rmtree(base.folder)
        timeline.drop_before(bases[-self.keep :][0].about.first)


@dataclass(frozen=True)
class Server:
    """What a server says of itself."""

    system: int
    major: int
    timeline: str
    segment_bytes: int
    now: datetime


async def ask_server(dsn: str) -> Server:
    """Ask a server which one it is, in which life, and what time it has."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        row = await connection.fetchrow("""
            SELECT system_identifier, current_setting('server_version_num')::int / 10000,
                   left(pg_walfile_name(pg_current_wal_lsn()), 8),
                   pg_size_bytes(current_setting('wal_segment_size')), clock_timestamp()
            FROM pg_control_system()
        """)
    finally:
        await connection.close()
    return Server(*row)


async def drop_slot(dsn: str) -> bool:
    """Have a server keep its log for no archive any more; return whether it did."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        found = await connection.fetch(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1 AND NOT active",
            NAME,
        )
    finally:
        await connection.close()
    return bool(found)


def is_due(timeline: Timeline, every: timedelta) -> bool:
    """Whether a timeline has no base backup that is younger."""
    bases = timeline.bases()
    return not bases or datetime.now(UTC) - bases[-1].about.finished_at > every

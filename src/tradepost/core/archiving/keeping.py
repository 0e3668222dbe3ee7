"""Keeping an archive: the log as it is written, base backups when they are due, old ones dropped."""

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import cast

import asyncpg
import msgspec
import structlog

from tradepost.core.archiving import place
from tradepost.core.archiving.client import run_client, without_password
from tradepost.core.archiving.memory import Memory
from tradepost.core.archiving.place import NAME, About, ArchiveDamaged, ArchiveGone, Backup, Timeline, segment_of
from tradepost.core.crypto import Keyring
from tradepost.core.embedded.process import Child, Log
from tradepost.core.embedded.programs import postgres_programs
from tradepost.core.errors import DomainError, Unavailable

_AGAIN_S = 0.5
_LOOK_S = 1.0
_DUE_S = 10.0
_REMOVED = "has already been removed"  # as PostgreSQL says of log that somebody asks for
_ABANDONED_S = 2 * 86_400
_log = structlog.get_logger()


@dataclass(eq=False)
class ArchiverEnded(Unavailable):
    """The archive is not kept any more: {reason}."""

    reason: str


@dataclass(frozen=True)
class Archiver:
    """An archive and the server it is of. `dsn` is a superuser's or that of a role with REPLICATION and pg_monitor.

    `home` is a folder of the installation's own, for what it must not have to believe the archive.
    """

    dsn: str
    folder: Path
    keys: Keyring
    home: Path
    backup_every: timedelta = timedelta(hours=24)
    keep: int = 2
    received: dict[str, Timeline] = field(default_factory=dict)  # the lives of the server since we began
    refused: set[str] = field(default_factory=set)  # pieces that will not be sealed, and somebody was told

    @property
    def memory(self) -> Memory:
        """What the installation remembers of the archive."""
        return Memory(self.home, self.folder)

    def check_place(self) -> None:
        """Begin the archive where there was none, and refuse a folder that is not it. Raises `ArchiveGone`."""
        known = self.memory.recall()
        if not (self.folder / place.MARKER).is_file():
            if known:
                raise ArchiveGone(str(self.folder))
            place.begin(self.folder)
        if not known:
            self.memory.note()

    async def timeline(self) -> Timeline:
        """Return the folder of the server's present life, made where it is missing. Raises `ArchiveOfAnother`, `ArchiveGone`."""
        server = await ask_server(self.dsn)
        self.check_place()
        place.check_system(self.folder, server.system)
        found = Timeline(self.folder / server.timeline)
        found.make()
        if self.memory.sealed(server.timeline) is None:  # whatever is there already is not ours to vouch for
            self.memory.note(**{server.timeline: max((path.name for path in found.segments()), default="")})
        self.received[server.timeline] = found
        return found

    @asynccontextmanager
    async def running(self, log: Path) -> AsyncIterator[None]:
        """Keep the archive for the length of the block, which begins when there is a base backup of the server's present life.

        Before that nothing can be recovered, so nobody should be told that a change is safe. Raises `ArchiveOfAnother`, `ArchiveGone`,
        `DumpFailed`, and `ArchiverEnded` at whatever point the archive cannot be kept any more.
        """
        present = await self._prepare()
        with Log(log) as written:
            try:
                async with _beside(self._receive(written), self._seal()):
                    if not present.bases():
                        await self.make_backup()
                    async with _beside(self._back_up()):
                        yield
            finally:
                with _told("archive_not_sealed"):
                    self.seal_received()

    async def _prepare(self) -> Timeline:
        """See to the slot; where the server dropped log that was never here, begin the log anew."""
        timeline = await self.timeline()
        if await slot_status(self.dsn) == "lost":
            _log.error("archive_gap", life=timeline.folder.name, reason="the server dropped log that was not fetched")
            await drop_slot(self.dsn)
            timeline.set_aside()
        await run_client("pg_receivewal", self.dsn, "--create-slot", "--if-not-exists", f"--slot={NAME}")
        return timeline

    async def _receive(self, log: Log) -> None:
        """Receive the log for ever, beginning again where the connection ends."""
        while True:
            with _told("archive_interrupted"):
                timeline = await self._prepare()
                await self._receive_once(timeline, log)
                _log.warning("archive_interrupted", reason=log.reason())
                if _REMOVED in log.added():
                    _log.error("archive_gap", life=timeline.folder.name, reason=log.reason())
                    timeline.set_aside()
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

    async def _seal(self) -> None:
        """Seal what is finished, whether or not the server is there and whatever a base backup does."""
        while True:
            with _told("archive_not_sealed"):
                await asyncio.to_thread(self.seal_received)
            await asyncio.sleep(_LOOK_S)

    def seal_received(self) -> None:
        """Seal the pieces that were finished since the last one that was sealed, and none before it: those had their seals.

        Whoever takes a seal away to have another piece signed in its place finds that the home remembers.
        """
        for life, timeline in [*self.received.items()]:
            last = self.memory.sealed(life) or ""
            for piece in timeline.segments():
                if piece.name > last:
                    timeline.seal(piece, self.keys)
                    self.memory.note(**{life: piece.name})
                elif piece.name not in self.refused and not (timeline.seals / piece.name).exists():
                    self.refused.add(piece.name)
                    _log.error("archive_seal_missing", piece=piece.name, life=life)

    async def _back_up(self) -> None:
        """Make base backups of the server's present life when they are due."""
        while True:
            with _told("archive_backup_failed"):
                if is_due(await self.timeline(), self.backup_every):
                    await self.make_backup()
            await asyncio.sleep(_DUE_S)

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
            manifest=sha256(manifest).hexdigest(), bytes=size, files=place.packed(making),
        )  # fmt: skip
        if before.timeline != after.timeline:
            raise ArchiveDamaged(str(making), "the server began another life meanwhile")
        place.sealed(making, about, self.keys)
        return Backup(making.rename(making.with_name(f"{before.now.astimezone(UTC):%Y%m%dT%H%M%S%f}Z")), about)

    def _drop_old(self, timeline: Timeline) -> None:
        bases = timeline.bases()
        old = superfluous(bases, self.keep, self.backup_every)
        for base in old:
            shutil.rmtree(base.folder)
        timeline.drop_before(bases[len(old)].about.first)


@asynccontextmanager
async def _beside(*work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Do work for the length of the block; work that fails ends the block too. Raises `ArchiverEnded`."""
    owner, failed = cast("asyncio.Task[None]", asyncio.current_task()), list[BaseException]()

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            failed.append(error)
            owner.cancel()

    tasks = [asyncio.create_task(one) for one in work]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        if not failed:
            raise
        owner.uncancel()
        raise ArchiverEnded(repr(failed[0])) from failed[0]
    finally:
        for task in tasks:
            task.remove_done_callback(ended)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def _told(event: str) -> Iterator[None]:
    """Log what goes wrong by the world's fault, so that the work can be tried again."""
    try:
        yield
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, DomainError) as error:
        _log.error(event, reason=str(error))


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


async def slot_status(dsn: str) -> str:
    """Say whether a server has the log that the archive needs next (`reserved`, `lost` …); empty where it keeps it for no archive."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        found = await connection.fetchval(
            "SELECT coalesce(wal_status, 'unknown') FROM pg_replication_slots WHERE slot_name = $1", NAME
        )
        return str(found or "")
    finally:
        await connection.close()


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
    """Whether a timeline has no base backup that is younger and that its log follows on."""
    bases = timeline.bases()
    return not bases or not timeline.follows_on(bases[-1]) or datetime.now(UTC) - bases[-1].about.finished_at > every


def superfluous(bases: Sequence[Backup], keep: int, every: timedelta) -> Sequence[Backup]:
    """Return the oldest base backups that may go, of those of one life, oldest first.

    `keep` stay, and as many as bring back every moment of the last `keep` times `every`: base backups that somebody made by hand
    shorten no history.
    """
    reaches = bases[-1].about.finished_at - keep * every
    old = 0
    while old < len(bases) - keep and bases[old + 1].about.finished_at <= reaches:
        old += 1
    return bases[:old]

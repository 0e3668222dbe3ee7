"""Run a command beside the engine that servers have: PostgreSQL 17 with PostGIS and pgvector, Valkey, Redis and pgbouncer of Debian 13.

    tools/production_engine.py .venv/bin/python -m pytest -n 2
    tools/production_engine.py --pooled .venv/bin/python -m pytest -n 2

The system is made once, by deploy/debian-13.sh, in a folder of the user's cache, and its programs are run in it by chroot, on free
ports of this machine, with data that is gone at the end. The command is told their addresses as the tests read them.
Needs Linux and root, and debootstrap, which is installed where apt can.
"""

import argparse
import configparser
import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
SETUP = CHECKOUT / "deploy" / "debian-13.sh"
POOLER = CHECKOUT / "deploy" / "pgbouncer.ini"
SHARED_MEMORY, ROOM = Path("/dev/shm"), 4 << 30  # noqa: S108  # a folder of its own within
INSIDE = "/srv/engine"  # where the data is, as programs of the system see it
PROGRAMS = "/usr/lib/postgresql/17/bin"
USER = "postgres"
LONGEST_START_S = 120
CACHES = ("valkey-server", "redis-server")

# Data that may be lost, many clones of databases, and what deploy/debian-13.sh sets.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "400",
    "shared_preload_libraries": "pg_stat_statements",
    "random_page_cost": "1.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "replica",
    "max_wal_size": "512MB",
    "timezone": "UTC",
    "log_min_messages": "fatal",
}
# A shared connection cannot keep what one client sets, so the roles have the limits, as deploy/debian-13.sh gives them.
ROLES = """
    CREATE ROLE tradepost_app LOGIN;
    ALTER ROLE tradepost_app SET statement_timeout = '10s';
    ALTER ROLE tradepost_app SET lock_timeout = '5s';
    ALTER ROLE tradepost_app SET idle_in_transaction_session_timeout = '60s';
    ALTER ROLE tradepost_app SET jit = off;
"""


class NoEngine(Exception):
    """Why the engine cannot be had on this machine."""


@dataclass(frozen=True)
class Engine:
    """A system in a folder, and the folder of this run's data: `data` from outside, `seen` from within."""

    root: Path
    data: Path
    seen: str
    is_mounted: bool

    def command(self, *program: str, user: str = USER) -> list[str]:
        """Return what runs a program of the system; its process is the program's own, so its number may be signalled."""
        inside = ["chroot", f"--userspec={user}:{user}", str(self.root), *program]
        if not self.is_mounted:
            return inside
        # The mount is this process' own and goes with it.
        mount = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", mount, "sh", str(self.data), f"{self.root}{INSIDE}", *inside]

    def run(self, *program: str, given: str = "") -> None:
        """Run a program of the system to its end. Raises `NoEngine` with the end of what it said."""
        ended = subprocess.run(self.command(*program), input=given, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise NoEngine(f"{program[0]}: {(ended.stderr or ended.stdout).strip()[-400:]}")

    @contextmanager
    def running(self, name: str, *program: str, end: signal.Signals, port: int) -> Iterator[None]:
        """Run a server of the system for the length of the block, from when it takes connections."""
        log = self.data / f"{name}.log"
        with log.open("wb") as said:
            process = subprocess.Popen(
                self.command(*program),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            if not accepts(port, process):
                raise NoEngine(f"{name} did not start: {log.read_text(errors='replace').strip()[-400:]}")
            yield
        finally:
            process.send_signal(end)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main() -> None:
    """Run the command that is given and end with its code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--pooled", action="store_true", help="put pgbouncer between, a connection for each transaction"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run, with its arguments")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end, too
    try:
        with production_engine(pooled=chosen.pooled) as told:
            sys.exit(subprocess.run(chosen.command or ["env"], env=os.environ | told, check=False).returncode)
    except NoEngine as why:
        sys.exit(f"The production engine cannot run here: {why}")


@contextmanager
def production_engine(*, pooled: bool) -> Iterator[dict[str, str]]:
    """Run the servers for the length of the block; yield the variables by which the tests find them. Raises `NoEngine`."""
    root = made_system()
    with ExitStack() as stack:
        engine = stack.enter_context(_site(root))
        port = free_port()
        _start_postgres(engine, stack, port)
        caches = [_start_cache(engine, stack, name) for name in CACHES]
        told = {
            "TRADEPOST_TEST_DATABASE_URL": f"postgresql://postgres@127.0.0.1:{port}/postgres",
            "TRADEPOST_TEST_CACHE_URL": " ".join(caches),
        }
        if pooled:
            told["TRADEPOST_TEST_POOLER_URL"] = f"postgresql://127.0.0.1:{_start_pooler(engine, stack, port)}"
        yield told


def made_system() -> Path:
    """Return the folder with the system, made anew where the script that makes it has changed. Raises `NoEngine`."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NoEngine("a system in a folder needs Linux and root")
    cache = Path(os.environ.get("TRADEPOST_CACHE") or Path.home() / ".cache" / "tradepost")
    root = cache / f"debian-13-{hashlib.sha256(SETUP.read_bytes()).hexdigest()[:12]}"
    if root.exists():
        return root
    _need_debootstrap()
    for older in cache.glob("debian-13-*"):
        shutil.rmtree(older, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix="making-debian-13-", dir=cache))
    try:
        making.chmod(0o755)
        with tempfile.TemporaryFile("w+") as said:
            if subprocess.run([SETUP, "--in", making], stdout=said, stderr=said, check=False).returncode:
                said.seek(0)
                raise NoEngine(f"{SETUP.name} --in failed: {said.read().strip()[-600:]}")
        making.rename(root)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return root


def _need_debootstrap() -> None:
    if shutil.which("debootstrap"):
        return
    if shutil.which("apt-get"):
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        packages = ["debootstrap", "debian-archive-keyring"]
        for step in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            subprocess.run(["apt-get", "--quiet", *step], env=quiet, stdout=subprocess.DEVNULL, check=False)
    if not shutil.which("debootstrap"):
        raise NoEngine("there is no debootstrap; sudo apt-get install debootstrap")


@contextmanager
def _site(root: Path) -> Iterator[Engine]:
    """Give the servers a folder for their data: in memory where it can be mounted into the system, else in the system itself."""
    inside = Path(f"{root}{INSIDE}")
    inside.mkdir(exist_ok=True)
    is_mounted = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > ROOM and _can_mount(inside)
    with tempfile.TemporaryDirectory(prefix="tradepost-engine-", dir=SHARED_MEMORY if is_mounted else inside) as folder:
        data = Path(folder)
        data.chmod(0o777)  # the servers run as users of the system
        yield Engine(root, data, INSIDE if is_mounted else f"{INSIDE}/{data.name}", is_mounted)


def _can_mount(at: Path) -> bool:
    tried = ["unshare", "--mount", "mount", "--bind", str(at), str(at)]
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run(tried, capture_output=True, check=False).returncode == 0
    return False


def _start_postgres(engine: Engine, stack: ExitStack, port: int) -> None:
    folder = f"{engine.seen}/pg"
    # As the packages make it on a server, whose locale is the machine's.
    engine.run(
        f"{PROGRAMS}/initdb", "-D", folder, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"
    )  # fmt: skip
    given = [word for name, value in {**SETTINGS, "port": str(port)}.items() for word in ("-c", f"{name}={value}")]
    program = (f"{PROGRAMS}/postgres", "-D", folder, *given)
    stack.enter_context(engine.running("postgresql", *program, end=signal.SIGINT, port=port))
    psql = (f"{PROGRAMS}/psql", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-qX", "-v", "ON_ERROR_STOP=1")
    engine.run(*psql, given=ROLES)


def _start_cache(engine: Engine, stack: ExitStack, name: str) -> str:
    port = free_port()
    given = ("--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", engine.seen)
    stack.enter_context(engine.running(name, f"/usr/bin/{name}", *given, end=signal.SIGTERM, port=port))
    return f"redis://127.0.0.1:{port}/0"


def _start_pooler(engine: Engine, stack: ExitStack, postgres_port: int) -> int:
    """Run pgbouncer as deploy/pgbouncer.ini says, but for where PostgreSQL is, and that nobody needs a password."""
    port = free_port()
    shipped = configparser.ConfigParser(interpolation=None)
    shipped.read(POOLER, "utf-8")
    shipped["databases"]["*"] = f"host=127.0.0.1 port={postgres_port}"
    users = "".join(
        f'"{name}" ""\n' for name in ("postgres", "tradepost_app", "tradepost_readonly", "tradepost_backup")
    )
    (engine.data / "users").write_text(users)
    here = {"listen_port": str(port), "auth_type": "trust", "auth_file": f"{engine.seen}/users", "unix_socket_dir": ""}
    shipped["pgbouncer"].update(here)
    with (engine.data / "pgbouncer.ini").open("w") as file:
        shipped.write(file)
    program = ("/usr/sbin/pgbouncer", f"{engine.seen}/pgbouncer.ini")
    stack.enter_context(engine.running("pgbouncer", *program, end=signal.SIGTERM, port=port))
    return port


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait until somebody takes connections there; false where the process ended instead."""
    until = time.monotonic() + LONGEST_START_S
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.05)
    return False


if __name__ == "__main__":
    main()

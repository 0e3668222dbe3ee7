"""The home: the one folder in which an installation keeps everything it owns.

Owns where things lie below it (`TRADEPOST_HOME`, `.tradepost/` unless set) and the locks that keep two processes out of the
same data. Promises that what it makes is readable by its owner only, and that it never changes a folder that was there
before. What is inside the folders is their owners' business.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tradepost.core.errors import Conflict, Unavailable

VARIABLE = "TRADEPOST_HOME"
_CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass(eq=False)
class HomeUnusable(Unavailable):
    """{path} cannot be used: {reason}. Mend that or choose another folder with TRADEPOST_HOME."""

    path: str
    reason: str


@dataclass(eq=False)
class HomeInUse(Conflict):
    """The folder {path} is in use by another Tradepost (process {process}); stop that one or choose another folder with TRADEPOST_HOME."""

    path: str
    process: str


@dataclass(frozen=True, slots=True)
class Home:
    """A home that exists and can be written. Made by `open_home`."""

    path: Path

    def folder(self, *names: str) -> Path:
        """Return the folder of that name below the home, made with mode 0700 where it is missing."""
        found = self.path
        for name in names:
            found = found / name
            _make(found)
        return found

    @property
    def pg(self) -> Path:
        """The data folder of the embedded PostgreSQL; the supervisor makes it."""
        return self.path / "pg"

    @property
    def run(self) -> Path:
        """Locks and sockets of running servers: nothing in it is missed after they stop."""
        return self.folder("run")

    @property
    def logs(self) -> Path:
        """What the servers wrote."""
        return self.folder("logs")

    @property
    def keys(self) -> Path:
        """Secrets that the installation made for itself."""
        return self.folder("keys")

    def files(self, store: str) -> Path:
        """Return the folder of a store's uploaded files."""
        return self.folder("stores", store, "files")

    @contextmanager
    def usable(self) -> Iterator[None]:
        """Within the block, a file of this home that cannot be made, read or written raises `HomeUnusable`."""
        try:
            yield
        except OSError as error:
            if error.filename is None or str(error.filename).startswith(str(self.path)):
                raise _unusable(Path(error.filename or self.path), error) from error
            raise

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock of this home until the block ends or the process dies; raises `HomeInUse` at once where it is taken."""
        path = self.run / f"{name}.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            self._claim(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _claim(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode().strip()
            raise HomeInUse(str(self.path), holder or "unknown") from None
        except OSError as error:
            raise _unusable(self.path, error) from error


def find_home(environment: Mapping[str, str]) -> Path:
    """Return where the home is: `TRADEPOST_HOME`, else `.tradepost` in the checkout, else in the current folder."""
    chosen = environment.get(VARIABLE, "").strip()
    if chosen:
        return Path(chosen).expanduser().absolute()
    start = _CHECKOUT if (_CHECKOUT / "pyproject.toml").is_file() else Path.cwd()
    return start / ".tradepost"


def open_home(path: Path) -> Home:
    """Make the home where it is missing and return it. Raises `HomeUnusable`."""
    path = path.expanduser().absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(path, error) from error
    _make(path)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise HomeUnusable(str(path), "permission denied")
    return Home(path)


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise HomeUnusable(str(path), "it is a file, not a folder") from None
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> HomeUnusable:
    return HomeUnusable(str(path), (error.strerror or str(error)).lower())

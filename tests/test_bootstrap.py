"""What stands between a fresh checkout and a running program: `make`, the environment, and the runner of the tests.

Each test works on a tiny checkout of its own with the real tools in it; its packages are made here, so no network is needed.
"""

# ruff: noqa: S603, S607  (these tests start programs)

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
PYTHON = str(Path(sys.executable).resolve())  # not the environment's: people have no environment yet
UV = Path(sys.prefix) / "bin" / "uv"
UV_VERSION = "7.7.7"  # no real one, so that it can come from this test's wheel only

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "shop"
version = "1.0"
"""

BACKEND = """
import base64, hashlib, pathlib, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "shop-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
        wheel.writestr("shop.pth", str(pathlib.Path("src").absolute()))
        wheel.writestr("shop-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: shop\\nVersion: 1.0\\n")
        wheel.writestr("shop-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("shop-1.0.dist-info/RECORD", "")
    return name
"""

Make = Callable[..., subprocess.CompletedProcess[str]]


def wheel(folder: Path, name: str, version: str, files: Mapping[str, bytes]) -> str:
    """Write a wheel and return its line for a lock file."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    held = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    sums = {
        entry: base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        for entry, data in held.items()
    }
    record = "".join(f"{entry},sha256={sums[entry]},{len(held[entry])}\n" for entry in held) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in {**held, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(entry, data)
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def uv_wheel(folder: Path, program: str) -> str:
    """Write a wheel of uv whose program is the given script."""
    return wheel(folder, "uv", UV_VERSION, {f"uv-{UV_VERSION}.data/scripts/uv": program.encode()})


@pytest.fixture(scope="module")
def pantry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels, the lock files that name them, and a cache in which uv's wheel is remembered."""
    if not UV.exists():
        pytest.skip(f"this environment was made without uv ({UV} is missing)")
    folder = tmp_path_factory.mktemp("pantry")
    wheels = folder / "wheels"
    bread = wheel(wheels, "bread", "1.0", {"bread.py": b"crumbs = 1\n"})
    oven = wheel(wheels, "oven", "1.0", {"oven.py": b""})
    # The real uv under a version of its own: no test can take the one of this machine by mistake.
    script = f'#!/bin/sh\n[ "$1" = --version ] && echo "uv {UV_VERSION}" && exit\nexec "{UV}" "$@"\n'
    salt = wheel(wheels, "salt", "1.0", {"salt.py": b""})
    locks = {
        "": bread,
        "-dev": bread + oven,
        "-tracing": bread,
        "-vectors": bread + salt,
        "-build": wheel(wheels, "tongs", "1.0", {"tongs.py": b""}),
    }
    for name, lines in {**locks, "-uv": uv_wheel(wheels, script)}.items():
        (folder / f"requirements{name}.lock").write_text(lines)
    where = "import bootstrap\nwith bootstrap.cache_folder() as folder: print(folder)"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "tools"), "XDG_CACHE_HOME": str(folder / "cache")}
    asked = subprocess.run([PYTHON, "-c", where], env=environment, capture_output=True, text=True, check=True)
    shutil.copy(wheels / f"uv-{UV_VERSION}-py3-none-any.whl", asked.stdout.strip())
    return folder


@pytest.fixture
def checkout(pantry: Path, tmp_path: Path) -> Path:
    """A checkout with two packages locked, `bread` to run and `oven` to develop, on a machine that has seen another one."""
    folder = tmp_path / "check out"  # with a blank, which scripts like to trip over
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "shop.py").write_text("import bread\n")
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "backend.py").write_text(BACKEND)
    shutil.copy(CHECKOUT / "Makefile", folder)
    shutil.copytree(CHECKOUT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__", "sample_art"))
    for lock in pantry.glob("*.lock"):
        shutil.copy(lock, folder)
    for part in ("wheels", "cache"):
        shutil.copytree(pantry / part, tmp_path / part)
    return folder


@pytest.fixture
def make(checkout: Path, tmp_path: Path) -> Make:
    """Run `make` in the checkout, without network and with caches of its own."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHON": PYTHON,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
        "UV_NO_CONFIG": "1",
        "UV_OFFLINE": "1",
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(tmp_path / "wheels"),
    }

    def run(*targets: str, folder: Path = checkout, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", *targets], cwd=folder, env={**environment, **more}, capture_output=True, text=True, check=False
        )

    return run


def forget_uv(tmp_path: Path) -> None:
    """Make the machine one that has not seen a checkout yet."""
    shutil.rmtree(tmp_path / "cache")


def can_import(checkout: Path, name: str) -> bool:
    program = checkout / ".venv" / "bin" / "python"
    return subprocess.run([program, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0


def state(checkout: Path) -> dict[str, int]:
    """When each file of the environment was last written, but for what running it writes."""
    files = (checkout / ".venv").rglob("*")
    return {str(path): path.lstat().st_mtime_ns for path in files if "__pycache__" not in path.parts and path.is_file()}


def test_fresh_checkout_gets_its_environment_and_the_next_run_leaves_it_alone(
    checkout: Path, make: Make, tmp_path: Path
) -> None:
    forget_uv(tmp_path)
    first = make("runtime")
    assert (first.returncode, first.stdout) == (0, "")
    assert [line.partition(";")[0].partition(" (")[0] for line in first.stderr.splitlines()] == [
        "tradepost: making .venv",
        "tradepost: .venv is ready",
    ]
    assert [can_import(checkout, name) for name in ("shop", "bread", "tongs", "oven")] == [True, True, True, False]
    assert [path.name for path in tmp_path.glob("cache/tradepost/*/*")] == [f"uv-{UV_VERSION}-py3-none-any.whl"]
    before = state(checkout)
    again = make("runtime")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert state(checkout) == before


def test_machine_that_has_seen_a_checkout_needs_no_pip(checkout: Path, make: Make, bare_python: dict[str, str]) -> None:
    assert make("runtime", **bare_python).returncode == 0
    assert not list(checkout.glob(".venv/bin/pip*"))
    assert can_import(checkout, "bread")


def test_demo_does_not_take_away_what_test_needs(checkout: Path, make: Make) -> None:
    assert make("dev").returncode == 0
    assert can_import(checkout, "oven")
    before = state(checkout)
    assert make("runtime").returncode == 0
    assert state(checkout) == before


def test_changed_lock_changes_the_environment(checkout: Path, make: Make, tmp_path: Path) -> None:
    make("runtime")
    (checkout / "requirements.lock").write_text(
        wheel(tmp_path / "wheels", "bread", "2.0", {"bread.py": b"", "butter.py": b""})
    )
    assert make("runtime").returncode == 0
    assert can_import(checkout, "butter")
    assert sorted(path.name for path in checkout.glob(".venv/lib/*/site-packages/bread-*")) == ["bread-2.0.dist-info"]


def test_remembered_uv_that_was_tampered_with_is_not_run(checkout: Path, make: Make, tmp_path: Path) -> None:
    remembered = next(tmp_path.glob("cache/tradepost/*/uv-*.whl"))
    genuine = remembered.read_bytes()
    uv_wheel(remembered.parent, f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
    assert remembered.read_bytes() != genuine
    assert make("runtime").returncode == 0
    assert can_import(checkout, "bread")
    assert not (tmp_path / "ran").exists()
    assert remembered.read_bytes() == genuine


def test_the_language_model_is_added_and_stays(checkout: Path, make: Make) -> None:
    assert make("vectors").returncode == 0
    assert [can_import(checkout, name) for name in ("bread", "salt", "oven")] == [True, True, False]
    assert make("runtime").stderr == ""
    assert make("dev").returncode == 0
    assert [can_import(checkout, name) for name in ("bread", "salt", "oven")] == [True, True, True]
    assert make("vectors").stderr == ""


def test_two_at_once_make_one_good_environment(checkout: Path, make: Make) -> None:
    script = f"import subprocess, sys\nsys.exit(max(p.wait() for p in [subprocess.Popen([{str(checkout / 'tools' / 'bootstrap.sh')!r}, 'dev']) for _ in 'ab']))"
    (checkout / "two.py").write_text(script)
    with (checkout / "Makefile").open("a") as makefile:
        makefile.write('\ntwo:\n\t@"$(PYTHON)" two.py\n')
    both = make("two")
    assert both.returncode == 0
    assert both.stderr.count("making .venv;") == 1
    assert both.stderr.count("another make is preparing .venv; waiting for it") == 1
    assert can_import(checkout, "oven")


def test_interrupted_environment_is_made_good(checkout: Path, make: Make) -> None:
    make("runtime")
    (checkout / ".venv" / "tradepost.json").unlink()
    shutil.rmtree(next(checkout.glob(".venv/lib/*/site-packages/bread-1.0.dist-info")))
    assert make("runtime").returncode == 0
    assert can_import(checkout, "bread")


def test_moved_checkout_gets_a_new_environment(checkout: Path, make: Make, tmp_path: Path) -> None:
    make("runtime")
    moved = checkout.rename(tmp_path / "elsewhere")
    assert "making .venv" in make("runtime", folder=moved).stderr
    assert json.loads((moved / ".venv" / "tradepost.json").read_text())["path"] == str(moved / ".venv")
    assert can_import(moved, "shop")


def test_package_that_is_not_the_locked_one_is_refused(checkout: Path, make: Make, tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", "bread", "1.0", {"bread.py": b"import os\n"})
    refused = make("runtime")
    assert refused.returncode == 2
    assert "the packages could not be installed; the reason stands above" in refused.stderr
    assert not (checkout / ".venv" / "tradepost.json").exists()
    assert not can_import(checkout, "bread")


def test_pip_steps_in_where_uv_cannot(checkout: Path, make: Make, tmp_path: Path) -> None:
    script = (
        f'#!/bin/sh\n[ "$1" = --version ] && echo "uv {UV_VERSION}" && exit\necho "error: no such index" >&2\nexit 2\n'
    )
    (checkout / "requirements-uv.lock").write_text(uv_wheel(tmp_path / "wheels", script))
    made = make("runtime")
    assert made.returncode == 0
    assert "error: no such index" in made.stderr
    assert "tradepost: uv could not install the packages; trying pip with its own settings" in made.stderr
    assert [can_import(checkout, name) for name in ("shop", "bread")] == [True, True]


@pytest.fixture
def bare_python(tmp_path: Path) -> dict[str, str]:
    """Variables under which Python has neither pip nor ensurepip, as on Debian without python3-venv."""
    broken = tmp_path / "broken"
    broken.mkdir()
    for module in ("pip", "ensurepip"):
        (broken / f"{module}.py").write_text("raise ImportError('not installed')\n")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "make", "dirname"):
        (programs / name).symlink_to(shutil.which(name) or "")
    return {"PYTHONPATH": str(broken), "PATH": str(programs)}


def test_missing_venv_module_is_mended_by_root_and_named_to_others(
    make: Make, tmp_path: Path, bare_python: dict[str, str]
) -> None:
    package = "python{}.{}-venv".format(*sys.version_info[:2])
    apt = tmp_path / "programs" / "apt-get"
    # Installing takes away what hides the real modules.
    apt.write_text(
        f'#!/bin/sh\necho "$@" >> "{tmp_path}/asked"\n[ "$1" = install ] && exec {shutil.which("rm")} -r "{tmp_path}/broken"\nexit 0\n'
    )
    apt.chmod(0o755)
    forget_uv(tmp_path)
    made = make("runtime", **bare_python)
    if os.geteuid() == 0:
        assert made.returncode == 0
        assert (tmp_path / "asked").read_text().splitlines() == [
            "update",
            f"install --yes --no-install-recommends {package}",
        ]
    else:
        assert made.returncode == 2
        assert f"this mends it: sudo apt-get install --yes --no-install-recommends {package}" in made.stderr
        assert not (tmp_path / "asked").exists()


def test_incomplete_python_elsewhere_is_said(make: Make, tmp_path: Path, bare_python: dict[str, str]) -> None:
    forget_uv(tmp_path)
    made = make("runtime", **bare_python)
    assert made.returncode == 2
    assert f"{PYTHON} has no ensurepip to make .venv with; install a complete Python 3.11 or newer" in made.stderr


@pytest.mark.parametrize(
    ("pythons", "sentence"),
    [
        ({}, "needs Python 3.11 or newer and found none"),
        ({"python3": "echo 3.9; exit 1", "python3.11": "exit 127"}, "needs Python 3.11 or newer and found only 3.9"),
    ],
)
def test_machine_without_a_new_python_is_told_so(
    checkout: Path, make: Make, bare_python: dict[str, str], pythons: dict[str, str], sentence: str
) -> None:
    for name, script in pythons.items():
        program = Path(bare_python["PATH"]) / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    told = make("runtime", **bare_python, PYTHON="")
    assert told.returncode == 2
    assert told.stderr.count("\n") == 2
    assert sentence in told.stderr
    assert not (checkout / ".venv").exists()


def test_index_of_pip_is_handed_to_uv(checkout: Path, make: Make, tmp_path: Path) -> None:
    script = f'#!/bin/sh\n[ "$1" = --version ] && echo "uv {UV_VERSION}" && exit\necho "index $UV_DEFAULT_INDEX, certificates $SSL_CERT_FILE" >&2\nexit 0\n'
    (checkout / "requirements-uv.lock").write_text(uv_wheel(tmp_path / "wheels", script))
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://packages.example/simple\ncert = /other.pem\n")
    made = make("runtime", PIP_CONFIG_FILE=str(tmp_path / "pip.conf"), PIP_CERT="/my.pem")
    assert "index https://packages.example/simple, certificates /my.pem\n" in made.stderr


def test_make_alone_lists_every_recipe(make: Make) -> None:
    listed = make()
    names = [line.split()[1] for line in listed.stdout.splitlines()]
    recipes = [
        "demo",
        "test",
        "test-production",
        "lint",
        "types",
        "docs",
        "pictures",
        "race",
        "faults",
        "bench",
        "bench-search",
        "bench-extract",
        "bench-assistant",
        "lock",
        "clean",
        "vectors",
    ]
    assert names == ["help", *recipes]


def test_ci_runs_make_test_and_forgives_nothing(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(CHECKOUT / ".ci" / "run", tmp_path / ".ci")
    (tmp_path / "Makefile").write_text("test:\n\t@echo legs=$(TRADEPOST_REQUIRE_ALL_LEGS); exit 3\n")
    alone = {
        k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))
    }  # these tests run inside a make, too
    ran = subprocess.run([tmp_path / ".ci" / "run"], capture_output=True, text=True, check=False, env=alone)
    assert (ran.returncode, ran.stdout) == (2, "legs=1\n")


FEW_PLUGINS = {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_PLUGINS": "xdist.plugin",
}  # the others take seconds to load


@pytest.fixture
def run_legs(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the runner of the tests in a folder with tests of its own."""
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nmarkers = ["browser: x"]\n')

    def run(*legs: str, tests: str, **more: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "test_it.py").write_text(f"import os, pytest\n{tests}")
        command = [sys.executable, CHECKOUT / "tools" / "run_tests.py", *legs]
        environment = {"PATH": os.environ["PATH"], "TRADEPOST_CHROMIUM": sys.executable, **FEW_PLUGINS, **more}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


Legs = Callable[..., subprocess.CompletedProcess[str]]

MIXED = """
def test_good(): pass
def test_bad(): assert False
@pytest.mark.skip(reason="no wind")
def test_sail(): pass
@pytest.mark.browser
def test_page(): assert os.environ["TRADEPOST_CHROMIUM"]
"""


def test_runner_runs_every_leg_and_ends_with_the_sum(run_legs: Legs) -> None:
    ran = run_legs("tests", "browser", tests=MIXED)
    lines = ran.stdout.splitlines()
    assert ran.returncode == 1
    assert lines[-1] == "2 passed, 1 failed, 1 skipped"
    assert [line.split(" (")[0] for line in lines[-3:-1]] == ["tests      FAILED", "browser    passed"]
    assert "skipped: test_it.test_sail: no wind" in lines


def test_leg_that_cannot_run_is_named_and_counts_where_all_must_run(run_legs: Legs) -> None:
    settings = {"tests": MIXED, "TRADEPOST_CHROMIUM": "/nowhere/chromium"}
    lenient = run_legs("browser", **settings)
    assert lenient.returncode == 0
    line = "browser    NOT RUN (0 s): TRADEPOST_CHROMIUM names /nowhere/chromium, which does not start"
    assert lenient.stdout.splitlines()[-2:] == [line, "0 passed, 0 failed, 0 skipped"]
    strict = run_legs("browser", TRADEPOST_REQUIRE_ALL_LEGS="1", **settings)
    assert strict.returncode == 1
    assert line in strict.stdout


def test_production_leg_says_what_it_needs(run_legs: Legs, tmp_path: Path) -> None:
    ran = run_legs("production", tests=MIXED, PATH=str(tmp_path), TRADEPOST_CACHE=str(tmp_path / "cache"))
    needed = "there is no debootstrap" if os.geteuid() == 0 else "a system in a folder needs Linux and root"
    assert ran.returncode == 0
    assert ran.stdout.splitlines()[-2].startswith(f"production NOT RUN (0 s): {needed}")
    assert not (tmp_path / "cache").exists()


def test_leg_without_tests_and_leg_that_breaks_are_failures(run_legs: Legs) -> None:
    empty = run_legs("browser", tests="def test_good(): pass\n")
    assert (empty.returncode, empty.stdout.splitlines()[-2].split(": ")[-1]) == (1, "no test ran")
    broken = run_legs("browser", tests="import nothing_of_that_name\n")
    assert (broken.returncode, broken.stdout.splitlines()[-1]) == (1, "0 passed, 1 failed, 0 skipped")

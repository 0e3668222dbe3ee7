"""Run every leg of the tests and end with what came of them.

All legs run even where one fails. A leg that cannot run here is named with its reason; with TRADEPOST_REQUIRE_ALL_LEGS=1 it
counts as a failure. The last line sums up the legs that pytest runs: `N passed, N failed, N skipped`.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from production_engine import NoEngine, production_engine

CHECKOUT = Path(__file__).resolve().parents[1]
BIN = Path(sys.prefix) / "bin"
CHROMIUM = "TRADEPOST_CHROMIUM"
POOLER = "TRADEPOST_TEST_POOLER_URL"
BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
MAC_BROWSERS = ("Chromium.app/Contents/MacOS/Chromium", "Google Chrome.app/Contents/MacOS/Google Chrome")


# Services that pip-audit can ask, each with a question whose answer is known: an old release with a published weakness.
KNOWN_WEAKNESS = "CVE-2020-28493"
ADVISORIES = {
    "pypi": ("https://pypi.org/pypi/jinja2/2.11.2/json", None),
    "osv": (
        "https://api.osv.dev/v1/query",
        b'{"package": {"name": "jinja2", "ecosystem": "PyPI"}, "version": "2.11.2"}',
    ),
}


class CannotRun(Exception):
    """Why a leg cannot run on this machine."""


class OutOfReach(Exception):
    """What a leg asks of the world outside and does not get. It says nothing about the code, so that no leg fails by it."""


@dataclass
class Outcome:
    """What came of a leg. `passed` and the others count tests, so they stay 0 where pytest does not run the leg."""

    leg: str
    state: str = "passed"
    reason: str = ""
    seconds: float = 0.0
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    skips: list[str] = field(default_factory=list)


def main() -> None:
    """Run the legs named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("legs", nargs="*", metavar="leg", help=f"which to run, of {', '.join(LEGS)}; all unless given")
    chosen = parser.parse_args().legs or list(LEGS)
    if unknown := set(chosen) - set(LEGS):
        parser.error(f"there is no leg called {', '.join(sorted(unknown))}")
    outcomes = [run_leg(leg) for leg in LEGS if leg in chosen]
    strict = os.environ.get("TRADEPOST_REQUIRE_ALL_LEGS") == "1"
    report(outcomes, strict=strict)
    bad = {"FAILED", "NOT RUN"} if strict else {"FAILED"}
    sys.exit(any(outcome.state in bad for outcome in outcomes))


def run_leg(leg: str) -> Outcome:
    """Run one leg, timed."""
    say(f"== {leg}")
    outcome = Outcome(leg)
    started = time.monotonic()
    try:
        LEGS[leg](outcome)
    except CannotRun as why:
        outcome.state, outcome.reason = "NOT RUN", str(why)
    except OutOfReach as why:
        outcome.state, outcome.reason = "NO DATA", str(why)
    outcome.seconds = time.monotonic() - started
    return outcome


def lint(outcome: Outcome) -> None:
    """Style and format: both are run, so that one round shows all."""
    codes = [call([BIN / "ruff", *options, "."]) for options in (["check"], ["format", "--check"])]
    judge(outcome, max(codes))


def types(outcome: Outcome) -> None:
    """Types of the whole package."""
    judge(outcome, call([BIN / "mypy"]))


def contracts(outcome: Outcome) -> None:
    """Which module may import which."""
    judge(outcome, call([BIN / "lint-imports", "--no-logo"]))


def advisories(outcome: Outcome) -> None:
    """Whether a known weakness is published of anything that is installed with the product."""
    service = reachable_advisories()
    audit = (
        "pip-audit",
        "--vulnerability-service",
        service,
        "--disable-pip",
        "--require-hashes",
        "--progress-spinner",
        "off",
    )
    judge(outcome, alone("requirements-audit.lock", *audit, "--requirement", "requirements.lock"))


def docs(outcome: Outcome) -> None:
    """The site of the docs: every link between its pages leads somewhere."""
    build = ("sphinx-build", "--fail-on-warning", "--keep-going", "--quiet", "--builder", "html", "docs", "build/docs")
    judge(outcome, alone("requirements-docs.lock", *build))


def alone(lock: str, *command: str) -> int:
    """Run a program in an environment of its own, made from a lock file; return its exit code."""
    run = ("run", "--isolated", "--no-project", "--with-requirements", lock)
    return call([BIN / "uv", *run, *command])


def reachable_advisories() -> str:
    """Return the first service that knows of a weakness which it must know of. Raises `OutOfReach`: silence is no good news."""
    problems = []
    for name, (address, body) in ADVISORIES.items():
        headers = {"content-type": "application/json"} if body else {}
        try:
            with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=20) as answer:  # noqa: S310  # fixed
                if KNOWN_WEAKNESS in answer.read().decode():
                    return name
            problems.append(f"{name} does not know {KNOWN_WEAKNESS}")
        except OSError as problem:
            problems.append(f"{name}: {problem}")
    raise OutOfReach(
        "nobody who publishes advisories can be asked from here (" + "; ".join(problems) + "): nothing was checked"
    )


def tests(outcome: Outcome) -> None:
    """Everything but the browser, on two workers."""
    pytest(outcome, ["-n", "2", "-m", "not browser"])


# What speaks to the engine in its own words: types, functions, plans, locks, policies, migrations, dumps; `make test-production`
# runs the rest.
ENGINE_TESTS = (
    "backup", "checkout", "documented", "geo", "idempotency", "kernel_machine", "ledger", "locks", "matching", "migrations",
    "row_level_security", "search",
)  # fmt: skip
# What a pooler can spoil, because it takes a session, or many at once: listening, jobs, time limits, and requests over HTTP.
POOLED_TESTS = ("cache", "core_database", "health", "jobs", "listing_pages", "payments", "sockets")
LONG = "each_step_down"  # every migration alone, down and up again: minutes


def production(outcome: Outcome) -> None:
    """What depends on the engine, on the one that servers have; a part of it through pgbouncer."""
    try:
        with production_engine(pooled=True) as told:
            pooler = {name: told.pop(name) for name in [POOLER]}
            for names, more in ((ENGINE_TESTS, {}), (POOLED_TESTS, pooler)):
                say(f"-- production{', through pgbouncer' if more else ''}")
                pytest(
                    outcome,
                    ["-n", "2", "-m", "not browser", "-k", f"not {LONG}", *(f"tests/test_{name}.py" for name in names)],
                    told | more,
                )
    except NoEngine as why:
        raise CannotRun(str(why)) from None


def faults(outcome: Outcome) -> None:
    """A short run of the harness that kills every process in turn under load; `make faults` is the long one."""
    judge(outcome, call([sys.executable, CHECKOUT / "benchmarks" / "faults.py", "--minutes", "0.3", "--seed", "7"]))


def browser(outcome: Outcome) -> None:
    """What only a real browser can tell."""
    pytest(outcome, ["-n", "2", "--dist", "loadfile", "-m", "browser"], {CHROMIUM: find_browser()})


def demo(outcome: Outcome) -> None:
    """`make demo` from a copy with an environment of its own, without what only developers have: until a page is there, and to its end."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        shutil.copytree(
            CHECKOUT, copy, ignore=shutil.ignore_patterns(".git", ".venv", ".tradepost", ".*_cache", "__pycache__")
        )
        port = free_port()
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("TRADEPOST_", "VIRTUAL_ENV"))}
        mine |= {"PORT": str(port), "TRADEPOST_STORES": "omade"}
        running = subprocess.Popen(["make", "demo"], cwd=copy, env=mine, start_new_session=True)
        try:
            opened = opens(f"http://127.0.0.1:{port}/", running)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGINT)
            running.wait(60)
    if not opened:
        outcome.state, outcome.reason = "FAILED", f"no page; make demo ended with {running.returncode}"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def opens(address: str, running: subprocess.Popen[bytes], seconds: float = 300) -> bool:
    """Ask for a page until it is there or its server has ended."""
    until = time.monotonic() + seconds
    while running.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=20) as answer:  # noqa: S310  # our own
            return bool(answer.status == 200)
        time.sleep(0.2)
    return False


LEGS: dict[str, Callable[[Outcome], None]] = {
    "lint": lint,
    "types": types,
    "contracts": contracts,
    "advisories": advisories,
    "docs": docs,
    "tests": tests,
    "production": production,
    "faults": faults,
    "browser": browser,
    "demo": demo,
}


def pytest(outcome: Outcome, options: Sequence[str], environment: dict[str, str] | None = None) -> None:
    """Run pytest, count what it did, and fail a leg in which nothing ran: a leg without tests tests nothing."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        code = call([sys.executable, "-m", "pytest", *options, "--durations=20", f"--junitxml={results}"], environment)
        if results.exists():
            count(outcome, results)
    judge(outcome, code)
    if code == 5 or (code == 0 and outcome.passed == 0):
        outcome.state, outcome.reason = "FAILED", "no test ran"
    elif outcome.state == "FAILED" and not outcome.failed:
        outcome.reason = f"pytest ended with code {code}"
    if outcome.state == "FAILED":
        outcome.failed = max(outcome.failed, 1)


def count(outcome: Outcome, results: Path) -> None:
    """Read the counts and the reasons for skipping out of pytest's own report."""
    for case in ET.parse(results).getroot().iter("testcase"):  # noqa: S314  (written by pytest a moment ago)
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
        elif skip is not None:
            outcome.skipped += 1
            outcome.skips.append(f"{case.get('classname')}.{case.get('name')}: {skip.get('message')}")
        else:
            outcome.passed += 1


def find_browser() -> str:
    """Return a Chromium that starts, installed where that is possible. Raises `CannotRun`."""
    named = os.environ.get(CHROMIUM)
    if named:
        if not starts(named):
            raise CannotRun(f"{CHROMIUM} names {named}, which does not start")
        return named
    if found := installed_browser():
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say("installing chromium")
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        for step in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
            call(["apt-get", "--quiet", *step], quiet)
        if found := installed_browser():
            return found
    remedy = "sudo apt-get install chromium" if shutil.which("apt-get") else f"install one, or name it in {CHROMIUM}"
    raise CannotRun(f"there is no Chromium that starts; {remedy}")


def installed_browser() -> str | None:
    """Return the first Chromium that starts; Ubuntu has a stub of that name which only asks for its snap."""
    names = [shutil.which(name) for name in BROWSERS]
    names += [f"/Applications/{name}" for name in MAC_BROWSERS if sys.platform == "darwin"]
    return next((name for name in names if name and starts(name)), None)


def starts(program: str) -> bool:
    """Return whether a program can say its version."""
    try:
        return subprocess.run([program, "--version"], capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def call(command: Sequence[str | Path], environment: dict[str, str] | None = None) -> int:
    """Run a command in the open and return its exit code."""
    return subprocess.run(command, env={**os.environ, **(environment or {})}, check=False).returncode


def judge(outcome: Outcome, code: int) -> None:
    """Note whether the leg's program was content."""
    if code:
        outcome.state = "FAILED"


def report(outcomes: Sequence[Outcome], *, strict: bool) -> None:
    """Print what was skipped and why, what came of each leg, and the sum of the tests on the last line."""
    for outcome in outcomes:
        for skip in outcome.skips:
            say(f"skipped: {skip}")
    say("== legs")
    for outcome in outcomes:
        reason = f": {outcome.reason}" if outcome.reason else ""
        say(f"{outcome.leg:<10} {outcome.state} ({outcome.seconds:.0f} s){reason}")
    if strict and any(outcome.state == "NOT RUN" for outcome in outcomes):
        say("a leg that was not run counts as failed here (TRADEPOST_REQUIRE_ALL_LEGS=1)")
    passed, failed, skipped = (
        sum(getattr(outcome, name) for outcome in outcomes) for name in ("passed", "failed", "skipped")
    )
    say(f"{passed} passed, {failed} failed, {skipped} skipped")


def say(text: str) -> None:
    """Print at once, so that the order with what the legs print stays true."""
    print(text, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

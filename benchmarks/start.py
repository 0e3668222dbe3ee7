"""How soon the first page of `make demo` is there on a machine with the packages cached, and what the idle server holds."""

import http.client
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.pages import free_port

STORES = ("tese", "souk-loop", "shop-assistant", "marketplace-watch", "omade")


async def measure() -> dict[str, float]:
    """Clone the checkout into an empty folder, run `make demo` there and ask for each store's front page."""
    return measure_now()


def measure_now() -> dict[str, float]:
    """Do what `measure` says, without an event loop."""
    checkout = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "-q", str(checkout), str(clone)], check=True)
        port = free_port()
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("TRADEPOST_", "VIRTUAL_ENV"))} | {
            "PORT": str(port)
        }
        started = time.perf_counter()
        demo = subprocess.Popen(
            ["make", "demo"], cwd=clone, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            first = _first_page(port, demo, started)
            every = [_ask(port, f"{code}.localhost") for code in STORES]
            time.sleep(5)
            idle = _memory_mb(port)
        finally:
            os.killpg(demo.pid, signal.SIGINT)
            demo.wait(30)
            shutil.rmtree(clone, ignore_errors=True)
    print(f"start: first page after {first:.1f} s; front pages {every}; idle {idle:.0f} MB")
    return {"first_page_s": round(first, 1), "idle_mb": round(idle)}


def _first_page(port: int, demo: subprocess.Popen[bytes], started: float) -> float:
    while time.perf_counter() - started < 300:
        if demo.poll() is not None:
            raise RuntimeError(f"make demo ended with {demo.returncode}")
        try:
            if _ask(port, f"{STORES[0]}.localhost") == 200:
                return time.perf_counter() - started
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("no page within five minutes")


def _ask(port: int, host: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/", headers={"host": host})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _memory_mb(port: int) -> float:
    """Return the resident memory of the process that listens on the port."""
    inode = next(
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
    )
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(f.readlink()) == f"socket:[{inode}]" for f in (process / "fd").iterdir()):
                pages = int((process / "statm").read_text().split()[1])
                return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        except OSError:
            continue
    raise RuntimeError("nobody listens there")

"""The JSON page and the HTML page of 24 listings, in a store of 200,000, against the floor in the same run."""

import asyncio
import http.client
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.ground import ground
from benchmarks.load import Result, hammer

STORE, LISTINGS, REQUESTS, ROUNDS, CLIENTS = "tese", 200_000, 1_500, 5, 8


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(*arguments: str) -> Iterator[tuple[int, int]]:
    """Run one of the servers of benchmarks/serve.py; yield its process id and port."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.serve", arguments[0], str(port), *arguments[1:]]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1])
    try:
        wait_until_open(port, process)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait(10)


def wait_until_open(port: int, process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    """Wait until a server accepts connections."""
    for _ in range(int(seconds * 20)):
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    raise RuntimeError("the server did not start")


async def measure(which: str) -> dict[str, float]:
    """Measure `json_page` or `html_page`."""
    path = {"json_page": "/api/v1/listings?limit=24", "html_page": "/search?sort=newest"}[which]
    host = f"{STORE}.localhost"
    async with ground() as on:
        name = await on.store(STORE, LISTINGS)
        dsn, files = on.dsn(name), str(on.home.files(STORE))
        with (
            server("floor", dsn) as (floor_pid, floor_port),
            server("store", dsn, STORE, on.cache_url, files) as (pid, port),
        ):
            queries, size = await asyncio.to_thread(look, port, host, path)
            floors: list[Result] = []
            ours: list[Result] = []
            for round_no in range(ROUNDS + 1):
                a = await hammer(floor_port, "localhost", ["/floor"], requests=REQUESTS, clients=CLIENTS, pid=floor_pid)
                b = await hammer(port, host, [path], requests=REQUESTS, clients=CLIENTS, pid=pid)
                if round_no:  # the first round warms both up
                    floors.append(a)
                    ours.append(b)
    cpu, floor_cpu = median(r.cpu_ms for r in ours), median(r.cpu_ms for r in floors)
    rps, floor_rps = median(r.rps for r in ours), median(r.rps for r in floors)
    print(
        f"{which}: {cpu:.2f} ms CPU, {rps:.0f} requests/s, {queries} queries, {size:,} bytes; floor {floor_cpu:.2f} ms, {floor_rps:.0f}/s"
    )
    if which == "json_page":
        return {"cpu_ratio": round(cpu / floor_cpu, 2), "rps_ratio": round(rps / floor_rps, 2), "queries": queries}
    return {"cpu_ms": round(cpu, 2), "queries": queries, "bytes": size, "floor_cpu_ms": round(floor_cpu, 2)}


def look(port: int, host: str, path: str) -> tuple[int, int]:
    """Ask once; return how many queries the page took, by its own count, and its size in bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={"host": host})
    connection.getresponse().read()
    connection.request("GET", path, headers={"host": host})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status} {body[:300]!r}")
    return int(answer.headers["x-query-count"]), len(body)

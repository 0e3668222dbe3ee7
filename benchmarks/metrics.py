"""What counting for Prometheus costs a JSON page: the same process answers with counting and without, in turns of CPU time."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from benchmarks.ground import ground
from benchmarks.serve import bench_store
from tradepost.app import create_app
from tradepost.core import metrics

STORE, LISTINGS, REQUESTS, ROUNDS = "tese", 500, 400, 12
SCOPE = {
    "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "path": "/api/v1/listings",
    "raw_path": b"/api/v1/listings", "query_string": b"", "root_path": "", "scheme": "http", "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 80), "headers": [(b"host", f"{STORE}.localhost".encode())],
}  # fmt: skip


@contextmanager
def uncounted() -> Iterator[None]:
    """Within the block, adding to a metric does nothing."""
    note, add = metrics.Cell.note, metrics.Counted.add
    metrics.Cell.note = lambda _self, _value: None  # type: ignore[method-assign]
    metrics.Counted.add = lambda _self, *_labels, by=1: None  # type: ignore[method-assign,misc]  # noqa: ARG005
    try:
        yield
    finally:
        metrics.Cell.note, metrics.Counted.add = note, add  # type: ignore[method-assign]


async def measure() -> dict[str, Any]:
    """Ask for the first page of listings in turns, and compare the CPU of this process."""
    async with ground() as on:
        name = await on.store(STORE, LISTINGS)
        async with bench_store(STORE, on.dsn(name), on.cache_url, str(on.home.files(STORE))) as store:
            app = create_app({STORE: store})
            counting, without = [], []
            for round_no in range(ROUNDS + 1):
                with uncounted():
                    a = await _round(app)
                b = await _round(app)
                if round_no:  # the first warms both up
                    without.append(a)
                    counting.append(b)
    found = {
        "cpu_ratio": round(median(b / a for a, b in zip(without, counting, strict=True)), 4),
        "with_us": round(median(counting) * 1e6), "without_us": round(median(without) * 1e6), "adding_us": _adding(),
    }  # fmt: skip
    print(f"metrics: {found}")
    return found


async def _round(app: Any) -> float:
    """Return the seconds of CPU that a request took."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: dict[str, Any]) -> None:
        return None

    gc.collect()
    before = time.process_time()
    for _ in range(REQUESTS):
        await app({**SCOPE, "headers": list(SCOPE["headers"]), "state": {}}, receive, send)  # type: ignore[call-overload]
    return (time.process_time() - before) / REQUESTS


def _adding() -> float:
    """Return the microseconds of all that is added for such a request."""
    cell, times = metrics.Cell(), 50_000
    before = time.process_time()
    for _ in range(times):
        metrics.REQUESTS.add("bench", "GET", "/api/v1/listings", "200")
        metrics.REQUEST_SECONDS.note(0.001, "/api/v1/listings")
        cell.note(0.0005)
    return round((time.process_time() - before) / times * 1e6, 2)

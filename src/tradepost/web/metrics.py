"""`/metrics`: what the processes of this machine have counted, for Prometheus, and for nobody else.

Answers who brings the token, or without one whoever asks from a network of the settings, for this machine by a loopback name or for
a literal address; to others there is no such page. A store's visitors ask for its name, so a proxy that adds no header is told from
one who asks directly by the name that it passes on. One that neither adds a header nor passes the name on is taken for direct: behind
such a one only a token tells who asks.
"""

import asyncio
import hmac
import shutil
import time
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tradepost.core import metrics
from tradepost.core.database import SYSTEM
from tradepost.core.errors import DomainError
from tradepost.core.jobs import queue_lag, queue_state
from tradepost.core.metrics import Exchange
from tradepost.core.settings import MetricsSettings
from tradepost.flows.store import Store
from tradepost.ops.queries import database_state, latest_runs, list_standbys
from tradepost.web.proxies import Networks, networks_of

PATH: Final = "/metrics"
TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"
LEAVE_EVERY_S: Final = 5.0
_KEPT_S: Final = 10.0
_LONGEST_S: Final = 4.0
_FORWARDED: Final = frozenset({b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via", b"x-forwarded-host"})


class Watch:
    """The page of the metrics, and the task that leaves this process's figures for its siblings."""

    def __init__(self, settings: MetricsSettings, exchange: Exchange | None = None, folder: Path | None = None) -> None:
        self._token = settings.token
        self._networks: Networks = networks_of(settings.networks)
        self._exchange = exchange
        self._folder = folder
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    def may_see(self, scope: Any) -> bool:
        """Whether a request may see the metrics."""
        headers = scope["headers"]
        if self._token:
            given = next((value for name, value in headers if name == b"authorization"), b"")
            return hmac.compare_digest(given, f"Bearer {self._token}".encode())
        if scope.get("client") is None or any(name in _FORWARDED for name, _ in headers):
            return False
        host = next((value for name, value in headers if name == b"host"), b"").decode("latin-1")
        if not _is_direct(host):
            return False
        try:
            address = ip_address(scope["client"][0])
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    async def answer(self, stores: Mapping[str, Store], send: Any) -> None:
        """Send the metrics of every process of this machine."""
        async with self._reading:
            if time.monotonic() - self._read_at > _KEPT_S:
                await asyncio.gather(*(_read(store) for store in stores.values()))
                self._read_at = time.monotonic()
        if self._folder is not None:
            metrics.DISK_FREE.set(shutil.disk_usage(self._folder).free)
        note_pools(stores)
        told = self._exchange.gather() if self._exchange else [metrics.snapshot("server")]
        body = metrics.written(told)
        headers = [(b"content-type", TEXT), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def leave(self, stores: Mapping[str, Store]) -> None:
        """Leave this process's figures for its siblings again and again, until cancelled."""
        if self._exchange is None:
            return
        try:
            while True:
                note_pools(stores)
                self._exchange.leave()
                await asyncio.sleep(LEAVE_EVERY_S)
        finally:
            self._exchange.quit()


def _is_direct(host: str) -> bool:
    """Whether a Host header names this machine to itself, or an address, as nobody's browser does at a store with a name."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or bool(ip_address(name))
    except ValueError:
        return False


def note_pools(stores: Mapping[str, Store]) -> None:
    """Note what is only worth reading when somebody looks: pools and the cache."""
    for code, store in stores.items():
        metrics.POOL.set(store.db.connections, code, "open")
        metrics.POOL.set(store.db.idle_connections, code, "idle")
        metrics.POOL_WAITING.set(store.db.waiting, code)
        metrics.CACHE_UP.set(int(store.cache.is_up), code)
        for rate in store.cache.rates():
            metrics.CACHE_ASKED.set(rate.asked, code, rate.kind)
            metrics.CACHE_FOUND.set(rate.found, code, rate.kind)


async def _read(store: Store) -> None:
    """Read what the database knows of itself; one that is away is told as that, and what it said before is forgotten."""
    code = store.code
    try:
        async with asyncio.timeout(_LONGEST_S), store.db.transaction(actor=SYSTEM, read_only=True) as tx:
            queue, lag = await queue_state(tx), await queue_lag(tx)
            state, latest = await database_state(tx), await latest_runs(tx)
            standbys = await list_standbys(tx)
    except (TimeoutError, DomainError, OSError):
        _forget(code)
        metrics.DATABASE_UP.set(0, code)
        return
    _forget(code)
    metrics.DATABASE_UP.set(1, code)
    metrics.DATABASE_BYTES.set(state.database_bytes, code)
    metrics.CONNECTIONS.set(state.server_connections, code)
    metrics.MOST_CONNECTIONS.set(state.most_connections, code)
    metrics.QUEUE_SECONDS.set(lag, code)
    for name in ("due", "later", "running", "failed"):
        metrics.QUEUE.set(getattr(queue, name), code, name)
    for standby in standbys:
        if standby.lag_s is not None or standby.lag_bytes == 0:
            metrics.REPLICATION_SECONDS.set(standby.lag_s or 0, code, standby.name)
    metrics.MAINTENANCE_FAILED.set(sum(run.outcome == "failed" for run in latest.values()), code)
    books = latest.get("books")
    metrics.LEDGER_CHECKED.set(books.began_at.timestamp() if books else 0, code)  # 0: never, which is an alarm too
    if books:
        metrics.LEDGER_DRIFT.set(books.found, code)


def _forget(code: str) -> None:
    """Forget what may be otherwise by now; what the last check of the ledger found stays found."""
    for metric in (
        metrics.DATABASE_BYTES, metrics.CONNECTIONS, metrics.MOST_CONNECTIONS, metrics.QUEUE, metrics.QUEUE_SECONDS,
        metrics.REPLICATION_SECONDS, metrics.MAINTENANCE_FAILED,
    ):  # fmt: skip
        for labels in [labels for labels in metric.values if labels[0] == code]:
            del metric.values[labels]

"""What this process has counted, for Prometheus: cheap to add to on every request, gathered only when somebody asks.

Owns the list of every metric and the exchange between the processes of a machine, so that whichever is asked tells of all. Promises
that adding takes less than a microsecond and allocates nothing that is kept, that labels cannot grow without end (what is too many
is counted as `other`), and that each process's counters are its own, under `process`: a counter never falls while its process lives.
Why not the client library's own counters and its files: docs/decisions/0019-metrics.md.
"""

import os
import resource
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, Self

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

Labels = tuple[str, ...]
MOST_SERIES: Final = 4_000
STALE_S: Final = 60.0
_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_started: Final = time.time()


class Cell:
    """One histogram of one set of labels: how many values there were below each bound, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.total = 0.0

    def note(self, value: float) -> None:
        """Add a value."""
        self.counts[bisect_left(_BOUNDS, value)] += 1
        self.total += value


class Counted:
    """A metric that has a number for each set of labels; a counter only goes up.

    `is_shared`: it is not the process's but the store's, so only who is asked tells it, without naming a process.
    """

    def __init__(
        self, name: str, meaning: str, *labels: str, kind: Literal["counter", "gauge"] = "counter", is_shared: bool = False
    ) -> None:  # fmt: skip
        self.name, self.meaning, self.labels, self.kind, self.is_shared = name, meaning, labels, kind, is_shared
        self.values: dict[Labels, float] = {}
        DECLARED.append(self)

    def add(self, *labels: str, by: float = 1) -> None:
        """Add to the number of these labels."""
        values = self.values
        if labels not in values and len(values) >= MOST_SERIES:
            labels = ("other",) * len(self.labels)
        values[labels] = values.get(labels, 0) + by

    def set(self, value: float, *labels: str) -> None:
        """Set the number of these labels."""
        self.values[labels] = value


class Timed:
    """A metric of durations in seconds, for each set of labels."""

    def __init__(self, name: str, meaning: str, *labels: str) -> None:
        self.name, self.meaning, self.labels, self.is_shared = name, meaning, labels, False
        self.cells: dict[Labels, Cell] = {}
        DECLARED.append(self)

    def of(self, *labels: str) -> Cell:
        """Return the cell of these labels, to keep and add to."""
        cell = self.cells.get(labels)
        if cell is None:
            if len(self.cells) >= MOST_SERIES // 10:
                labels = ("other",) * len(self.labels)
            cell = self.cells.setdefault(labels, Cell())
        return cell

    def note(self, seconds: float, *labels: str) -> None:
        """Add a duration."""
        self.of(*labels).note(seconds)


DECLARED: Final[list[Counted | Timed]] = []

REQUESTS: Final = Counted(
    "tradepost_requests_total", "Requests answered, by route.", "store", "method", "route", "status"
)
REQUEST_SECONDS: Final = Timed("tradepost_request_seconds", "Seconds from a request to the end of its answer.", "route")
OPEN_LINES: Final = Counted(
    "tradepost_open_lines", "Web sockets and server-sent events that are open.", "store", kind="gauge"
)
QUERY_SECONDS: Final = Timed("tradepost_query_seconds", "Seconds that statements took, as the process waited.", "store")
QUERY_ERRORS: Final = Counted(
    "tradepost_query_errors_total", "Statements that failed, by the error's class.", "store", "error"
)
POOL: Final = Counted(
    "tradepost_pool_connections", "Connections of the pools to the database.", "store", "state", kind="gauge"
)
POOL_WAITING: Final = Counted(
    "tradepost_pool_waiting", "Who waits for a connection of the pool.", "store", kind="gauge"
)
JOBS: Final = Counted("tradepost_jobs_total", "Jobs that ended, by what came of the try.", "store", "job", "outcome")
JOB_SECONDS: Final = Timed("tradepost_job_seconds", "Seconds that a try of a job took.", "store", "job")
CACHE_ASKED: Final = Counted(
    "tradepost_cache_asked_total", "How often the cache was asked for a kind of key.", "store", "kind"
)
CACHE_FOUND: Final = Counted("tradepost_cache_found_total", "How often what was asked for was there.", "store", "kind")
CACHE_UP: Final = Counted("tradepost_cache_up", "Whether the last try reached the cache.", "store", kind="gauge")
SEARCHES: Final = Counted("tradepost_searches_total", "Searches, by what they found.", "store", "type", "found")
SEARCH_SECONDS: Final = Timed("tradepost_search_seconds", "Seconds that a search took.", "store")
CHECKOUTS: Final = Counted(
    "tradepost_checkouts_total", "Orders asked for: placed, or the error's class.", "store", "outcome"
)
PAYMENTS: Final = Counted("tradepost_payments_total", "What gateways said of payments.", "store", "gateway", "state")
DATABASE_UP: Final = Counted(
    "tradepost_database_up", "Whether the database answers.", "store", kind="gauge", is_shared=True
)
DATABASE_BYTES: Final = Counted(
    "tradepost_database_bytes", "Bytes of the database.", "store", kind="gauge", is_shared=True
)
CONNECTIONS: Final = Counted(
    "tradepost_database_connections", "Connections to the whole database server.", "store", kind="gauge", is_shared=True
)
MOST_CONNECTIONS: Final = Counted(
    "tradepost_database_connections_limit",
    "Connections the database server takes at most.",
    "store",
    kind="gauge",
    is_shared=True,
)
REPLICATION_SECONDS: Final = Counted(
    "tradepost_replication_lag_seconds",
    "Seconds that a replica is behind.",
    "store",
    "replica",
    kind="gauge",
    is_shared=True,
)
QUEUE: Final = Counted(
    "tradepost_queue_jobs", "Jobs in the queue, by state.", "store", "state", kind="gauge", is_shared=True
)
QUEUE_SECONDS: Final = Counted(
    "tradepost_queue_lag_seconds", "Seconds that the oldest due job has waited.", "store", kind="gauge", is_shared=True
)
LEDGER_DRIFT: Final = Counted(
    "tradepost_ledger_drift", "Journals that do not add up and payments not booked, at the last check.", "store", kind="gauge", is_shared=True
)  # fmt: skip
LEDGER_CHECKED: Final = Counted(
    "tradepost_ledger_checked_timestamp_seconds",
    "When the ledger was last added up, 0 for never.",
    "store",
    kind="gauge",
    is_shared=True,
)
MAINTENANCE_FAILED: Final = Counted(
    "tradepost_maintenance_failed", "Kinds of maintenance whose last run failed.", "store", kind="gauge", is_shared=True
)
DISK_FREE: Final = Counted(
    "tradepost_disk_free_bytes", "Free bytes where the installation writes.", kind="gauge", is_shared=True
)
CPU_SECONDS: Final = Counted("tradepost_process_cpu_seconds_total", "Seconds of processor time.")
RESIDENT: Final = Counted("tradepost_process_resident_bytes", "Bytes of memory.", kind="gauge")
STARTED: Final = Counted("tradepost_process_start_timestamp_seconds", "When the process began.", kind="gauge")


class Series(msgspec.Struct, array_like=True, frozen=True):
    """The numbers of one set of labels: one value, or the counts and the sum of a histogram."""

    labels: Labels
    value: float
    counts: tuple[int, ...] = ()


class Snapshot(msgspec.Struct, frozen=True):
    """What a process has counted until a moment."""

    process: str
    series: dict[str, tuple[Series, ...]]


def snapshot(process: str, *, for_others: bool = False) -> Snapshot:
    """Return what this process has counted until now; `for_others` without what whoever is asked reads for himself."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    CPU_SECONDS.set(usage.ru_utime + usage.ru_stime)
    RESIDENT.set(_resident())
    STARTED.set(_started)
    told = (metric for metric in DECLARED if not (for_others and metric.is_shared))
    return Snapshot(process, {metric.name: tuple(_series(metric)) for metric in told})


def _series(metric: Counted | Timed) -> Iterator[Series]:
    if isinstance(metric, Counted):
        yield from (Series(labels, value) for labels, value in metric.values.items())
    else:
        yield from (Series(labels, cell.total, tuple(cell.counts)) for labels, cell in metric.cells.items())


def _resident() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


class _Told(Collector):
    """Snapshots as the client library writes them."""

    def __init__(self, snapshots: Iterable[Snapshot]) -> None:
        self._snapshots = list(snapshots)

    def collect(self) -> Iterator[Metric]:
        """Yield each metric that anybody has counted."""
        for metric in DECLARED:
            family = _family(metric)
            for told in self._snapshots:
                for series in told.series.get(metric.name, ()):
                    _add(family, [*series.labels, *(() if metric.is_shared else (told.process,))], series)
            if family.samples:
                yield family


_Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


def _family(metric: Counted | Timed) -> _Family:
    labels = [*metric.labels, *(() if metric.is_shared else ("process",))]
    if isinstance(metric, Timed):
        return HistogramMetricFamily(metric.name, metric.meaning, labels=labels)
    if metric.kind == "gauge":
        return GaugeMetricFamily(metric.name, metric.meaning, labels=labels)
    return CounterMetricFamily(metric.name, metric.meaning, labels=labels)


def _add(family: _Family, labels: list[str], series: Series) -> None:
    if isinstance(family, HistogramMetricFamily):
        reached, buckets = 0, []
        for bound, count in zip((*_BOUNDS, float("inf")), series.counts, strict=True):
            reached += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), reached))
        family.add_metric(labels, buckets, series.value)
    else:
        family.add_metric(labels, series.value)


def written(snapshots: Iterable[Snapshot]) -> bytes:
    """Return snapshots in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told(snapshots))
    return generate_latest(registry)


class Exchange:
    """Where the processes of a machine leave their snapshots for each other: one small file each, renamed into its place."""

    def __init__(self, folder: Path, process: str) -> None:
        self._folder = folder
        self.process = process

    @classmethod
    def here(cls, folder: Path, role: str) -> Self:
        """Join the exchange in a folder as `role-<process id>`."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(folder, f"{role}-{os.getpid()}")

    def leave(self) -> None:
        """Leave what this process has counted; a full disk costs nothing but the figures."""
        path = self._folder / f"{self.process}.json"
        with suppress(OSError):
            path.with_suffix(".part").write_bytes(msgspec.json.encode(snapshot(self.process, for_others=True)))
            path.with_suffix(".part").rename(path)

    def gather(self) -> list[Snapshot]:
        """Return the snapshots of all processes that live, this one's of this moment; throws away those of the dead."""
        found = [snapshot(self.process)]
        for path in sorted(self._folder.glob("*.json")):
            if path.stem == self.process:
                continue
            try:
                if time.time() - path.stat().st_mtime > STALE_S or not _lives(path.stem):
                    path.unlink()
                    continue
                found.append(msgspec.json.decode(path.read_bytes(), type=Snapshot))
            except (OSError, msgspec.DecodeError):
                continue
        return found

    def quit(self) -> None:
        """Take this process's file away."""
        with suppress(OSError):
            (self._folder / f"{self.process}.json").unlink()


def _lives(process: str) -> bool:
    number = process.rpartition("-")[2]
    if not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

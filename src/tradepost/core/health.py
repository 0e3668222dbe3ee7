"""Whether this process lives, and whether a store can be served: for supervisors, load balancers and operators.

Promises an answer within two seconds whatever hangs. A store is down when its database does not answer or its disk is full;
without its cache, or with jobs that wait long, it is degraded but serves.
"""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final, Literal

import msgspec
from sqlalchemy import text

from tradepost.core.cache import Cache
from tradepost.core.database import SYSTEM, Database
from tradepost.core.errors import DomainError
from tradepost.core.jobs import queue_lag

State = Literal["up", "degraded", "down"]

LONGEST_S: Final = 1.5
LONG_LAG_S: Final = 120.0
LEAST_FREE_BYTES: Final = 64 * 1024 * 1024
LOW_FREE_BYTES: Final = 1024 * 1024 * 1024
_ORDER: Final[dict[State, int]] = {"up": 0, "degraded": 1, "down": 2}
_started = time.monotonic()
_ONE = text("SELECT 1")


class Probe(msgspec.Struct, frozen=True):
    """What was found out about one thing that is needed, and how long that took."""

    name: str
    state: State
    detail: str
    ms: float


class Health(msgspec.Struct, frozen=True):
    """The worst of all probes, and the probes."""

    state: State
    probes: tuple[Probe, ...]

    @property
    def is_ready(self) -> bool:
        """Whether requests should be sent here."""
        return self.state != "down"


class Liveness(msgspec.Struct, frozen=True):
    """That the process answers at all, and for how long it has run."""

    state: State
    uptime_s: float


def liveness() -> Liveness:
    """Return that this process lives; asks nobody else, so that a database that is away does not get the process killed."""
    return Liveness("up", round(time.monotonic() - _started, 1))


async def readiness(db: Database, cache: Cache, folder: Path | None = None) -> Health:
    """Probe what a store needs; `folder` is where this installation writes, None where it writes nowhere."""
    probes: list[Awaitable[Probe]] = [
        _probe("database", "down", lambda: _database(db)),
        _probe("cache", "degraded", lambda: _cache(cache)),
        _probe("jobs", "degraded", lambda: _jobs(db)),
    ]
    if folder is not None:
        probes.append(_probe("disk", "down", lambda: asyncio.to_thread(_disk, folder)))
    return together(await asyncio.gather(*probes))


def together(probes: Iterable[Probe]) -> Health:
    """Return the health that these probes make up."""
    found = tuple(probes)
    return Health(max((p.state for p in found), key=_ORDER.__getitem__, default="up"), found)


async def _probe(name: str, otherwise: State, ask: "Callable[[], Awaitable[tuple[State, str]]]") -> Probe:
    """Ask within the time there is; what does not answer counts as `otherwise`."""
    started = time.perf_counter()
    try:
        async with asyncio.timeout(LONGEST_S):
            state, detail = await ask()
    except TimeoutError:
        state, detail = otherwise, f"no answer within {LONGEST_S} seconds"
    except (DomainError, OSError) as error:
        state, detail = otherwise, str(error)
    return Probe(name, state, detail, round(1000 * (time.perf_counter() - started), 1))


async def _database(db: Database) -> tuple[State, str]:
    await db.read(_ONE)
    return "up", "answers"


async def _cache(cache: Cache) -> tuple[State, str]:
    return ("up", "answers") if await cache.ping() else ("degraded", "does not answer; everything is served without it")


async def _jobs(db: Database) -> tuple[State, str]:
    async with db.transaction(actor=SYSTEM, read_only=True) as tx:
        lag = await queue_lag(tx)
    if lag > LONG_LAG_S:
        return "degraded", f"the oldest due job has waited for {lag:.0f} seconds; is a worker running?"
    return "up", f"the oldest due job has waited for {lag:.0f} seconds"


def _disk(folder: Path) -> tuple[State, str]:
    free = shutil.disk_usage(folder).free
    detail = f"{free // (1024 * 1024)} MB free"
    return ("down" if free < LEAST_FREE_BYTES else "degraded" if free < LOW_FREE_BYTES else "up"), detail

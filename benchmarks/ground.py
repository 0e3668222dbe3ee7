"""Where benchmarks run: a home of their own with embedded servers, and stores grown to a size and kept between runs."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tradepost.core.database import Database
from tradepost.core.embedded import embedded_services
from tradepost.core.files import FileStore
from tradepost.core.home import Home, open_home
from tradepost.flows.grow_sample import grow_sample
from tradepost.flows.install_store import install_store
from tradepost.flows.load_sample import load_sample
from tradepost.flows.preset import PRESETS
from tradepost.migrations import create_database, migrate

HOME = Path(os.environ.get("TRADEPOST_BENCH_HOME", Path(__file__).parents[1] / ".tradepost" / "bench"))


@dataclass(frozen=True)
class Ground:
    """Running servers and the addresses of their databases."""

    home: Home
    cache_url: str
    dsn: "Dsn"

    async def store(self, code: str, listings: int) -> str:
        """Return the database of a store with at least so many listings; grown once, kept for the next run."""
        name = f"bench_{code.replace('-', '_')}_{listings}"
        await create_database(self.dsn("postgres", "postgres"), name)
        await migrate(self.dsn(name, "postgres"))
        owner = await Database.open(self.dsn(name, "postgres"), size=2, statement_timeout_ms=3_600_000)
        try:
            settings = await install_store(owner, PRESETS / code)
            await load_sample(owner, FileStore.open(str(self.home.files(code))), PRESETS / code, settings)
            await grow_sample(owner, listings, progress=_say)
        finally:
            await owner.close()
        return name


class Dsn:
    """Makes addresses: `dsn(database, user)`."""

    def __init__(self, make: object) -> None:
        self._make = make

    def __call__(self, database: str, user: str = "tradepost_app") -> str:
        """Return the address of a database for a user."""
        return str(self._make(database, user))  # type: ignore[operator]


@asynccontextmanager
async def ground(**settings: str) -> AsyncIterator[Ground]:
    """Start the servers with production-like settings for a two-core machine; more settings by keyword."""
    tuned = {
        "shared_buffers": "1GB",
        "effective_cache_size": "4GB",
        "maintenance_work_mem": "1GB",
        "max_wal_size": "4GB",
        **settings,
    }
    home = open_home(HOME)
    async with embedded_services(home.path, tuned) as services:
        yield Ground(home, services.cache.url, Dsn(services.postgres.dsn))


def _say(what: str, done: int, whole: int) -> None:
    print(f"  {what}: {done:,} of {whole:,}", flush=True)

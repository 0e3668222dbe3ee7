"""A store's database as its owner, for commands that work on the whole of it."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tradepost.core.database import Database
from tradepost.core.embedded import embedded_services
from tradepost.core.home import find_home, open_home
from tradepost.core.settings import load_settings
from tradepost.flows.preset import find_presets
from tradepost.flows.store import database_name


@asynccontextmanager
async def owner_database(store: str, dsn: str) -> AsyncIterator[Database]:
    """Open the database at `dsn`, or without one the demo's own, which must be stopped. Raises `NoSuchStore`."""
    find_presets([store], load_settings(None, os.environ).presets)
    async with AsyncExitStack() as stack:
        if not dsn:
            services = await stack.enter_async_context(embedded_services(open_home(find_home(os.environ)).path))
            dsn = services.postgres.dsn(database_name(store))
        db = await Database.open(dsn, size=2, statement_timeout_ms=3_600_000)
        stack.push_async_callback(db.close)
        yield db

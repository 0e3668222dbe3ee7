"""`tradepost sample`: grow a store for benchmarks."""

import os
from contextlib import AsyncExitStack

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tradepost.cli.demo import check_stores
from tradepost.core.database import Database
from tradepost.core.embedded import embedded_services
from tradepost.core.home import find_home, open_home
from tradepost.flows.grow_sample import grow_sample
from tradepost.flows.store import database_name


async def grow(code: str, wanted: int, dsn: str) -> None:
    """Grow a store to `wanted` listings, in the demo's own database (which must be stopped) or in the one at `dsn`."""
    check_stores([code])
    async with AsyncExitStack() as stack:
        if not dsn:
            services = await stack.enter_async_context(embedded_services(open_home(find_home(os.environ)).path))
            dsn = services.postgres.dsn(database_name(code))
        db = await Database.open(dsn, size=2, statement_timeout_ms=600_000)
        stack.push_async_callback(db.close)
        bars = stack.enter_context(
            Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        )
        task = bars.add_task(code, total=None)

        def progress(what: str, done: int, whole: int) -> None:
            bars.update(task, description=f"{code} {what}", completed=done, total=whole)

        await grow_sample(db, wanted, progress=progress)

"""`tradepost sample`: grow a store for benchmarks."""

from contextlib import AsyncExitStack

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tradepost.cli.owner_database import owner_database
from tradepost.flows.grow_sample import grow_sample


async def grow(code: str, wanted: int, dsn: str) -> None:
    """Grow a store to `wanted` listings, in the demo's own database (which must be stopped) or in the one at `dsn`."""
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(owner_database(code, dsn))
        bars = stack.enter_context(
            Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        )
        task = bars.add_task(code, total=None)

        def progress(what: str, done: int, whole: int) -> None:
            bars.update(task, description=f"{code} {what}", completed=done, total=whole)

        await grow_sample(db, wanted, progress=progress)

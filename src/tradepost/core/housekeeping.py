"""Jobs of the engine room itself: months of partitioned tables made ahead, and old history let go."""

from typing import Final

import structlog
from sqlalchemy import text

from tradepost.core.database import SYSTEM
from tradepost.core.jobs import HasDatabase, prune_jobs, scheduled

MONTHS_AHEAD: Final = 3
_log = structlog.get_logger()
_ENSURE = text("SELECT ensure_all_month_partitions(CAST(:months AS int))")


@scheduled("core.ensure_partitions", cron="17 3 * * *")
async def ensure_partitions(store: HasDatabase) -> None:
    """Make this month's and the next three months' partitions of every partitioned table. Those that exist stay as they are."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.value(_ENSURE, months=MONTHS_AHEAD)


@scheduled("core.prune_history", cron="41 3 * * *")
async def prune_history(store: HasDatabase) -> None:
    """Delete the history of jobs after two weeks, given-up jobs after ninety days."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        discarded = await prune_jobs(tx)
    if discarded:
        _log.warning("jobs.discarded", failed_jobs=discarded)

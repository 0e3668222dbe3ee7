"""Jobs of the engine room itself: months of partitioned tables made ahead, and old history let go."""

from typing import Final

import structlog
from sqlalchemy import text

from tradepost.core.database import SYSTEM, Transaction
from tradepost.core.jobs import HasDatabase, prune_jobs, scheduled

MONTHS_AHEAD: Final = 3
_log = structlog.get_logger()
_ENSURE = text("SELECT ensure_all_month_partitions(CAST(:months AS int))")
_PARTS = text("SELECT count(*) FROM pg_inherits i JOIN pg_partitioned_table p ON p.partrelid = i.inhparent")


async def make_months(tx: Transaction) -> int:
    """Make this month's and the next three months' partitions of every partitioned table; return how many were missing."""
    before = int(await tx.value(_PARTS))
    await tx.value(_ENSURE, months=MONTHS_AHEAD)
    return int(await tx.value(_PARTS)) - before


@scheduled("core.prune_history", cron="41 3 * * *")
async def prune_history(store: HasDatabase) -> None:
    """Delete the history of jobs after two weeks, given-up jobs after ninety days."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        discarded = await prune_jobs(tx)
    if discarded:
        _log.warning("jobs.discarded", failed_jobs=discarded)

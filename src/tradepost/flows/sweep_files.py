"""Files that nothing names any more, swept away: what is left where an upload was put away and its change then called off."""

from datetime import timedelta
from typing import Final

import structlog

from tradepost.catalog.pictures import PICTURES, rowless_pictures
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM
from tradepost.core.jobs import scheduled
from tradepost.flows.store import Store

LEFT_ALONE: Final = timedelta(days=2)
_log = structlog.get_logger(__name__)


@scheduled("catalog.sweep_files", cron="47 4 * * 0", time_limit=timedelta(hours=2))
async def sweep_files_job(store: Store) -> None:
    """Delete pictures that no row names and that nobody has touched for two days."""
    await sweep_files(store)


async def sweep_files(store: Store, *, left_alone: timedelta = LEFT_ALONE) -> int:
    """Delete such pictures; return how many there were. Sending the same picture again makes its file anew, and so keeps it."""
    swept = 0
    before = now() - left_alone
    async for keys in store.files.list_older(PICTURES, before):
        async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
            rowless = await rowless_pictures(tx, keys)
        for key in rowless:
            await store.files.delete(key)
        swept += len(rowless)
    if swept:
        _log.info("files.swept", pictures=swept)
    return swept

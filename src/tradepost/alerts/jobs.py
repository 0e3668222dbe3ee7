"""What is done for kept searches by the clock."""

from tradepost.alerts.service import forget_removed
from tradepost.core.database import SYSTEM
from tradepost.core.jobs import HasDatabase, scheduled


@scheduled("alerts.forget_removed", cron="47 3 * * *")
async def forget_removed_job(store: HasDatabase) -> None:
    """Delete the searches that were removed and not taken back."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await forget_removed(tx)

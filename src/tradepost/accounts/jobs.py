"""What is done for people in the background."""

from tradepost.accounts.sessions import remove_expired_sessions
from tradepost.core.database import SYSTEM
from tradepost.core.jobs import HasDatabase, scheduled


@scheduled("accounts.remove_expired_sessions", cron="23 * * * *")
async def remove_expired(store: HasDatabase) -> None:
    """Delete the sessions that have ended; nobody can use them any more."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await remove_expired_sessions(tx)

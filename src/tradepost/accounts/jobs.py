"""What is done for people in the background."""

from typing import Any

from tradepost.accounts.sessions import remove_expired_sessions
from tradepost.core.database import SYSTEM
from tradepost.core.jobs import scheduled


@scheduled("accounts.remove_expired_sessions", cron="23 * * * *")
async def remove_expired(store: Any) -> None:
    """Delete the sessions that have ended; nobody can use them any more."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await remove_expired_sessions(tx)

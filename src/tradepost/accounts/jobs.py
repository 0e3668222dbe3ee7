"""What is done for people in the background."""

from tradepost.accounts.one_time import forget_ended_tokens
from tradepost.accounts.sessions import remove_expired_sessions
from tradepost.core.database import SYSTEM
from tradepost.core.jobs import HasDatabase, scheduled


@scheduled("accounts.remove_expired_sessions", cron="23 * * * *")
async def remove_expired(store: HasDatabase) -> None:
    """Delete the sessions that have ended; nobody can use them any more."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await remove_expired_sessions(tx)


@scheduled("accounts.forget_ended_tokens", cron="29 3 * * *")
async def forget_tokens(store: HasDatabase) -> None:
    """Delete tokens and one-time links whose end is a month past."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await forget_ended_tokens(tx)

"""People who join a store in tests, through the door everybody uses."""

import secrets
from ipaddress import ip_address

from sqlalchemy import insert

from tradepost.accounts.tables import user_roles
from tradepost.accounts.types import Caller, SignUp, StartedSession
from tradepost.core.database import SYSTEM
from tradepost.flows.sign_in import load_caller
from tradepost.flows.sign_up import sign_up
from tradepost.flows.store import Store

PASSWORD = "maize in the morning"


def visitor() -> Caller:
    """Return a visitor from an address of their own: tests share the cache, and with it the counters of rate limits."""
    return Caller(address=str(ip_address(f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1")))


async def join(
    store: Store, username: str = "tendai", *, role: str | None = None, password: str = PASSWORD
) -> StartedSession:
    """Sign somebody up from an address of their own."""
    form = SignUp(username=username, email=f"{username}@example.com", password=password, role=role)
    return await sign_up(store, visitor(), form, "Firefox")


async def join_as(store: Store, username: str, *roles: str) -> StartedSession:
    """Sign somebody up who also has roles that nobody can choose."""
    started = await join(store, username)
    async with store.db.transaction(actor=SYSTEM) as tx:
        for role in roles:
            await tx.run(insert(user_roles).values(user_id=started.caller.user_id, role=role))
    caller = await load_caller(store, started.token, started.caller.address)
    return StartedSession(started.token, caller, started.expires_at)

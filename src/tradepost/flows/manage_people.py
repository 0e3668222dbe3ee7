"""What those who manage people do: give and take roles, close and open accounts.

They act as staff, under their own name, whatever else their roles allow.
"""

from uuid import UUID

from tradepost.accounts import service
from tradepost.accounts.queries import list_people as people_page
from tradepost.accounts.types import Caller, ManagedPerson
from tradepost.core.database import Actor
from tradepost.core.pages import Page
from tradepost.flows.store import Store


def _acting(caller: Caller) -> Actor:
    caller.check_can("manage_people")
    return Actor("staff", caller.user_id, caller.session)


async def list_people(
    store: Store, caller: Caller, *, find: str = "", role: str | None = None, after: str | None = None, limit: int = 24
) -> Page[ManagedPerson]:
    """Return people, the newest first, by part of a name or address and by role. Raises `NotAllowed`, `NoSuchPage`."""
    async with store.db.transaction(actor=_acting(caller), read_only=True) as tx:
        return await people_page(tx, caller, find=find, role=role, after=after, limit=limit)


async def grant_role(store: Store, caller: Caller, user_id: UUID, role: str) -> bool:
    """Give a person a role; return whether that is new. Raises `NotAllowed`, `NoSuchRole`, `NoSuchPerson`."""
    async with store.db.transaction(actor=_acting(caller)) as tx:
        return await service.grant_role(tx, store.cache, caller, user_id, role)


async def revoke_role(store: Store, caller: Caller, user_id: UUID, role: str) -> bool:
    """Take a role from a person; return whether they had it.

    Raises `NotAllowed`, `NoSuchRole`, `NoSuchPerson`, `LastAdministrator`.
    """
    async with store.db.transaction(actor=_acting(caller)) as tx:
        return await service.revoke_role(tx, store.cache, caller, user_id, role)


async def deactivate_person(store: Store, caller: Caller, user_id: UUID) -> bool:
    """Close somebody's account; return whether it was open. Raises `NotAllowed`, `NoSuchPerson`, `LastAdministrator`."""
    async with store.db.transaction(actor=_acting(caller)) as tx:
        return await service.deactivate(tx, store.cache, caller, user_id)


async def reactivate_person(store: Store, caller: Caller, user_id: UUID) -> bool:
    """Open a closed account again; return whether it was closed. Raises `NotAllowed`, `NoSuchPerson`."""
    async with store.db.transaction(actor=_acting(caller)) as tx:
        return await service.reactivate(tx, caller, user_id)

"""What those who manage people do: give and take roles, close and open accounts.

They act as staff, under their own name, whatever else their roles allow.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from tradepost.accounts import service
from tradepost.accounts.queries import list_people as people_page
from tradepost.accounts.types import Caller, ManagedPerson, NoSuchPerson
from tradepost.core.database import Actor
from tradepost.core.pages import Page
from tradepost.core.text import is_plain
from tradepost.flows.store import Store
from tradepost.moderation.queries import DECISIONS_ABOUT
from tradepost.moderation.types import Decision


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


class PersonFile(ManagedPerson, frozen=True):
    """A person as those see them who manage people. `verified` are the kinds of papers that hold."""

    email_verified_at: datetime | None
    suspended_until: datetime | None
    erase_at: datetime | None
    verified: tuple[str, ...]
    listings: int
    orders: int
    decisions: list[Decision]


_FILE = text("""
    SELECT u.id, CAST(u.username AS text) AS username, u.display_name, CAST(u.email AS text) AS email,
           ARRAY(SELECT role FROM user_roles r WHERE r.user_id = u.id ORDER BY role) AS roles, u.is_active, u.last_login_at, u.created_at,
           u.email_verified_at, u.suspended_until, u.erase_at,
           ARRAY(SELECT kind FROM verifications v WHERE v.user_id = u.id AND v.status = 'verified' ORDER BY kind) AS verified,
           (SELECT count(*) FROM listings l WHERE l.seller_id = u.id AND l.status <> 'removed') AS listings,
           (SELECT count(*) FROM orders o WHERE o.buyer_id = u.id) AS orders
    FROM users u WHERE u.username = :username AND u.erased_at IS NULL
""")


async def find_person(store: Store, caller: Caller, username: str) -> PersonFile:
    """Return one person with what those need who manage people. Raises `NotAllowed`, `NoSuchPerson`."""
    async with store.db.transaction(actor=_acting(caller), read_only=True) as tx:
        row = await tx.maybe(_FILE, username=username) if is_plain(username) else None
        if row is None:
            raise NoSuchPerson
        values = {**row, "roles": tuple(row["roles"]), "verified": tuple(row["verified"])}
        return PersonFile(**values, decisions=await tx.all(DECISIONS_ABOUT, into=Decision, subject_id=row["id"]))

"""Looking at the store with somebody else's eyes, to help them: audited, for half an hour, and nothing can be changed.

Promises that such a caller's transactions are read-only in the database, that no request that changes anything is let through,
that nobody of the staff is looked at that way, and that the person finds every look in their own pages.
"""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.accounts import looks
from tradepost.accounts.events import StaffLookedIn
from tradepost.accounts.looks import Look
from tradepost.accounts.types import Behind, Caller, NoSuchPerson, NotAllowed
from tradepost.core.clock import now
from tradepost.core.database import Actor
from tradepost.core.events import record
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.ids import uuid7
from tradepost.core.text import one_line
from tradepost.flows.store import Store

LASTS = timedelta(minutes=30)


class LookForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why somebody of the staff wants to see what a person sees."""

    reason: Annotated[str, Meta(min_length=5, max_length=500)]


async def begin_look(store: Store, caller: Caller, user_id: UUID, form: LookForm) -> UUID:
    """Begin to see the store as a person does; return the look's id, which goes into a cookie.

    Raises `NotAllowed` (also for people of the staff), `NoSuchPerson`, `NotByToken`, `FieldErrors`.
    """
    caller.check_can("manage_people")
    staff_id, look_id = caller.check_in_person(), uuid7()
    check_fields(broken_limits(form))
    async with store.db.transaction(actor=Actor("staff", staff_id, caller.session)) as tx:
        permissions = await looks.permissions_of(tx, user_id)
        if permissions is None:
            raise NoSuchPerson
        if "staff" in permissions or user_id == staff_id:
            raise NotAllowed("staff")
        await looks.begin(
            tx, look_id, staff_id=staff_id, person_id=user_id, session=caller.session or b"",
            reason=one_line(form.reason), ends_at=now() + LASTS,
        )  # fmt: skip
        await record(tx, StaffLookedIn(user_id, staff_id), subject_id=user_id)
    return look_id


async def eyes_of(store: Store, caller: Caller, look_id: UUID) -> Caller:
    """Return the person whose eyes the caller has borrowed; the caller themselves once the look is over or not theirs."""
    if caller.user_id is None or caller.scopes is not None or not caller.can("manage_people"):
        return caller
    async with store.db.transaction(actor=Actor("staff", caller.user_id, caller.session), read_only=True) as tx:
        row = await looks.eyes(tx, look_id, caller.user_id, caller.session or b"")
    if row is None or "staff" in row["permissions"]:
        return caller
    return Caller(
        user_id=row["id"], session=caller.session, username=row["username"], display_name=row["display_name"],
        permissions=frozenset(row["permissions"]), address=caller.address, locale=row["locale"],
        role=row["roles"][0] if row["roles"] else "", behind=Behind(caller.user_id, caller.display_name, row["ends_at"]),
    )  # fmt: skip


async def end_look(store: Store, caller: Caller) -> None:
    """Stop looking with somebody else's eyes. Idempotent."""
    staff_id = caller.behind.id if caller.behind else caller.user_id
    if staff_id is None:
        return
    async with store.db.transaction(actor=Actor("staff", staff_id, caller.session)) as tx:
        await looks.end(tx, staff_id, caller.session or b"")


async def looks_at_me(store: Store, caller: Caller) -> list[Look]:
    """Return when somebody of the staff looked with the caller's eyes, and why; the latest first."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await looks.looks_at(tx, caller)

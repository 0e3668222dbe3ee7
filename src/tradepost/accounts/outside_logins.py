"""Sign-ins at other providers that belong to people here.

Promises that one sign-in there is one person's here and that a person has one for each provider. What a provider says of somebody
is checked before it comes here.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import Boolean, Text, bindparam, column, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql

from tradepost.accounts.events import OutsideLoginTaken, OutsideLoginWithdrawn
from tradepost.accounts.queries import lock_person
from tradepost.accounts.tables import outside_logins
from tradepost.accounts.types import AlreadyTaken, Caller
from tradepost.core.clock import now
from tradepost.core.columns import Timestamp
from tradepost.core.database import Database, Transaction, on_violation
from tradepost.core.events import record

Provider = Literal["google", "apple", "facebook"]

on_violation("pk_outside_logins", AlreadyTaken)
on_violation("uq_outside_logins_user_id_provider", AlreadyTaken)

_USER_ID = bindparam("user_id", type_=postgresql.UUID)
_PROVIDER = bindparam("provider", type_=Text)
_SUBJECT = bindparam("subject", type_=Text)
_NOW = bindparam("now", type_=Timestamp)
_HOLDER = select(
    func.outside_login_holder(_PROVIDER, _SUBJECT).table_valued(
        column("user_id", postgresql.UUID), column("is_active", Boolean), name="found"
    )
)
_MINE = (
    select(
        outside_logins.c.provider, outside_logins.c.email, outside_logins.c.created_at, outside_logins.c.last_used_at
    )
    .where(outside_logins.c.user_id == _USER_ID)
    .order_by(outside_logins.c.provider)
)
_ADD = insert(outside_logins).values(
    provider=_PROVIDER, subject=_SUBJECT, user_id=_USER_ID, email=bindparam("email", type_=Text), last_used_at=_NOW
)
_USED = (
    update(outside_logins)
    .where(outside_logins.c.provider == _PROVIDER, outside_logins.c.subject == _SUBJECT)
    .values(last_used_at=_NOW)
)
_REMOVE = delete(outside_logins).where(outside_logins.c.user_id == _USER_ID, outside_logins.c.provider == _PROVIDER)
_REMOVE_ALL = delete(outside_logins).where(outside_logins.c.user_id == _USER_ID)


class OutsideLogin(msgspec.Struct, frozen=True):
    """A provider that a person may sign in through; `email` is their address there."""

    provider: str
    email: str
    created_at: datetime
    last_used_at: datetime | None


class Holder(msgspec.Struct, frozen=True):
    """Whose a sign-in at a provider is."""

    user_id: UUID
    is_active: bool


async def find_holder(db: Database, provider: str, subject: str) -> Holder | None:
    """Return whose a provider's sign-in is, or None when it is nobody's yet."""
    return await db.read_maybe(_HOLDER, into=Holder, fresh=True, provider=provider, subject=subject)


async def list_logins(tx: Transaction, user_id: UUID) -> tuple[OutsideLogin, ...]:
    """Return the providers that a person signs in through. The transaction's actor is that person."""
    return tuple(await tx.all(_MINE, into=OutsideLogin, user_id=user_id))


async def add_login(tx: Transaction, user_id: UUID, provider: str, subject: str, email: str) -> None:
    """Let a person sign in through a provider. Raises `AlreadyTaken` where the sign-in is somebody's, or they have one there."""
    await tx.run(_ADD, provider=provider, subject=subject, user_id=user_id, email=email[:255], now=now())
    await record(tx, OutsideLoginTaken(user_id, provider), subject_id=user_id)


async def note_login(tx: Transaction, provider: str, subject: str) -> None:
    """Write down that a provider's sign-in was used."""
    await tx.run(_USED, provider=provider, subject=subject, now=now())


async def remove_login(tx: Transaction, caller: Caller, provider: str) -> bool:
    """Accept a provider's word for the caller no longer; return whether it was. Raises `ProveItAgain`, `NotByToken`."""
    user_id = caller.check_proved()
    await lock_person(tx, user_id)
    if await tx.run(_REMOVE, user_id=user_id, provider=provider) == 0:
        return False
    await record(tx, OutsideLoginWithdrawn(user_id, provider), subject_id=user_id)
    return True


async def remove_all_logins(tx: Transaction, user_id: UUID) -> None:
    """Delete the logins that somebody added who never proved that the address of the account is theirs."""
    await tx.run(_REMOVE_ALL, user_id=user_id)

"""Whose e-mail address is whose, once it is proved; and who comes back to an account by it."""

from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Boolean, Text, bindparam, cast, func, select, update
from sqlalchemy.dialects import postgresql

from tradepost.accounts.events import EmailChanged, EmailConfirmed, PasswordChanged, PersonReactivated
from tradepost.accounts.queries import lock_person
from tradepost.accounts.tables import users
from tradepost.core.clock import now
from tradepost.core.columns import Timestamp
from tradepost.core.database import Transaction
from tradepost.core.events import record

_USER_ID = bindparam("user_id", type_=postgresql.UUID)
_NOW = bindparam("now", type_=Timestamp)
_EMAIL: Any = bindparam("email")
_ADDRESSEE = (
    users.c.id, cast(users.c.username, Text).label("username"), cast(users.c.email, Text).label("email"), users.c.is_active,
    users.c.email_verified_at.is_not(None).label("is_verified"),
    func.has_second_step(users.c.id, type_=Boolean).label("has_second_step"),
)  # fmt: skip
ADDRESSEE_BY_ID = select(*_ADDRESSEE).where(users.c.id == _USER_ID)
ADDRESSEE_BY_EMAIL = select(*_ADDRESSEE).where(users.c.email == bindparam("login"))
ADDRESSEE_BY_USERNAME = select(*_ADDRESSEE).where(users.c.username == bindparam("login"))
_CONFIRM = (
    update(users)
    .where(users.c.id == _USER_ID, users.c.email == _EMAIL, users.c.email_verified_at.is_(None))
    .values(email_verified_at=_NOW)
)
_CHANGE = update(users).where(users.c.id == _USER_ID, users.c.is_active).values(email=_EMAIL, email_verified_at=_NOW)
_NEW_PASSWORD = (
    update(users)
    .where(users.c.id == _USER_ID, users.c.is_active)
    .values(password_hash=bindparam("password_hash", type_=Text))
)
_CLOSED_BY_ONESELF = update(users).where(users.c.id == _USER_ID).values(closed_at=_NOW)
_REOPEN = (
    update(users)
    .where(users.c.id == _USER_ID, users.c.closed_at.is_not(None), users.c.erased_at.is_(None))
    .values(is_active=True, closed_at=None)
)


class Addressee(msgspec.Struct, frozen=True):
    """Somebody who can be written to."""

    id: UUID
    username: str
    email: str | None
    is_active: bool
    is_verified: bool
    has_second_step: bool


async def confirm_email(tx: Transaction, user_id: UUID, email: str) -> bool:
    """Take an address for proved, if it still is the person's; return whether that is new. Idempotent."""
    if await tx.run(_CONFIRM, user_id=user_id, email=email, now=now()) == 0:
        return False
    await record(tx, EmailConfirmed(user_id), subject_id=user_id)
    return True


async def change_email(tx: Transaction, user_id: UUID, email: str) -> None:
    """Give a person an address that is proved. Raises `EmailTaken`."""
    await tx.run(_CHANGE, user_id=user_id, email=email, now=now())
    await record(tx, EmailChanged(user_id), subject_id=user_id)


async def replace_password(tx: Transaction, user_id: UUID, password_hash: str) -> None:
    """Give a person a password who proved their address rather than the old one."""
    await tx.run(_NEW_PASSWORD, user_id=user_id, password_hash=password_hash)
    await record(tx, PasswordChanged(user_id), subject_id=user_id)


async def note_closed(tx: Transaction, user_id: UUID) -> None:
    """Write down that a person closed their own account, so that they may come back."""
    await tx.run(_CLOSED_BY_ONESELF, user_id=user_id, now=now())


async def reopen(tx: Transaction, user_id: UUID) -> bool:
    """Open an account again that its person closed; return whether it was. One that was closed by others stays closed."""
    await lock_person(tx, user_id)
    if await tx.run(_REOPEN, user_id=user_id) == 0:
        return False
    await record(tx, PersonReactivated(user_id, user_id), subject_id=user_id)
    return True

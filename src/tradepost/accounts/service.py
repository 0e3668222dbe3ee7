"""Commands on people: joining, passwords, follows, roles, closing an account.

Each joins the caller's transaction. Those that change what somebody may do make the cache forget them at the commit.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Boolean, Text, bindparam, delete, insert, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert as upsert

from tradepost.accounts import api_tokens, app_tokens, queries, sessions
from tradepost.accounts.events import (
    PasswordChanged,
    PersonDeactivated,
    PersonFollowed,
    PersonReactivated,
    PersonSignedUp,
    PersonUnfollowed,
    RoleGranted,
    RoleRevoked,
)
from tradepost.accounts.queries import lock_person
from tradepost.accounts.tables import follows, roles, user_roles, users
from tradepost.accounts.types import (
    PROFILE_SCOPE,
    Caller,
    EmailTaken,
    LastAdministrator,
    NoSuchPerson,
    NoSuchRole,
    NotAllowed,
    NotOneself,
    UsernameTaken,
)
from tradepost.core.cache import Cache
from tradepost.core.clock import now
from tradepost.core.columns import Timestamp
from tradepost.core.database import Transaction, on_violation
from tradepost.core.events import record

on_violation("uq_users_username", UsernameTaken)
on_violation("uq_users_email", EmailTaken)
on_violation("ck_follows_not_oneself", NotOneself)
on_violation("fk_follows_followed_id", NoSuchPerson)

_USER_ID = bindparam("user_id", type_=postgresql.UUID)
_ROLE = bindparam("role", type_=Text)
_KNOWN = bindparam("known", type_=Text)
_FOLLOWED_ID = bindparam("followed_id", type_=postgresql.UUID)
_ADD_PERSON = insert(users).values(
    {n: bindparam(n) for n in ("id", "username", "email", "password_hash", "display_name", "locale", "last_login_at")}
)
_ADD_ROLE = upsert(user_roles).values(user_id=_USER_ID, role=_ROLE).on_conflict_do_nothing()
_REMOVE_ROLE = delete(user_roles).where(user_roles.c.user_id == _USER_ID, user_roles.c.role == _ROLE)
_ROLE_EXISTS = select(roles.c.code).where(roles.c.code == _ROLE)
_UNCHANGED = (users.c.id == _USER_ID, users.c.is_active, users.c.password_hash == _KNOWN)
_KEEP_PASSWORD = update(users).where(*_UNCHANGED).values(password_hash=bindparam("password_hash", type_=Text))
_SET_PASSWORD = update(users).where(*_UNCHANGED).values(password_hash=bindparam("new", type_=Text))
_ARRIVED = (
    update(users)
    .where(users.c.id == _USER_ID, users.c.is_active)
    .values(last_login_at=bindparam("now", type_=Timestamp))
)
_SET_ACTIVE = (
    update(users).where(users.c.id == _USER_ID).values(is_active=bindparam("is_active", type_=Boolean), closed_at=None)
)
_SUSPEND = update(users).where(users.c.id == _USER_ID).values(suspended_until=bindparam("until", type_=Timestamp))
_FOLLOW = upsert(follows).values(follower_id=_USER_ID, followed_id=_FOLLOWED_ID).on_conflict_do_nothing()
_UNFOLLOW = delete(follows).where(follows.c.follower_id == _USER_ID, follows.c.followed_id == _FOLLOWED_ID)


async def add_person(
    tx: Transaction,
    *,
    user_id: UUID,
    username: str,
    email: str,
    password_hash: str | None,
    display_name: str,
    locale: str | None,
    role: str,
) -> None:
    """Add a person with one role. Raises `UsernameTaken`, `EmailTaken`, also to the slower of two who ask at once.

    Without a password they sign in another way.
    """
    await tx.run(
        _ADD_PERSON, id=user_id, username=username, email=email, password_hash=password_hash, display_name=display_name,
        locale=locale, last_login_at=now(),
    )  # fmt: skip
    await tx.run(_ADD_ROLE, user_id=user_id, role=role)
    await record(tx, PersonSignedUp(user_id, role), subject_id=user_id)


async def keep_password(tx: Transaction, user_id: UUID, *, known: str, password_hash: str) -> bool:
    """Keep the hash of a password that was just shown.

    Return False, having changed nothing, when the password is no longer the one that was checked or the account was closed.
    """
    return await tx.run(_KEEP_PASSWORD, user_id=user_id, known=known, password_hash=password_hash) == 1


async def note_arrival(tx: Transaction, user_id: UUID) -> bool:
    """Write down a sign-in; return False, having changed nothing, for a closed account."""
    return await tx.run(_ARRIVED, user_id=user_id, now=now()) == 1


async def set_password(
    tx: Transaction, cache: Cache, user_id: UUID, *, known: str, new: str, revoke_tokens: bool
) -> bool:
    """Replace a password's hash and end every session of the person, this one and apps' too; their API tokens where asked.

    Return False, having changed nothing, when the password was changed meanwhile.
    """
    if await tx.run(_SET_PASSWORD, user_id=user_id, known=known, new=new) == 0:
        return False
    await sessions.end_sessions_of(tx, cache, user_id)
    await app_tokens.end_apps_of(tx, cache, user_id)
    if revoke_tokens:
        await api_tokens.revoke_tokens_of(tx, cache, user_id)
    await record(tx, PasswordChanged(user_id), subject_id=user_id)
    return True


async def follow(tx: Transaction, caller: Caller, user_id: UUID) -> bool:
    """Follow a person; return whether that is new. Idempotent. Raises `NoSuchPerson`, `NotOneself`."""
    me = caller.check_scope(PROFILE_SCOPE)
    if await tx.run(_FOLLOW, user_id=me, followed_id=user_id) == 0:
        return False
    await record(tx, PersonFollowed(me, user_id), subject_id=user_id)
    return True


async def unfollow(tx: Transaction, caller: Caller, user_id: UUID) -> bool:
    """Follow a person no longer; return whether one did. Idempotent."""
    me = caller.check_scope(PROFILE_SCOPE)
    if await tx.run(_UNFOLLOW, user_id=me, followed_id=user_id) == 0:
        return False
    await record(tx, PersonUnfollowed(me, user_id), subject_id=user_id)
    return True


async def grant_role(tx: Transaction, cache: Cache, caller: Caller, user_id: UUID, role: str) -> bool:
    """Give a person a role; return whether that is new. Idempotent.

    For those who manage people, and only roles that allow nothing the giver may not do. Raises `NotAllowed`, `NoSuchRole`,
    `NoSuchPerson`.
    """
    await _check_may_give(tx, caller, role)
    await lock_person(tx, user_id)
    if await tx.run(_ADD_ROLE, user_id=user_id, role=role) == 0:
        return False
    await record(tx, RoleGranted(user_id, role, caller.user_id), subject_id=user_id)
    await sessions.forget_person(tx, cache, user_id)
    return True


async def revoke_role(tx: Transaction, cache: Cache, caller: Caller, user_id: UUID, role: str) -> bool:
    """Take a role from a person; return whether they had it. Idempotent.

    For those who manage people. Raises `NotAllowed`, `NoSuchRole`, `NoSuchPerson`, `LastAdministrator`.
    """
    await _check_may_give(tx, caller, role)
    await _check_administrator_left(tx, without=user_id, role=role)
    await lock_person(tx, user_id)
    if await tx.run(_REMOVE_ROLE, user_id=user_id, role=role) == 0:
        return False
    await record(tx, RoleRevoked(user_id, role, caller.user_id), subject_id=user_id)
    await sessions.forget_person(tx, cache, user_id)
    return True


async def deactivate(tx: Transaction, cache: Cache, caller: Caller, user_id: UUID) -> bool:
    """Close an account, one's own or as somebody who manages people; return whether it was open. Idempotent.

    Its sessions and tokens end with it. Raises `NotAllowed`, `NoSuchPerson`, `LastAdministrator`.
    """
    if user_id != caller.check_in_person():
        caller.check_can("manage_people")
    await _check_administrator_left(tx, without=user_id)
    if not await lock_person(tx, user_id):
        if user_id != caller.user_id:  # whom others shut out does not come back by a link
            await tx.run(_SET_ACTIVE, user_id=user_id, is_active=False)
            await api_tokens.revoke_tokens_of(tx, cache, user_id)
        return False
    await tx.run(_SET_ACTIVE, user_id=user_id, is_active=False)
    await sessions.end_sessions_of(tx, cache, user_id)
    await api_tokens.revoke_tokens_of(tx, cache, user_id)
    await record(tx, PersonDeactivated(user_id, caller.user_id), subject_id=user_id)
    return True


async def reactivate(tx: Transaction, caller: Caller, user_id: UUID) -> bool:
    """Open a closed account again, as somebody who manages people; return whether it was closed. Idempotent.

    Raises `NotAllowed`, `NoSuchPerson`.
    """
    caller.check_can("manage_people")
    if await lock_person(tx, user_id):
        return False
    await tx.run(_SET_ACTIVE, user_id=user_id, is_active=True)
    await record(tx, PersonReactivated(user_id, caller.user_id), subject_id=user_id)
    return True


async def suspend(tx: Transaction, cache: Cache, user_id: UUID, until: datetime | None) -> None:
    """Let a person do nothing but look and answer until a moment, or everything again (None), wherever they are signed in."""
    await lock_person(tx, user_id)
    await tx.run(_SUSPEND, user_id=user_id, until=until)
    await sessions.forget_person(tx, cache, user_id)


async def _check_may_give(tx: Transaction, caller: Caller, role: str) -> None:
    """Nobody gives or takes more than they have: otherwise whoever manages people could make themselves anything."""
    caller.check_can("manage_people")
    if await tx.value(_ROLE_EXISTS, role=role) is None:
        raise NoSuchRole(role)
    beyond = sorted(set(await tx.values(queries.ROLE_PERMISSIONS, role=role)) - caller.permissions)
    if beyond:
        raise NotAllowed(beyond[0])


async def _check_administrator_left(tx: Transaction, *, without: UUID, role: str | None = None) -> None:
    """Lock everybody's administering roles, in key order, and see that one is left without this person's (or this role).

    Two administrators who take the role from each other come here one after the other, and the second is refused.
    """
    held = {(row["user_id"], row["role"]) for row in await tx.all(queries.ADMINISTRATORS)}
    left = {(who, what) for who, what in held if who != without or (role is not None and what != role)}
    if held and not left:
        raise LastAdministrator

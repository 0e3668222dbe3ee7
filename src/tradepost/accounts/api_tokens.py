"""API tokens: for programs that act for a person, with no more rights than the person chose.

Promises that a token is shown once and stored as its SHA-256, and that it never allows what its person may not do.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.dialects import postgresql

from tradepost.accounts import queries
from tradepost.accounts.events import TokenIssued, TokenRevoked
from tradepost.accounts.sessions import forget_after, token_key
from tradepost.accounts.tables import permissions, tokens
from tradepost.accounts.types import PROFILE_SCOPE, Caller, IssuedToken, NewToken, TooManyTokens
from tradepost.core.cache import Cache
from tradepost.core.clock import now
from tradepost.core.columns import Timestamp
from tradepost.core.database import Transaction
from tradepost.core.events import record
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.ids import secret_token, token_hash
from tradepost.core.text import one_line

MOST: Final = 50
PREFIX: Final = "tp_"  # something that scanners for leaked secrets can look for

_USER_ID = bindparam("user_id", type_=postgresql.UUID)
_NOW = bindparam("now", type_=Timestamp)
_PERMISSION_CODES = select(permissions.c.code)
_ADD = (
    insert(tokens)
    .values({n: bindparam(n) for n in ("user_id", "token_hash", "kind", "name", "scopes", "expires_at", "device_info")})
    .returning(tokens.c.id)
)
_REVOKE = (
    update(tokens)
    .where(tokens.c.user_id == _USER_ID, tokens.c.id == bindparam("token_id", type_=postgresql.UUID))
    .values(revoked_at=_NOW)
    .returning(tokens.c.token_hash)
)
_REVOKE_ALL = (
    update(tokens)
    .where(tokens.c.user_id == _USER_ID, tokens.c.revoked_at.is_(None))
    .values(revoked_at=_NOW)
    .returning(tokens.c.token_hash)
)


async def issue_token(tx: Transaction, caller: Caller, form: NewToken) -> IssuedToken:
    """Make an API token for the caller's programs; its secret is in the answer and nowhere else.

    Its scopes are permissions the caller has, or `profile`. Raises `FieldErrors`, `TooManyTokens` (50 at a time), `NotByToken`.
    """
    user_id = caller.check_in_person()
    name, scopes = one_line(form.name), tuple(sorted(set(form.scopes)))
    check_fields({"scopes": await scope_problem(tx, caller, scopes)} | broken_limits(form))
    await queries.lock_person(tx, user_id)
    moment = now()
    if await tx.value(queries.COUNT_TOKENS, user_id=user_id, now=moment) >= MOST:
        raise TooManyTokens
    secret, expires_at = PREFIX + secret_token(), moment + timedelta(days=form.expires_in_days)
    token_id: UUID = await tx.value(
        _ADD, user_id=user_id, token_hash=token_hash(secret), kind="api", name=name, scopes=list(scopes),
        expires_at=expires_at, device_info=form.device_info,
    )  # fmt: skip
    await record(tx, TokenIssued(user_id, token_id, scopes), subject_id=user_id)
    return IssuedToken(token_id, secret, expires_at)


async def scope_problem(tx: Transaction, caller: Caller, scopes: Iterable[str]) -> str | None:
    """Return why a token of the caller cannot have these scopes: nobody gives a program more than they may do themselves."""
    beyond = [scope[:40] for scope in scopes if scope != PROFILE_SCOPE and scope not in caller.permissions]
    if not beyond:
        return None
    strange = [scope for scope in beyond if scope not in await tx.values(_PERMISSION_CODES)]
    if strange:
        return f"There is no such scope: {', '.join(strange)[:200]}."
    return f"Your account may not do that itself: {', '.join(beyond)[:200]}."


async def revoke_token(tx: Transaction, cache: Cache, caller: Caller, token_id: UUID) -> None:
    """End one of the caller's API tokens at once. Raises `NoSuchToken` for anybody else's, or one that is revoked."""
    await queries.access_token(tx, caller, token_id)
    user_id = caller.check_in_person()
    hashes = await tx.values(_REVOKE, user_id=user_id, token_id=token_id, now=now())
    forget_after(tx, cache, [token_key(hashed) for hashed in hashes])
    await record(tx, TokenRevoked(user_id, token_id), subject_id=user_id)


async def revoke_tokens_of(tx: Transaction, cache: Cache, user_id: UUID) -> int:
    """End every token of a person, of programs and of one-time links; return how many."""
    hashes = await tx.values(_REVOKE_ALL, user_id=user_id, now=now())
    forget_after(tx, cache, [token_key(hashed) for hashed in hashes])
    return len(hashes)

"""Sessions of browsers and what the cache remembers of them.

A cookie's token is stored as its SHA-256 only. A session lasts 30 days from its last use, which is written down at most once an
hour. The cache holds `session:{hash}` and `token:{hash}` for 30 days, as documented, but what it says is believed for a minute
only and then asked of the database again. Whatever ends a session or changes what a person may do deletes it from the cache
after the commit, which also voids what others are about to put there: a revocation takes effect at once, and where the cache
could not be reached, within that minute.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import LargeBinary, bindparam, delete, func, insert, literal_column, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB

from tradepost.accounts.queries import SESSION_CALLER, TOKEN_CALLER
from tradepost.accounts.tables import sessions, tokens
from tradepost.accounts.types import Caller
from tradepost.core.cache import Cache
from tradepost.core.clock import now
from tradepost.core.columns import Timestamp
from tradepost.core.database import Database, Transaction
from tradepost.core.ids import token_hash
from tradepost.core.text import is_plain, one_line

LIFETIME = timedelta(days=30)
NOTED_EVERY = timedelta(hours=1)
BELIEVED_FOR = timedelta(seconds=60)

_USER_ID = bindparam("user_id", type_=postgresql.UUID)
_HASH = bindparam("hash", type_=LargeBinary)
_ADD = insert(sessions).values(
    {n: bindparam(n) for n in ("id_hash", "user_id", "data", "expires_at", "last_seen_at", "ip", "user_agent")}
)
_TOUCH = (
    update(sessions)
    .where(sessions.c.id_hash == _HASH, sessions.c.last_seen_at <= bindparam("before", type_=Timestamp))
    .values({n: bindparam(n) for n in ("last_seen_at", "expires_at", "ip")})
)
_PROVED = (
    update(sessions)
    .where(sessions.c.id_hash == _HASH)
    .values(data=sessions.c.data.op("||")(bindparam("data", type_=JSONB)))
)
_TOUCH_TOKEN = (
    update(tokens)
    .where(
        tokens.c.token_hash == _HASH,
        func.coalesce(tokens.c.last_used_at, tokens.c.created_at) <= bindparam("before", type_=Timestamp),
    )
    .values({n: bindparam(n) for n in ("last_used_at", "ip")})
)
_END = delete(sessions).where(sessions.c.id_hash == _HASH)
_END_OF = (
    delete(sessions)
    .where(sessions.c.user_id == _USER_ID, sessions.c.id_hash != bindparam("kept", type_=LargeBinary))
    .returning(sessions.c.id_hash)
)
_END_ONE_OF = (
    delete(sessions).where(sessions.c.user_id == _USER_ID, sessions.c.id_hash == _HASH).returning(sessions.c.id_hash)
)
_HASHES_OF = select(sessions.c.id_hash).where(sessions.c.user_id == _USER_ID)
_TOKEN_HASHES_OF = select(tokens.c.token_hash).where(
    tokens.c.user_id == _USER_ID, tokens.c.kind.in_([literal_column("'api'"), literal_column("'access'")])
)
_END_EXPIRED = delete(sessions).where(sessions.c.expires_at < bindparam("now", type_=Timestamp))


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """What a cookie or an API token stands for, as the cache holds it; the first five fields are the documented ones."""

    user_id: UUID | None
    email: str | None
    role: str
    created_at: datetime
    last_activity: datetime
    username: str
    display_name: str
    locale: str | None
    permissions: frozenset[str]
    scopes: frozenset[str] | None
    expires_at: datetime
    checked_at: datetime
    proved_at: datetime | None
    has_second_step: bool

    def as_caller(self, address: str, session: bytes | None) -> Caller:
        """Return the caller of a request from this address; a token allows no more than its scopes."""
        allowed = self.permissions if self.scopes is None else self.permissions & self.scopes
        return Caller(
            user_id=self.user_id, session=session, username=self.username, display_name=self.display_name,
            permissions=allowed, address=address, locale=self.locale, scopes=self.scopes, role=self.role,
            proved_at=self.proved_at, has_second_step=self.has_second_step,
        )  # fmt: skip


class _Row(msgspec.Struct, frozen=True):
    user_id: UUID | None
    username: str | None
    display_name: str | None
    email: str | None
    locale: str | None
    roles: list[str]
    permissions: list[str]
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    has_second_step: bool
    proved_at: datetime | None = None
    token_id: UUID | None = None
    scopes: list[str] | None = None

    def remembered(self) -> Remembered:
        return Remembered(
            user_id=self.user_id, email=self.email, role=next(iter(self.roles), ""), created_at=self.created_at,
            last_activity=self.last_seen_at, username=self.username or "", display_name=self.display_name or "",
            locale=self.locale, permissions=frozenset(self.permissions),
            scopes=None if self.scopes is None else frozenset(self.scopes), expires_at=self.expires_at, checked_at=now(),
            proved_at=self.proved_at, has_second_step=self.has_second_step,
        )  # fmt: skip


def session_key(id_hash: bytes) -> str:
    """Return the cache's key of a session."""
    return f"session:{id_hash.hex()}"


def token_key(hashed: bytes) -> str:
    """Return the cache's key of an API token."""
    return f"token:{hashed.hex()}"


async def recall_session(db: Database, cache: Cache, id_hash: bytes) -> Remembered | None:
    """Return what a session stands for, from the cache or in one query; None when it has ended."""
    return await _recall(db, cache, session_key(id_hash), SESSION_CALLER, id_hash)


async def recall_token(db: Database, cache: Cache, hashed: bytes) -> Remembered | None:
    """Return what an API token stands for, from the cache or in one query; None when it was revoked or has expired."""
    return await _recall(db, cache, token_key(hashed), TOKEN_CALLER, hashed)


async def read_session(tx: Transaction, id_hash: bytes) -> Remembered:
    """Return what a session stands for, as the transaction has it; remembers nothing."""
    return (await tx.one(SESSION_CALLER, into=_Row, hash=id_hash)).remembered()


async def _recall(db: Database, cache: Cache, key: str, statement: Any, hashed: bytes) -> Remembered | None:
    moment = now()
    found = await cache.get(key, into=Remembered)
    if found is None or not moment - BELIEVED_FOR < found.checked_at <= moment:
        lease = await cache.lease(key)
        row = await db.read_maybe(statement, into=_Row, fresh=True, hash=hashed)
        if row is None:
            return None
        found = row.remembered()
        await cache.keep(key, found, lease, ttl_s=LIFETIME.total_seconds())
    return found if found.expires_at > moment else None


async def start_session(tx: Transaction, token: str, user_id: UUID | None, address: str, user_agent: str) -> datetime:
    """Begin a session of a person, or of a visitor (None), under a new `secret_token()`, and return when it ends.

    The transaction's actor is that person, or the visitor with this token's hash.
    """
    moment = now()
    await tx.run(
        _ADD, id_hash=token_hash(token), user_id=user_id, data=_proof(moment) if user_id else {}, expires_at=moment + LIFETIME,
        last_seen_at=moment, ip=as_ip(address), user_agent=_cleaned(user_agent),
    )  # fmt: skip
    return moment + LIFETIME


def _proof(moment: datetime) -> dict[str, str]:
    return {"proved_at": moment.isoformat()}


async def note_proof(tx: Transaction, cache: Cache, id_hash: bytes) -> None:
    """Write down that the person behind a session has just proved who they are."""
    await tx.run(_PROVED, hash=id_hash, data=_proof(now()))
    forget_after(tx, cache, [session_key(id_hash)])


async def touch_session(tx: Transaction, cache: Cache, id_hash: bytes, address: str) -> None:
    """Note that a session is in use, and let it last 30 days from now; once an hour however many requests ask."""
    moment = now()
    await tx.run(
        _TOUCH,
        hash=id_hash,
        before=moment - NOTED_EVERY,
        last_seen_at=moment,
        expires_at=moment + LIFETIME,
        ip=as_ip(address),
    )
    forget_after(tx, cache, [session_key(id_hash)])


async def touch_token(tx: Transaction, cache: Cache, hashed: bytes, address: str) -> None:
    """Note that an API token is in use, once an hour; its end stays where it is."""
    moment = now()
    await tx.run(_TOUCH_TOKEN, hash=hashed, before=moment - NOTED_EVERY, last_used_at=moment, ip=as_ip(address))
    forget_after(tx, cache, [token_key(hashed)])


async def end_session(tx: Transaction, cache: Cache, id_hash: bytes) -> bool:
    """End one session; return whether there was one."""
    ended = await tx.run(_END, hash=id_hash)
    forget_after(tx, cache, [session_key(id_hash)])
    return ended > 0


async def end_session_of(tx: Transaction, cache: Cache, user_id: UUID, id_hash: bytes) -> bool:
    """End one session of a person; return whether it was theirs."""
    ended = await tx.values(_END_ONE_OF, user_id=user_id, hash=id_hash)
    forget_after(tx, cache, [session_key(h) for h in ended])
    return bool(ended)


async def end_sessions_of(tx: Transaction, cache: Cache, user_id: UUID, *, keep: bytes = b"") -> int:
    """End every session of a person but the one to keep; return how many."""
    ended = await tx.values(_END_OF, user_id=user_id, kept=keep)
    forget_after(tx, cache, [session_key(h) for h in ended])
    return len(ended)


async def forget_person(tx: Transaction, cache: Cache, user_id: UUID) -> None:
    """Make the cache ask the database again what a person is called and may do, wherever they are signed in."""
    held = [session_key(h) for h in await tx.values(_HASHES_OF, user_id=user_id)]
    forget_after(tx, cache, [*held, *(token_key(h) for h in await tx.values(_TOKEN_HASHES_OF, user_id=user_id))])


def forget_after(tx: Transaction, cache: Cache, keys: Sequence[str]) -> None:
    """Make the cache forget these keys once the transaction has committed."""
    if keys:
        tx.after_commit(lambda: cache.delete(*keys))


async def remove_expired_sessions(tx: Transaction) -> int:
    """Delete sessions whose time is over; return how many. Needs an actor that sees all."""
    return await tx.run(_END_EXPIRED, now=now())


def as_ip(address: str) -> str | None:
    """Return an address as the database takes it, or None when it is none."""
    try:
        return str(ip_address(address))
    except ValueError:
        return None


def _cleaned(user_agent: str) -> str:
    """Return what a browser calls itself, without what could not be stored or shown."""
    return one_line(user_agent)[:400] if is_plain(user_agent) else ""

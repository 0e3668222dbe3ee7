"""Sign-ins of apps: pairs of a short access token and a refresh token that takes turns.

Promises that both are stored as SHA-256 only; that a refresh token is good once and gives the next pair; and that one which comes
a second time, from whoever copied it or from whom it was copied, ends the whole sign-in (RFC 9700, section 4.14.2). All pairs of
one sign-in share its `family`.
"""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, LargeBinary, Text, bindparam, func, insert, literal_column, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import INET, JSONB

from tradepost.accounts.events import AppSignedIn, AppSignedOut, RefreshTokenReplayed
from tradepost.accounts.one_time import OneTime
from tradepost.accounts.sessions import as_ip, forget_after, token_key
from tradepost.accounts.tables import tokens
from tradepost.accounts.types import Caller, NoSuchApp, SignedInApp, TokenPair
from tradepost.core.cache import Cache
from tradepost.core.clock import now
from tradepost.core.columns import Timestamp
from tradepost.core.database import Transaction
from tradepost.core.events import record
from tradepost.core.ids import secret_token, token_hash, uuid7

ACCESS_LASTS: Final = timedelta(minutes=15)
REFRESH_LASTS: Final = timedelta(days=30)
ACCESS_PREFIX: Final = "tpa_"
REFRESH_PREFIX: Final = "tpr_"
NAME: Final = "name"

_USER_ID = bindparam("user_id", type_=postgresql.UUID)
_FAMILY = bindparam("family", type_=postgresql.UUID)
_NOW = bindparam("now", type_=Timestamp)
_ADD = insert(tokens).values(
    user_id=_USER_ID, token_hash=bindparam("hash", type_=LargeBinary), kind=bindparam("kind", type_=Text),
    name=bindparam("name", type_=Text), scopes=bindparam("scopes", type_=ARRAY(Text)),
    expires_at=bindparam("expires_at", type_=Timestamp), device_info=bindparam("device_info", type_=JSONB),
    ip=bindparam("ip", type_=INET), family=_FAMILY,
)  # fmt: skip
_USE = (
    update(tokens)
    .where(
        tokens.c.id == bindparam("token_id", type_=postgresql.UUID), tokens.c.used_at.is_(None),
        tokens.c.revoked_at.is_(None), tokens.c.expires_at > _NOW,
    )
    .values(used_at=_NOW)
    .returning(tokens.c.name, tokens.c.device_info)
)  # fmt: skip
_END = (
    update(tokens)
    .where(tokens.c.user_id == _USER_ID, tokens.c.family == _FAMILY, tokens.c.revoked_at.is_(None))
    .values(revoked_at=_NOW)
    .returning(tokens.c.token_hash)
)
_OPEN = (
    tokens.c.user_id == _USER_ID, tokens.c.kind == literal_column("'refresh'"), tokens.c.used_at.is_(None),
    tokens.c.revoked_at.is_(None), tokens.c.expires_at > _NOW,
)  # fmt: skip
_first = tokens.alias("first")
_LIST = (
    select(
        tokens.c.family.label("id"), tokens.c.name, func.host(tokens.c.ip).label("ip"),
        select(func.min(_first.c.created_at)).where(_first.c.family == tokens.c.family).scalar_subquery().label("began_at"),
        tokens.c.created_at.label("last_seen_at"),
    )
    .where(*_OPEN)
    .order_by(tokens.c.created_at.desc())
    .limit(100)
)  # fmt: skip
_FAMILIES = select(tokens.c.family).where(*_OPEN)


async def begin(
    tx: Transaction, user_id: UUID, scopes: tuple[str, ...], device_info: dict[str, str], address: str
) -> TokenPair:
    """Begin a sign-in of an app and return its first pair. The transaction's actor is the person."""
    family, name = uuid7(), device_info.get(NAME, "")[:100]
    pair = await _issue(tx, user_id, family, scopes, name, device_info, address)
    await record(tx, AppSignedIn(user_id, family), subject_id=user_id)
    return pair


async def turn(tx: Transaction, found: OneTime, address: str) -> TokenPair | None:
    """Use a refresh token up and return the next pair; None, having changed nothing, when it was used or ended meanwhile."""
    row: Any = await tx.maybe(_USE, token_id=found.token_id, now=now())
    if row is None or found.family is None:
        return None
    return await _issue(tx, found.user_id, found.family, tuple(found.scopes), row["name"], row["device_info"], address)


async def note_replay(tx: Transaction, cache: Cache, found: OneTime) -> None:
    """End the sign-in whose refresh token came a second time."""
    if found.family is not None and await _end(tx, cache, found.user_id, found.family):
        await record(tx, RefreshTokenReplayed(found.user_id, found.family), subject_id=found.user_id)


async def list_apps(tx: Transaction, caller: Caller) -> tuple[SignedInApp, ...]:
    """Return the apps that are signed in as the caller, the one seen last first."""
    user_id = caller.check_in_person()
    return tuple(await tx.all(_LIST, into=SignedInApp, user_id=user_id, now=now()))


async def end_app(tx: Transaction, cache: Cache, user_id: UUID, family: UUID) -> None:
    """Sign an app of a person out. Raises `NoSuchApp` for anybody else's, or one that is signed out."""
    if not await _end(tx, cache, user_id, family):
        raise NoSuchApp
    await record(tx, AppSignedOut(user_id, family), subject_id=user_id)


async def end_apps_of(tx: Transaction, cache: Cache, user_id: UUID) -> int:
    """Sign every app of a person out; return how many there were."""
    families = await tx.values(_FAMILIES, user_id=user_id, now=now())
    for family in families:
        await end_app(tx, cache, user_id, family)
    return len(families)


async def _end(tx: Transaction, cache: Cache, user_id: UUID, family: UUID) -> bool:
    hashes = await tx.values(_END, user_id=user_id, family=family, now=now())
    forget_after(tx, cache, [token_key(hashed) for hashed in hashes])
    return bool(hashes)


async def _issue(
    tx: Transaction, user_id: UUID, family: UUID, scopes: tuple[str, ...], name: str, device_info: dict[str, str],
    address: str,
) -> TokenPair:  # fmt: skip
    access, refresh, moment = ACCESS_PREFIX + secret_token(), REFRESH_PREFIX + secret_token(), now()
    for kind, secret, lasts in (("access", access, ACCESS_LASTS), ("refresh", refresh, REFRESH_LASTS)):
        await tx.run(
            _ADD, user_id=user_id, hash=token_hash(secret), kind=kind, name=name, scopes=list(scopes),
            expires_at=moment + lasts, device_info=device_info, ip=as_ip(address), family=family,
        )  # fmt: skip
    return TokenPair(access, refresh, int(ACCESS_LASTS.total_seconds()), scopes)

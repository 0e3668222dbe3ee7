"""Links that work once: to confirm an address, to choose a new password, to sign in, to come back.

Promises that a link is 256 random bits of which only the SHA-256 is stored, that of two who use it at once one succeeds, that it
ends with its time, and that a newer one of the same kind voids the older.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import msgspec
from sqlalchemy import (
    ARRAY,
    Boolean,
    LargeBinary,
    Text,
    any_,
    bindparam,
    column,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql

from tradepost.accounts.tables import tokens
from tradepost.accounts.types import LinkSpent
from tradepost.core.clock import now
from tradepost.core.columns import Timestamp
from tradepost.core.database import Database, Transaction
from tradepost.core.ids import secret_token, token_hash

Kind = Literal["email", "reset", "sign_in", "change_old", "change_new", "reopen", "second_step"]
LIFETIMES: Final[dict[Kind, timedelta]] = {
    "email": timedelta(days=3),
    "reset": timedelta(hours=1),
    "sign_in": timedelta(minutes=15),
    "change_old": timedelta(days=1),
    "change_new": timedelta(days=1),
    "reopen": timedelta(days=14),
    "second_step": timedelta(minutes=10),
}
KEPT_AFTER_THE_END: Final = timedelta(days=30)
_LONGEST: Final = 100

_USER_ID = bindparam("user_id", type_=postgresql.UUID)
_NOW = bindparam("now", type_=Timestamp)
_FOUND = select(
    func.one_time_token(bindparam("hash", type_=LargeBinary)).table_valued(
        column("token_id", postgresql.UUID), column("user_id", postgresql.UUID), column("kind", Text), column("about", Text),
        column("family", postgresql.UUID), column("scopes", ARRAY(Text)), column("expires_at", Timestamp),
        column("used_at", Timestamp), column("revoked_at", Timestamp), column("is_active", Boolean), name="found",
    )
)  # fmt: skip
_ADD = insert(tokens).values({n: bindparam(n) for n in ("user_id", "token_hash", "kind", "about", "expires_at")})
_OPEN = (tokens.c.used_at.is_(None), tokens.c.revoked_at.is_(None))
_USE = (
    update(tokens)
    .where(tokens.c.id == bindparam("token_id", type_=postgresql.UUID), *_OPEN, tokens.c.expires_at > _NOW)
    .values(used_at=_NOW)
)
_VOID = (
    update(tokens)
    .where(tokens.c.user_id == _USER_ID, tokens.c.kind == any_(bindparam("kinds", type_=ARRAY(Text))), *_OPEN)
    .values(revoked_at=_NOW)
)
_END_CHANGE = (
    update(tokens)
    .where(
        tokens.c.user_id == _USER_ID, tokens.c.kind == any_(literal_column("ARRAY['change_old', 'change_new']")),
        tokens.c.revoked_at.is_(None),
    )
    .values(revoked_at=_NOW)
)  # fmt: skip
_AGREED = select(func.count()).where(
    tokens.c.user_id == _USER_ID, tokens.c.kind == bindparam("kind", type_=Text), tokens.c.used_at.is_not(None),
    tokens.c.about == bindparam("about", type_=Text), tokens.c.expires_at > _NOW, tokens.c.revoked_at.is_(None),
)  # fmt: skip
_WAITING = (
    select(tokens.c.about)
    .where(
        tokens.c.user_id == _USER_ID, tokens.c.kind == "change_new", tokens.c.expires_at > _NOW, tokens.c.revoked_at.is_(None)
    )
    .order_by(tokens.c.id.desc())
    .limit(1)
)  # fmt: skip
_FORGET = delete(tokens).where(tokens.c.expires_at < bindparam("before", type_=Timestamp))


class OneTime(msgspec.Struct, frozen=True):
    """A one-time token that is still good. `about` is the address it proves."""

    token_id: UUID
    user_id: UUID
    kind: str
    about: str | None
    family: UUID | None
    scopes: list[str]
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None
    is_active: bool

    @property
    def is_good(self) -> bool:
        """Whether it can still be used."""
        return self.used_at is None and self.revoked_at is None and self.expires_at > now()


async def issue_link(tx: Transaction, user_id: UUID, kind: Kind, about: str | None = None) -> str:
    """Make a one-time secret of a person and return it; older ones of the kind are void. The transaction's actor is that person."""
    await void_links(tx, user_id, (kind,))
    secret, expires_at = secret_token(), now() + LIFETIMES[kind]
    await tx.run(_ADD, user_id=user_id, token_hash=token_hash(secret), kind=kind, about=about, expires_at=expires_at)
    return secret


async def find_token(db: Database, secret: str, *kinds: str) -> OneTime | None:
    """Return what a secret stands for, used or not; None when it is none of these kinds."""
    if not secret or len(secret) > _LONGEST:
        return None
    found = await db.read_maybe(_FOUND, into=OneTime, fresh=True, hash=token_hash(secret))
    return found if found and found.kind in kinds else None


async def find_link(db: Database, secret: str, *kinds: Kind) -> OneTime:
    """Return what a link that can still be used stands for. Raises `LinkSpent`."""
    found = await find_token(db, secret, *kinds)
    if found is None or not found.is_good:
        raise LinkSpent
    return found


async def use_link(tx: Transaction, link: OneTime) -> None:
    """Use a link up. Raises `LinkSpent` to the slower of two."""
    if await tx.run(_USE, token_id=link.token_id, now=now()) == 0:
        raise LinkSpent


async def void_links(tx: Transaction, user_id: UUID, kinds: Iterable[Kind]) -> None:
    """End what was not used yet."""
    await tx.run(_VOID, user_id=user_id, kinds=list(kinds), now=now())


async def end_change(tx: Transaction, user_id: UUID) -> None:
    """End a change of address, agreements included: the next one begins from nothing."""
    await tx.run(_END_CHANGE, user_id=user_id, now=now())


async def has_agreed(tx: Transaction, user_id: UUID, kind: Kind, about: str) -> bool:
    """Whether a link of the kind about this address was used while it was good."""
    return bool(await tx.value(_AGREED, user_id=user_id, kind=kind, about=about, now=now()))


async def address_in_waiting(tx: Transaction, user_id: UUID) -> str | None:
    """Return the address that a person wants to have and that is not confirmed by everybody yet."""
    found: str | None = await tx.value(_WAITING, user_id=user_id, now=now())
    return found


async def forget_ended_tokens(tx: Transaction) -> int:
    """Delete tokens a month after their end; return how many. Needs an actor that sees all."""
    return await tx.run(_FORGET, before=now() - KEPT_AFTER_THE_END)

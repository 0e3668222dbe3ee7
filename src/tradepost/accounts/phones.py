"""Whose telephone number is whose, once it is proved by a code that was sent to it.

Promises that a code is for one person and the number they have now, works once, within ten minutes, and is kept as a keyed hash.
How often somebody may try is the flow's to count.
"""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import LargeBinary, Text, bindparam, delete, func, insert, literal_column, select, update
from sqlalchemy.dialects import postgresql

from tradepost.accounts.events import PhoneConfirmed
from tradepost.accounts.queries import PHONE
from tradepost.accounts.tables import tokens, users
from tradepost.accounts.types import WrongCode
from tradepost.core.clock import now
from tradepost.core.columns import Timestamp
from tradepost.core.crypto import Keyring
from tradepost.core.database import Transaction
from tradepost.core.events import record

CODE: Final = "tokens.phone_code"
LASTS: Final = timedelta(minutes=10)
DIGITS: Final = 6

_USER_ID = bindparam("user_id", type_=postgresql.UUID)
_HASH = bindparam("hash", type_=LargeBinary)
_NOW = bindparam("now", type_=Timestamp)
_NUMBER = select(users.c.phone_enc, users.c.phone_index, users.c.phone_verified_at).where(users.c.id == _USER_ID)
_OF_PHONE = (tokens.c.user_id == _USER_ID, tokens.c.kind == literal_column("'phone'"))
_FORGET = delete(tokens).where(*_OF_PHONE)
_ADD = insert(tokens).values(
    user_id=_USER_ID, token_hash=_HASH, kind=literal_column("'phone'"), about=bindparam("about", type_=Text),
    expires_at=bindparam("expires_at", type_=Timestamp),
)  # fmt: skip
_USE = (
    update(tokens)
    .where(
        *_OF_PHONE, tokens.c.token_hash == _HASH, tokens.c.used_at.is_(None), tokens.c.revoked_at.is_(None),
        tokens.c.expires_at > _NOW,
    )
    .values(used_at=_NOW)
    .returning(tokens.c.about)
)  # fmt: skip
_CONFIRM = (
    update(users)
    .where(
        users.c.id == _USER_ID, users.c.phone_verified_at.is_(None),
        func.encode(users.c.phone_index, literal_column("'hex'")) == bindparam("about", type_=Text),
    )
    .values(phone_verified_at=_NOW)
)  # fmt: skip


async def number_to_prove(tx: Transaction, keys: Keyring, user_id: UUID) -> str | None:
    """Return the person's number where it is not proved yet; None where there is none, or it is."""
    row = await tx.one(_NUMBER, user_id=user_id)
    if row["phone_enc"] is None or row["phone_verified_at"] is not None:
        return None
    return keys.decrypt(row["phone_enc"], PHONE)


async def issue_code(tx: Transaction, keys: Keyring, user_id: UUID, code: str) -> None:
    """Let a code prove the number that the person has now; older ones end."""
    row = await tx.one(_NUMBER, user_id=user_id)
    await tx.run(_FORGET, user_id=user_id)
    await tx.run(
        _ADD, user_id=user_id, hash=_hash(keys, user_id, code), about=row["phone_index"].hex(), expires_at=now() + LASTS
    )


async def use_code(tx: Transaction, keys: Keyring, user_id: UUID, code: str) -> None:
    """Take the number for proved. Raises `WrongCode`, also where the number is another one by now."""
    digits = "".join(c for c in code if c.isdigit())
    about = await tx.value(_USE, user_id=user_id, hash=_hash(keys, user_id, digits), now=now())
    if about is None or await tx.run(_CONFIRM, user_id=user_id, about=about, now=now()) == 0:
        raise WrongCode
    await record(tx, PhoneConfirmed(user_id), subject_id=user_id)


def _hash(keys: Keyring, user_id: UUID, code: str) -> bytes:
    """Six digits are guessed from a plain hash at once: without our key this one tells nothing."""
    return keys.blind_index(f"{user_id}:{code}", CODE)

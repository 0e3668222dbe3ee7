"""The second step of a sign-in: an authenticator app and recovery codes. Passkeys, which are one too, have their own file.

Promises that the app's secret is stored encrypted and recovery codes as SHA-256 of 77 random bits, that a code is good once, to the slower of
two as well, and that a secret counts only after its person has shown a code of it.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, LargeBinary, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql

from tradepost.accounts import sessions
from tradepost.accounts.events import RecoveryCodeUsed, SecondStepAdded, SecondStepWithdrawn
from tradepost.accounts.queries import lock_person
from tradepost.accounts.tables import passkeys, recovery_codes, totp_secrets
from tradepost.accounts.totp import DIGITS, matching_step, new_secret
from tradepost.accounts.types import Caller, TotpOn, WrongCode
from tradepost.core.cache import Cache
from tradepost.core.clock import now
from tradepost.core.columns import Timestamp
from tradepost.core.crypto import Keyring
from tradepost.core.database import Transaction
from tradepost.core.events import record
from tradepost.core.ids import readable_code, token_hash

TOTP: Final = "totp_secrets.secret"
CODES: Final = 10
_LENGTH: Final = 16  # letters of 29: 77 bits

_USER_ID = bindparam("user_id", type_=postgresql.UUID)
_NOW = bindparam("now", type_=Timestamp)
_STEP = bindparam("step", type_=BigInteger)
_SECRET = select(totp_secrets.c.secret_enc, totp_secrets.c.last_step, totp_secrets.c.confirmed_at).where(
    totp_secrets.c.user_id == _USER_ID
)
_OFFER = insert(totp_secrets).values(user_id=_USER_ID, secret_enc=bindparam("secret_enc", type_=LargeBinary))
_LATER = or_(totp_secrets.c.last_step.is_(None), totp_secrets.c.last_step < _STEP)
_USE_STEP = update(totp_secrets).where(totp_secrets.c.user_id == _USER_ID, _LATER).values(last_step=_STEP)
_CONFIRM = (
    update(totp_secrets)
    .where(totp_secrets.c.user_id == _USER_ID, totp_secrets.c.confirmed_at.is_(None))
    .values(confirmed_at=_NOW)
)
_DROP = delete(totp_secrets).where(totp_secrets.c.user_id == _USER_ID)
_USE_CODE = (
    update(recovery_codes)
    .where(
        recovery_codes.c.user_id == _USER_ID, recovery_codes.c.code_hash == bindparam("hash", type_=LargeBinary),
        recovery_codes.c.used_at.is_(None),
    )
    .values(used_at=_NOW)
)  # fmt: skip
_DROP_CODES = delete(recovery_codes).where(recovery_codes.c.user_id == _USER_ID)
_ADD_CODE = insert(recovery_codes).values(user_id=_USER_ID, code_hash=bindparam("hash", type_=LargeBinary))
_LEFT = select(func.count()).where(recovery_codes.c.user_id == _USER_ID, recovery_codes.c.used_at.is_(None))
_PASSKEYS = select(func.count()).where(passkeys.c.user_id == _USER_ID)


class SecondSteps(msgspec.Struct, frozen=True):
    """Which second steps a person has."""

    has_totp: bool
    passkeys: int
    codes_left: int

    @property
    def any(self) -> bool:
        """Whether a password alone does not do."""
        return self.has_totp or self.passkeys > 0


class _Row(msgspec.Struct, frozen=True):
    secret_enc: bytes
    last_step: int | None
    confirmed_at: datetime | None


async def list_second_steps(tx: Transaction, user_id: UUID) -> SecondSteps:
    """Return which second steps a person has. The transaction's actor is that person."""
    found = await tx.maybe(_SECRET, into=_Row, user_id=user_id)
    held, left = await tx.value(_PASSKEYS, user_id=user_id), await tx.value(_LEFT, user_id=user_id)
    return SecondSteps(found is not None and found.confirmed_at is not None, held, left)


async def offer_totp(tx: Transaction, keys: Keyring, caller: Caller) -> bytes:
    """Return the secret for the caller's app: the one that waits for its first code, or a new one.

    Raises `TotpOn`, `ProveItAgain`, `NotByToken`.
    """
    user_id = caller.check_proved()
    await lock_person(tx, user_id)
    found = await tx.maybe(_SECRET, into=_Row, user_id=user_id)
    if found is not None and found.confirmed_at is not None:
        raise TotpOn
    if found is not None:
        return _opened(keys, found)
    secret = new_secret()
    await tx.run(_OFFER, user_id=user_id, secret_enc=keys.encrypt(secret.hex(), TOTP))
    return secret


async def confirm_totp(tx: Transaction, cache: Cache, keys: Keyring, caller: Caller, code: str) -> None:
    """Ask for the app's codes from now on, once the caller has shown one. Raises `WrongCode`, `ProveItAgain`."""
    user_id = caller.check_proved()
    await lock_person(tx, user_id)
    await use_totp(tx, keys, user_id, code, is_first=True)
    if await tx.run(_CONFIRM, user_id=user_id, now=now()):
        await record(tx, SecondStepAdded(user_id, "totp"), subject_id=user_id)
    await sessions.forget_person(tx, cache, user_id)


async def remove_totp(tx: Transaction, cache: Cache, caller: Caller) -> bool:
    """Ask for the app's codes no longer; return whether there was one. Recovery codes go with the last second step."""
    user_id = caller.check_proved()
    await lock_person(tx, user_id)
    if await tx.run(_DROP, user_id=user_id) == 0:
        return False
    await record(tx, SecondStepWithdrawn(user_id, "totp"), subject_id=user_id)
    await drop_codes_without_steps(tx, user_id)
    await sessions.forget_person(tx, cache, user_id)
    return True


async def drop_codes_without_steps(tx: Transaction, user_id: UUID) -> None:
    """Delete recovery codes that have nothing to stand in for."""
    if not (await list_second_steps(tx, user_id)).any:
        await tx.run(_DROP_CODES, user_id=user_id)


async def remove_all_steps(tx: Transaction, user_id: UUID) -> None:
    """Delete an app and recovery codes that somebody set up who never proved that the address of the account is theirs."""
    await tx.run(_DROP, user_id=user_id)
    await tx.run(_DROP_CODES, user_id=user_id)


async def use_totp(tx: Transaction, keys: Keyring, user_id: UUID, code: str, *, is_first: bool = False) -> None:
    """Use a code of the person's app up. Raises `WrongCode`, also for one that was used, or that a slower request brings."""
    found = await tx.maybe(_SECRET, into=_Row, user_id=user_id)
    digits = "".join(code.split())
    if found is None or len(digits) != DIGITS or (found.confirmed_at is None) is not is_first:
        raise WrongCode
    step = matching_step(_opened(keys, found), digits, now(), found.last_step)
    if step is None or await tx.run(_USE_STEP, user_id=user_id, step=step) == 0:
        raise WrongCode


async def make_codes(tx: Transaction, user_id: UUID) -> tuple[str, ...]:
    """Return ten new recovery codes; they are seen now and never again, and older ones are void."""
    await lock_person(tx, user_id)
    await tx.run(_DROP_CODES, user_id=user_id)
    codes = tuple(readable_code(_LENGTH) for _ in range(CODES))
    for code in codes:
        await tx.run(_ADD_CODE, user_id=user_id, hash=token_hash(code))
    return tuple("-".join(code[i : i + 4] for i in range(0, _LENGTH, 4)) for code in codes)


async def use_code(tx: Transaction, user_id: UUID, code: str) -> None:
    """Use a recovery code up. Raises `WrongCode`."""
    plain = "".join(c for c in code.upper() if c.isalnum())
    if len(plain) != _LENGTH:
        raise WrongCode
    if await tx.run(_USE_CODE, user_id=user_id, hash=token_hash(plain), now=now()) == 0:
        raise WrongCode
    await record(tx, RecoveryCodeUsed(user_id, await tx.value(_LEFT, user_id=user_id)), subject_id=user_id)


async def use_any_code(tx: Transaction, keys: Keyring, user_id: UUID, code: str) -> None:
    """Use up a code of the app or a recovery code, whichever it looks like. Raises `WrongCode`."""
    if len("".join(code.split())) == DIGITS:
        await use_totp(tx, keys, user_id, code)
    else:
        await use_code(tx, user_id, code)


def _opened(keys: Keyring, row: _Row) -> bytes:
    return bytes.fromhex(keys.decrypt(row.secret_enc, TOTP))

"""Passkeys (WebAuthn): keys in people's devices that sign them in, alone or as the second step of a password.

Promises that a key is asked to know its person (a finger, a face, a PIN), that a challenge is ours, fresh, for one purpose and good
once, that an answer for another site or from a copied key is refused, and that only public halves are stored.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
import webauthn
from cbor2 import CBORError
from cryptography.exceptions import InvalidSignature
from sqlalchemy import BigInteger, Boolean, LargeBinary, bindparam, column, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, options_to_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from tradepost.accounts import second_steps, sessions
from tradepost.accounts.events import SecondStepAdded, SecondStepWithdrawn
from tradepost.accounts.queries import lock_person
from tradepost.accounts.tables import passkeys
from tradepost.accounts.types import Caller, NoSuchPasskey, PasskeyRefused, TooManyPasskeys
from tradepost.core.cache import Cache
from tradepost.core.clock import now
from tradepost.core.columns import Timestamp
from tradepost.core.crypto import Keyring
from tradepost.core.database import Database, Transaction, on_violation
from tradepost.core.events import record
from tradepost.core.text import is_plain, one_line

MOST: Final = 20
LONGEST_ANSWER: Final = 20_000
ANSWER_WITHIN: Final = timedelta(minutes=5)
_NONCE, _TIME = 16, 8
_BROKEN: Final = (
    WebAuthnException, CBORError, InvalidSignature, ValueError, TypeError, LookupError, AttributeError, OverflowError,
)  # fmt: skip

on_violation("uq_passkeys_credential_id", PasskeyRefused)

_USER_ID = bindparam("user_id", type_=postgresql.UUID)
_CREDENTIAL = bindparam("credential_id", type_=LargeBinary)
_COUNT = bindparam("sign_count", type_=BigInteger)
_MINE = (
    select(
        func.encode(passkeys.c.credential_id, "hex").label("id"), passkeys.c.name, passkeys.c.is_backed_up,
        passkeys.c.last_used_at, passkeys.c.created_at,
    )
    .where(passkeys.c.user_id == _USER_ID)
    .order_by(passkeys.c.created_at, passkeys.c.credential_id)
)  # fmt: skip
_ADD = insert(passkeys).values(
    {n: bindparam(n) for n in ("credential_id", "user_id", "public_key", "sign_count", "name", "is_backed_up")}
)
_REMOVE = delete(passkeys).where(passkeys.c.user_id == _USER_ID, passkeys.c.credential_id == _CREDENTIAL)
_REMOVE_ALL = delete(passkeys).where(passkeys.c.user_id == _USER_ID)
_USED = (
    update(passkeys)
    .where(
        passkeys.c.user_id == _USER_ID, passkeys.c.credential_id == _CREDENTIAL,
        or_(passkeys.c.sign_count < _COUNT, _COUNT == 0),
    )
    .values(sign_count=_COUNT, last_used_at=bindparam("now", type_=Timestamp))
)  # fmt: skip
_HOLDER = select(
    func.passkey_holder(_CREDENTIAL).table_valued(
        column("user_id", postgresql.UUID), column("public_key", LargeBinary), column("sign_count", BigInteger),
        column("is_active", Boolean), name="found",
    )
)  # fmt: skip


class Passkey(msgspec.Struct, frozen=True):
    """One of a person's passkeys. `is_backed_up`: it is on more than one device."""

    id: str
    name: str
    is_backed_up: bool
    last_used_at: datetime | None
    created_at: datetime


class _Holder(msgspec.Struct, frozen=True):
    user_id: UUID
    public_key: bytes
    sign_count: int
    is_active: bool


class ProvedPasskey(msgspec.Struct, frozen=True):
    """A passkey whose answer was right."""

    user_id: UUID
    credential_id: bytes
    sign_count: int


@dataclass(frozen=True)
class Site:
    """What passkeys are made for: one store at one address, and the key that signs its challenges."""

    name: str
    origin: str
    secret: bytes

    @classmethod
    def of(cls, name: str, base_url: str, keys: Keyring) -> "Site":
        """Return the site at an address."""
        return cls(name, base_url, keys.derived_key("passkey challenges"))

    @property
    def host(self) -> str:
        """The name that browsers bind passkeys to."""
        return urlsplit(self.origin).hostname or ""


def options_to_add(site: Site, caller: Caller, held: tuple[Passkey, ...]) -> str:
    """Return what a browser needs to make a passkey for the caller, as JSON. Raises `ProveItAgain`, `NotByToken`."""
    user_id = caller.check_proved()
    options = webauthn.generate_registration_options(
        rp_id=site.host, rp_name=site.name, user_id=user_id.bytes, user_name=caller.username,
        user_display_name=caller.display_name, challenge=_challenge(site, user_id.bytes),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=bytes.fromhex(key.id)) for key in held],
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
    )  # fmt: skip
    return options_to_json(options)


def options_to_sign_in(site: Site) -> str:
    """Return what a browser needs to ask for a passkey of this site, as JSON."""
    return options_to_json(
        webauthn.generate_authentication_options(
            rp_id=site.host, challenge=_challenge(site, b""), user_verification=UserVerificationRequirement.REQUIRED
        )
    )


async def list_passkeys(tx: Transaction, user_id: UUID) -> tuple[Passkey, ...]:
    """Return a person's passkeys, the oldest first. The transaction's actor is that person."""
    return tuple(await tx.all(_MINE, into=Passkey, user_id=user_id))


async def add_passkey(tx: Transaction, cache: Cache, site: Site, caller: Caller, answer: str, name: str) -> None:
    """Take the passkey that a browser made. Raises `PasskeyRefused`, `TooManyPasskeys` (20), `ProveItAgain`, `NotByToken`."""
    user_id = caller.check_proved()
    credential, challenge = _read(answer)
    await _use_challenge(cache, site, challenge, user_id.bytes)
    try:
        made = webauthn.verify_registration_response(
            credential=credential, expected_challenge=challenge, expected_rp_id=site.host, expected_origin=site.origin,
            require_user_verification=True,
        )  # fmt: skip
    except _BROKEN:
        raise PasskeyRefused from None
    await lock_person(tx, user_id)
    if len(await list_passkeys(tx, user_id)) >= MOST:
        raise TooManyPasskeys
    known = one_line(name)[:60] if is_plain(name) else ""
    await tx.run(
        _ADD, credential_id=made.credential_id, user_id=user_id, public_key=made.credential_public_key,
        sign_count=made.sign_count, name=known or "Passkey", is_backed_up=made.credential_backed_up,
    )  # fmt: skip
    await record(tx, SecondStepAdded(user_id, "passkey"), subject_id=user_id)
    await sessions.forget_person(tx, cache, user_id)


async def remove_passkey(tx: Transaction, cache: Cache, caller: Caller, key_id: str) -> None:
    """Accept one of the caller's passkeys no longer. Raises `NoSuchPasskey`, `ProveItAgain`."""
    user_id = caller.check_proved()
    await lock_person(tx, user_id)
    try:
        credential_id = bytes.fromhex(key_id)
    except ValueError:
        raise NoSuchPasskey from None
    if await tx.run(_REMOVE, user_id=user_id, credential_id=credential_id) == 0:
        raise NoSuchPasskey
    await record(tx, SecondStepWithdrawn(user_id, "passkey"), subject_id=user_id)
    await second_steps.drop_codes_without_steps(tx, user_id)
    await sessions.forget_person(tx, cache, user_id)


async def remove_all_passkeys(tx: Transaction, user_id: UUID) -> None:
    """Delete the passkeys that somebody made who never proved that the address of the account is theirs."""
    await tx.run(_REMOVE_ALL, user_id=user_id)


async def prove_passkey(db: Database, cache: Cache, site: Site, answer: str) -> ProvedPasskey:
    """Return whose passkey answered, if the answer is right. Raises `PasskeyRefused`."""
    credential, challenge = _read(answer)
    await _use_challenge(cache, site, challenge, b"")
    try:
        credential_id = base64url_to_bytes(credential["id"])
    except _BROKEN:
        raise PasskeyRefused from None
    holder = await db.read_maybe(_HOLDER, into=_Holder, fresh=True, credential_id=credential_id)
    if holder is None or not holder.is_active:
        raise PasskeyRefused
    try:
        proved = webauthn.verify_authentication_response(
            credential=credential, expected_challenge=challenge, expected_rp_id=site.host, expected_origin=site.origin,
            credential_public_key=holder.public_key, credential_current_sign_count=holder.sign_count,
            require_user_verification=True,
        )  # fmt: skip
    except _BROKEN:
        raise PasskeyRefused from None
    return ProvedPasskey(holder.user_id, credential_id, proved.new_sign_count)


async def note_use(tx: Transaction, proved: ProvedPasskey) -> None:
    """Write down that a passkey was used, with its counter. Raises `PasskeyRefused` for one that was removed or used meanwhile."""
    used = await tx.run(
        _USED, user_id=proved.user_id, credential_id=proved.credential_id, sign_count=proved.sign_count, now=now()
    )
    if used == 0:
        raise PasskeyRefused


def _read(answer: str) -> tuple[dict[str, Any], bytes]:
    """Return a browser's answer, and the challenge it says it answers."""
    if len(answer) > LONGEST_ANSWER:
        raise PasskeyRefused
    try:
        credential = msgspec.json.decode(answer, type=dict[str, Any])
        client = msgspec.json.decode(base64url_to_bytes(credential["response"]["clientDataJSON"]), type=dict[str, Any])
        return credential, base64url_to_bytes(client["challenge"])
    except (msgspec.MsgspecError, *_BROKEN):
        raise PasskeyRefused from None


def _challenge(site: Site, purpose: bytes) -> bytes:
    """Return random bytes with the time they end and our signature: nothing needs to be kept until they come back."""
    ends = int((now() + ANSWER_WITHIN).timestamp())
    head = secrets.token_bytes(_NONCE) + ends.to_bytes(_TIME, "big")
    return head + _signature(site, head, purpose)


async def _use_challenge(cache: Cache, site: Site, challenge: bytes, purpose: bytes) -> None:
    """Refuse a challenge that is not ours, of another purpose, too old, or answered before."""
    head, signature = challenge[: _NONCE + _TIME], challenge[_NONCE + _TIME :]
    if not hmac.compare_digest(signature, _signature(site, head, purpose)):
        raise PasskeyRefused
    if int.from_bytes(head[_NONCE:], "big") <= now().timestamp():
        raise PasskeyRefused
    if await cache.count(f"passkey_challenge:{bytes_to_base64url(head)}", ttl_s=ANSWER_WITHIN.total_seconds()) > 1:
        raise PasskeyRefused


def _signature(site: Site, head: bytes, purpose: bytes) -> bytes:
    return hmac.digest(site.secret, head + purpose, hashlib.sha256)

"""Keeping an address book: adding, changing, removing, choosing the default.

Every command locks the person first, so that two browsers at once leave one default and no more than 20 addresses. The first
address is the default by itself; when the default goes, the latest of the others takes its place.
"""

from functools import cache
from uuid import UUID

from babel import Locale
from sqlalchemy import Boolean, LargeBinary, Text, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql

from tradepost.accounts.queries import lock_person
from tradepost.accounts.types import PROFILE_SCOPE, Caller
from tradepost.core.crypto import Keyring
from tradepost.core.database import Transaction
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.postal import Address
from tradepost.core.text import one_line
from tradepost.delivery.queries import MOST, access_address, sealed
from tradepost.delivery.tables import addresses
from tradepost.delivery.types import AddressDraft, SavedAddress, TooManyAddresses

_USER_ID = bindparam("user_id", type_=postgresql.UUID)
_ADDRESS_ID = bindparam("address_id", type_=postgresql.UUID)
_MINE = (addresses.c.user_id == _USER_ID, addresses.c.id == _ADDRESS_ID)
_COUNT = select(func.count()).select_from(addresses).where(addresses.c.user_id == _USER_ID)
_ADD = (
    insert(addresses)
    .values({n: bindparam(n) for n in ("user_id", "label", "address_enc", "is_default")})
    .returning(addresses.c.id)
)
_CHANGE = (
    update(addresses)
    .where(*_MINE)
    .values(
        label=bindparam("label", type_=Text), address_enc=bindparam("address_enc", type_=LargeBinary),
        is_default=bindparam("is_default", type_=Boolean),
    )
)  # fmt: skip
_NO_DEFAULT = update(addresses).where(addresses.c.user_id == _USER_ID, addresses.c.is_default).values(is_default=False)
_MAKE_DEFAULT = update(addresses).where(*_MINE).values(is_default=True)
_REMOVE = delete(addresses).where(*_MINE)
_LATEST = select(addresses.c.id).where(addresses.c.user_id == _USER_ID).order_by(addresses.c.id.desc()).limit(1)


async def add_address(tx: Transaction, keys: Keyring, caller: Caller, draft: AddressDraft) -> SavedAddress:
    """Write an address into the caller's book and return it. Raises `FieldErrors`, `TooManyAddresses`, `NotAllowed`."""
    user_id = caller.check_scope(PROFILE_SCOPE)
    address = _checked(draft)
    await lock_person(tx, user_id)
    held = await tx.value(_COUNT, user_id=user_id)
    if held >= MOST:
        raise TooManyAddresses
    is_default = draft.is_default or held == 0
    if is_default:
        await tx.run(_NO_DEFAULT, user_id=user_id)
    address_id: UUID = await tx.value(
        _ADD, user_id=user_id, label=one_line(draft.label), address_enc=sealed(keys, address), is_default=is_default
    )
    return await access_address(tx, keys, caller, address_id)


async def change_address(
    tx: Transaction, keys: Keyring, caller: Caller, address_id: UUID, draft: AddressDraft
) -> SavedAddress:
    """Rewrite an address of the caller's book and return it; the default stays one until another is made it.

    Orders keep the address they were placed with. Raises `NoSuchAddress`, `FieldErrors`, `NotAllowed`.
    """
    user_id = caller.check_scope(PROFILE_SCOPE)
    await lock_person(tx, user_id)
    known = await access_address(tx, keys, caller, address_id)
    address = _checked(draft)
    is_default = known.is_default or draft.is_default
    if is_default and not known.is_default:
        await tx.run(_NO_DEFAULT, user_id=user_id)
    await tx.run(
        _CHANGE, user_id=user_id, address_id=address_id, label=one_line(draft.label), address_enc=sealed(keys, address),
        is_default=is_default,
    )  # fmt: skip
    return await access_address(tx, keys, caller, address_id)


async def make_default(tx: Transaction, keys: Keyring, caller: Caller, address_id: UUID) -> None:
    """Have the caller's orders go to this address unless they say otherwise. Idempotent. Raises `NoSuchAddress`."""
    user_id = caller.check_scope(PROFILE_SCOPE)
    await lock_person(tx, user_id)
    if (await access_address(tx, keys, caller, address_id)).is_default:
        return
    await tx.run(_NO_DEFAULT, user_id=user_id)
    await tx.run(_MAKE_DEFAULT, user_id=user_id, address_id=address_id)


async def remove_address(tx: Transaction, keys: Keyring, caller: Caller, address_id: UUID) -> None:
    """Take an address out of the caller's book. Raises `NoSuchAddress`."""
    user_id = caller.check_scope(PROFILE_SCOPE)
    await lock_person(tx, user_id)
    known = await access_address(tx, keys, caller, address_id)
    await tx.run(_REMOVE, user_id=user_id, address_id=address_id)
    latest = await tx.value(_LATEST, user_id=user_id) if known.is_default else None
    if latest is not None:
        await tx.run(_MAKE_DEFAULT, user_id=user_id, address_id=latest)


def _checked(draft: AddressDraft) -> Address:
    """Return the address a draft describes, tidied. Raises `FieldErrors` with everything that is wrong."""
    country = draft.country.strip().upper()
    needed = {
        field: None if getattr(draft, field).strip() else "This is needed." for field in ("name", "line1", "city")
    }
    check_fields(
        needed | {"country": None if country in _countries() else "Please choose a country."} | broken_limits(draft)
    )
    return Address(
        name=one_line(draft.name), line1=one_line(draft.line1), line2=one_line(draft.line2), city=one_line(draft.city),
        region=one_line(draft.region), postcode=one_line(draft.postcode), country=country, phone=one_line(draft.phone),
    )  # fmt: skip


@cache
def _countries() -> frozenset[str]:
    """The countries of ISO 3166 as CLDR lists them, without its codes for groups and for nowhere."""
    codes = (str(code) for code in Locale("en").territories)
    return frozenset(code for code in codes if len(code) == 2 and code.isalpha()) - {
        "EU",
        "EZ",
        "QO",
        "UN",
        "XA",
        "XB",
        "ZZ",
    }

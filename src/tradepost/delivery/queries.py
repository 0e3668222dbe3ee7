"""Every read of address books."""

from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, select
from sqlalchemy.dialects import postgresql

from tradepost.accounts.types import Caller
from tradepost.core.crypto import Keyring
from tradepost.core.database import Transaction
from tradepost.core.postal import Address
from tradepost.delivery.tables import addresses
from tradepost.delivery.types import NoSuchAddress, SavedAddress

ADDRESS = "addresses.address"
MOST = 20

_USER_ID = bindparam("user_id", type_=postgresql.UUID)
_ADDRESS_ID = bindparam("address_id", type_=postgresql.UUID)
_SAVED = select(
    addresses.c.id, addresses.c.label, addresses.c.is_default, addresses.c.address_enc, addresses.c.updated_at
).where(addresses.c.user_id == _USER_ID)
ADDRESSES_OF = _SAVED.order_by(addresses.c.is_default.desc(), addresses.c.id.desc()).limit(MOST)
ADDRESS_OF = _SAVED.where(addresses.c.id == _ADDRESS_ID)
DEFAULT_OF = _SAVED.where(addresses.c.is_default)


async def list_addresses(tx: Transaction, keys: Keyring, caller: Caller) -> tuple[SavedAddress, ...]:
    """Return the caller's address book, the default first, then the latest; 20 is the most it holds."""
    rows = await tx.all(ADDRESSES_OF, user_id=caller.check_signed_in())
    return tuple(_opened(keys, row) for row in rows)


async def access_address(tx: Transaction, keys: Keyring, caller: Caller, address_id: UUID) -> SavedAddress:
    """Return one address of the caller's book. Raises `NoSuchAddress` for anybody else's."""
    row = await tx.maybe(ADDRESS_OF, user_id=caller.check_signed_in(), address_id=address_id)
    if row is None:
        raise NoSuchAddress
    return _opened(keys, row)


async def default_address(tx: Transaction, keys: Keyring, caller: Caller) -> SavedAddress | None:
    """Return where the caller's orders go unless they say otherwise, or None; None to visitors, too."""
    if caller.user_id is None:
        return None
    row = await tx.maybe(DEFAULT_OF, user_id=caller.user_id)
    return None if row is None else _opened(keys, row)


def sealed(keys: Keyring, address: Address) -> bytes:
    """Return an address as it is stored."""
    return keys.encrypt(msgspec.json.encode(address).decode(), ADDRESS)


def _opened(keys: Keyring, row: Any) -> SavedAddress:
    values = dict(row)
    address = msgspec.json.decode(keys.decrypt(values.pop("address_enc"), ADDRESS), type=Address)
    return SavedAddress(address=address, **values)

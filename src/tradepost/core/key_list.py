"""The list of keys that values of a database were encrypted with, and which one makes its blind indexes."""

from dataclasses import dataclass

from sqlalchemy import text

from tradepost.core.database import Transaction

_KEYS = text(
    "SELECT key_id, retired_at IS NOT NULL AS is_retired, is_index FROM encryption_keys ORDER BY first_used_at, key_id"
)
_USE = text("""
    INSERT INTO encryption_keys (key_id) VALUES (:key_id) ON CONFLICT (key_id) DO UPDATE SET retired_at = NULL
    WHERE encryption_keys.retired_at IS NOT NULL
""")
_USE_FOR_INDEX = text("""
    INSERT INTO encryption_keys (key_id, is_index) VALUES (:key_id, true) ON CONFLICT (key_id) DO UPDATE SET is_index = true
""")
_NO_INDEX = text("UPDATE encryption_keys SET is_index = false WHERE is_index")
_RETIRE = text("UPDATE encryption_keys SET retired_at = now() WHERE key_id <> :key_id AND retired_at IS NULL")


@dataclass(frozen=True)
class KeyUse:
    """A key of the list: whether nothing is encrypted with it any more, and whether it makes the blind indexes."""

    key_id: str
    is_retired: bool
    is_index: bool


async def keys_in_use(tx: Transaction) -> list[KeyUse]:
    """Return the keys that were ever used here, the oldest first."""
    return [KeyUse(row["key_id"], row["is_retired"], row["is_index"]) for row in await tx.all(_KEYS)]


async def use_key(tx: Transaction, key_id: str) -> None:
    """Note that values are encrypted with a key from now on."""
    await tx.run(_USE, key_id=key_id)


async def use_key_for_indexes(tx: Transaction, key_id: str) -> None:
    """Note that blind indexes are made with this key, and with no other."""
    await tx.run(_NO_INDEX)
    await tx.run(_USE_FOR_INDEX, key_id=key_id)


async def retire_other_keys(tx: Transaction, key_id: str) -> None:
    """Note that nothing is encrypted any more with any key but this one."""
    await tx.run(_USE, key_id=key_id)
    await tx.run(_RETIRE, key_id=key_id)

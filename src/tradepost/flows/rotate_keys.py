"""Keys that change: which are in use, encrypting old values again in batches, and blind indexes made anew.

Promises that a server does not start without a key that something is still encrypted with, that rotation can be interrupted at
any moment and goes on where it was, that values written meanwhile are not lost, and that a key is retired only when nothing is
left of it. See docs/how-to/rotate-keys.md for the steps.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import TextClause, text

from tradepost.accounts.verification_types import FILE
from tradepost.core.crypto import Keyring
from tradepost.core.database import SYSTEM, Database, metadata
from tradepost.core.errors import NotFound, Unavailable
from tradepost.core.files import FileStore
from tradepost.core.key_list import keys_in_use, retire_other_keys, use_key, use_key_for_indexes
from tradepost.flows.privacy import EXPORT
from tradepost.flows.sealed import INDEXED, SEALED

BATCH: Final = 500
Progress = Callable[[str, int, int], None]

_FILES: Final = {
    FILE: text("SELECT storage_key FROM verification_documents ORDER BY storage_key"),
    EXPORT: text(
        "SELECT storage_key FROM data_exports WHERE storage_key IS NOT NULL AND state = 'ready' ORDER BY storage_key"
    ),
}


@dataclass(eq=False)
class KeysMissing(Unavailable):
    """Values in this store are encrypted with {keys}, which secret_key does not have; put that back, or restore the home's keys file."""

    keys: str


@dataclass(eq=False)
class IndexKeyGone(Unavailable):
    """Telephone numbers are indexed with the key {key}, which is gone or no longer the last in secret_key; run: tradepost keys reindex"""

    key: str


async def check_keys(db: Database, keys: Keyring) -> None:
    """See that every key in use is in the ring, and note the newest as in use. Raises `KeysMissing`, `IndexKeyGone`."""
    async with db.transaction(actor=SYSTEM) as tx:
        known = await keys_in_use(tx)
        missing = sorted(k.key_id for k in known if not k.is_retired and k.key_id not in keys.key_ids)
        if missing:
            raise KeysMissing(", ".join(missing))
        index = next((k.key_id for k in known if k.is_index), None)
        if index is None:
            await use_key_for_indexes(tx, keys.key_ids[-1])
        elif index != keys.key_ids[-1]:
            raise IndexKeyGone(index)
        if not any(k.key_id == keys.key_ids[0] and not k.is_retired for k in known):
            await use_key(tx, keys.key_ids[0])


@cache
def _statements(table: str, column: str) -> tuple[TextClause, TextClause, TextClause]:
    """Return how many values of a column are not current, the next of them, and the change of one."""
    key = [c.name for c in metadata.tables[table].primary_key.columns]
    old = f"{column} IS NOT NULL AND substring({column} FROM 1 FOR octet_length(CAST(:head AS bytea))) <> :head"
    same = " AND ".join(f"{name} = :{name}" for name in key)
    return (
        text(f"SELECT count(*) FROM {table} WHERE {old}"),
        text(
            f"SELECT {', '.join(key)}, {column} AS sealed FROM {table} WHERE {old} LIMIT {BATCH} FOR UPDATE SKIP LOCKED"
        ),
        text(f"UPDATE {table} SET {column} = :sealed WHERE {same}"),
    )


async def count_old(db: Database, keys: Keyring) -> dict[tuple[str, str], int]:
    """Return for each encrypted column how many values the newest key did not encrypt."""
    found = {}
    async with db.transaction(actor=SYSTEM, read_only=True) as tx:
        for place in SEALED:
            found[place] = int(await tx.value(_statements(*place)[0], head=keys.head))
    return found


async def rotate(db: Database, files: FileStore, keys: Keyring, progress: Progress) -> int:
    """Encrypt everything again that the newest key did not, batch by batch, each in a transaction of its own; return how much.

    When nothing is left of them the older keys are retired. Raises `KeyMissing` for a value whose key is not in the ring.
    """
    done = 0
    for place, whole in (await count_old(db, keys)).items():
        done += await _rotate_column(db, keys, place, whole, progress)
    done += await _rotate_files(db, files, keys, progress)
    if not any((await count_old(db, keys)).values()):
        async with db.transaction(actor=SYSTEM) as tx:
            await retire_other_keys(tx, keys.key_ids[0])
    return done


async def _rotate_column(db: Database, keys: Keyring, place: tuple[str, str], whole: int, progress: Progress) -> int:
    _, some, change = _statements(*place)
    name, purpose, done = ".".join(place), SEALED[place], 0
    while True:
        async with db.transaction(actor=SYSTEM) as tx:
            rows = [dict(row) for row in await tx.all(some, head=keys.head)]
            for row in rows:
                row["sealed"] = keys.seal(keys.unseal(row["sealed"], purpose), purpose)
            await tx.run_many(change, rows)
        done += len(rows)
        progress(name, done, max(whole, done))
        if len(rows) < BATCH:
            return done


async def _rotate_files(db: Database, files: FileStore, keys: Keyring, progress: Progress) -> int:
    done = 0
    for purpose, statement in _FILES.items():
        async with db.transaction(actor=SYSTEM, read_only=True) as tx:
            places = await tx.values(statement)
        for number, place in enumerate(places, 1):
            done += await _rotate_file(files, keys, place, purpose)
            progress(purpose, number, len(places))
    return done


async def _rotate_file(files: FileStore, keys: Keyring, place: str, purpose: str) -> bool:
    """Write a file anew where an older key encrypted it; one that was deleted meanwhile is none of ours."""
    try:
        sealed = await files.get(place)
    except NotFound:
        return False
    if keys.is_current(sealed):
        return False
    await files.put(place, keys.seal(keys.unseal(sealed, purpose), purpose), "application/octet-stream")
    return True


async def reindex(db: Database, keys: Keyring, progress: Progress) -> int:
    """Make every blind index anew with the last key of the ring, in one transaction; return how many values it took.

    For when the key that made them is about to go. Stop the servers meanwhile: they would look for the old ones.
    """
    done = 0
    async with db.transaction(actor=SYSTEM) as tx:
        for (table, index), (column, purpose) in INDEXED.items():
            rows = [
                *_indexed(
                    keys,
                    purpose,
                    await tx.all(
                        text(f"SELECT id, {column} AS sealed FROM {table} WHERE {column} IS NOT NULL FOR UPDATE")
                    ),
                )
            ]
            await tx.run_many(text(f"UPDATE {table} SET {index} = :found WHERE id = :id"), rows)
            done += len(rows)
            progress(f"{table}.{index}", len(rows), len(rows))
        await use_key_for_indexes(tx, keys.key_ids[-1])
    return done


def _indexed(keys: Keyring, purpose: str, rows: list[Any]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {"id": row["id"], "found": keys.blind_index(keys.decrypt(row["sealed"], purpose), purpose)}

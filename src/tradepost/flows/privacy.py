"""Everything about a person as a zip that they can take along, and erasure that keeps the books.

The copy is made by a job, as the person: row-level security stands between it and anybody else's rows. It is complete by
construction: every table with a column that names a person is in it, those of modules to come included. Erasure waits for open
orders and money that is still owed.
"""

import io
import zipfile
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import TextClause, text

from tradepost.accounts import data_rights
from tradepost.accounts.data_rights import Export
from tradepost.accounts.types import Caller
from tradepost.accounts.verification import document_keys_of, open_document
from tradepost.analytics.noting import drop_old_events, forget_events_of
from tradepost.catalog.oversight import remove_listings_of
from tradepost.core.audit import drop_old_months, forget_words_of
from tradepost.core.clock import now
from tradepost.core.crypto import Keyring
from tradepost.core.database import SYSTEM, Actor, Transaction, metadata
from tradepost.core.errors import NotFound
from tradepost.core.jobs import enqueue
from tradepost.flows.manage_account import close_account
from tradepost.flows.sealed import SEALED
from tradepost.flows.store import Store
from tradepost.ops.service import note_run
from tradepost.orders.service import forget_buyer
from tradepost.search.log import forget_searches_of

EXPORT: Final = "data_exports.file"
MOST_ROWS: Final = 100_000
_log = structlog.get_logger("tradepost.accounts")

# Columns that say whose a row is. Who blocked somebody is not that somebody's to know.
OWNERS: Final = ("user_id", "buyer_id", "seller_id", "reporter_id", "person_id", "owner_id", "follower_id", "followed_id",
                 "rider_id", "host_id", "sender_id", "participant_id", "bidder_id")  # fmt: skip
# Tables that name a person and are no fact about them, or are theirs in another table already.
LEFT_OUT: Final = {
    "search_documents": "what search found out about listings, which are there",
    "promo_codes": "the store's",
    "commission_rules": "the store's",
    "user_roles": "in the profile",
    "totp_secrets": "whoever reads it signs in as them",
    "recovery_codes": "kept as fingerprints only",
    "alert_index": "their alerts say the same",
    "mails": "gone once they are sent",
}
# Rows that are a person's through another row.
THROUGH: Final = {
    "users": "t.id = :user_id",
    "user_roles": "t.user_id = :user_id",
    "cart_lines": "t.cart_id IN (SELECT id FROM carts WHERE user_id = :user_id)",
    "line_configurations": "t.order_id IN (SELECT id FROM orders WHERE buyer_id = :user_id)",
    "verification_documents": "t.verification_id IN (SELECT id FROM verifications WHERE user_id = :user_id)",
    "variants": "t.listing_id IN (SELECT id FROM listings WHERE seller_id = :user_id)",
    "prices": "t.variant_id IN (SELECT v.id FROM variants v JOIN listings l ON l.id = v.listing_id WHERE l.seller_id = :user_id)",
    "listing_images": "t.listing_id IN (SELECT id FROM listings WHERE seller_id = :user_id)",
    "ledger_entries": "t.account_id IN (SELECT id FROM ledger_accounts WHERE owner_id = :user_id)",
    "assistant_turns": "t.talk_id IN (SELECT id FROM assistant_talks WHERE user_id = :user_id)",
    "appeals": "t.decision_id IN (SELECT id FROM decisions WHERE person_id = :user_id)",
}
_PICTURES = text("""
    SELECT f.id, f.storage_key, f.media_type FROM files f
    WHERE f.id IN (SELECT avatar_file_id FROM users WHERE id = :user_id)
       OR f.id IN (SELECT i.file_id FROM listing_images i JOIN listings l ON l.id = i.listing_id WHERE l.seller_id = :user_id)
""")
_DOCUMENTS = text("""
    SELECT d.storage_key, d.media_type, v.kind, d.position FROM verification_documents d
    JOIN verifications v ON v.id = d.verification_id WHERE v.user_id = :user_id
""")
_UNFINISHED = text("""
    SELECT EXISTS (SELECT FROM orders o JOIN order_states s ON (s.process, s.code) = (o.process, o.state)
                   WHERE NOT s.is_final AND (o.buyer_id = :user_id OR :user_id = ANY (o.seller_ids)))
        OR EXISTS (SELECT FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id
                   WHERE a.owner_id = :user_id GROUP BY a.id HAVING sum(e.amount_minor) <> 0)
""")
_README = """Everything that {store} knows about you, as of {moment}.

data/      one file for each kind of thing, as JSON: a list of rows with the names of their columns
pictures/  the pictures you uploaded
documents/ what you sent to show who you are

Passwords, tokens and the like are not in it: only their fingerprints are kept, and nobody can read those.
What you wrote encrypted (telephone, addresses) is readable here. Keep this file to yourself.
"""


class ExportArgs(msgspec.Struct, frozen=True):
    """Which copy a job is to make."""

    export_id: UUID


def sections() -> dict[str, TextClause]:
    """Return for every table of which a person may have rows the statement that reads them as JSON."""
    found = {}
    for table in metadata.sorted_tables:
        own = [c.name for c in table.columns if c.name in OWNERS]
        test = THROUGH.get(table.name) or " OR ".join(f"t.{name} = :user_id" for name in own)
        if test and (table.name in THROUGH or table.name not in LEFT_OUT):
            hidden = ", ".join(f"'{c.name}'" for c in table.columns if _is_secret(table.name, c))
            left_out = f" - ARRAY[{hidden}]" if hidden else ""
            found[table.name] = text(f"SELECT to_jsonb(t){left_out} FROM {table.name} t WHERE {test} LIMIT {MOST_ROWS}")
    return found


def _is_secret(table: str, column: Any) -> bool:
    """Whether a column is a fingerprint or a key, which nobody gets, rather than something the person wrote."""
    name = column.name
    is_bytes = type(column.type).__name__ in {"LargeBinary", "BYTEA"}
    return (table, name) not in SEALED and (is_bytes or name in {"password_hash", "storage_key"})


async def ask_for_export(store: Store, caller: Caller) -> UUID:
    """Have a copy of everything about the caller made; return its id. Raises `ExportUnderWay`, `NotByToken`."""
    async with store.db.transaction(actor=caller.actor) as tx:
        export_id = await data_rights.ask_for_export(tx, caller)
        await enqueue(tx, "accounts.make_export", ExportArgs(export_id))
    return export_id


async def own_exports(store: Store, caller: Caller) -> list[Export]:
    """Return the caller's copies, the latest first."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await data_rights.own_exports(tx, caller)


async def fetch_export(store: Store, caller: Caller, export_id: UUID) -> bytes:
    """Return a copy that is ready. Raises `NoSuchExport`, `NotByToken`."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        key = await data_rights.access_export(tx, caller, export_id)
    return store.keys.unseal(await store.files.get(key), EXPORT)


async def make_export(store: Store, export_id: UUID) -> None:
    """Make a copy of everything about whoever asked, part by part. Idempotent: begun anew after a crash."""
    statements = sections()
    async with store.db.transaction(actor=SYSTEM) as tx:
        user_id = await data_rights.start_export(tx, export_id, len(statements) + 2)
    if user_id is None:
        return
    file, me = io.BytesIO(), Actor("person", user_id)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        said = _README.format(store=store.settings.store.name, moment=now().isoformat(timespec="minutes"))
        archive.writestr("README.txt", said)
        for done, (name, statement) in enumerate(statements.items(), 1):
            async with store.db.transaction(actor=me, read_only=True) as tx:
                rows = await tx.values(statement, user_id=user_id)
            opened = [opened_row(store.keys, name, row) for row in rows]
            archive.writestr(f"data/{name}.json", msgspec.json.format(msgspec.json.encode(opened), indent=1))
            await _note(store, export_id, done)
        await _add_files(store, archive, me, user_id)
        await _note(store, export_id, len(statements) + 2)
    key = f"private/exports/{export_id}"
    await store.files.put(key, store.keys.seal(file.getvalue(), EXPORT), "application/octet-stream")
    async with store.db.transaction(actor=SYSTEM) as tx:
        days = store.installation.privacy.export_days
        await data_rights.finish_export(tx, export_id, key, len(file.getvalue()), days)


async def _note(store: Store, export_id: UUID, done: int) -> None:
    async with store.db.transaction(actor=SYSTEM) as tx:
        await data_rights.note_progress(tx, export_id, done)


def opened_row(keys: Keyring, table: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with what is encrypted in it in the clear, under the column's name without `_enc`."""
    found = {}
    for name, value in row.items():
        purpose = SEALED.get((table, name))
        if purpose is None:
            found[name] = value
        elif value is not None:
            found[name.removesuffix("_enc")] = keys.decrypt(bytes.fromhex(value.removeprefix("\\x")), purpose)
    return found


async def _add_files(store: Store, archive: zipfile.ZipFile, me: Actor, user_id: UUID) -> None:
    """Put the person's pictures and documents into the zip; a file that is gone is left out."""
    async with store.db.transaction(actor=me, read_only=True) as tx:
        pictures = await tx.all(_PICTURES, user_id=user_id)
        documents = await tx.all(_DOCUMENTS, user_id=user_id)
    for row in pictures:
        await _add_file(
            store, archive, row["storage_key"], f"pictures/{row['id']}.{_ending(row['media_type'])}", sealed=False
        )
    for row in documents:
        name = f"documents/{row['kind']}-{row['position'] + 1}.{_ending(row['media_type'])}"
        await _add_file(store, archive, row["storage_key"], name, sealed=True)


def _ending(media_type: str) -> str:
    return media_type.partition("/")[2]


async def _add_file(store: Store, archive: zipfile.ZipFile, key: str, name: str, *, sealed: bool) -> None:
    try:
        data = await store.files.get(key)
    except NotFound:
        return
    archive.writestr(name, open_document(store.keys, data) if sealed else data, zipfile.ZIP_STORED)


async def ask_for_erasure(store: Store, caller: Caller, password: str) -> int:
    """Close the caller's account now and erase it after some days; return how many. Opening it again calls that off.

    Raises `FieldErrors`, `LastAdministrator`, `TooOften`, `NotByToken`.
    """
    days = store.installation.privacy.erase_after_days
    await close_account(store, caller, password)
    async with store.db.transaction(actor=caller.actor) as tx:
        await data_rights.ask_for_erasure(tx, caller, now() + timedelta(days=days))
    return days


async def erase_due(store: Store) -> int:
    """Erase everybody whose time has come and who has nothing open; return how many."""
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        due = await data_rights.due_erasures(tx)
    return sum([await erase_person(store, user_id) for user_id in due])


async def erase_person(store: Store, user_id: UUID) -> bool:
    """Erase one person whose time has come; return whether that was done: open orders and owed money come first."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        if not await data_rights.lock_for_erasure(tx, user_id) or await tx.value(_UNFINISHED, user_id=user_id):
            return False
        files = [*await document_keys_of(tx, user_id), *await data_rights.export_keys_of(tx, user_id)]
        await forget_buyer(tx, user_id)
        await remove_listings_of(tx, user_id)
        await forget_searches_of(tx, user_id)
        await forget_events_of(tx, user_id)
        await data_rights.empty_person(tx, user_id)
        await forget_words_of(tx, user_id)
    await _delete(store, files)
    _log.info("person.erased", store=store.code, user_id=str(user_id))
    return True


async def _delete(store: Store, keys: Iterable[str]) -> None:
    for key in keys:
        await store.files.delete(key)


async def keep_no_longer(store: Store) -> None:
    """Let go what is kept for a time only: copies that were fetched or not, old months of the audit log and of visitors' events."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        keys = await data_rights.expire_exports(tx)
        gone = {
            "audit_log": await drop_old_months(tx, store.installation.privacy.audit_months),
            "analytics_events": await drop_old_events(tx, store.installation.analytics.keep_months),
        }
        for table, dropped in gone.items():
            if dropped:
                await note_run(tx, "retention", table, detail=f"{dropped} months let go.", found=dropped)
    await _delete(store, keys)


async def unfinished_business(tx: Transaction, user_id: UUID) -> bool:
    """Whether a person has orders or money that are not settled."""
    return bool(await tx.value(_UNFINISHED, user_id=user_id))

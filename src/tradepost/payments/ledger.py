"""The books: double entry, append-only, one balanced journal for each money fact.

Debits are positive, credits negative. What a seller may be paid is the credit balance of account `seller`; what waits for
receipt is that of `held`. Promises that the same fact (kind and reference) is booked once, however often it is told, and, by a
deferred constraint, that an unbalanced journal cannot be committed.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal
from uuid import UUID
from weakref import WeakKeyDictionary

import msgspec
from sqlalchemy import text

from tradepost.core.database import Database, Transaction, on_violation
from tradepost.core.errors import Conflict
from tradepost.core.ids import uuid7

AccountKind = Literal[
    "clearing", "buyer", "deposit", "seller", "held", "fee", "tax", "shipping", "points", "promotion", "payout", "loss"
]
_Key = tuple[str, UUID | None, str, str]


class BooksUnbalanced(Conflict):
    """A journal did not add up to nothing, so it was not booked."""


on_violation("ck_ledger_entries_balanced", BooksUnbalanced)


class Entry(msgspec.Struct, frozen=True):
    """So much on an account: positive debits it, negative credits it."""

    account: AccountKind
    amount_minor: int
    owner_id: UUID | None = None
    name: str = ""


_POST = text("""
    INSERT INTO ledger_journals (id, kind, reference, order_id) VALUES (:id, :kind, :reference, :order_id)
    ON CONFLICT (kind, reference) DO NOTHING RETURNING id
""")
_POST_ENTRIES = text("""
    INSERT INTO ledger_entries (journal_id, line_no, account_id, amount_minor)
    SELECT journal.id, e.line_no, e.account_id, e.amount_minor
    FROM changed_ledger_journals AS journal, unnest(CAST(:accounts AS uuid[]), CAST(:amounts AS bigint[])) WITH ORDINALITY AS e(account_id, amount_minor, line_no)
""")
_OPEN = text("""
    INSERT INTO ledger_accounts (kind, owner_id, name, currency)
    SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:owners AS uuid[]), CAST(:names AS text[]), CAST(:currencies AS text[]))
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (kind, owner_id, name, currency) DO NOTHING
""")
_FIND = text("""
    SELECT w.n, a.id FROM unnest(CAST(:kinds AS text[]), CAST(:owners AS uuid[]), CAST(:names AS text[]), CAST(:currencies AS text[]))
        WITH ORDINALITY AS w(kind, owner_id, name, currency, n)
    JOIN ledger_accounts a ON a.kind = w.kind AND a.owner_id IS NOT DISTINCT FROM w.owner_id AND a.name = w.name
        AND a.currency = w.currency
""")
_known: WeakKeyDictionary[Database, dict[_Key, UUID]] = WeakKeyDictionary()


async def post(
    tx: Transaction, kind: str, reference: str, order_id: UUID | None, currency: str, entries: Iterable[Entry]
) -> None:
    """Book a journal, entries on one account added up; nothing where this fact was booked before.

    Raises `BooksUnbalanced` at the commit.
    """
    sums: dict[_Key, int] = {}
    for entry in entries:
        key = (entry.account, entry.owner_id, entry.name, currency)
        sums[key] = sums.get(key, 0) + entry.amount_minor
    sums = {key: amount for key, amount in sums.items() if amount}
    if not sums:
        return
    accounts = await _accounts(tx, list(sums))
    await tx.later(
        _POST, _POST_ENTRIES, id=uuid7(), kind=kind, reference=reference, order_id=order_id,
        accounts=[accounts[key] for key in sums], amounts=list(sums.values()),
    )  # fmt: skip


async def _accounts(tx: Transaction, keys: Sequence[_Key]) -> dict[_Key, UUID]:
    """Return the accounts' ids, opening those that do not exist; ids are remembered once they are committed."""
    known = _known.setdefault(tx.database, {})
    missing = [key for key in keys if key not in known]
    if not missing:
        return known
    columns: dict[str, Any] = {
        "kinds": [k[0] for k in missing],
        "owners": [k[1] for k in missing],
        "names": [k[2] for k in missing],
        "currencies": [k[3] for k in missing],
    }
    await tx.run(_OPEN, **columns)
    found = {missing[n - 1]: account_id for n, account_id in await tx.all(_FIND, **columns)}

    async def remember() -> None:
        known.update(found)

    tx.after_commit(remember)
    return known | found


_HELD = text("""
    SELECT a.owner_id AS seller_id, CAST(-sum(e.amount_minor) AS bigint) AS amount_minor
    FROM ledger_journals j JOIN ledger_entries e ON e.journal_id = j.id JOIN ledger_accounts a ON a.id = e.account_id
    WHERE j.order_id = :order_id AND a.kind = 'held' GROUP BY a.owner_id
""")


async def held_for(tx: Transaction, order_id: UUID) -> dict[UUID, int]:
    """Return what is held of an order for each of its sellers."""
    return {row["seller_id"]: row["amount_minor"] for row in await tx.all(_HELD, order_id=order_id)}


_DEPOSIT = text("""
    SELECT CAST(-coalesce(sum(e.amount_minor), 0) AS bigint)
    FROM ledger_journals j JOIN ledger_entries e ON e.journal_id = j.id JOIN ledger_accounts a ON a.id = e.account_id
    WHERE j.order_id = :order_id AND a.kind = 'deposit'
""")


async def deposit_for(tx: Transaction, order_id: UUID) -> int:
    """Return what was paid as a deposit on an order and is neither the sellers' nor given back yet."""
    return int(await tx.value(_DEPOSIT, order_id=order_id))


async def release_held(tx: Transaction, order_id: UUID, currency: str, seller_ids: Iterable[UUID]) -> None:
    """Turn what is held of an order for these sellers into money they may be paid. Idempotent."""
    held = await held_for(tx, order_id)
    for seller_id in sorted(seller_ids):
        amount = held.get(seller_id, 0)
        if amount > 0:
            entries = [Entry("held", amount, seller_id), Entry("seller", -amount, seller_id)]
            await post(tx, "release", f"{order_id}:{seller_id}", order_id, currency, entries)

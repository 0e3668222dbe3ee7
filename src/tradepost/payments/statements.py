"""What a store owes a seller, and how it came to be: the seller's side of the books."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.database import Transaction
from tradepost.core.pages import Page, from_cursor, to_cursor


class Balance(msgspec.Struct, frozen=True):
    """Money of a seller in one currency, in minor units. Below zero, the seller owes the store, until sales make up for it."""

    currency: str
    available_minor: int
    held_minor: int


class StatementLine(msgspec.Struct, frozen=True):
    """One change of a seller's money. `kind` is the journal's: capture, release, refund and so on; `is_held`: of the held part."""

    journal_id: UUID
    at: datetime
    kind: str
    is_held: bool
    order_number: str | None
    amount_minor: int
    currency: str


_BALANCES = text("""
    SELECT a.currency, CAST(-coalesce(sum(e.amount_minor) FILTER (WHERE a.kind = 'seller'), 0) AS bigint) AS available_minor,
           CAST(-coalesce(sum(e.amount_minor) FILTER (WHERE a.kind = 'held'), 0) AS bigint) AS held_minor
    FROM ledger_accounts a JOIN ledger_entries e ON e.account_id = a.id
    WHERE a.owner_id = :seller_id AND a.kind IN ('seller', 'held') GROUP BY a.currency ORDER BY a.currency
""")
_LINES = text("""
    SELECT j.id AS journal_id, j.at, j.kind, a.kind = 'held' AS is_held, o.number AS order_number,
           CAST(-sum(e.amount_minor) AS bigint) AS amount_minor, a.currency
    FROM ledger_accounts a JOIN ledger_entries e ON e.account_id = a.id JOIN ledger_journals j ON j.id = e.journal_id
    LEFT JOIN orders o ON o.id = j.order_id
    WHERE a.owner_id = :seller_id AND a.kind IN ('seller', 'held') AND j.id < :before
    GROUP BY j.id, j.at, j.kind, a.kind, o.number, a.currency ORDER BY j.id DESC, a.kind DESC LIMIT :limit
""")
_NEWEST = UUID(int=2**128 - 1)


async def balances_of(tx: Transaction, seller_id: UUID) -> list[Balance]:
    """Return a seller's money, a row for each currency there ever was any of."""
    return await tx.all(_BALANCES, into=Balance, seller_id=seller_id)


async def statement_of(tx: Transaction, seller_id: UUID, after: str | None, size: int) -> Page[StatementLine]:
    """Return the changes of a seller's money, the newest first; the lines of one journal stay together. Raises `NoSuchPage`."""
    before = from_cursor(after, UUID)[0] if after else _NEWEST
    # A journal has two lines of a seller at most: held, and not held.
    lines = await tx.all(_LINES, into=StatementLine, seller_id=seller_id, before=before, limit=size + 2)
    if len(lines) <= size:
        return Page(tuple(lines))
    shown = lines[:size]
    if shown[-1].journal_id == lines[size].journal_id:
        shown = lines[: size + 1]
    more = len(lines) > len(shown)
    return Page(tuple(shown), to_cursor(shown[-1].journal_id) if more else None)

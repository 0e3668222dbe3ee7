"""The whole of the books as those who run a store read them: accounts with balances, journals with their cause."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.database import Transaction
from tradepost.core.pages import Page, from_cursor, page_of, page_size, to_cursor

_LAST = UUID(int=2**128 - 1)


class AccountSum(msgspec.Struct, frozen=True):
    """All accounts of a kind (and name) in a currency together. Debits are positive: money the store has; credits what it owes."""

    kind: str
    name: str
    currency: str
    accounts: int
    balance_minor: int


class Account(msgspec.Struct, frozen=True):
    """One account and its balance."""

    id: UUID
    kind: str
    name: str
    owner_id: UUID | None
    owner_name: str | None
    currency: str
    balance_minor: int


class JournalEntry(msgspec.Struct, frozen=True):
    """One line of a journal."""

    line_no: int
    account_id: UUID
    kind: str
    name: str
    owner_name: str | None
    amount_minor: int
    currency: str


class Journal(msgspec.Struct, frozen=True):
    """One money fact: what it was (`kind`), of what (`reference`, the order), and its lines, which add up to nothing."""

    id: UUID
    at: datetime
    kind: str
    reference: str
    order_number: str | None
    entries: tuple[JournalEntry, ...]


class JournalFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which journals to show: every field that is set must fit."""

    kind: str | None = None
    account_kind: str | None = None
    account_id: UUID | None = None
    order_number: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_SUMS = text("""
    SELECT a.kind, a.name, a.currency, count(DISTINCT a.id) AS accounts, CAST(coalesce(sum(e.amount_minor), 0) AS bigint) AS balance_minor
    FROM ledger_accounts a LEFT JOIN ledger_entries e ON e.account_id = a.id
    GROUP BY a.kind, a.name, a.currency ORDER BY a.currency, a.kind, a.name
""")
_ACCOUNTS = text("""
    SELECT a.id, a.kind, a.name, a.owner_id, coalesce(u.business_name, u.display_name) AS owner_name, a.currency,
           CAST(coalesce((SELECT sum(e.amount_minor) FROM ledger_entries e WHERE e.account_id = a.id), 0) AS bigint) AS balance_minor
    FROM ledger_accounts a LEFT JOIN users u ON u.id = a.owner_id
    WHERE a.kind = :kind AND a.id > :after ORDER BY a.id LIMIT :limit
""")
_JOURNALS = text("""
    SELECT j.id, j.at, j.kind, j.reference, o.number AS order_number,
           (SELECT jsonb_agg(jsonb_build_object('line_no', e.line_no, 'account_id', a.id, 'kind', a.kind, 'name', a.name,
                'owner_name', coalesce(u.business_name, u.display_name), 'amount_minor', e.amount_minor, 'currency', a.currency)
                ORDER BY e.line_no)
            FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id LEFT JOIN users u ON u.id = a.owner_id
            WHERE e.journal_id = j.id) AS entries
    FROM ledger_journals j LEFT JOIN orders o ON o.id = j.order_id
    WHERE j.id < :before AND (CAST(:kind AS text) IS NULL OR j.kind = :kind)
      AND (CAST(:order_number AS text) IS NULL OR o.number = :order_number)
      AND (CAST(:since AS timestamptz) IS NULL OR j.at >= :since) AND (CAST(:until AS timestamptz) IS NULL OR j.at < :until)
      AND (CAST(:account_id AS uuid) IS NULL
           OR EXISTS (SELECT FROM ledger_entries e WHERE e.journal_id = j.id AND e.account_id = :account_id))
      AND (CAST(:account_kind AS text) IS NULL OR EXISTS (
            SELECT FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id WHERE e.journal_id = j.id AND a.kind = :account_kind))
    ORDER BY j.id DESC LIMIT :limit
""")
_KINDS = text("SELECT DISTINCT kind FROM ledger_journals ORDER BY kind")


async def account_sums(tx: Transaction) -> list[AccountSum]:
    """Return the balances of the books by kind of account; over all of them each currency adds up to nothing."""
    return await tx.all(_SUMS, into=AccountSum)


async def accounts_of_kind(tx: Transaction, kind: str, *, after: str | None = None, limit: int = 100) -> Page[Account]:
    """Return the single accounts of a kind. Raises `NoSuchPage`."""
    start = from_cursor(after, UUID)[0] if after else UUID(int=0)
    rows = await tx.all(_ACCOUNTS, into=Account, kind=kind, after=start, limit=page_size(limit) + 1)
    return page_of(rows, page_size(limit), lambda row: to_cursor(row.id))


async def journal_kinds(tx: Transaction) -> list[str]:
    """Return what kinds of facts were booked so far."""
    return await tx.values(_KINDS)


async def list_journals(
    tx: Transaction, wanted: JournalFilter, *, after: str | None = None, limit: int = 50
) -> Page[Journal]:  # fmt: skip
    """Return journals, the newest first. Raises `NoSuchPage`."""
    before = from_cursor(after, UUID)[0] if after else _LAST
    rows = await tx.all(_JOURNALS, before=before, limit=page_size(limit) + 1, **msgspec.structs.asdict(wanted))
    return page_of([_journal(row) for row in rows], page_size(limit), lambda row: to_cursor(row.id))


def _journal(row: Any) -> Journal:
    return Journal(**{**row, "entries": tuple(msgspec.convert(e, JournalEntry) for e in row["entries"] or ())})


async def every_journal(tx: Transaction, wanted: JournalFilter) -> AsyncIterator[Journal]:
    """Yield all journals that fit, the newest first, a hundred at a time."""
    after: str | None = None
    while True:
        found = await list_journals(tx, wanted, after=after, limit=100)
        for journal in found.items:
            yield journal
        if found.after is None:
            return
        after = found.after

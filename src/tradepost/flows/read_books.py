"""The books for those who run a store: balances, journals, the same as CSV. Needs the permission see_reports."""

import csv
import io
from collections.abc import AsyncIterator
from uuid import UUID

import msgspec

from tradepost.accounts.types import Caller
from tradepost.core.database import Actor
from tradepost.core.money import to_major
from tradepost.core.pages import Page
from tradepost.flows.store import Store
from tradepost.payments import books
from tradepost.payments.books import Account, AccountSum, Journal, JournalFilter

COLUMNS = (
    "journal",
    "at",
    "kind",
    "reference",
    "order",
    "line",
    "account",
    "name",
    "owner",
    "debit",
    "credit",
    "currency",
)


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """Balances by kind of account, one page of journals, and the kinds of journals there are."""

    sums: tuple[AccountSum, ...]
    journals: Page[Journal]
    kinds: tuple[str, ...]


def _reader(caller: Caller) -> Actor:
    caller.check_can("see_reports")
    return Actor("staff", caller.user_id)


async def get_books(
    store: Store, caller: Caller, wanted: JournalFilter, *, after: str | None = None, limit: int = 50
) -> Books:  # fmt: skip
    """Return the balances and one page of journals. Raises `NotAllowed`, `NoSuchPage`."""
    async with store.db.transaction(actor=_reader(caller), read_only=True) as tx:
        return Books(
            sums=tuple(await books.account_sums(tx)),
            journals=await books.list_journals(tx, wanted, after=after, limit=limit),
            kinds=tuple(await books.journal_kinds(tx)),
        )


async def get_accounts(
    store: Store, caller: Caller, kind: str, *, after: str | None = None, limit: int = 100
) -> Page[Account]:  # fmt: skip
    """Return the single accounts of a kind, with their balances. Raises `NotAllowed`, `NoSuchPage`."""
    async with store.db.transaction(actor=_reader(caller), read_only=True) as tx:
        return await books.accounts_of_kind(tx, kind, after=after, limit=limit)


async def write_journals(store: Store, caller: Caller, wanted: JournalFilter) -> AsyncIterator[str]:
    """Yield the journals that fit as CSV, a line for each entry, the newest journal first. Raises `NotAllowed`."""
    yield _line(COLUMNS)
    async with store.db.transaction(actor=_reader(caller), read_only=True) as tx:
        async for journal in books.every_journal(tx, wanted):
            yield "".join(_line(cells) for cells in _cells(journal))


def _cells(journal: Journal) -> list[tuple[object, ...]]:
    shared = (journal.id, journal.at.isoformat(), journal.kind, journal.reference, journal.order_number or "")
    return [
        (*shared, e.line_no, e.kind, e.name, _plain(e.owner_name or ""),
         to_major(e.amount_minor, e.currency) if e.amount_minor > 0 else "",
         to_major(-e.amount_minor, e.currency) if e.amount_minor < 0 else "", e.currency)
        for e in journal.entries
    ]  # fmt: skip


def _plain(name: str) -> str:
    """Return a person's own words so that no spreadsheet takes them for a formula."""
    return f"'{name}" if name[:1] in {"=", "+", "-", "@", "\t", "\r"} else name


def _line(cells: tuple[object, ...]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue()


def owned_account(account: str | None) -> UUID | None:
    """Return an account's id as it came in an address; anything else names none."""
    try:
        return UUID(account) if account else None
    except ValueError:
        return None

"""Money paid out to sellers: what is due, each payout's states, money fetched back; a journal for each of these facts.

Promises that a seller has one open payout for each currency, that a payout takes its amount off the seller's balance when it is
written down and gives it back if it fails, and that nothing is booked twice. Which gateway sends it is the flow's to choose;
`manual` ones are sent by people.
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.clock import now
from tradepost.core.database import Transaction, on_violation
from tradepost.core.ids import uuid7
from tradepost.core.pages import Page, newest_first, page_of, page_size, to_cursor
from tradepost.payments import ledger
from tradepost.payments.ledger import Entry
from tradepost.payments.types import NoSuchPayout, Payout, PayoutUnderWay

on_violation("uq_payouts_open", PayoutUnderWay)
MANUAL = "manual"
PayoutState = Literal["requested", "sent", "paid", "failed"]


class Payable(msgspec.Struct, frozen=True):
    """What a seller has and could be paid. Below zero the seller owes it, and the next sales make up for it."""

    seller_id: UUID
    seller_name: str
    currency: str
    available_minor: int
    held_minor: int
    is_open: bool


class PayoutAccountRow(msgspec.Struct, frozen=True):
    """A seller's account at a gateway, as it was when it was last asked about."""

    gateway: str
    account: str
    can_be_paid: bool
    missing: list[str]


class LockedPayout(msgspec.Struct, frozen=True):
    """A payout that nobody else can settle until the commit."""

    id: UUID
    seller_id: UUID
    amount_minor: int
    reversed_minor: int
    currency: str
    state: PayoutState
    gateway: str
    gateway_ref: str | None


class LockedReversal(msgspec.Struct, frozen=True):
    """Money to be fetched back, kept from others until the commit."""

    id: UUID
    payout_id: UUID
    seller_id: UUID
    amount_minor: int
    currency: str
    state: Literal["requested", "success", "failed"]
    gateway: str
    payout_ref: str | None


_ONE_AT_A_TIME = text(
    "SELECT pg_advisory_xact_lock(hashtextextended(CAST(CAST(:seller_id AS uuid) AS text), 1886415220))"
)
_PAYABLE = text("""
    SELECT u.id AS seller_id, coalesce(u.business_name, u.display_name) AS seller_name, b.currency, b.available_minor, b.held_minor,
           EXISTS (SELECT FROM payouts p WHERE p.seller_id = u.id AND p.currency = b.currency AND p.state IN ('requested', 'sent'))
           AS is_open
    FROM (
        SELECT a.owner_id, a.currency,
               CAST(-coalesce(sum(e.amount_minor) FILTER (WHERE a.kind = 'seller'), 0) AS bigint) AS available_minor,
               CAST(-coalesce(sum(e.amount_minor) FILTER (WHERE a.kind = 'held'), 0) AS bigint) AS held_minor
        FROM ledger_accounts a JOIN ledger_entries e ON e.account_id = a.id
        WHERE a.kind IN ('seller', 'held') AND (CAST(:seller_id AS uuid) IS NULL OR a.owner_id = :seller_id)
        GROUP BY a.owner_id, a.currency
    ) b JOIN users u ON u.id = b.owner_id WHERE b.available_minor <> 0 OR b.held_minor <> 0
    ORDER BY b.available_minor DESC, u.id
""")
_COLUMNS = "id, seller_id, amount_minor, reversed_minor, currency, state, gateway, gateway_ref"
_START = text("""
    INSERT INTO payouts (id, seller_id, amount_minor, currency, gateway, run_id)
    VALUES (:id, :seller_id, :amount_minor, :currency, :gateway, :run_id)
""")
_LOCK = text(f"SELECT {_COLUMNS} FROM payouts WHERE id = :payout_id FOR NO KEY UPDATE")
_SETTLE = text("""
    UPDATE payouts SET state = :state, gateway_ref = coalesce(:ref, gateway_ref), error = :error,
        settled_at = CASE WHEN :state = 'sent' THEN settled_at ELSE now() END, decided_by = coalesce(:decided_by, decided_by)
    WHERE id = :payout_id
""")
_OPEN = text("""
    SELECT id FROM payouts WHERE state IN ('requested', 'sent') AND gateway <> 'manual' AND updated_at < :before
    ORDER BY created_at LIMIT :limit
""")
_OPEN_REVERSALS = text("""
    SELECT id FROM payout_reversals WHERE state = 'requested' AND updated_at < :before ORDER BY created_at LIMIT :limit
""")
_LIST = text("""
    SELECT p.id, p.seller_id, coalesce(u.business_name, u.display_name) AS seller_name, p.amount_minor, p.reversed_minor, p.currency,
           p.state, p.gateway, p.gateway_ref, p.error, p.created_at, p.settled_at
    FROM payouts p JOIN users u ON u.id = p.seller_id
    WHERE (CAST(:seller_id AS uuid) IS NULL OR p.seller_id = :seller_id) AND (CAST(:state AS text) IS NULL OR p.state = :state)
      AND (p.created_at, p.id) < (:after_at, :after_id)
    ORDER BY p.created_at DESC, p.id DESC LIMIT :limit
""")  # no values in it
_PAID = text(f"""
    SELECT {_COLUMNS} FROM payouts
    WHERE seller_id = :seller_id AND currency = :currency AND state = 'paid' AND gateway <> 'manual' AND reversed_minor < amount_minor
    ORDER BY created_at DESC, id DESC FOR NO KEY UPDATE
""")
_REVERSE = text("UPDATE payouts SET reversed_minor = reversed_minor + :amount_minor WHERE id = :payout_id")
_START_REVERSAL = text("""
    INSERT INTO payout_reversals (id, payout_id, seller_id, amount_minor, currency, requested_by)
    VALUES (:id, :payout_id, :seller_id, :amount_minor, :currency, :requested_by)
""")
_BEING_FETCHED = text("""
    SELECT CAST(coalesce(sum(amount_minor), 0) AS bigint) FROM payout_reversals
    WHERE seller_id = :seller_id AND currency = :currency AND state = 'requested'
""")
_LOCK_REVERSAL = text("""
    SELECT r.id, r.payout_id, r.seller_id, r.amount_minor, r.currency, r.state, p.gateway, p.gateway_ref AS payout_ref
    FROM payout_reversals r JOIN payouts p ON p.id = r.payout_id WHERE r.id = :reversal_id FOR NO KEY UPDATE OF r, p
""")
_SETTLE_REVERSAL = text("""
    UPDATE payout_reversals SET state = :state, gateway_ref = coalesce(:ref, gateway_ref), error = :error WHERE id = :reversal_id
""")
_ACCOUNTS = text(
    "SELECT gateway, account, can_be_paid, missing FROM payout_accounts WHERE seller_id = :seller_id ORDER BY gateway"
)
_KEEP_ACCOUNT = text("""
    INSERT INTO payout_accounts (seller_id, gateway, account, can_be_paid, missing)
    VALUES (:seller_id, :gateway, :account, :can_be_paid, :missing)
    ON CONFLICT (seller_id, gateway) DO UPDATE SET account = excluded.account, can_be_paid = excluded.can_be_paid,
        missing = excluded.missing
""")
_START_RUN = text("INSERT INTO payout_runs (id, started_by, started_at) VALUES (:id, :started_by, :started_at)")
_LAST_RUN = text("SELECT max(started_at) FROM payout_runs WHERE started_by IS NULL")


async def payable(tx: Transaction, seller_id: UUID | None = None) -> list[Payable]:
    """Return what sellers have, the most first: all of them, or one."""
    return await tx.all(_PAYABLE, into=Payable, seller_id=seller_id)


async def hold_seller(tx: Transaction, seller_id: UUID) -> None:
    """Let nobody else pay this seller out until the commit."""
    await tx.run(_ONE_AT_A_TIME, seller_id=seller_id)


async def start(
    tx: Transaction, seller_id: UUID, amount_minor: int, currency: str, gateway: str, run_id: UUID | None
) -> UUID:  # fmt: skip
    """Write a payout down and take it off the seller's balance. Raises `PayoutUnderWay`."""
    payout_id = uuid7()
    await tx.run(
        _START,
        id=payout_id,
        seller_id=seller_id,
        amount_minor=amount_minor,
        currency=currency,
        gateway=gateway,
        run_id=run_id,
    )
    await _post(
        tx, "payout", payout_id, currency, Entry("seller", amount_minor, seller_id), Entry("payout", -amount_minor)
    )
    return payout_id


async def _post(tx: Transaction, kind: str, reference: UUID, currency: str, *entries: Entry) -> None:
    await ledger.post(tx, kind, str(reference), None, currency, entries)


async def lock_payout(tx: Transaction, payout_id: UUID) -> LockedPayout:
    """Return a payout, kept from others until the commit. Raises `NoSuchPayout`."""
    found = await tx.maybe(_LOCK, into=LockedPayout, payout_id=payout_id)
    if found is None:
        raise NoSuchPayout
    return found


async def settle(
    tx: Transaction, payout: LockedPayout, state: PayoutState, *, ref: str | None = None, error: str | None = None,
    decided_by: UUID | None = None,
) -> None:  # fmt: skip
    """Write down how a payout stands, and book it: paid money has left, failed money is the seller's again."""
    await tx.run(_SETTLE, payout_id=payout.id, state=state, ref=ref, error=error and error[:500], decided_by=decided_by)
    amount, seller = payout.amount_minor, payout.seller_id
    if state == "paid":
        await _post(tx, "payout_paid", payout.id, payout.currency,
                    Entry("payout", amount), Entry("clearing", -amount, name=payout.gateway))  # fmt: skip
    elif state == "failed" and payout.state == "paid":
        await _post(tx, "payout_returned", payout.id, payout.currency,
                    Entry("clearing", amount, name=payout.gateway), Entry("seller", -amount, seller))  # fmt: skip
    elif state == "failed":
        await _post(tx, "payout_failed", payout.id, payout.currency,
                    Entry("payout", amount), Entry("seller", -amount, seller))  # fmt: skip


async def list_open(tx: Transaction, before: datetime, limit: int = 200) -> list[UUID]:
    """Return payouts of gateways that have not ended, and were not looked at since then."""
    return await tx.values(_OPEN, before=before, limit=limit)


async def list_payouts(
    tx: Transaction, *, seller_id: UUID | None = None, state: str | None = None, after: str | None = None, limit: int = 50
) -> Page[Payout]:  # fmt: skip
    """Return payouts, the newest first. Raises `NoSuchPage`."""
    at, key = newest_first(after)
    size = page_size(limit)
    rows = await tx.all(_LIST, into=Payout, seller_id=seller_id, state=state, after_at=at, after_id=key, limit=size + 1)
    return page_of(rows, size, lambda row: to_cursor(row.created_at, row.id))


async def paid_to(tx: Transaction, seller_id: UUID, currency: str) -> list[LockedPayout]:
    """Return the payouts of which a gateway may fetch something back, the latest first, kept from others."""
    return await tx.all(_PAID, into=LockedPayout, seller_id=seller_id, currency=currency)


async def start_reversal(tx: Transaction, payout: LockedPayout, amount_minor: int, requested_by: UUID | None) -> UUID:
    """Write down that some of a payout is to be fetched back; the database refuses more than there was."""
    reversal_id = uuid7()
    await tx.run(_REVERSE, payout_id=payout.id, amount_minor=amount_minor)
    await tx.run(
        _START_REVERSAL, id=reversal_id, payout_id=payout.id, seller_id=payout.seller_id, amount_minor=amount_minor,
        currency=payout.currency, requested_by=requested_by,
    )  # fmt: skip
    return reversal_id


async def being_fetched(tx: Transaction, seller_id: UUID, currency: str) -> int:
    """Return what is being fetched back from a seller already."""
    return int(await tx.value(_BEING_FETCHED, seller_id=seller_id, currency=currency))


async def lock_reversal(tx: Transaction, reversal_id: UUID) -> LockedReversal:
    """Return a reversal, kept from others until the commit. Raises `NoSuchPayout`."""
    found = await tx.maybe(_LOCK_REVERSAL, into=LockedReversal, reversal_id=reversal_id)
    if found is None:
        raise NoSuchPayout
    return found


async def settle_reversal(
    tx: Transaction, reversal: LockedReversal, *, done: bool, ref: str | None = None, error: str | None = None
) -> None:  # fmt: skip
    """Write down whether money came back, and book it on the seller's balance."""
    state = "success" if done else "failed"
    await tx.run(_SETTLE_REVERSAL, reversal_id=reversal.id, state=state, ref=ref, error=error and error[:500])
    amount = reversal.amount_minor
    if not done:
        await tx.run(_REVERSE, payout_id=reversal.payout_id, amount_minor=-amount)
        return
    await _post(tx, "payout_reversed", reversal.id, reversal.currency,
                Entry("clearing", amount, name=reversal.gateway), Entry("seller", -amount, reversal.seller_id))  # fmt: skip


async def list_open_reversals(tx: Transaction, before: datetime, limit: int = 200) -> list[UUID]:
    """Return reversals that were asked for and not answered since then."""
    return await tx.values(_OPEN_REVERSALS, before=before, limit=limit)


async def accounts_of(tx: Transaction, seller_id: UUID) -> list[PayoutAccountRow]:
    """Return a seller's accounts at gateways."""
    return await tx.all(_ACCOUNTS, into=PayoutAccountRow, seller_id=seller_id)


async def keep_account(tx: Transaction, seller_id: UUID, account: PayoutAccountRow) -> None:
    """Keep a seller's account at a gateway."""
    await tx.run(_KEEP_ACCOUNT, seller_id=seller_id, **msgspec.structs.asdict(account))


async def start_run(tx: Transaction, started_by: UUID | None) -> UUID:
    """Write down that everybody is paid out now; nobody's doing is the schedule's."""
    run_id = uuid7()
    await tx.run(_START_RUN, id=run_id, started_by=started_by, started_at=now())
    return run_id


async def last_scheduled_run(tx: Transaction) -> datetime | None:
    """Return when the schedule last paid everybody out."""
    found: Any = await tx.value(_LAST_RUN)
    return found  # type: ignore[no-any-return]  # a datetime or None

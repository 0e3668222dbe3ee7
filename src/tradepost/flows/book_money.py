"""What money facts of an order mean for the books: which account gives, which takes.

Every journal here is made of `LineShares`, which are balanced to the minor unit, so the journals are too.
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any
from uuid import UUID

from sqlalchemy import text

from tradepost.core.database import Transaction
from tradepost.core.money import split
from tradepost.orders.types import LockedOrder
from tradepost.payments import ledger
from tradepost.payments.ledger import Entry
from tradepost.payments.rules import NOTHING, LineShares, part_of, shares_of_delivery, shares_of_line
from tradepost.payments.types import LockedPayment

_LINES = text("""
    SELECT seller_id, line_no, gross_minor, discount_minor, store_discount_minor, points_minor, tax_minor, included_tax_minor,
           commission_minor, refunded_minor FROM order_lines WHERE order_id = :order_id ORDER BY line_no
""")
_DELIVERIES = text("""
    SELECT seller_id, shipping_minor, shipping_refunded_minor, rider_id FROM fulfilments WHERE order_id = :order_id ORDER BY seller_id
""")


async def shares_by_seller(tx: Transaction, order_id: UUID) -> dict[UUID, LineShares]:
    """Return who puts in and gets what of an order, for each seller: goods and delivery, less what was given back."""
    return _by_seller(await tx.all(_LINES, order_id=order_id), await tx.all(_DELIVERIES, order_id=order_id))


def capture_shares(lines: Iterable[dict[str, Any]], deliveries: Iterable[dict[str, Any]]) -> dict[UUID, LineShares]:
    """Return the same from rows that came as JSON."""
    return {UUID(str(seller_id)): shares for seller_id, shares in _by_seller(lines, deliveries).items()}


def _by_seller(lines: Iterable[Mapping[str, Any]], deliveries: Iterable[Mapping[str, Any]]) -> dict[UUID, LineShares]:
    found: dict[UUID, LineShares] = {}
    for row in lines:
        left = _left(line_shares(row), row["refunded_minor"])
        found[row["seller_id"]] = found.get(row["seller_id"], NOTHING).plus(left)
    for row in deliveries:
        left = _left(shares_of_delivery(row["shipping_minor"]), row["shipping_refunded_minor"])
        found[row["seller_id"]] = found.get(row["seller_id"], NOTHING).plus(left)
    return found


def _left(shares: LineShares, refunded_minor: int) -> LineShares:
    if not refunded_minor:
        return shares
    return shares.minus(part_of(shares, Fraction(refunded_minor, shares.paid)))


def line_shares(row: Mapping[str, int]) -> LineShares:
    """Return the shares of an order line's row."""
    return shares_of_line(
        gross=row["gross_minor"], discount=row["discount_minor"], store_discount=row["store_discount_minor"],
        points=row["points_minor"], tax=row["tax_minor"], included_tax=row["included_tax_minor"], commission=row["commission_minor"],
    )  # fmt: skip


def capture_entries(
    shares: Mapping[UUID, LineShares], *, gateway: str, hold: bool, cash_with_seller: bool = False,
    prepaid: Mapping[UUID, int] | None = None, buyer_id: UUID | None = None,
) -> list[Entry]:  # fmt: skip
    """Return the entries for money that came for an order. `hold`: sellers get theirs later.

    `cash_with_seller`: each seller took the cash at the door, and so owes the store its share. `prepaid`: so much of each part
    was paid by the buyer's deposit before.
    """
    entries: list[Entry] = []
    for seller_id, part in shares.items():
        before = (prepaid or {}).get(seller_id, 0)
        entries.append(Entry("deposit", before, buyer_id))
        if cash_with_seller:
            entries.append(Entry("seller", part.paid - before, seller_id))
        else:
            entries.append(Entry("clearing", part.paid - before, name=gateway))
        entries += [
            Entry("points", part.points),
            Entry("promotion", part.store_discount),
            Entry("held" if hold else "seller", -part.seller, seller_id),
            Entry("fee", -part.commission),
            Entry("tax", -part.tax),
        ]
    return entries


async def book_capture(
    tx: Transaction, order: LockedOrder, payment: LockedPayment, shares: Mapping[UUID, LineShares], *, hold: bool
) -> None:
    """Book the money of an order's payment. Idempotent: a payment is booked once."""
    entries = capture_entries(shares, gateway=payment.gateway, hold=hold)
    await ledger.post(tx, "capture", str(payment.id), order.id, payment.currency, entries)


async def book_cash(
    tx: Transaction, order: LockedOrder, payment: LockedPayment, carried_by_riders: Iterable[UUID]
) -> None:
    """Book cash taken at the door: by the store's riders for these sellers' parts, by the sellers themselves for the others."""
    riders = set(carried_by_riders)
    shares = await shares_by_seller(tx, order.id)
    prepaid = await _prepaid(tx, order, shares) if payment.purpose == "balance" else {}
    of_store = {s: part for s, part in shares.items() if s in riders}
    of_sellers = {s: part for s, part in shares.items() if s not in riders}
    common: dict[str, Any] = {"gateway": payment.gateway, "hold": False, "prepaid": prepaid, "buyer_id": order.buyer_id}
    entries = capture_entries(of_store, **common)
    entries += capture_entries(of_sellers, **common, cash_with_seller=True)
    await ledger.post(tx, "capture", str(payment.id), order.id, payment.currency, entries)


async def _prepaid(tx: Transaction, order: LockedOrder, shares: Mapping[UUID, LineShares]) -> dict[UUID, int]:
    """Return an order's deposit, shared out over its sellers by what each part comes to."""
    deposit = await ledger.deposit_for(tx, order.id)
    return dict(zip(shares, split(deposit, [part.paid for part in shares.values()]), strict=True))


async def book_deposit(tx: Transaction, order: LockedOrder, payment: LockedPayment) -> None:
    """Book money that was paid first: the buyer's still, until the rest is paid."""
    entries = [
        Entry("clearing", payment.amount_minor, name=payment.gateway),
        Entry("deposit", -payment.amount_minor, order.buyer_id),
    ]
    await ledger.post(tx, "deposit", str(payment.id), order.id, payment.currency, entries)


async def book_prepaid(
    tx: Transaction, order: LockedOrder, kind: str, reference: str, *, gateway: str, hold: bool, excess_minor: int = 0
) -> None:  # fmt: skip
    """Book what is left of an order, paid by its deposit and for the rest by this gateway; an excess stays the buyer's."""
    shares = await shares_by_seller(tx, order.id)
    prepaid = await _prepaid(tx, order, shares)
    entries = capture_entries(shares, gateway=gateway, hold=hold, prepaid=prepaid, buyer_id=order.buyer_id)
    entries += [Entry("clearing", excess_minor, name=gateway), Entry("buyer", -excess_minor, order.buyer_id)]
    await ledger.post(tx, kind, reference, order.id, order.currency, entries)


async def book_deposit_back(tx: Transaction, order: LockedOrder, refund_id: UUID, amount_minor: int) -> None:
    """Book that some of a deposit goes back; `book_refund_paid` books its leaving."""
    entries = [Entry("deposit", amount_minor, order.buyer_id), Entry("buyer", -amount_minor, order.buyer_id)]
    await ledger.post(tx, "refund", str(refund_id), order.id, order.currency, entries)


async def book_late_money(tx: Transaction, order: LockedOrder, payment: LockedPayment) -> None:
    """Book money that nobody wants any more: it is the buyer's."""
    entries = [
        Entry("clearing", payment.amount_minor, name=payment.gateway),
        Entry("buyer", -payment.amount_minor, order.buyer_id),
    ]
    await ledger.post(tx, "capture", str(payment.id), order.id, payment.currency, entries)


async def book_refund(
    tx: Transaction, order: LockedOrder, refund_id: UUID, shares: Mapping[UUID, LineShares], *, reason: str = "refund"
) -> None:
    """Book what a refund takes back from whom: from what is held first, then from the seller's balance, which may go below 0.

    From now on the store owes the buyer the money; `book_refund_paid` books its leaving.
    """
    held = await ledger.held_for(tx, order.id)
    entries: list[Entry] = []
    for seller_id, part in shares.items():
        from_held = max(0, min(part.seller, held.get(seller_id, 0)))
        entries += [
            Entry("held", from_held, seller_id),
            Entry("seller", part.seller - from_held, seller_id),
            Entry("fee", part.commission),
            Entry("tax", part.tax),
            Entry("promotion", -part.store_discount),
            Entry("points", -part.points),
            Entry("buyer", -part.paid, order.buyer_id),
        ]
    await ledger.post(tx, reason, str(refund_id), order.id, order.currency, entries)


async def book_refund_paid(
    tx: Transaction, order_id: UUID, refund_id: UUID, buyer_id: UUID | None, amount_minor: int, currency: str, gateway: str
) -> None:  # fmt: skip
    """Book that refunded money has left."""
    entries = [Entry("buyer", amount_minor, buyer_id), Entry("clearing", -amount_minor, name=gateway)]
    await ledger.post(tx, "refund_paid", str(refund_id), order_id, currency, entries)


async def book_points(
    tx: Transaction, order: LockedOrder, kind: str, reference: str, worth_minor: int
) -> None:  # fmt: skip
    """Book that points were given (positive) or taken back (negative): a promise of the store's, paid as promotion."""
    entries = [Entry("promotion", worth_minor), Entry("points", -worth_minor)]
    await ledger.post(tx, kind, reference, order.id, order.currency, entries)

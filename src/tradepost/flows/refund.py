"""Giving money back: in whole, for some lines, for some of a line, as a gesture; asked of the gateway once, booked exactly.

A refund is written down and booked first, in one transaction with whatever caused it; then, with no transaction open, the
gateway is asked with the refund's id as its idempotency key; then it is settled. A crash in between is finished by the sweeper.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.database import SYSTEM, Transaction
from tradepost.core.events import record
from tradepost.core.ids import uuid7
from tradepost.core.jobs import enqueue
from tradepost.core.money import split, to_major
from tradepost.flows.book_money import book_deposit_back, book_points, book_refund, book_refund_paid, line_shares
from tradepost.flows.pricing import Loyalty
from tradepost.flows.pricing_rules import loyalty_of
from tradepost.flows.store import Store
from tradepost.orders import service as orders
from tradepost.orders.service import LineBack
from tradepost.orders.types import LockedOrder
from tradepost.payments import ledger
from tradepost.payments import service as payments
from tradepost.payments.events import RefundFailed, RefundMade, RefundRequested
from tradepost.payments.ports import RefundOutcome, RefundRequest
from tradepost.payments.rules import NOTHING, LineShares, part_of, shares_of_delivery
from tradepost.payments.types import GatewayUnknown, LockedPayment, RefundTooLarge
from tradepost.promotions import service as promotions
from tradepost.promotions.rules import points_earned, points_worth

ZERO = Decimal(0)


class RefundArgs(msgspec.Struct, frozen=True):
    """Which refund a job is about."""

    refund_id: UUID


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """What goes back of a line (or, with `line_no` None, of a seller's delivery): so much money, so many goods."""

    line_no: int | None
    seller_id: UUID
    amount_minor: int
    quantity: Decimal
    shares: LineShares


class Refundable(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a line, or of a seller's delivery."""

    line_no: int | None
    seller_id: UUID
    variant_id: UUID | None
    quantity: Decimal
    returned: Decimal
    shares: LineShares
    refunded_minor: int

    @property
    def left_minor(self) -> int:
        """The money that can still go back."""
        return self.shares.paid - self.refunded_minor

    @property
    def left_quantity(self) -> Decimal:
        """The goods that can still come back."""
        return self.quantity - self.returned

    def price_of(self, quantity: Decimal) -> int:
        """Return the money that belongs to so many goods; the last ones take what is left."""
        if not self.quantity or quantity >= self.left_quantity:
            return self.left_minor
        whole = part_of(self.shares, Fraction(self.returned + quantity) / Fraction(self.quantity)).paid
        return max(0, min(self.left_minor, whole - self.refunded_minor))

    def piece(self, amount_minor: int, quantity: Decimal) -> Piece:
        """Return the piece of so much money and so many goods, shared out so that all pieces add up to the line."""
        before, after = (
            self._part(self.refunded_minor, self.returned),
            self._part(self.refunded_minor + amount_minor, self.returned + quantity),
        )
        shares = part_of(self.shares, after).minus(part_of(self.shares, before))
        return Piece(
            line_no=self.line_no, seller_id=self.seller_id, amount_minor=amount_minor, quantity=quantity, shares=shares
        )

    def _part(self, money: int, quantity: Decimal) -> Fraction:
        if self.shares.paid:
            return Fraction(money, self.shares.paid)
        return Fraction(quantity) / Fraction(self.quantity) if self.quantity else Fraction(1)


_LINES = text("""
    SELECT line_no, seller_id, variant_id, quantity, returned_quantity, gross_minor, discount_minor, store_discount_minor, points_minor,
           tax_minor, included_tax_minor, commission_minor, refunded_minor
    FROM order_lines WHERE order_id = :order_id ORDER BY line_no FOR NO KEY UPDATE
""")
_DELIVERIES = text("""
    SELECT seller_id, shipping_minor, shipping_refunded_minor FROM fulfilments WHERE order_id = :order_id ORDER BY seller_id
    FOR NO KEY UPDATE
""")
_TAKE_BACK_SHIPPING = text("""
    UPDATE fulfilments f SET shipping_refunded_minor = f.shipping_refunded_minor + r.amount_minor
    FROM jsonb_to_recordset(:deliveries) AS r(seller_id uuid, amount_minor bigint)
    WHERE f.order_id = :order_id AND f.seller_id = r.seller_id
""")
_POINTS_EARNED = text(
    "SELECT coalesce(sum(points), 0) FROM loyalty_entries WHERE order_id = :order_id AND kind IN ('earned', 'reversed')"
)
_EARNING = text("""
    SELECT CAST(coalesce(sum(greatest(gross_minor - discount_minor - points_minor - refunded_minor, 0)), 0) AS bigint)
    FROM order_lines WHERE order_id = :order_id
""")
_POINTS_RETURNED = text(
    "SELECT coalesce(sum(points), 0) FROM loyalty_entries WHERE order_id = :order_id AND kind = 'returned'"
)
_REDUCE = text(
    "UPDATE payments SET amount_minor = amount_minor - :amount_minor WHERE id = :payment_id AND state = 'initiated'"
)


_NET_PRICE = text("""
    SELECT CAST(o.total_minor - coalesce((SELECT sum(refunded_minor) FROM order_lines WHERE order_id = o.id), 0)
           - coalesce((SELECT sum(shipping_refunded_minor) FROM fulfilments WHERE order_id = o.id), 0) AS bigint)
    FROM orders o WHERE o.id = :order_id
""")


async def net_price(tx: Transaction, order_id: UUID) -> int:
    """Return an order's total less what was taken off it since."""
    return int(await tx.value(_NET_PRICE, order_id=order_id))


async def refundable(tx: Transaction, order_id: UUID) -> list[Refundable]:
    """Return what is left of every line and delivery of an order that is locked."""
    lines = [
        Refundable(
            line_no=row["line_no"], seller_id=row["seller_id"], variant_id=row["variant_id"], quantity=row["quantity"],
            returned=row["returned_quantity"], shares=line_shares(row), refunded_minor=row["refunded_minor"],
        )
        for row in await tx.all(_LINES, order_id=order_id)
    ]  # fmt: skip
    deliveries = [
        Refundable(
            line_no=None, seller_id=row["seller_id"], variant_id=None, quantity=ZERO, returned=ZERO,
            shares=shares_of_delivery(row["shipping_minor"]), refunded_minor=row["shipping_refunded_minor"],
        )
        for row in await tx.all(_DELIVERIES, order_id=order_id)
        if row["shipping_minor"]
    ]  # fmt: skip
    return lines + deliveries


def everything(left: Iterable[Refundable], seller_ids: Iterable[UUID]) -> list[Piece]:
    """Return all that is left of these sellers' parts."""
    sellers = set(seller_ids)
    return [r.piece(r.left_minor, r.left_quantity) for r in left if r.seller_id in sellers]


def gesture(left: Sequence[Refundable], amount_minor: int, currency: str) -> list[Piece]:
    """Return pieces of money without goods that come to so much, from every line by what is left of it.

    Raises `RefundTooLarge`.
    """
    whole = sum(r.left_minor for r in left)
    if not 0 < amount_minor <= whole:
        raise RefundTooLarge(f"{to_major(whole, currency)} {currency}")
    parts = split(amount_minor, [r.left_minor for r in left])
    return [r.piece(part, ZERO) for r, part in zip(left, parts, strict=True) if part]


async def give_back(
    tx: Transaction,
    store: Store,
    order: LockedOrder,
    pieces: Sequence[Piece],
    *,
    reason: str,
    requested_by: UUID | None,
) -> UUID | None:
    """Write down and book that these pieces go back to the buyer: money, points, and what everybody had of them.

    Of an order whose balance is still to be paid, that is taken off the balance first. Return the refund's id, None where no
    money moves (paid by points alone, or cash that was never taken). The caller has
    locked the order, and calls `send_refund` after the commit; a job does so too. Raises `RefundTooLarge`.
    """
    by_seller: dict[UUID, LineShares] = {}
    for piece in pieces:
        by_seller[piece.seller_id] = by_seller.get(piece.seller_id, NOTHING).plus(piece.shares)
    amount = sum(piece.amount_minor for piece in pieces)
    paid = [p for p in await payments.lock_payments_of(tx, order.id) if p.purpose != "late"]
    taken = [p for p in paid if p.state in {"success", "partly_refunded", "refunded"}]
    left = sum(p.left_minor for p in taken)
    prepaid = await ledger.deposit_for(tx, order.id) if any(p.purpose == "deposit" for p in taken) else 0
    unpaid = await net_price(tx, order.id) - prepaid if prepaid else 0
    if taken and amount > left + unpaid:
        raise RefundTooLarge(f"{to_major(left + unpaid, order.currency)} {order.currency}")
    refund_id = uuid7()
    await _count_back(tx, order, pieces)
    await _return_points(tx, store, order, refund_id, sum(s.points for s in by_seller.values()))
    await _take_unearned(tx, store, order, refund_id)
    if not taken:
        await _reduce_cash(tx, paid, amount)
        return None
    if prepaid:
        await _reduce_cash(tx, paid, min(amount, unpaid))
        amount = max(0, amount - unpaid)
        await book_deposit_back(tx, order, refund_id, amount)
    else:
        await book_refund(tx, order, refund_id, by_seller)
    if amount == 0:
        return None
    for payment, part, part_id in _over_payments(taken, amount, refund_id):
        await payments.ask_back(
            tx, payment, part_id, part, reason=reason, lines=[_kept(p) for p in pieces], requested_by=requested_by
        )  # fmt: skip
        await announce(tx, order.id, payment, part_id, part)
    if amount == left or not prepaid:
        await orders.set_payment_state(tx, order.id, "refunded" if amount == left else "partly_refunded")
    return refund_id


def cut(pieces: Sequence[Piece], left: Sequence[Refundable], amount_minor: int) -> list[Piece]:
    """Return the same goods for less money, shared out by what each was to bring."""
    whole = sum(p.amount_minor for p in pieces)
    parts = split(min(max(amount_minor, 0), whole), [p.amount_minor for p in pieces])
    by_place = {(r.line_no, r.seller_id): r for r in left}
    return [by_place[p.line_no, p.seller_id].piece(part, p.quantity) for p, part in zip(pieces, parts, strict=True)]


def _over_payments(
    taken: Sequence[LockedPayment], amount: int, refund_id: UUID
) -> Iterable[tuple[LockedPayment, int, UUID]]:
    """Share a refund over the payments there are (a deposit and its balance), the latest first."""
    left = amount
    for payment in sorted(taken, key=lambda p: p.created_at, reverse=True):
        part = min(left, payment.left_minor)
        if part:
            yield payment, part, refund_id if left == amount else uuid7()
            left -= part


async def announce(tx: Transaction, order_id: UUID, payment: LockedPayment, refund_id: UUID, amount_minor: int) -> None:
    """Record that a refund is on its way, and have it sent even if this process dies after the commit."""
    fact = RefundRequested(refund_id, payment.id, order_id, amount_minor, payment.currency)
    await record(tx, fact, subject_id=order_id)
    await enqueue(tx, "payments.send_refund", RefundArgs(refund_id), dedupe=f"refund:{refund_id}")


async def _count_back(tx: Transaction, order: LockedOrder, pieces: Sequence[Piece]) -> None:
    lines = [LineBack(p.line_no, p.amount_minor, p.quantity) for p in pieces if p.line_no is not None]
    await orders.take_back(tx, order.id, lines)
    deliveries = [
        {"seller_id": p.seller_id, "amount_minor": p.amount_minor}
        for p in pieces
        if p.line_no is None and p.amount_minor
    ]
    if deliveries:
        await tx.run(_TAKE_BACK_SHIPPING, order_id=order.id, deliveries=deliveries)


async def _reduce_cash(tx: Transaction, paid: Sequence[LockedPayment], amount: int) -> None:
    """Let the door collect less where the money was not taken yet."""
    for payment in paid:
        if payment.is_offline and payment.state == "initiated" and amount:
            await tx.run(_REDUCE, payment_id=payment.id, amount_minor=min(amount, payment.amount_minor))


async def _return_points(tx: Transaction, store: Store, order: LockedOrder, refund_id: UUID, worth_minor: int) -> None:
    """Give back the points that were spent on what goes back: in the proportion of their worth, all with the last of it."""
    loyalty = loyalty_of(store.settings)
    if order.buyer_id is None or not order.points_spent or not worth_minor or loyalty is None:
        return
    returned = int(await tx.value(_POINTS_RETURNED, order_id=order.id))
    whole = points_worth(order.points_spent, loyalty.value_per_point, order.currency)
    points = min(order.points_spent - returned, -(-order.points_spent * worth_minor // whole) if whole else 0)
    await promotions.give_points(tx, order.buyer_id, points, "returned", order.id, reference=str(refund_id))


async def points_due(tx: Transaction, order: LockedOrder, loyalty: Loyalty) -> int:
    """Return the points that an order is worth to its buyer: for what was paid for goods and has not gone back."""
    paid = int(await tx.value(_EARNING, order_id=order.id))
    return points_earned(paid, loyalty.points_per_unit, order.currency)


async def _take_unearned(tx: Transaction, store: Store, order: LockedOrder, refund_id: UUID) -> None:
    """Take back the points that were earned with what goes back."""
    loyalty = loyalty_of(store.settings)
    if loyalty is not None:
        await _take_earned(tx, order, loyalty, await points_due(tx, order, loyalty), f"refund:{refund_id}")


async def reverse_points(tx: Transaction, store: Store, order: LockedOrder, reference: str) -> None:
    """Take back all points that an order earned."""
    loyalty = loyalty_of(store.settings)
    if loyalty is not None:
        await _take_earned(tx, order, loyalty, 0, reference)


async def _take_earned(
    tx: Transaction, order: LockedOrder, loyalty: Loyalty, due: int, reference: str
) -> None:  # fmt: skip
    """Take the points an order earned back but for those `due`, as far as they are still there."""
    if order.buyer_id is None:
        return
    earned = int(await tx.value(_POINTS_EARNED, order_id=order.id))
    taken = await promotions.take_points(tx, order.buyer_id, earned - due, "reversed", order.id, reference=reference)
    if taken:
        worth = points_worth(taken, loyalty.value_per_point, order.currency)
        await book_points(tx, order, "points_reversed", f"{order.id}:{reference}", -worth)


def _kept(piece: Piece) -> dict[str, Any]:
    return {
        "line_no": piece.line_no,
        "seller_id": piece.seller_id,
        "amount_minor": piece.amount_minor,
        "quantity": piece.quantity,
    }


async def send_refund(store: Store, refund_id: UUID) -> str:
    """Ask the gateway to give the money of a refund back, and settle it; return its state. Idempotent.

    Raises `GatewayDown`: a job tries again; and `GatewayUnknown` where the store does not have the gateway any more: the sweeper
    sends it when it is back.
    """
    async with store.db.transaction(actor=SYSTEM) as tx:
        refund = await payments.lock_refund(tx, refund_id)
    if refund.state != "requested":
        return refund.state
    gateway = store.gateways.get(refund.gateway)
    if gateway is None:
        raise GatewayUnknown(refund.gateway)
    outcome = await gateway.refund(
        RefundRequest(refund_id=refund.id, payment_id=refund.payment_id, payment_ref=refund.payment_ref or "",
                      amount_minor=refund.amount_minor, currency=refund.currency, reason=refund.reason)
    )  # fmt: skip
    return await settle_refund(store, refund_id, outcome)


async def settle_refund(store: Store, refund_id: UUID, outcome: RefundOutcome) -> str:
    """Write down what became of a refund: the one way for reply, webhook and sweeper. Idempotent; return its state."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        refund = await payments.lock_refund(tx, refund_id)
        if refund.state == "success" or outcome.state in {"pending", "manual"}:
            return refund.state
        if outcome.state == "failed":
            await payments.settle_refund(tx, refund_id, "failed", outcome.ref)
            fact = RefundFailed(refund_id, refund.payment_id, refund.order_id, outcome.error or "")
            await record(tx, fact, subject_id=refund.order_id)
            return "failed"
        await payments.settle_refund(tx, refund_id, "success", outcome.ref)
        await book_refund_paid(
            tx, refund.order_id, refund_id, refund.buyer_id, refund.amount_minor, refund.currency, refund.gateway
        )
        made = RefundMade(refund_id, refund.payment_id, refund.order_id, refund.amount_minor, refund.currency)
        await record(tx, made, subject_id=refund.order_id)
        return "success"


def goods_of(pieces: Iterable[Piece], left: Iterable[Refundable]) -> Mapping[UUID, Decimal]:
    """Return how much of each variant comes back with these pieces."""
    variants = {r.line_no: r.variant_id for r in left if r.line_no is not None}
    found: dict[UUID, Decimal] = {}
    for piece in pieces:
        variant = variants.get(piece.line_no) if piece.line_no is not None else None
        if variant is not None and piece.quantity:
            found[variant] = found.get(variant, ZERO) + piece.quantity
    return found

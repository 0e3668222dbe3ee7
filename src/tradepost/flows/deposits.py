"""Orders that are paid in two steps: a deposit first, the balance later, both of them payments like any other.

Owns what is due, and what each of the two means for the books. Until the balance is paid the deposit is the buyer's: it stands
on the account `deposit`, nobody has earned anything yet, and a refund lowers the balance before any money goes back. With
the balance, or when a move keeps the deposit, what is left of the order is booked as if it had been paid at once.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from tradepost.core.database import Transaction
from tradepost.core.ids import uuid7
from tradepost.core.money import percent_of
from tradepost.flows.book_money import book_capture, book_deposit, book_prepaid
from tradepost.flows.refund import Piece, Refundable, announce, cut, give_back, net_price
from tradepost.flows.store import Store
from tradepost.orders.processes import Course, Transition
from tradepost.orders.types import LockedOrder
from tradepost.payments import ledger
from tradepost.payments import service as payments
from tradepost.payments.rules import LineShares
from tradepost.payments.types import LockedPayment


async def balance_due(tx: Transaction, order_id: UUID) -> int:
    """Return what is left to pay of an order after its deposit and what was taken off its price since."""
    return await net_price(tx, order_id) - await ledger.deposit_for(tx, order_id)


async def due_now(
    tx: Transaction, order_id: UUID, total_minor: int, currency: str, course: Course, move: Transition
) -> int:
    """Return the amount of the payment that makes a move."""
    if move.purpose == "balance":
        return await balance_due(tx, order_id)
    return course.first_amount(total_minor, currency)


async def book_payment(
    tx: Transaction, order: LockedOrder, payment: LockedPayment, shares: Mapping[UUID, LineShares], *, hold: bool
) -> str:
    """Book the money of a payment that has succeeded, for whatever it was; return what that makes of the order's payment."""
    match payment.purpose:
        case "deposit":
            await book_deposit(tx, order, payment)
            return "deposit_paid"
        case "balance":
            await _book_balance(tx, order, payment, hold=hold)
        case _:
            await book_capture(tx, order, payment, shares, hold=hold)
    return "paid"


async def _book_balance(tx: Transaction, order: LockedOrder, payment: LockedPayment, *, hold: bool) -> None:
    """Book a balance with its deposit; what a refund has meanwhile taken off the price goes back at once."""
    excess = payment.amount_minor - await balance_due(tx, order.id)
    await book_prepaid(tx, order, "capture", str(payment.id), gateway=payment.gateway, hold=hold, excess_minor=excess)
    if excess > 0:
        refund_id, reason = uuid7(), "The price had gone down meanwhile."
        await payments.ask_back(tx, payment, refund_id, excess, reason=reason, lines=[], requested_by=None)
        await announce(tx, order.id, payment, refund_id, excess)


async def book_without_balance(tx: Transaction, order: LockedOrder, *, hold: bool) -> None:
    """Book an order whose deposit has come to cover all of it."""
    await book_prepaid(tx, order, "capture", f"deposit:{order.id}", gateway="", hold=hold)


async def keep_deposit(
    tx: Transaction, store: Store, order: LockedOrder, course: Course, left: Sequence[Refundable], *, reason: str,
    requested_by: UUID | None,
) -> list[Piece]:  # fmt: skip
    """Call an order off and leave its sellers so much of the deposit as its process says; everything else goes back.

    Return what went back, goods and money. The deposit is that of the order as it was placed, at most what was paid.
    """
    deposit = course.first_amount(order.total_minor, order.currency) if course.deposit else 0
    whole = sum(r.left_minor for r in left)
    kept = percent_of(deposit, course.deposit.keeps) if course.deposit else 0
    prepaid = await ledger.deposit_for(tx, order.id)
    kept = min(kept, whole, prepaid or whole)
    pieces = cut([r.piece(r.left_minor, r.left_quantity) for r in left], left, whole - kept)
    await give_back(tx, store, order, pieces, reason=reason, requested_by=requested_by)
    if prepaid:
        await book_prepaid(tx, order, "deposit_kept", str(order.id), gateway="", hold=False)
    return pieces

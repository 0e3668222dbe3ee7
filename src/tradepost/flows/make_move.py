"""Making a declared move: the order or parts of it change state, and stock and money follow, in one transaction.

The only way in which an order's state changes. Called with the order locked; who may make the move has been checked.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec

from tradepost.catalog import stock
from tradepost.catalog.stock import Want
from tradepost.core.clock import now
from tradepost.core.database import Transaction
from tradepost.core.events import record, record_all
from tradepost.core.jobs import Request, enqueue_all
from tradepost.delivery.slots import give_back_slot
from tradepost.flows.book_money import book_cash, book_points
from tradepost.flows.deposits import balance_due, book_without_balance, keep_deposit
from tradepost.flows.pricing_rules import loyalty_of
from tradepost.flows.refund import everything, give_back, goods_of, points_due, refundable, reverse_points
from tradepost.flows.store import Store
from tradepost.flows.swaps import finish_exchange
from tradepost.orders import service as orders
from tradepost.orders.events import OrderMoved
from tradepost.orders.processes import Course, Transition
from tradepost.orders.service import Step
from tradepost.orders.types import LockedOrder, LockedPart, Party
from tradepost.payments import ledger
from tradepost.payments import service as payments
from tradepost.payments.events import PaymentSucceeded
from tradepost.payments.types import LockedPayment
from tradepost.promotions import service as promotions
from tradepost.promotions.rules import points_worth

STOPPED_AGAIN_AFTER = timedelta(minutes=2)


class Mover(msgspec.Struct, frozen=True):
    """Who makes a move, as what, and why."""

    role: Party
    user_id: UUID | None = None
    reason: str = ""


class PaymentArgs(msgspec.Struct, frozen=True):
    """Which payment a job is about."""

    payment_id: UUID


async def make_move(
    tx: Transaction, store: Store, order: LockedOrder, course: Course, move: Transition, mover: Mover, *,
    parts: Sequence[LockedPart], whole: bool, payment_state: str | None = None, stock_done: bool = False, fact: msgspec.Struct | None = None,
) -> LockedOrder:  # fmt: skip
    """Make a move for these parts, and for the order if it is `whole`; carry out its effects. Return the order after it.

    `stock_done`: the caller has sold the stock already. `fact` is recorded before the move. Raises `OrderChanged`.
    """
    sellers = tuple(p.seller_id for p in parts)
    moment = now()
    # Before the parts are opened the order's own timer runs, then each part's.
    opened = not parts or "open_fulfilments" in move.effects or any(p.opened_at is not None for p in parts)
    following = course.timed_move(move.to_state)
    due_at = course.due_at(move.to_state, moment)
    as_one = following is not None and following.is_whole
    step = Step(
        to_state=move.to_state, from_state=move.from_state, whole=whole, seller_ids=sellers,
        seller_id=None if whole else sellers[0], due_at=due_at if as_one or not opened else None,
        part_due_at=None if as_one else due_at, opened_at=moment if "open_fulfilments" in move.effects else None,
        handed_over_at=moment if "complete_fulfilments" in move.effects else None, payment_state=payment_state,
        actor_id=mover.user_id, actor_role=mover.role, reason=mover.reason[:2000],
    )  # fmt: skip
    await orders.write_move(tx, order, step)
    after = msgspec.structs.replace(order, state=move.to_state) if whole else order
    if not stock_done and "sell_stock" in move.effects:
        await stock.sell(tx, order.id)
    if "release_stock" in move.effects:
        await _drop(tx, order)
    if {"restock", "refund_payment", "keep_deposit"} & move.effects:
        await _undo(tx, store, order, course, move, mover, sellers)
    if "exchange" in move.effects:
        await finish_exchange(tx, store, order, mover.role, mover.user_id)
    if "complete_fulfilments" in move.effects:
        await _collect_cash(tx, after, course)
    if "release_money" in move.effects:
        await ledger.release_held(tx, order.id, order.currency, sellers)
    if whole:
        await _points(tx, store, order, move)
    moved = _moved(order, move, mover, None if whole else sellers[0])
    await record_all(tx, [(f, order.id) for f in (fact, moved) if f is not None])
    return await go_on_if_paid(tx, store, after, course)


async def go_on_if_paid(tx: Transaction, store: Store, order: LockedOrder, course: Course) -> LockedOrder:
    """Make the move that the balance would make, where nothing is left to pay."""
    move = course.payment_move(order.state)
    if move is None or move.purpose != "balance" or await balance_due(tx, order.id) > 0:
        return order
    await book_without_balance(tx, order, hold="hold_money" in move.effects)
    parts = await orders.lock_parts(tx, order.id)
    return await make_move(
        tx, store, order, course, move, Mover("system"), parts=parts, whole=True, payment_state="paid"
    )


async def _drop(tx: Transaction, order: LockedOrder) -> None:
    """Give back everything an order took that nobody paid for: stock, promo codes, window, points; and stop its payments."""
    await stock.release(tx, order.id)
    await promotions.give_back_promos(tx, order.id)
    await give_back_slot(tx, order.id)
    if order.points_spent and order.buyer_id:
        await promotions.give_points(tx, order.buyer_id, order.points_spent, "returned", order.id, reference="dropped")
    for payment in await payments.lock_payments_of(tx, order.id):
        if payment.state == "initiated":
            await _stop(tx, payment)


async def _stop(tx: Transaction, payment: LockedPayment) -> None:
    await payments.settle(tx, payment, "cancelled")
    if not payment.is_offline:
        await stop_payment(tx, payment.id)


async def stop_payment(tx: Transaction, payment_id: UUID, *, at_once: bool = True) -> None:
    """Have a payment that we gave up stopped at its gateway, and stopped again when no request of ours can be under way any more.

    A process that is about to charge may not know yet that it was given up, and die before it can write down the reply.
    """
    args, times = PaymentArgs(payment_id), (timedelta(), STOPPED_AGAIN_AFTER) if at_once else (STOPPED_AGAIN_AFTER,)
    await enqueue_all(tx, [Request("payments.cancel_payment", args, after) for after in times])


async def _undo(
    tx: Transaction, store: Store, order: LockedOrder, course: Course, move: Transition, mover: Mover, sellers: tuple[UUID, ...]
) -> None:  # fmt: skip
    """Take back what was sold of these sellers' parts: the goods to the shelf, the money to the buyer, as the move says."""
    left = await refundable(tx, order.id)
    reason = mover.reason or move.label
    if "keep_deposit" in move.effects:  # always the whole order's
        sellers = tuple(order.seller_ids)
        pieces = await keep_deposit(tx, store, order, course, left, reason=reason, requested_by=mover.user_id)
    else:
        pieces = everything(left, sellers)
    goods = goods_of(pieces, left)
    if "restock" in move.effects:
        await stock.release(tx, order.id, list(goods))
        wants = [Want(variant_id, quantity) for variant_id, quantity in goods.items()]
        await stock.put_back(tx, order.id, wants, reason="restock", actor_id=mover.user_id)
    if "refund_payment" in move.effects:
        await give_back(tx, store, order, pieces, reason=reason, requested_by=mover.user_id)
    if set(sellers) >= set(order.seller_ids):
        await give_back_slot(tx, order.id)
        for payment in await payments.lock_payments_of(tx, order.id):
            if payment.state == "initiated":
                await _stop(tx, payment)


async def _collect_cash(tx: Transaction, order: LockedOrder, course: Course) -> None:
    """Count the cash of an order paid at the door, once the last of its parts is handed over."""
    open_cash = [p for p in await payments.lock_payments_of(tx, order.id) if p.is_offline and p.state == "initiated"]
    if not open_cash:
        return
    parts = await orders.lock_parts(tx, order.id)
    if any(p.handed_over_at is None and not course.states[p.state].is_final for p in parts):
        return
    for payment in open_cash:
        riders = [p.seller_id for p in parts if p.rider_id is not None]
        await book_cash(tx, order, payment, riders)
        await payments.settle(tx, payment, "success", ref=payment.gateway_ref)
        await orders.set_payment_state(tx, order.id, "paid")
        fact = PaymentSucceeded(payment.id, order.id, payment.gateway, payment.amount_minor, payment.currency)
        await record(tx, fact, subject_id=order.id)


async def _points(tx: Transaction, store: Store, order: LockedOrder, move: Transition) -> None:
    loyalty = loyalty_of(store.settings)
    if loyalty is None or order.buyer_id is None:
        return
    if "reverse_points" in move.effects:
        await reverse_points(tx, store, order, move.to_state)
    if "earn_points" in move.effects:
        points = await points_due(tx, order, loyalty)
        days = store.settings.loyalty.expires_after_days if store.settings.loyalty else 0
        given = await promotions.give_points(
            tx, order.buyer_id, points, "earned", order.id, expires_at=now() + timedelta(days=days) if days else None
        )
        if given:
            worth = points_worth(points, loyalty.value_per_point, order.currency)
            await book_points(tx, order, "points_earned", str(order.id), worth)


def _moved(order: LockedOrder, move: Transition, mover: Mover, seller_id: UUID | None) -> OrderMoved:
    tell = tuple(who for who in ("buyer", "seller") if f"notify_{who}" in move.effects)
    return OrderMoved(
        order_id=order.id, number=order.number, buyer_id=order.buyer_id, seller_ids=tuple(order.seller_ids),
        from_state=move.from_state, to_state=move.to_state, seller_id=seller_id, tell=tell, reason=mover.reason,
    )  # fmt: skip

"""What a gateway says of a payment becomes true here: one way for its reply, its call, the poller and the sweeper.

Promises that telling the same thing twice, late, early or out of order changes nothing more; that an order is paid once; and
that money which comes when the order no longer wants it, or when its goods are gone, goes back by itself.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import text

from tradepost.cart import service as carts
from tradepost.catalog import stock
from tradepost.catalog.stock import NotEnoughStock, NothingHeld
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Transaction
from tradepost.core.errors import DomainError, NotFound
from tradepost.core.events import record
from tradepost.core.idempotency import finish
from tradepost.core.ids import uuid7
from tradepost.core.metrics import PAYMENTS
from tradepost.core.money import to_major
from tradepost.flows.book_money import book_late_money, capture_shares
from tradepost.flows.deposits import book_payment
from tradepost.flows.make_move import Mover, make_move, stop_payment
from tradepost.flows.refund import announce, settle_refund
from tradepost.flows.store import Store
from tradepost.orders import service as orders
from tradepost.orders.processes import Course, Transition, courses
from tradepost.orders.types import LockedOrder, LockedPart
from tradepost.payments import service as payments
from tradepost.payments.events import (
    LateMoneyReceived,
    PaymentDisputed,
    PaymentFailed,
    PaymentMismatched,
    PaymentSucceeded,
)
from tradepost.payments.ports import Outcome, WebhookEvent
from tradepost.payments.rules import LineShares
from tradepost.payments.types import GatewayUnknown, LockedPayment, NoSuchPayment, PaymentMismatch

SYSTEM_MOVER = Mover("system")
FORGOTTEN_AFTER = timedelta(seconds=30)  # no request of ours can be under way any more
ASKED_JUST_NOW = timedelta(seconds=2)
LOOK_TIMEOUT_S = 5.0
_log = structlog.get_logger(__name__)
# One round trip: the order's row is locked first, then the payment's; what is read of lines and parts cannot change before the
# order is paid.
_LOCK = """
    WITH wanted AS (SELECT id, order_id FROM payments WHERE {test}),
    o AS (
        SELECT id, number, process, state, payment_state, buyer_id, session_hash, seller_ids, currency, total_minor, points_spent,
               placed_at, cart_id, (SELECT value FROM store_facts WHERE name = 'rules_version') AS rules_version
        FROM orders WHERE id = (SELECT order_id FROM wanted) FOR NO KEY UPDATE
    )
    SELECT o.*, p.id, p.order_id, p.buyer_id, p.session_hash, p.purpose, p.gateway, p.method, p.amount_minor, p.refunded_minor,
           p.currency, p.state, p.gateway_ref, p.is_offline, p.redirect_url, p.instructions, p.created_at,
           (SELECT jsonb_agg(l) FROM (
               SELECT seller_id, gross_minor, discount_minor, store_discount_minor, points_minor, tax_minor, included_tax_minor,
                      commission_minor, refunded_minor
               FROM order_lines WHERE order_id = o.id) l) AS lines,
           (SELECT jsonb_agg(f ORDER BY f.seller_id) FROM (
               SELECT seller_id, state, shipping_minor, shipping_refunded_minor, rider_id, opened_at, handed_over_at
               FROM fulfilments WHERE order_id = o.id) f) AS parts
    FROM o, payments p WHERE p.id = (SELECT id FROM wanted) FOR NO KEY UPDATE OF p
"""
_LOCK_BY_ID = text(_LOCK.format(test="id = :payment_id"))
_LOCK_BY_REF = text(_LOCK.format(test="gateway = :gateway AND gateway_ref = :ref"))
_LINES_AGAIN = text("""
    SELECT variant_id, quantity, unit_price_minor AS price, coalesce(snapshot -> 'configuration', '{}') AS configuration
    FROM order_lines WHERE order_id = :order_id ORDER BY line_no
""")


_LOOKED_AT = text("""
    SELECT id FROM payments WHERE order_id = :order_id AND state = 'initiated' AND NOT is_offline
    AND coalesce(checked_at, created_at) < :before ORDER BY id
""")


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """How a payment and its order stand after the gateway was heard."""

    order_id: UUID
    number: str
    state: str
    payment_id: UUID | None
    payment_state: str
    total_minor: int
    currency: str
    redirect_url: str | None = None
    instructions: str = ""
    error: str | None = None
    mismatch: PaymentMismatch | None = None


class _Case(msgspec.Struct, frozen=True):
    """A payment that is locked, with everything its settlement needs to know."""

    order: LockedOrder
    payment: LockedPayment
    parts: list[LockedPart]
    shares: dict[UUID, LineShares]
    is_held: bool


class Reply(msgspec.Struct, frozen=True):
    """The Idempotency-Key whose reply is to be kept with the settlement."""

    owner: str
    key: str


async def settle_payment(
    store: Store, gateway: str, outcome: Outcome, *, reply: Reply | None = None, keep_order: bool = False
) -> Settled:
    """Make true what a gateway says of a payment. Idempotent; safe to call from everywhere at once.

    `keep_order`: a payment that failed does not give the order up, because another one follows at once.
    Raises `NoSuchPayment`, and `PaymentMismatch` for an amount or currency that we did not ask for: then nothing is booked.
    """
    try:
        settled = await _settle_once(store, gateway, outcome, reply, keep_order=keep_order, is_held=True)
    except NothingHeld:
        settled = await _settle_once(store, gateway, outcome, reply, keep_order=keep_order, is_held=False)
    PAYMENTS.add(store.code, gateway, outcome.state if settled.mismatch is None else "mismatch")
    if settled.mismatch is not None:
        raise settled.mismatch
    return settled


async def _settle_once(
    store: Store, gateway: str, outcome: Outcome, reply: Reply | None, *, keep_order: bool, is_held: bool
) -> Settled:
    """Settle in one transaction. `is_held`: take it that the goods are still held, as they nearly always are; raises `NothingHeld`."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        case = await _lock(tx, gateway, outcome, is_held=is_held)
        settled = await _settle(tx, store, case, outcome, keep_order=keep_order)
        if reply is not None:
            await finish(tx, reply.owner, reply.key, 201, settled)
    return settled


async def _lock(tx: Transaction, gateway: str, outcome: Outcome, *, is_held: bool) -> _Case:
    """Return the payment that an outcome speaks of, with its order, both kept from others. Raises `NoSuchPayment`."""
    found = None
    if outcome.payment_id is not None:
        found = await tx.maybe(_LOCK_BY_ID, payment_id=outcome.payment_id)
    if found is None and outcome.ref is not None:
        found = await tx.maybe(_LOCK_BY_REF, gateway=gateway, ref=outcome.ref)
    if found is None:
        raise NoSuchPayment
    *values, lines, parts = found
    size = len(LockedOrder.__struct_fields__)
    shares = capture_shares(lines, parts)
    return _Case(
        LockedOrder(*values[:size]),
        LockedPayment(*values[size:]),
        msgspec.convert(parts, list[LockedPart]),
        shares,
        is_held,
    )


async def _settle(tx: Transaction, store: Store, case: _Case, outcome: Outcome, *, keep_order: bool) -> Settled:
    order, payment = case.order, case.payment
    course = (await courses(tx, order.rules_version))[order.process]
    if outcome.disputed and await payments.mark_disputed(tx, payment.id):
        disputed = PaymentDisputed(payment.id, order.id, payment.amount_minor, payment.currency)
        await record(tx, disputed, subject_id=order.id)
        await orders.note(tx, order, "disputed", actor_role="system")
    mismatch = _mismatch(payment, outcome)
    if mismatch is not None:
        fact = PaymentMismatched(payment.id, order.id, mismatch.expected, mismatch.got)
        await record(tx, fact, subject_id=order.id)
        return _settled(order, payment, payment.state, outcome, mismatch)
    match outcome.state, payment.state:
        case "success", "initiated" | "failed" | "cancelled":
            order, state = await _succeed(tx, store, case, course, outcome)
        case "failed" | "cancelled", "initiated":
            order = await _fail(tx, store, order, course, payment, outcome, keep_order=keep_order)
            state = outcome.state
        case "pending", "initiated":
            await payments.await_buyer(tx, payment.id, outcome)
            state = "initiated"
            if payment.is_offline:
                order = await _accept_offline(tx, store, case, course)
        case _:
            state = payment.state
    return _settled(order, payment, state, outcome, None)


def _settled(
    order: LockedOrder, payment: LockedPayment, state: str, outcome: Outcome, mismatch: PaymentMismatch | None
) -> Settled:  # fmt: skip
    waiting = state == "initiated"
    return Settled(
        order_id=order.id, number=order.number, state=order.state, payment_id=payment.id, payment_state=state,
        total_minor=order.total_minor, currency=order.currency, error=outcome.error, mismatch=mismatch,
        redirect_url=(outcome.redirect_url or payment.redirect_url) if waiting else None,
        instructions=(outcome.instructions or payment.instructions) if waiting else "",
    )  # fmt: skip


def _mismatch(payment: LockedPayment, outcome: Outcome) -> PaymentMismatch | None:
    if outcome.state != "success" or outcome.amount_minor is None:
        return None
    if (outcome.amount_minor, outcome.currency) == (payment.amount_minor, payment.currency):
        return None
    got = outcome.currency or payment.currency
    return PaymentMismatch(
        f"{to_major(payment.amount_minor, payment.currency)} {payment.currency}",
        f"{to_major(outcome.amount_minor, got)} {got}",
    )


async def _succeed(
    tx: Transaction, store: Store, case: _Case, course: Course, outcome: Outcome
) -> tuple[LockedOrder, str]:  # fmt: skip
    order, payment = case.order, case.payment
    move = course.payment_move(order.state)
    if (
        move is None
        or move.purpose != payment.purpose
        or not await _is_wanted(tx, order, payment)
        or not await _secure(tx, case, move)
    ):
        await _send_back(tx, order, payment, outcome)
        return order, "success"
    await payments.settle(tx, payment, "success", ref=outcome.ref)
    paid = await book_payment(tx, order, payment, case.shares, hold="hold_money" in move.effects)
    order = await make_move(
        tx, store, order, course, move, SYSTEM_MOVER, parts=case.parts, whole=True, payment_state=paid, stock_done=True,
        fact=PaymentSucceeded(payment.id, order.id, payment.gateway, payment.amount_minor, payment.currency),
    )  # fmt: skip
    return order, "success"


async def _is_wanted(tx: Transaction, order: LockedOrder, payment: LockedPayment) -> bool:
    """Whether no other payment has paid, or may still pay, for the same: then this one may."""
    if payment.state == "initiated":
        return True
    others = await payments.lock_payments_of(tx, order.id)
    return not any(
        p.id != payment.id and p.purpose == payment.purpose and p.state not in {"failed", "cancelled"} for p in others
    )


async def _secure(tx: Transaction, case: _Case, move: Transition) -> bool:
    """See to it that the goods are the buyer's: sold, or kept for as long as the balance takes."""
    if "sell_stock" not in move.effects and move.purpose == "deposit":
        return await _try(tx, stock.keep(tx, case.order.id))
    return "sell_stock" not in move.effects or await _sell(tx, case)


async def _sell(tx: Transaction, case: _Case) -> bool:
    """Turn the reservation into a sale; where it was given up, take the goods if they are still there."""
    if case.is_held:
        await stock.sell_held(tx, case.order.id)
        return True
    if await stock.sell(tx, case.order.id):
        return True
    return await _try(tx, stock.sell_late(tx, case.order.id))


async def _try(tx: Transaction, taking: Awaitable[None]) -> bool:
    """Take stock; return whether there was enough."""
    try:
        async with tx.savepoint():
            await taking
    except NotEnoughStock:
        return False
    return True


async def _send_back(tx: Transaction, order: LockedOrder, payment: LockedPayment, outcome: Outcome) -> None:
    """Take note of money that comes too late, and have it go back whole."""
    await payments.settle(tx, payment, "success", purpose="late", ref=outcome.ref, error="The money came too late.")
    await book_late_money(tx, order, payment)
    refund_id = uuid7()
    await payments.ask_back(
        tx, payment, refund_id, payment.amount_minor, reason="The money came too late.", lines=[], requested_by=None
    )
    fact = LateMoneyReceived(payment.id, order.id, payment.amount_minor, payment.currency)
    await record(tx, fact, subject_id=order.id)
    await orders.note(tx, order, "late_money", actor_role="system")
    await announce(tx, order.id, payment, refund_id, payment.amount_minor)


async def _fail(
    tx: Transaction, store: Store, order: LockedOrder, course: Course, payment: LockedPayment, outcome: Outcome, *,
    keep_order: bool,
) -> LockedOrder:  # fmt: skip
    """Write down that a payment failed; the order is given up, or waits for another try, as its process says."""
    await payments.settle(tx, payment, outcome.state, ref=outcome.ref, error=outcome.error)
    if not payment.is_offline:
        await stop_payment(tx, payment.id, at_once=False)
    fact = PaymentFailed(payment.id, order.id, payment.gateway, outcome.error or "")
    await record(tx, fact, subject_id=order.id)
    move = None if keep_order else course.decline_move(order.state)
    if move is None:
        if course.payment_move(order.state) is not None:
            if payment.purpose != "balance":
                await orders.set_payment_state(tx, order.id, "failed")
            await orders.note(tx, order, "payment_failed", actor_role="system", reason=outcome.error or "")
        return order
    parts = await orders.lock_parts(tx, order.id)
    mover = Mover("system", reason=outcome.error or "")
    lines = [dict(row) for row in await tx.all(_LINES_AGAIN, order_id=order.id)]
    await carts.put_again(tx, order.buyer_id, order.session_hash, order.currency, lines)
    return await make_move(tx, store, order, course, move, mover, parts=parts, whole=True, payment_state="failed")


async def _accept_offline(tx: Transaction, store: Store, case: _Case, course: Course) -> LockedOrder:
    """Let an order that is paid at the door go ahead; the money is counted when the goods are handed over."""
    move = course.payment_move(case.order.state)
    if move is None:
        return case.order
    return await make_move(tx, store, case.order, course, move, SYSTEM_MOVER, parts=case.parts, whole=True)


async def receive_webhook(store: Store, gateway: str, headers: Mapping[str, str], body: bytes) -> WebhookEvent:
    """Take a gateway's call: check that it is genuine, keep it, make it true. Repeated calls change nothing more.

    A call about nothing of ours, such as a payment of another store on the same account, is kept and otherwise ignored.
    Raises `GatewayUnknown`, `ForgedWebhook`, `PaymentMismatch`.
    """
    if gateway not in store.gateways:
        raise GatewayUnknown(gateway[:40])
    event: WebhookEvent = store.gateways[gateway].read_webhook(headers, body)
    try:
        if event.outcome is not None:
            await settle_payment(store, gateway, event.outcome)
        if event.refund_id is not None and event.refund is not None:
            await settle_refund(store, event.refund_id, event.refund)
    except NotFound:
        await _keep(store, gateway, event, {"ignored": True})
        return event
    await _keep(store, gateway, event, {"state": event.outcome.state if event.outcome else None})
    return event


async def _keep(store: Store, gateway: str, event: WebhookEvent, body: dict[str, Any]) -> None:
    """Keep a call only after its effect is committed: a crash in between has the gateway call again, which is harmless."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await payments.hear(tx, gateway, event.event_id, body)


async def check_payment(store: Store, payment_id: UUID, *, forgotten_after: timedelta = FORGOTTEN_AFTER) -> None:
    """Ask the gateway what became of an open payment and make it true: when its buyer looks, and for the sweeper.

    One that the gateway has never heard of, because we died before we asked it, is given up when it is that old. Raises
    `GatewayDown`, `PaymentMismatch`.
    """
    async with store.db.transaction(actor=SYSTEM) as tx:
        payment = await payments.lock_payment(tx, payment_id)
        await payments.mark_checked(tx, payment_id)
    gateway = store.gateways.get(payment.gateway)
    if gateway is None or payment.state != "initiated":
        return
    outcome: Outcome = await gateway.look_up(payment.id, payment.gateway_ref)
    if outcome.state == "unknown":
        if now() - payment.created_at < forgotten_after:
            return
        outcome = Outcome(state="failed", payment_id=payment.id, error="The payment was never begun.")
    await settle_payment(store, payment.gateway, outcome)


async def look_again(store: Store, order_id: UUID) -> None:
    """Ask about an order's open payment because its buyer looks at it: not again within seconds, and without making them wait.

    What cannot be found out now, the sweeper finds out later.
    """
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        due = await tx.values(_LOOKED_AT, order_id=order_id, before=now() - ASKED_JUST_NOW)
    for payment_id in due:
        try:
            await asyncio.wait_for(check_payment(store, payment_id), LOOK_TIMEOUT_S)
        except (DomainError, TimeoutError) as error:
            _log.warning("payment.not_found_out", payment=str(payment_id), error=type(error).__name__)

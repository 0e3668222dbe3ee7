"""What makes itself true in the end: timers, payments whose outcome nobody reported, refunds not sent, points past their time.

Every step looks at the present state and is a use case of its own, so the sweep may run twice at once, or be killed anywhere.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import text

from tradepost.catalog import stock
from tradepost.core.clock import now, stopped_clock
from tradepost.core.database import SYSTEM
from tradepost.core.errors import DomainError
from tradepost.core.idempotency import forget_old_keys
from tradepost.flows.make_move import Mover, make_move
from tradepost.flows.move_order import move_part
from tradepost.flows.refund import send_refund
from tradepost.flows.settle_payment import check_payment, settle_payment
from tradepost.flows.store import Store
from tradepost.orders import service as orders
from tradepost.orders.processes import courses
from tradepost.payments import service as payments
from tradepost.payments.types import GatewayDown
from tradepost.promotions import service as promotions

ASK_AFTER = timedelta(seconds=30)
ASK_AGAIN_AFTER = timedelta(seconds=60)
_BATCH = 200
_log = structlog.get_logger(__name__)

# What is due is due by the database's clock, which all servers share: one whose own jumps ahead would give up orders that have time.
_NOW = "coalesce(CAST(:now AS timestamptz), now())"
_DUE_ORDERS = text(f"SELECT id FROM orders WHERE due_at <= {_NOW} ORDER BY due_at LIMIT :limit")
_DUE_PARTS = text(f"SELECT order_id, seller_id FROM fulfilments WHERE due_at <= {_NOW} ORDER BY due_at LIMIT :limit")
_EXPIRED = text(f"""
    SELECT DISTINCT r.order_id FROM reservations r LEFT JOIN orders o ON o.id = r.order_id
    WHERE r.state = 'held' AND r.expires_at <= {_NOW} AND (o.due_at IS NULL OR o.due_at <= {_NOW}) LIMIT :limit
""")
_OLD_CARTS = text("DELETE FROM carts WHERE session_hash IS NOT NULL AND updated_at < now() - interval '60 days'")
_EXPIRING = text(f"""
    SELECT user_id, points FROM (
        SELECT user_id, CAST(sum(points) FILTER (WHERE points > 0 AND expires_at <= {_NOW})
               + sum(points) FILTER (WHERE points < 0) AS int) AS points
        FROM (SELECT user_id, points, expires_at FROM loyalty_entries UNION ALL SELECT DISTINCT user_id, 0, now() FROM loyalty_entries) e
        GROUP BY user_id
    ) due WHERE points > 0 ORDER BY user_id
""")


async def sweep(store: Store, *, ask_after: timedelta = ASK_AFTER) -> None:
    """Do one round of everything that is due. `ask_after`: how long a gateway's reply may be outstanding."""
    await _ask(
        "settle", await _unsettled(store, ask_after), lambda i: check_payment(store, i, forgotten_after=ask_after)
    )
    await fire_timers(store)
    await _ask("refund", await _unsent_refunds(store, ask_after), lambda i: send_refund(store, i))


async def _ask(what: str, found: Iterable[tuple[UUID, str]], ask: Callable[[UUID], Awaitable[object]]) -> None:
    """Ask about payments or refunds, each at its gateway; one that is down is not asked about the others in this round."""
    down: set[str] = set()
    for subject, gateway in found:
        if gateway not in down and isinstance(await _attempt(what, subject, ask(subject)), GatewayDown):
            down.add(gateway)


async def _attempt(what: str, subject: UUID, work: Awaitable[object]) -> DomainError | None:
    """Do one step; a step that is refused or fails is written down and does not keep the others from theirs."""
    try:
        await work
    except DomainError as error:
        _log.warning("sweep.step_refused", step=what, subject=str(subject), error=error.code)
        return error
    return None


async def _unsettled(store: Store, ask_after: timedelta) -> list[tuple[UUID, str]]:
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        rows = await payments.list_unsettled(tx, now() - ask_after, now() - min(ask_after, ASK_AGAIN_AFTER), _BATCH)
    return [(row["id"], row["gateway"]) for row in rows]


async def _unsent_refunds(store: Store, ask_after: timedelta) -> list[tuple[UUID, str]]:
    able = [code for code, gateway in store.gateways.items() if not gateway.about.refunds_by_hand]
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        rows = await payments.list_refunds_due(tx, now() - ask_after, able, _BATCH)
    return [(row["id"], row["gateway"]) for row in rows]


async def cancel_payment(store: Store, payment_id: UUID) -> None:
    """Stop a payment at its gateway whose order was given up; money that has come all the same goes back."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        payment = await payments.lock_payment(tx, payment_id)
    gateway = store.gateways.get(payment.gateway)
    if gateway is not None and payment.state in {"initiated", "cancelled", "failed"}:
        outcome = await gateway.cancel(payment.id, payment.gateway_ref)
        await settle_payment(store, payment.gateway, outcome)


async def fire_timers(store: Store) -> int:
    """Make every move whose time has come; return how many."""
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        due = await tx.values(_DUE_ORDERS, now=stopped_clock(), limit=_BATCH)
        parts = await tx.all(_DUE_PARTS, now=stopped_clock(), limit=_BATCH)
        expired = await tx.values(_EXPIRED, now=stopped_clock(), limit=_BATCH)
    for order_id in due:
        await _attempt("timer", order_id, move_on(store, order_id))
    for order_id, seller_id in parts:
        await _attempt("timer", order_id, move_part_on(store, order_id, seller_id))
    for order_id in expired:
        await _attempt("expire", order_id, give_up(store, order_id))
    return len(due) + len(parts) + len(expired)


async def move_on(store: Store, order_id: UUID) -> None:
    """Make the timed move of an order that nobody has begun to fulfil, if its time has come."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        order = await orders.lock_order(tx, order_id)
        course = (await courses(tx, order.rules_version))[order.process]
        move = course.timed_move(order.state)
        if move is None or not await tx.value(_IS_DUE, order_id=order_id, now=stopped_clock()):
            return
        parts = await orders.lock_parts(tx, order_id)
        await make_move(tx, store, order, course, move, Mover("system"), parts=parts, whole=True)


async def move_part_on(store: Store, order_id: UUID, seller_id: UUID) -> None:
    """Make the timed move of one seller's part, if its time has come."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        order = await orders.lock_order(tx, order_id)
        course = (await courses(tx, order.rules_version))[order.process]
        if not await tx.value(_IS_PART_DUE, order_id=order_id, seller_id=seller_id, now=stopped_clock()):
            return
        parts = await orders.lock_parts(tx, order_id)
        part = next(p for p in parts if p.seller_id == seller_id)
        move = course.timed_move(part.state)
        if move is not None:
            await move_part(tx, store, order, course, parts, part, move, Mover("system"))


async def give_up(store: Store, order_id: UUID) -> None:
    """Free the stock of an order whose reservation ran out; the order is given up too where its process knows how."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        order = await orders.lock_order(tx, order_id)
        course = (await courses(tx, order.rules_version))[order.process]
        move = course.expiry_move(order.state)
        if move is None:
            await stock.release(tx, order_id)
            return
        parts = await orders.lock_parts(tx, order_id)
        await make_move(tx, store, order, course, move, Mover("system"), parts=parts, whole=True)


_IS_DUE = text(f"SELECT due_at <= {_NOW} FROM orders WHERE id = :order_id")
_IS_PART_DUE = text(f"SELECT due_at <= {_NOW} FROM fulfilments WHERE order_id = :order_id AND seller_id = :seller_id")


async def tidy_up(store: Store) -> None:
    """Forget yesterday's request keys and visitors' abandoned carts; let points expire."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await forget_old_keys(tx)
        await tx.run(_OLD_CARTS)
        for user_id, points in await tx.all(_EXPIRING, now=stopped_clock()):
            await promotions.take_points(tx, user_id, points, "expired", None)

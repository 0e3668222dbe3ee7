"""Refunds that no gateway makes, of cash or of Paynow: staff pay them back, and say so here."""

from uuid import UUID

from tradepost.accounts.types import Caller
from tradepost.core.database import Actor
from tradepost.flows.orders import access_order
from tradepost.flows.refund import settle_refund
from tradepost.flows.store import Store
from tradepost.orders.types import NoSuchOrder, OrderRefund, OrderView
from tradepost.payments import service as payments
from tradepost.payments.ports import RefundOutcome
from tradepost.payments.types import PaidBackByItself


def refunds_by_hand(store: Store, order: OrderView) -> list[OrderRefund]:
    """Return the refunds of an order that wait for staff to pay them back."""
    return [r for r in order.refunds if r.state == "requested" and _is_by_hand(store, r.gateway)]


def _is_by_hand(store: Store, gateway: str) -> bool:
    return gateway not in store.gateways or store.gateways[gateway].about.refunds_by_hand


async def confirm_refund(store: Store, caller: Caller, order_id: UUID, refund_id: UUID) -> str:
    """Take note that staff have paid a refund back by hand, and book it; return its state. Idempotent.

    Needs the permission `refund_orders`. Raises `NoSuchOrder`, and `PaidBackByItself` for one that a gateway makes.
    """
    caller.check_can("refund_orders")
    caller.check_token("refund_orders")
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        await access_order(tx, caller, order_id=order_id)
        refund = await payments.lock_refund(tx, refund_id)
    if refund.order_id != order_id:
        raise NoSuchOrder
    if not _is_by_hand(store, refund.gateway):
        raise PaidBackByItself(store.gateways[refund.gateway].about.name)
    return await settle_refund(store, refund_id, RefundOutcome(state="success", ref=f"by hand: {caller.user_id}"))

"""The sandbox gateway's page, and its calls to the store it serves."""

from collections.abc import Mapping
from typing import get_args
from uuid import UUID

from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.flows.gateways import webhook_url
from tradepost.flows.settle_payment import receive_webhook, settle_payment
from tradepost.flows.store import Store
from tradepost.payments.adapters.sandbox import Decision, SandboxGateway
from tradepost.payments.ports import Outcome
from tradepost.payments.types import NoSuchPayment, PaymentView

_PAYMENT = text("""
    SELECT p.id, p.purpose, p.gateway, p.method, p.amount_minor, p.refunded_minor, p.currency, p.state, p.redirect_url, p.instructions,
           p.error, p.created_at, p.settled_at, o.number
    FROM payments p JOIN orders o ON o.id = p.order_id WHERE p.id = :payment_id AND p.gateway = 'sandbox'
""")


def connect_sandbox(store: Store) -> None:
    """Have the sandbox of a store call it within this process: a development machine may not resolve its own name."""
    gateway = store.gateways.get("sandbox")
    if isinstance(gateway, SandboxGateway):

        async def deliver(_url: str, headers: Mapping[str, str], body: bytes) -> None:
            await receive_webhook(store, "sandbox", headers, body)

        gateway.send = deliver


async def get_sandbox_payment(store: Store, caller: Caller, payment_id: UUID) -> tuple[PaymentView, str]:
    """Return a payment of the caller's for the sandbox's page, and the number of its order. Raises `NoSuchPayment`."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        found = await tx.maybe(_PAYMENT, payment_id=payment_id)
    if found is None:
        raise NoSuchPayment
    values = dict(found)
    number = str(values.pop("number"))
    return PaymentView(**values), number


async def sandbox_outcome(store: Store, caller: Caller, payment_id: UUID, outcome: str) -> None:
    """Let the buyer's choice on the page come true: approve, decline, cancel, delay, duplicate, lost or dispute.

    Raises `NoSuchPayment` for a payment of somebody else, or one that is decided already.
    """
    await get_sandbox_payment(store, caller, payment_id)
    gateway = store.gateways.get("sandbox")
    if not isinstance(gateway, SandboxGateway) or outcome not in get_args(Decision):
        raise NoSuchPayment
    decision: Decision = outcome  # type: ignore[assignment]  # checked against its values above
    await gateway.decide(payment_id, decision, webhook_url(store.base_url, "sandbox"))
    if decision == "delay":
        await settle_payment(store, "sandbox", Outcome(state="pending", payment_id=payment_id, is_settling=True))

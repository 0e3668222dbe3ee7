"""Commands on payments and refunds: what is written down before a gateway is asked, and after it has answered.

They change payments, refunds and the books only; flows decide what that means for an order.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.database import Transaction, on_violation
from tradepost.core.errors import Conflict
from tradepost.payments.ports import Outcome
from tradepost.payments.types import LockedPayment, LockedRefund, NoSuchPayment


class PaymentUnderWay(Conflict):
    """A payment for this order is already under way."""


class RefundExceedsPayment(Conflict):
    """More would be given back than was paid."""


on_violation("uq_payments_open", PaymentUnderWay)
on_violation("ck_payments_refunded_within_amount", RefundExceedsPayment)


class PaymentDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A payment to be asked for. Its id will be the idempotency key at the gateway."""

    id: UUID
    order_id: UUID
    buyer_id: UUID | None
    session_hash: bytes | None
    purpose: str
    gateway: str
    method: str
    amount_minor: int
    currency: str
    is_offline: bool


_START = text("""
    INSERT INTO payments (id, order_id, buyer_id, session_hash, purpose, gateway, method, amount_minor, currency, is_offline)
    VALUES (:id, :order_id, :buyer_id, :session_hash, :purpose, :gateway, :method, :amount_minor, :currency, :is_offline)
""")
_COLUMNS = """p.id, p.order_id, p.buyer_id, p.session_hash, p.purpose, p.gateway, p.method, p.amount_minor, p.refunded_minor,
    p.currency, p.state, p.gateway_ref, p.is_offline, p.redirect_url, p.instructions, p.created_at"""
FIND_CHARGE = text("""
    SELECT p.id AS payment_id, p.order_id, o.number, p.gateway, p.method, p.amount_minor, p.currency,
           p.state = 'initiated' AS is_open
    FROM payments p JOIN orders o ON o.id = p.order_id WHERE p.id = :payment_id
""")
_LOCK = text(f"SELECT {_COLUMNS} FROM payments p WHERE p.id = :payment_id FOR NO KEY UPDATE")
_LOCK_OF_ORDER = text(f"SELECT {_COLUMNS} FROM payments p WHERE p.order_id = :order_id ORDER BY p.id FOR NO KEY UPDATE")
_SETTLE = text("""
    UPDATE payments SET state = :state, purpose = :purpose, gateway_ref = coalesce(:ref, gateway_ref), error = :error,
        charged_at = coalesce(charged_at, now()), checked_at = now(), settled_at = now(), redirect_url = NULL
    WHERE id = :payment_id
""")
_AWAIT = text("""
    UPDATE payments SET gateway_ref = coalesce(:ref, gateway_ref),
        redirect_url = CASE WHEN NOT :is_settling THEN coalesce(:redirect_url, redirect_url) END,
        instructions = coalesce(nullif(:instructions, ''), instructions), charged_at = coalesce(charged_at, now()), checked_at = now()
    WHERE id = :payment_id AND state = 'initiated'
""")
_DISPUTE = text("UPDATE payments SET disputed_at = now() WHERE id = :payment_id AND disputed_at IS NULL")
_UNSETTLED = text("""
    SELECT id, order_id, gateway, gateway_ref, created_at FROM payments
    WHERE state = 'initiated' AND NOT is_offline AND created_at < :before AND (checked_at IS NULL OR checked_at < :checked_before)
    ORDER BY created_at LIMIT :limit
""")
_CHECKED = text("UPDATE payments SET checked_at = now() WHERE id = :payment_id AND state = 'initiated'")
_HEARD = text("""
    INSERT INTO gateway_events (gateway, event_id, body) VALUES (:gateway, :event_id, :body)
    ON CONFLICT (gateway, event_id) DO NOTHING
""")

_ASK_BACK = text("""
    WITH paid AS (
        UPDATE payments SET refunded_minor = refunded_minor + :amount_minor,
            state = CASE WHEN refunded_minor + :amount_minor = amount_minor THEN 'refunded' ELSE 'partly_refunded' END
        WHERE id = :payment_id AND state IN ('success', 'partly_refunded') RETURNING id, order_id, buyer_id, currency
    )
    INSERT INTO refunds (id, payment_id, order_id, buyer_id, amount_minor, currency, reason, lines, requested_by)
    SELECT :refund_id, id, order_id, buyer_id, :amount_minor, currency, :reason, :lines, :requested_by FROM paid
""")
_REFUND_COLUMNS = """r.id, r.payment_id, r.order_id, r.buyer_id, r.amount_minor, r.currency, r.reason, r.state, r.gateway_ref, r.lines,
    p.gateway, p.gateway_ref AS payment_ref"""
_LOCK_REFUND = text(
    f"SELECT {_REFUND_COLUMNS} FROM refunds r JOIN payments p ON p.id = r.payment_id WHERE r.id = :refund_id FOR NO KEY UPDATE OF r"
)
_SETTLE_REFUND = text(
    "UPDATE refunds SET state = :state, gateway_ref = coalesce(:ref, gateway_ref) WHERE id = :refund_id"
)
_REFUNDS_DUE = text("""
    SELECT r.id, p.gateway FROM refunds r JOIN payments p ON p.id = r.payment_id
    WHERE r.state = 'requested' AND r.created_at < :before AND p.gateway = ANY(:gateways) ORDER BY r.created_at LIMIT :limit
""")


async def start(tx: Transaction, draft: PaymentDraft) -> None:
    """Write down a payment before its gateway is asked. Raises `PaymentUnderWay` where another one is open."""
    await tx.later(_START, **{name: getattr(draft, name) for name in PaymentDraft.__struct_fields__})


async def lock_payment(tx: Transaction, payment_id: UUID) -> LockedPayment:
    """Return a payment, kept from others until the commit. Lock its order first. Raises `NoSuchPayment`."""
    found = await tx.maybe(_LOCK, into=LockedPayment, payment_id=payment_id)
    if found is None:
        raise NoSuchPayment
    return found


async def lock_payments_of(tx: Transaction, order_id: UUID) -> list[LockedPayment]:
    """Return every payment of an order that is locked already, kept from others too."""
    return await tx.all(_LOCK_OF_ORDER, into=LockedPayment, order_id=order_id)


async def settle(
    tx: Transaction, payment: LockedPayment, state: str, *, purpose: str | None = None, ref: str | None = None,
    error: str | None = None,
) -> None:  # fmt: skip
    """Write down how a payment ended."""
    await tx.later(
        _SETTLE,
        payment_id=payment.id,
        state=state,
        purpose=purpose or payment.purpose,
        ref=ref,
        error=error and error[:500],
    )


async def await_buyer(tx: Transaction, payment_id: UUID, outcome: Outcome) -> None:
    """Write down where the buyer finishes paying, or that they have, as long as the payment is open."""
    await tx.run(
        _AWAIT,
        payment_id=payment_id,
        ref=outcome.ref,
        redirect_url=outcome.redirect_url,
        instructions=outcome.instructions,
        is_settling=outcome.is_settling,
    )


async def mark_disputed(tx: Transaction, payment_id: UUID) -> bool:
    """Write down that the buyer's bank asks for the money back; return whether that is news."""
    return bool(await tx.run(_DISPUTE, payment_id=payment_id))


async def list_unsettled(tx: Transaction, before: datetime, checked_before: datetime, limit: int = 200) -> list[Any]:
    """Return open payments made before a time and not asked about since another, oldest first."""
    return await tx.all(_UNSETTLED, before=before, checked_before=checked_before, limit=limit)


async def mark_checked(tx: Transaction, payment_id: UUID) -> None:
    """Remember that a gateway was just asked about a payment."""
    await tx.run(_CHECKED, payment_id=payment_id)


async def hear(tx: Transaction, gateway: str, event_id: str, body: Any) -> bool:
    """Keep a gateway's call; return whether it is the first time it says so."""
    return bool(await tx.run(_HEARD, gateway=gateway, event_id=event_id[:255], body=body))


async def ask_back(
    tx: Transaction, payment: LockedPayment, refund_id: UUID, amount_minor: int, *, reason: str, lines: Any, requested_by: UUID | None
) -> None:  # fmt: skip
    """Write down that money goes back; it counts as refunded from now on. Raises `RefundExceedsPayment`."""
    done = await tx.run(
        _ASK_BACK, payment_id=payment.id, refund_id=refund_id, amount_minor=amount_minor, reason=reason[:500], lines=lines,
        requested_by=requested_by,
    )  # fmt: skip
    if not done:
        raise RefundExceedsPayment


async def lock_refund(tx: Transaction, refund_id: UUID) -> LockedRefund:
    """Return a refund, kept from others until the commit. Raises `NoSuchPayment`."""
    found = await tx.maybe(_LOCK_REFUND, into=LockedRefund, refund_id=refund_id)
    if found is None:
        raise NoSuchPayment
    return found


async def settle_refund(tx: Transaction, refund_id: UUID, state: str, ref: str | None) -> None:
    """Write down how a refund ended."""
    await tx.run(_SETTLE_REFUND, refund_id=refund_id, state=state, ref=ref)


async def list_refunds_due(tx: Transaction, before: datetime, gateways: Sequence[str], limit: int = 200) -> list[Any]:
    """Return refunds that were asked of these gateways before a time and not answered, oldest first."""
    return await tx.all(_REFUNDS_DUE, before=before, gateways=list(gateways), limit=limit)

"""Stripe's objects, as much of them as we read, in replies and in events alike; and what they mean for a payment."""

from typing import Any
from uuid import UUID

import msgspec

from tradepost.payments.adapters.stripe.amounts import from_stripe
from tradepost.payments.ports import Outcome, OutcomeState, RefundOutcome

_REFUND_STATES: dict[str, str] = {"succeeded": "success", "failed": "failed", "canceled": "failed"}


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """A PaymentIntent: the money itself."""

    id: str
    status: str
    amount: int
    currency: str
    amount_received: int = 0
    metadata: dict[str, str] = {}


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A Checkout Session: the page a buyer pays on. It gets its PaymentIntent when the buyer confirms."""

    id: str
    status: str | None = None
    payment_status: str
    amount_total: int | None = None
    currency: str | None = None
    url: str | None = None
    client_reference_id: str | None = None
    payment_intent: Intent | str | None = None
    metadata: dict[str, str] | None = None


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """A charge: one line of Stripe's list of what was taken. It has the metadata of its PaymentIntent."""

    id: str
    status: str
    amount_captured: int
    amount_refunded: int
    currency: str
    created: int
    payment_intent: str | None = None
    metadata: dict[str, str] = {}


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """A refund."""

    id: str
    status: str | None = None
    amount: int
    failure_reason: str | None = None
    metadata: dict[str, str] | None = None


class Dispute(msgspec.Struct, frozen=True, kw_only=True):
    """A buyer's bank asking for the money of a charge back."""

    id: str
    payment_intent: str | None = None


def plain(found: Any, into: type[msgspec.Struct]) -> Any:
    """Return one of the SDK's objects as ours."""
    return msgspec.convert(found.to_dict(), into)


def ours(metadata: dict[str, str] | None, name: str) -> UUID | None:
    """Return an id that we put on an object, None where it has none or carries somebody else's."""
    try:
        return UUID((metadata or {}).get(name, ""))
    except ValueError:
        return None


def asked(metadata: dict[str, str] | None) -> int | None:
    """Return the exact amount that we asked for."""
    text = (metadata or {}).get("amount_minor", "")
    return int(text) if text.isascii() and text.isdigit() else None


def outcome_of_session(session: Session, payment_id: UUID | None = None) -> Outcome:
    """Return what a Checkout Session says of its payment."""
    payment_id = payment_id or ours(session.metadata, "payment_id")
    intent = session.payment_intent
    intent_id = intent.id if isinstance(intent, Intent) else intent
    if session.payment_status == "paid" and session.amount_total is not None and session.currency is not None:
        currency = session.currency.upper()
        return Outcome(
            state="success", payment_id=payment_id, ref=intent_id or session.id, currency=currency,
            amount_minor=from_stripe(session.amount_total, currency, asked(session.metadata)),
        )  # fmt: skip
    if session.status == "expired":
        return Outcome(state="cancelled", payment_id=payment_id, ref=session.id, error="The payment page has expired.")
    if session.status == "complete":
        return _outcome_of_unpaid(session, payment_id)
    return Outcome(state="pending", payment_id=payment_id, ref=session.id, redirect_url=session.url)


def _outcome_of_unpaid(session: Session, payment_id: UUID | None) -> Outcome:
    """The buyer is done, the money is not there: bank debits take days, and may fail in the end."""
    intent = session.payment_intent
    if isinstance(intent, Intent) and intent.status == "canceled":
        return Outcome(state="cancelled", payment_id=payment_id, ref=session.id)
    if isinstance(intent, Intent) and intent.status == "requires_payment_method":
        return Outcome(state="failed", payment_id=payment_id, ref=session.id, error="The bank refused the payment.")
    return Outcome(state="pending", payment_id=payment_id, ref=session.id, is_settling=True)


def outcome_of_intent(intent: Intent) -> Outcome | None:
    """Return what a PaymentIntent says of its payment; None where the buyer may still try on the same page."""
    payment_id, currency = ours(intent.metadata, "payment_id"), intent.currency.upper()
    states: dict[str, OutcomeState] = {"succeeded": "success", "canceled": "cancelled", "processing": "pending"}
    state = states.get(intent.status)
    if state is None:
        return None
    taken = from_stripe(intent.amount_received, currency, asked(intent.metadata)) if state == "success" else None
    return Outcome(
        state=state, payment_id=payment_id, ref=intent.id, amount_minor=taken, currency=currency if state == "success" else None,
        is_settling=state == "pending",
    )  # fmt: skip


def outcome_of_refund(refund: Refund) -> RefundOutcome:
    """Return what became of a refund."""
    state = _REFUND_STATES.get(refund.status or "", "pending")
    error = (refund.failure_reason or "").replace("_", " ") or None
    return RefundOutcome(state=state, ref=refund.id, error=error)  # type: ignore[arg-type]  # one of the states above

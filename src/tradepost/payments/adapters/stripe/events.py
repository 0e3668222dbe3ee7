"""Stripe's calls: signed, sometimes late, twice or out of order (https://docs.stripe.com/webhooks)."""

from collections.abc import Mapping

import msgspec
import stripe

from tradepost.payments.adapters.stripe.objects import (
    Dispute,
    Intent,
    Refund,
    Session,
    ours,
    outcome_of_intent,
    outcome_of_refund,
    outcome_of_session,
)
from tradepost.payments.ports import Outcome, WebhookEvent
from tradepost.payments.types import ForgedWebhook

TOLERANCE_S = 300  # as Stripe's own libraries: an older call is a replay
_SESSIONS = {
    "checkout.session.completed", "checkout.session.async_payment_succeeded", "checkout.session.expired",
}  # fmt: skip
_INTENTS = {"payment_intent.succeeded", "payment_intent.canceled", "payment_intent.processing"}
_REFUNDS = {"refund.created", "refund.updated", "refund.failed", "charge.refund.updated"}


class _Data(msgspec.Struct, frozen=True):
    object: msgspec.Raw


class _Event(msgspec.Struct, frozen=True):
    id: str
    type: str
    data: _Data


def read_event(headers: Mapping[str, str], body: bytes, secret: str) -> WebhookEvent:
    """Return what a call says. Raises `ForgedWebhook` for one that is not signed with our secret, or was signed too long ago."""
    try:
        stripe.WebhookSignature.verify_header(body, headers.get("stripe-signature"), secret, TOLERANCE_S)
        event = msgspec.json.decode(body, type=_Event)
        return _meaning(event)
    except (ValueError, stripe.SignatureVerificationError):
        raise ForgedWebhook from None


def _meaning(event: _Event) -> WebhookEvent:
    """An event that changes nothing here, such as a first card that was declined on Stripe's page, means nothing."""
    found = event.data.object
    if event.type in _REFUNDS:
        refund = msgspec.json.decode(found, type=Refund)
        refund_id = ours(refund.metadata, "refund_id")
        return WebhookEvent(
            event_id=event.id, refund_id=refund_id, refund=outcome_of_refund(refund) if refund_id else None
        )
    return WebhookEvent(event_id=event.id, outcome=_outcome(event.type, found))


def _outcome(kind: str, found: msgspec.Raw) -> Outcome | None:
    if kind in _SESSIONS:
        return outcome_of_session(msgspec.json.decode(found, type=Session))
    if kind == "checkout.session.async_payment_failed":
        session = msgspec.json.decode(found, type=Session)
        return Outcome(
            state="failed", payment_id=ours(session.metadata, "payment_id"), ref=session.id,
            error="The bank refused the payment.",
        )  # fmt: skip
    if kind in _INTENTS:
        return outcome_of_intent(msgspec.json.decode(found, type=Intent))
    if kind == "charge.dispute.created":
        dispute = msgspec.json.decode(found, type=Dispute)
        return Outcome(state="success", ref=dispute.payment_intent, disputed=True) if dispute.payment_intent else None
    return None

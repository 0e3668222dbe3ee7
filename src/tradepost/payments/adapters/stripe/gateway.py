"""The gateway: a Checkout Session for every payment, refunds, look-up, and the list of what was taken.

Why a Checkout Session: a page of Stripe's own takes cards, wallets and banks without any JavaScript of ours, and no card number
comes near our server. The PaymentIntent is made by it and carries the same ids.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import stripe

from tradepost.core.settings import StripeSettings
from tradepost.payments.adapters.stripe.amounts import from_stripe, to_stripe
from tradepost.payments.adapters.stripe.client import NAME, asking, is_missing, open_client, open_http
from tradepost.payments.adapters.stripe.connect import ONBOARDING, Connect
from tradepost.payments.adapters.stripe.events import read_event
from tradepost.payments.adapters.stripe.objects import (
    Charge,
    Intent,
    Refund,
    Session,
    asked,
    ours,
    outcome_of_intent,
    outcome_of_refund,
    outcome_of_session,
    plain,
)
from tradepost.payments.ports import (
    About,
    ChargeRequest,
    Outcome,
    RefundOutcome,
    RefundRequest,
    SettledPayment,
    WebhookEvent,
)
from tradepost.payments.types import GatewayDown

_PAGE = 100  # the most that Stripe lists at once
# Sessions end at a fixed time, so that asking again with the same key asks for the same; Stripe wants at least half an hour.
_OPEN_FOR_S = 3600
_CLOCK_SKEW_S = 300
# They pay days later, when the goods are long given back (https://docs.stripe.com/payments/payment-methods#payment-notification).
_SLOW_WAYS = (
    "acss_debit", "au_becs_debit", "bacs_debit", "boleto", "customer_balance", "konbini", "multibanco", "nz_bank_account", "oxxo",
    "sepa_debit", "us_bank_account",
)  # fmt: skip
_KEYS_LIVE_S = 24 * 3600
_ODD_AMOUNTS = {
    "amount_too_small": "Stripe does not take payments as small as this one; please choose another way to pay.",
    "amount_too_large": "Stripe does not take payments as large as this one; please choose another way to pay.",
}


class StripeGateway(Connect):
    """Stripe for one store; several stores may share an account, each looks only after what carries its code."""

    def __init__(self, settings: StripeSettings, store: str) -> None:
        self._settings = settings
        self._http = open_http()
        super().__init__(open_client(settings.secret_key, settings.api_base, self._http), store)

    @property
    def about(self) -> About:
        """How a page shows it."""
        is_test = self._settings.secret_key.startswith(("sk_test_", "rk_test_"))
        return About(
            code="stripe", name="Card or bank" + (" (test)" if is_test else ""), description="You pay on a page of Stripe.",
            is_test=is_test, wants_email=True, origins=(self._settings.checkout_origin, ONBOARDING),
        )  # fmt: skip

    async def charge(self, request: ChargeRequest) -> Outcome:
        """Open the page on which the buyer pays; for a payment that has one, say how it stands."""
        try:
            with asking():
                created = await self._api.v1.checkout.sessions.create_async(
                    self._page(request), {"idempotency_key": str(request.payment_id)}
                )
        except stripe.IdempotencyError:
            return await self.look_up(request.payment_id, None)
        except (stripe.InvalidRequestError, stripe.CardError) as error:
            return _refused(request.payment_id, error)
        session: Session = plain(created, Session)
        if _is_replayed(created):  # what Stripe said then, not how it is now
            return await self.look_up(request.payment_id, session.id)
        return outcome_of_session(session, request.payment_id)

    def _page(self, request: ChargeRequest) -> Any:
        currency = request.currency.lower()
        amount = to_stripe(request.amount_minor, request.currency)
        marks = {
            "payment_id": str(request.payment_id), "order_number": request.order_number, "store": self._store,
            "amount_minor": str(request.amount_minor),
        }  # fmt: skip
        line = {
            "quantity": 1,
            "price_data": {"currency": currency, "unit_amount": amount, "product_data": {"name": request.description}},
        }
        page: dict[str, Any] = {
            "mode": "payment", "client_reference_id": str(request.payment_id), "line_items": [line], "metadata": marks,
            "payment_intent_data": {"description": request.description, "metadata": marks},
            "success_url": request.return_url, "cancel_url": request.return_url,
            "expires_at": _made_at(request.payment_id) + _OPEN_FOR_S, "excluded_payment_method_types": list(_SLOW_WAYS),
        }  # fmt: skip
        return page | ({"customer_email": request.email} if request.email else {})

    async def look_up(self, payment_id: UUID, ref: str | None) -> Outcome:
        """Return how a payment stands; without `ref` its session is looked for among those of its time."""
        unknown = Outcome(state="unknown", payment_id=payment_id)
        try:
            if ref is not None and ref.startswith("pi_"):
                intent = await self._intent(ref)
                return outcome_of_intent(intent) or Outcome(state="pending", payment_id=payment_id, ref=ref)
            session = await self._session(payment_id, ref)
        except stripe.InvalidRequestError as error:
            if is_missing(error):
                return unknown
            raise GatewayDown(NAME) from error
        return unknown if session is None else outcome_of_session(session, payment_id)

    async def _intent(self, ref: str) -> Intent:
        with asking():
            found: Intent = plain(await self._api.v1.payment_intents.retrieve_async(ref), Intent)
        return found

    async def _session(self, payment_id: UUID, ref: str | None) -> Session | None:
        if ref is None or not ref.startswith("cs_"):
            return await self._find_session(payment_id)
        with asking():
            found = await self._api.v1.checkout.sessions.retrieve_async(ref, {"expand": ["payment_intent"]})
        session: Session = plain(found, Session)
        return session

    async def _find_session(self, payment_id: UUID) -> Session | None:
        """Find the session of a payment whose reply was lost. Lists are always up to date, Stripe's search may lag by minutes."""
        made = _made_at(payment_id)
        window: Any = {"gte": made - _CLOCK_SKEW_S, "lte": made + _KEYS_LIVE_S}
        with asking():
            page = await self._api.v1.checkout.sessions.list_async(
                {"created": window, "limit": _PAGE, "expand": ["data.payment_intent"]}
            )
            async for found in page.auto_paging_iter():
                if found.client_reference_id == str(payment_id):
                    session: Session = plain(found, Session)
                    return session
        return None

    async def cancel(self, payment_id: UUID, ref: str | None) -> Outcome:
        """Close the page, so that nobody can pay on it any more; a payment under way is stopped where it still can be."""
        if ref is None or not ref.startswith("pi_"):
            try:
                session = await self._session(payment_id, ref)
                if session is not None:
                    with asking():
                        await self._stop(session)
                    ref = session.id
            except stripe.InvalidRequestError:  # it was paid, or is being paid, this very moment
                pass
        outcome = await self.look_up(payment_id, ref)
        return Outcome(state="cancelled", payment_id=payment_id, ref=ref) if outcome.state == "unknown" else outcome

    async def _stop(self, session: Session) -> None:
        intent = session.payment_intent
        if session.status == "open":
            await self._api.v1.checkout.sessions.expire_async(session.id)
        elif session.payment_status != "paid" and intent is not None:
            await self._api.v1.payment_intents.cancel_async(intent.id if isinstance(intent, Intent) else intent)

    async def refund(self, request: RefundRequest) -> RefundOutcome:
        """Give money back once for each refund id, also after Stripe has forgotten the idempotency key."""
        intent = await self._intent_of(request)
        if intent is None:
            return RefundOutcome(state="failed", error="Stripe has taken no money for this payment.")
        try:
            return await self._refund(request, intent)
        except (stripe.InvalidRequestError, stripe.CardError) as error:
            return RefundOutcome(state="failed", error=error.user_message or "Stripe refuses this refund.")

    async def _refund(self, request: RefundRequest, intent: str) -> RefundOutcome:
        before = await self._refunds(intent)
        known = next((r for r in before if ours(r.metadata, "refund_id") == request.refund_id), None)
        if known is not None:
            return outcome_of_refund(known)
        given = sum(asked(r.metadata) or from_stripe(r.amount, request.currency) for r in before if _counts(r))
        # Rounded on the whole, not on each part: parts of an amount that was rounded add up to it.
        amount = to_stripe(given + request.amount_minor, request.currency) - to_stripe(given, request.currency)
        if amount == 0:
            return RefundOutcome(state="success", ref=f"rounded:{request.refund_id}")
        return await self._give_back(request, intent, amount)

    async def _give_back(self, request: RefundRequest, intent: str, amount: int) -> RefundOutcome:
        marks = {
            "refund_id": str(request.refund_id), "payment_id": str(request.payment_id),
            "amount_minor": str(request.amount_minor), "reason": request.reason[:500],
        }  # fmt: skip
        with asking():
            made = await self._api.v1.refunds.create_async(
                {"payment_intent": intent, "amount": amount, "metadata": marks},
                {"idempotency_key": str(request.refund_id)},
            )
        refund: Refund = plain(made, Refund)
        return outcome_of_refund(refund)

    async def _intent_of(self, request: RefundRequest) -> str | None:
        if request.payment_ref.startswith("pi_"):
            return request.payment_ref
        outcome = await self.look_up(request.payment_id, request.payment_ref or None)
        return outcome.ref if outcome.state == "success" else None

    async def _refunds(self, intent: str) -> list[Refund]:
        with asking():
            page = await self._api.v1.refunds.list_async({"payment_intent": intent, "limit": _PAGE})
            return [plain(found, Refund) async for found in page.auto_paging_iter()]

    def read_webhook(self, headers: Mapping[str, str], body: bytes, /) -> WebhookEvent:
        """Check the signature and its age, and return what the call says."""
        return read_event(headers, body, self._settings.webhook_secret)

    async def settled(self, since: datetime, /) -> AsyncIterator[SettledPayment]:
        """Yield every charge since then, the latest first, but those of other stores on the same account."""
        with asking():
            page = await self._api.v1.charges.list_async({"created": {"gte": int(since.timestamp())}, "limit": _PAGE})
            async for found in page.auto_paging_iter():
                charge: Charge = plain(found, Charge)
                if charge.status == "succeeded" and charge.metadata.get("store", self._store) == self._store:
                    yield _settled(charge)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close_async()  # type: ignore[no-untyped-call]  # the SDK forgot its type


def _settled(charge: Charge) -> SettledPayment:
    currency = charge.currency.upper()
    return SettledPayment(
        ref=charge.payment_intent or charge.id, payment_id=ours(charge.metadata, "payment_id"), currency=currency,
        amount_minor=from_stripe(charge.amount_captured, currency, asked(charge.metadata)),
        refunded_minor=from_stripe(charge.amount_refunded, currency, asked(charge.metadata)),
        at=datetime.fromtimestamp(charge.created, UTC),
    )  # fmt: skip


def _counts(refund: Refund) -> bool:
    return refund.status not in {"failed", "canceled"}


def _refused(payment_id: UUID, error: stripe.StripeError) -> Outcome:
    """Return a payment that Stripe will not take; only what helps a buyer is repeated to them."""
    return Outcome(state="failed", payment_id=payment_id, error=_ODD_AMOUNTS.get(error.code or "", _GENERAL))


_GENERAL = f"{NAME} does not take this payment; please choose another way to pay."


def _is_replayed(found: Any) -> bool:
    response = found.last_response
    return response is not None and response.headers.get("idempotent-replayed") == "true"


def _made_at(payment_id: UUID) -> int:
    """Return when a payment was written down, in Unix seconds: its id is a version 7 UUID."""
    return (payment_id.int >> 80) // 1000

"""Connect: accounts of sellers, money sent to them, and money fetched back (https://docs.stripe.com/connect).

Separate charges and transfers: the store takes the whole payment and pays each seller later, so an order may span sellers and money
can be held until receipt. Sellers see Stripe's Express pages; the store answers for refunds and disputes.
"""

from typing import Any
from uuid import UUID

import stripe
from stripe import StripeClient

from tradepost.payments.adapters.stripe.amounts import to_stripe
from tradepost.payments.adapters.stripe.client import NAME, asking, is_missing
from tradepost.payments.adapters.stripe.objects import ours
from tradepost.payments.ports import (
    Onboarding,
    OnboardingRequest,
    PayoutAccount,
    PayoutOutcome,
    PayoutRequest,
    ReversalRequest,
)
from tradepost.payments.types import NoSuchAccount, OnboardingRefused

ONBOARDING = "https://connect.stripe.com"  # where sellers are asked who they are


class Connect:
    """The part of the gateway that pays sellers."""

    def __init__(self, api: StripeClient, store: str) -> None:
        self._api = api
        self._store = store

    async def begin_onboarding(self, request: OnboardingRequest) -> Onboarding:
        """Open an account for a seller, once, and return a link to Stripe's questions."""
        try:
            account = request.account or await self._open_account(request)
            with asking():
                link = await self._api.v1.account_links.create_async(
                    {"account": account, "type": "account_onboarding", "return_url": request.return_url,
                     "refresh_url": request.again_url}
                )  # fmt: skip
        except stripe.InvalidRequestError as error:
            raise OnboardingRefused(NAME, error.user_message or "it gives no reason") from error
        return Onboarding(account=account, url=link.url)

    async def _open_account(self, request: OnboardingRequest) -> str:
        wanted: dict[str, Any] = {
            "controller": {
                "stripe_dashboard": {"type": "express"}, "fees": {"payer": "application"}, "losses": {"payments": "application"},
            },
            "capabilities": {"transfers": {"requested": True}},
            "country": request.country, "email": request.email,
            "metadata": {"seller_id": str(request.seller_id), "store": self._store},
        }  # fmt: skip
        key = f"account:{self._store}:{request.seller_id}:{request.country}:{request.email}"[:255]
        with asking():
            return (await self._api.v1.accounts.create_async(wanted, {"idempotency_key": key})).id  # type: ignore[arg-type]

    async def look_up_account(self, account: str) -> PayoutAccount:
        """Return whether Stripe would pay this account, and what it still asks its owner for."""
        try:
            with asking():
                found = (await self._api.v1.accounts.retrieve_async(account)).to_dict()
        except stripe.InvalidRequestError as error:
            if is_missing(error):
                raise NoSuchAccount from None
            raise
        needs = found.get("requirements") or {}
        missing = {*(needs.get("past_due") or ()), *(needs.get("currently_due") or ())}
        can_be_paid = (found.get("capabilities") or {}).get("transfers") == "active" and bool(
            found.get("payouts_enabled")
        )
        return PayoutAccount(account=account, can_be_paid=can_be_paid, missing=tuple(sorted(missing)))

    async def pay_out(self, request: PayoutRequest) -> PayoutOutcome:
        """Transfer money to a seller's account, once for each payout."""
        group = str(request.payout_id)
        try:
            with asking():
                made = await self._api.v1.transfers.list_async({"transfer_group": group, "limit": 1})
                if made.data:
                    return PayoutOutcome(state="success", ref=made.data[0].id)
                transfer = await self._api.v1.transfers.create_async(
                    {"amount": to_stripe(request.amount_minor, request.currency), "currency": request.currency.lower(),
                     "destination": request.account, "transfer_group": group, "description": request.description,
                     "metadata": {"payout_id": group, "store": self._store}},
                    {"idempotency_key": group},
                )  # fmt: skip
        except stripe.InvalidRequestError as error:
            return _failed(error)
        return PayoutOutcome(state="success", ref=transfer.id)

    async def reverse_payout(self, request: ReversalRequest) -> PayoutOutcome:
        """Fetch money of a transfer back, once for each reversal."""
        try:
            with asking():
                known = await self._reversal(request.payout_ref, request.reversal_id)
                if known is not None:
                    return PayoutOutcome(state="success", ref=known)
                made = await self._api.v1.transfers.reversals.create_async(
                    request.payout_ref,
                    {"amount": to_stripe(request.amount_minor, request.currency), "description": request.reason[:500],
                     "metadata": {"reversal_id": str(request.reversal_id)}},
                    {"idempotency_key": str(request.reversal_id)},
                )  # fmt: skip
        except stripe.InvalidRequestError as error:
            return _failed(error)
        return PayoutOutcome(state="success", ref=made.id)

    async def _reversal(self, transfer: str, reversal_id: UUID) -> str | None:
        page = await self._api.v1.transfers.reversals.list_async(transfer, {"limit": 100})
        async for found in page.auto_paging_iter():
            if ours(found.to_dict().get("metadata"), "reversal_id") == reversal_id:
                return found.id
        return None


def _failed(error: stripe.StripeError) -> PayoutOutcome:
    return PayoutOutcome(state="failed", error=error.user_message or "Stripe refuses this transfer.")

"""The port to payment gateways: what the kernel asks of one, and what it hears from one.

A gateway is asked at most once for the same payment: the payment's id is the idempotency key, so asking again returns what
happened the first time. Adapters keep no state of their own beyond their credentials, translate a provider's words into
`Outcome`, and raise `GatewayDown` where the provider does not answer. They never touch the store's orders.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable
from uuid import UUID

import msgspec

OutcomeState = Literal["pending", "success", "failed", "cancelled", "unknown"]


class About(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway as a checkout page shows it. `is_test`: no real money moves; `origins`: where it sends buyers and sellers.

    `unshown_methods`: those that no page offers; `phone_methods`: those that need the payer's number; `currencies`: the only ones it takes, empty for any. `keeps_list`: whether `settled` knows all that was taken; reconciliation
    can ask only those that do. `wants_email`: the buyer's address is sent along; `refunds_by_hand`: its refunds are `manual`.
    """

    code: str
    name: str
    description: str = ""
    methods: tuple[tuple[str, str], ...] = ()
    unshown_methods: tuple[str, ...] = ()
    needs_phone: bool = False
    phone_methods: tuple[str, ...] = ()
    is_test: bool = False
    is_offline: bool = False
    origins: tuple[str, ...] = ()
    currencies: tuple[str, ...] = ()
    keeps_list: bool = True
    wants_email: bool = False
    refunds_by_hand: bool = False


class ChargeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be paid, and where buyer and gateway find us again."""

    payment_id: UUID
    order_id: UUID
    order_number: str
    amount_minor: int
    currency: str
    method: str
    payer: str
    email: str
    description: str
    return_url: str
    webhook_url: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway says of a payment. `ref` is its own name for it.

    `pending`: not decided, perhaps the buyer goes to `redirect_url`; `unknown`: it has never heard of it. `amount_minor` and
    `currency` are what it took, checked against what it should have taken. `is_settling`: the buyer has done their part and the
    answer is on its way, so there is nowhere to send them any more.
    """

    state: OutcomeState
    payment_id: UUID | None = None
    ref: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    redirect_url: str | None = None
    instructions: str = ""
    error: str | None = None
    disputed: bool = False
    is_settling: bool = False


class RefundRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Money to be given back; `refund_id` is the idempotency key."""

    refund_id: UUID
    payment_id: UUID
    payment_ref: str
    amount_minor: int
    currency: str
    reason: str


class RefundOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a refund. `manual`: the gateway cannot do it; staff pay it back by hand and say so."""

    state: Literal["success", "pending", "failed", "manual"]
    ref: str | None = None
    error: str | None = None


class WebhookEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A genuine call of a gateway. `event_id` is the same whenever it repeats itself; None where it speaks of nothing of ours."""

    event_id: str
    outcome: Outcome | None = None
    refund_id: UUID | None = None
    refund: RefundOutcome | None = None


class SettledPayment(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a gateway's own list, for reconciliation."""

    ref: str
    payment_id: UUID | None
    amount_minor: int
    refunded_minor: int
    currency: str
    at: datetime


class PayoutRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Money for a seller; `payout_id` is the idempotency key, `account` the seller's account at the gateway."""

    payout_id: UUID
    account: str
    amount_minor: int
    currency: str
    description: str


class ReversalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Money of a payout to be fetched back, in whole or in part; `reversal_id` is the idempotency key."""

    reversal_id: UUID
    payout_ref: str
    amount_minor: int
    currency: str
    reason: str


class PayoutOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a payout or of its reversal. `failed` is final for that id: another attempt is a new payout."""

    state: Literal["success", "pending", "failed"]
    ref: str | None = None
    error: str | None = None


class OnboardingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A seller who wants to be paid out. `account`: theirs, where onboarding was begun before; `return_url`: where they come back
    to, done or not; `again_url`: where a link that has run out leads, which begins onboarding again."""

    seller_id: UUID
    email: str
    country: str
    account: str | None
    return_url: str
    again_url: str


class Onboarding(msgspec.Struct, frozen=True, kw_only=True):
    """A seller's account at the gateway, and where they tell it who they are. The link works once and for minutes."""

    account: str
    url: str


class PayoutAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A seller's account as the gateway sees it. `missing`: what it still wants to know, in its own words."""

    account: str
    can_be_paid: bool
    missing: tuple[str, ...] = ()


class Gateway(Protocol):
    """A way to take money and give it back."""

    @property
    def about(self) -> About:
        """How a page shows it."""
        ...

    async def charge(self, request: ChargeRequest) -> Outcome:
        """Begin, or continue, to take a payment. Repeating it for the same payment never takes money twice."""
        ...

    async def look_up(self, payment_id: UUID, ref: str | None) -> Outcome:
        """Return what became of a payment, also where we never heard the reply to `charge`."""
        ...

    async def cancel(self, payment_id: UUID, ref: str | None) -> Outcome:
        """Have a payment not happen any more. The outcome may still be `success`: it was too late."""
        ...

    async def refund(self, request: RefundRequest) -> RefundOutcome:
        """Give money back, in whole or in part."""
        ...

    def read_webhook(self, headers: Mapping[str, str], body: bytes, /) -> WebhookEvent:
        """Return what a call says, after checking that it is genuine. Raises `ForgedWebhook`. Headers are lower case."""
        ...

    def settled(self, since: datetime, /) -> AsyncIterator[SettledPayment]:
        """Yield every payment the gateway has taken since then, for reconciliation."""
        ...

    async def close(self) -> None:
        """Let go of connections. The gateway is not used after it."""
        ...


@runtime_checkable
class PayoutGateway(Protocol):
    """A gateway that can pay sellers out too, into accounts they open with it."""

    async def begin_onboarding(self, request: OnboardingRequest) -> Onboarding:
        """Open an account for a seller, or go on with theirs; return where they go now.

        Raises `GatewayDown`, `OnboardingRefused`.
        """
        ...

    async def look_up_account(self, account: str) -> PayoutAccount:
        """Return whether an account can be paid. Raises `GatewayDown`, `NoSuchAccount`."""
        ...

    async def pay_out(self, request: PayoutRequest) -> PayoutOutcome:
        """Send money to an account. Repeating it for the same payout never pays twice. Raises `GatewayDown`."""
        ...

    async def reverse_payout(self, request: ReversalRequest) -> PayoutOutcome:
        """Fetch money of a payout back. Repeating it for the same reversal never takes twice. Raises `GatewayDown`."""
        ...

"""What the rest of the product sees of payments, refunds, payouts and the books."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from tradepost.core.errors import Conflict, Invalid, NotFound, Refused, Unavailable

PaymentState = Literal["initiated", "success", "failed", "refunded", "partly_refunded", "cancelled"]


class NoSuchPayment(NotFound):
    """There is no such payment."""


class NoSuchAccount(NotFound):
    """The gateway does not know this account, or it is not ours to pay."""


@dataclass(eq=False)
class GatewayUnknown(Invalid):
    """This store does not take payments by “{gateway}”."""

    gateway: str
    field: str | None = "gateway"


@dataclass(eq=False)
class GatewayDown(Unavailable):
    """{gateway} does not answer at the moment; nothing was charged that we know of. Please look at your order in a minute."""

    gateway: str


@dataclass(eq=False)
class MethodUnknown(Invalid):
    """{gateway} does not take payments by “{method}”."""

    gateway: str
    method: str
    field: str | None = "method"


class PhoneNeeded(Invalid):
    """Please give the number of the telephone that pays."""

    field: str | None = "payer"


@dataclass(eq=False)
class OnboardingRefused(Conflict):
    """{gateway} opens no account for you: {reason}."""

    gateway: str
    reason: str


class ForgedWebhook(Refused):
    """The signature of this call is not genuine."""


@dataclass(eq=False)
class PaymentMismatch(Conflict):
    """The gateway speaks of {got}, the payment is over {expected}; nothing was booked."""

    expected: str
    got: str


@dataclass(eq=False)
class RefundTooLarge(Invalid):
    """At most {left} can still be refunded."""

    left: str
    field: str | None = "amount"


@dataclass(eq=False)
class PaidBackByItself(Conflict):
    """{gateway} pays this back by itself; there is nothing to do by hand."""

    gateway: str


class NothingToRefund(Invalid):
    """Please choose what to give back."""

    field: str | None = "lines"


@dataclass(eq=False)
class NothingToPayOut(Conflict):
    """There is nothing to pay out: the balance is {balance}."""

    balance: str


class PayoutUnderWay(Conflict):
    """A payout is already under way."""


class NoSuchPayout(NotFound):
    """There is no such payout."""


@dataclass(eq=False)
class PayoutSettled(Conflict):
    """This payout is “{state}” and is settled by its gateway, or has been already."""

    state: str


class NothingToFetchBack(Conflict):
    """Nothing is owed, or no gateway has paid anything that could be fetched back; the next sales make up for it."""


class PaymentView(msgspec.Struct, frozen=True, kw_only=True):
    """A payment as its order's page shows it. `redirect_url`: where the buyer finishes paying, while it is initiated."""

    id: UUID
    purpose: str
    gateway: str
    method: str
    amount_minor: int
    refunded_minor: int
    currency: str
    state: PaymentState
    redirect_url: str | None
    instructions: str
    error: str | None
    created_at: datetime
    settled_at: datetime | None


class RefundView(msgspec.Struct, frozen=True, kw_only=True):
    """Money on its way back, or back."""

    id: UUID
    payment_id: UUID
    amount_minor: int
    currency: str
    reason: str
    state: str
    created_at: datetime


class Payout(msgspec.Struct, frozen=True):
    """Money sent to a seller: requested, sent (its gateway has it), paid, or failed and the seller's again.

    `reversed_minor`: so much of it was fetched back, or is about to be. `gateway_ref`: its name there, or at the bank.
    """

    id: UUID
    seller_id: UUID
    seller_name: str
    amount_minor: int
    reversed_minor: int
    currency: str
    state: str
    gateway: str
    gateway_ref: str | None
    error: str | None
    created_at: datetime
    settled_at: datetime | None


class LockedPayment(msgspec.Struct, frozen=True):
    """A payment that nobody else can settle until the commit."""

    id: UUID
    order_id: UUID
    buyer_id: UUID | None
    session_hash: bytes | None
    purpose: str
    gateway: str
    method: str
    amount_minor: int
    refunded_minor: int
    currency: str
    state: PaymentState
    gateway_ref: str | None
    is_offline: bool
    redirect_url: str | None
    instructions: str
    created_at: datetime

    @property
    def left_minor(self) -> int:
        """What can still be given back."""
        return self.amount_minor - self.refunded_minor


class LockedRefund(msgspec.Struct, frozen=True):
    """A refund that nobody else can settle until the commit. `lines`: what it was made of (flows/refund)."""

    id: UUID
    payment_id: UUID
    order_id: UUID
    buyer_id: UUID | None
    amount_minor: int
    currency: str
    reason: str
    state: Literal["requested", "success", "failed"]
    gateway_ref: str | None
    lines: Any
    gateway: str
    payment_ref: str | None

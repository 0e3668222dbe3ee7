"""Facts about money."""

from uuid import UUID

import msgspec


class PaymentSucceeded(msgspec.Struct, frozen=True):
    """Money for an order has come."""

    payment_id: UUID
    order_id: UUID
    gateway: str
    amount_minor: int
    currency: str


class PaymentFailed(msgspec.Struct, frozen=True):
    """A payment was declined, cancelled or given up."""

    payment_id: UUID
    order_id: UUID
    gateway: str
    error: str


class LateMoneyReceived(msgspec.Struct, frozen=True):
    """Money came for an order that no longer wants it; it goes back."""

    payment_id: UUID
    order_id: UUID
    amount_minor: int
    currency: str


class PaymentDisputed(msgspec.Struct, frozen=True):
    """A buyer's bank asks for the money back; staff must answer the gateway."""

    payment_id: UUID
    order_id: UUID
    amount_minor: int
    currency: str


class PaymentMismatched(msgspec.Struct, frozen=True):
    """A gateway speaks of another amount or currency than we asked for; nothing was booked, staff must look."""

    payment_id: UUID
    order_id: UUID
    expected: str
    got: str


class RefundRequested(msgspec.Struct, frozen=True):
    """Money is to go back to a buyer."""

    refund_id: UUID
    payment_id: UUID
    order_id: UUID
    amount_minor: int
    currency: str


class RefundMade(msgspec.Struct, frozen=True):
    """Money went back to a buyer."""

    refund_id: UUID
    payment_id: UUID
    order_id: UUID
    amount_minor: int
    currency: str


class RefundFailed(msgspec.Struct, frozen=True):
    """A gateway will not give money back; staff must see to it."""

    refund_id: UUID
    payment_id: UUID
    order_id: UUID
    error: str


class PayoutFailed(msgspec.Struct, frozen=True):
    """A payout did not arrive, or came back; the money is the seller's again, with the store."""

    payout_id: UUID
    seller_id: UUID
    amount_minor: int
    currency: str
    error: str


class PayoutMade(msgspec.Struct, frozen=True):
    """A seller was paid."""

    payout_id: UUID
    seller_id: UUID
    amount_minor: int
    currency: str

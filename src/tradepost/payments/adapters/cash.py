"""Cash on delivery: the order goes ahead at once, the money is taken at the door and counted when the goods are handed over."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from uuid import UUID

from tradepost.payments.ports import (
    About,
    ChargeRequest,
    Outcome,
    RefundOutcome,
    RefundRequest,
    SettledPayment,
    WebhookEvent,
)
from tradepost.payments.types import ForgedWebhook


class CashGateway:
    """Nobody to ask: a payment stays open until the goods are handed over, and a refund is paid by hand."""

    def __init__(self, instructions: str = "Please have the amount ready when your order is handed over.") -> None:
        self._instructions = instructions

    @property
    def about(self) -> About:
        """How a page shows it."""
        return About(
            code="cash",
            name="Cash on delivery",
            description="You pay when you get it.",
            is_offline=True,
            keeps_list=False,
            refunds_by_hand=True,
        )

    async def charge(self, request: ChargeRequest) -> Outcome:
        """Accept the order; no money moves yet."""
        return Outcome(
            state="pending", payment_id=request.payment_id, ref=str(request.payment_id), instructions=self._instructions
        )

    async def look_up(self, payment_id: UUID, ref: str | None) -> Outcome:
        """Return that the money is still to come."""
        return Outcome(state="pending", payment_id=payment_id, ref=ref)

    async def cancel(self, payment_id: UUID, ref: str | None) -> Outcome:
        """Nobody will come for the money."""
        return Outcome(state="cancelled", payment_id=payment_id, ref=ref)

    async def refund(self, request: RefundRequest) -> RefundOutcome:
        """Have staff hand the money back."""
        return RefundOutcome(state="manual", ref=str(request.refund_id))

    def read_webhook(self, _headers: Mapping[str, str], _body: bytes, /) -> WebhookEvent:
        """Cash calls nobody."""
        raise ForgedWebhook

    async def settled(self, _since: datetime, /) -> AsyncIterator[SettledPayment]:
        """Cash keeps no list of its own."""
        nothing: tuple[SettledPayment, ...] = ()
        for payment in nothing:
            yield payment

    async def close(self) -> None:
        """Nothing to let go of."""

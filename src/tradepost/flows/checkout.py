"""From cart to order: prepare, charge, finalise (docs/decisions/0006-three-phase-checkout.md)."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.accounts.types import Caller
from tradepost.core.postal import Address
from tradepost.flows.store import Store


class CheckoutForm(msgspec.Struct, frozen=True, kw_only=True):
    """A buyer's order. `expected_total_minor`: the total the buyer saw; another one is told and asked, never charged.

    `method` and `payer` are the gateway's: Paynow takes web, ecocash or onemoney and a telephone number; the sandbox takes
    page (the default), approve, decline, delay or lost.
    """

    gateway: Annotated[str, Meta(max_length=40)]
    method: Annotated[str, Meta(max_length=40)] = ""
    payer: Annotated[str, Meta(max_length=120)] = ""
    shipping: Annotated[str, Meta(max_length=60)] = ""
    shipping_address: Address | None = None
    billing_address: Address | None = None
    email: Annotated[str, Meta(max_length=255)] = ""
    points: Annotated[int, Meta(ge=0, le=10**9)] = 0
    slot_id: UUID | None = None
    note: Annotated[str, Meta(max_length=2000)] = ""
    expected_total_minor: int | None = None


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """An order that exists. `redirect_url`: where the buyer pays; None when nothing is left to do there."""

    order_id: UUID
    number: str
    state: str
    payment_id: UUID
    payment_state: str
    total_minor: int
    currency: str
    redirect_url: str | None = None
    instructions: str = ""

    @property
    def path(self) -> str:
        """The address of the order's page."""
        return f"/orders/{self.number}"


async def checkout(store: Store, caller: Caller, form: CheckoutForm, idempotency_key: str) -> Placed:
    """Order the caller's cart and charge for it. The same key and form again return the same order.

    Raises `CartEmpty`, `TotalChanged`, `PricesChanged`, `SoldOut`, `EmailNeeded`, `AddressIncomplete`, `NoDelivery`,
    `SlotFull`, promo and points errors, `GatewayUnknown`, `KeyReused`, `KeyInFlight`. A declined card is no error: the
    order comes back with payment_state failed.
    """
    raise NotImplementedError


async def pay_again(
    store: Store, caller: Caller, order_id: UUID, gateway: str, method: str = "", payer: str = ""
) -> Placed:
    """Start another payment for an order that is still waiting for one. Raises `NoSuchOrder`, `NothingToPay`."""
    raise NotImplementedError

"""What a cart costs, explained line by line: goods, promo codes, points, delivery for each seller, tax, commission."""

from decimal import Decimal
from uuid import UUID

import msgspec

from tradepost.accounts.types import Caller
from tradepost.cart.types import CartView
from tradepost.core.postal import Address
from tradepost.flows.store import Store
from tradepost.orders.types import ExplanationLine


class CheckoutChoice(msgspec.Struct, frozen=True, kw_only=True):
    """What a buyer has chosen so far. `shipping` empty: the first way that delivers there."""

    shipping: str = ""
    shipping_address: Address | None = None
    points: int = 0
    slot_id: UUID | None = None


class QuotedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A cart line with what it comes to. `total_minor` = gross − discount − points + tax."""

    line_no: int
    seller_id: UUID
    title: str
    quantity: Decimal
    unit_price_minor: int
    gross_minor: int
    discount_minor: int
    points_minor: int
    tax_minor: int
    included_tax_minor: int
    total_minor: int
    tax_name: str
    tax_percent: Decimal


class ShippingChoice(msgspec.Struct, frozen=True, kw_only=True):
    """A way of delivery and what it costs for this cart, all sellers together."""

    code: str
    name: str
    description: str
    price_minor: int
    pickup: bool
    is_chosen: bool


class SlotChoice(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery window that still has room, in the store's own time. `label`: “Sat 21 Nov, 10:00–12:00”."""

    id: UUID
    label: str
    left: int
    is_chosen: bool


class GatewayChoice(msgspec.Struct, frozen=True, kw_only=True):
    """A way to pay. `methods`: what to ask for next, e.g. web and ecocash; `needs_phone`: the payer's number is asked for."""

    code: str
    name: str
    description: str
    methods: tuple[tuple[str, str], ...]
    needs_phone: bool
    is_test: bool


class PromoOnCart(msgspec.Struct, frozen=True, kw_only=True):
    """A promo code on the cart: what it takes off, or why it takes nothing off now."""

    code: str
    description: str
    discount_minor: int
    problem: str | None


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """The price of a cart and what may still be chosen. `explanation` adds up to `total_minor`."""

    cart: CartView
    currency: str
    tax_inclusive: bool
    lines: tuple[QuotedLine, ...]
    subtotal_minor: int
    discount_minor: int
    points_minor: int
    shipping_minor: int
    tax_minor: int
    included_tax_minor: int
    total_minor: int
    explanation: tuple[ExplanationLine, ...]
    promos: tuple[PromoOnCart, ...]
    shipping: tuple[ShippingChoice, ...]
    slots: tuple[SlotChoice, ...]
    gateways: tuple[GatewayChoice, ...]
    points_available: int
    points_usable: int
    points_spent: int
    points_earned: int
    needs_address: bool


async def quote_cart(store: Store, caller: Caller, choice: CheckoutChoice) -> Quote:
    """Return what the caller's cart costs with these choices. Raises `NoDelivery`, `ShippingUnknown`, `NotEnoughPoints`."""
    raise NotImplementedError

"""What the rest of the product sees of a cart."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import msgspec

from tradepost.core.errors import Conflict, Invalid, NotFound, Refused

MOST_LINES = 100

StockState = Literal["available", "backorder", "short", "gone"]


def cart_key(user_id: UUID) -> str:
    """Return the cache's key of a person's cart, as documented."""
    return f"cart:{user_id}"


class NoCart(Refused):
    """A cart needs somebody it belongs to: a session cookie or a signed-in person."""


class NotForSale(NotFound):
    """This is not for sale here, or not any more."""


class NoSuchLine(NotFound):
    """That line is not in the cart any more."""


class OwnGoods(Refused):
    """These are your own goods."""


class CartChanged(Conflict):
    """The cart was changed, or ordered, at the same moment; please look at it again."""


@dataclass(eq=False)
class BadQuantity(Invalid):
    """{title} is sold in steps of {step} {unit}."""

    title: str
    step: str
    unit: str
    field: str | None = "quantity"


@dataclass(eq=False)
class NotEnough(Conflict):
    """Only {available} {unit} of {title} can be had at the moment."""

    title: str
    available: str
    unit: str
    field: str | None = "quantity"


@dataclass(eq=False)
class CartFull(Conflict):
    """A cart holds at most {most} different things."""

    most: int


@dataclass(eq=False)
class BadConfiguration(Invalid):
    """{problem}"""

    problem: str
    field: str | None = None


class CartLine(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in a cart, with everything a page shows of it. Money in minor units.

    `unit_price_minor` is today's price; `price_when_added_minor` the one it had when it was put in. `available` None: stock
    is not tracked. `stock`: available; backorder (can be had, but later); short (less than wanted); gone (not for sale now).
    """

    line_no: int
    variant_id: UUID
    listing_id: UUID
    path: str
    title: str
    kind: str
    category_id: UUID
    image_id: UUID | None
    options: dict[str, str]
    sku: str | None
    configuration: dict[str, Any]
    unit: str
    unit_short: str
    sale_step: Decimal
    quantity: Decimal
    unit_price_minor: int
    price_when_added_minor: int
    compare_at_minor: int | None
    price_changed: bool
    total_minor: int
    available: Decimal | None
    stock: StockState
    expected_on: date | None
    seller_id: UUID

    @property
    def label(self) -> str:
        """The chosen options in words: “blue, M”."""
        return ", ".join(str(v) for v in self.options.values())

    @property
    def can_be_bought(self) -> bool:
        """Whether the whole quantity can be had."""
        return self.stock in {"available", "backorder"}


class SellerGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of one seller, who ships them together."""

    seller_id: UUID
    seller_name: str
    seller_username: str
    lines: tuple[CartLine, ...]
    subtotal_minor: int


class CartItem(msgspec.Struct, frozen=True):
    """A line of a cart as the cache holds it; amounts in the unit people say."""

    product_id: UUID
    quantity: int | float
    unit_price: float
    subtotal: float


class CartCopy(msgspec.Struct, frozen=True, kw_only=True):
    """A person's cart as the cache holds it, in the documented form; `checked_at` is when it was read."""

    user_id: UUID
    items: tuple[CartItem, ...]
    total_amount: float
    updated_at: datetime | None
    checked_at: datetime


class CartView(msgspec.Struct, frozen=True, kw_only=True):
    """A whole cart. `id` is None as long as nothing was ever put in. `subtotal_minor` counts what can be bought."""

    id: UUID | None
    currency: str
    groups: tuple[SellerGroup, ...]
    line_count: int
    subtotal_minor: int
    promo_codes: tuple[str, ...]
    slot_id: UUID | None
    has_changed_prices: bool
    has_problems: bool

    @property
    def lines(self) -> tuple[CartLine, ...]:
        """Every line, seller by seller."""
        return tuple(line for group in self.groups for line in group.lines)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it."""
        return self.line_count == 0

"""What the assistant's tools return: facts ready to be said. Amounts carry the words for them, so that nobody computes with text."""

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec


class Amount(msgspec.Struct, frozen=True):
    """Money in minor units, and as it is written in this store: “$46.75”."""

    minor: int
    currency: str
    text: str


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A listing in a list. `price_to` where its options differ in price; `away` in kilometres."""

    listing_id: UUID
    title: str
    path: str
    price: Amount | None = None
    price_to: Amount | None = None
    in_stock: bool
    condition: str = ""
    place: str = ""
    away_km: float | None = None
    rating: float | None = None
    reviews: int = 0
    image_id: UUID | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a search found: its first listings, and how many there are at least. `corrected`: the words that were meant."""

    items: tuple[Hit, ...]
    at_least: int
    is_more: bool
    corrected: str | None = None
    is_relaxed: bool = False
    link: str = ""


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which a listing can be bought. `available` None: it is not counted."""

    variant_id: UUID
    sku: str | None = None
    options: dict[str, str]
    price: Amount
    in_stock: bool
    available: int | float | None = None
    unit: str = ""
    step: Decimal = Decimal(1)


class ListingFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of a listing; `attributes` by their label."""

    listing_id: UUID
    title: str
    path: str
    kind: str
    brand: str = ""
    condition: str = ""
    description: str = ""
    place: str = ""
    seller: str = ""
    category: str = ""
    price: Amount | None = None
    price_to: Amount | None = None
    in_stock: bool
    rating: float | None = None
    reviews: int = 0
    image_id: UUID | None = None
    attributes: dict[str, str] = {}
    choices: dict[str, tuple[str, ...]] = {}
    options: tuple[Option, ...] = ()
    option_count: int = 0
    option_count_in_stock: int = 0
    is_made_to_order: bool = False
    outside_url: str | None = None

    @property
    def options_in_stock(self) -> tuple[Option, ...]:
        """The options that can be had now."""
        return tuple(option for option in self.options if option.in_stock)


class Difference(msgspec.Struct, frozen=True):
    """A property in which listings differ, with what each of them has; "" where it has nothing."""

    name: str
    values: tuple[str, ...]


class Comparison(msgspec.Struct, frozen=True):
    """Listings side by side."""

    listings: tuple[ListingFacts, ...]
    differences: tuple[Difference, ...]


class CategoryFacts(msgspec.Struct, frozen=True):
    """A category that can be looked through."""

    slug: str
    name: str
    description: str
    link: str


class Categories(msgspec.Struct, frozen=True):
    """Categories, in the store's order; `of` is the one they lie in."""

    items: tuple[CategoryFacts, ...]
    of: str = ""


class CartItem(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the cart. `stock`: available, backorder, short or gone."""

    line_no: int
    listing_id: UUID
    title: str
    options: dict[str, str]
    quantity: int | float
    unit: str
    unit_price: Amount
    total: Amount
    stock: str
    price_changed: bool = False


class CartFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The person's cart at today's prices. `discount`: what promo codes take off."""

    items: tuple[CartItem, ...]
    line_count: int
    subtotal: Amount
    promo_codes: tuple[str, ...] = ()
    discount: Amount | None = None
    link: str = "/cart"


class CheckoutStart(msgspec.Struct, frozen=True, kw_only=True):
    """Where an order is placed, by the person, and what it comes to as things stand. `ways`: of delivery, with their price."""

    link: str
    cart: CartFacts
    shipping: Amount
    tax: Amount
    total: Amount
    ways: tuple[str, ...] = ()
    payment: tuple[str, ...] = ()


class OrderBrief(msgspec.Struct, frozen=True, kw_only=True):
    """An order in a list."""

    number: str
    state: str
    placed_on: date
    total: Amount
    titles: tuple[str, ...]
    is_open: bool
    link: str


class Orders(msgspec.Struct, frozen=True):
    """The person's own orders, the newest first."""

    items: tuple[OrderBrief, ...]


class OrderedItem(msgspec.Struct, frozen=True, kw_only=True):
    """A line of an order."""

    line_no: int
    listing_id: UUID
    variant_id: UUID
    title: str
    sku: str | None
    options: dict[str, str]
    quantity: int | float
    price: Amount
    returned: int | float = 0


class OrderFacts(msgspec.Struct, frozen=True, kw_only=True):
    """An order as its buyer sees it. `can`: what may be asked of it now (cancel, return, exchange, change_items, change_address …)."""

    number: str
    state: str
    state_code: str
    placed_on: date
    total: Amount
    refunded: Amount | None = None
    items: tuple[OrderedItem, ...]
    address: tuple[str, ...] = ()
    payment: str = ""
    delivery: str = ""
    window: str = ""
    tracking: tuple[str, ...] = ()
    due_on: date | None = None
    can: tuple[str, ...] = ()
    link: str = ""
    note: str = ""


class Windows(msgspec.Struct, frozen=True):
    """Delivery windows with room, the earliest first."""

    items: tuple["Window", ...]
    delivers: bool = True


class Window(msgspec.Struct, frozen=True):
    """A delivery window: “Sat 21 Nov, 10:00–12:00”, and for how many orders it has room."""

    slot_id: UUID
    label: str
    on: date
    left: int


class AskedOption(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is asked of whoever orders a thing that is made for them; `choices` with what each adds to the price."""

    title: str
    is_required: bool
    choices: tuple[str, ...] = ()
    key: str = ""


class MadeToOrder(msgspec.Struct, frozen=True):
    """What may be chosen of a thing that is made to order."""

    listing_id: UUID
    title: str
    path: str
    questions: tuple[AskedOption, ...]


class AlertFacts(msgspec.Struct, frozen=True):
    """A search that is kept, and how much of it is new; `is_more`: more than that."""

    alert_id: UUID
    name: str
    new: int = 0
    is_more: bool = False


class Alerts(msgspec.Struct, frozen=True):
    """The person's kept searches."""

    items: tuple[AlertFacts, ...]
    link: str = "/me/searches"


class Fact(msgspec.Struct, frozen=True):
    """Something about the store: the topic and what there is to say of it."""

    topic: str
    text: str
    link: str = ""


class StoreFacts(msgspec.Struct, frozen=True):
    """What the store says of itself."""

    store: str
    items: tuple[Fact, ...]


class AddressSaved(msgspec.Struct, frozen=True):
    """The address that orders go to from now on."""

    lines: tuple[str, ...]


def as_source(result: msgspec.Struct) -> dict[str, Any]:
    """Return a result as JSON has it."""
    found: dict[str, Any] = msgspec.to_builtins(result)
    return found

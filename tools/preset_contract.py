"""The shape of a preset's files, as Structs that refuse what they do not know.

Decimals stay text here: `check_preset.py` reads them, so that it can name the listing a bad one belongs to.
"""

from typing import Any, Literal

import msgspec

Permission = Literal[
    "buy", "sell", "review", "see_all_orders", "move_orders", "refund_orders", "manage_catalog", "manage_people",
    "manage_store", "moderate", "deliver", "see_reports", "staff",
]  # fmt: skip
Effect = Literal[
    "sell_stock", "release_stock", "restock", "refund_payment", "hold_money", "release_money", "open_fulfilments",
    "complete_fulfilments", "earn_points", "reverse_points", "notify_buyer", "notify_seller",
]  # fmt: skip
Kind = Literal["product", "service", "supplier_product"]


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A piece of a preset; an unknown key is an error."""


class Store(Shape, frozen=True, kw_only=True):
    code: str
    name: str
    tagline: str
    description: str
    currency: str
    currencies: list[str]
    locale: str
    timezone: str
    country: str
    place: str
    order_prefix: str
    search_language: str
    support_email: str


class Features(Shape, frozen=True, kw_only=True):
    guest_checkout: bool
    selling: Literal["everyone", "sellers", "staff", "nobody"]
    reviews: bool
    wishlists: bool
    distance: bool
    delivery: bool
    outside_listings: bool
    feeds: bool


class Copy(Shape, frozen=True, kw_only=True):
    hero_title: str
    hero_text: str
    hero_action: str
    search_placeholder: str
    empty_cart: str
    empty_results: str
    sell_title: str
    sell_text: str
    order_thanks: str
    footer_text: str
    sign_up_title: str
    sign_up_text: str


class Role(Shape, frozen=True, kw_only=True):
    code: str
    name: str
    description: str
    permissions: list[Permission]
    default: bool = False
    self_service: bool = False


class Feed(Shape, frozen=True, kw_only=True):
    code: str
    name: str
    description: str


class Condition(Shape, frozen=True, kw_only=True):
    code: str
    name: str
    position: int


class Unit(Shape, frozen=True, kw_only=True):
    code: str
    name: str
    short: str
    step: str


class Category(Shape, frozen=True, kw_only=True):
    slug: str
    name: str
    description: str
    position: int
    emoji: str
    parent: str | None = None


class Field(Shape, frozen=True, kw_only=True):
    key: str
    label: str
    type: Literal["text", "number", "boolean", "choice"]
    choices: list[str] = []
    unit: str | None = None
    required: bool = False
    filter: bool = False


class ListingKind(Shape, frozen=True, kw_only=True):
    code: Kind
    name: str
    plural: str
    default_unit: str
    fields: list[Field] = []


class HomeSection(Shape, frozen=True, kw_only=True):
    kind: Literal["hero", "categories", "listings", "story"]
    title: str = ""
    text: str = ""
    sort: Literal["newest", "popular", "nearest", "price"] | None = None
    feed: str | None = None
    category: str | None = None
    kind_code: Kind | None = None
    limit: int | None = None


class TaxRate(Shape, frozen=True, kw_only=True):
    name: str
    percent: str
    category: str | None = None
    country: str | None = None


class Tax(Shape, frozen=True, kw_only=True):
    inclusive: bool
    rates: list[TaxRate]


class Shipping(Shape, frozen=True, kw_only=True):
    code: str
    name: str
    description: str
    price: str
    free_from: str | None = None
    countries: list[str] = []
    pickup: bool = False


class Payments(Shape, frozen=True, kw_only=True):
    gateways: list[Literal["sandbox", "cash", "stripe", "paynow"]]
    commission: str


class SignIn(Shape, frozen=True, kw_only=True):
    username: str
    role: str
    note: str


class Sample(Shape, frozen=True, kw_only=True):
    password: str
    sign_ins: list[SignIn]


class StoreFile(Shape, frozen=True, kw_only=True):
    """store.toml."""

    store: Store
    features: Features
    copy: Copy
    roles: list[Role]
    feeds: list[Feed]
    units: list[Unit]
    categories: list[Category]
    kinds: list[ListingKind]
    home: list[HomeSection]
    tax: Tax
    shipping: list[Shipping]
    payments: Payments
    sample: Sample
    conditions: list[Condition] = []


class State(Shape, frozen=True, kw_only=True):
    code: str
    name: str
    documented: str
    tone: Literal["info", "good", "warn", "bad", "idle"]
    final: bool
    open: bool


class Transition(Shape, frozen=True, kw_only=True, rename={"from_": "from"}):
    from_: str
    to: str
    by: list[Literal["system", "buyer", "seller", "staff", "rider"]]
    label: str
    effects: list[Effect]
    timer: str | None = None


class Process(Shape, frozen=True, kw_only=True):
    """processes/<name>.toml."""

    name: str
    kind: str
    initial: str
    states: list[State]
    transitions: list[Transition]


class Person(Shape, frozen=True, kw_only=True):
    """A line of sample/people.jsonl."""

    username: str
    email: str
    first_name: str
    last_name: str
    display_name: str
    bio: str
    business_name: str | None
    service_type: str | None
    place: str
    roles: list[str]


class Variant(Shape, frozen=True, kw_only=True):
    sku: str | None
    options: dict[str, str]
    unit: str
    sale_step: str
    on_hand: str | None
    price: str
    compare_at: str | None


class OutsideSeller(Shape, frozen=True, kw_only=True):
    name: str
    id: str


class Listing(Shape, frozen=True, kw_only=True):
    """A line of sample/listings.jsonl."""

    key: str
    seller: str | None = None
    source: str | None = None
    external_id: str | None = None
    outside_url: str | None = None
    outside_seller: OutsideSeller | None = None
    kind: Kind
    feed: str
    title: str
    description: str
    category: str
    brand: str | None = None
    condition: str | None = None
    place: str
    attributes: dict[str, Any]
    is_customizable: bool
    configuration_schema: dict[str, Any] | None = None
    images: list[str]
    published_days_ago: float
    views: int
    likes: int
    variants: list[Variant]


class Review(Shape, frozen=True, kw_only=True):
    """A line of sample/reviews.jsonl."""

    listing: str
    by: str
    rating: int
    comment: str
    days_ago: float
    reply: str | None


PLACE_COLUMNS = ["country", "region", "district", "name", "lat", "lon", "population"]

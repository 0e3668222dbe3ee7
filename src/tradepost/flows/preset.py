"""A store's settings as its preset writes them (`presets/<store>/store.toml` and `processes/*.toml`).

Owns the shape of those files; an unknown key is an error that names the file and line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from tradepost.core.errors import NotFound
from tradepost.core.settings import parse
from tradepost.orders.processes import Deposit, Takes
from tradepost.sources.types import Kind as SourceKind
from tradepost.sources.types import Reading

PRESETS = Path(__file__).parents[1] / "presets"


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Identity(_Part, frozen=True, kw_only=True):
    """Who the store is and where it trades."""

    code: str
    name: str
    tagline: str
    description: str
    currency: str
    currencies: tuple[str, ...]
    locale: str
    timezone: str
    country: str
    place: str
    order_prefix: str
    search_language: str = "english"
    support_email: str = ""


class Features(_Part, frozen=True, kw_only=True):
    """What the store lets people do."""

    guest_checkout: bool = True
    selling: Literal["everyone", "sellers", "staff", "nobody"] = "sellers"
    reviews: bool = True
    wishlists: bool = True
    distance: bool = True
    delivery: bool = True
    outside_listings: bool = False
    feeds: bool = False
    messages: bool = True
    offers: bool = False
    shows: bool = False


class Copy(_Part, frozen=True, kw_only=True):
    """The store's own voice."""

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


class Role(_Part, frozen=True, kw_only=True):
    """A role and its permissions."""

    code: str
    name: str
    description: str = ""
    permissions: tuple[str, ...]
    default: bool = False
    self_service: bool = False


class Named(_Part, frozen=True, kw_only=True):
    """A feed or a condition."""

    code: str
    name: str
    description: str = ""
    position: int = 0


class Unit(_Part, frozen=True, kw_only=True):
    """A unit that goods are sold by."""

    code: str
    name: str
    short: str
    step: Decimal = Decimal(1)


class Category(_Part, frozen=True, kw_only=True):
    """A category of the tree; `parent` is a slug."""

    slug: str
    name: str
    description: str = ""
    parent: str | None = None
    emoji: str = ""
    position: int = 0


class Field(_Part, frozen=True, kw_only=True):
    """An attribute that listings of a kind have: all of them, or those in these `categories` and below."""

    key: str
    label: str
    categories: tuple[str, ...] = ()
    type: Literal["text", "number", "boolean", "choice"]
    choices: tuple[str, ...] = ()
    unit: str = ""
    required: bool = False
    filter: bool = False


class Kind(_Part, frozen=True, kw_only=True):
    """A kind of listing with its fields."""

    code: Literal["product", "service", "supplier_product"]
    name: str
    plural: str
    default_unit: str
    fields: tuple[Field, ...] = ()


class HomeSection(_Part, frozen=True, kw_only=True):
    """One band of the home page."""

    kind: Literal["hero", "categories", "listings", "story"]
    title: str = ""
    text: str = ""
    sort: Literal["newest", "popular", "nearest", "price"] = "newest"
    feed: str | None = None
    category: str | None = None
    kind_code: str | None = None
    limit: int = 12


class TaxRate(_Part, frozen=True, kw_only=True):
    """A rate for a category's subtree, a country, both or everything; the most specific wins."""

    name: str
    percent: Decimal
    category: str | None = None
    country: str | None = None


class Tax(_Part, frozen=True, kw_only=True):
    """Whether prices include tax, and at which rates."""

    inclusive: bool = True
    rates: tuple[TaxRate, ...] = ()


class ShippingOption(_Part, frozen=True, kw_only=True):
    """A way of delivery; the price is per seller. `by_distance`: that of the zone of `[delivery]` the address is in, once known."""

    code: str
    name: str
    description: str = ""
    price: Decimal = Decimal(0)
    free_from: Decimal | None = None
    countries: tuple[str, ...] = ()
    pickup: bool = False
    by_distance: bool = False


class WeekWindow(_Part, frozen=True, kw_only=True, rename={"from_time": "from", "to_time": "to"}):
    """A window in which orders are brought, on these days of the week ("monday")."""

    days: tuple[Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"], ...]
    from_time: time
    to_time: time
    capacity: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class DeliveryZone(_Part, frozen=True, kw_only=True):
    """What delivery costs up to so many kilometres from the store's place; free from a value of the goods on."""

    name: str
    up_to_km: Decimal
    fee: Decimal
    free_from: Decimal | None = None


class Delivery(_Part, frozen=True, kw_only=True):
    """The delivery plan a store begins with. `cut_off`: a day's windows close at this time of the day before."""

    lead_hours: Annotated[int, msgspec.Meta(ge=0, le=2160)] = 0
    cut_off: time | None = None
    days_ahead: Annotated[int, msgspec.Meta(ge=1, le=90)] = 14
    windows: tuple[WeekWindow, ...] = ()
    zones: tuple[DeliveryZone, ...] = ()


class Payments(_Part, frozen=True, kw_only=True):
    """Which gateways the store offers, in order, what the platform keeps, and when sellers are paid out, from which sum on."""

    gateways: tuple[str, ...] = ("sandbox",)
    commission: Decimal = Decimal(0)
    payout_schedule: Literal["off", "daily", "weekly", "monthly"] = "weekly"
    payout_minimum: Decimal = Decimal(10)


class Loyalty(_Part, frozen=True, kw_only=True):
    """Points earned for each whole unit of currency paid, and what a point is worth at checkout."""

    points_per_unit: Decimal = Decimal(0)
    value_per_point: Decimal = Decimal(0)
    expires_after_days: int = 365


class Security(_Part, frozen=True, kw_only=True):
    """Whether staff need a second step at sign-in, and how much somebody may offer before the store knows them; 0: no limit.

    Unconfirmed is who proved neither an e-mail address nor a telephone number, unverified whose papers nobody accepted.
    """

    second_step: Literal["optional", "staff"] = "optional"
    listings_unconfirmed: Annotated[int, msgspec.Meta(ge=0)] = 0
    listings_unverified: Annotated[int, msgspec.Meta(ge=0)] = 0
    price_unverified: Decimal = Decimal(0)

    @property
    def has_limits(self) -> bool:
        """Whether it matters at all how well a seller is known."""
        return bool(self.listings_unconfirmed or self.listings_unverified or self.price_unverified)


class Source(_Part, frozen=True, kw_only=True):
    """An outside market, and how it is read: `sample:…` is an address in the preset's own `sample` folder."""

    code: str
    name: str
    kind: SourceKind
    url: str = ""
    description: str = ""
    schedule: str = ""
    pause_s: float = 2.0
    terms: str = ""
    settings: Reading = Reading()


class SignIn(_Part, frozen=True, kw_only=True):
    """A sample person that `demo` names in its table."""

    username: str
    role: str
    note: str = ""


class SamplePromo(_Part, frozen=True, kw_only=True):
    """A promo code of the sample data."""

    code: str
    kind: Literal["percent", "fixed"]
    amount: Decimal
    valid_days: int = 365
    usage_limit: int | None = None


class Sample(_Part, frozen=True, kw_only=True):
    """Sample people's password, and whom to introduce."""

    password: str = ""
    sign_ins: tuple[SignIn, ...] = ()
    promo_codes: tuple[SamplePromo, ...] = ()


class StoreSettings(_Part, frozen=True, kw_only=True):
    """All of `store.toml`."""

    store: Identity
    features: Features
    copy: Copy
    roles: tuple[Role, ...]
    feeds: tuple[Named, ...]
    conditions: tuple[Named, ...] = ()
    units: tuple[Unit, ...]
    categories: tuple[Category, ...]
    kinds: tuple[Kind, ...]
    home: tuple[HomeSection, ...]
    tax: Tax = Tax()
    shipping: tuple[ShippingOption, ...] = ()
    delivery: Delivery | None = None
    payments: Payments = Payments()
    loyalty: Loyalty | None = None
    security: Security = Security()
    sources: tuple[Source, ...] = ()
    sample: Sample = Sample()


class State(_Part, frozen=True, kw_only=True):
    """A state of a process; `documented` is its spelling in the store's document."""

    code: str
    name: str
    documented: str = ""
    tone: Literal["info", "good", "warn", "bad", "idle"] = "info"
    final: bool = False
    open: bool = True


class Transition(_Part, frozen=True, kw_only=True, rename={"from_state": "from", "to_state": "to"}):
    """A move: who may make it, what it does, and after what time (ISO 8601 duration) the system makes it."""

    from_state: str
    to_state: str
    by: tuple[Literal["system", "buyer", "seller", "staff", "rider"], ...]
    label: str = ""
    effects: tuple[str, ...] = ()
    timer: timedelta | None = None


class Process(_Part, frozen=True, kw_only=True):
    """All of a process file. `takes`: which orders take it instead of the usual one; `deposit`: what of them is paid first."""

    name: str
    kind: str
    initial: str
    takes: Takes | None = None
    deposit: Deposit | None = None
    states: tuple[State, ...]
    transitions: tuple[Transition, ...]


@dataclass(eq=False)
class NoSuchStore(NotFound):
    """There is no store “{name}”; there are {known}."""

    name: str
    known: str


def find_presets(codes: Sequence[str], own: str = "") -> dict[str, Path]:
    """Return the preset folders of stores by code: from the folder `own` where it has one, else from the package.

    Raises `NoSuchStore`.
    """
    places = [PRESETS, *([Path(own)] if own else [])]
    known = {path.parent.name: path.parent.resolve() for place in places for path in sorted(place.glob("*/store.toml"))}
    for code in codes:
        if code not in known:
            raise NoSuchStore(code, ", ".join(sorted(known)))
    return {code: known[code] for code in codes}


def load_preset(folder: Path, overrides: dict[str, Any] | None = None) -> StoreSettings:
    """Read a store's settings. Raises `BadSettings`."""
    path = folder / "store.toml"
    return parse(path.read_text("utf-8"), str(path), StoreSettings, overrides)


def load_processes(folder: Path) -> list[Process]:
    """Read every process of a preset, by file name. Raises `BadSettings`."""
    return [parse(p.read_text("utf-8"), str(p), Process) for p in sorted((folder / "processes").glob("*.toml"))]

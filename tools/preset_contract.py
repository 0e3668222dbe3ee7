"""The shape of a preset's sample files, what the checks find, and the values a preset may choose from.

`store.toml` and the process files have their shape in `tradepost.flows.preset`. Decimals of the sample stay text here, so that
a check can name the listing a bad one belongs to.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

import msgspec

from tradepost.flows.preset import Process, StoreSettings

PERMISSIONS = {
    "buy", "sell", "review", "see_all_orders", "move_orders", "refund_orders", "manage_catalog", "manage_people",
    "manage_store", "moderate", "deliver", "see_reports", "staff",
}  # fmt: skip
GATEWAYS = {"sandbox", "cash", "stripe", "paynow"}
EXPONENTS = {"JPY": 0, "KRW": 0, "TND": 3, "BHD": 3, "KWD": 3}
PLACE_COLUMNS = ["country", "region", "district", "name", "lat", "lon", "population"]


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A piece of the sample; an unknown key is an error."""


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
    kind: str
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


@dataclass
class Findings:
    """What is wrong (problems) and what is merely doubtful (hints)."""

    problems: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    def need(self, true: object, problem: str) -> bool:
        """Record the problem unless the first argument is true; say whether it was."""
        if not true:
            self.problems.append(problem)
        return bool(true)

    def prefer(self, true: object, hint: str) -> None:
        """Record a hint unless the first argument is true."""
        if not true:
            self.hints.append(hint)

    def unique(self, values: Iterable[str], what: str) -> None:
        """Record every value that comes twice."""
        for value, times in Counter(values).items():
            self.need(times == 1, f"{what} {value!r} comes {times} times")


class PricePoint(Shape, frozen=True, kw_only=True):
    """A line of sample/price_history.jsonl; a listing's lines run from the oldest to the newest."""

    listing: str
    days_ago: float
    price: str
    availability: Literal["available", "sold", "deleted"]


class NotificationSettings(Shape, frozen=True, kw_only=True):
    email: bool
    push: bool
    frequency: Literal["instant", "daily", "weekly"]


class SavedAlert(Shape, frozen=True, kw_only=True):
    """A line of sample/alerts.jsonl; how `criteria` is read is the alerts module's affair."""

    username: str
    name: str
    criteria: dict[str, Any]
    query: str | None
    notification_settings: NotificationSettings


@dataclass
class Preset:
    """A preset's files, read. A sample file that could not be read is empty, and a problem says so."""

    folder: Path
    store: StoreSettings
    processes: list[Process]
    people: list[Person]
    listings: list[Listing]
    reviews: list[Review]
    places: list[dict[str, str]]
    price_history: list[PricePoint]
    alerts: list[SavedAlert]

    @property
    def exponent(self) -> int:
        """Decimal places of the store's currency."""
        return EXPONENTS.get(self.store.store.currency, 2)

    @property
    def leaves(self) -> set[str]:
        """Categories that have none below them."""
        slugs = {category.slug for category in self.store.categories}
        return slugs - {category.parent for category in self.store.categories if category.parent}


def number(text: str, what: str, findings: Findings, least: str = "0", places: int = 3) -> Decimal | None:
    """The decimal a text stands for, when it is one in range with at most that many places."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        findings.need(False, f"{what}: {text!r} is not a decimal")
        return None
    exponent = value.as_tuple().exponent
    fits = value.is_finite() and isinstance(exponent, int) and -exponent <= places and value >= Decimal(least)
    return (
        value
        if findings.need(fits, f"{what}: {text!r} must be at least {least} with at most {places} decimal places")
        else None
    )

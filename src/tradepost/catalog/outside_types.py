"""What the catalogue takes of listings seen on outside markets, and what it answers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from tradepost.core.ids import short_id

OutsideStatus = Literal["active", "sold", "removed"]
Change = Literal["inserted", "changed", "returned"]


class OutsideImage(msgspec.Struct, frozen=True):
    """A picture at its own address; size and format where the source says them."""

    url: str
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    format: str | None = None


class OutsideRow(msgspec.Struct, frozen=True, kw_only=True):
    """A listing as its source shows it now. Amounts in minor units of `currency`, which need not be the store's.

    `raw_hash` is of the row as it came, `content_hash` of all the rest here; `bands` are what the same thing at another source
    shares some of.
    """

    external_id: str
    raw_hash: bytes
    content_hash: bytes = b""
    kind: str
    feed: str
    title: str
    description: str = ""
    category_id: UUID
    brand: str | None = None
    condition: str | None = None
    status: OutsideStatus = "active"
    in_stock: bool = True
    price_minor: int | None = None
    compare_at_minor: int | None = None
    currency: str | None = None
    unit: str | None = None
    place: str = ""
    lat: float | None = None
    lon: float | None = None
    attributes: Mapping[str, Any] = {}
    url: str | None = None
    seller: Mapping[str, str] | None = None
    listed_at: datetime | None = None
    images: tuple[OutsideImage, ...] = ()
    bands: tuple[int, ...] = ()


class KnownItem(msgspec.Struct, frozen=True):
    """What is known of one of several external ids: whether it came as it was, and has been there all along."""

    n: int
    listing_id: UUID
    is_same: bool


class Merged(msgspec.Struct, frozen=True):
    """What one row did. `was_minor` and `was_currency`: the price before."""

    external_id: str
    listing_id: UUID
    change: Change
    price_minor: int | None
    currency: str | None
    was_minor: int | None
    was_currency: str | None


class WantedPicture(msgspec.Struct, frozen=True):
    """An outside picture that there is no copy of."""

    listing_id: UUID
    source_id: UUID
    url: str


class SameThing(msgspec.Struct, frozen=True):
    """The same thing at another source."""

    id: UUID
    slug: str
    title: str
    price_minor: int | None
    currency: str | None
    status: str
    outside_url: str | None
    source_name: str

    @property
    def path(self) -> str:
        """The address of its page."""
        return f"/l/{self.slug}-{short_id(self.id)}"

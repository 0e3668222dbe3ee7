"""What the rest of the product sees of the catalogue."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tradepost.core.errors import Conflict, NotFound, Refused
from tradepost.core.ids import short_id

Sort = Literal["newest", "popular", "nearest", "cheapest", "dearest"]


def product_key(listing_id: UUID) -> str:
    """Return the cache's key of a listing, as documented."""
    return f"product:{listing_id}"


class ListingHidden(Conflict):
    """The staff have taken this listing down; under “Decisions about you” you can say why they should not have."""


class NoSuchListing(NotFound):
    """This listing does not exist, or is no longer offered."""


class NoSuchCategory(NotFound):
    """There is no such category."""


class SellersOnly(Refused):
    """Only sellers may list things here."""


@dataclass(eq=False)
class SkuTaken(Conflict):
    """Another variant has that SKU already."""

    field: str | None = "sku"


class EditedMeanwhile(Conflict):
    """This listing was changed while you were editing it; your changes are not saved yet."""


class Category(msgspec.Struct, frozen=True):
    """A category as pages show it; `path` is the slugs from the root, joined by “/”."""

    id: UUID
    parent_id: UUID | None
    slug: str
    name: str
    description: str
    emoji: str
    path: str


class Place(msgspec.Struct, frozen=True):
    """A named place; `lat` and `lon` in degrees."""

    id: UUID
    name: str
    region: str
    district: str
    country: str
    lat: float | None
    lon: float | None

    @property
    def label(self) -> str:
        """The name with its region, as people tell places apart."""
        return f"{self.name}, {self.region}" if self.region and self.region != self.name else self.name


class ListingCard(msgspec.Struct, frozen=True):
    """A listing as grids and lists show it. Money in minor units, distance in metres."""

    id: UUID
    slug: str
    title: str
    kind: str
    feed: str
    price_minor: int | None
    price_to_minor: int | None
    compare_at_minor: int | None
    currency: str | None
    unit: str | None
    in_stock: bool
    condition: str | None
    condition_name: str | None
    seller_id: UUID | None
    seller_name: str | None
    source_name: str | None
    place: str
    distance_m: float | None
    image_id: UUID | None
    rating_count: int
    rating_sum: int
    likes: int
    attributes: dict[str, Any]
    published_at: datetime
    sort_value: Any = None

    @property
    def path(self) -> str:
        """The address of the listing's page."""
        return f"/l/{self.slug}-{short_id(self.id)}"

    @property
    def rating(self) -> float | None:
        """The average of the reviews, or None without any."""
        return self.rating_sum / self.rating_count if self.rating_count else None

    @property
    def review_count(self) -> int:
        """How many reviews there are."""
        return self.rating_count

    @property
    def image_width(self) -> int:
        """The width cards reserve for the picture: they show it square."""
        return 640

    @property
    def image_height(self) -> int:
        """The height cards reserve for the picture."""
        return 640

    @property
    def badges(self) -> dict[str, bool]:
        """The attributes that are simply true of it, such as organic, for labels on cards."""
        return {key: True for key, value in self.attributes.items() if value is True}


class ListingFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What a page of listings is to show. Prices in minor units, `near` as latitude and longitude in degrees."""

    category_ids: tuple[UUID, ...] = ()
    feed: str | None = None
    kind: str | None = None
    condition: str | None = None
    seller_id: UUID | None = None
    min_minor: int | None = None
    max_minor: int | None = None
    in_stock: bool = False
    attributes: dict[str, Any] = {}
    near: tuple[float, float] | None = None
    radius_m: float | None = None


class Image(msgspec.Struct, frozen=True):
    """A picture of a listing: a stored file, or the address of an outside one."""

    position: int
    file_id: UUID | None
    url: str | None
    width: int | None
    height: int | None
    alt: str = ""


class Variant(msgspec.Struct, frozen=True):
    """A sellable unit. `available` None: stock is not tracked. Quantities are decimals."""

    id: UUID
    position: int
    sku: str | None
    options: dict[str, str]
    unit: str
    unit_name: str
    unit_short: str
    sale_step: Decimal
    on_hand: Decimal | None
    available: Decimal | None
    is_active: bool
    price_minor: int | None
    compare_at_minor: int | None
    currency: str | None
    backorder_until: datetime | None = None
    expected_on: date | None = None

    @property
    def in_stock(self) -> bool:
        """Whether at least one sale step can be bought now."""
        return self.available is None or self.available >= self.sale_step or self.backorder_until is not None

    @property
    def label(self) -> str:
        """The chosen options in words: “blue, M”."""
        return ", ".join(str(v) for v in self.options.values())


class Listing(msgspec.Struct, frozen=True):
    """Everything a listing's own page shows."""

    id: UUID
    slug: str
    title: str
    description: str
    kind: str
    feed: str
    status: str
    brand: str | None
    condition: str | None
    condition_name: str | None
    attributes: dict[str, Any]
    category_id: UUID
    seller_id: UUID | None
    seller_username: str | None
    seller_name: str | None
    seller_bio: str | None
    seller_since: datetime | None
    seller_avatar_file_id: UUID | None
    source_name: str | None
    outside_url: str | None
    outside_seller: dict[str, Any] | None
    place: str
    lat: float | None
    lon: float | None
    distance_m: float | None
    is_customizable: bool
    configuration_schema: dict[str, Any] | None
    video_url: str | None
    price_minor: int | None
    compare_at_minor: int | None
    currency: str | None
    rating_count: int
    rating_sum: int
    views: int
    likes: int
    is_liked: bool
    is_wished: bool
    in_stock: bool
    version: int
    published_at: datetime | None
    created_at: datetime
    updated_at: datetime
    images: tuple[Image, ...]
    variants: tuple[Variant, ...]

    @property
    def path(self) -> str:
        """The address of the listing's page."""
        return f"/l/{self.slug}-{short_id(self.id)}"

    @property
    def rating(self) -> float | None:
        """The average of the reviews, or None without any."""
        return self.rating_sum / self.rating_count if self.rating_count else None

    @property
    def offered(self) -> tuple[Variant, ...]:
        """The variants that can be bought: active and priced."""
        return tuple(v for v in self.variants if v.is_active and v.price_minor is not None)


class PricePoint(msgspec.Struct, frozen=True):
    """What a listing cost from a moment on, and whether it was to be had."""

    at: datetime
    amount_minor: int
    currency: str | None
    availability: str


class SellerRow(msgspec.Struct, frozen=True):
    """A listing in its seller's own list."""

    id: UUID
    slug: str
    title: str
    status: str
    kind: str
    price_minor: int | None
    currency: str | None
    unit: str | None
    in_stock: bool
    on_hand: Decimal | None
    image_id: UUID | None
    views: int
    likes: int
    created_at: datetime
    updated_at: datetime

    @property
    def path(self) -> str:
        """The address of the listing's page."""
        return f"/l/{self.slug}-{short_id(self.id)}"


Text255 = Annotated[str, Meta(min_length=1, max_length=255)]


class VariantDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A variant as a seller writes it. `price_minor` in minor units of the store's currency; `on_hand` None: not tracked.

    `on_hand_before` is what the seller was shown: with it the difference is applied, so that what is sold meanwhile stays sold.
    Until `backorder_until` more is sold than there is, before it has come or has been made; `expected_on` is the day people are
    told. Both stay as they are where they are not sent.
    """

    id: UUID | None = None
    sku: Annotated[str, Meta(max_length=100)] | None = None
    options: Annotated[
        dict[Annotated[str, Meta(max_length=60)], Annotated[str, Meta(max_length=120)]], Meta(max_length=20)
    ] = {}
    unit: str
    sale_step: Annotated[Decimal, Meta()] = Decimal(1)
    on_hand: Decimal | None = None
    on_hand_before: Decimal | UnsetType | None = UNSET
    backorder_until: Annotated[datetime, Meta(tz=True)] | UnsetType | None = UNSET
    expected_on: date | UnsetType | None = UNSET
    price_minor: Annotated[int, Meta(ge=0, le=10**12)]
    compare_at_minor: Annotated[int, Meta(ge=1, le=10**12)] | None = None


class ListingDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A listing as a seller writes it; `category` is a slug, `place` a place's name."""

    kind: str
    feed: str = "discover"
    title: Text255
    description: Annotated[str, Meta(max_length=20_000)] = ""
    category: str
    brand: Annotated[str, Meta(max_length=100)] | None = None
    condition: str | None = None
    place: Annotated[str, Meta(max_length=255)] = ""
    attributes: dict[str, Any] = {}
    variants: Annotated[tuple[VariantDraft, ...], Meta(min_length=1, max_length=200)]

"""A store's goods as page handlers would hand them to templates, read from its preset's own sample data."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from tradepost.catalog.types import Category, Image, Listing, ListingCard, SellerRow, Variant
from tradepost.core.money import exponent
from tradepost.flows.preset import StoreSettings, load_preset

NOW = datetime.now(UTC)
LONG = "Donaudampfschifffahrtsgesellschaftskapitänsmütze, with an uncommonly long name that never seems to end at all"


@dataclass(eq=False)
class Store:
    """One preset's settings and its goods, ready to be shown. `files` maps the ids of pictures to sample files."""

    folder: Path
    goods: Path
    settings: StoreSettings
    rows: list[dict[str, Any]]
    files: dict[str, tuple[str, str]]

    @property
    def code(self) -> str:
        return self.folder.name

    @property
    def cards(self) -> list[ListingCard]:
        return [card(self, row, index) for index, row in enumerate(self.rows)]

    @property
    def top(self) -> list[Category]:
        return [category for category in categories(self.settings) if category.parent_id is None]

    def shown(self, index: int) -> Listing:
        return listing(self, self.rows[index])


def key(*parts: str) -> UUID:
    return uuid5(NAMESPACE_URL, "/".join(parts))


def load_store(folder: Path, goods: Path) -> Store:
    """The store of `folder`'s theme with the settings and listings of `goods`, which is mostly the same folder."""
    settings = load_preset(goods)
    rows = [json.loads(line) for line in (goods / "sample/listings.jsonl").read_text().splitlines() if line]
    files = {str(key("file", name)): (name, row["category"]) for row in rows for name in row["images"]}
    return Store(folder, goods, settings, rows, files)


def categories(settings: StoreSettings) -> list[Category]:
    return [
        Category(
            key("c", c.slug), key("c", c.parent) if c.parent else None, c.slug, c.name, c.description, c.emoji, c.slug
        )
        for c in settings.categories
    ]


def minor(settings: StoreSettings, amount: str | None) -> int | None:
    return None if amount is None else int(Decimal(amount) * 10 ** exponent(settings.store.currency))


def card(store: Store, row: dict[str, Any], index: int) -> ListingCard:
    settings, first = store.settings, row["variants"][0]
    conditions = {c.code: c.name for c in settings.conditions}
    reviews = index % 17 + 1 if index % 3 == 0 else 0
    return ListingCard(
        id=key("listing", row["key"]), slug=row["key"], title=row["title"], kind=row["kind"], feed=row["feed"],
        price_minor=minor(settings, first["price"]), price_to_minor=minor(settings, row["variants"][-1]["price"]),
        compare_at_minor=minor(settings, first.get("compare_at")), currency=settings.store.currency,
        unit=unit_short(settings, first["unit"]), in_stock=index % 11 != 10, condition=row.get("condition"),
        condition_name=conditions.get(row.get("condition") or ""), seller_id=key("u", row["seller"]) if row["seller"] else None,
        seller_name=person_name(row["seller"]), source_name=source_name(settings, row), place=row.get("place") or "",
        distance_m=float(400 + index * 1730) if settings.features.distance else None,
        image_id=key("file", row["images"][0]) if row["images"] else None, rating_count=reviews,
        rating_sum=round(reviews * (3.6 + index % 14 / 10)), likes=row.get("likes", 0), attributes=row["attributes"],
        published_at=NOW - timedelta(days=row["published_days_ago"]),
    )  # fmt: skip


def unit_short(settings: StoreSettings, code: str) -> str:
    return next((unit.short for unit in settings.units if unit.code == code), code)


def person_name(username: str | None) -> str | None:
    return username.replace("_", " ").replace(".", " ").title() if username else None


def source_name(settings: StoreSettings, row: dict[str, Any]) -> str | None:
    return next((source.name for source in settings.sources if source.code == row.get("source")), None)


def listing(store: Store, row: dict[str, Any]) -> Listing:
    shown = card(store, row, 0)
    same = {name: getattr(shown, name) for name in ListingCard.__struct_fields__ if name in Listing.__struct_fields__}
    return Listing(
        **{**same, "rating_count": 12, "rating_sum": 55, "is_liked": True, "is_wished": False},
        description=row["description"], status="active", brand=row.get("brand"), category_id=key("c", row["category"]),
        seller_username=row["seller"], seller_bio="Three hectares of red soil, two boreholes and a stubborn donkey.",
        seller_since=NOW - timedelta(days=700), seller_avatar_file_id=None, outside_url=row.get("outside_url"),
        outside_seller=row.get("outside_seller"), lat=None, lon=None, is_customizable=row["is_customizable"],
        configuration_schema=row.get("configuration_schema"), video_url=None, views=row["views"], version=1,
        created_at=NOW, updated_at=NOW,
        images=tuple(Image(n, key("file", name), None, 1200, 1200) for n, name in enumerate(row["images"])),
        variants=tuple(variant(store.settings, row, n) for n in range(len(row["variants"]))),
    )  # fmt: skip


def variant(settings: StoreSettings, row: dict[str, Any], number: int) -> Variant:
    data = row["variants"][number]
    on_hand = Decimal(data["on_hand"]) if data["on_hand"] is not None else None
    return Variant(
        id=key("variant", row["key"], str(number)), position=number, sku=data["sku"], options=data["options"], unit=data["unit"],
        unit_name=data["unit"], unit_short=unit_short(settings, data["unit"]), sale_step=Decimal(data["sale_step"]),
        on_hand=on_hand, available=on_hand, is_active=True, price_minor=minor(settings, data["price"]),
        compare_at_minor=minor(settings, data.get("compare_at")), currency=settings.store.currency,
    )  # fmt: skip


def seller_rows(store: Store) -> list[SellerRow]:
    statuses = ["active", "draft", "inactive", "sold", "active"]
    return [
        SellerRow(
            c.id, c.slug, c.title, statuses[n % 5], c.kind, c.price_minor, c.currency, c.unit, c.in_stock,
            None if n % 3 else Decimal("12.5"), c.image_id if n != 3 else None, n * 37, c.likes, NOW, NOW - timedelta(hours=n * 9),
        )
        for n, c in enumerate(store.cards[:9])
    ]  # fmt: skip


def difficult_cards(store: Store) -> list[ListingCard]:
    """The same card under the conditions that break layouts."""
    base = store.cards[0]
    changes: list[dict[str, Any]] = [
        {"title": LONG, "attributes": {"a_badge_with_a_rather_long_label": True, "second_one": True}},
        {"image_id": None, "title": "No picture"},
        {"in_stock": False, "title": "Sold out"},
        {"price_minor": 123456789000, "compare_at_minor": 223456789000, "title": "Dear"},
        {"price_minor": None, "compare_at_minor": None, "title": "No price"},
        {"seller_name": LONG, "source_name": None, "distance_m": 1234567.0, "title": "A"},
    ]
    return [msgspec.structs.replace(base, id=key("odd", str(n)), **change) for n, change in enumerate(changes)]

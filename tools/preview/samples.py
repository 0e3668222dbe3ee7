"""View objects as the page handlers make them, from a preset's own sample data where it has some."""

import json
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

NOW = datetime.now(UTC)
LONG = "Donaudampfschifffahrtsgesellschaftskapitänsmütze with an uncommonly long name that never seems to end at all"


@dataclass(eq=False)
class Store:
    """One preset's settings and its goods, ready to be shown."""

    code: str
    folder: Path
    goods: Path
    settings: Any
    cards: list[Any]
    details: dict[str, dict[str, Any]]


def view(value: Any) -> Any:
    """Mappings become objects with attributes, so that templates meet what they will meet in earnest."""
    if isinstance(value, dict):
        return SimpleNamespace(**{key: view(item) for key, item in value.items()})
    return [view(item) for item in value] if isinstance(value, list) else value


def load_store(folder: Path, goods: Path) -> Store:
    """The store of `folder`'s theme with the settings and listings of `goods`, which is mostly the same folder."""
    settings = tomllib.loads((goods / "store.toml").read_text())
    settings["store"]["code"] = folder.name
    rows = [json.loads(line) for line in (goods / "sample/listings.jsonl").read_text().splitlines() if line]
    conditions = {item["code"]: item["name"] for item in settings.get("conditions", [])}
    units = {item["code"]: item["short"] for item in settings.get("units", [])}
    badge_keys = {
        field["key"] for kind in settings["kinds"] for field in kind.get("fields", []) if field["type"] != "number"
    }
    cards = [card(index, row, settings, conditions, units, badge_keys) for index, row in enumerate(rows)]
    for key in ("roles", "categories", "conditions", "units", "feeds"):
        settings.setdefault(key, [])
    return Store(folder.name, folder, goods, view(settings), cards, {row["key"]: row for row in rows})


def minor(price: str | None) -> int | None:
    return None if price is None else int((Decimal(price) * 100).to_integral_value())


def badges_of(row: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    short = {
        key: value
        for key, value in row["attributes"].items()
        if value is True or (isinstance(value, str) and len(value) <= 18)
    }
    return dict([item for item in short.items() if item[0] in keys][:2])


def card(index: int, row: dict[str, Any], settings: Any, conditions: Any, units: Any, badge_keys: set[str]) -> Any:
    first = row["variants"][0]
    base = minor(first["price"]) or 100
    history = [base + (base // 40) * ((index * 7 + step * 5) % 9 - 4) for step in range(14)] + [base]
    return SimpleNamespace(
        id=row["key"],
        slug=row["key"],
        path=f"/l/{row['key']}-x1",
        title=row["title"],
        price_minor=base,
        currency=settings["store"]["currency"],
        compare_at_minor=minor(first.get("compare_at")),
        unit=units.get(first["unit"], first["unit"]),
        condition=row.get("condition"),
        condition_name=conditions.get(row.get("condition")),
        seller_id=row["seller"],
        seller_name=(row["seller"] or "").replace("_", " ").title() or None,
        place=row.get("place"),
        distance_m=(800 + index * 1730) if settings["features"]["distance"] else None,
        image_id=row["images"][0].removesuffix(".webp") if row["images"] else None,
        image_width=800,
        image_height=800,
        rating=round(3.6 + (index % 14) / 10, 1) if index % 3 == 0 else None,
        review_count=index % 17 + 1 if index % 3 == 0 else 0,
        likes=row.get("likes", 0),
        in_stock=index % 11 != 10,
        badges=badges_of(row, badge_keys),
        source_name=(row.get("source") or "").replace("-", " ").title() or None,
        published_at=NOW - timedelta(days=row["published_days_ago"]),
        feed=row["feed"],
        kind=row["kind"],
        history=history if row.get("source") else None,
    )


def difficult_cards(cards: list[Any]) -> list[Any]:
    """The same card under the conditions that break layouts."""
    base = vars(cards[0])
    return [
        SimpleNamespace(**{**base, "title": LONG, "badges": {"a_badge_with_a_rather_long_label": True}}),
        SimpleNamespace(**{**base, "image_id": None, "title": "No picture"}),
        SimpleNamespace(**{**base, "in_stock": False, "title": "Sold out"}),
        SimpleNamespace(**{**base, "price_minor": 123456789, "compare_at_minor": 223456789, "title": "Dear"}),
        SimpleNamespace(**{**base, "price_minor": None, "compare_at_minor": None, "title": "No price"}),
        SimpleNamespace(**{**base, "seller_name": LONG, "distance_m": 1234567, "title": "A"}),
    ]


def home_context(store: Store) -> dict[str, Any]:
    copy = store.settings.copy
    top = [category for category in store.settings.categories if not hasattr(category, "parent")]
    cards = store.cards
    sections = []
    shelf = 0
    for section in store.settings.home:
        items: list[Any] = []
        if section.kind == "hero":
            items = cards[20:24]
        elif section.kind == "categories":
            items = top
        elif section.kind == "listings":
            items = cards[shelf : shelf + 10]
            shelf += 10
        sections.append(
            SimpleNamespace(
                kind=section.kind,
                title=getattr(section, "title", "") or copy.hero_title,
                text=getattr(section, "text", "") or (copy.hero_text if section.kind == "hero" else ""),
                items=items,
                more_path="/search?sort=newest" if section.kind == "listings" else None,
                action_label=copy.hero_action if section.kind == "hero" else None,
                action_path="/search" if section.kind == "hero" else None,
            )
        )
    return {"sections": sections, "liked_ids": {cards[1].id, cards[5].id}}

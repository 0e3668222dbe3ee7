"""Make the sample of the `shop-assistant` store from the tau_retail catalogue (MIT, Sierra Research).

    python tools/import_tau_retail.py ../shared/data/tau_retail/catalog/db.json

The catalogue has products with variants, customers and orders, but no words to sell with: those are in
`tools/tau_retail/merchandise.toml`, joined by product name. The same input always gives the same files.

Kept as they are: item ids (as SKU), options, prices, customers' ids (as username), names and addresses at example.com, orders.
Derived: stock. An available item has 3 to 40 pieces, taken from the hash of its id; an unavailable one has none.
`customers.jsonl` (addresses, payment methods) and `orders.jsonl` keep the catalogue's own shape for what reads them later.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "src/tradepost/presets/shop-assistant/sample"
MERCHANDISE = Path(__file__).resolve().parent / "tau_retail/merchandise.toml"
SHOP = "shop-assistant"
PLACES = {"New York": "New York City"}
"""Cities whose name in GeoNames differs from the catalogue's."""
ATTRIBUTE_OF = {
    "RAM": "ram", "brand": "lines", "color": "colors", "feature": "features", "size": "sizes", "type": "types",
}  # fmt: skip
"""Options whose attribute has another name than the option in snake case."""
SCALES = [
    ["XS", "S", "M", "L", "XL", "XXL"],
    ["portable", "small", "medium", "large"],
    ["low", "medium", "high"],
    ["light", "medium", "dark"],
    ["beginner", "intermediate", "expert"],
    ["1080p", "2K", "4K", "5K"],
    ["60%", "80%", "full size"],
    ["5-25 lbs", "30-50 lbs", "55-75 lbs"],
    ["256GB SSD", "512GB SSD", "1TB SSD"],
]
"""Values with an order of their own; others go by figure, then by letter."""
STAFF = [
    (
        "shop-assistant",
        "Shop",
        "Assistant",
        "Shop Assistant",
        "The shop's own counter on Blake Street, Denver.",
        "staff",
    ),
    ("maya.counter", "Maya", "Ellison", "Maya E.", "At the counter. Knows which cable it is.", "staff"),
    ("admin", "Reuben", "Castle", "Reuben C.", "Runs the shop.", "admin"),
]

Row = dict[str, Any]


def stock(item_id: str) -> int:
    """Pieces of an available item: 3 to 40, always the same for the same item."""
    return 3 + int.from_bytes(hashlib.sha256(item_id.encode()).digest()[:4], "big") % 38


def slug(name: str) -> str:
    """A product's name as a key."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def attribute_key(option: str) -> str:
    """The attribute that sums up an option over a product's variants."""
    return ATTRIBUTE_OF.get(option, re.sub(r"[^a-z0-9]+", "_", option.lower()))


def describe_range(values: Iterable[str]) -> str:
    """What a buyer can choose from, in words: "13 to 17 inch", "black, blue or red", "with or without"."""
    distinct = set(values)
    if distinct == {"yes", "no"}:
        return "with or without"
    if figures := _figures(distinct):
        unit, sorted_figures = figures
        first, last = sorted_figures[0], sorted_figures[-1]
        return f"{first} {'or' if len(sorted_figures) == 2 else 'to'} {last}{unit}"
    *others, last = _in_order(distinct)
    return f"{', '.join(others)} or {last}" if others else last


def _figures(values: set[str]) -> tuple[str, list[str]] | None:
    """The common unit and the figures in order, when all values are figures of one unit ("1 cup" and "2 cups" are)."""
    parts = [re.fullmatch(r"(\d+(?:\.\d+)?)[- ]?(\D*)", value) for value in values]
    if len(values) < 2 or not all(parts):
        return None
    units = {part[2] for part in parts if part}
    if len({unit.removesuffix("s") for unit in units}) > 1:
        return None
    unit = max(units, key=len)
    figures = sorted((part[1] for part in parts if part), key=float)
    return (f" {unit}" if len(unit) > 1 or unit.isupper() else unit), figures


def _in_order(values: set[str]) -> list[str]:
    scale = next((scale for scale in SCALES if values <= set(scale)), None)
    if scale:
        return [value for value in scale if value in values]
    return sorted(values, key=lambda value: (value in {"none", "not resistant"}, value.casefold()))


def make_variant(item: Row) -> Row:
    """An item of the catalogue as a variant."""
    return {
        "sku": item["item_id"],
        "options": item["options"],
        "unit": "piece",
        "sale_step": "1",
        "on_hand": str(stock(item["item_id"]) if item["available"] else 0),
        "price": f"{Decimal(str(item['price'])):.2f}",
        "compare_at": None,
    }


def make_listing(key: str, words: Row, attributes: Row, variants: list[Row]) -> Row:
    """A listing of the shop's, with no variant's options left unsaid."""
    return {
        "key": key,
        "seller": SHOP,
        "kind": "product",
        "feed": "discover",
        "title": words["title"],
        "description": words["description"],
        "category": words["category"],
        "brand": words["brand"],
        "condition": "new",
        "place": "Denver",
        "attributes": attributes,
        "is_customizable": False,
        "images": [f"{name}.webp" for name in words["images"]],
        "published_days_ago": words["days"],
        "views": words["views"],
        "likes": words["likes"],
        "variants": variants,
    }


def catalogue_listing(product: Row, words: Row) -> Row:
    """A product of the catalogue: its options become variants and, summed up, attributes."""
    variants = [make_variant(item) for item in product["variants"].values()]
    offered: dict[str, list[str]] = {}
    for variant in variants:
        for option, value in variant["options"].items():
            offered.setdefault(option, []).append(value)
    specification = {attribute_key(option): describe_range(values) for option, values in offered.items()}
    attributes = {
        "product_type": product["name"],
        "model": product["product_id"],
        **words["attributes"],
        **specification,
    }
    return make_listing(slug(product["name"]), words, attributes, variants)


def cheapest(product: Row) -> Row:
    """The cheapest item of a product that is to be had; bundles are made of these."""
    return min((item for item in product["variants"].values() if item["available"]), key=lambda item: item["price"])


def own_listing(words: Row, products: dict[str, Row]) -> Row:
    """One of the shop's own goods: variants as written, or a bundle of catalogue items at the sum of their prices less a discount."""
    if "bundle" in words:
        bundle = words["bundle"]
        items = [cheapest(products[name]) for name in bundle["of"]]
        full = sum(Decimal(str(item["price"])) for item in items)
        price = (full * (100 - bundle["percent_off"]) / 100).quantize(Decimal("0.01"))
        written = [
            {"sku": bundle["sku"], "options": {}, "unit": "set", "price": str(price), "compare_at": f"{full:.2f}"}
        ]
        written[0]["on_hand"] = min(stock(item["item_id"]) for item in items)
    else:
        written = words["variants"]
    variants = [
        {"unit": "piece", "sale_step": "1", "compare_at": None, **variant, "on_hand": str(variant["on_hand"])}
        for variant in written
    ]
    return make_listing(words["key"], words, words["attributes"], variants)


def person(username: str, first: str, last: str, display: str, bio: str, role: str, place: str, email: str) -> Row:
    """A line of people.jsonl."""
    business = display if username == SHOP else None
    return {
        "username": username,
        "email": email,
        "first_name": first,
        "last_name": last,
        "display_name": display,
        "bio": bio,
        "business_name": business,
        "service_type": None,
        "place": place,
        "roles": [role],
    }


def people(users: dict[str, Row]) -> Iterator[Row]:
    """The shop's staff, then the catalogue's customers."""
    for username, first, last, display, bio, role in STAFF:
        yield person(username, first, last, display, bio, role, "Denver", f"{username}@example.com")
    for user in users.values():
        first, last = user["name"]["first_name"], user["name"]["last_name"]
        city = user["address"]["city"]
        yield person(
            user["user_id"], first, last, f"{first} {last[0]}.", "", "customer", PLACES.get(city, city), user["email"]
        )


def reviewers(orders: dict[str, Row], users: dict[str, Row]) -> dict[str, list[str]]:
    """By product name, who had it delivered, each person once; under "" everybody, for goods the catalogue does not have."""
    by_name: dict[str, list[str]] = {"": sorted(users, key=lambda user: hashlib.sha256(user.encode()).digest())}
    for order in orders.values():
        if order["status"] == "delivered":
            for item in order["items"]:
                buyers = by_name.setdefault(item["name"], [])
                if order["user_id"] not in buyers:
                    buyers.append(order["user_id"])
    return by_name


def reviews(key: str, written: list[list[Any]], by: Iterator[str]) -> Iterator[Row]:
    """A listing's reviews, each by the next buyer."""
    for rating, days_ago, comment, *reply in written:
        yield {
            "listing": key,
            "by": next(by),
            "rating": rating,
            "comment": comment,
            "days_ago": days_ago,
            "reply": reply[0] if reply else None,
        }


def write_lines(name: str, rows: Iterable[Row]) -> None:
    """Write a JSON Lines file of the sample and say how long it is."""
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]
    (SAMPLE / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{name}: {len(lines)} lines")


def build(catalogue: Row, merchandise: Row) -> None:
    """Write every file of the sample that comes from the catalogue.

    Raises:
        KeyError: when a product of the catalogue has no words in merchandise.toml.
    """
    products = {product["name"]: product for product in catalogue["products"].values()}
    buyers = reviewers(catalogue["orders"], catalogue["users"])
    anyone = iter(buyers[""])
    listings: list[Row] = []
    told: list[Row] = []
    for name, product in sorted(products.items()):
        words = merchandise["products"][name]
        listings.append(catalogue_listing(product, words))
        told += reviews(slug(name), words["reviews"], iter(buyers[name]))
    for words in merchandise["own"]:
        listings.append(own_listing(words, products))
        told += reviews(words["key"], words["reviews"], anyone)
    write_lines("listings.jsonl", listings)
    write_lines("reviews.jsonl", told)
    write_lines("people.jsonl", people(catalogue["users"]))
    customers = catalogue["users"].values()
    write_lines(
        "customers.jsonl",
        ({key: user[key] for key in ("user_id", "address", "payment_methods", "orders")} for user in customers),
    )
    write_lines("orders.jsonl", catalogue["orders"].values())


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the shop-assistant sample from the tau_retail catalogue.")
    parser.add_argument("catalogue", type=Path, help="db.json of tau_retail")
    options = parser.parse_args()
    try:
        catalogue = json.loads(options.catalogue.read_text(encoding="utf-8"))
        build(catalogue, tomllib.loads(MERCHANDISE.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, StopIteration) as error:
        print(f"{options.catalogue}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

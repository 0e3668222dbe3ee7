"""The products and queries of `chorus_icecat`: real texts to search in, and what people rated."""

import csv
import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

csv.field_size_limit(10**9)
_PRODUCTS = "chorus_icecat/catalog/product.csv.gz"


@dataclass(frozen=True)
class Query:
    """A query with the gain of each rated product."""

    id: str
    text: str
    gains: dict[str, float]


@dataclass(frozen=True)
class Product:
    """A product of the catalogue; `features` are “name:value” parted by bars, as published, with blanks for underscores."""

    id: str
    name: str
    description: str
    features: str
    brand: str


def catalogue_mark(data: Path) -> str:
    """Return what tells this edition of the catalogue from another."""
    return hashlib.sha256((data / _PRODUCTS).read_bytes()).hexdigest()[:10]


def read_catalogue(data: Path) -> list[Product]:
    """Read the products: tab-separated, compressed."""
    with gzip.open(data / _PRODUCTS, "rt", encoding="utf-8", newline="") as file:
        return [
            Product(
                row["product_id"],
                row["product_name"],
                row["product_description"] or "",
                (row["product_features"] or "").replace("_", " ").replace("|", ", "),
                row["brand"] or "",
            )
            for row in csv.DictReader(file, delimiter="\t")
        ]


def read_queries(data: Path) -> list[Query]:
    """Read the queries that have at least one product with a positive rating."""
    gains: dict[str, dict[str, float]] = {}
    with (data / "chorus_icecat/open/label.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            gains.setdefault(row["query_id"], {})[row["product_id"]] = float(row["label"]) / 3
    with (data / "chorus_icecat/open/query.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["query_id"], row["query"]) for row in csv.DictReader(file, delimiter="\t")]
    return [Query(i, q, gains[i]) for i, q in rows if any(g > 0 for g in gains.get(i, {}).values())]

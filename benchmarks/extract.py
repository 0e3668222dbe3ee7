"""`make bench-extract`: what is read off saved shop pages, beside plain `extruct`, and off price strings.

A value counts when it equals one of the accepted ones after trimming; amounts are written as the ground truth does, without decimals
where there are none and with two otherwise. A currency counts when it means the same: `€` is EUR, `$` any dollar. Precision is over the pages
where something was read, recall over those that have the value. The ground truth has no names of products; where a data set
has them, `name_f1` is theirs.
"""

import argparse
import gzip
import json
import logging
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import extruct
from price_parser import Price

from tradepost.sources.extraction import Page, decode_page, extract_page
from tradepost.sources.prices import currency_code, parse_price

Pair = tuple[str, list[str]]


def main() -> None:
    """Measure and print; the last line is JSON."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    print(json.dumps(pages(data / "product_extraction_benchmark" / "open") | strings(data / "price_strings" / "open")))


def pages(folder: Path) -> dict[str, Any]:
    """Return the F1 of each thing that is read off pages, and of plain extruct's prices."""
    truth = json.loads((folder / "ground-truth.json").read_text("utf-8"))
    found: dict[str, list[Pair]] = {}
    plain: list[Pair] = []
    took = 0.0
    for key, wanted in truth.items():
        html = decode_page(gzip.decompress((folder / "html" / f"{key}.html.gz").read_bytes()))
        began = time.process_time()
        page = extract_page(html, wanted["url"])
        took += time.process_time() - began
        for name, value in said(page).items():
            found.setdefault(name, []).append((value, accepted(name, value, wanted)))
        plain.append((by_extruct(html, wanted["url"]), accepted("price", "", wanted)))
    result: dict[str, Any] = {f"{name}_f1": f1(pairs) for name, pairs in found.items()}
    result["extruct_price_f1"] = f1(plain)
    print(f"{len(truth)} pages, {1000 * took / len(truth):.0f} ms of CPU each")
    for name, value in result.items():
        print(f"  {name:18} {value}")
    return result


def said(page: Page) -> dict[str, str]:
    """Return what was read as the ground truth writes it."""
    return {
        "price": written(page.price),
        "name": page.name,
        "currency": page.currency_text,
        "availability": page.availability,
        "brand": page.brand,
        "sku": page.sku,
    }


def accepted(name: str, value: str, wanted: dict[str, Any]) -> list[str]:
    """Return the accepted values; for a currency also what was read, where that means one of them."""
    values = [str(v).strip() for v in wanted.get(name) or ()]
    if name == "currency" and any(
        currency_code(v, currency_code(value)) == currency_code(value, currency_code(v)) for v in values
    ):
        return [*values, value]
    return values


def written(amount: Decimal | None) -> str:
    """Return an amount without decimals where there are none, with at least two otherwise."""
    if amount is None:
        return ""
    if amount == amount.to_integral_value():
        return format(amount.quantize(Decimal(1)), "f")
    exponent = amount.as_tuple().exponent
    return format(amount if isinstance(exponent, int) and exponent < -2 else amount.quantize(Decimal("0.01")), "f")


def f1(pairs: Iterable[Pair]) -> float | None:
    """Return the harmonic mean of precision and recall; None where no page has the value."""
    told = list(pairs)
    right = sum(bool(value) and value.strip() in wanted for value, wanted in told)
    read, there = sum(bool(value) for value, _ in told), sum(bool(wanted) for _, wanted in told)
    return round(2 * right / (read + there), 3) if there else None


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object within a value."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(inner)


def by_extruct(html: str, url: str) -> str:
    """Return the first price that extruct finds in JSON-LD, microdata, Open Graph and RDFa."""
    syntaxes = ["json-ld", "microdata", "opengraph", "rdfa"]
    found = extruct.extract(html, base_url=url, syntaxes=syntaxes, uniform=True, errors="ignore")
    for node in nodes([found.get(s) or [] for s in syntaxes]):
        for key in ("price", "lowPrice"):
            if isinstance(node.get(key), str | int | float) and node[key] != "":
                try:
                    return written(Decimal(str(node[key]).strip()))
                except InvalidOperation:
                    return str(node[key]).strip()
    return ""


def strings(folder: Path) -> dict[str, Any]:
    """Return how many price strings are read rightly of those that price-parser reads rightly."""
    rows = [json.loads(line) for line in (folder / "prices.jsonl").read_text("utf-8").splitlines()]
    its = ours = 0
    for row in rows:
        wanted = row["amount"]
        amount = None if wanted is None else Decimal(str(wanted).removeprefix("Decimal('").removesuffix("')"))
        if _right(Price.fromstring(row["price_raw"], row["currency_raw"]), amount, row):
            its += 1
            ours += _right(parse_price(row["price_raw"], row["currency_raw"]), amount, row)
    print(f"{len(rows)} price strings: price-parser reads {its}, {ours} of them are read here")
    return {"price_strings": round(ours / its, 4), "price_strings_right": ours}


def _right(price: Price, amount: Decimal | None, row: dict[str, Any]) -> bool:
    return bool(price.amount == amount and price.currency == row["currency"])


if __name__ == "__main__":
    main()

"""Check that a preset keeps its contract: shapes, references between its files, pictures, prices, processes.

    python tools/check_preset.py tese            # or several; without a name, every preset there is
    python tools/check_preset.py tese --counts   # also how many of each

Prints one line for each problem and exits with 1 when there is any. Hints (taste, things that may come later) do not fail.
"""

import argparse
import csv
import sys
from collections import Counter
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from preset_contract import PLACE_COLUMNS, Findings, Listing, Person, Preset, PricePoint, Review, SavedAlert
from preset_rules import check_processes, check_store, check_theme
from sample_rules import (
    check_alerts,
    check_listings,
    check_people,
    check_pictures,
    check_places,
    check_price_history,
    check_reviews,
)
from tradepost.core.settings import BadSettings
from tradepost.flows.preset import PRESETS, load_preset, load_processes

T = TypeVar("T")


def read_preset(folder: Path, findings: Findings) -> Preset | None:
    """Read everything; without a readable store.toml and processes there is nothing to check."""
    try:
        store, processes = load_preset(folder), load_processes(folder)
    except (OSError, UnicodeDecodeError, BadSettings) as error:
        findings.need(False, str(error))
        return None
    sample = folder / "sample"
    return Preset(
        folder,
        store,
        processes,
        _read_lines(sample / "people.jsonl", Person, findings),
        _read_lines(sample / "listings.jsonl", Listing, findings),
        _read_lines(sample / "reviews.jsonl", Review, findings),
        _read_places(sample / "places.csv", findings),
        _read_lines(sample / "price_history.jsonl", PricePoint, findings, needed=False),
        _read_lines(sample / "alerts.jsonl", SavedAlert, findings, needed=False),
    )


def _read_lines(path: Path, shape: type[T], findings: Findings, *, needed: bool = True) -> list[T]:
    if not path.is_file():
        findings.need(not needed, f"sample/{path.name} is missing")
        return []
    read = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            read.append(msgspec.json.decode(line, type=shape))
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            findings.need(False, f"sample/{path.name}:{number}: {error}")
    return read


def _read_places(path: Path, findings: Findings) -> list[dict[str, str]]:
    if not findings.need(path.is_file(), "sample/places.csv is missing"):
        return []
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        findings.need(
            reader.fieldnames == PLACE_COLUMNS, f"sample/places.csv: columns must be {','.join(PLACE_COLUMNS)}"
        )
        return list(reader)


def counts(preset: Preset) -> dict[str, Any]:
    """How much of everything there is, for a look."""
    return {
        "listings": dict(Counter(listing.kind for listing in preset.listings)),
        "categories": dict(Counter(listing.category for listing in preset.listings).most_common()),
        "sellers": dict(Counter(listing.seller or listing.source for listing in preset.listings).most_common()),
        "people": len(preset.people),
        "reviews": len(preset.reviews),
        "ratings": dict(sorted(Counter(review.rating for review in preset.reviews).items())),
        "places": len(preset.places),
    }


def check(folder: Path, *, with_counts: bool = False) -> Findings:
    """Check one preset."""
    findings = Findings()
    preset = read_preset(folder, findings)
    if preset is not None:
        for part in (
            check_store,
            check_processes,
            check_places,
            check_people,
            check_listings,
            check_reviews,
            check_price_history,
            check_alerts,
            check_pictures,
            check_theme,
        ):
            part(preset, findings)
        if with_counts:
            for what, value in counts(preset).items():
                print(f"{folder.name}: {what}: {value}")
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description="Check presets against their contract.")
    parser.add_argument("stores", nargs="*")
    parser.add_argument("--counts", action="store_true")
    options = parser.parse_args()
    names = options.stores or sorted(path.parent.name for path in PRESETS.glob("*/store.toml"))
    failed = False
    for name in names:
        findings = check(PRESETS / name, with_counts=options.counts)
        for problem in findings.problems:
            print(f"{name}: {problem}")
        for hint in findings.hints:
            print(f"{name}: hint: {hint}")
        print(f"{name}: {len(findings.problems)} problems, {len(findings.hints)} hints")
        failed = failed or bool(findings.problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

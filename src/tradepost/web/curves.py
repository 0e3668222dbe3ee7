"""A price over time as the points of a drawing: steps, because a price holds until it changes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from tradepost.catalog.types import PricePoint

LEFT: Final = 8.0
RIGHT: Final = 592.0
TOP: Final = 28.0
BOTTOM: Final = 146.0
_MOST_MARKS: Final = 24
_WORDS: Final = {"available": "", "out_of_stock": ", not to be had", "sold": ", sold", "deleted": ", taken down"}


class Mark(msgspec.Struct, frozen=True):
    """A change of the price, or of whether the thing was to be had."""

    x: float
    y: float
    at: datetime
    minor: int
    word: str
    is_gone: bool


class Stretch(msgspec.Struct, frozen=True):
    """A part of the line: `points` as SVG has them."""

    points: str
    is_gone: bool


class Curve(msgspec.Struct, frozen=True):
    """A drawing 600 wide and 190 high."""

    stretches: tuple[Stretch, ...]
    marks: tuple[Mark, ...]
    currency: str | None
    first_minor: int
    low_minor: int
    high_minor: int
    low_y: float
    high_y: float
    since: datetime
    label: str


def draw_curve(points: Sequence[PricePoint], until: datetime) -> Curve | None:
    """Return the drawing of a listing's prices until a moment, of the currency it has now; None where nothing ever changed."""
    here = [p for p in points if p.currency == points[-1].currency] if points else []
    if len(here) < 2:
        return None
    begin, end = here[0].at, max(until, here[-1].at)
    span = max((end - begin).total_seconds(), 1.0)
    low, high = min(p.amount_minor for p in here), max(p.amount_minor for p in here)

    def x_of(at: datetime) -> float:
        return round(LEFT + (RIGHT - LEFT) * (at - begin).total_seconds() / span, 1)

    def y_of(minor: int) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (minor - low) / (high - low), 1) if high > low else (TOP + BOTTOM) / 2

    stretches, marks = [], []
    for n, point in enumerate(here):
        following = here[n + 1] if n + 1 < len(here) else None
        x, y, until_x = x_of(point.at), y_of(point.amount_minor), x_of(following.at if following else end)
        is_gone = point.availability != "available"
        step = f" {until_x},{y_of(following.amount_minor)}" if following else ""
        stretches.append(Stretch(f"{x},{y} {until_x},{y}{step}", is_gone))
        before = here[n - 1] if n else None
        if before is None or (before.amount_minor, before.availability) != (point.amount_minor, point.availability):
            marks.append(Mark(x, y, point.at, point.amount_minor, _WORDS[point.availability], is_gone))
    return Curve(
        tuple(stretches), tuple(marks[-_MOST_MARKS:]), here[-1].currency, here[0].amount_minor, low, high, y_of(low), y_of(high), begin,
        f"Price over time, {len(marks)} changes",
    )  # fmt: skip

"""A request's filters as the index knows them: tags, marks, price bands, map cells, weeks. What these let through is tested exactly beside."""

import math
import time

import msgspec

from tradepost.search.types import SearchRequest


class Filters(msgspec.Struct, frozen=True):
    """A request's filters as the index knows them, with the exact tests beside."""

    all_tags: tuple[str, ...] = ()
    any_tags: tuple[tuple[str, ...], ...] = ()
    all_marks: tuple[str, ...] = ()
    any_marks: tuple[tuple[str, ...], ...] = ()
    ranges: tuple[tuple[str, float | None, float | None], ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        """Every tag whose count says how much a filter keeps."""
        return (*self.all_tags, *(t for group in self.any_tags for t in group))

    @property
    def marks(self) -> tuple[str, ...]:
        """Every mark whose count says so."""
        return (*self.all_marks, *(m for group in self.any_marks for m in group))


def filters_of(request: SearchRequest) -> Filters:
    """Return the tags and marks that a request asks for."""
    groups = [tuple(f"condition={c}" for c in request.conditions), tuple(f"brand={b}" for b in request.brands)]
    groups += [tuple(f".{key}={v[:80]}" for v in values) for key, values in request.attributes.items()]
    one = [g[0] for g in groups if len(g) == 1]
    one += [
        f"{name}={value}"
        for name, value in (("category", request.category), ("kind", request.kind), ("feed", request.feed))
        if value
    ]
    marks = (["stock"] if request.in_stock else []) + ([f"seller={request.seller_id}"] if request.seller_id else [])
    any_marks = [g for g in (_price_bands(request), _cells(request), _weeks(request)) if g]
    ranges = tuple((k, low, high) for k, (low, high) in request.ranges.items() if low is not None or high is not None)
    return Filters(tuple(one), tuple(g for g in groups if len(g) > 1), tuple(marks), tuple(any_marks), ranges[:8])


def _price_bands(request: SearchRequest) -> tuple[str, ...]:
    """The bands a price may lie in; none where the range is so wide that they would not narrow."""
    if request.max_minor is None:
        return ()
    first, last = _band(request.min_minor or 0), _band(request.max_minor)
    return tuple(f"price={n}" for n in range(first, last + 1)) if 0 <= last - first <= 60 else ()


def _band(minor: int) -> int:
    """The band of a price, as `search_price_band` of the database has it; one lower or higher at a border does no harm."""
    return math.floor(4 * math.log2(max(minor, 0) + 1))


def _cells(request: SearchRequest) -> tuple[str, ...]:
    """The map cells that a circle touches: of a fifth of a degree, or of two; none where it spans too many."""
    if request.near is None or request.radius_m is None or request.radius_m > 1_500_000:
        return ()
    lat, lon = request.near
    for name, size in (("cell", 0.2), ("area", 2.0)):
        high = request.radius_m / 110_000
        widest = min(abs(lat) + high, 89.0)
        wide = min(high / math.cos(math.radians(widest)), 180.0)
        rows = range(math.floor((lat - high) / size), math.floor((lat + high) / size) + 1)
        columns = range(math.floor((lon - wide) / size), math.floor((lon + wide) / size) + 1)
        if len(rows) * len(columns) <= 64:
            around = round(360 / size)
            first = -around // 2
            return tuple(f"{name}={r},{(c - first) % around + first}" for r in rows for c in columns)
    return ()


def _weeks(request: SearchRequest) -> tuple[str, ...]:
    if request.max_age_days is None or request.max_age_days > 400:
        return ()
    now = time.time()
    first, last = int((now - request.max_age_days * 86400) // 604800), int(now // 604800)
    return tuple(f"week={n}" for n in range(first, last + 2))

"""The address of a results page as a search request, and a search's result as filters, chips and links.

Parameters: q, sort, view, after, feed, kind, category, condition, brand, min_price, max_price (major units), in_stock, seller,
place or lat and lon, within (kilometres), days, and `a_<key>` for an attribute (min_a_<key>, max_a_<key> for a number).
What makes no sense is left out, never an error: addresses are shared, shortened and typed by hand.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, get_args
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from tradepost.catalog.listing_pages import find_place
from tradepost.catalog.types import Category
from tradepost.core.errors import Invalid
from tradepost.core.money import to_major, to_minor
from tradepost.flows.preset import Field, StoreSettings
from tradepost.flows.store import Store
from tradepost.search.types import FacetValue, SearchRequest, SearchResult, Sort
from tradepost.web.rendering import money_formatter

_SORT_LABELS: dict[Sort, str] = {
    "best": "Best match", "newest": "Newest", "popular": "Popular", "nearest": "Nearest", "cheapest": "Price, low first",
    "dearest": "Price, high first", "rated": "Best rated",
}  # fmt: skip
_WITHIN_KM = (5, 25, 100, 300)
_MOST_VALUES = 20
_MOST_SHOWN = 30


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What an address asks for. `pairs` are its parameters that mean something, in order, without `after`."""

    request: SearchRequest
    pairs: tuple[tuple[str, str], ...]
    place: str = ""
    view: str = ""


async def read_address(
    store: Store, params: Iterable[tuple[str, str]], category: Category | None, position: tuple[float, float] | None
) -> Asked:
    """Return the request that an address makes. `position` is where the visitor is, as far as they told."""
    given: dict[str, list[str]] = {}
    for name, value in params:
        if value.strip() and len(given.setdefault(name, [])) < _MOST_VALUES:
            given[name].append(value.strip()[:200])
    one = {name: values[0] for name, values in given.items() if values}
    settings = store.settings
    near, place = await _near(store, one, position)
    attributes, ranges = _attributes(given, one, settings)
    within = _number(one.get("within"))
    request = SearchRequest(
        query=one.get("q", ""), category=category.slug if category else None,
        kind=_one_of(one.get("kind"), (k.code for k in settings.kinds)), feed=_one_of(one.get("feed"), (f.code for f in settings.feeds)),
        conditions=tuple(c for c in given.get("condition", ()) if c in {k.code for k in settings.conditions}),
        brands=tuple(given.get("brand", ())), attributes=attributes, ranges=ranges,
        min_minor=_minor(one.get("min_price"), store.currency), max_minor=_minor(one.get("max_price"), store.currency),
        in_stock=one.get("in_stock") == "1", seller_id=_uuid(one.get("seller")), verified_seller=one.get("verified") == "1",
        near=near, radius_m=min(within, 20_000) * 1000 if within and within > 0 and near else None,
        max_age_days=min(int(days), 3650) if (days := _number(one.get("days"))) and days >= 1 else None,
        sort=_sort(one.get("sort"), one.get("q", ""), near), after=one.get("after"),
    )  # fmt: skip
    known = ("q", "sort", "view", "feed", "kind", "condition", "brand", "min_price", "max_price", "in_stock", "seller", "verified",
             "place", "lat", "lon", "within", "days", *_attribute_params(settings))  # fmt: skip
    pairs = tuple((name, value) for name in known for value in given.get(name, ()))
    return Asked(request=request, pairs=pairs, place=place, view=one.get("view", ""))


def _sort(wanted: str | None, query: str, near: tuple[float, float] | None) -> Sort:
    usual: Sort = "best" if query else "newest"
    found: Sort = next((s for s in get_args(Sort) if s == wanted), usual)
    return usual if (found == "nearest" and near is None) or (found == "best" and not query) else found


async def _near(
    store: Store, one: Mapping[str, str], position: tuple[float, float] | None
) -> tuple[tuple[float, float] | None, str]:
    """A place by name wins over the browser's position in the address, and that over the remembered one."""
    if one.get("place"):
        found = await find_place(store.db, one["place"])
        if found and found.lat is not None and found.lon is not None:
            return (found.lat, found.lon), found.name
    lat, lon = _number(one.get("lat")), _number(one.get("lon"))
    if lat is not None and lon is not None and abs(lat) <= 90 and abs(lon) <= 180:
        return (lat, lon), ""
    return position, ""


def _attributes(
    given: Mapping[str, list[str]], one: Mapping[str, str], settings: StoreSettings
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[float | None, float | None]]]:
    chosen: dict[str, tuple[str, ...]] = {}
    ranges: dict[str, tuple[float | None, float | None]] = {}
    for field in filter_fields(settings):
        name = f"a_{field.key}"
        if field.type == "number":
            low, high = _number(one.get(f"min_{name}")), _number(one.get(f"max_{name}"))
            if low is not None or high is not None:
                ranges[field.key] = (low, high)
        elif field.type == "boolean":
            if one.get(name) == "1":
                chosen[field.key] = ("true",)
        elif values := tuple(v for v in given.get(name, ()) if not field.choices or v in field.choices):
            chosen[field.key] = values
    return chosen, ranges


def _attribute_params(settings: StoreSettings) -> list[str]:
    return [
        name
        for f in filter_fields(settings)
        for name in ((f"min_a_{f.key}", f"max_a_{f.key}") if f.type == "number" else (f"a_{f.key}",))
    ]


def filter_fields(settings: StoreSettings) -> tuple[Field, ...]:
    """Return the attributes that a store filters by, each key once."""
    return _fields_of(settings.kinds)


@lru_cache(maxsize=32)
def _fields_of(kinds: tuple[Any, ...]) -> tuple[Field, ...]:
    return tuple({f.key: f for kind in kinds for f in kind.fields if f.filter}.values())


def address_of(store: Store, request: SearchRequest, **more: str) -> str:
    """Return the address of a results page that asks for this: what `read_address` reads, written."""
    currency = store.currency
    pairs: list[tuple[str, str | None]] = [
        ("q", request.query), ("feed", request.feed), ("kind", request.kind),
        *(("condition", c) for c in request.conditions), *(("brand", b) for b in request.brands),
        ("min_price", _major(request.min_minor, currency)), ("max_price", _major(request.max_minor, currency)),
        ("in_stock", "1" if request.in_stock else ""), ("seller", str(request.seller_id) if request.seller_id else ""),
        ("verified", "1" if request.verified_seller else ""), ("days", str(request.max_age_days or "")),
    ]  # fmt: skip
    if request.near and request.radius_m:
        lat, lon = request.near
        pairs += [("lat", f"{lat:g}"), ("lon", f"{lon:g}"), ("within", f"{request.radius_m / 1000:g}")]
    flags = {f.key for f in filter_fields(store.settings) if f.type == "boolean"}
    for key, values in request.attributes.items():
        pairs += [(f"a_{key}", "1" if key in flags else value) for value in values]
    for key, (low, high) in request.ranges.items():
        pairs += [(f"min_a_{key}", _plain(low)), (f"max_a_{key}", _plain(high))]
    base = f"/c/{request.category}" if request.category else "/search"
    return link(base, [(name, value) for name, value in pairs if value], **more)


def sorts_for(asked: Asked) -> list[tuple[str, str]]:
    """Return the orders that make sense for what is asked, with their labels."""
    left_out = {"best"} if not asked.request.query else set()
    if asked.request.near is None:
        left_out.add("nearest")
    return [(code, label) for code, label in _SORT_LABELS.items() if code not in left_out]


def link(base: str, pairs: Iterable[tuple[str, str]], **more: str) -> str:
    """Return an address with these parameters."""
    query = urlencode([*pairs, *more.items()])
    return f"{base}?{query}" if query else base


def filters_for(store: Store, asked: Asked, result: SearchResult) -> list[dict[str, Any]]:
    """Return the filter groups of a results page with their counts, those that cannot narrow left out."""
    counts = _Counts(result)
    request = asked.request
    found = [
        *_choices(
            "condition", "Condition", [(c.code, c.name) for c in store.settings.conditions], request.conditions, counts
        ),
        _price(store, request, result),
        *([{"key": "in_stock", "label": "In stock", "kind": "switch", "selected": request.in_stock, "count": None}]),
        *(_distance(asked) if store.settings.features.distance else ()),
    ]
    if len(store.settings.kinds) > 1:
        kinds: list[tuple[str, str]] = [(k.code, k.plural) for k in store.settings.kinds]
        found[:0] = _choices("kind", "What", kinds, (request.kind,) if request.kind else (), counts)
    found += _choices(
        "brand", "Brand", [(v.value, v.value) for v in counts.of("brand")[:_MOST_SHOWN]], request.brands, counts
    )
    for field in filter_fields(store.settings):
        found += _attribute(field, request, counts)
    return found


class _Counts:
    """Counts of a result's facets, as they are shown: “120+” where not everything was counted."""

    def __init__(self, result: SearchResult) -> None:
        self.facets = result.facets
        self.is_whole = result.total is not None
        self.by_group = {group: {v.value: v.count for v in values} for group, values in result.facets.items()}

    def of(self, group: str) -> tuple[FacetValue, ...]:
        """Return the values of a group, the commonest first."""
        return self.facets.get(group, ())

    def show(self, group: str, value: str) -> int | str | None:
        """Return a count as it is shown; None where it is not known."""
        count = self.by_group.get(group, {}).get(value)
        if count is None:
            return 0 if self.is_whole else None
        return count if self.is_whole else f"{count}+"


def _choices(
    key: str, label: str, values: Sequence[tuple[str, str]], chosen: tuple[str, ...], counts: _Counts, group: str = ""
) -> list[dict[str, Any]]:
    """One group of boxes; other values of a group in which something is chosen cannot be counted."""
    group = group or key
    options = [
        {"value": value, "label": text, "selected": value in chosen,
         "count": counts.show(group, value) if not chosen or value in chosen else None}
        for value, text in values
    ]  # fmt: skip
    occurring = [o for o in options if o["selected"] or o["count"] != 0]
    if not occurring or (len(occurring) < 2 and not chosen):
        return []
    return [{"key": key, "label": label, "kind": "choice", "options": occurring}]


def _attribute(field: Field, request: SearchRequest, counts: _Counts) -> list[dict[str, Any]]:
    key, group = f"a_{field.key}", f".{field.key}"
    if field.type == "number":
        low, high = request.ranges.get(field.key, (None, None))
        if not counts.of(group) and low is None and high is None:
            return []
        return [{"key": key, "label": field.label, "kind": "range", "unit": field.unit, "low": _plain(low), "high": _plain(high),
                 "minimum": None, "maximum": None}]  # fmt: skip
    chosen = request.attributes.get(field.key, ())
    if field.type == "boolean":
        count = counts.show(group, "true")
        return (
            [{"key": key, "label": field.label, "kind": "switch", "selected": bool(chosen), "count": count}]
            if count != 0 or chosen
            else []
        )
    values = [(c, c) for c in field.choices] or [(v.value, v.value) for v in counts.of(group)[:_MOST_SHOWN]]
    values += [(v, v) for v in chosen if (v, v) not in values]
    return _choices(key, field.label, values, chosen, counts, group)


def _price(store: Store, request: SearchRequest, result: SearchResult) -> dict[str, Any]:
    low, high = result.price_range or (None, None)
    return {
        "key": "price", "label": "Price", "kind": "range", "unit": store.currency,
        "low": _major(request.min_minor, store.currency), "high": _major(request.max_minor, store.currency),
        "minimum": _major(low, store.currency) or None, "maximum": _major(high, store.currency) or None,
    }  # fmt: skip


def _distance(asked: Asked) -> list[dict[str, Any]]:
    near = asked.request.near
    chosen = round(asked.request.radius_m / 1000) if asked.request.radius_m else 0
    options = [{"value": str(km), "label": f"{km} km", "selected": km == chosen} for km in _WITHIN_KM]
    return [
        {"key": "distance", "label": "Distance", "kind": "distance", "place": asked.place, "places": (), "options": options,
         "lat": near[0] if near and not asked.place else None, "lon": near[1] if near and not asked.place else None}
    ]  # fmt: skip


def chips_for(store: Store, asked: Asked, base: str) -> list[tuple[str, str]]:
    """Return the filters in force as labels, each with the address that takes it off."""
    fields = {f"a_{f.key}": f for f in filter_fields(store.settings)}
    names = {c.code: c.name for c in store.settings.conditions} | {k.code: k.plural for k in store.settings.kinds}
    chips = []
    for n, (name, value) in enumerate(asked.pairs):
        label = _chip(name, value, fields, names, store, asked)
        if label:
            gone = {"place", "lat", "lon", "within"} if name in {"place", "within"} else set()
            rest = [p for m, p in enumerate(asked.pairs) if m != n and p[0] not in gone]
            chips.append((label, link(base, rest)))
    return chips


def _chip(
    name: str, value: str, fields: Mapping[str, Field], names: Mapping[str, str], store: Store, asked: Asked
) -> str:
    bare = name.removeprefix("min_").removeprefix("max_")
    if bare in fields:
        field = fields[bare]
        if field.type == "boolean":
            return field.label
        text = f"{value} {field.unit}".strip()
        return {"min_": f"{field.label} from {text}", "max_": f"{field.label} to {text}"}.get(
            name[:4], f"{field.label}: {text}"
        )
    if name in {"min_price", "max_price"}:
        minor = asked.request.min_minor if name == "min_price" else asked.request.max_minor
        money = money_formatter(store.settings.store.locale, store.currency)(minor) if minor is not None else ""
        return f"{'From' if name == 'min_price' else 'Up to'} {money}" if money else ""
    if name == "within" and asked.request.radius_m:
        return f"Within {value} km" + (f" of {asked.place}" if asked.place else "")
    plain = {"in_stock": "In stock", "verified": "Verified sellers"}
    return names.get(value, value) if name in {"condition", "kind", "brand"} else plain.get(name, "")


def _plain(number: float | None) -> str:
    return "" if number is None else f"{number:g}"


def _major(minor: int | None, currency: str) -> str:
    return "" if minor is None else f"{to_major(minor, currency):f}"


def _number(text: str | None) -> float | None:
    try:
        value = float(Decimal((text or "").replace(",", ".")))
    except (ArithmeticError, ValueError):
        return None
    return value if abs(value) < 1e12 else None


def _minor(text: str | None, currency: str) -> int | None:
    number = _number(text)
    if number is None or number < 0:
        return None
    try:
        return to_minor(Decimal(str(number)), currency)
    except (Invalid, ArithmeticError, ValueError):
        return None


def _one_of(value: str | None, known: Iterable[str]) -> str | None:
    return value if value in set(known) else None


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None

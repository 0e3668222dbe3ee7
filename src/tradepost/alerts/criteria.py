"""What an alert asks for: its published form, the checks beyond it, and what is left once the free words are understood.

Knows no database and no store: what a store offers comes in as arguments.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.core.fields import check_fields
from tradepost.search.rules import read_query
from tradepost.search.types import SearchRequest

FARTHEST_M: Final = 20_000_000
Text = Annotated[str, Meta(min_length=1, max_length=100)]
Texts = Annotated[tuple[Text, ...], Meta(max_length=20)]
Brands = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(max_length=20)]
Key = Annotated[str, Meta(min_length=1, max_length=60)]
Bound = Annotated[float, Meta(ge=-1e12, le=1e12)]
Minor = Annotated[int, Meta(ge=0, le=10**15)]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]


class Criteria(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an alert asks for; all of it must hold, of several values of one field any. Prices in minor units, distances in metres.

    `words` must all occur, `without` none; `price_drop_minor` and `price_drop_percent` are how much cheaper a listing became,
    `back_in_stock` that it can be had again.
    """

    query: Annotated[str, Meta(max_length=200, description="Free words, as in the search field.")] = ""
    words: Texts = ()
    without: Texts = ()
    category: Text | None = None
    kind: Text | None = None
    feed: Text | None = None
    conditions: Texts = ()
    brands: Brands = ()
    attributes: Annotated[dict[Key, Texts], Meta(max_length=20)] = {}
    ranges: Annotated[dict[Key, tuple[Bound | None, Bound | None]], Meta(max_length=8)] = {}
    min_minor: Minor | None = None
    max_minor: Minor | None = None
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] | None = None
    in_stock: bool = False
    seller_id: UUID | None = None
    verified_seller: bool = False
    sources: Texts = ()
    near: tuple[Latitude, Longitude] | None = None
    radius_m: Annotated[float, Meta(ge=1, le=FARTHEST_M)] | None = None
    max_age_days: Annotated[int, Meta(ge=1, le=3650)] | None = None
    price_drop_minor: Annotated[int, Meta(ge=1, le=10**15)] | None = None
    price_drop_percent: Annotated[int, Meta(ge=1, le=99)] | None = None
    back_in_stock: bool = False


class Offered(msgspec.Struct, frozen=True):
    """What a store has to choose from, and its currency. `choices` are the attributes whose values the free words may name."""

    currency: str
    categories: Collection[str] = ()
    kinds: Collection[str] = ()
    feeds: Collection[str] = ()
    conditions: Collection[str] = ()
    sources: Collection[str] = ()
    choices: Mapping[str, tuple[str, ...]] = {}


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a listing must have, free words understood. `any_of`: of each group of tags one; `phrases`: words in this order."""

    words: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    any_of: tuple[tuple[str, ...], ...] = ()
    min_minor: int | None = None
    max_minor: int | None = None
    currency: str | None = None
    near: tuple[float, float] | None = None
    radius_m: float | None = None
    ranges: dict[str, tuple[float | None, float | None]] = {}
    is_verified: bool = False
    max_age_days: int | None = None
    drop_minor: int | None = None
    drop_percent: int | None = None
    is_back: bool = False


def check_criteria(asked: Criteria, offered: Offered) -> None:
    """Raise `FieldErrors` that say which fields a store cannot fulfil."""
    together = "A place and a radius come together."
    is_half = (asked.near is None) != (asked.radius_m is None)
    is_crossed = asked.min_minor is not None and asked.max_minor is not None and asked.min_minor > asked.max_minor
    check_fields({
        "near": together if is_half else None,
        "radius_m": together if is_half else (
            f"At most {FARTHEST_M // 1000:,} km." if asked.radius_m and asked.radius_m > FARTHEST_M else None),
        "min_minor": "The lowest price is above the highest." if is_crossed else None,
        "ranges": next((f"{k}: the lowest value is above the highest." for k, (low, high) in asked.ranges.items()
                        if low is not None and high is not None and low > high), None),
        "category": _unknown((asked.category,), offered.categories),
        "kind": _unknown((asked.kind,), offered.kinds),
        "feed": _unknown((asked.feed,), offered.feeds),
        "conditions": _unknown(asked.conditions, offered.conditions),
        "sources": _unknown(asked.sources, offered.sources),
    })  # fmt: skip


def _unknown(values: Iterable[str | None], known: Collection[str]) -> str | None:
    strange = [v for v in values if v is not None and v not in known]
    return f"There is no {strange[0]}." if strange else None


def request_of(query: str, criteria: Mapping[str, Any]) -> SearchRequest:
    """Return the search that shows what an alert is about; what only alerts can ask is left out."""
    said = [
        query,
        *criteria.get("words", ()),
        *(f'-"{w}"' if " " in w else f"-{w}" for w in criteria.get("without", ())),
    ]
    return msgspec.convert({**criteria, "query": " ".join(part for part in said if part)}, SearchRequest)


def criteria_of_alert(query: str, criteria: Mapping[str, Any]) -> Criteria:
    """Return what is kept of an alert as its form."""
    return msgspec.convert({**criteria, "query": query}, Criteria, strict=False)


def needs_of(asked: Criteria, offered: Offered) -> Needs:
    """Return what a listing must have. Filters that were chosen win over those that the free words name, as in a search."""
    wanted = read_query(asked.query, currency=offered.currency, choices=offered.choices)
    found = wanted.understood
    low = found.min_minor if asked.min_minor is None else asked.min_minor
    high = found.max_minor if asked.max_minor is None else asked.max_minor
    has_amount = low is not None or high is not None or asked.price_drop_minor is not None
    return Needs(
        words=tuple(dict.fromkeys((*wanted.words, *(w for w in asked.words if " " not in w.strip())))),
        phrases=(*wanted.phrases, *(w for w in asked.words if " " in w.strip())),
        without=(*found.without, *asked.without),
        any_of=_groups(asked, {**found.attributes, **asked.attributes}, in_stock=asked.in_stock or found.in_stock),
        min_minor=low, max_minor=high, currency=(asked.currency or offered.currency) if has_amount else asked.currency,
        near=asked.near if asked.radius_m else None, radius_m=asked.radius_m if asked.near else None,
        ranges={k: (a, b) for k, (a, b) in sorted(asked.ranges.items()) if a is not None or b is not None},
        is_verified=asked.verified_seller, max_age_days=asked.max_age_days,
        drop_minor=asked.price_drop_minor, drop_percent=asked.price_drop_percent, is_back=asked.back_in_stock,
    )  # fmt: skip


def _groups(
    asked: Criteria, attributes: Mapping[str, tuple[str, ...]], *, in_stock: bool
) -> tuple[tuple[str, ...], ...]:
    """Return the tags that are required, as the statement of the matcher spells those of a listing."""
    groups: list[tuple[str, ...]] = [
        tuple(f"=condition={v}" for v in asked.conditions),
        tuple(f"=brand={v.lower()[:80]}" for v in asked.brands),
        tuple(f"=source={v}" for v in asked.sources),
        *(tuple(f"=.{key}={v.lower()[:80]}" for v in values) for key, values in sorted(attributes.items())),
        (f"=category={asked.category}",) if asked.category else (),
        (f"=kind={asked.kind}",) if asked.kind else (),
        (f"=feed={asked.feed}",) if asked.feed else (),
        (f"=seller={asked.seller_id}",) if asked.seller_id else (),
        ("=stock",) if in_stock else (),
        ("=~drop",) if asked.price_drop_minor or asked.price_drop_percent else (),
        ("=~back",) if asked.back_in_stock else (),
    ]
    return tuple(tuple(dict.fromkeys(group)) for group in groups if group)

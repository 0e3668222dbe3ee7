"""One spelling for what a search asks: what two searches have in common that mean the same."""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from tradepost.alerts.criteria import Criteria
from tradepost.core.text import one_line
from tradepost.search.rules import tidy_query
from tradepost.search.types import SearchRequest

_USUAL = SearchRequest()
_NOT_KEPT = ("query", "sort", "after", "limit", "facets", "explain", "published_after")


def criteria_of(request: SearchRequest) -> tuple[str, dict[str, Any]]:
    """Return the words and the filters of a search as they are kept: sorted, without what is not asked, without how it is shown.

    A position without a radius only orders, so it is left out.
    """
    near = (round(request.near[0], 4), round(request.near[1], 4)) if request.near and request.radius_m else None
    tidy = msgspec.structs.replace(
        request, conditions=tuple(sorted(set(request.conditions))), brands=tuple(sorted(set(request.brands))),
        attributes={k: tuple(sorted(set(v))) for k, v in sorted(request.attributes.items())},
        ranges=dict(sorted(request.ranges.items())), near=near, radius_m=request.radius_m if near else None,
    )  # fmt: skip
    asked = {
        name: getattr(tidy, name)
        for name in SearchRequest.__struct_fields__
        if name not in _NOT_KEPT and getattr(tidy, name) != getattr(_USUAL, name)
    }
    return tidy_query(request.query), msgspec.to_builtins(asked)


def criteria_of_form(asked: Criteria) -> tuple[str, dict[str, Any]]:
    """Return the words and the filters of a form as they are kept; equal to those of the search that asks for the same."""
    request = SearchRequest(
        **{n: getattr(asked, n) for n in Criteria.__struct_fields__ if n in SearchRequest.__struct_fields__}
    )
    query, kept = criteria_of(request)
    more: dict[str, Any] = {
        "words": tidy_words(asked.words),
        "without": tidy_words(asked.without),
        "sources": sorted(set(asked.sources)),
        **{n: getattr(asked, n) for n in ("currency", "price_drop_minor", "price_drop_percent", "back_in_stock")},
    }
    return query, {**kept, **{name: value for name, value in more.items() if value}}


def tidy_words(words: Iterable[str]) -> list[str]:
    """Return words in one spelling: on one line, without capitals, each once."""
    return sorted({tidy for word in words if (tidy := one_line(word).lower())})


def criteria_hash(query: str, criteria: dict[str, Any]) -> bytes:
    """Return what is equal for equal searches; capitals do not count."""
    return hashlib.sha256(msgspec.json.encode([query.casefold(), criteria], order="sorted")).digest()

"""Searching: from what somebody wants to a page of cards, in two round trips.

The first asks what is known of the words (how common, how misspelled, what else they are called), the second ranks. How many
documents are expected decides between fetching all of them, fetching the popular ones among them, and walking along an order.
"""

import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

from tradepost.catalog.types import ListingCard
from tradepost.core.database import Database
from tradepost.core.pages import page_size
from tradepost.search.filters import Filters, filters_of
from tradepost.search.plan import Plan, cursor_after, plan_search, weights_of
from tradepost.search.queries import UNDERSTAND, QueryFacts, ranking
from tradepost.search.rules import Words
from tradepost.search.spelling import spell
from tradepost.search.types import FacetValue, Score, SearchRequest, SearchResult, SearchType, Weights

_KNOWN_FOR_S = 20.0
_MOST_KNOWN = 2000
_CARD_FIELDS = len(ListingCard.__struct_fields__)
MeaningOf = Callable[[str], Awaitable[list[float] | None]]
_facts: WeakKeyDictionary[Database, dict[Any, tuple[float, QueryFacts]]] = WeakKeyDictionary()


async def facts_of(db: Database, wanted: Words, filters: Filters) -> QueryFacts:
    """Return what is known of a query's words and filters; a process remembers it for some seconds."""
    tags, marks = filters.tags, filters.marks
    key = (wanted.words, wanted.phrases, wanted.understood.without, tags, marks)
    known = _facts.setdefault(db, {})
    found, now = known.get(key), time.monotonic()
    if found and now - found[0] < _KNOWN_FOR_S:
        return found[1]
    pairs = list(pairwise(wanted.words))
    asked = [*wanted.words, *(a + b for a, b in pairs), *(f"{a} {b}" for a, b in pairs), *wanted.understood.without]
    rows = await db.read(
        UNDERSTAND, into=QueryFacts, plan_once=True, words=asked, phrases=list(wanted.phrases), tags=list(tags), marks=list(marks)
    )  # fmt: skip
    if len(known) >= _MOST_KNOWN:
        known.clear()
    known[key] = now, rows[0]
    return rows[0]


def forget_facts(db: Database) -> None:
    """Have this process ask anew: call it after changing weights, synonyms or counts."""
    _facts.pop(db, None)


async def search_documents(
    db: Database,
    request: SearchRequest,
    wanted: Words,
    *,
    meaning_of: MeaningOf | None = None,
    weights: Weights | None = None,
) -> SearchResult:
    """Return one page of what fits `request`, whose query is `wanted` taken apart; `meaning_of` gives the vector of the mended words.

    `weights` are tried instead of the store's own. Raises `NoSuchPage`.
    """
    filters = filters_of(request)
    facts = await facts_of(db, wanted, filters)
    spellings = spell(wanted, facts)
    said = spellings.corrected or " ".join(wanted.words)
    vector = await meaning_of(said) if meaning_of and facts.has_vectors and said and request.sort == "best" else None
    plan = plan_search(request, wanted, spellings, filters, facts, weights or weights_of(facts), vector)
    if (
        wanted.tidy
        and not plan.spellings.groups
        and not plan.shape.pattern
        and vector is None
        and not _has_filter(request, filters)
    ):
        return SearchResult(items=(), total=0)
    rows = await db.read(ranking(plan.shape), plan_once=True, **plan.params)
    return _result(request, plan, rows)


def _has_filter(request: SearchRequest, filters: Filters) -> bool:
    bounds = (request.min_minor, request.max_minor, request.radius_m, request.max_age_days, request.published_after)
    return bool(filters.tags or filters.marks or filters.ranges) or any(b is not None for b in bounds)


def _result(request: SearchRequest, plan: Plan, rows: list[Any]) -> SearchResult:
    limit = page_size(request.limit)
    shown = rows[:limit]
    items = tuple(ListingCard(*row[:_CARD_FIELDS]) for row in shown)
    sort = plan.shape.sort
    found = rows[0]["found"] if rows else 0
    is_whole = not plan.shape.walk and found < plan.shape.ranked and not _is_tiered(plan)
    facets, low, high = _facets(rows[0]["facets"] if rows else None)
    return SearchResult(
        items=items, after=cursor_after(plan, items[-1].sort_value, items[-1].id) if len(rows) > limit else None,
        total=found if is_whole else None, at_least=found, facets=facets,
        price_range=(low, high) if low is not None and high is not None else None,
        corrected_query=plan.spellings.corrected, search_type=_kind(plan), is_relaxed=bool(rows and rows[0]["is_relaxed"]),
        scores=tuple(_score(row) for row in shown) if request.explain and sort == "best" else (),
    )  # fmt: skip


def _is_tiered(plan: Plan) -> bool:
    return plan.shape.tier > 0 and not plan.shape.walk


def _kind(plan: Plan) -> SearchType:
    has_words = bool(plan.spellings.groups) or plan.shape.pattern
    if plan.shape.vector:
        return "both" if has_words else "vectors"
    return "words" if has_words else "browse"


def _facets(counted: dict[str, Any] | None) -> tuple[dict[str, tuple[FacetValue, ...]], int | None, int | None]:
    """Group counted tags by what stands before the “=”, the commonest first."""
    if not counted:
        return {}, None, None
    groups: dict[str, list[FacetValue]] = {}
    for tag, count in (counted["tags"] or {}).items():
        name, _, value = tag.partition("=")
        groups.setdefault(name, []).append(FacetValue(value, count))
    ordered = {name: tuple(sorted(values, key=lambda v: (-v.count, v.value))) for name, values in groups.items()}
    return ordered, counted["low"], counted["high"]


def _score(row: Any) -> Score:
    parts = row["parts"]
    return Score(
        row["id"], parts["words"], parts["meaning"], parts["popularity"], parts["freshness"], row["sort_value"]
    )

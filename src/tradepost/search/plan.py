"""From a request and what is known of its words to a statement: what to fetch, in which order, how much of it."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import BitString

from tradepost.core import clock
from tradepost.core.pages import Moment, NoSuchPage, from_cursor, page_size, to_cursor
from tradepost.search.filters import Filters
from tradepost.search.queries import FEW, SAMPLE, QueryFacts, Shape
from tradepost.search.rules import Words
from tradepost.search.spelling import Spellings, quoted
from tradepost.search.types import SearchRequest, Sort, Weights

_WHOLE = 20_000  # an order by date, price or distance is sorted exactly up to so many documents
_NARROW = 20_000  # among so few documents every vector is compared
_PLENTY = (
    100  # where words find so many, meaning orders them and adds none: benchmarks/search_quality.py sees no difference
)
_FARTHEST = {"index": 1200, "glance": 300}  # documents that the vector index is asked for at most
_CURSORS: dict[str, Any] = {"newest": Moment, "cheapest": int, "dearest": int}
_DEFAULTS = Weights()


class Plan(msgspec.Struct, frozen=True):
    """A search ready to run: its statement's shape and parameters, and what to tell about it."""

    shape: Shape
    params: dict[str, Any]
    spellings: Spellings


def weights_of(facts: QueryFacts) -> Weights:
    """Return the store's weights: what staff chose over the defaults."""
    return msgspec.convert(facts.settings, Weights) if facts.settings else _DEFAULTS


def plan_search(
    request: SearchRequest,
    wanted: Words,
    spellings: Spellings,
    filters: Filters,
    facts: QueryFacts,
    weights: Weights,
    vector: Sequence[float] | None,
) -> Plan:
    """Return what to run for a request. Raises `NoSuchPage` for a cursor that is none of ours."""
    sort: Sort = "best" if request.sort == "nearest" and request.near is None else request.sort
    kept = _share_kept(filters, facts)
    has_words = bool(spellings.groups)
    expected = _expected(spellings, kept, facts)
    moment = clock.now().replace(minute=0, second=0, microsecond=0)
    pattern = None if has_words or vector is not None else _pattern(wanted)
    ranked, walk, popular_will_do = _amount(sort, expected, weights, has_words=has_words, has_order=pattern is None)
    if walk:
        ranked = page_size(request.limit) + 1
    tier = _tier(expected, SAMPLE if walk else weights.ranked, facts) if walk or popular_will_do else 0
    way = _vector_way(vector, weights, sort, facts, kept, expected if has_words else 0)
    near = request.near is not None
    shape = Shape(
        sort=sort, groups=tuple(len(g) for g in spellings.groups), loose=len(spellings.groups) > 1 and sort == "best",
        pattern=pattern is not None, walk=walk, tier=tier if request.facets or not walk else 0, all_tags=bool(filters.all_tags), all_marks=bool(filters.all_marks),
        any_tags=len(filters.any_tags), any_marks=len(filters.any_marks), low=request.min_minor is not None,
        high=request.max_minor is not None, radius=near and request.radius_m is not None, near=near,
        age=request.max_age_days is not None, since=request.published_after is not None, verified=request.verified_seller,
        ranges=tuple((low is not None, high is not None) for _, low, high in filters.ranges), vector=way,
        after=request.after is not None, facets=request.facets, explain=request.explain, ranked=ranked,
        compared=weights.compared, neighbours=weights.neighbours,
    )  # fmt: skip
    params: dict[str, Any] = {"limit": page_size(request.limit) + 1} | _filter_params(request, filters, shape)
    params |= _word_params(spellings, wanted, facts, weights, shape)
    if pattern is not None:
        params["pattern"] = pattern
    if request.after is not None:
        params["after_value"], params["after_id"], moment = _read_cursor(request.after, sort)
    if sort == "best":
        params["moment"] = moment
        params |= {f"w_{n}": getattr(weights, n) for n in ("words", "meaning", "popularity", "freshness")}
    if way and vector is not None:
        params |= {"vector": vector} | ({} if way == "known" else {"likeness": weights.likeness})
        if way == "few":
            params["signature"] = signature_of(vector)
        elif way in _FARTHEST:
            params["reach"] = min(_FARTHEST[way], math.ceil(weights.neighbours / max(kept, 0.001)))
    return Plan(shape, params, spellings)


def signature_of(vector: Sequence[float]) -> BitString:
    """Return the signs of a vector, as documents keep them."""
    return BitString("".join("1" if x > 0 else "0" for x in vector))


def _expected(spellings: Spellings, kept: float, facts: QueryFacts) -> float:
    """Return about how many documents pass. Words and filters go together in a shop, so filters count by half their power."""
    shares = [min(1.0, sum(s.documents for s in g) / max(facts.documents, 1)) for g in spellings.groups]
    if not shares:
        return facts.documents * kept
    return facts.documents * min(shares) * math.sqrt(kept)


def _amount(
    sort: Sort, expected: float, weights: Weights, *, has_words: bool, has_order: bool
) -> tuple[int, bool, bool]:
    """Return how many to fetch, whether to walk along an order instead, and whether the popular ones will do."""
    if sort == "best" and has_words:
        return weights.ranked, False, True
    if sort == "best":
        return weights.ranked, has_order and expected > weights.ranked, False
    return _WHOLE, expected > 2 * weights.ranked, False


def _vector_way(
    vector: Sequence[float] | None, weights: Weights, sort: Sort, facts: QueryFacts, kept: float, found: float
) -> str:
    """Return how meaning takes part: not at all, for what words have found, or with the nearest of all that are left, compared, or by the index.

    Where words find some, a glance at the index will do.
    """
    if vector is None or sort != "best" or weights.meaning == 0:
        return ""
    if found > _PLENTY:
        return "known"
    if facts.documents * kept <= _NARROW:
        return "few"
    return "glance" if found > FEW else "index"


def _tier(expected: float, wanted: int, facts: QueryFacts) -> int:
    """Return which tier to look in: each keeps a quarter of the one before; 0 is all of them."""
    tier = 0
    while expected > 1.5 * wanted and tier < facts.tiers:
        tier, expected = tier + 1, expected / 4
    return tier


def _share_kept(filters: Filters, facts: QueryFacts) -> float:
    """Return the share of documents that the filters keep, as if they had nothing to do with each other."""
    share = 1.0
    for kind, groups in (("tag", filters.any_tags), ("mark", filters.any_marks)):
        for group in groups:
            share *= min(1.0, sum(facts.counts.get(f"{kind}:{term}", 0) for term in group) / max(facts.documents, 1))
    for kind, terms in (("tag", filters.all_tags), ("mark", filters.all_marks)):
        for term in terms:
            share *= min(1.0, facts.counts.get(f"{kind}:{term}", 0) / max(facts.documents, 1))
    return share


def _filter_params(request: SearchRequest, filters: Filters, shape: Shape) -> dict[str, Any]:
    params: dict[str, Any] = {f"any_tags_{n}": list(g) for n, g in enumerate(filters.any_tags)}
    params |= {f"any_marks_{n}": list(g) for n, g in enumerate(filters.any_marks)}
    if shape.all_tags:
        params["all_tags"] = list(filters.all_tags)
    if shape.all_marks:
        params["all_marks"] = list(filters.all_marks)
    if shape.low:
        params["min_minor"] = request.min_minor
    if shape.high:
        params["max_minor"] = request.max_minor
    if request.near is not None:
        params["lat"], params["lon"] = request.near
    if shape.radius:
        params["radius_m"] = request.radius_m
    if shape.age:
        params["max_age_days"] = request.max_age_days
    if shape.since:
        params["published_after"] = request.published_after
    for n, (key, low, high) in enumerate(filters.ranges):
        params[f"range_{n}"] = key
        if low is not None:
            params[f"low_{n}"] = low
        if high is not None:
            params[f"high_{n}"] = high
    return params


def _word_params(
    spellings: Spellings, wanted: Words, facts: QueryFacts, weights: Weights, shape: Shape
) -> dict[str, Any]:
    if not spellings.groups:
        return {}
    also = "".join(f" & ({phrase})" for phrase in facts.phrases if phrase)
    by_word = {t.word: t for t in facts.terms}
    for word in wanted.understood.without:
        stems = by_word[word].stems if word in by_word else ()
        also += f" & !({' <-> '.join(quoted(s) for s in stems)})" if stems else ""
    params: dict[str, Any] = {"strict": f"({spellings.strict}){also}"}
    if shape.loose:
        params["loose"] = f"({spellings.loose}){also}"
    if shape.sort != "best":
        return params
    whole = sum(g[0].weight for g in spellings.groups) or 1.0
    for n, group in enumerate(spellings.groups):
        for m, spelling in enumerate(group):
            params[f"word_{n}_{m}"] = spelling.query
            params[f"weight_{n}_{m}"] = spelling.weight / whole
    fields = (weights.description, weights.attributes, weights.brand, weights.title)
    params["field_weights"] = [w / max(1.0, *fields) for w in fields]  # ts_rank takes none above 1
    return params | {"length_weight": weights.length, "usual_length": max(facts.average_length, 1.0)}


def _pattern(wanted: Words) -> str | None:
    """Return the LIKE pattern for a query without a single word that tells (the who): the title must have it as written."""
    if not wanted.words:
        return None
    plain = " ".join(wanted.words).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{plain}%"


def cursor_after(plan: Plan, value: Any, listing_id: UUID) -> str:
    """Return the cursor after a listing; its moment keeps what is fresh the same on every page."""
    return to_cursor(plan.shape.sort, value, listing_id, plan.params.get("moment"))


def _read_cursor(cursor: str, sort: Sort) -> tuple[Any, UUID, datetime]:
    of, value, key, moment = from_cursor(cursor, str, _CURSORS.get(sort, float), UUID, Moment | None)
    if of != sort:
        raise NoSuchPage
    return value, key, moment or clock.now()

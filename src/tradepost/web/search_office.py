"""Search in the back office: what found nothing, synonyms, and weights tried side by side."""

from typing import Any, get_type_hints
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from tradepost.core.errors import Conflict, Invalid
from tradepost.flows.manage_search import (
    add_synonym,
    compare_weights,
    remove_synonym,
    save_weights,
    search_office,
)
from tradepost.search.types import SearchResult, Weights
from tradepost.web.forms import first_problem, read_form
from tradepost.web.pages import go, page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

HERE = "/office/search"
_LABELS = {
    "words": "Words", "meaning": "Meaning", "popularity": "Popularity", "freshness": "Freshness", "title": "Word in the title",
    "brand": "Word in brand or category", "attributes": "Word in an attribute", "description": "Word in the description",
    "length": "What long texts pay", "likeness": "Least likeness without a word",
}  # fmt: skip


@get(HERE, include_in_schema=False)
async def office_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show how search does, and what a query would find with other weights."""
    found = await search_office(store, caller)
    asked = dict(request.query_params)
    query = asked.get("q", "").strip()[:200]
    tried, problem = _tried(asked, found.weights)
    now = other = None
    if query:
        now, other = await compare_weights(store, caller, query, tried)
    fields = [
        {"name": n, "label": label, "value": f"{getattr(tried, n):g}", "now": f"{getattr(found.weights, n):g}"}
        for n, label in _LABELS.items()
    ]
    return await page(
        request, store, caller, "search_office", figures=found.figures, unanswered=found.unanswered, synonyms=found.synonyms,
        fields=fields, query_tried=query, problem=problem, now=_rows(now, other), other=_rows(other, now),
    )  # fmt: skip


def _tried(asked: dict[str, str], present: Weights) -> tuple[Weights, str]:
    """Return the weights of the form, or those in force and what is wrong."""
    hints = get_type_hints(Weights)
    given: dict[str, Any] = {n: asked[n].replace(",", ".") for n in _LABELS if asked.get(n) and n in hints}
    try:
        return msgspec.convert(msgspec.to_builtins(present) | given, Weights, strict=False), ""
    except msgspec.ValidationError:
        return present, "Weights are numbers from 0 to 10; length and likeness from 0 to 1."


def _rows(result: SearchResult | None, other: SearchResult | None) -> list[dict[str, Any]]:
    """Return what a query finds, with each part of the score and the place that it has on the other side."""
    if result is None:
        return []
    places = {card.id: n for n, card in enumerate(other.items, 1)} if other else {}
    return [
        {"card": card, "score": score, "elsewhere": places.get(card.id)}
        for card, score in zip(result.items, result.scores, strict=True)
    ]


@post(f"{HERE}/weights", include_in_schema=False)
async def change_weights(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Have the store weigh as the form says."""
    form = await read_form(request)
    found = await search_office(store, caller)
    tried, problem = _tried(form.texts, found.weights)
    if problem:
        return go(request, HERE, say=problem, tone="bad")
    await save_weights(store, caller, tried)
    return go(request, HERE, say="Search weighs so from now on.")


@post(f"{HERE}/synonyms", include_in_schema=False)
async def new_synonym(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Add a synonym, typed or taken from the list of what found nothing."""
    form = await read_form(request)
    try:
        await add_synonym(store, caller, form.get("word"), form.get("means"), both_ways=form.get("both_ways") == "1")
    except (Conflict, Invalid) as error:
        return go(request, HERE, say=first_problem(error), tone="bad")
    return go(request, HERE, say=f"Who looks for “{form.get('word')}” finds “{form.get('means')}” too.")


@post(HERE + "/synonyms/{synonym_id:uuid}/remove", include_in_schema=False)
async def drop_synonym(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, synonym_id: FromPath[UUID]
) -> Redirect:
    """Remove a synonym."""
    await remove_synonym(store, caller, synonym_id)
    return go(request, HERE, say="Removed.")


search_office_routes = [office_page, change_weights, new_synonym, drop_synonym]

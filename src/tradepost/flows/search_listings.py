"""Search a store: read the query, understand prices and distances in it, rank, and note what was found."""

import time
from functools import lru_cache

import msgspec

from tradepost.accounts.types import Caller
from tradepost.catalog.listing_pages import category_tree
from tradepost.core.embeddings import query_vectors
from tradepost.core.ids import uuid7
from tradepost.core.metrics import SEARCH_SECONDS, SEARCHES
from tradepost.flows.preset import Kind, StoreSettings
from tradepost.flows.store import Store
from tradepost.search.log import SearchNote, note_search
from tradepost.search.rules import read_query
from tradepost.search.service import search_documents
from tradepost.search.suggesting import suggest
from tradepost.search.types import SearchRequest, SearchResult, Suggestion, Understood, Weights


async def search(
    store: Store, caller: Caller, request: SearchRequest, *, weights: Weights | None = None, is_noted: bool = True
) -> SearchResult:
    """Return one page of what fits `request`. What was read out of the words is in force unless the request says otherwise.

    Raises `NoSuchPage`. A first page with words is noted in the log, unless `is_noted` is false.
    """
    started = time.perf_counter()
    wanted = read_query(request.query, currency=store.currency, choices=_choices(store.settings))
    asked = _with_understood(request, wanted.understood)
    vectors = query_vectors(store.installation.embeddings)
    result = await search_documents(
        store.db, asked, wanted, meaning_of=vectors.of if vectors else None, weights=weights
    )
    result = msgspec.structs.replace(result, understood=wanted.understood)
    seconds = time.perf_counter() - started
    SEARCHES.add(store.code, result.search_type, "some" if result.at_least else "nothing")
    SEARCH_SECONDS.note(seconds, store.code)
    if not (is_noted and wanted.tidy and request.after is None):
        return result
    search_id = uuid7()
    note_search(store.db, SearchNote(
        id=search_id, query=wanted.tidy, corrected=result.corrected_query, user_id=caller.user_id, session_hash=caller.session,
        results_count=result.at_least, search_type=result.search_type, response_ms=seconds * 1000,
        filters=criteria_of(request),
    ))  # fmt: skip
    return msgspec.structs.replace(result, search_id=search_id)


def _with_understood(request: SearchRequest, found: Understood) -> SearchRequest:
    """Let filters that the person chose win over those read out of the words."""
    return msgspec.structs.replace(
        request,
        min_minor=found.min_minor if request.min_minor is None else request.min_minor,
        max_minor=found.max_minor if request.max_minor is None else request.max_minor,
        radius_m=found.radius_m if request.radius_m is None else request.radius_m,
        in_stock=request.in_stock or found.in_stock,
        attributes={**found.attributes, **request.attributes},
    )


def criteria_of(request: SearchRequest) -> dict[str, object]:
    """Return what a request asks for beside its words, without what is not asked: for the log."""
    every = msgspec.to_builtins(request)
    return {
        k: v
        for k, v in every.items()
        if k not in {"query", "limit", "facets", "explain", "after"} and v not in (None, False, [], {}, (), "best")
    }


def _choices(settings: StoreSettings) -> dict[str, tuple[str, ...]]:
    return _choices_of(settings.kinds)


@lru_cache(maxsize=32)
def _choices_of(kinds: tuple[Kind, ...]) -> dict[str, tuple[str, ...]]:
    return {f.key: f.choices for kind in kinds for f in kind.fields if f.type == "choice" and f.filter}


async def suggestions(store: Store, typed: str) -> tuple[Suggestion, ...]:
    """Return up to eight ways to go on from what somebody typed so far; after a blank the last word is taken as whole."""
    wanted = read_query(typed, currency=store.currency)
    return await suggest(store.db, await category_tree(store.db), wanted, is_open=not typed.endswith(" "))

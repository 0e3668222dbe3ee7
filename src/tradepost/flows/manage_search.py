"""Staff look after search: what found nothing, synonyms, weights side by side."""

from uuid import UUID

import msgspec

from tradepost.accounts.types import Caller
from tradepost.flows.search_listings import search
from tradepost.flows.store import Store
from tradepost.search import office
from tradepost.search.service import forget_facts
from tradepost.search.types import (
    SearchFigures,
    SearchRequest,
    SearchResult,
    Synonym,
    UnansweredQuery,
    Weights,
)

PERMISSION = "manage_catalog"


class SearchOffice(msgspec.Struct, frozen=True):
    """Everything the office page of search shows."""

    figures: SearchFigures
    unanswered: tuple[UnansweredQuery, ...]
    synonyms: tuple[Synonym, ...]
    weights: Weights


async def search_office(store: Store, caller: Caller) -> SearchOffice:
    """Return how search did in the last thirty days and what it is set to. Raises `NotAllowed`."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return SearchOffice(
            await office.search_figures(tx),
            tuple(await office.list_unanswered(tx)),
            tuple(await office.list_synonyms(tx)),
            await office.store_weights(tx),
        )


async def compare_weights(
    store: Store, caller: Caller, query: str, tried: Weights
) -> tuple[SearchResult, SearchResult]:
    """Return what a query finds as the store weighs now, and as it would with `tried`; neither is logged. Raises `NotAllowed`."""
    caller.check_can(PERMISSION)
    request = SearchRequest(query=query, limit=12, facets=False, explain=True)
    now = await search(store, caller, request, is_noted=False)
    return now, await search(store, caller, request, weights=tried, is_noted=False)


async def save_weights(store: Store, caller: Caller, weights: Weights) -> None:
    """Have the store weigh so from now on. Raises `NotAllowed`."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor) as tx:
        await office.set_weights(tx, weights)
    forget_facts(store.db)


async def add_synonym(store: Store, caller: Caller, word: str, means: str, *, both_ways: bool = True) -> UUID:
    """Add a synonym. Raises `NotAllowed`, `SynonymKnown`, `SameWord`."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor) as tx:
        added = await office.add_synonym(tx, word, means, both_ways=both_ways)
    forget_facts(store.db)
    return added


async def remove_synonym(store: Store, caller: Caller, synonym_id: UUID) -> None:
    """Remove a synonym. Raises `NotAllowed`, `NotFound`."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor) as tx:
        await office.remove_synonym(tx, synonym_id)
    forget_facts(store.db)

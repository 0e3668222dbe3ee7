"""Finding things: categories and search results with filters, and suggestions while typing."""

from typing import Any

import msgspec
from litestar import Response, get
from litestar.params import FromPath
from litestar.response import Redirect

from tradepost.accounts.types import Caller
from tradepost.alerts.rules import criteria_of
from tradepost.catalog.listing_pages import CategoryTree, category_tree
from tradepost.catalog.tree import now_called
from tradepost.catalog.types import Category
from tradepost.flows.search_listings import search, suggestions
from tradepost.flows.store import Store
from tradepost.search.types import SearchResult
from tradepost.web.listing_view import liked_ids
from tradepost.web.pages import page
from tradepost.web.position import position_of
from tradepost.web.rendering import template
from tradepost.web.search_form import Asked, chips_for, filters_for, link, read_address, sorts_for
from tradepost.web.search_visit import SEARCH_COOKIE
from tradepost.web.security import cookie
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest
from tradepost.web.visits import saw


@get("/c/{slug:str}", include_in_schema=False)
async def category_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, slug: FromPath[str]
) -> Response[Any]:
    """Show what is on offer in a category and below it; the address of a former category leads to the one it became part of."""
    tree = await category_tree(store.db)
    if slug not in tree.by_slug and (now := await now_called(store.db, slug)):
        return Redirect(f"/c/{now}", status_code=301)
    return await _results(request, store, caller, tree, tree.get(slug))


@get("/search", include_in_schema=False)
async def search_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show what a search finds, or everything."""
    tree = await category_tree(store.db)
    category = tree.by_slug.get(request.query_params.get("category", ""))
    return await _results(request, store, caller, tree, category)


async def _results(
    request: HttpRequest, store: Store, caller: Caller, tree: CategoryTree, category: Category | None
) -> Response[str]:
    asked = await read_address(store, request.query_params.multi_items(), category, position_of(request))
    is_first = asked.request.after is None
    result = await search(store, caller, msgspec.structs.replace(asked.request, facets=is_first))
    if is_first and asked.request.query:
        saw(request, store, caller, "searched", results=result.at_least)
    elif is_first and category:
        saw(request, store, caller, "category_viewed", category=category.slug)
    base = f"/c/{category.slug}" if category else "/search"
    feeds = _feeds(store, base, asked) if len(store.settings.feeds) > 1 else []
    context: dict[str, Any] = {
        **_heading(store, asked, result, category), "query": asked.request.query, "category": category,
        "children": () if asked.request.query else tree.children(category),
        "breadcrumbs": [(c.name, f"/c/{c.slug}") for c in tree.ancestry(category.id)] if category else [],
        "feeds": feeds, "cards": result.items, "liked_ids": await liked_ids(store, caller), "total": result.total,
        "filters": filters_for(store, asked, result), "active": chips_for(store, asked, base),
        "clear_path": link(base, [p for p in asked.pairs if p[0] in {"q", "sort", "view", "feed"}]),
        "sorts": sorts_for(asked), "sort": asked.request.sort, "view": asked.view, "base_path": base,
        "hidden": [p for p in asked.pairs if p[0] in {"q", "feed", "seller", "days"}],
        "save_address": link(base, asked.pairs) if _can_be_kept(asked) else None,
        "next_path": link(base, asked.pairs, after=result.after) if result.after else None,
    }  # fmt: skip
    kept = (
        [cookie(SEARCH_COOKIE, result.search_id.hex, secure=request.url.scheme == "https", max_age=600)]
        if result.search_id
        else []
    )
    return await page(request, store, caller, "category", cookies=tuple(kept), **context)


def _can_be_kept(asked: Asked) -> bool:
    return any(criteria_of(asked.request))


def _heading(store: Store, asked: Asked, result: SearchResult, category: Category | None) -> dict[str, Any]:
    query = asked.request.query
    if not query:
        return {
            "title": category.name if category else f"Everything at {store.settings.store.name}",
            "text": category.description if category else "",
        }
    shown = result.corrected_query or query
    title = f"“{shown}” in {category.name}" if category else f"“{shown}”"
    if result.corrected_query:
        return {"title": title, "text": f"Nothing is called “{query}”, so these are results for “{shown}”."}
    if result.is_relaxed and result.items:
        return {"title": title, "text": "Few things fit every word; what fits most of them follows."}
    return {"title": title, "text": ""}


def _feeds(store: Store, base: str, asked: Asked) -> list[dict[str, Any]]:
    pairs = [p for p in asked.pairs if p[0] != "feed"]
    return [
        {"label": f.name, "path": link(base, pairs, feed=f.code), "current": f.code == asked.request.feed}
        for f in store.settings.feeds
    ]


@get("/search/suggest", include_in_schema=False)
async def suggest_page(request: HttpRequest, store: GivenStore) -> Response[str]:
    """Show suggestions for what is in the search field, as a piece of a page."""
    typed = request.query_params.get("q", "")[:200]
    found = await suggestions(store, typed)
    body = template("components/suggestions.html").render(
        suggestions=[(s.kind, s.text, s.path or link("/search", [("q", s.text)])) for s in found]
    )
    return Response(body, media_type="text/html; charset=utf-8", headers={"cache-control": "private, max-age=60"})


finding_routes = [category_page, search_page, suggest_page]

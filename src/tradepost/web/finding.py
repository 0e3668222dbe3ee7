"""Finding things: category pages with filters and keyset paging."""

from typing import Any
from urllib.parse import urlencode

from litestar import Response, get
from litestar.params import FromPath

from tradepost.accounts.types import Caller
from tradepost.catalog.listing_pages import category_tree, list_listings
from tradepost.catalog.types import Category, ListingFilter, Sort
from tradepost.flows.store import Store
from tradepost.web.browse import liked_ids
from tradepost.web.pages import page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

SORTS: tuple[tuple[Sort, str], ...] = (
    ("newest", "Newest"),
    ("popular", "Popular"),
    ("cheapest", "Price, low first"),
    ("dearest", "Price, high first"),
)


@get("/c/{slug:str}", include_in_schema=False)
async def category_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, slug: FromPath[str]
) -> Response[str]:
    """Show what is on offer in a category and below it."""
    tree = await category_tree(store.db)
    return await _results(request, store, caller, tree.get(slug))


@get("/search", include_in_schema=False)
async def search_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show what is on offer in the whole store."""
    return await _results(request, store, caller, None)


async def _results(request: HttpRequest, store: Store, caller: Caller, category: Category | None) -> Response[str]:
    tree = await category_tree(store.db)
    asked = request.query_params
    sort: Sort = next((code for code, _ in SORTS if code == asked.get("sort")), "newest")
    feed = asked.get("feed") if asked.get("feed") in {f.code for f in store.settings.feeds} else None
    wanted = ListingFilter(category_ids=tree.subtree(category) if category else (), feed=feed)
    found = await list_listings(store.db, wanted, sort=sort, after=asked.get("after"))
    base = f"/c/{category.slug}" if category else "/search"
    kept = {k: v for k, v in asked.items() if k in {"sort", "feed", "view"}}
    context: dict[str, Any] = {
        "title": category.name if category else f"Everything at {store.settings.store.name}", "text": category.description if category else "",
        "query": "", "category": category, "children": tree.children(category),
        "breadcrumbs": [(c.name, f"/c/{c.slug}") for c in tree.ancestry(category.id)] if category else [],
        "feeds": _feeds(store, base, feed), "cards": found.items, "liked_ids": await liked_ids(store, caller), "total": None,
        "filters": [], "active": [], "clear_path": base, "sorts": SORTS, "sort": sort, "view": asked.get("view", ""),
        "base_path": base, "hidden": [(k, v) for k, v in kept.items() if k == "feed"],
        "next_path": f"{base}?{urlencode({**kept, 'after': found.after})}" if found.after else None,
    }  # fmt: skip
    return await page(request, store, caller, "category", **context)


def _feeds(store: Store, base: str, current: str | None) -> list[dict[str, Any]]:
    if len(store.settings.feeds) < 2:
        return []
    return [
        {"label": f.name, "path": f"{base}?feed={f.code}", "current": f.code == current} for f in store.settings.feeds
    ]


finding_routes = [category_page, search_page]

"""Alerts: kept from a results page or made here, listed with what is new, changed, paused, removed and taken back."""

from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from tradepost.accounts.types import Caller
from tradepost.alerts.queries import access_alert
from tradepost.alerts.service import change_alert, check_off, keep_search, remove_alert, rename_alert, restore_alert
from tradepost.catalog.listing_pages import category_tree
from tradepost.core.errors import Conflict, Invalid
from tradepost.flows.saved_searches import saved_searches
from tradepost.flows.store import Store
from tradepost.web.forms import first_problem, read_form
from tradepost.web.pages import go, page
from tradepost.web.position import position_of
from tradepost.web.search_form import Asked, address_of, chips_for, read_address
from tradepost.web.security import local_path
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

HERE = "/me/searches"
_LONGEST_NAME = 80
_LONGEST_ADDRESS = 4000


@get(HERE, include_in_schema=False)
async def searches_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, removed: FromQuery[UUID | None] = None
) -> Response[str]:
    """Show the person's searches; `removed` is the one that can be taken back."""
    found = await saved_searches(store, caller)
    rows = [
        {"alert": f.alert, "new": f"{f.new}+" if f.is_more else str(f.new or ""), "open": f"{HERE}/{f.alert.id}",
         "address": address_of(store, f.alert.request), "finds": f.found}
        for f in found
    ]  # fmt: skip
    return await page(request, store, caller, "saved_searches", rows=rows, removed=removed)


@get(HERE + "/{alert_id:uuid}", include_in_schema=False)
async def open_search(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID]
) -> Redirect:
    """Show what a search finds now, the newest first; from now on that is not new any more."""
    async with store.db.transaction(actor=caller.actor) as tx:
        alert = await access_alert(tx, caller, alert_id)
        if request.headers.get("sec-purpose", "") != "prefetch":
            await check_off(tx, caller, alert_id)
    if not alert.is_searchable:
        return go(request, f"/me/matches?alert={alert_id}")
    return go(request, address_of(store, alert.request, sort="newest"))


@post(HERE, include_in_schema=False)
async def save_search(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Keep the search of a results page, whose address the form holds."""
    address = local_path((await read_form(request)).get("address")[:_LONGEST_ADDRESS] or "/search")
    if not caller.is_signed_in:
        return go(request, f"/sign-in?{urlencode({'next': address})}", say="Please sign in first.", tone="info")
    asked, name = await _read(request, store, address)
    try:
        async with store.db.transaction(actor=caller.actor) as tx:
            await keep_search(tx, caller, asked.request, name)
    except (Conflict, Invalid) as error:
        return go(request, address, say=first_problem(error), tone="bad")
    return go(request, address, say=f"Kept as “{name}”: you are told of what is new.")


async def _read(request: HttpRequest, store: Store, address: str) -> tuple[Asked, str]:
    """Return what an address asks for, and a name for it."""
    parts = urlsplit(address)
    given = parse_qsl(parts.query)
    tree = await category_tree(store.db)
    slug = parts.path.removeprefix("/c/") if parts.path.startswith("/c/") else dict(given).get("category", "")
    category = tree.by_slug.get(slug)
    asked = await read_address(store, given, category, position_of(request))
    said = [
        asked.request.query,
        category.name if category else "",
        *(label for label, _ in chips_for(store, asked, "")),
    ]
    name = ", ".join(part for part in said if part) or "A search"
    return asked, name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1].rstrip() + "…"


@post(HERE + "/{alert_id:uuid}/rename", include_in_schema=False)
async def rename_search(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID]
) -> Redirect:
    """Call a search something else."""
    form = await read_form(request)
    return await _changed(request, store, caller, alert_id, form.get("name"))


async def _changed(request: HttpRequest, store: Store, caller: Caller, alert_id: UUID, name: str) -> Redirect:
    try:
        async with store.db.transaction(actor=caller.actor) as tx:
            await rename_alert(tx, caller, alert_id, name)
    except (Conflict, Invalid) as error:
        return go(request, HERE, say=first_problem(error), tone="bad")
    return go(request, HERE, say="Renamed.")


@post(HERE + "/{alert_id:uuid}/remove", include_in_schema=False)
async def remove_search(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID]
) -> Redirect:
    """Keep a search no longer; the page offers to take it back."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await remove_alert(tx, caller, alert_id)
    return go(request, f"{HERE}?removed={alert_id}")


@post(HERE + "/{alert_id:uuid}/restore", include_in_schema=False)
async def restore_search(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID]
) -> Redirect:
    """Take a removed search back."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await restore_alert(tx, caller, alert_id)
    return go(request, HERE, say="It is back.")


@post(HERE + "/{alert_id:uuid}/pause", include_in_schema=False)
async def pause_search(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID]
) -> Redirect:
    """Let an alert rest, or go on."""
    is_active = (await read_form(request)).get("active") == "yes"
    async with store.db.transaction(actor=caller.actor) as tx:
        await change_alert(tx, caller, alert_id, is_active=is_active)
    return go(request, HERE, say="It goes on." if is_active else "It rests until you let it go on.")


saved_search_routes = [
    searches_page, open_search, save_search, rename_search, remove_search, restore_search, pause_search,
]  # fmt: skip

"""The category tree and the places in the back office."""

from typing import Any, get_args
from urllib.parse import urlencode
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from tradepost.accounts.types import Caller
from tradepost.catalog.places import OfficePlace, PlaceDraft
from tradepost.catalog.tree import CategoryDraft, OfficeCategory, Where
from tradepost.catalog.types import NoSuchCategory
from tradepost.core.errors import DomainError
from tradepost.core.pages import NoSuchPage
from tradepost.flows.manage_categories import (
    add_category,
    change_category,
    delete_category,
    list_categories,
    merge_category,
    place_category,
    show_category,
)
from tradepost.flows.manage_places import add_place, change_place, get_place, list_places, show_place
from tradepost.flows.store import Store
from tradepost.web.forms import Form, first_problem, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

CATEGORIES, PLACES = "/office/categories", "/office/places"


@get(CATEGORIES, include_in_schema=False)
async def categories_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show the tree."""
    return await _tree(request, store, caller, {}, {})


async def _tree(
    request: HttpRequest, store: Store, caller: Caller, form: dict[str, str], errors: dict[str, str]
) -> Response[str]:
    found = await list_categories(store, caller)
    return await page(
        request, store, caller, "office_categories", status=422 if errors else 200, tree=found, parents=_choices(found), form=form,
        errors=errors, tab="categories",
    )  # fmt: skip


def _choices(tree: tuple[OfficeCategory, ...], without: OfficeCategory | None = None) -> list[tuple[str, str]]:
    """Return the categories as a list to choose from, indented as the tree is."""
    fitting = (row for row in tree if without is None or not without.holds(row))
    return [(row.slug, "\u2003" * row.depth + row.name) for row in fitting]


@post(CATEGORIES, include_in_schema=False)
async def add(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Add a category."""
    form = await read_form(request)
    try:
        slug = await add_category(store, caller, form.into(CategoryDraft))
    except DomainError as error:
        if error.kind in {"refused", "unavailable"}:
            raise
        return await _tree(request, store, caller, form.texts, problems_of(error))
    return go(request, f"{CATEGORIES}#c-{slug}", say=f"{form.get('name')} is in the menus.")


@get(CATEGORIES + "/{slug:str}", include_in_schema=False)
async def category_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, slug: FromPath[str]
) -> Response[str]:
    """Show one category to change it."""
    return await _one(request, store, caller, slug, None, {})


async def _one(
    request: HttpRequest, store: Store, caller: Caller, slug: str, form: dict[str, str] | None, errors: dict[str, str]
) -> Response[str]:
    tree = await list_categories(store, caller)
    found = next((row for row in tree if row.slug == slug), None)
    if found is None:
        raise NoSuchCategory
    above = next((row for row in tree if row.id == found.parent_id), None)
    known = {
        "name": found.name,
        "emoji": found.emoji,
        "description": found.description,
        "parent": above.slug if above else "",
    }
    return await page(
        request, store, caller, "office_category", status=422 if errors else 200, found=found, above=above, form=form or known,
        errors=errors, parents=_choices(tree, found), tab="categories",
    )  # fmt: skip


@post(CATEGORIES + "/{slug:str}", include_in_schema=False)
async def change(request: HttpRequest, store: GivenStore, caller: GivenCaller, slug: FromPath[str]) -> Response[Any]:
    """Change a category, hide or show it, merge it with another, or delete it."""
    form = await read_form(request)
    try:
        said, target = await _change(store, caller, slug, form)
    except DomainError as error:
        if error.kind in {"refused", "unavailable", "not_found"}:
            raise
        return await _one(
            request, store, caller, slug, form.texts if "name" in form.texts else None, problems_of(error)
        )
    return go(request, target, say=said)


async def _change(store: Store, caller: Caller, slug: str, form: Form) -> tuple[str, str]:
    back = f"{CATEGORIES}#c-{slug}"
    match form.get("action"):
        case "hide":
            await show_category(store, caller, slug, is_active=False)
            return "It is in no menu any more, nor is what is below it.", back
        case "show":
            await show_category(store, caller, slug, is_active=True)
            return "It is in the menus.", back
        case "merge":
            await merge_category(store, caller, slug, form.get("into"))
            return "Its listings go over now; its address leads on.", f"{CATEGORIES}#c-{form.get('into')}"
        case "delete":
            await delete_category(store, caller, slug)
            return "It is gone.", CATEGORIES
        case _:
            await change_category(store, caller, slug, form.into(CategoryDraft))
            return "Kept. Search follows in a moment.", back


@post(CATEGORIES + "/{slug:str}/place", include_in_schema=False)
async def place(request: HttpRequest, store: GivenStore, caller: GivenCaller, slug: FromPath[str]) -> Redirect:
    """Put a category somewhere else: before, after or inside another, or a step up, down, in or out."""
    form = await read_form(request)
    where: Any = form.get("where")
    back = f"{CATEGORIES}#c-{slug}"
    if where not in get_args(Where):
        caller.check_can("manage_catalog")
        return go(request, back, say="Where to?", tone="warn")
    try:
        await place_category(store, caller, slug, where, form.get("to"))
    except DomainError as error:
        if error.kind in {"refused", "unavailable", "not_found"}:
            raise
        return go(request, back, say=first_problem(error), tone="bad")
    return go(request, back)


@get(PLACES, include_in_schema=False)
async def places_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, words: FromQuery[str] = "", after: FromQuery[str | None] = None
) -> Response[str]:  # fmt: skip
    """Show the places."""
    return await _places(request, store, caller, words, after, {}, {})


async def _places(
    request: HttpRequest, store: Store, caller: Caller, words: str, after: str | None, form: dict[str, str], errors: dict[str, str]
) -> Response[str]:  # fmt: skip
    try:
        found, regions = await list_places(store, caller, words, after=after)
    except NoSuchPage:
        found, regions = await list_places(store, caller, words)
    following = f"{PLACES}?{urlencode({'words': words, 'after': found.after})}" if found.after else None
    return await page(
        request, store, caller, "office_places", status=422 if errors else 200, places=found.items, words=words, next_path=following,
        regions=regions, form=form or {"country": store.settings.store.country}, errors=errors, tab="places",
    )  # fmt: skip


@post(PLACES, include_in_schema=False)
async def add_one(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Add a place."""
    form = await read_form(request)
    try:
        await add_place(store, caller, _place_draft(form))
    except DomainError as error:
        if error.kind in {"refused", "unavailable"}:
            raise
        return await _places(request, store, caller, "", None, form.texts, problems_of(error))
    return go(
        request, f"{PLACES}?{urlencode({'words': form.get('name')})}", say=f"{form.get('name')} can be chosen now."
    )


def _place_draft(form: Form) -> PlaceDraft:
    degrees = {
        name: float(form.number(name, "Degrees, such as -17.83.")) if form.get(name) else None
        for name in ("lat", "lon")
    }
    return form.into(PlaceDraft, population=form.whole("population", 0), **degrees)


@get(PLACES + "/{place_id:uuid}", include_in_schema=False)
async def place_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, place_id: FromPath[UUID]
) -> Response[str]:
    """Show one place to change it."""
    return await _one_place(request, store, caller, place_id, None, {})


async def _one_place(
    request: HttpRequest,
    store: Store,
    caller: Caller,
    place_id: UUID,
    form: dict[str, str] | None,
    errors: dict[str, str],
) -> Response[str]:
    found, regions = await get_place(store, caller, place_id)
    return await page(
        request, store, caller, "office_place", status=422 if errors else 200, found=found, regions=regions,
        form=form or _as_form(found), errors=errors, tab="places",
    )  # fmt: skip


def _as_form(found: OfficePlace) -> dict[str, str]:
    names = ("name", "district", "region", "country", "population")
    degrees = {name: "" if (value := getattr(found, name)) is None else f"{value:.5f}" for name in ("lat", "lon")}
    return {name: str(getattr(found, name)) for name in names} | degrees


@post(PLACES + "/{place_id:uuid}", include_in_schema=False)
async def change_one(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, place_id: FromPath[UUID]
) -> Response[Any]:
    """Change a place, hide it or show it."""
    form = await read_form(request)
    action = form.get("action")
    try:
        if action in {"hide", "show"}:
            await show_place(store, caller, place_id, is_active=action == "show")
        else:
            await change_place(store, caller, place_id, _place_draft(form))
    except DomainError as error:
        if error.kind in {"refused", "unavailable", "not_found"}:
            raise
        return await _one_place(request, store, caller, place_id, form.texts, problems_of(error))
    return go(
        request, PLACES, say={"hide": "No form suggests it any more.", "show": "It can be chosen."}.get(action, "Kept.")
    )


tree_office_routes: list[Any] = [
    categories_page, add, category_page, change, place, places_page, add_one, place_page, change_one
]  # fmt: skip

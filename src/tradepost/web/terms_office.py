"""Taxes and delivery in the back office: what checkout adds, changed and tried out."""

from typing import Any
from uuid import UUID

from litestar import Response, get, post

from tradepost.catalog.listing_pages import category_tree
from tradepost.core.errors import DomainError
from tradepost.flows.manage_terms import (
    TaxForm,
    TermsTrial,
    WayForm,
    get_terms,
    put_tax,
    put_way,
    switch_tax,
    switch_way,
    try_terms,
)
from tradepost.flows.store import Store
from tradepost.orders.terms import NoSuchTerm
from tradepost.web.forms import Form, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

TERMS = "/office/settings/terms"
_FROM_NOW = "In force from the next checkout on."


@get(TERMS, include_in_schema=False)
async def terms_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show the rates and the ways of delivery; with an amount what an order would carry."""
    caller.check_can("manage_store")
    asked = {name: request.query_params.get(name, "")[:60] for name in ("amount", "category", "country")}
    trial, errors = None, {}
    if asked["amount"]:
        try:
            trial = await try_terms(store, caller, **asked)
        except DomainError as error:
            if error.kind != "invalid":
                raise
            errors = problems_of(error)
    return await _page(request, store, caller, asked=asked, errors=errors, trial=trial)


async def _page(  # everything that the page shows again
    request: HttpRequest, store: Store, caller: GivenCaller, *, asked: dict[str, str] | None = None, errors: dict[str, str] | None = None,
    trial: TermsTrial | None = None, tax: dict[str, str] | None = None, way: dict[str, str] | None = None,
    refused: dict[str, str] | None = None,
) -> Response[str]:  # fmt: skip
    tree = await category_tree(store.db)
    categories = sorted(((c.slug, c.path.replace("/", " › ")) for c in tree.rows), key=lambda pair: pair[1])
    return await page(
        request, store, caller, "office_terms", status=422 if refused or errors else 200, terms=await get_terms(store, caller),
        form=asked or {}, errors=errors or {}, trial=trial, tax=tax or {}, way=way or {}, refused=refused or {},
        all_categories=categories, tab="terms",
    )  # fmt: skip


@post(f"{TERMS}/taxes", include_in_schema=False)
async def change_tax(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Put a rate in force, or end one."""
    caller.check_can("manage_store")
    form = await read_form(request)
    action = form.get("action")
    if action in {"end", "again"}:
        await switch_tax(store, caller, _id(form), is_active=action == "again")
        return go(request, TERMS, say=_FROM_NOW)
    try:
        await put_tax(store, caller, form.into(TaxForm))
    except DomainError as error:
        if error.kind in {"refused", "unavailable"}:
            raise
        return await _page(request, store, caller, tax=form.texts, refused=problems_of(error))
    return go(request, TERMS, say=_FROM_NOW)


@post(f"{TERMS}/ways", include_in_schema=False)
async def change_way(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Offer or change a way of delivery, or take one off the checkout."""
    caller.check_can("manage_store")
    form = await read_form(request)
    action, code = form.get("action"), form.get("code")
    if action in {"end", "again"}:
        await switch_way(store, caller, code, is_active=action == "again")
        return go(request, TERMS, say=_FROM_NOW)
    try:
        given = form.into(WayForm, is_pickup=bool(form.get("is_pickup")), by_distance=bool(form.get("by_distance")))
        await put_way(store, caller, code or None, given)
    except NoSuchTerm:
        raise
    except DomainError as error:
        if error.kind in {"refused", "unavailable"}:
            raise
        return await _page(request, store, caller, way=form.texts, refused=problems_of(error))
    return go(request, TERMS, say=_FROM_NOW)


def _id(form: Form) -> UUID:
    try:
        return UUID(form.get("tax_id"))
    except ValueError:
        raise NoSuchTerm from None


terms_routes: list[Any] = [terms_page, change_tax, change_way]

"""The kitchen in the back office: what to make on a day, tickets on paper, ingredients and recipes."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any, get_args
from urllib.parse import urlencode
from uuid import UUID

import segno
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect
from markupsafe import Markup

from tradepost.accounts.types import Caller
from tradepost.core.errors import DomainError, FieldErrors
from tradepost.flows import kitchen
from tradepost.flows.orders import get_order
from tradepost.flows.plan_delivery import today_of
from tradepost.flows.store import Store
from tradepost.kitchen.types import REASONS, IngredientDraft, Reason
from tradepost.web.forms import Form, first_problem, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

KITCHEN = "/office/kitchen"
_THINGS_AT_ONCE = 150
_BY_HAND = {code: words for code, words in REASONS.items() if code != "baked"}


def _day(text: str, otherwise: date) -> date:
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return otherwise


@get(KITCHEN, include_in_schema=False)
async def production_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, day: FromQuery[str] = "", after: FromQuery[int] = 0,
    whole: FromQuery[bool] = False,
) -> Response[str]:  # fmt: skip
    """Show what to make on a day, some hundred things at a time, or all of it for paper."""
    today = today_of(store)
    shown = _day(day, today)
    found = await kitchen.get_production(store, caller, shown)
    first = max(min(after, len(found.batches)), 0)
    last = len(found.batches) if whole else first + _THINGS_AT_ONCE
    here = f"{KITCHEN}?day={shown}"
    days = [today + timedelta(days=n) for n in range(7)]
    labels = {today: "Today", today + timedelta(days=1): "Tomorrow"}
    return await page(
        request, store, caller, "office_kitchen", made=found, today=today, tab="kitchen", may_bake=caller.can("manage_catalog"),
        batches=found.batches[first:last], here=here, next_path=f"{here}&after={last}" if last < len(found.batches) else None,
        days=[{"label": labels.get(d, f"{d:%a} {d.day}"), "path": f"{KITCHEN}?day={d}", "current": d == shown, "count": None} for d in days],
    )  # fmt: skip


@post(f"{KITCHEN}/bake", include_in_schema=False)
async def bake(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Take a day's ingredients from stock."""
    form = await read_form(request)
    day = _day(form.get("day"), today_of(store))
    changed = await kitchen.bake_day(store, caller, day)
    said = f"{changed} ingredients taken from stock." if changed else "That was taken from stock already."
    return go(request, f"{KITCHEN}?day={day}", say=said, tone="good" if changed else "info")


@get("/orders/{number:str}/ticket", include_in_schema=False)
async def ticket_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, number: FromPath[str]
) -> Response[str]:
    """Show an order's kitchen ticket, for paper."""
    order = await get_order(store, caller, number)
    found = await kitchen.get_ticket(store, caller, order)
    code = segno.make(f"{store.base_url}{order.path}", micro=False)
    drawn = Markup(code.svg_inline(scale=3, border=0, omitsize=True))  # noqa: S704  # our own address, drawn by the library
    return await page(request, store, caller, "ticket", ticket=found, order=order, code=drawn)


@get(f"{KITCHEN}/ingredients", include_in_schema=False)
async def ingredients_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show what there is to make things of."""
    return await _ingredients(request, store, caller, {}, {})


async def _ingredients(
    request: HttpRequest, store: Store, caller: Caller, form: dict[str, str], errors: dict[str, str]
) -> Response[str]:
    found = await kitchen.list_ingredients(store, caller)
    chosen = next(
        (i for i in found if str(i.id) == request.query_params.get("show", form.get("ingredient_id", ""))), None
    )
    history = await kitchen.list_movements(store, caller, chosen.id) if chosen else []
    return await page(
        request, store, caller, "office_ingredients", status=422 if errors else 200, ingredients=found, form=form, errors=errors,
        reasons=_BY_HAND, chosen=chosen, history=history, tab="ingredients",
    )  # fmt: skip


@post(f"{KITCHEN}/ingredients", include_in_schema=False)
async def change_ingredients(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Write an ingredient down, rewrite one, or change what is there of it."""
    form = await read_form(request)
    try:
        if form.get("action") == "move":
            await _move(store, caller, form)
            return go(request, f"{KITCHEN}/ingredients?show={form.get('ingredient_id')}", say="Noted.")
        draft = form.into(
            IngredientDraft, reorder_at=_amount(form, "reorder_at"), pack=_amount(form, "pack", Decimal(1))
        )
        ingredient_id = _id(form.get("ingredient_id")) if form.get("ingredient_id") else None
        await kitchen.save_ingredient(store, caller, draft, ingredient_id)
    except DomainError as error:
        if error.kind in {"refused", "unavailable"}:
            raise
        return await _ingredients(request, store, caller, form.texts, problems_of(error))
    return go(request, f"{KITCHEN}/ingredients", say="Saved.")


async def _move(store: Store, caller: Caller, form: Form) -> None:
    reason: Any = form.get("reason")
    if reason not in get_args(Reason) or reason == "baked":
        raise FieldErrors({"reason": "Please say why."})
    quantity = form.number("quantity")
    if quantity < 0 or (quantity == 0 and reason != "stock_take"):
        raise FieldErrors({"quantity": "More than 0, please."})
    await kitchen.move_ingredient(store, caller, _id(form.get("ingredient_id")), quantity, reason, form.get("note"))


def _amount(form: Form, name: str, otherwise: Decimal = Decimal(0)) -> Decimal:
    return form.number(name) if form.get(name) else otherwise


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise FieldErrors({"": "This form is not complete; please go back and try again."}) from None


@get(f"{KITCHEN}/recipes", include_in_schema=False)
async def recipes_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, q: FromQuery[str] = ""
) -> Response[str]:
    """Show what goes into one of each listing."""
    recipes = await kitchen.list_recipes(store, caller, q)
    ingredients = await kitchen.list_ingredients(store, caller)
    return await page(
        request, store, caller, "office_recipes", recipes=recipes, ingredients=ingredients, asked=q, tab="recipes"
    )


@post(KITCHEN + "/recipes/{listing_id:uuid}", include_in_schema=False)
async def change_recipe(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID]
) -> Redirect:
    """Replace what goes into one of a listing: ingredient.<n> and amount.<n>, lines without an amount are left out."""
    form = await read_form(request)
    back = f"{KITCHEN}/recipes?q={form.get('q')}" if form.get("q") else f"{KITCHEN}/recipes"
    try:
        amounts: dict[UUID, Decimal] = {}
        for n, text in form.below("ingredient").items():
            if text and form.get(f"amount.{n}"):
                found = _id(text)
                amounts[found] = amounts.get(found, Decimal(0)) + form.number(f"amount.{n}")
        title = await kitchen.save_recipe(store, caller, listing_id, amounts)
    except DomainError as error:
        if error.kind in {"refused", "unavailable"}:
            raise
        return go(request, back, say=first_problem(error), tone="bad")
    return go(request, back, say=f"Saved: what goes into {title}.")


_GOODS_BY_HAND = {code: kitchen.GOODS_REASONS[code] for code in ("waste", "stock_take")}


@get(f"{KITCHEN}/goods", include_in_schema=False)
async def goods_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, q: FromQuery[str] = "", show: FromQuery[str] = ""
) -> Response[str]:
    """Show what is made and lies there, with what was thrown away."""
    return await _goods(request, store, caller, q, show, {}, {})


async def _goods(
    request: HttpRequest, store: Store, caller: Caller, asked: str, show: str, form: dict[str, str], errors: dict[str, str]
) -> Response[str]:  # fmt: skip
    goods = await kitchen.list_goods(store, caller, asked)
    chosen, history = await kitchen.get_goods(store, caller, _id(show)) if show else (None, [])
    return await page(
        request, store, caller, "office_goods", status=422 if errors else 200, goods=goods, asked=asked, chosen=chosen,
        history=history, reasons=_GOODS_BY_HAND, form=form, errors=errors, tab="goods",
    )  # fmt: skip


@post(f"{KITCHEN}/goods", include_in_schema=False)
async def change_goods(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Note what was thrown away of something made, or how much was counted."""
    form = await read_form(request)
    variant, asked = form.get("variant_id"), form.get("q")
    try:
        reason: Any = form.get("reason")
        if reason not in _GOODS_BY_HAND:
            raise FieldErrors({"reason": "Please say why."})
        quantity = form.number("quantity")
        if not quantity.is_finite() or quantity < 0 or (quantity == 0 and reason == "waste"):
            raise FieldErrors({"quantity": "More than 0, please."})
        await kitchen.note_stock(store, caller, _id(variant), quantity, reason, form.get("note"))
    except DomainError as error:
        if error.kind in {"refused", "unavailable", "not_found"}:
            raise
        return await _goods(request, store, caller, asked, variant, form.texts, problems_of(error))
    return go(request, f"{KITCHEN}/goods?{urlencode({'q': asked, 'show': variant})}", say="Noted.")


kitchen_routes = [
    production_page, bake, ticket_page, ingredients_page, change_ingredients, recipes_page, change_recipe, goods_page, change_goods
]  # fmt: skip

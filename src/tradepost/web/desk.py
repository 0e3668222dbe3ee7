"""The desk: what waits today, and every order of the store as a board and as a list."""

from datetime import date
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromQuery
from litestar.response import Redirect
from litestar.types import ASGIApp

from tradepost.core.pages import NoSuchPage
from tradepost.flows.office_orders import (
    OrderQuestion,
    get_office_board,
    move_orders,
    search_orders,
    state_choices,
)
from tradepost.flows.store import Store
from tradepost.flows.today import get_today, watch_desk
from tradepost.web.forms import read_form
from tradepost.web.live import EventStream
from tradepost.web.pages import go, page
from tradepost.web.security import local_path
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

ORDERS = "/office/orders"
_WORDS = ("words", "process", "state", "payment_state", "gateway")
_DAYS = ("since", "until", "deliver_on")
PAYMENT_STATES = (
    ("pending", "Not paid"), ("deposit_paid", "Deposit paid"), ("paid", "Paid"), ("failed", "Failed"),
    ("partly_refunded", "Partly refunded"), ("refunded", "Refunded"),
)  # fmt: skip


@get("/office", include_in_schema=False)
async def today_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show what waits for whoever works here."""
    return await page(request, store, caller, "office_today", today=await get_today(store, caller), tab="today")


@get("/office/events", include_in_schema=False)
async def desk_events(store: GivenStore, caller: GivenCaller) -> ASGIApp:
    """Stream how much waits for whoever works here, as server-sent events."""
    return EventStream(await watch_desk(store, caller))


@get(ORDERS, include_in_schema=False)
async def orders_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, view: FromQuery[str] = "",
    after: FromQuery[str | None] = None,
) -> Response[str]:  # fmt: skip
    """Show the open orders as a board; with a filter, or on request, every order as a list."""
    asked = dict(request.query_params)
    question, problem = read_question(asked)
    is_list = view == "list" or bool(problem) or question != OrderQuestion()
    if not is_list:
        columns = await get_office_board(store, caller)
        return await page(request, store, caller, "office_board", columns=columns, tab="orders")
    try:
        found = await search_orders(store, caller, question, after=after)
    except NoSuchPage as error:
        problem = error.message
        found = await search_orders(store, caller, question)
    kept = {name: asked[name] for name in (*_WORDS, *_DAYS) if asked.get(name)}
    here = f"{ORDERS}?{urlencode({'view': 'list', **kept})}"
    return await page(
        request, store, caller, "office_orders", orders=found.items, form=kept, problem=problem, here=here, tab="orders",
        states=await state_choices(store, caller), payment_states=PAYMENT_STATES, gateways=_gateways(store),
        next_path=f"{here}&{urlencode({'after': found.after})}" if found.after else None,
        common_moves=_common_moves(found.items),
    )  # fmt: skip


def read_question(asked: dict[str, str]) -> tuple[OrderQuestion, str]:
    """Return what an address asks for, without what makes no sense, and what that was."""
    values: dict[str, Any] = {name: asked[name].strip()[:80] for name in _WORDS if asked.get(name, "").strip()}
    problem = ""
    if ":" in values.get("state", ""):
        values["process"], _, values["state"] = values["state"].partition(":")
    for name in _DAYS:
        if asked.get(name):
            try:
                values[name] = date.fromisoformat(asked[name])
            except ValueError:
                problem = "A day is written 2026-01-31."
    return OrderQuestion(**values), problem


def _gateways(store: Store) -> list[tuple[str, str]]:
    return [(code, gateway.about.name) for code, gateway in store.gateways.items()]


def _common_moves(orders: Any) -> list[tuple[str, str]]:
    """Return the moves that bring on at least one of the orders shown, each once: what the bulk bar offers."""
    found = {order.next_move.to_state: order.next_move.label for order in orders if order.next_move}
    return list(found.items())


@post(f"{ORDERS}/move", include_in_schema=False)
async def move_several(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Move the ticked orders, each on its own."""
    caller.check_can("move_orders")
    form = await read_form(request)
    back = local_path(form.get("next"), ORDERS)
    chosen = [found for text in form.below("order") if (found := _id(text)) is not None]
    if not chosen:
        return go(request, back, say="Tick the orders you mean first.", tone="warn")
    done = await move_orders(store, caller, chosen, form.get("to_state")[:40])
    if not done.refused:
        return go(request, back, say="Moved." if done.moved == 1 else f"{done.moved} orders moved.")
    said = f"{done.moved} moved, {len(done.refused)} not: {done.refused[0][1]}"
    return go(request, back, say=said, tone="warn")


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


desk_routes = [today_page, desk_events, orders_page, move_several]

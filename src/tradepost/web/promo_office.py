"""Promo codes in the back office; one's own points."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from litestar import Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from tradepost.accounts.types import Caller
from tradepost.core.errors import DomainError, FieldErrors
from tradepost.core.money import NotAnAmount, to_minor
from tradepost.core.text import one_line
from tradepost.flows.loyalty import get_points, issue_promo, list_promos, switch_promo
from tradepost.flows.plan_delivery import today_of
from tradepost.flows.store import Store
from tradepost.promotions.office import PromoDraft
from tradepost.web.forms import Form, first_problem, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

PROMOS = "/office/promos"
_MOST = 2_000_000_000


@get(PROMOS, include_in_schema=False)
async def promos_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show the promo codes with what they have done."""
    return await _promos(request, store, caller, {}, {})


async def _promos(
    request: HttpRequest, store: Store, caller: Caller, form: dict[str, str], errors: dict[str, str]
) -> Response[str]:
    promos = await list_promos(store, caller)
    return await page(
        request, store, caller, "office_promos", status=422 if errors else 200, promos=promos, form=form, errors=errors,
        today=today_of(store), tab="promos",
    )  # fmt: skip


@post(PROMOS, include_in_schema=False)
async def issue(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Issue a promo code."""
    form = await read_form(request)
    try:
        await issue_promo(store, caller, _draft(store, form))
    except (DomainError, NotAnAmount) as error:
        if error.kind in {"refused", "unavailable"}:
            raise
        return await _promos(request, store, caller, form.texts, problems_of(error))
    return go(request, PROMOS, say=f"{form.get('code').upper()} can be used.")


def _draft(store: Store, form: Form) -> PromoDraft:
    """Return the form as a draft. Raises `FieldErrors`, `NotAnAmount`."""
    is_percent = form.get("kind") != "fixed"
    last = _day(form, "valid_to") or today_of(store) + timedelta(days=30)
    first = _day(form, "valid_from")
    begins = datetime.combine(first, time(), store.zone) if first else datetime.now(store.zone)
    currency = store.currency
    return PromoDraft(
        code=form.get("code").upper(), description=one_line(form.get("description"))[:300], kind="percent" if is_percent else "fixed",
        percent=_percent(form) if is_percent else None, amount_minor=None if is_percent else _money(form, "amount", currency),
        currency=None if is_percent else currency, valid_from=begins, valid_to=datetime.combine(last, time(23, 59, 59), store.zone),
        usage_limit=_whole(form, "usage_limit"), per_person_limit=_whole(form, "per_person_limit"),
        minimum_minor=_money(form, "minimum", currency) if form.get("minimum") else 0, stacks=bool(form.get("stacks")),
    )  # fmt: skip


def _percent(form: Form) -> Decimal:
    found = form.number("amount", "How many percent?")
    if not 0 < found <= 100:
        raise FieldErrors({"amount": "More than 0 and up to 100 %."})
    return round(found, 2)


def _money(form: Form, name: str, currency: str) -> int:
    found = to_minor(form.get(name).replace(",", "."), currency)
    if not 0 < found < 10**12:
        raise FieldErrors({name: "More than 0, please."})
    return found


def _whole(form: Form, name: str) -> int | None:
    found = form.whole(name)
    if found is not None and not 0 < found < _MOST:
        raise FieldErrors({name: "1 or more, or nothing."})
    return found


def _day(form: Form, name: str) -> date | None:
    try:
        return date.fromisoformat(form.get(name)[:10]) if form.get(name) else None
    except ValueError:
        raise FieldErrors({name: "A day, please: 2026-12-24."}) from None


@post(PROMOS + "/{promo_id:uuid}", include_in_schema=False)
async def switch(request: HttpRequest, store: GivenStore, caller: GivenCaller, promo_id: FromPath[UUID]) -> Redirect:
    """Let a promo code be used, or no longer."""
    form = await read_form(request)
    on = form.get("action") == "on"
    try:
        await switch_promo(store, caller, promo_id, is_active=on)
    except DomainError as error:
        if error.kind == "refused":
            raise
        return go(request, PROMOS, say=first_problem(error), tone="bad")
    return go(
        request,
        PROMOS,
        say="It can be used again." if on else "Nobody can use it any more; orders that have it keep it.",
    )


@get("/me/points", include_in_schema=False)
async def points_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, before: FromQuery[int | None] = None
) -> Response[str]:
    """Show somebody their points."""
    found = await get_points(store, caller, before=before if before is None else max(0, min(before, 2**31 - 1)))
    if found is None:
        raise NotFoundException("There are no points in this store.")
    return await page(
        request,
        store,
        caller,
        "points",
        found=found,
        next_path=f"/me/points?before={found.before}" if found.before else None,
    )


promo_routes: list[Any] = [promos_page, issue, switch, points_page]

"""Delivery in the back office: a day shared out among riders, and the plan that days are made from."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from tradepost.accounts.types import Caller
from tradepost.core.errors import DomainError, FieldErrors
from tradepost.core.money import NotAnAmount, to_minor
from tradepost.delivery.plan import DAYS, Terms, WindowDraft, Zone
from tradepost.flows import plan_delivery, rounds
from tradepost.flows.orders import get_order
from tradepost.flows.plan_delivery import today_of
from tradepost.flows.store import Store
from tradepost.web.forms import Form, first_problem, read_form
from tradepost.web.pages import go, page
from tradepost.web.security import local_path
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

DELIVERY, PLAN = "/office/delivery", "/office/delivery/plan"
_ZONE_ROWS = 8


@get(DELIVERY, include_in_schema=False)
async def day_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, day: FromQuery[str] = ""
) -> Response[str]:
    """Show a day's windows and who carries what."""
    today = today_of(store)
    shown = _day(day) or today
    found = await rounds.get_day_round(store, caller, shown)
    days = [today + timedelta(days=n) for n in range(7)]
    return await page(
        request, store, caller, "office_delivery", round=found, today=today, tab="delivery", may_move=caller.can("move_orders"),
        days=[{"label": _short(d, today), "path": f"{DELIVERY}?day={d}", "current": d == shown, "count": None} for d in days],
        rider_names={r.id: r.display_name for r in found.riders},
        before=shown - timedelta(days=1) if shown > date.min else shown,
        after=shown + timedelta(days=1) if shown < date.max else shown,
    )  # fmt: skip


def _short(day: date, today: date) -> str:
    return "Today" if day == today else "Tomorrow" if day == today + timedelta(days=1) else f"{day:%a} {day.day}"


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def _back(form: Form) -> str:
    return f"{DELIVERY}?day={_day(form.get('day')) or ''}" if form.get("day") else DELIVERY


@post(f"{DELIVERY}/fill", include_in_schema=False)
async def fill(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Share out everything of a day that nobody carries yet."""
    form = await read_form(request)
    try:
        given = await rounds.fill_slots(store, caller, _day(form.get("day")) or today_of(store))
    except DomainError as error:
        return _refused(request, error, _back(form))
    said = f"{given} stops given out." if given != 1 else "One stop given out."
    return go(
        request, _back(form), say=said if given else "Everything has a rider already.", tone="good" if given else "info"
    )


def _refused(request: HttpRequest, error: DomainError, back: str) -> Redirect:
    """Say why something did not work on the page it came from; who may not be here at all sees the page that says so."""
    if error.kind in {"refused", "unavailable"}:
        raise error
    return go(request, back, say=first_problem(error), tone="bad")


@post(f"{DELIVERY}/assign", include_in_schema=False)
async def assign(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Give single stops, or a whole window, to a rider or to nobody."""
    form = await read_form(request)
    rider_id = _id(form.get("rider_id"))
    try:
        if form.get("slot_id"):
            done = await rounds.assign_slot(store, caller, _needed(form.get("slot_id")), rider_id)
        else:
            done = await rounds.assign_stops(store, caller, _parts(form), rider_id)
    except DomainError as error:
        return _refused(request, error, _back(form))
    return go(request, _back(form), say="Done." if done else "That is so already.", tone="good" if done else "info")


def _parts(form: Form) -> list[tuple[UUID, UUID]]:
    found = []
    for text in form.below("part").values():
        order, _, seller = text.partition(":")
        ids = _id(order), _id(seller)
        if ids[0] is not None and ids[1] is not None:
            found.append((ids[0], ids[1]))
    return found


def _id(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _needed(text: str) -> UUID:
    found = _id(text)
    if found is None:
        raise FieldErrors({"": "This form is not complete; please go back and try again."})
    return found


@post("/office/orders/{number:str}/slot", include_in_schema=False)
async def reschedule(request: HttpRequest, store: GivenStore, caller: GivenCaller, number: FromPath[str]) -> Redirect:
    """Bring an order in another window."""
    form = await read_form(request)
    order = await get_order(store, caller, number)
    back = local_path(form.get("next"), order.path)
    try:
        await rounds.move_to_slot(store, caller, order.id, _needed(form.get("slot_id")))
    except DomainError as error:
        return _refused(request, error, back)
    return go(request, back, say="It comes in the other window now; the buyer sees it.")


@get(PLAN, include_in_schema=False)
async def plan_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show the plan."""
    return await _plan_page(request, store, caller, {}, {})


async def _plan_page(
    request: HttpRequest, store: Store, caller: Caller, form: dict[str, str], errors: dict[str, str]
) -> Response[str]:
    found = await plan_delivery.get_plan(store, caller)
    return await page(
        request, store, caller, "office_plan", status=422 if errors else 200, plan=found, form=form, errors=errors, days=DAYS,
        today=today_of(store), tab="plan", may_plan=caller.can("move_orders"), may_price=caller.can("manage_store"),
        zone_rows=_zone_rows(store, found.zones),
    )  # fmt: skip


def _zone_rows(store: Store, zones: tuple[Zone, ...]) -> list[dict[str, str]]:
    from tradepost.core.money import to_major

    rows = [
        {"name": z.name, "km": f"{Decimal(z.radius_m) / 1000:f}".rstrip("0").rstrip(".") if z.radius_m % 1000 else str(z.radius_m // 1000),
         "fee": str(to_major(z.fee_minor, store.currency)),
         "free_from": str(to_major(z.free_from_minor, store.currency)) if z.free_from_minor else ""}
        for z in zones
    ]  # fmt: skip
    blank = {"name": "", "km": "", "fee": "", "free_from": ""}
    return [*rows, *([blank] * max(1, min(3, _ZONE_ROWS - len(rows))))]


@post(PLAN, include_in_schema=False)
async def change_plan(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Change one part of the plan."""
    form = await read_form(request)
    try:
        said = await _CHANGES.get(form.get("action"), _unknown)(store, caller, form)
    except (DomainError, NotAnAmount) as error:
        if error.kind in {"refused", "unavailable"}:
            raise
        errors = (
            error.errors if isinstance(error, FieldErrors) else {getattr(error, "field", None) or "": error.message}
        )
        return await _plan_page(request, store, caller, form.texts, errors)
    return go(request, PLAN, say=said)


async def _unknown(_store: Store, _caller: Caller, _form: Form) -> str:
    raise FieldErrors({"": "This form is not complete; please go back and try again."})


async def _save_terms(store: Store, caller: Caller, form: Form) -> str:
    hours = form.number("lead_hours")
    terms = _checked(
        Terms, {"lead_minutes": int(hours * 60), "cut_off": form.get("cut_off") or None, "days_ahead": form.whole("days_ahead", 14)},
        {"lead_minutes": "lead_hours"},
    )  # fmt: skip
    await plan_delivery.save_terms(store, caller, terms)
    return "Saved; the days ahead are open."


def _checked(kind: Any, values: dict[str, Any], renamed: dict[str, str] | None = None) -> Any:
    """Return values as a typed input. Raises `FieldErrors` that name the form's fields."""
    for name in ("cut_off", "starts_at", "ends_at"):
        if isinstance(values.get(name), str) and len(values[name]) == 5:
            values[name] += ":00"
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        where = str(error).rpartition("$.")[2].rstrip("`")
        raise FieldErrors(
            {(renamed or {}).get(where, where): "That is not possible; please look at it again."}
        ) from None


async def _add_window(store: Store, caller: Caller, form: Form) -> str:
    chosen = [n for n in range(len(DAYS)) if form.get(f"weekday.{n}")]
    if not chosen:
        raise FieldErrors({"weekday": "Choose at least one day."})
    values = {"starts_at": form.get("starts_at"), "ends_at": form.get("ends_at"), "capacity": form.whole("capacity", 0)}
    for weekday in chosen:
        await plan_delivery.save_window(store, caller, _checked(WindowDraft, {**values, "weekday": weekday}))
    return "The window is in the plan, and open on the days ahead."


async def _resize(store: Store, caller: Caller, form: Form) -> str:
    await plan_delivery.resize_window(store, caller, _needed(form.get("window_id")), form.whole("capacity", 0) or 0)
    return "It has another capacity now; what is taken stays taken."


async def _drop_window(store: Store, caller: Caller, form: Form) -> str:
    await plan_delivery.remove_window(store, caller, _needed(form.get("window_id")))
    return "It is offered no longer; orders that took it keep it."


async def _close_day(store: Store, caller: Caller, form: Form) -> str:
    day = _day(form.get("day"))
    if day is None or day < today_of(store):
        raise FieldErrors({"day": "A day from today on, please."})
    await plan_delivery.close_day(store, caller, day, form.get("reason"))
    return "Nothing is brought on that day."


async def _open_day(store: Store, caller: Caller, form: Form) -> str:
    day = _day(form.get("day"))
    if day is None:
        raise FieldErrors({"day": "A day, please."})
    await plan_delivery.open_day(store, caller, day)
    return "Its windows are offered again."


async def _save_zones(store: Store, caller: Caller, form: Form) -> str:
    zones, problems = [], {}
    for n in range(_ZONE_ROWS + 3):
        row = form.below(f"zone.{n}")
        if not any(row.values()):
            continue
        try:
            zones.append(
                Zone(radius_m=int(Form(row, {}).number("km") * 1000), name=row.get("name", "")[:60],
                     fee_minor=to_minor(row.get("fee", "").replace(",", ".") or "0", store.currency),
                     free_from_minor=to_minor(row["free_from"].replace(",", "."), store.currency) if row.get("free_from") else None)
            )  # fmt: skip
        except (DomainError, NotAnAmount):
            problems[f"zone.{n}.fee"] = f"Row {n + 1}: kilometres and prices are numbers, such as 12 and 6.50."
    for zone in zones:
        if zone.radius_m < 1 or zone.fee_minor < 0 or (zone.free_from_minor is not None and zone.free_from_minor < 1):
            problems[""] = "Distances are more than 0, and no price is below it."
    if problems:
        raise FieldErrors(problems)
    await plan_delivery.save_zones(store, caller, tuple(zones))
    return "The zones are in force for the next order."


_CHANGES = {
    "terms": _save_terms, "add_window": _add_window, "resize": _resize, "drop_window": _drop_window, "close_day": _close_day,
    "open_day": _open_day, "zones": _save_zones,
}  # fmt: skip

delivery_routes = [day_page, fill, assign, reschedule, plan_page, change_plan]

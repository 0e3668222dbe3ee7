"""Making and changing an alert by a form, with what it would have found last week; and the inbox of what alerts found."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from tradepost.accounts.types import Caller
from tradepost.alerts.criteria import Criteria, check_criteria, criteria_of_alert
from tradepost.alerts.finds import list_finds, mark_find, read_finds, would_match
from tradepost.alerts.queries import access_alert, list_alerts
from tradepost.alerts.service import change_alert, keep_alert, rename_alert
from tradepost.alerts.types import Alert, NoSuchAlert, Telling
from tradepost.catalog.listing_pages import category_tree
from tradepost.core.errors import DomainError, FieldErrors
from tradepost.core.money import to_major, to_minor
from tradepost.flows.match_alerts import offered_by
from tradepost.flows.store import Store
from tradepost.notifications.ways import read_hook
from tradepost.web.forms import Form, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.position import position_of
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

HERE = "/me/searches"
FINDS = "/me/matches"
OFTEN = (("instant", "At once"), ("hourly", "Once an hour"), ("daily", "Once a day"), ("weekly", "Once a week"))


@get(HERE + "/new", include_in_schema=False)
async def new_alert(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, words: FromQuery[str] = "", back: FromQuery[bool] = False
) -> Response[Any]:  # fmt: skip
    """Show the form of a new alert; `words` and `back` (in stock again) may be filled in."""
    caller.check_signed_in()
    form = {
        "name": words[:80],
        "query": words[:200],
        "frequency": "instant",
        "email": "1",
        "back_in_stock": "1" if back else "",
    }
    return await _form(request, store, caller, form, {}, None)


@get(HERE + "/{alert_id:uuid}/edit", include_in_schema=False)
async def edit_alert(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID]
) -> Response[Any]:
    """Show the form of one of the person's alerts."""
    alert = await _access(store, caller, alert_id)
    return await _form(request, store, caller, _filled(store, alert), {}, alert)


@post(HERE + "/new", include_in_schema=False)
async def make_alert(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Keep a new alert, or show what it would have found."""
    caller.check_signed_in()
    return await _take(request, store, caller, None)


@post(HERE + "/{alert_id:uuid}/edit", include_in_schema=False)
async def change(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID]
) -> Response[Any]:
    """Change an alert, or show what it would have found."""
    return await _take(request, store, caller, await _access(store, caller, alert_id))


async def _access(store: Store, caller: Caller, alert_id: UUID) -> Alert:
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await access_alert(tx, caller, alert_id)


async def _take(request: HttpRequest, store: Store, caller: Caller, alert: Alert | None) -> Response[Any]:
    form = await read_form(request)
    try:
        asked = _asked(request, store, form, alert)
        offered = await offered_by(store)
        check_criteria(asked, offered)
        if form.get("action") == "preview":
            async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
                found = await would_match(tx, caller, asked, offered)
            return await _form(request, store, caller, form.texts, {}, alert, preview=found)
        await _save(store, caller, alert, asked, form)
    except DomainError as error:
        return await _form(request, store, caller, form.texts, problems_of(error), alert, status=422)
    return go(request, HERE, say="Saved: you are told of what is new.")


async def _save(store: Store, caller: Caller, alert: Alert | None, asked: Criteria, form: Form) -> None:
    telling = _telling(form)
    async with store.db.transaction(actor=caller.actor) as tx:
        if alert is None:
            await keep_alert(tx, caller, asked, form.get("name"), telling)
        else:
            await rename_alert(tx, caller, alert.id, form.get("name"))
            await change_alert(tx, caller, alert.id, asked=asked, telling=telling)


def _telling(form: Form) -> Telling:
    """Return how the form says that its person is told. Raises `FieldErrors`."""
    ticked = {name: bool(form.get(name)) for name in ("email", "push", "webhook", "again_on_drop")}
    try:
        return msgspec.convert({**ticked, "frequency": form.get("frequency") or "instant"}, Telling)
    except msgspec.ValidationError:
        raise FieldErrors({"frequency": "Choose how often."}) from None


def _asked(request: HttpRequest, store: Store, form: Form, alert: Alert | None) -> Criteria:
    """Return what the form asks for; what it has no field for stays as it was."""
    kept = criteria_of_alert("", alert.criteria) if alert else Criteria()
    near, kilometres = kept.near or position_of(request), form.whole("within")
    return msgspec.structs.replace(
        kept, query=form.get("query")[:200], words=(), without=tuple(w for w in form.get("without").replace(",", " ").split())[:20],
        category=form.get("category") or None, conditions=_chosen(form, "condition", store.settings.conditions),
        sources=_chosen(form, "source", store.settings.sources),
        min_minor=_minor(store, form, "min_price"), max_minor=_minor(store, form, "max_price"),
        near=near if kilometres else None, radius_m=float(kilometres * 1000) if kilometres else None,
        in_stock=bool(form.get("in_stock")), back_in_stock=bool(form.get("back_in_stock")),
        price_drop_percent=form.whole("price_drop_percent"),
    )  # fmt: skip


def _chosen(form: Form, name: str, options: Any) -> tuple[str, ...]:
    ticked = form.below(name)
    return tuple(option.code for option in options if ticked.get(option.code))


def _minor(store: Store, form: Form, name: str) -> int | None:
    return to_minor(form.get(name).replace(",", "."), store.currency, name) if form.get(name) else None


def _filled(store: Store, alert: Alert) -> dict[str, Any]:
    """Return an alert as its form has it."""
    asked = criteria_of_alert(
        str(alert.criteria.get("query", "")), {k: v for k, v in alert.criteria.items() if k != "query"}
    )
    told = alert.telling
    return {
        "name": alert.name, "query": " ".join([asked.query, *asked.words]).strip(), "without": ", ".join(asked.without),
        "category": asked.category or "", "min_price": _major(store, asked.min_minor), "max_price": _major(store, asked.max_minor),
        "within": round(asked.radius_m / 1000) if asked.radius_m else "", "in_stock": asked.in_stock,
        "back_in_stock": asked.back_in_stock, "price_drop_percent": asked.price_drop_percent or "", "frequency": told.frequency,
        "email": told.email, "push": told.push, "webhook": told.webhook, "again_on_drop": told.again_on_drop,
        **{f"condition.{code}": "1" for code in asked.conditions}, **{f"source.{code}": "1" for code in asked.sources},
    }  # fmt: skip


def _major(store: Store, minor: int | None) -> str | Decimal:
    return "" if minor is None else to_major(minor, store.currency)


async def _form(
    request: HttpRequest, store: Store, caller: Caller, form: dict[str, Any], errors: dict[str, str], alert: Alert | None, *,
    status: int = 200, preview: Any = None,
) -> Response[Any]:  # fmt: skip
    tree = await category_tree(store.db)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        hook = await read_hook(tx, caller)
    return await page(
        request, store, caller, "alert_edit", status=status, form=form, errors=errors, alert=alert, preview=preview, often=OFTEN,
        choices=[(c.slug, f"{'– ' * c.path.count('/')}{c.name}") for c in tree.by_slug.values()], has_hook=hook is not None,
        has_place=position_of(request) is not None or bool(alert and alert.request.near),
    )  # fmt: skip


@get(FINDS, include_in_schema=False)
async def finds_page(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    alert: FromQuery[UUID | None] = None,
    show: FromQuery[str] = "",
    after: FromQuery[str | None] = None,
) -> Response[str]:
    """Show what the person's alerts found, the latest first: all, of one alert, only what is saved or not read."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        found = await list_finds(
            tx, caller, alert_id=alert, only_saved=show == "saved", only_unread=show == "unread", after=after
        )
        alerts = await list_alerts(tx, caller)
    more = f"{FINDS}?after={found.after}&show={show}{f'&alert={alert}' if alert else ''}" if found.after else None
    return await page(
        request, store, caller, "finds", finds=found.items, alerts=alerts, chosen=alert, show=show, next_path=more
    )  # fmt: skip


@post(FINDS + "/{alert_id:uuid}/{listing_id:uuid}", include_in_schema=False)
async def mark(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID], listing_id: FromPath[UUID]
) -> Redirect:  # fmt: skip
    """Save a find or not; either way it is read."""
    is_saved = (await read_form(request)).get("action") == "save"
    async with store.db.transaction(actor=caller.actor) as tx:
        await mark_find(tx, caller, alert_id, listing_id, is_saved=is_saved, is_read=True)
    return go(request, request.headers.get("referer", FINDS), say="Saved." if is_saved else "Not saved any more.")


@post(FINDS + "/read", include_in_schema=False)
async def mark_all(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Note all finds as read, or those of one alert."""
    given = (await read_form(request)).get("alert")
    try:
        alert_id = UUID(given) if given else None
    except ValueError:
        raise NoSuchAlert from None
    async with store.db.transaction(actor=caller.actor) as tx:
        count = await read_finds(tx, caller, alert_id)
    return go(request, FINDS, say=f"{count} noted as read." if count else "", tone="info")


alert_pages = [new_alert, edit_alert, make_alert, change, finds_page, mark, mark_all]

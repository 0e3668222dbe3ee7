"""Visitors and customers in the back office: from a look to an order, what is looked for, who comes back; and the tables as files."""

from typing import Any, get_args
from uuid import UUID

from babel.dates import format_date
from litestar import Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Stream

from tradepost.core.sheets import CSV, XLSX, write_csv, write_xlsx
from tradepost.flows.assistant_sessions import read_for_staff
from tradepost.flows.insights import (
    STEP_NAMES,
    Visits,
    What,
    get_assistant_report,
    get_customers,
    get_insight_sheet,
    get_visits,
    settle,
)
from tradepost.flows.plan_delivery import today_of
from tradepost.flows.store import Store
from tradepost.web.figures_office import day_of, periods_of
from tradepost.web.forms import read_form
from tradepost.web.pages import go, page
from tradepost.web.rendering import money_formatter
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

VISITORS, CUSTOMERS, ASSISTANT = "/office/visitors", "/office/customers", "/office/assistant"
_MOST_BARS = 62


@get(VISITORS, include_in_schema=False)
async def visitors_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, since: FromQuery[str] = "", until: FromQuery[str] = ""
) -> Response[str]:
    """Show what visitors did on some days."""
    found = await get_visits(store, caller, day_of(since), day_of(until))
    return await page(
        request, store, caller, "office_visitors", visits=found, step_names=STEP_NAMES, bars=_bars(store, found), tab="visitors",
        periods=periods_of(VISITORS, found.since, found.until, today_of(store)), kept=f"since={found.since}&until={found.until}",
        collect=store.installation.analytics.collect,
    )  # fmt: skip


def _bars(store: Store, found: Visits) -> list[tuple[str, int, str]]:
    """Return the bars of the visits: a day each, or a week or month each where there are many."""
    size = 1 if len(found.days) <= _MOST_BARS else 7 if len(found.days) <= 7 * _MOST_BARS else 30
    groups = [found.days[n : n + size] for n in range(0, len(found.days), size)]
    return [
        (
            format_date(days[0].day, "d MMM", locale=store.settings.store.locale),
            sum(d.visits for d in days),
            f"{sum(d.visits for d in days)} visits, {sum(d.ordered for d in days)} ordered",
        )
        for days in groups
    ]


@get(CUSTOMERS, include_in_schema=False)
async def customers_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show who comes back, and what that is worth."""
    found = await get_customers(store, caller)
    locale = store.settings.store.locale
    money = money_formatter(locale, found.currency)
    bars = [
        (
            format_date(m.month, "MMM yy", locale=locale),
            m.first_minor,
            m.again_minor,
            f"{money(m.first_minor)} in first orders, {money(m.again_minor)} in repeated ones",
        )
        for m in found.months
    ]
    return await page(request, store, caller, "office_customers", customers=found, bars=bars, tab="customers")


@get(ASSISTANT, include_in_schema=False)
async def assistant_report_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, since: FromQuery[str] = "", until: FromQuery[str] = ""
) -> Response[str]:
    """Show how the assistant does, and what it did not understand."""
    found = await get_assistant_report(store, caller, day_of(since), day_of(until))
    return await page(
        request, store, caller, "office_assistant", report=found, tab="assistant", kept=f"since={found.since}&until={found.until}",
        periods=periods_of(ASSISTANT, found.since, found.until, today_of(store)),
    )  # fmt: skip


@post(ASSISTANT + "/settle", include_in_schema=False)
async def settle_question_now(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Take a question off the list."""
    form = await read_form(request)
    await settle(store, caller, form.get("asked"))
    return go(request, ASSISTANT, say="Off the list.")


@get(ASSISTANT + "/{talk_id:uuid}", include_in_schema=False)
async def talk_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, talk_id: FromPath[UUID]
) -> Response[str]:
    """Show one talk, every turn with what the answer rests on."""
    talk, turns = await read_for_staff(store, caller, talk_id)
    return await page(request, store, caller, "office_talk", talk=talk, turns=turns, tab="assistant")


@get("/office/insights/{name:str}", include_in_schema=False)
async def insight_file(
    store: GivenStore, caller: GivenCaller, name: FromPath[str], since: FromQuery[str] = "", until: FromQuery[str] = ""
) -> Response[Any]:
    """Give the table behind a report as CSV or XLSX: funnel, visits, listings, searches, cohorts, revenue, questions."""
    what, _, kind = name.partition(".")
    known = next((known for known in get_args(What) if known == what), None)
    if known is None or kind not in {"csv", "xlsx"}:
        raise NotFoundException("There is no such table.")
    sheet = await get_insight_sheet(store, caller, known, day_of(since), day_of(until))
    headers = {"content-disposition": f'attachment; filename="{sheet.name}.{kind}"', "cache-control": "no-store"}
    if kind == "xlsx":
        return Response(write_xlsx(known.title(), sheet.head, sheet.rows), media_type=XLSX, headers=headers)
    return Stream(iter(write_csv(sheet.head, sheet.rows)), media_type=CSV, headers=headers)


insights_routes: list[Any] = [
    visitors_page, customers_page, assistant_report_page, settle_question_now, talk_page, insight_file
]  # fmt: skip

"""The figures in the back office: charts that answer a question, and the tables behind them as files."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from babel.dates import format_date
from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery
from litestar.response import Stream

from tradepost.analytics.types import SalesDay
from tradepost.core.sheets import CSV, XLSX, write_csv, write_xlsx
from tradepost.flows.figures import Figures, get_figures, get_sheet
from tradepost.flows.plan_delivery import today_of
from tradepost.flows.store import Store
from tradepost.web.pages import page
from tradepost.web.rendering import money_formatter
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

FIGURES = "/office/figures"
_PERIODS = ((7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "A year"))
_MOST_BARS = 62


def day_of(text: str) -> date | None:
    """Return a day as an address names it, or None for anything else."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


@get(FIGURES, include_in_schema=False)
async def figures_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, since: FromQuery[str] = "", until: FromQuery[str] = ""
) -> Response[str]:
    """Show the figures of a stretch of days."""
    found = await get_figures(store, caller, day_of(since), day_of(until))
    periods = periods_of(FIGURES, found.since, found.until, today_of(store))
    return await page(
        request, store, caller, "office_figures", figures=found, periods=periods, tab="figures", bars=_bars(store, found),
        slot_bars=_slot_bars(store, found), kept=f"since={found.since}&until={found.until}",
        problem="A day is written 2026-01-31." if (since and not day_of(since)) or (until and not day_of(until)) else "",
    )  # fmt: skip


def periods_of(path: str, since: date, until: date, today: date) -> list[dict[str, Any]]:
    """Return the tabs of a page of figures: the last days, weeks, months."""
    return [
        {"label": label, "path": f"{path}?since={today - timedelta(days=n - 1)}&until={today}", "count": None,
         "current": (since, until) == (today - timedelta(days=n - 1), today)}
        for n, label in _PERIODS
    ]  # fmt: skip


def _bars(store: Store, found: Figures) -> list[tuple[str, int, str]]:
    """Return the bars of the sales: a day each, or a week each where there are many."""
    locale = store.settings.store.locale
    money = money_formatter(locale, found.currency)
    return [
        (label, sum(d.revenue_minor for d in days), f"{money(sum(d.revenue_minor for d in days))}, {sum(d.orders for d in days)} orders")
        for label, days in _grouped(found.days, locale)
    ]  # fmt: skip


def _grouped(days: Sequence[SalesDay], locale: str) -> list[tuple[str, Sequence[SalesDay]]]:
    size = 1 if len(days) <= _MOST_BARS else 7 if len(days) <= 7 * _MOST_BARS else 30
    return [
        (format_date(days[n].day, "d MMM", locale=locale), days[n : n + size]) for n in range(0, len(days), size)
    ]  # fmt: skip


def _slot_bars(store: Store, found: Figures) -> list[tuple[str, int, str]]:
    locale = store.settings.store.locale
    shown = found.slots[-_MOST_BARS:]
    return [
        (format_date(s.day, "d MMM", locale=locale), round(100 * s.taken / s.capacity) if s.capacity else 0, f"{s.taken} of {s.capacity}")
        for s in shown
    ]  # fmt: skip


@get(FIGURES + "/{name:str}", include_in_schema=False)
async def figures_file(
    store: GivenStore, caller: GivenCaller, name: FromPath[str], since: FromQuery[str] = "", until: FromQuery[str] = ""
) -> Response[Any]:
    """Give the table behind a chart as CSV or XLSX: days.csv, days.xlsx, listings.csv, listings.xlsx."""
    what, _, kind = name.partition(".")
    if what not in {"days", "listings"} or kind not in {"csv", "xlsx"}:
        raise NotFoundException("There is no such table.")
    sheet = await get_sheet(store, caller, "days" if what == "days" else "listings", day_of(since), day_of(until))
    headers = {"content-disposition": f'attachment; filename="{sheet.name}.{kind}"', "cache-control": "no-store"}
    if kind == "xlsx":
        data = write_xlsx("Sales", sheet.head, sheet.rows)
        return Response(data, media_type=XLSX, headers=headers)
    return Stream(iter(write_csv(sheet.head, sheet.rows)), media_type=CSV, headers=headers)


figures_routes: list[Any] = [figures_page, figures_file]

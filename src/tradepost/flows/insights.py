"""What visitors do, over a stretch of the store's own days: from a look to an order, what is looked at and searched for, who comes back."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Final, Literal

import msgspec

from tradepost.accounts.types import Caller
from tradepost.analytics import queries
from tradepost.analytics.noting import write_rest
from tradepost.analytics.types import (
    CohortCell,
    FunnelStep,
    Kind,
    ListingInterest,
    RevenueMonth,
    SearchTerm,
    VisitDay,
)
from tradepost.assistant.reports import (
    AssistantFigures,
    IntentCount,
    Unanswered,
    assistant_figures,
    count_intents,
    list_unanswered_questions,
    settle_question,
)
from tradepost.core.money import to_major
from tradepost.flows.figures import SheetOf, stretch
from tradepost.flows.orders import reading
from tradepost.flows.plan_delivery import today_of
from tradepost.flows.store import Store

STEPS: Final[tuple[Kind, ...]] = ("listing_viewed", "cart_added", "checkout_opened", "order_placed")
STEP_NAMES: Final[dict[Kind, str]] = {
    "listing_viewed": "Looked at something", "cart_added": "Put it in the cart", "checkout_opened": "Went to the checkout",
    "order_placed": "Ordered",
}  # fmt: skip
COHORT_MONTHS: Final = 12
What = Literal["funnel", "visits", "listings", "searches", "cohorts", "revenue", "questions"]
_KEPT_S: Final = 600.0


class Visits(msgspec.Struct, frozen=True, kw_only=True):
    """The visits of a stretch of days, both ends included. `before` is the funnel of as many days before them."""

    since: date
    until: date
    funnel: tuple[FunnelStep, ...]
    before: tuple[FunnelStep, ...]
    days: tuple[VisitDay, ...]
    listings: tuple[ListingInterest, ...]
    searches: tuple[SearchTerm, ...]

    @property
    def share(self) -> float:
        """How many of a hundred visits that looked at something ordered."""
        return share(self.funnel)

    @property
    def share_before(self) -> float:
        """The same for as many days before."""
        return share(self.before)

    @property
    def leak(self) -> FunnelStep | None:
        """The step that the largest part of those before it never came to."""
        pairs = [(a, b) for a, b in zip(self.funnel, self.funnel[1:], strict=False) if a.visits]
        return min(pairs, key=lambda pair: pair[1].visits / pair[0].visits)[1] if pairs else None


class Cohort(msgspec.Struct, frozen=True):
    """The people who ordered first in a month: how many, and how many of them did again in each month after."""

    month: date
    people: int
    again: tuple[int | None, ...]
    revenue_minor: int


class Customers(msgspec.Struct, frozen=True):
    """Who comes back: a year's cohorts, and what first and repeated orders came to by month."""

    currency: str
    cohorts: tuple[Cohort, ...]
    months: tuple[RevenueMonth, ...]

    @property
    def again_percent(self) -> int:
        """How much of a hundred the repeated orders are of the revenue shown."""
        whole = sum(m.first_minor + m.again_minor for m in self.months)
        return round(100 * sum(m.again_minor for m in self.months) / whole) if whole else 0


def share(steps: Sequence[FunnelStep]) -> float:
    """Return how many of a hundred went all the way."""
    return round(100 * steps[-1].visits / steps[0].visits, 1) if steps and steps[0].visits else 0.0


async def get_visits(store: Store, caller: Caller, since: date | None = None, until: date | None = None) -> Visits:
    """Return what visitors did on these days, in the store's time zone. Raises `NotAllowed`."""
    caller.check_can("see_reports")
    await write_rest(store.db)
    first, last = stretch(store, since, until)
    during, size = _moments(store, first, last), last - first + timedelta(days=1)
    earlier = _moments(store, max(first, date.min + size) - size, max(first, date.min + size) - timedelta(days=1))
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        return Visits(
            since=first, until=last, funnel=_in_order(await tx.all(queries.FUNNEL, into=FunnelStep, **during)),
            before=_in_order(await tx.all(queries.FUNNEL, into=FunnelStep, **earlier)),
            days=_every_day(first, last, await tx.all(queries.VISIT_DAYS, into=VisitDay, **during, zone=str(store.zone))),
            listings=tuple(await tx.all(queries.INTEREST, into=ListingInterest, **during, limit=20)),
            searches=tuple(await tx.all(queries.SEARCH_TERMS, into=SearchTerm, **during, limit=20)),
        )  # fmt: skip


def _moments(store: Store, first: date, last: date) -> dict[str, Any]:
    ends = min(last, date.max - timedelta(days=1)) + timedelta(days=1)
    return {"begins": datetime.combine(first, time(), store.zone), "ends": datetime.combine(ends, time(), store.zone)}


def _in_order(steps: Sequence[FunnelStep]) -> tuple[FunnelStep, ...]:
    return tuple(sorted(steps, key=lambda step: STEPS.index(step.kind)))


def _every_day(first: date, last: date, found: Sequence[VisitDay]) -> tuple[VisitDay, ...]:
    known = {day.day: day for day in found}
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return tuple(known.get(day) or VisitDay(day, 0, 0) for day in days)


async def get_customers(store: Store, caller: Caller) -> Customers:
    """Return the cohorts and the revenue of a year; looked up at most every ten minutes. Raises `NotAllowed`."""
    caller.check_can("see_reports")

    async def make() -> Customers:
        return await _read_customers(store, caller)

    return await store.cache.get_or_make(
        f"insights:customers:{today_of(store)}", into=Customers, ttl_s=_KEPT_S, make=make
    )


async def _read_customers(store: Store, caller: Caller) -> Customers:
    today = today_of(store).replace(day=1)
    since = _months_after(today, 1 - COHORT_MONTHS)
    asked: dict[str, Any] = {"zone": str(store.zone), "currency": store.currency, "since": since}
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        cells = await tx.all(queries.COHORTS, into=CohortCell, **asked)
        months = await tx.all(queries.REVENUE_MONTHS, into=RevenueMonth, **asked)
    known = {month.month: month for month in months}
    every = [_months_after(since, n) for n in range(COHORT_MONTHS)]
    return Customers(
        store.currency,
        tuple(_cohort(month, today, [c for c in cells if c.month == month]) for month in every),
        tuple(known.get(month) or RevenueMonth(month, 0, 0, 0) for month in every),
    )


def _cohort(month: date, today: date, cells: Sequence[CohortCell]) -> Cohort:
    """Put a month's cells in order: 0 where nobody came back, None where the month is still to come."""
    people = {cell.later: cell.people for cell in cells}
    known = (today.year - month.year) * 12 + today.month - month.month
    again = tuple(people.get(n, 0) if n <= known else None for n in range(1, COHORT_MONTHS))
    return Cohort(month, people.get(0, 0), again, sum(cell.revenue_minor for cell in cells))


def _months_after(month: date, count: int) -> date:
    whole = month.year * 12 + month.month - 1 + count
    return date(whole // 12, whole % 12 + 1, 1)


class AssistantReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the assistant did on some days. `asked`, `ordered`: visits that asked it something, and those of them that ordered later."""

    since: date
    until: date
    figures: AssistantFigures
    intents: tuple[IntentCount, ...]
    unanswered: tuple[Unanswered, ...]
    asked: int
    ordered: int

    @property
    def understood_percent(self) -> int:
        """How many of a hundred questions were understood."""
        return round(100 * self.figures.understood / self.figures.turns) if self.figures.turns else 0

    @property
    def conversion(self) -> float:
        """How many of a hundred visits that asked something ordered later."""
        return round(100 * self.ordered / self.asked, 1) if self.asked else 0.0


async def get_assistant_report(
    store: Store, caller: Caller, since: date | None = None, until: date | None = None
) -> AssistantReport:
    """Return how the assistant did on these days, and what it did not understand. Raises `NotAllowed`."""
    caller.check_can("see_reports")
    await write_rest(store.db)
    first, last = stretch(store, since, until)
    during = _moments(store, first, last)
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        row = await tx.one(queries.ASKED, **during)
        return AssistantReport(
            since=first, until=last, figures=await assistant_figures(tx, **during), asked=row["asked"], ordered=row["ordered"],
            intents=tuple(await count_intents(tx, **during)),
            unanswered=tuple(await list_unanswered_questions(tx, during["begins"])),
        )  # fmt: skip


async def settle(store: Store, caller: Caller, asked: str) -> int:
    """Take a question off the list of those that were not understood; return how many turns that were. Raises `NotAllowed`."""
    caller.check_can("see_reports")
    async with store.db.transaction(actor=caller.actor) as tx:
        return await settle_question(tx, asked, caller.user_id)


async def get_insight_sheet(
    store: Store, caller: Caller, what: What, since: date | None = None, until: date | None = None
) -> SheetOf:
    """Return one of the tables behind the reports, to be written as a file. Raises `NotAllowed`."""
    caller.check_can("see_reports")
    if what in {"cohorts", "revenue"}:
        return _customer_sheet(store, what, await get_customers(store, caller))
    if what == "questions":
        report = await get_assistant_report(store, caller, since, until)
        listed = tuple((q.asked, q.times, q.last_at, "yes" if q.was_understood else "no") for q in report.unanswered)
        return SheetOf(
            f"{store.code}-questions-{report.since}-{report.until}", ("Question", "Times", "Last", "Understood"), listed
        )
    found = await get_visits(store, caller, since, until)
    name = f"{store.code}-{what}-{found.since}-{found.until}"
    if what == "funnel":
        rows: tuple[tuple[Any, ...], ...] = tuple((STEP_NAMES[s.kind], s.visits) for s in found.funnel)
        return SheetOf(name, ("Step", "Visits"), rows)
    if what == "visits":
        return SheetOf(name, ("Day", "Visits", "Ordered"), tuple((d.day, d.visits, d.ordered) for d in found.days))
    if what == "listings":
        looked = tuple((i.title, i.visits, i.orders) for i in found.listings)
        return SheetOf(name, ("Listing", "Visits", "Orders"), looked)
    asked = tuple((t.query, t.searches, t.unanswered, t.clicked, t.ordered) for t in found.searches)
    return SheetOf(name, ("Search", "Times", "Found nothing", "Clicked", "Ordered"), asked)


def _customer_sheet(store: Store, what: What, found: Customers) -> SheetOf:
    name, currency = f"{store.code}-{what}-{today_of(store)}", found.currency
    if what == "revenue":
        rows: tuple[tuple[Any, ...], ...] = tuple(
            (m.month, to_major(m.first_minor, currency), to_major(m.again_minor, currency), m.buyers, currency)
            for m in found.months
        )
        return SheetOf(name, ("Month", "First orders", "Repeated orders", "Buyers", "Currency"), rows)
    later = tuple(f"After {n} months" for n in range(1, COHORT_MONTHS))
    return SheetOf(
        name, ("First order in", "People", *later), tuple((c.month, c.people, *c.again) for c in found.cohorts)
    )

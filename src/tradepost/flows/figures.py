"""The store's figures over a stretch of its own days: sales, best sellers, windows used, returns; on a page and as files."""

from calendar import monthrange
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Literal

import msgspec

from tradepost.accounts.types import Caller
from tradepost.analytics import queries
from tradepost.analytics.types import BestSeller, ReturnReasonCount, SalesDay, SlotDay
from tradepost.core.database import SYSTEM
from tradepost.core.jobs import scheduled
from tradepost.core.money import to_major
from tradepost.flows.orders import reading
from tradepost.flows.plan_delivery import today_of
from tradepost.flows.store import Store

LONGEST = timedelta(days=1100)
What = Literal["days", "listings"]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a stretch of days, both ends included. Every day is there, also one without a sale."""

    since: date
    until: date
    currency: str
    days: tuple[SalesDay, ...]
    best: tuple[BestSeller, ...]
    slots: tuple[SlotDay, ...]
    returns: tuple[ReturnReasonCount, ...]

    @property
    def orders(self) -> int:
        """How many orders were sales."""
        return sum(day.orders for day in self.days)

    @property
    def revenue_minor(self) -> int:
        """What they came to."""
        return sum(day.revenue_minor for day in self.days)

    @property
    def refunded_minor(self) -> int:
        """What of it was given back."""
        return sum(day.refunded_minor for day in self.days)

    @property
    def average_minor(self) -> int:
        """What one came to on average."""
        return round(self.revenue_minor / self.orders) if self.orders else 0

    @property
    def best_day(self) -> SalesDay | None:
        """The day that sold most."""
        found = max(self.days, key=lambda d: d.revenue_minor, default=None)
        return found if found and found.revenue_minor else None


def stretch(store: Store, since: date | None, until: date | None) -> tuple[date, date]:
    """Return a stretch of days that makes sense: the last thirty unless told, three years at most, the earlier day first."""
    last = until or today_of(store)
    first = since or (last - timedelta(days=29) if last - date.min > timedelta(days=30) else last)
    first, last = min(first, last), max(first, last)
    return (last - LONGEST if last - first > LONGEST else first), last


async def get_figures(store: Store, caller: Caller, since: date | None = None, until: date | None = None) -> Figures:
    """Return the figures of these days, in the store's currency and time zone. Raises `NotAllowed`."""
    caller.check_can("see_reports")
    first, last = stretch(store, since, until)
    days: dict[str, Any] = {"since": first, "until": last}
    currency = store.currency
    begins = datetime.combine(first, time(), store.zone)
    ends = datetime.combine(min(last, date.max - timedelta(days=1)) + timedelta(days=1), time(), store.zone)
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        sales = await tx.all(queries.SALES, into=SalesDay, **days, currency=currency)
        best = await tx.all(queries.BEST_SELLERS, into=BestSeller, **_parts(first, last), currency=currency, limit=10)
        slots = await tx.all(queries.SLOTS, into=SlotDay, **days) if store.settings.features.delivery else []
        returns = await tx.all(queries.RETURNS, into=ReturnReasonCount, begins=begins, ends=ends)
    return Figures(
        since=first, until=last, currency=currency, days=_every_day(first, last, sales), best=tuple(best), slots=tuple(slots),
        returns=tuple(returns),
    )  # fmt: skip


def _parts(first: date, last: date) -> dict[str, list[date]]:
    """Return the months, by their first days, that lie whole in a stretch, and all its days."""
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    ends = {day.replace(day=1) for day in days if day == last_of_month(day)}
    return {"months": [day for day in days if day.day == 1 and day in ends], "days": days}


def last_of_month(day: date) -> date:
    """Return the last day of a day's month."""
    return day.replace(day=monthrange(day.year, day.month)[1])


def _every_day(first: date, last: date, sales: Sequence[SalesDay]) -> tuple[SalesDay, ...]:
    known = {day.day: day for day in sales}
    count = (last - first).days + 1
    return tuple(known.get(day) or SalesDay(day, 0, 0, 0) for n in range(count) for day in [first + timedelta(days=n)])


class SheetOf(msgspec.Struct, frozen=True):
    """A table to be written as a file."""

    name: str
    head: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


async def get_sheet(store: Store, caller: Caller, what: What, since: date | None, until: date | None) -> SheetOf:
    """Return the sales of a stretch by day, or by listing (the best 10,000). Raises `NotAllowed`."""
    caller.check_can("see_reports")
    first, last = stretch(store, since, until)
    currency = store.currency
    name = f"{store.code}-sales-by-{'day' if what == 'days' else 'listing'}-{first}-{last}"
    if what == "days":
        found = await get_figures(store, caller, first, last)
        rows = tuple(
            (d.day, d.orders, to_major(d.revenue_minor, currency), to_major(d.refunded_minor, currency), currency)
            for d in found.days
        )
        return SheetOf(name, ("Day", "Orders", "Sales", "Given back", "Currency"), rows)
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        best = await tx.all(
            queries.BEST_SELLERS, into=BestSeller, **_parts(first, last), currency=currency, limit=10_000
        )
    sold = tuple((b.title, b.quantity, b.orders, to_major(b.revenue_minor, currency), currency) for b in best)
    return SheetOf(name, ("Listing", "Quantity", "Orders", "Sales", "Currency"), sold)


@scheduled("analytics.refresh_sales", cron="* * * * *")
async def refresh_sales(store: Store) -> None:
    """Sum up the days that changed."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.value(queries.REFRESH)

"""The delivery plan: the windows of a usual week, days off, terms, zones; and the slots that are opened from it.

A slot once opened is its own: another plan changes the windows to come that nobody has taken, never what a buyer was promised.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta
from sqlalchemy import text

from tradepost.core.database import Transaction, on_violation
from tradepost.core.errors import Conflict, Invalid, NotFound

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class NoSuchWindow(NotFound):
    """There is no such window in the plan."""


class WindowTwice(Conflict):
    """That day has this window already."""


@dataclass(eq=False)
class BadWindow(Invalid):
    """A window ends after it begins, and takes one order or more."""

    field: str | None = "starts_at"


on_violation("uq_delivery_windows_weekday_starts_at_ends_at", WindowTwice)
on_violation("ck_delivery_windows_ends_after_start", BadWindow)
on_violation("ck_delivery_windows_capacity_range", BadWindow)


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For when orders are taken. `cut_off`: a day's windows close at this time of the day before; None: they do not."""

    lead_minutes: Annotated[int, Meta(ge=0, le=129600)] = 0
    cut_off: time | None = None
    days_ahead: Annotated[int, Meta(ge=1, le=90)] = 14


class WindowDraft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A window of the usual week; Monday is 0."""

    weekday: Annotated[int, Meta(ge=0, le=6)]
    starts_at: time
    ends_at: time
    capacity: Annotated[int, Meta(ge=1, le=10000)]


class Window(msgspec.Struct, frozen=True):
    """A window of the plan."""

    id: UUID
    weekday: int
    starts_at: time
    ends_at: time
    capacity: int

    @property
    def hours(self) -> str:
        """The hours in words."""
        return f"{self.starts_at:%H:%M}–{self.ends_at:%H:%M}"


class DayOff(msgspec.Struct, frozen=True):
    """A day on which nothing is brought; `booked` orders had been promised for it."""

    day: date
    reason: str
    booked: int


class Zone(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What delivery costs up to a distance, in minor units; free from a value of the goods on."""

    radius_m: Annotated[int, Meta(ge=1, le=20_000_000)]
    name: Annotated[str, Meta(max_length=60)]
    fee_minor: Annotated[int, Meta(ge=0, le=10**12)]
    free_from_minor: Annotated[int, Meta(ge=1, le=10**12)] | None = None


class Plan(msgspec.Struct, frozen=True):
    """All of the plan."""

    terms: Terms
    windows: tuple[Window, ...]
    days_off: tuple[DayOff, ...]
    zones: tuple[Zone, ...]


_TERMS = text("SELECT lead_minutes, cut_off, days_ahead FROM delivery_terms")
_SET_TERMS = text("""
    INSERT INTO delivery_terms (lead_minutes, cut_off, days_ahead) VALUES (:lead_minutes, :cut_off, :days_ahead)
    ON CONFLICT (id) DO UPDATE SET lead_minutes = excluded.lead_minutes, cut_off = excluded.cut_off, days_ahead = excluded.days_ahead
""")
_WINDOWS = text(
    "SELECT id, weekday, starts_at, ends_at, capacity FROM delivery_windows ORDER BY weekday, starts_at, ends_at"
)
_ADD_WINDOW = text("""
    INSERT INTO delivery_windows (weekday, starts_at, ends_at, capacity) VALUES (:weekday, :starts_at, :ends_at, :capacity)
""")
_SET_CAPACITY = text("""
    UPDATE delivery_windows SET capacity = :capacity WHERE id = :window_id RETURNING weekday, starts_at, ends_at, capacity
""")
_DROP_WINDOW = text(
    "DELETE FROM delivery_windows WHERE id = :window_id RETURNING weekday, starts_at, ends_at, capacity"
)
_RESIZE = text("""
    UPDATE delivery_slots SET capacity = greatest(:capacity, taken)
    WHERE delivery_on >= :today AND extract(isodow FROM delivery_on) = :weekday + 1 AND starts_at = :starts_at AND ends_at = :ends_at
      AND capacity <> greatest(:capacity, taken)
""")
_SHUT = text("""
    UPDATE delivery_slots SET is_open = false
    WHERE delivery_on >= :today AND extract(isodow FROM delivery_on) = :weekday + 1 AND starts_at = :starts_at AND ends_at = :ends_at
""")
_OPEN_SLOTS = text("""
    WITH days AS (
        SELECT CAST(:today AS date) + n AS day FROM generate_series(0, :days_ahead) AS n
    ), wanted AS (
        SELECT d.day, w.starts_at, w.ends_at, w.capacity FROM days d JOIN delivery_windows w ON w.weekday = extract(isodow FROM d.day) - 1
        WHERE NOT EXISTS (SELECT FROM delivery_days_off o WHERE o.day = d.day)
    ), again AS (
        UPDATE delivery_slots s SET is_open = true FROM wanted w
        WHERE (s.delivery_on, s.starts_at, s.ends_at) = (w.day, w.starts_at, w.ends_at) AND NOT s.is_open RETURNING 1
    )
    INSERT INTO delivery_slots (delivery_on, starts_at, ends_at, capacity)
    SELECT w.day, w.starts_at, w.ends_at, w.capacity FROM wanted w
    WHERE NOT EXISTS (SELECT FROM delivery_slots s
                      WHERE (s.delivery_on, s.starts_at, s.ends_at) = (w.day, w.starts_at, w.ends_at))
    ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING
""")
_DAYS_OFF = text("""
    SELECT o.day, o.reason, CAST(coalesce((SELECT sum(s.taken) FROM delivery_slots s WHERE s.delivery_on = o.day), 0) AS int) AS booked
    FROM delivery_days_off o WHERE o.day >= :today ORDER BY o.day LIMIT 200
""")
_ADD_DAY_OFF = text("""
    INSERT INTO delivery_days_off (day, reason) VALUES (:day, :reason) ON CONFLICT (day) DO UPDATE SET reason = excluded.reason
""")
_DROP_DAY_OFF = text("DELETE FROM delivery_days_off WHERE day = :day")
_SHUT_DAY = text("UPDATE delivery_slots SET is_open = false WHERE delivery_on = :day AND is_open")
_ZONES = text("SELECT radius_m, name, fee_minor, free_from_minor FROM delivery_zones ORDER BY radius_m")
_DROP_ZONES = text("DELETE FROM delivery_zones")
_ADD_ZONE = text("""
    INSERT INTO delivery_zones (radius_m, name, fee_minor, free_from_minor) VALUES (:radius_m, :name, :fee_minor, :free_from_minor)
    ON CONFLICT (radius_m) DO UPDATE SET name = excluded.name, fee_minor = excluded.fee_minor, free_from_minor = excluded.free_from_minor
""")
_IS_PLANNED = text("""
    SELECT EXISTS (SELECT FROM delivery_windows) OR EXISTS (SELECT FROM delivery_zones) OR EXISTS (SELECT FROM delivery_terms)
""")


async def read_plan(tx: Transaction, today: date) -> Plan:
    """Return the plan, with the days off from today on."""
    terms = await tx.maybe(_TERMS, into=Terms)
    return Plan(
        terms=terms or Terms(),
        windows=tuple(await tx.all(_WINDOWS, into=Window)),
        days_off=tuple(await tx.all(_DAYS_OFF, into=DayOff, today=today)),
        zones=tuple(await tx.all(_ZONES, into=Zone)),
    )


async def is_planned(tx: Transaction) -> bool:
    """Whether anything was planned yet."""
    return bool(await tx.value(_IS_PLANNED))


async def set_terms(tx: Transaction, terms: Terms, today: date) -> None:
    """Say for when orders are taken, and open the slots of the days ahead."""
    await tx.run(_SET_TERMS, **msgspec.structs.asdict(terms))
    await open_planned_slots(tx, today)


async def add_window(tx: Transaction, draft: WindowDraft, today: date) -> None:
    """Add a window to the usual week, and open its slots. Raises `WindowTwice`, `BadWindow`."""
    await tx.run(_ADD_WINDOW, **msgspec.structs.asdict(draft))
    await open_planned_slots(tx, today)


async def set_capacity(tx: Transaction, window_id: UUID, capacity: int, today: date) -> None:
    """Give a window room for so many orders, also on the days that are open already: never below what is taken.

    Raises `NoSuchWindow`, `BadWindow`.
    """
    row = await tx.maybe(_SET_CAPACITY, window_id=window_id, capacity=capacity)
    if row is None:
        raise NoSuchWindow
    await tx.run(_RESIZE, **row, today=today)


async def drop_window(tx: Transaction, window_id: UUID, today: date) -> None:
    """Take a window out of the usual week and offer it no longer; orders that took it keep it. Raises `NoSuchWindow`."""
    row = await tx.maybe(_DROP_WINDOW, window_id=window_id)
    if row is None:
        raise NoSuchWindow
    values = dict(row)
    del values["capacity"]
    await tx.run(_SHUT, **values, today=today)


async def add_day_off(tx: Transaction, day: date, reason: str) -> None:
    """Bring nothing on a day: its windows are offered no longer. Orders that took one keep it, and are for staff to move."""
    await tx.run(_ADD_DAY_OFF, day=day, reason=reason)
    await tx.run(_SHUT_DAY, day=day)


async def drop_day_off(tx: Transaction, day: date, today: date) -> None:
    """Bring things on a day after all. Idempotent."""
    await tx.run(_DROP_DAY_OFF, day=day)
    await open_planned_slots(tx, today)


async def set_zones(tx: Transaction, zones: Sequence[Zone]) -> None:
    """Replace all zones; none means that every way of delivery has its own price everywhere."""
    await tx.run(_DROP_ZONES)
    for zone in zones:
        await tx.run(_ADD_ZONE, **msgspec.structs.asdict(zone))


async def open_planned_slots(tx: Transaction, today: date) -> int:
    """Open the slots that the plan has for the days ahead and that are not there yet; return how many. Idempotent."""
    terms = await tx.maybe(_TERMS, into=Terms) or Terms()
    return await tx.run(_OPEN_SLOTS, today=today, days_ahead=terms.days_ahead)


def week_of(day: date) -> tuple[date, date]:
    """Return the Monday and the Sunday of a day's week."""
    monday = day - timedelta(days=day.weekday())
    return monday, monday + timedelta(days=6)

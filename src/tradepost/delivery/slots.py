"""Delivery windows: which have room, and taking one. The count of what is taken is kept by a trigger, at the commit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import text

from tradepost.core.clock import now
from tradepost.core.database import Transaction, on_violation
from tradepost.core.errors import Conflict, Invalid, NotFound


class SlotFull(Conflict):
    """This delivery window is full; please choose another."""


class NoSuchSlot(NotFound):
    """There is no such delivery window."""


@dataclass(eq=False)
class SlotTooSoon(Conflict):
    """That window is too soon for this order; the first one we can keep begins after {earliest}."""

    earliest: str
    field: str | None = "slot_id"


@dataclass(eq=False)
class SlotNeeded(Invalid):
    """Please choose when we should come."""

    field: str | None = "slot_id"


on_violation("ck_delivery_slots_not_overbooked", SlotFull)
on_violation("fk_slot_bookings_slot_id", NoSuchSlot)


class Slot(msgspec.Struct, frozen=True):
    """A delivery window, in the store's own time."""

    id: UUID
    delivery_on: date
    starts_at: time
    ends_at: time
    capacity: int
    taken: int
    rider_id: UUID | None
    status: str

    @property
    def left(self) -> int:
        """For how many orders there is room."""
        return self.capacity - self.taken

    @property
    def window(self) -> str:
        """The hours in words: “10:00–12:00”."""
        return f"{self.starts_at:%H:%M}–{self.ends_at:%H:%M}"

    @property
    def label(self) -> str:
        """The window in words: “Sat 21 Nov, 10:00–12:00”."""
        day = self.delivery_on
        return f"{day:%a} {day.day} {day:%b}, {self.window}"


_SLOT = "SELECT id, delivery_on, starts_at, ends_at, capacity, taken, rider_id, status FROM delivery_slots"
# When an order of these listings may be brought at the earliest, by the store's own clock: after the lead of the plan, or the
# longest of the listings (`lead_time_hours`), and on no day whose windows closed at the cut-off of the day before.
_EARLIEST = """
    SELECT CAST(:here AS timestamp) + make_interval(mins => greatest(coalesce(t.lead_minutes, 0), l.minutes)) AS after,
           CASE WHEN t.cut_off IS NOT NULL AND CAST(:here AS timestamp)::time >= t.cut_off THEN CAST(:here AS timestamp)::date + 2
                WHEN t.cut_off IS NOT NULL THEN CAST(:here AS timestamp)::date + 1
                ELSE CAST(:here AS timestamp)::date END AS first_day
    FROM (SELECT CAST(coalesce(ceil(max(CASE WHEN jsonb_typeof(attributes -> 'lead_time_hours') = 'number'
                                       THEN least((attributes ->> 'lead_time_hours')::numeric, 2160) END) * 60), 0) AS int) AS minutes
          FROM listings WHERE id = ANY (CAST(:listing_ids AS uuid[]))) l
    LEFT JOIN delivery_terms t ON true
"""
_OPEN = text(f"""
    {_SLOT} , ({_EARLIEST}) e
    WHERE delivery_on >= e.first_day AND delivery_on >= CAST(:here AS timestamp)::date AND delivery_on + starts_at > e.after
        AND delivery_on <= :until AND is_open AND status <> 'completed' AND (taken < capacity OR id = :chosen)
    ORDER BY delivery_on, starts_at, id LIMIT :limit
""")
_ONE = text(f"""
    {_SLOT.replace(" FROM", ", is_open, greatest(e.after, e.first_day - interval '1 second') AS earliest FROM")}, ({_EARLIEST}) e WHERE id = :slot_id
""")
_ANY = text(f"""
    SELECT EXISTS (SELECT FROM delivery_slots, ({_EARLIEST}) e
                   WHERE delivery_on >= e.first_day AND delivery_on + starts_at > e.after AND is_open AND status <> 'completed'
                     AND taken < capacity)
""")
_OF_ORDER = text(
    f"{_SLOT.replace('SELECT id', 'SELECT s.id')} s JOIN slot_bookings b ON b.slot_id = s.id "
    "WHERE b.order_id = :order_id AND b.state = 'booked'"
)
_ADD = text("""
    INSERT INTO delivery_slots (delivery_on, starts_at, ends_at, capacity, rider_id, status)
    VALUES (:delivery_on, :starts_at, :ends_at, :capacity, CAST(:rider_id AS uuid),
            CASE WHEN CAST(:rider_id AS uuid) IS NULL THEN 'available' ELSE 'assigned' END)
    ON CONFLICT (delivery_on, starts_at, ends_at, rider_id) DO UPDATE SET capacity = excluded.capacity RETURNING id
""")
_TAKE = text("INSERT INTO slot_bookings (order_id, slot_id) VALUES (:order_id, :slot_id)")
_GIVE_BACK = text("UPDATE slot_bookings SET state = 'given_back' WHERE order_id = :order_id AND state = 'booked'")
_LATEST = date(9999, 12, 31)


def _here(timezone: str) -> datetime:
    return now().astimezone(ZoneInfo(timezone)).replace(tzinfo=None)


async def open_slots(
    tx: Transaction, timezone: str, *, listing_ids: Sequence[UUID] = (), chosen: UUID | None = None, until: date = _LATEST,
    limit: int = 60,
) -> list[Slot]:  # fmt: skip
    """Return the windows to come that have room and leave time to make these listings, and the chosen one; earliest first."""
    return await tx.all(
        _OPEN, into=Slot, here=_here(timezone), listing_ids=list(listing_ids), until=until, chosen=chosen, limit=limit
    )


async def has_open_slots(tx: Transaction, timezone: str, listing_ids: Sequence[UUID]) -> bool:
    """Whether an order of these listings could take a window at all."""
    return bool(await tx.value(_ANY, here=_here(timezone), listing_ids=list(listing_ids)))


async def check_slot(tx: Transaction, slot_id: UUID, timezone: str, listing_ids: Sequence[UUID] = ()) -> None:
    """Raise `NoSuchSlot`, `SlotTooSoon`, or `SlotFull` unless an order of these listings can take a window now."""
    row = await tx.maybe(_ONE, slot_id=slot_id, here=_here(timezone), listing_ids=list(listing_ids))
    if row is None:
        raise NoSuchSlot
    values = dict(row)
    is_open, earliest = values.pop("is_open"), values.pop("earliest")
    slot = Slot(**values)
    starts = datetime.combine(slot.delivery_on, slot.starts_at)  # both in the store's own time
    if slot.left <= 0 or not is_open or slot.status == "completed" or starts <= _here(timezone):
        raise SlotFull
    if starts <= earliest:
        raise SlotTooSoon(f"{earliest:%a} {earliest.day} {earliest:%b}, {earliest:%H:%M}")


async def take_slot(tx: Transaction, order_id: UUID, slot_id: UUID) -> None:
    """Take a window for an order that is written. Whether it still has room shows at the commit: `SlotFull`."""
    await tx.run(_TAKE, order_id=order_id, slot_id=slot_id)


async def give_back_slot(tx: Transaction, order_id: UUID) -> None:
    """Free the window of an order that will not be delivered. Idempotent."""
    await tx.run(_GIVE_BACK, order_id=order_id)


async def slot_of_order(tx: Transaction, order_id: UUID) -> Slot | None:
    """Return the window an order has taken."""
    return await tx.maybe(_OF_ORDER, into=Slot, order_id=order_id)


async def add_slot(
    tx: Transaction, delivery_on: date, starts_at: time, ends_at: time, capacity: int, rider_id: UUID | None = None
) -> UUID:
    """Offer a window, or give the same one another capacity; return its id. Raises `SlotFull` below what is taken."""
    slot_id: UUID = await tx.value(
        _ADD, delivery_on=delivery_on, starts_at=starts_at, ends_at=ends_at, capacity=capacity, rider_id=rider_id
    )
    return slot_id

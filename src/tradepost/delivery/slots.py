"""Delivery windows: which have room, and taking one. The count of what is taken is kept by a trigger, at the commit."""

from datetime import date, datetime, time
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import text

from tradepost.core.clock import now
from tradepost.core.database import Transaction, on_violation
from tradepost.core.errors import Conflict, NotFound


class SlotFull(Conflict):
    """This delivery window is full; please choose another."""


class NoSuchSlot(NotFound):
    """There is no such delivery window."""


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
    def label(self) -> str:
        """The window in words: “Sat 21 Nov, 10:00–12:00”."""
        day = self.delivery_on
        return f"{day:%a} {day.day} {day:%b}, {self.starts_at:%H:%M}–{self.ends_at:%H:%M}"


_SLOT = "SELECT id, delivery_on, starts_at, ends_at, capacity, taken, rider_id, status FROM delivery_slots"
_OPEN = text(f"""
    {_SLOT} WHERE (delivery_on, starts_at) > (CAST(:today AS date), CAST(:from_time AS time)) AND delivery_on <= :until
        AND status <> 'completed' AND (taken < capacity OR id = :chosen)
    ORDER BY delivery_on, starts_at, id LIMIT :limit
""")
_ONE = text(f"{_SLOT} WHERE id = :slot_id")
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


async def open_slots(
    tx: Transaction, timezone: str, *, chosen: UUID | None = None, until: date = _LATEST, limit: int = 60
) -> list[Slot]:
    """Return the windows to come that have room, and the chosen one; earliest first."""
    here = now().astimezone(ZoneInfo(timezone))
    return await tx.all(
        _OPEN,
        into=Slot,
        today=here.date(),
        from_time=here.time().replace(tzinfo=None),
        until=until,
        chosen=chosen,
        limit=limit,
    )


async def take_slot(tx: Transaction, order_id: UUID, slot_id: UUID, timezone: str) -> None:
    """Take a window for an order. Raises `NoSuchSlot`; `SlotFull` for one that has begun, or at the commit."""
    slot = await tx.maybe(_ONE, into=Slot, slot_id=slot_id)
    if slot is None:
        raise NoSuchSlot
    starts = datetime.combine(slot.delivery_on, slot.starts_at, ZoneInfo(timezone))
    if slot.left <= 0 or slot.status == "completed" or starts <= now():
        raise SlotFull
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

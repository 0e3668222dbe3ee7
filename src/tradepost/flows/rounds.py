"""Riders' rounds: the day as staff share it out, and as each rider rides it.

Staff give windows and single stops to riders by hand, or have every window filled at once. What a rider's phone sends carries a
key, so that a move sent late or twice is made once.
"""

from collections.abc import Iterable, Sequence
from datetime import date, time
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta
from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Actor, Transaction
from tradepost.core.errors import Conflict, NotFound
from tradepost.core.postal import Address
from tradepost.delivery import rounds
from tradepost.delivery.rounds import Rider
from tradepost.delivery.rules import Point, Stop, share
from tradepost.delivery.slots import NoSuchSlot
from tradepost.flows.store import Store
from tradepost.orders import service as orders
from tradepost.orders.processes import courses
from tradepost.orders.types import Move, NoSuchOrder, Tone

MOST_STOPS = 12  # that one rider takes in one window, as long as there is another


class NoRiders(Conflict):
    """Nobody here may carry orders yet; give somebody the role of a rider first."""


class NoSuchRider(NotFound):
    """There is no such rider."""


class RoundStop(msgspec.Struct, frozen=True, kw_only=True):
    """A seller's part of an order on a day's round. `collect_minor`: what is to be taken at the door."""

    order_id: UUID
    seller_id: UUID
    number: str
    slot_id: UUID | None
    state: str
    state_name: str
    tone: Tone
    is_final: bool
    is_pickup: bool
    rider_id: UUID | None
    position: int | None
    titles: tuple[str, ...]
    address: Address | None
    note: str
    currency: str
    collect_minor: int
    failed: int
    failed_reason: str
    moves: tuple[Move, ...] = ()

    @property
    def path(self) -> str:
        """The address of the order's page."""
        return f"/orders/{self.number}"

    @property
    def where(self) -> str:
        """Street and town, for a card and for a map."""
        return ", ".join(part for part in (self.address.line1, self.address.city) if part) if self.address else ""

    @property
    def failed_said(self) -> str:
        """Why the last try failed, in words."""
        return rounds.REASONS.get(self.failed_reason, "It did not work")


class RoundSlot(msgspec.Struct, frozen=True, kw_only=True):
    """A window of a day, with what is to be brought in it."""

    id: UUID
    starts_at: time
    ends_at: time
    capacity: int
    taken: int
    status: str
    is_open: bool
    rider_id: UUID | None
    stops: tuple[RoundStop, ...]

    @property
    def window(self) -> str:
        """The hours in words."""
        return f"{self.starts_at:%H:%M}–{self.ends_at:%H:%M}"

    @property
    def waiting(self) -> tuple[RoundStop, ...]:
        """The stops that nobody carries yet and that are still to be brought."""
        return tuple(s for s in self.stops if s.rider_id is None and not s.is_final and not s.is_pickup)


class DayRound(msgspec.Struct, frozen=True, kw_only=True):
    """A day as staff share it out."""

    day: date
    slots: tuple[RoundSlot, ...]
    riders: tuple[Rider, ...]

    @property
    def unassigned(self) -> int:
        """How many stops nobody carries yet."""
        return sum(len(slot.waiting) for slot in self.slots)


_SLOTS = text("""
    SELECT id, starts_at, ends_at, capacity, taken, status, is_open, rider_id FROM delivery_slots
    WHERE delivery_on = :day AND (is_open OR taken > 0) ORDER BY starts_at, ends_at, id LIMIT 60
""")
_STOP = """
    SELECT o.id AS order_id, f.seller_id, o.number, d.id AS slot_id, f.process, f.state, st.name AS state_name, st.tone, st.is_final,
           coalesce(w.is_pickup, false) AS is_pickup, f.rider_id, s.position, l.titles, o.shipping_address_enc, o.note, o.currency,
           CAST(coalesce((SELECT sum(p.amount_minor) FROM payments p
                          WHERE p.order_id = o.id AND p.is_offline AND p.state = 'initiated'), 0) AS bigint) AS collect_minor,
           coalesce(t.tries, 0) AS failed, coalesce(t.reason, '') AS failed_reason
    FROM delivery_slots d JOIN slot_bookings b ON b.slot_id = d.id AND b.state = 'booked' JOIN orders o ON o.id = b.order_id
    JOIN fulfilments f ON f.order_id = o.id JOIN order_states st ON (st.process, st.code) = (f.process, f.state)
    LEFT JOIN shipping_options w ON w.name = o.shipping_method
    LEFT JOIN delivery_stops s ON (s.order_id, s.seller_id) = (f.order_id, f.seller_id)
    LEFT JOIN LATERAL (SELECT count(*) AS tries, (array_agg(a.reason ORDER BY a.at DESC))[1] AS reason FROM delivery_attempts a
                       WHERE a.order_id = f.order_id AND a.seller_id = f.seller_id AND a.outcome = 'failed') t ON true
    CROSS JOIN LATERAL (SELECT (array_agg(CAST(trim_scale(quantity) AS text) || ' × ' || title ORDER BY line_no))[1:6] AS titles
                        FROM order_lines WHERE order_id = f.order_id AND seller_id = f.seller_id) l
"""
_STOPS = text(
    f"{_STOP} WHERE d.delivery_on = :day AND f.opened_at IS NOT NULL ORDER BY d.starts_at, s.position NULLS LAST, o.number LIMIT 600"
)
_STOPS_OF_RIDER = text(f"""
    {_STOP} WHERE d.delivery_on = :day AND f.rider_id = :rider_id AND NOT coalesce(w.is_pickup, false)
    ORDER BY d.starts_at, s.position NULLS LAST, o.number LIMIT 200
""")
_POINTS = text("""
    SELECT c.city, geo_lat(p.location), geo_lon(p.location)
    FROM unnest(CAST(:cities AS text[])) AS c(city)
    CROSS JOIN LATERAL (SELECT location FROM places WHERE lower(name) = c.city ORDER BY population DESC LIMIT 1) p
""")
_SLOT_DAY = text("SELECT delivery_on FROM delivery_slots WHERE id = :slot_id")


async def get_day_round(store: Store, caller: Caller, day: date) -> DayRound:
    """Return a day's windows with their stops and who may carry them. Raises `NotAllowed`."""
    caller.check_can("see_all_orders")
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        return await _read_day(tx, store, day)


async def _read_day(tx: Transaction, store: Store, day: date) -> DayRound:
    slots = await tx.all(_SLOTS, day=day)
    stops = await _read_stops(tx, store, await tx.all(_STOPS, day=day), frozenset({"staff"}))
    riders = await rounds.list_riders(tx)
    return DayRound(
        day=day, riders=tuple(riders),
        slots=tuple(RoundSlot(**row, stops=tuple(s for s in stops if s.slot_id == row["id"])) for row in slots),
    )  # fmt: skip


async def _read_stops(tx: Transaction, store: Store, rows: list[Any], parties: Any) -> list[RoundStop]:
    known = await courses(tx)
    return [_stop(store, row, known[row["process"]].choices(row["state"], parties, row["seller_id"])) for row in rows]


def _stop(store: Store, row: Any, moves: tuple[Move, ...]) -> RoundStop:
    values = {name: row[name] for name in RoundStop.__struct_fields__ if name not in {"address", "titles", "moves"}}
    sealed = row["shipping_address_enc"]
    address = msgspec.json.decode(store.keys.decrypt(sealed, "order-address"), type=Address) if sealed else None
    return RoundStop(**values, address=address, titles=tuple(row["titles"] or ()), moves=moves)


async def assign_stops(store: Store, caller: Caller, parts: Sequence[tuple[UUID, UUID]], rider_id: UUID | None) -> int:
    """Give single stops (order, seller) to a rider, or to nobody; return how many changed. Raises `NotAllowed`, `NoSuchRider`."""
    caller.check_can("move_orders")
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        await _check_rider(tx, rider_id)
        return await orders.set_rider(tx, list(parts)[:600], rider_id)


async def assign_slot(store: Store, caller: Caller, slot_id: UUID, rider_id: UUID | None) -> int:
    """Give a whole window to a rider, or to nobody; return how many stops. Raises `NotAllowed`, `NoSuchSlot`, `NoSuchRider`."""
    caller.check_can("move_orders")
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        await _check_rider(tx, rider_id)
        day = await tx.value(_SLOT_DAY, slot_id=slot_id)
        if day is None:
            raise NoSuchSlot
        await rounds.lock_day(tx, day)
        slot = next((s for s in (await _read_day(tx, store, day)).slots if s.id == slot_id), None)
        stops = [s for s in slot.stops if not s.is_final and not s.is_pickup] if slot else []
        await rounds.set_slot_rider(tx, slot_id, rider_id)
        if rider_id is None:
            await orders.set_rider(tx, [(s.order_id, s.seller_id) for s in stops], None)
            return len(stops)
        points, start = await _points(tx, store, stops)
        planned = share(start, [_place_of(s, points) for s in stops], [rider_id], most=max(len(stops), 1))
        await _give(tx, planned)
        return len(stops)


async def fill_slots(store: Store, caller: Caller, day: date) -> int:
    """Share out everything of a day that nobody carries yet: each window to as few riders as can, the least busy first, every one
    in a direction of their own. Return how many stops. Raises `NotAllowed`, `NoRiders`.
    """
    caller.check_can("move_orders")
    given = 0
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        await rounds.lock_day(tx, day)
        found = await _read_day(tx, store, day)
        if not found.riders:
            raise NoRiders
        busy = _load(found)
        for slot in found.slots:
            waiting = slot.waiting
            if not waiting:
                continue
            mine = [slot.rider_id] if slot.rider_id else []
            others = sorted((r.id for r in found.riders if r.id not in mine), key=lambda r: busy.get(r, 0))
            points, start = await _points(tx, store, waiting)
            planned = share(start, [_place_of(s, points) for s in waiting], [*mine, *others], MOST_STOPS)
            await _give(tx, planned)
            for rider, stops in planned.items():
                busy[rider] = busy.get(rider, 0) + len(stops)
            if slot.rider_id is None:
                await rounds.set_slot_rider(tx, slot.id, max(planned, key=lambda r: len(planned[r])))
            given += len(waiting)
    return given


def _load(found: DayRound) -> dict[UUID, int]:
    """Return how many stops each rider has on a day already."""
    busy: dict[UUID, int] = {}
    for slot in found.slots:
        for stop in slot.stops:
            if stop.rider_id:
                busy[stop.rider_id] = busy.get(stop.rider_id, 0) + 1
    return busy


async def _give(tx: Transaction, planned: dict[UUID, list[Stop]]) -> None:
    for rider, stops in planned.items():
        parts = [stop.key for stop in stops]
        await orders.set_rider(tx, parts, rider)
        await rounds.place_stops(tx, parts)


async def _check_rider(tx: Transaction, rider_id: UUID | None) -> None:
    if rider_id is not None and rider_id not in {r.id for r in await rounds.list_riders(tx)}:
        raise NoSuchRider


async def _points(tx: Transaction, store: Store, stops: Iterable[RoundStop]) -> tuple[dict[str, Point], Point | None]:
    """Return where the towns of these stops are, by name, and where the store is."""
    home = store.settings.store.place.split(",", maxsplit=1)[0].strip().lower()
    cities = {s.address.city.strip().lower() for s in stops if s.address} | {home}
    found: dict[str, Point] = {city: (lat, lon) for city, lat, lon in await tx.all(_POINTS, cities=sorted(cities))}
    return found, found.get(home)


def _place_of(stop: RoundStop, points: dict[str, Point]) -> Stop:
    address = stop.address
    words = f"{address.postcode} {address.line1}" if address else ""
    return Stop((stop.order_id, stop.seller_id), points.get(address.city.strip().lower()) if address else None, words)


class ReorderForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stops in the order a rider rides them: order and seller of each."""

    stops: Annotated[tuple[tuple[UUID, UUID], ...], Meta(max_length=200)]


class RiderSlot(msgspec.Struct, frozen=True):
    """A window of a rider's day."""

    window: str
    stops: tuple[RoundStop, ...]


class RiderDay(msgspec.Struct, frozen=True, kw_only=True):
    """A rider's day in the order of the round. `following`: the first stop that is still to be brought."""

    day: date
    slots: tuple[RiderSlot, ...]
    done: int
    left: int
    collect_minor: int

    @property
    def following(self) -> RoundStop | None:
        """The stop to ride to next."""
        return next((stop for slot in self.slots for stop in slot.stops if not stop.is_final), None)


async def get_rider_day(store: Store, caller: Caller, day: date | None = None) -> RiderDay:
    """Return what the caller carries on a day, today unless told. Raises `NotAllowed`."""
    caller.check_can("deliver")
    chosen = day or now().astimezone(store.zone).date()
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        rows = await tx.all(_STOPS_OF_RIDER, day=chosen, rider_id=caller.user_id)
        stops = await _read_stops(tx, store, rows, frozenset({"rider"}))
        windows = {row["id"]: RoundSlot(**row, stops=()).window for row in await tx.all(_SLOTS, day=chosen)}
    by_slot: dict[UUID | None, list[RoundStop]] = {}
    for stop in stops:
        by_slot.setdefault(stop.slot_id, []).append(stop)
    done = sum(stop.is_final for stop in stops)
    return RiderDay(
        day=chosen, done=done, left=len(stops) - done, collect_minor=sum(s.collect_minor for s in stops if not s.is_final),
        slots=tuple(RiderSlot(windows.get(slot_id, "") if slot_id else "", tuple(found)) for slot_id, found in by_slot.items()),
    )  # fmt: skip


async def move_to_slot(store: Store, caller: Caller, order_id: UUID, slot_id: UUID) -> None:
    """Bring an order in another window, whatever lead the plan asks of buyers. Raises `NotAllowed`, `NoSuchOrder`, `SlotFull`."""
    caller.check_can("move_orders")
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        order = await orders.lock_order(tx, order_id)
        parts = await orders.lock_parts(tx, order_id)
        if any(part.handed_over_at for part in parts):
            raise NoSuchOrder
        day = await tx.value(_SLOT_DAY, slot_id=slot_id)
        if day is None:
            raise NoSuchSlot
        await rounds.move_booking(tx, order_id, slot_id)
        await orders.set_rider(tx, [(order_id, part.seller_id) for part in parts], None)
        await orders.note(
            tx, order, "rescheduled", actor_role="staff", actor_id=caller.user_id, reason=f"{day:%A} {day.day} {day:%B}"
        )

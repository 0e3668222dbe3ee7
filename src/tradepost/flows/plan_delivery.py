"""Planning delivery: windows, days off, terms and zones; the preset's plan to begin with, and slots opened every night."""

from collections.abc import Awaitable, Callable
from datetime import date
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Actor, Transaction
from tradepost.core.jobs import scheduled
from tradepost.core.money import to_minor
from tradepost.core.postal import Address
from tradepost.delivery import plan
from tradepost.delivery.plan import Plan, Terms, WindowDraft, Zone
from tradepost.delivery.slots import open_slots
from tradepost.flows.preset import StoreSettings
from tradepost.flows.store import Store
from tradepost.orders.rules import ShippingOption
from tradepost.orders.types import OrderView


class OfferedSlot(msgspec.Struct, frozen=True, kw_only=True):
    """A window that an order could be moved to."""

    id: UUID
    label: str
    left: int


def today_of(store: Store) -> date:
    """Return the day it is where the store is."""
    return now().astimezone(store.zone).date()


async def get_plan(store: Store, caller: Caller) -> Plan:
    """Return the delivery plan. Raises `NotAllowed`."""
    caller.check_can("see_all_orders")
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await plan.read_plan(tx, today_of(store))


async def _change(
    store: Store, caller: Caller, permission: str, change: Callable[[Transaction], Awaitable[object]]
) -> None:
    caller.check_can(permission)
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        await change(tx)


async def save_terms(store: Store, caller: Caller, terms: Terms) -> None:
    """Say for when orders are taken. Raises `NotAllowed`."""
    await _change(store, caller, "move_orders", lambda tx: plan.set_terms(tx, terms, today_of(store)))


async def save_window(store: Store, caller: Caller, draft: WindowDraft) -> None:
    """Add a window to the usual week. Raises `NotAllowed`, `WindowTwice`, `BadWindow`."""
    await _change(store, caller, "move_orders", lambda tx: plan.add_window(tx, draft, today_of(store)))


async def resize_window(store: Store, caller: Caller, window_id: UUID, capacity: int) -> None:
    """Give a window another capacity. Raises `NotAllowed`, `NoSuchWindow`, `BadWindow`."""
    await _change(store, caller, "move_orders", lambda tx: plan.set_capacity(tx, window_id, capacity, today_of(store)))


async def remove_window(store: Store, caller: Caller, window_id: UUID) -> None:
    """Take a window out of the usual week. Raises `NotAllowed`, `NoSuchWindow`."""
    await _change(store, caller, "move_orders", lambda tx: plan.drop_window(tx, window_id, today_of(store)))


async def close_day(store: Store, caller: Caller, day: date, reason: str) -> None:
    """Bring nothing on a day. Raises `NotAllowed`."""
    await _change(store, caller, "move_orders", lambda tx: plan.add_day_off(tx, day, " ".join(reason.split())[:200]))


async def open_day(store: Store, caller: Caller, day: date) -> None:
    """Bring things on a day after all. Raises `NotAllowed`."""
    await _change(store, caller, "move_orders", lambda tx: plan.drop_day_off(tx, day, today_of(store)))


async def save_zones(store: Store, caller: Caller, zones: tuple[Zone, ...]) -> None:
    """Replace the zones. Raises `NotAllowed`."""
    await _change(store, caller, "manage_store", lambda tx: plan.set_zones(tx, zones))


async def offered_slots(store: Store, caller: Caller, order: OrderView) -> tuple[OfferedSlot, ...]:
    """Return the windows staff could move an open order to; none for anybody else."""
    if (
        order.viewer != "staff"
        or order.is_final
        or not caller.can("move_orders")
        or not store.settings.features.delivery
    ):
        return ()
    chosen = order.slot.id if order.slot else None
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        found = await open_slots(tx, store.settings.store.timezone, chosen=chosen, limit=40)
    return tuple(OfferedSlot(id=s.id, label=s.label, left=s.left) for s in found)


async def install_plan(tx: Transaction, settings: StoreSettings) -> None:
    """Write the preset's plan where nothing was planned yet: from then on it is the staff's. `tx` is the owner's."""
    wanted = settings.delivery
    if wanted is None or await plan.is_planned(tx):
        return
    today = now().date()
    terms = Terms(lead_minutes=wanted.lead_hours * 60, cut_off=wanted.cut_off, days_ahead=wanted.days_ahead)
    await plan.set_terms(tx, terms, today)
    for window in wanted.windows:
        for day in window.days:
            draft = WindowDraft(
                weekday=plan.DAYS.index(day.capitalize()), starts_at=window.from_time, ends_at=window.to_time,
                capacity=window.capacity,
            )  # fmt: skip
            await plan.add_window(tx, draft, today)
    currency = settings.store.currency
    await plan.set_zones(
        tx,
        [
            Zone(radius_m=int(zone.up_to_km * 1000), name=zone.name, fee_minor=to_minor(zone.fee, currency),
                 free_from_minor=to_minor(zone.free_from, currency) if zone.free_from else None)
            for zone in wanted.zones
        ],
    )  # fmt: skip


@scheduled("delivery.open_slots", cron="17 * * * *")
async def open_slots_ahead(store: Store) -> None:
    """Open the slots of the days ahead, as planned."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await plan.open_planned_slots(tx, today_of(store))


_ZONE = text("""
    WITH home AS (SELECT location FROM places WHERE lower(name) = :home ORDER BY population DESC LIMIT 1),
         there AS (SELECT location FROM places WHERE lower(name) = :city AND country = :country ORDER BY population DESC LIMIT 1)
    SELECT z.radius_m, z.name, z.fee_minor, z.free_from_minor FROM delivery_zones z, home, there
    WHERE geo_distance_m(home.location, geo_lat(there.location), geo_lon(there.location)) <= z.radius_m
    ORDER BY z.radius_m LIMIT 1
""")
_HAS_ZONES = text("""
    SELECT EXISTS (SELECT FROM delivery_zones) AND EXISTS (SELECT FROM places WHERE lower(name) = :home)
""")


async def priced_by_distance(
    tx: Transaction, settings: StoreSettings, options: tuple[ShippingOption, ...], address: Address | None
) -> tuple[ShippingOption, ...]:
    """Return ways of delivery with the price of the zone that an address is in, where they are priced by distance.

    Until a town is known they show their own price. A town beyond the widest zone, or one nobody knows, is out of their reach.
    """
    if address is None or not address.city.strip() or not any(o.by_distance for o in options):
        return options
    home = settings.store.place.split(",", maxsplit=1)[0].strip().lower()
    if not await tx.value(_HAS_ZONES, home=home):  # without zones, or where nobody knows where the store is
        return options
    zone = await tx.maybe(_ZONE, into=Zone, home=home, city=address.city.strip().lower(), country=address.country)
    if zone is None:
        return tuple(msgspec.structs.replace(o, out_of_reach=True) if o.by_distance else o for o in options)
    return tuple(
        msgspec.structs.replace(o, price_minor=zone.fee_minor, free_from_minor=zone.free_from_minor)
        if o.by_distance
        else o
        for o in options
    )

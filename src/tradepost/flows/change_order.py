"""A buyer changes an order that is placed: other options before it is packed, an exchange after it arrived, another address.

What is possible is the process's to say (a move the buyer may make), so that it happens once where the process wants that. The difference
in price stands in the order's history, in words that everybody who sees the order reads, with how the buyer wants it settled. An exchange
only asks; goods and money follow when whoever takes the goods back makes the move with the effect `exchange` (flows/swaps.py).
"""

from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.accounts.types import Caller
from tradepost.catalog.listing_pages import get_listing
from tradepost.catalog.types import Variant
from tradepost.core.database import Actor, Transaction
from tradepost.core.postal import Address
from tradepost.flows.make_move import Mover, make_move
from tradepost.flows.orders import access_order, read_order
from tradepost.flows.pricing_rules import pricing_rules
from tradepost.flows.store import Store
from tradepost.flows.swaps import (
    ASKED,
    Swapped,
    check_stock,
    give_difference,
    note_swaps,
    swap_goods,
    swapped,
)
from tradepost.orders import changes
from tradepost.orders import service as orders
from tradepost.orders.changes import AddressElsewhere, AddressFixed, LineSwap, NothingToSwap, SwapImpossible
from tradepost.orders.processes import Course, Transition, courses
from tradepost.orders.types import LockedOrder, MoveImpossible, MoveNotYours, NoSuchOrder, OrderLine, OrderView

ITEMS_CHANGED: Final = "items_modified"
EXCHANGE: Final = "exchange_requested"


class Swap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of an order, and the option of the same product to have instead."""

    line_no: int
    variant_id: UUID


class SwapForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is to be changed, at once; `settle_by`: how a difference in price is to be paid or given back."""

    items: Annotated[tuple[Swap, ...], Meta(min_length=1, max_length=100)]
    settle_by: Annotated[str, Meta(max_length=80)] = ""


async def change_items(store: Store, caller: Caller, order_id: UUID, form: SwapForm) -> OrderView:
    """Change things of an order that is not packed for other options of the same products. Once, where the process says so.

    Raises `NoSuchOrder`, `MoveImpossible`, `MoveNotYours`, `SwapImpossible`, `OptionHadBefore`, `NothingToSwap`, `NotEnoughStock`.
    """
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        order, view, course = await _own(tx, store, caller, order_id)
        move = _move_to(course, order, ITEMS_CHANGED)
        swaps = await _swaps(tx, store, view, form)
        await swap_goods(tx, order, swaps, caller.user_id, came_back=False)
        await note_swaps(tx, order, "items_changed", swaps, actor_id=caller.user_id, settle_by=form.settle_by)
        await give_difference(tx, store, order, swaps, role="buyer", actor_id=caller.user_id, reason=form.settle_by)
        await _make(tx, store, order, course, move, caller)
        return await read_order(tx, store, caller, await access_order(tx, caller, order_id=order_id))


async def request_exchange(store: Store, caller: Caller, order_id: UUID, form: SwapForm) -> OrderView:
    """Ask for other options of things that have arrived. Nothing is owed before they are back. Raises as `change_items`."""
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        order, view, course = await _own(tx, store, caller, order_id)
        move = _move_to(course, order, EXCHANGE)
        swaps = await _swaps(tx, store, view, form)
        await note_swaps(tx, order, ASKED, swaps, actor_id=caller.user_id, settle_by=form.settle_by)
        await _make(tx, store, order, course, move, caller)
        return await read_order(tx, store, caller, await access_order(tx, caller, order_id=order_id))


async def change_shipping_address(store: Store, caller: Caller, order_id: UUID, address: Address) -> OrderView:
    """Have an order that is not packed go somewhere else, where delivery and tax cost the same.

    Raises `NoSuchOrder`, `AddressFixed`, `AddressElsewhere`, `AddressIncomplete`.
    """
    address.check()
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        order, view, course = await _own(tx, store, caller, order_id)
        if not _is_unpacked(course, order) or view.shipping_address is None:
            raise AddressFixed
        await _check_same_cost(tx, order, view.shipping_address, address)
        sealed = store.keys.encrypt(msgspec.json.encode(address).decode(), "order-address")
        await changes.set_shipping_address(tx, order.id, sealed)
        await orders.note(tx, order, "address_changed", actor_role="buyer", actor_id=caller.user_id)
        return await read_order(tx, store, caller, await access_order(tx, caller, order_id=order_id))


async def _check_same_cost(tx: Transaction, order: LockedOrder, before: Address, after: Address) -> None:
    """Raise `AddressElsewhere` where the price of delivery, its reach or the tax could be another."""
    rules = await pricing_rules(tx, order.rules_version)
    minds_region = any(rate.region for rate in rules.taxes)
    minds_town = any(way.by_distance for way in rules.shipping)
    if (
        before.country != after.country
        or (minds_region and before.region.casefold() != after.region.casefold())
        or (minds_town and before.city.strip().casefold() != after.city.strip().casefold())
    ):
        raise AddressElsewhere


async def change_payment(store: Store, caller: Caller, order_id: UUID, settle_by: str) -> OrderView:
    """Note that an order that is not packed shall be paid another way; whoever packs it settles that. Raises `NoSuchOrder`, `AddressFixed`."""
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        order, _, course = await _own(tx, store, caller, order_id)
        if not _is_unpacked(course, order):
            raise AddressFixed
        await orders.note(tx, order, "payment_changed", actor_role="buyer", actor_id=caller.user_id, reason=settle_by,
                          data={"settle_by": settle_by})  # fmt: skip
        return await read_order(tx, store, caller, await access_order(tx, caller, order_id=order_id))


def _is_unpacked(course: Course, order: LockedOrder) -> bool:
    """Whether the buyer may still call an order off, or has just chosen other options."""
    move = course.move(order.state, "cancelled")
    return order.state == ITEMS_CHANGED or (move is not None and "buyer" in move.actors)


async def _own(tx: Transaction, store: Store, caller: Caller, order_id: UUID) -> tuple[LockedOrder, OrderView, Course]:
    access = await access_order(tx, caller, order_id=order_id)
    if "buyer" not in access.parties:
        raise NoSuchOrder
    caller.check_token("buy")
    order = await orders.lock_order(tx, order_id)
    course = (await courses(tx, order.rules_version))[order.process]
    return order, await read_order(tx, store, caller, access), course


def _move_to(course: Course, order: LockedOrder, to_state: str) -> Transition:
    move = course.move(order.state, to_state)
    name = course.states[to_state].name if to_state in course.states else to_state
    if move is None:
        raise MoveImpossible(course.states[order.state].name, name)
    if "buyer" not in move.actors:
        raise MoveNotYours(name)
    return move


async def _make(
    tx: Transaction, store: Store, order: LockedOrder, course: Course, move: Transition, caller: Caller
) -> None:
    parts = [p for p in await orders.lock_parts(tx, order.id) if p.state == order.state]
    await make_move(tx, store, order, course, move, Mover("buyer", caller.user_id), parts=parts, whole=True)


async def _swaps(tx: Transaction, store: Store, view: OrderView, form: SwapForm) -> list[Swapped]:
    """Return what is swapped. Raises `SwapImpossible`, `OptionHadBefore`, `NothingToSwap`."""
    lines = {line.line_no: line for line in view.lines}
    wanted = {swap.line_no: swap.variant_id for swap in form.items}
    if not wanted or len(wanted) < len(form.items) or not wanted.keys() <= lines.keys():
        raise NothingToSwap
    found: list[Swapped] = []
    for line_no, variant_id in wanted.items():
        line = lines[line_no]
        listing = await get_listing(tx, line.listing_id, currency=store.currency)
        variant = next((v for v in listing.offered if v.id == variant_id), None)
        if variant is None or variant.id == line.variant_id or line.configuration or not _has(variant, line):
            raise SwapImpossible  # what was made to order has no price of its own to compare
        to = LineSwap(line_no, variant.id, variant.sku, variant.options)
        found.append(swapped(line, to, variant.price_minor or 0))
    await check_stock(tx, view.id, found)
    return found


def _has(variant: Variant, line: OrderLine) -> bool:
    """Whether so much of an option can be had, and anything is left to swap for it."""
    wanted = line.quantity - line.returned_quantity
    return wanted > 0 and (
        variant.available is None or variant.available >= wanted or variant.backorder_until is not None
    )

"""A buyer changes an order that is placed: other options before it is packed, an exchange after it arrived, another address.

What is possible is the process's to say (a move the buyer may make), so that it happens once where the process wants that. The lines keep
what was paid for them; the difference stands in the order's history, in words that everybody who sees the order reads, with how the buyer
wants it settled. What became cheaper is given back at once, what became dearer is asked for by whoever packs it. An exchange only asks:
whoever takes the goods back books them with a return.
"""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.accounts.types import Caller
from tradepost.catalog import stock
from tradepost.catalog.listing_pages import get_listing
from tradepost.catalog.stock import Want
from tradepost.catalog.types import Variant
from tradepost.core.clock import now
from tradepost.core.database import Actor, Transaction
from tradepost.core.money import rounded, times, to_major
from tradepost.core.postal import Address
from tradepost.flows.make_move import Mover, make_move
from tradepost.flows.orders import access_order, read_order
from tradepost.flows.pricing_rules import pricing_rules
from tradepost.flows.refund import Refundable, refundable
from tradepost.flows.refund_order import RefundForm, RefundLine, chosen_pieces, give_pieces
from tradepost.flows.store import Store
from tradepost.orders import changes
from tradepost.orders import service as orders
from tradepost.orders.changes import AddressElsewhere, AddressFixed, LineSwap, NothingToSwap, SwapImpossible
from tradepost.orders.processes import Course, Transition, courses
from tradepost.orders.types import LockedOrder, MoveImpossible, MoveNotYours, NoSuchOrder, OrderLine, OrderView

ITEMS_CHANGED: Final = "items_modified"
EXCHANGE: Final = "exchange_requested"
_HELD_FOR: Final = timedelta(hours=1)


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

    Raises `NoSuchOrder`, `MoveImpossible`, `MoveNotYours`, `SwapImpossible`, `NothingToSwap`, `NotEnoughStock`.
    """
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        order, view, course = await _own(tx, store, caller, order_id)
        move = _move_to(course, order, ITEMS_CHANGED)
        swaps, difference = await _swaps(tx, store, view, form)
        await _exchange_stock(tx, order.id, view, swaps, caller)
        await changes.swap_lines(tx, order.id, [s for _, s, _ in swaps])
        await _note(tx, order, caller, "items_changed", swaps, difference, form.settle_by)
        left = await refundable(tx, order.id)
        back = _given_back(swaps, left, -difference)
        if back and order.payment_state in {"paid", "partly_refunded"}:
            pieces = chosen_pieces(RefundForm(lines=back), left, order.currency)
            await give_pieces(
                tx, store, order, pieces, left, reason=form.settle_by, restock=False, caller=caller, role="buyer"
            )
        await _make(tx, store, order, course, move, caller)
        return await read_order(tx, store, caller, await access_order(tx, caller, order_id=order_id))


async def request_exchange(store: Store, caller: Caller, order_id: UUID, form: SwapForm) -> OrderView:
    """Ask for other options of things that have arrived. Nothing is owed before they are back. Raises as `change_items`."""
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        order, view, course = await _own(tx, store, caller, order_id)
        move = _move_to(course, order, EXCHANGE)
        swaps, difference = await _swaps(tx, store, view, form)
        await _note(tx, order, caller, "exchange_asked", swaps, difference, form.settle_by)
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


_Swapped = tuple[OrderLine, LineSwap, int]  # the line as it is, what it becomes, and the new price of one


async def _swaps(tx: Transaction, store: Store, view: OrderView, form: SwapForm) -> tuple[list[_Swapped], int]:
    """Return what is swapped and by how much it is dearer. Raises `SwapImpossible`, `NothingToSwap`."""
    lines = {line.line_no: line for line in view.lines}
    wanted = {swap.line_no: swap.variant_id for swap in form.items}
    if not wanted or len(wanted) < len(form.items) or not wanted.keys() <= lines.keys():
        raise NothingToSwap
    found: list[_Swapped] = []
    for line_no, variant_id in wanted.items():
        line = lines[line_no]
        listing = await get_listing(tx, line.listing_id, currency=store.currency)
        variant = next((v for v in listing.offered if v.id == variant_id), None)
        if variant is None or variant.id == line.variant_id or line.configuration or not _has(variant, line):
            raise SwapImpossible  # what was made to order has no price of its own to compare
        found.append((line, LineSwap(line_no, variant.id, variant.sku, variant.options), variant.price_minor or 0))
    return found, sum(times(price - line.unit_price_minor, _left(line)) for line, _, price in found)


def _left(line: OrderLine) -> Decimal:
    return line.quantity - line.returned_quantity


def _has(variant: Variant, line: OrderLine) -> bool:
    """Whether so much of an option can be had, and anything is left to swap for it."""
    wanted = _left(line)
    return wanted > 0 and (
        variant.available is None or variant.available >= wanted or variant.backorder_until is not None
    )


def _given_back(swaps: Sequence[_Swapped], left: Sequence[Refundable], most: int) -> tuple[RefundLine, ...]:
    """Return what each line that became cheaper gives back: the share of the difference that was paid, at most `most` in all."""
    paid_for = {r.line_no: r.left_minor for r in left if r.line_no is not None}
    lines: list[RefundLine] = []
    for line, _, price in swaps:
        cheaper = times(line.unit_price_minor - price, _left(line))
        if cheaper <= 0 or not line.gross_minor or most <= 0:
            continue
        share = rounded(Decimal(cheaper) * line.total_minor / line.gross_minor)
        back = min(share, most, paid_for.get(line.line_no, 0))
        most -= back
        if back > 0:
            lines.append(RefundLine(line_no=line.line_no, amount_minor=back))
    return tuple(lines)


async def _exchange_stock(
    tx: Transaction, order_id: UUID, view: OrderView, swaps: Sequence[_Swapped], caller: Caller
) -> None:
    """Put what is not wanted any more back on the shelf, or give up what was still owed, and take what is wanted from it."""
    back = [Want(line.variant_id, _left(line)) for line, _, _ in swaps]
    taken = [Want(swap.variant_id, _left(line)) for line, swap, _ in swaps]
    if {w.variant_id for w in taken} & {line.variant_id for line in view.lines}:
        raise SwapImpossible  # an order holds a variant once
    await stock.release(tx, order_id, [want.variant_id for want in back])
    await stock.put_back(tx, order_id, back, reason="restock", actor_id=caller.user_id)
    await stock.reserve(tx, order_id, taken, now() + _HELD_FOR)
    await stock.sell(tx, order_id)


async def _note(
    tx: Transaction, order: LockedOrder, caller: Caller, kind: str, swaps: Sequence[_Swapped], difference: int, settle_by: str
) -> None:  # fmt: skip
    lines = [
        {"line_no": line.line_no, "from_sku": line.sku, "to_sku": swap.sku, "to_variant": str(swap.variant_id), "price_minor": price}
        for line, swap, price in swaps
    ]  # fmt: skip
    data: dict[str, Any] = {"lines": lines, "difference_minor": difference, "settle_by": settle_by}
    words = "; ".join(f"{line.title}: {line.label} → {', '.join(swap.options.values())}" for line, swap, _ in swaps)
    words = _settlement(order, difference, settle_by) + words
    await orders.note(tx, order, kind, actor_role="buyer", actor_id=caller.user_id, reason=words[:2000], data=data)


def _settlement(order: LockedOrder, difference: int, settle_by: str) -> str:
    if not difference:
        return ""
    what = "To pay" if difference > 0 else "To give back"
    by = f" ({settle_by})" if settle_by else ""
    return f"{what}: {to_major(abs(difference), order.currency)} {order.currency}{by}. "

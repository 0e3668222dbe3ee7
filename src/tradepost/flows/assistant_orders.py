"""The assistant's tools for a person's own orders: looking at them, calling one off, sending goods back.

What may be done is decided by the order's process and by the flows, never by the conversation: a wrong request is refused here whoever
asks for it, in whatever words.
"""

from decimal import Decimal
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from tradepost.accounts.types import Caller, SignInFirst
from tradepost.assistant.preset import store_texts
from tradepost.assistant.results import AddressSaved, OrderBrief, OrderedItem, OrderFacts, Orders
from tradepost.assistant.types import ReasonNotAccepted
from tradepost.core.money import plain_number
from tradepost.core.postal import Address
from tradepost.delivery import service as delivery
from tradepost.delivery.queries import default_address
from tradepost.delivery.types import AddressDraft
from tradepost.flows import change_order
from tradepost.flows.assistant_shopping import amount
from tradepost.flows.change_order import Swap, SwapForm
from tradepost.flows.move_order import move_order
from tradepost.flows.orders import get_order, list_orders
from tradepost.flows.returns import list_returns, request_return, returnable_now
from tradepost.flows.store import Store
from tradepost.orders.returns import ReturnForm, ReturnLine, ReturnReason
from tradepost.orders.types import MoveNotYours, NoSuchOrder, OrderView

CANCELLED: Final = "cancelled"
Number = Annotated[str, Meta(min_length=1, max_length=40)]


class OneOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order by its number."""

    number: Number


class OwnOrders(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many of them."""

    limit: Annotated[int, Meta(ge=1, le=50)] = 5


class CancelOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which order, and why."""

    number: Number
    reason: Annotated[str, Meta(max_length=200)] = ""


class ReturnItems(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which lines of an order go back, all of each, and why."""

    number: Number
    line_nos: Annotated[tuple[int, ...], Meta(min_length=1, max_length=100)]
    reason: ReturnReason = "changed_mind"
    comment: Annotated[str, Meta(max_length=1800)] = ""
    refund_to: Annotated[str, Meta(max_length=80)] = ""


class SwapItems(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which lines of an order for which options of the same products, all at once; `settle_by`: how a difference is settled."""

    number: Number
    items: Annotated[tuple[Swap, ...], Meta(min_length=1, max_length=100)]
    settle_by: Annotated[str, Meta(max_length=80)] = ""


class OrderAddress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an order shall go."""

    number: Number
    address: Address


class OrderPayment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an order shall be paid instead."""

    number: Number
    settle_by: Annotated[str, Meta(min_length=1, max_length=80)]


class OwnAddress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the person's orders go from now on."""

    address: Address


async def list_own_orders(store: Store, caller: Caller, wanted: OwnOrders) -> Orders:
    """Return the person's orders, the newest first. Raises `SignInFirst` where nobody could have any."""
    if caller.user_id is None and caller.session is None:
        raise SignInFirst
    page = await list_orders(store, caller, limit=wanted.limit)
    return Orders(
        tuple(
            OrderBrief(
                number=o.number, state=o.state_name, placed_on=o.placed_at.astimezone(store.zone).date(),
                total=amount(store, o.total_minor, o.currency), titles=o.titles, is_open=o.is_open, link=o.path,
            )
            for o in page.items
        )
    )  # fmt: skip


async def own_order(store: Store, caller: Caller, number: str) -> OrderView:
    """Return an order that the person placed. Raises `NoSuchOrder` for every other one, to staff and sellers too."""
    order = await get_order(store, caller, number.strip().lstrip("#"))
    mine = order.viewer == "buyer" or (caller.user_id is not None and order.buyer_id == caller.user_id)
    if not mine:
        raise NoSuchOrder
    return order


async def order_status(store: Store, caller: Caller, wanted: OneOrder) -> OrderFacts:
    """Return an order of the person: what was ordered, where it is, and what may be asked of it. Raises `NoSuchOrder`."""
    order = await own_order(store, caller, wanted.number)
    return await order_facts(store, caller, order)


async def order_facts(store: Store, caller: Caller, order: OrderView, note: str = "") -> OrderFacts:
    """Return what the assistant says of an order."""
    found = await list_returns(store, caller, order.id)
    can = [m.to_state for m in order.moves]
    if returnable_now(order, found):
        can.append("return_items")
    tracking = tuple(f"{p.carrier} {p.tracking}".strip() for p in order.parts if p.tracking)
    slot = order.slot
    return OrderFacts(
        number=order.number, state=order.state_name, state_code=order.state,
        placed_on=order.placed_at.astimezone(store.zone).date(), total=amount(store, order.total_minor, order.currency),
        refunded=amount(store, order.refunded_minor, order.currency) if order.refunded_minor else None,
        items=tuple(
            OrderedItem(
                line_no=line.line_no, listing_id=line.listing_id, variant_id=line.variant_id, title=line.title, sku=line.sku,
                options=line.options, quantity=plain_number(line.quantity), price=amount(store, line.unit_price_minor, order.currency),
                returned=plain_number(line.returned_quantity),
            )
            for line in order.lines
        ),
        address=order.shipping_address.lines if order.shipping_address else (), payment=order.payment_state,
        delivery=order.shipping_method or "",
        window=f"{slot.delivery_on:%a} {slot.delivery_on.day} {slot.delivery_on:%b}, {slot.starts_at:%H:%M}–{slot.ends_at:%H:%M}" if slot else "",
        tracking=tracking, due_on=order.due_at.astimezone(store.zone).date() if order.due_at else None, can=tuple(can),
        link=order.path, note=note,
    )  # fmt: skip


async def cancel_order(store: Store, caller: Caller, wanted: CancelOrder) -> OrderFacts:
    """Call an order off; what was paid goes back. Raises `NoSuchOrder`, `MoveImpossible`, `MoveNotYours`, `ReasonNotAccepted`."""
    order = await own_order(store, caller, wanted.number)
    accepted = store_texts(store.preset_folder).policy.cancel_reasons
    reason = next((a for a in accepted if a.casefold() == wanted.reason.strip().casefold()), None)
    if accepted and reason is None:
        raise ReasonNotAccepted(", ".join(accepted))
    check_move(order, CANCELLED)
    after = await move_order(store, caller, order.id, CANCELLED, reason=reason or wanted.reason.strip())
    return await order_facts(store, caller, after)


def check_move(order: OrderView, to_state: str) -> None:
    """Raise `MoveNotYours` where the buyer may not move the order there: staff buy as buyers when they talk to the assistant."""
    known = {m.to_state for m in order.moves}
    if to_state not in known:
        raise MoveNotYours(to_state.replace("_", " "))


async def return_items(store: Store, caller: Caller, wanted: ReturnItems) -> OrderFacts:
    """Ask to give lines of an order back, within the days the store gives. Raises `NoSuchOrder`, `NotReturnable`, `NothingToReturn`."""
    order = await own_order(store, caller, wanted.number)
    left = {line.line_no: line.quantity - line.returned_quantity for line in order.lines}
    lines = tuple(ReturnLine(no, left.get(no, Decimal(1))) for no in dict.fromkeys(wanted.line_nos))
    said = (wanted.comment, f"Refund to: {wanted.refund_to}" if wanted.refund_to else "")
    form = ReturnForm(lines=lines, reason=wanted.reason, comment="\n".join(part for part in said if part))
    await request_return(store, caller, order.id, form)
    return await order_facts(store, caller, await own_order(store, caller, wanted.number))


async def change_items(store: Store, caller: Caller, wanted: SwapItems) -> OrderFacts:
    """Change things of an order that is not packed for other options. Raises as `change_order.change_items`."""
    order = await own_order(store, caller, wanted.number)
    form = SwapForm(items=wanted.items, settle_by=wanted.settle_by)
    return await order_facts(store, caller, await change_order.change_items(store, caller, order.id, form))


async def exchange_items(store: Store, caller: Caller, wanted: SwapItems) -> OrderFacts:
    """Ask to exchange things that have arrived for other options. Raises as `change_order.request_exchange`."""
    order = await own_order(store, caller, wanted.number)
    form = SwapForm(items=wanted.items, settle_by=wanted.settle_by)
    return await order_facts(store, caller, await change_order.request_exchange(store, caller, order.id, form))


async def change_address(store: Store, caller: Caller, wanted: OrderAddress) -> OrderFacts:
    """Have an order that is not packed go somewhere else. Raises `NoSuchOrder`, `AddressFixed`, `AddressIncomplete`."""
    order = await own_order(store, caller, wanted.number)
    after = await change_order.change_shipping_address(store, caller, order.id, wanted.address)
    return await order_facts(store, caller, after)


async def change_payment(store: Store, caller: Caller, wanted: OrderPayment) -> OrderFacts:
    """Note that an order that is not packed shall be paid another way. Raises `NoSuchOrder`, `AddressFixed`."""
    order = await own_order(store, caller, wanted.number)
    after = await change_order.change_payment(store, caller, order.id, wanted.settle_by)
    return await order_facts(store, caller, after)


async def change_own_address(store: Store, caller: Caller, wanted: OwnAddress) -> AddressSaved:
    """Make this the address that the person's orders go to. Raises `FieldErrors`, `TooManyAddresses`, `SignInFirst`."""
    given = msgspec.to_builtins(wanted.address)
    async with store.db.transaction(actor=caller.actor) as tx:
        before = await default_address(tx, store.keys, caller)
        draft = AddressDraft(**given, is_default=True, label=before.label if before else "")
        saved = (
            await delivery.change_address(tx, store.keys, caller, before.id, draft)
            if before
            else await delivery.add_address(tx, store.keys, caller, draft)
        )
    return AddressSaved(saved.address.lines)

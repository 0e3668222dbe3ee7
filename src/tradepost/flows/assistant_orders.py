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
from tradepost.assistant.results import OrderBrief, OrderedItem, OrderFacts, Orders
from tradepost.assistant.types import ReasonNotAccepted
from tradepost.core.money import plain_number
from tradepost.flows.assistant_shopping import amount
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
    comment: Annotated[str, Meta(max_length=2000)] = ""


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
    form = ReturnForm(lines=lines, reason=wanted.reason, comment=wanted.comment)
    await request_return(store, caller, order.id, form)
    return await order_facts(store, caller, await own_order(store, caller, wanted.number))

"""What an agent's change of an order will do, in the words of that order: what a person reads before they say yes.

The arguments of a tool name lines and options by their numbers and ids; a person knows them by title, size and price.
"""

from typing import Any

import msgspec

from tradepost.accounts.types import Caller
from tradepost.assistant.results import OrderedItem, OrderFacts
from tradepost.assistant.types import Pending
from tradepost.flows.assistant_agents import plainly
from tradepost.flows.assistant_orders import OneOrder, order_status
from tradepost.flows.assistant_shopping import OneListing, look_up_listing
from tradepost.flows.assistant_talk import options_text
from tradepost.flows.store import Store

_UNKNOWN = "not in this order"
_LONGEST = 400


class Detail(msgspec.Struct, frozen=True):
    """A line of what will be done: “Order”, “1003, delivered, placed on 20 November 2026, $84.00”."""

    label: str
    text: str


async def explain(store: Store, caller: Caller, pending: Pending) -> tuple[Detail, ...]:
    """Return what a change is about, the order first and its lines and options by name. Raises `NoSuchOrder`."""
    given = {k: v for k, v in pending.arguments.items() if v not in (None, "", [], {})}
    number = given.pop("number", None)
    order = await order_status(store, caller, OneOrder(number=str(number))) if number else None
    details = [_order(order)] if order else []
    if order:
        details += [_item(order, line_no) for line_no in given.pop("line_nos", ())]
        details += [await _swap(store, caller, order, swap) for swap in given.pop("items", ())]
    return *details, *(Detail(_label(name), plainly(value)[:_LONGEST]) for name, value in given.items())


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _order(order: OrderFacts) -> Detail:
    placed = f"{order.placed_on.day} {order.placed_on:%B %Y}"
    return Detail("Order", f"{order.number}, {order.state.lower()}, placed on {placed}, {order.total.text}")


def _line(order: OrderFacts, line_no: Any) -> OrderedItem | None:
    return next((item for item in order.items if str(item.line_no) == str(line_no)), None)


def _item(order: OrderFacts, line_no: Any) -> Detail:
    item = _line(order, line_no)
    said = f"{item.quantity} × {item.title}{options_text(item.options)}" if item else _UNKNOWN
    return Detail(f"Line {line_no}", said)


async def _swap(store: Store, caller: Caller, order: OrderFacts, swap: dict[str, Any]) -> Detail:
    """Return a line with its option as it is and as it will be, each with its price."""
    line_no, variant_id = swap.get("line_no"), str(swap.get("variant_id"))
    item = _line(order, line_no)
    if item is None:
        return Detail(f"Line {line_no}", _UNKNOWN)
    facts = await look_up_listing(store, caller, OneListing(listing_id=item.listing_id))
    option = next((o for o in facts.options if str(o.variant_id) == variant_id), None)
    before = f"{item.title}{options_text(item.options)} at {item.price.text}"
    after = (
        f"{options_text(option.options, form='list')} at {option.price.text}"
        if option
        else "an option that is not offered"
    )
    return Detail(f"Line {line_no}", f"{before} → {after}")

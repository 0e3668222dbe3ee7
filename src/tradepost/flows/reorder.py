"""Buying the same again: what an order held goes into the cart, as far as it can still be had."""

from tradepost.accounts.types import Caller
from tradepost.core.errors import DomainError
from tradepost.flows.cart import add_to_cart
from tradepost.flows.orders import get_order
from tradepost.flows.store import Store


async def reorder(store: Store, caller: Caller, number: str) -> tuple[str, ...]:
    """Put the goods of one's order in the cart, at today's prices; return the titles of what cannot be had.

    Raises `NoSuchOrder`.
    """
    order = await get_order(store, caller, number)
    left_out = []
    for line in order.lines:
        try:
            await add_to_cart(store, caller, line.variant_id, line.quantity, line.configuration or None)
        except DomainError:
            left_out.append(line.title)
    return tuple(left_out)

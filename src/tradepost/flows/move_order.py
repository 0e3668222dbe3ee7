"""Moving an order, or a seller's part of it, along its process, with what the move does to stock and money."""

from uuid import UUID

from tradepost.accounts.types import Caller
from tradepost.flows.store import Store
from tradepost.orders.types import OrderView


async def move_order(
    store: Store, caller: Caller, order_id: UUID, to_state: str, *, seller_id: UUID | None = None, reason: str = "",
    carrier: str = "", tracking: str = "",
) -> OrderView:  # fmt: skip
    """Move an order, or with `seller_id` that seller's part, and carry out the effects. Return the order.

    Raises `NoSuchOrder`, `MoveImpossible`, `MoveNotYours`. Repeating a move that was made is no error.
    """
    raise NotImplementedError

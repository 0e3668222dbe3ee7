"""Reading orders as their parties see them: the buyer, each seller, riders, staff. Everybody else finds nothing."""

from tradepost.accounts.types import Caller
from tradepost.core.pages import Page
from tradepost.flows.store import Store
from tradepost.orders.types import Board, OrderCard, OrderView


async def list_orders(store: Store, caller: Caller, *, after: str | None = None, limit: int = 24) -> Page[OrderCard]:
    """Return the orders the caller placed, newest first."""
    raise NotImplementedError


async def list_all_orders(
    store: Store, caller: Caller, *, state: str | None = None, search: str = "", after: str | None = None, limit: int = 50
) -> Page[OrderCard]:
    """Return every order of the store, newest first; needs the permission see_all_orders. `search`: part of a number."""
    raise NotImplementedError


async def get_order(store: Store, caller: Caller, number: str) -> OrderView:
    """Return an order by its number (or id), as the caller may see it. Raises `NoSuchOrder`, to strangers too."""
    raise NotImplementedError


async def get_board(store: Store, caller: Caller, *, limit: int = 50) -> Board:
    """Return the caller's parts of orders as a seller, in columns by state, the oldest open ones first."""
    raise NotImplementedError

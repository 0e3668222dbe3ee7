"""Filling a cart: reading it as a page shows it, putting in, changing, taking out, promo codes.

Every function is for the caller's own cart: a person's, or that of a visitor's session. Nothing here holds stock.
"""

from decimal import Decimal
from typing import Any
from uuid import UUID

from tradepost.accounts.types import Caller
from tradepost.cart.types import CartView
from tradepost.flows.store import Store


async def get_cart(store: Store, caller: Caller) -> CartView:
    """Return the caller's cart with today's prices and stock; an empty one where there is none."""
    raise NotImplementedError


async def count_cart(store: Store, caller: Caller) -> int:
    """Return how many lines the caller's cart has, for the badge in the page's head."""
    raise NotImplementedError


async def add_to_cart(
    store: Store, caller: Caller, variant_id: UUID, quantity: Decimal, configuration: dict[str, Any] | None = None
) -> CartView:
    """Put something in the cart, on top of what is there of it. Return the cart.

    Raises `NotForSale`, `BadQuantity`, `NotEnough`, `OwnGoods`, `BadConfiguration`, `CartFull`, `NoCart`.
    """
    raise NotImplementedError


async def change_line(store: Store, caller: Caller, line_no: int, quantity: Decimal) -> CartView:
    """Set a line's quantity; 0 takes it out. Raises `NoSuchLine`, `BadQuantity`, `NotEnough`."""
    raise NotImplementedError


async def remove_line(store: Store, caller: Caller, line_no: int) -> CartView:
    """Take a line out. Raises `NoSuchLine`."""
    raise NotImplementedError


async def accept_prices(store: Store, caller: Caller) -> CartView:
    """Take note of changed prices: today's become the ones remembered."""
    raise NotImplementedError


async def add_promo(store: Store, caller: Caller, code: str) -> CartView:
    """Write a promo code on the cart. Raises `PromoUnknown`, `PromoExpired`, `PromoUsedUp`, `PromoStandsAlone`, …"""
    raise NotImplementedError


async def remove_promo(store: Store, caller: Caller, code: str) -> CartView:
    """Take a promo code off the cart; one that is not there is no error."""
    raise NotImplementedError

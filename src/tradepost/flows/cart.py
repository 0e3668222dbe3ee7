"""Filling a cart: reading it as a page shows it, putting in, changing, taking out.

Every function is for the caller's own cart: a person's, or that of a visitor's session. Nothing here holds stock.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.cart import service
from tradepost.cart.queries import COPY_OF_PERSON
from tradepost.cart.types import BadConfiguration, CartCopy, CartItem, CartView, cart_key
from tradepost.catalog.pictures import add_picture, receive_picture
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Transaction
from tradepost.core.limits import check_rate, network_of
from tradepost.core.money import plain_number, times, to_major
from tradepost.core.replicas import primary_only
from tradepost.flows.quote import CheckoutChoice, read_basket
from tradepost.flows.store import Store
from tradepost.promotions.types import PromoUnknown

_KEPT_FOR, _BELIEVED_FOR = timedelta(days=1), timedelta(minutes=1)


async def get_cart(store: Store, caller: Caller) -> CartView:
    """Return the caller's cart with today's prices and stock; an empty one where there is none. A person's is kept, too."""
    lease = await store.cache.lease(cart_key(caller.user_id)) if caller.user_id else None
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        rows = await service.read_rows(tx, caller)
    if caller.user_id is not None:
        await _keep(store, _copy_of(caller.user_id, rows), lease)
    return service.cart_view(rows, store.currency)


async def count_cart(store: Store, caller: Caller) -> int:
    """Return how many lines the caller's cart has, for the badge in the page's head."""
    if caller.user_id is None and caller.session is None:
        return 0
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await service.count_lines(tx, caller)


async def cart_copy(store: Store, caller: Caller, user_id: UUID) -> CartCopy:
    """Return a person's own cart as it is kept for a day under `cart:{user_id}`, as documented.

    It is believed for a minute, and forgotten with every change of the cart; what was read before a change is never kept after
    it. For the badge and for whoever reads the cache: prices are those remembered in the cart, not today's.
    """
    key, moment = cart_key(user_id), now()
    found = await store.cache.get(key, into=CartCopy)
    if found is not None and moment - _BELIEVED_FOR < found.checked_at <= moment:
        return found
    lease = await store.cache.lease(key)
    with primary_only():
        async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
            found = _copy_of(user_id, await tx.all(COPY_OF_PERSON, user_id=user_id))
    await _keep(store, found, lease)
    return found


async def _keep(store: Store, copy: CartCopy, lease: str | None) -> None:
    await store.cache.keep(cart_key(copy.user_id), copy, lease, ttl_s=_KEPT_FOR.total_seconds())


def _copy_of(user_id: UUID, rows: list[Any]) -> CartCopy:
    items = tuple(_item(row) for row in rows if row["listing_id"] is not None)
    return CartCopy(
        user_id=user_id, items=items, total_amount=round(sum(i.subtotal for i in items), 4),
        updated_at=rows[0]["updated_at"] if rows else None, checked_at=now(),
    )  # fmt: skip


def _item(row: Any) -> CartItem:
    price, currency = row["price_when_added"], row["currency"]
    subtotal = to_major(times(price, row["quantity"]), currency)
    return CartItem(row["listing_id"], plain_number(row["quantity"]), float(to_major(price, currency)), float(subtotal))


async def add_to_cart(
    store: Store, caller: Caller, variant_id: UUID, quantity: Decimal, configuration: dict[str, Any] | None = None
) -> CartView:
    """Put something in the cart, on top of what is there of it. Return the cart.

    Raises `NotForSale`, `BadQuantity`, `NotEnough`, `OwnGoods`, `BadConfiguration`, `CartFull`, `NoCart`.
    """
    caller.check_token("buy")
    async with store.db.transaction(actor=caller.actor) as tx:
        if configuration and configuration.get("image_reference"):
            await _check_picture(tx, configuration["image_reference"])
        await service.put_in(tx, caller, variant_id, quantity, configuration, store.currency)
        return await service.read_cart(tx, caller, store.currency)


_IS_PICTURE = text("SELECT EXISTS (SELECT FROM files WHERE id = :file_id)")
_PICTURES_A_QUARTER_HOUR = 20


async def _check_picture(tx: Transaction, given: Any) -> None:
    """Raise `BadConfiguration` for a picture that is none of ours."""
    try:
        known = await tx.value(_IS_PICTURE, file_id=UUID(str(given)))
    except ValueError:
        known = False
    if not known:
        raise BadConfiguration("Please choose the picture again.", "configuration.image_reference")


async def keep_picture(store: Store, caller: Caller, data: bytes) -> UUID:
    """Store a picture that something is to be made after; return its id.

    Raises `NotAPicture`, `UploadTooLarge`, `PictureTooLarge`, and `TooOften` after twenty in a quarter of an hour.
    """
    who = str(caller.user_id) if caller.user_id else network_of(caller.address)
    await check_rate(store.cache, who, "configuration_pictures", _PICTURES_A_QUARTER_HOUR)
    received = await receive_picture(store.files, data, most_mb=store.installation.files.upload_limit_mb)
    async with store.db.transaction(actor=SYSTEM) as tx:
        return (await add_picture(tx, received)).id


async def change_line(store: Store, caller: Caller, line_no: int, quantity: Decimal) -> CartView:
    """Set a line's quantity; 0 takes it out. Raises `NoSuchLine`, `BadQuantity`, `NotEnough`."""
    caller.check_token("buy")
    async with store.db.transaction(actor=caller.actor) as tx:
        await service.set_quantity(tx, caller, line_no, quantity)
        return await service.read_cart(tx, caller, store.currency)


async def remove_line(store: Store, caller: Caller, line_no: int) -> CartView:
    """Take a line out. Raises `NoSuchLine`."""
    return await change_line(store, caller, line_no, Decimal(0))


async def accept_prices(store: Store, caller: Caller) -> CartView:
    """Take note of changed prices: today's become the ones remembered."""
    async with store.db.transaction(actor=caller.actor) as tx:
        cart = await service.read_cart(tx, caller, store.currency)
        await service.take_prices(tx, caller, cart.lines)
        return await service.read_cart(tx, caller, store.currency)


async def add_promo(store: Store, caller: Caller, code: str) -> CartView:
    """Write a promo code on the cart, where it takes something off now.

    Raises `PromoUnknown`, `PromoExpired`, `PromoUsedUp`, `PromoBelowMinimum`, `PromoNotForThese`, `PromoStandsAlone`.
    """
    code = code.strip().upper()[:50]
    caller.check_token("buy")
    async with store.db.transaction(actor=caller.actor) as tx:
        await service.write_promo(tx, caller, code)
        basket = await read_basket(tx, store, caller, CheckoutChoice(), with_points=False)
        problem = next((e.problem for e in basket.priced.promos if e.code.upper() == code and e.problem), None)
        if problem is not None or code not in basket.cart.promo_codes:
            raise problem or PromoUnknown(code)
        return basket.cart


async def remove_promo(store: Store, caller: Caller, code: str) -> CartView:
    """Take a promo code off the cart; one that is not there is no error."""
    caller.check_token("buy")
    async with store.db.transaction(actor=caller.actor) as tx:
        await service.strike_promo(tx, caller, code.strip().upper())
        return await service.read_cart(tx, caller, store.currency)

"""Commands on carts, and the reading of a whole one. Each locks the cart's row by raising its version."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Integer, Numeric, Text, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import BYTEA, JSONB, insert
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from tradepost.accounts.types import Caller
from tradepost.cart import queries
from tradepost.cart.configuration import configuration_hash, configured
from tradepost.cart.tables import cart_lines, carts
from tradepost.cart.types import (
    MOST_LINES,
    BadConfiguration,
    BadQuantity,
    CartChanged,
    CartFull,
    CartLine,
    CartView,
    NoCart,
    NoSuchLine,
    NotEnough,
    NotForSale,
    OwnGoods,
    SellerGroup,
    StockState,
    cart_key,
)
from tradepost.core.database import Transaction
from tradepost.core.ids import short_id
from tradepost.core.money import times

MOST = Decimal(1_000_000)

_CART = bindparam("cart_id", type_=PG_UUID)
_LINE = bindparam("line", type_=Integer)
_QUANTITY = bindparam("quantity", type_=Numeric(12, 3))
_PRICE = bindparam("price", type_=BigInteger)

_new_cart = insert(carts).values(
    user_id=bindparam("user_id", None, type_=PG_UUID),
    session_hash=bindparam("session", None, type_=BYTEA),
    currency=bindparam("currency"),
)
_RAISED = {"version": carts.c.version + 1}
_OPEN_OF_PERSON = _new_cart.on_conflict_do_update(index_elements=["user_id"], set_=_RAISED).returning(
    carts.c.id, carts.c.currency
)
_OPEN_OF_SESSION = _new_cart.on_conflict_do_update(index_elements=["session_hash"], set_=_RAISED).returning(
    carts.c.id, carts.c.currency
)
_touch = update(carts).values(version=carts.c.version + 1).returning(carts.c.id, carts.c.currency, carts.c.promo_codes)
_TOUCH_OF_PERSON = _touch.where(queries.OF_PERSON)
_TOUCH_OF_SESSION = _touch.where(queries.OF_SESSION)
_next_line = (
    select(func.coalesce(func.max(cart_lines.c.line_no), 0) + 1).where(cart_lines.c.cart_id == _CART).scalar_subquery()
)
_new_line = insert(cart_lines).values(
    cart_id=_CART,
    line_no=_next_line,
    variant_id=bindparam("variant_id", type_=PG_UUID),
    quantity=_QUANTITY,
    unit_price_minor=_PRICE,
    configuration=bindparam("configuration", type_=JSONB),
    configuration_hash=bindparam("hash", type_=BYTEA),
)
_PUT_IN = _new_line.on_conflict_do_update(
    index_elements=["cart_id", "variant_id", "configuration_hash"],
    set_={
        "quantity": cart_lines.c.quantity + _new_line.excluded.quantity,
        "unit_price_minor": _new_line.excluded.unit_price_minor,
    },
).returning(
    cart_lines.c.quantity,
    select(func.count()).select_from(cart_lines).where(cart_lines.c.cart_id == _CART).scalar_subquery(),
)
_PUT_AGAIN = _new_line.on_conflict_do_nothing(index_elements=["cart_id", "variant_id", "configuration_hash"])
_ONE_LINE = (cart_lines.c.cart_id == _CART) & (cart_lines.c.line_no == _LINE)
_VARIANT_OF_LINE = select(cart_lines.c.variant_id).where(_ONE_LINE)
_SET_QUANTITY = update(cart_lines).values(quantity=_QUANTITY).where(_ONE_LINE)
_TAKE_OUT = delete(cart_lines).where(_ONE_LINE)
_SET_PRICE = update(cart_lines).values(unit_price_minor=_PRICE).where(_ONE_LINE)
_SET_PROMOS = update(carts).values(promo_codes=bindparam("codes", type_=ARRAY(Text))).where(carts.c.id == _CART)
_DROP = delete(carts).where(carts.c.id == _CART)
_USE_UP = _DROP.where(carts.c.version == bindparam("version", type_=Integer))
_guest_lines = cart_lines.alias("guest")
_move_lines = insert(cart_lines).from_select(
    ["cart_id", "line_no", "variant_id", "quantity", "unit_price_minor", "configuration", "configuration_hash"],
    select(
        _CART, _next_line + func.row_number().over(order_by=_guest_lines.c.line_no) - 1, _guest_lines.c.variant_id,
        _guest_lines.c.quantity, _guest_lines.c.unit_price_minor, _guest_lines.c.configuration, _guest_lines.c.configuration_hash,
    ).where(_guest_lines.c.cart_id == bindparam("guest_id", type_=PG_UUID)),
)  # fmt: skip
_MOVE_LINES = _move_lines.on_conflict_do_update(
    index_elements=["cart_id", "variant_id", "configuration_hash"],
    set_={"quantity": cart_lines.c.quantity + _move_lines.excluded.quantity},
)


def _owner(caller: Caller) -> dict[str, Any]:
    """Return the parameter that names a cart's owner. Raises `NoCart`."""
    if caller.user_id is not None:
        return {"user_id": caller.user_id}
    if caller.session is None:
        raise NoCart
    return {"session": caller.session}


async def read_rows(tx: Transaction, caller: Caller) -> list[Any]:
    """Return a cart as one row a line with everything known of it; one row without a line for an empty cart."""
    if caller.user_id is None and caller.session is None:
        return []
    return await tx.all(queries.CART_OF_PERSON if caller.user_id else queries.CART_OF_SESSION, **_owner(caller))


async def read_cart(tx: Transaction, caller: Caller, currency: str) -> CartView:
    """Return the caller's cart with today's prices and stock, in one query."""
    return cart_view(await read_rows(tx, caller), currency)


async def count_lines(tx: Transaction, caller: Caller) -> int:
    """Return how many lines the caller's cart has."""
    if caller.user_id is None and caller.session is None:
        return 0
    statement = queries.COUNT_OF_PERSON if caller.user_id else queries.COUNT_OF_SESSION
    return int(await tx.value(statement, **_owner(caller)))


def cart_view(rows: list[Any], currency: str) -> CartView:
    """Return the rows of `read_rows` as a page shows them, grouped by seller in the order of their first line."""
    if not rows:
        return CartView(id=None, currency=currency, groups=(), line_count=0, subtotal_minor=0, promo_codes=(), slot_id=None,
                        has_changed_prices=False, has_problems=False)  # fmt: skip
    head = rows[0]
    by_seller: dict[Any, list[Any]] = {}
    for row in rows:
        if row["line_no"] is not None:
            by_seller.setdefault(row["seller_id"], []).append(row)
    groups = tuple(_group(found, head["currency"]) for found in by_seller.values())
    lines = [line for group in groups for line in group.lines]
    return CartView(
        id=head["cart_id"],
        currency=head["currency"],
        groups=groups,
        line_count=len(lines),
        subtotal_minor=sum(g.subtotal_minor for g in groups),
        promo_codes=tuple(head["promo_codes"]),
        slot_id=head["slot_id"],
        has_changed_prices=any(line.price_changed for line in lines),
        has_problems=any(not line.can_be_bought for line in lines),
    )


def _group(rows: list[Any], currency: str) -> SellerGroup:
    lines = tuple(_line(row, currency) for row in rows)
    return SellerGroup(
        seller_id=rows[0]["seller_id"],
        seller_name=rows[0]["seller_name"] or "",
        seller_username=rows[0]["seller_username"] or "",
        lines=lines,
        subtotal_minor=sum(line.total_minor for line in lines if line.can_be_bought),
    )


def _line(row: Any, currency: str) -> CartLine:
    surcharge = _surcharge(row, currency)
    known_price = row["amount_minor"] is not None and surcharge is not None
    price = row["amount_minor"] + (surcharge or 0) if known_price else row["price_when_added"]
    return CartLine(
        line_no=row["line_no"],
        variant_id=row["variant_id"],
        listing_id=row["listing_id"],
        path=f"/l/{row['slug']}-{short_id(row['listing_id'])}",
        title=row["title"],
        kind=row["kind"],
        category_id=row["category_id"],
        image_id=row["image_id"],
        options=row["options"],
        sku=row["sku"],
        configuration=row["configuration"],
        unit=row["unit"],
        unit_short=row["unit_short"],
        sale_step=row["sale_step"],
        quantity=row["quantity"],
        unit_price_minor=price,
        price_when_added_minor=row["price_when_added"],
        compare_at_minor=row["compare_at_minor"] + (surcharge or 0) if row["compare_at_minor"] else None,
        price_changed=price != row["price_when_added"],
        total_minor=times(price, row["quantity"]),
        available=None if row["available"] is None else max(row["available"], Decimal(0)),
        stock=_stock(row) if known_price else "gone",
        expected_on=row["expected_on"],
        seller_id=row["seller_id"],
    )


def _surcharge(row: Any, currency: str) -> int | None:
    """Return what a line's configuration adds to its price; None when the seller no longer offers it so."""
    if not row["configuration"]:
        return 0
    try:
        return configured(row["configuration_schema"], row["configuration"], currency)[1]
    except BadConfiguration:
        return None


def _stock(row: Any) -> StockState:
    if row["status"] != "active" or not row["is_active"] or row["quantity"] % row["sale_step"]:
        return "gone"
    if row["available"] is None or row["available"] >= row["quantity"]:
        return "available"
    if row["can_backorder"]:
        return "backorder"
    return "short" if row["available"] >= row["sale_step"] else "gone"


async def put_in(
    tx: Transaction, caller: Caller, variant_id: UUID, quantity: Decimal, configuration: dict[str, Any] | None, currency: str
) -> None:  # fmt: skip
    """Put something in the caller's cart, on top of what is there of it.

    Raises `NotForSale`, `BadQuantity`, `NotEnough`, `OwnGoods`, `BadConfiguration`, `CartFull`, `NoCart`.
    """
    opening = _OPEN_OF_PERSON if caller.user_id else _OPEN_OF_SESSION
    cart_id, cart_currency = await tx.one(opening, **_owner(caller), currency=currency)
    _forget(tx, caller.user_id)
    offer = await tx.maybe(queries.OFFER, variant_id=variant_id, currency=cart_currency)
    if offer is None or offer["status"] != "active" or not offer["is_active"] or offer["amount_minor"] is None:
        raise NotForSale
    if offer["seller_id"] is None:
        raise NotForSale
    if offer["seller_id"] == caller.user_id:
        raise OwnGoods
    _check_quantity(offer, quantity)
    chosen, surcharge = configured(offer["configuration_schema"], configuration, cart_currency)
    whole, count = await tx.one(
        _PUT_IN, cart_id=cart_id, variant_id=variant_id, quantity=quantity, price=offer["amount_minor"] + surcharge,
        configuration=chosen, hash=configuration_hash(chosen),
    )  # fmt: skip
    _check_quantity(offer, whole)
    if count >= MOST_LINES:
        raise CartFull(MOST_LINES)


def _check_quantity(offer: Any, quantity: Decimal) -> None:
    """Raise `BadQuantity` or `NotEnough` where so much cannot be bought."""
    step = offer["sale_step"]
    if not quantity.is_finite() or not 0 < quantity <= MOST or quantity % step:
        raise BadQuantity(offer["title"], f"{step.normalize():f}", offer["unit_short"])
    available = offer["available"]
    if available is not None and quantity > available and not offer["can_backorder"]:
        raise NotEnough(offer["title"], f"{max(available, Decimal(0)).normalize():f}", offer["unit_short"])


async def _touched(tx: Transaction, caller: Caller) -> Any:
    """Lock the caller's cart and return its id, currency and promo codes; None where there is no cart."""
    _forget(tx, caller.user_id)
    return await tx.maybe(_TOUCH_OF_PERSON if caller.user_id else _TOUCH_OF_SESSION, **_owner(caller))


def _forget(tx: Transaction, user_id: UUID | None) -> None:
    if user_id is not None:
        tx.forget(cart_key(user_id))


async def set_quantity(tx: Transaction, caller: Caller, line_no: int, quantity: Decimal) -> None:
    """Set a line's quantity; 0 takes it out. Raises `NoSuchLine`, `BadQuantity`, `NotEnough`."""
    cart = await _touched(tx, caller)
    variant_id = await tx.value(_VARIANT_OF_LINE, cart_id=cart["id"], line=line_no) if cart else None
    if variant_id is None:
        raise NoSuchLine
    if quantity == 0:
        await tx.run(_TAKE_OUT, cart_id=cart["id"], line=line_no)
        return
    _check_quantity(await tx.one(queries.OFFER, variant_id=variant_id, currency=cart["currency"]), quantity)
    await tx.run(_SET_QUANTITY, cart_id=cart["id"], line=line_no, quantity=quantity)


async def take_prices(tx: Transaction, caller: Caller, lines: Iterable[CartLine]) -> None:
    """Remember today's prices of these lines as the ones the buyer has seen."""
    cart = await _touched(tx, caller)
    if cart:
        rows = [
            {"cart_id": cart["id"], "line": n.line_no, "price": n.unit_price_minor} for n in lines if n.price_changed
        ]
        await tx.run_many(_SET_PRICE, rows)


async def write_promo(tx: Transaction, caller: Caller, code: str) -> None:
    """Write a promo code on the cart, after those that are there."""
    cart = await _touched(tx, caller)
    if cart and code not in cart["promo_codes"]:
        await tx.run(_SET_PROMOS, cart_id=cart["id"], codes=[*cart["promo_codes"], code])


async def strike_promo(tx: Transaction, caller: Caller, code: str) -> None:
    """Take a promo code off the cart."""
    cart = await _touched(tx, caller)
    if cart:
        await tx.run(_SET_PROMOS, cart_id=cart["id"], codes=[c for c in cart["promo_codes"] if c != code])


async def use_up(tx: Transaction, caller: Caller, cart_id: UUID | None, version: int) -> None:
    """Empty a cart that becomes an order. Raises `CartChanged` where something was put in since it was read, or it is gone."""
    await tx.later(_USE_UP, cart_id=cart_id, version=version, refusal=CartChanged)
    _forget(tx, caller.user_id)


async def put_again(
    tx: Transaction, user_id: UUID | None, session: bytes | None, currency: str, lines: Iterable[Mapping[str, Any]]
) -> None:
    """Put lines of an order that came to nothing back in its buyer's cart, where they are not in it again already."""
    opening = _OPEN_OF_PERSON if user_id else _OPEN_OF_SESSION
    owner: dict[str, Any] = {"user_id": user_id} if user_id else {"session": session}
    cart_id, _ = await tx.one(opening, **owner, currency=currency)
    _forget(tx, user_id)
    for line in lines:
        await tx.run(_PUT_AGAIN, cart_id=cart_id, **line, hash=configuration_hash(line["configuration"]))


async def merge_guest_cart(tx: Transaction, session: bytes, user_id: UUID) -> None:
    """Move what a visitor put in before signing in to the person's own cart; the same things add up.

    The transaction's actor must own both: the person with that session, or the system. Idempotent.
    """
    guest = await tx.maybe(_TOUCH_OF_SESSION, session=session)
    if guest is None:
        return
    cart_id, _ = await tx.one(_OPEN_OF_PERSON, user_id=user_id, currency=guest["currency"])
    _forget(tx, user_id)
    await tx.run(_MOVE_LINES, cart_id=cart_id, guest_id=guest["id"])
    if guest["promo_codes"]:
        await tx.run(_SET_PROMOS, cart_id=cart_id, codes=list(guest["promo_codes"]))
    await tx.run(_DROP, cart_id=guest["id"])

"""Carts: filling, changing, prices that moved, stock that ran out, and a visitor who signs in."""

import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy import bindparam, select, text, update

from tests.conftest import Servers
from tests.factories import Factory
from tests.shop import Shop
from tradepost.accounts.types import Caller
from tradepost.cart import service
from tradepost.cart.configuration import configured
from tradepost.cart.types import (
    BadConfiguration,
    BadQuantity,
    NoCart,
    NoSuchLine,
    NotEnough,
    NotForSale,
    OwnGoods,
)
from tradepost.catalog.listing_pages import listing_of_variant
from tradepost.catalog.tables import listings, prices, variants
from tradepost.core.database import SYSTEM, count_queries
from tradepost.flows.cart import accept_prices, add_to_cart, cart_copy, change_line, count_cart, get_cart, remove_line
from tradepost.flows.checkout import checkout
from tradepost.flows.store import Store

GUEST = Caller(session=b"a visitor's session")


async def change(store: Store, statement: Any, **params: Any) -> None:
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(statement, **params)


async def apples(make: Factory, **options: Any) -> Any:
    seller = await make.person("seller")
    return await make.variant_of(await make.listing(seller, **options))


async def test_cart_of_somebody_who_never_bought_is_empty(store: Store, make: Factory) -> None:
    cart = await get_cart(store, await make.person())
    assert (cart.id, cart.line_count, cart.subtotal_minor, cart.currency) == (None, 0, 0, "USD")
    assert (await get_cart(store, Caller())).is_empty


async def test_line_shows_what_a_page_needs(store: Store, make: Factory) -> None:
    seller = await make.person("seller", display_name="Green Farm")
    listing = await make.listing(seller, "Red apples", price=250, stock=10)
    buyer = await make.person()
    cart = await add_to_cart(store, buyer, await make.variant_of(listing), Decimal(3))
    (line,) = cart.lines
    assert (line.title, line.quantity, line.unit_price_minor, line.total_minor) == ("Red apples", 3, 250, 750)
    assert (line.available, line.stock, line.price_changed, line.unit_short) == (10, "available", False, "pc")
    assert line.path.startswith("/l/red-apples-")
    assert (cart.groups[0].seller_name, cart.subtotal_minor) == ("Green Farm", 750)


async def test_putting_in_the_same_thing_adds_up(store: Store, make: Factory) -> None:
    buyer, variant = await make.person(), await apples(make)
    await add_to_cart(store, buyer, variant, Decimal(2))
    cart = await add_to_cart(store, buyer, variant, Decimal(3))
    assert [line.quantity for line in cart.lines] == [5]
    assert await count_cart(store, buyer) == 1


async def test_lines_are_grouped_by_seller(store: Store, make: Factory) -> None:
    buyer, first, second = await make.person(), await apples(make, price=100), await apples(make, price=200)
    await add_to_cart(store, buyer, first, Decimal(1))
    cart = await add_to_cart(store, buyer, second, Decimal(2))
    assert [g.subtotal_minor for g in cart.groups] == [100, 400]


async def test_whole_cart_is_read_in_one_query(store: Store, make: Factory) -> None:
    buyer = await make.person()
    for _ in range(3):
        await add_to_cart(store, buyer, await apples(make), Decimal(1))
    with count_queries() as count:
        cart = await get_cart(store, buyer)
    assert (cart.line_count, count.queries) == (3, 1)


async def test_more_than_there_is_is_refused_and_nothing_changes(store: Store, make: Factory) -> None:
    buyer, variant = await make.person(), await apples(make, stock=4)
    await add_to_cart(store, buyer, variant, Decimal(3))
    with pytest.raises(NotEnough) as refused:
        await add_to_cart(store, buyer, variant, Decimal(2))
    assert refused.value.message == "Only 4 pc of Red apples can be had at the moment."
    assert (await get_cart(store, buyer)).lines[0].quantity == 3


@pytest.mark.parametrize("quantity", ["0", "-1", "0.5", "NaN", "Infinity", "1000001"])
async def test_quantity_off_the_step_is_refused(store: Store, make: Factory, quantity: str) -> None:
    buyer, variant = await make.person(), await apples(make)
    with pytest.raises(BadQuantity):
        await add_to_cart(store, buyer, variant, Decimal(quantity))
    assert (await get_cart(store, buyer)).is_empty


async def test_goods_by_weight_take_decimals(store: Store, make: Factory) -> None:
    buyer, variant = await make.person(), await apples(make, unit="kg", step="0.25", price=333, stock=Decimal("2.5"))
    cart = await add_to_cart(store, buyer, variant, Decimal("1.25"))
    assert cart.lines[0].total_minor == 416  # 1.25 × 3.33 = 4.1625
    with pytest.raises(BadQuantity):
        await change_line(store, buyer, 1, Decimal("1.3"))


async def test_seller_cannot_buy_from_themselves(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    variant = await make.variant_of(await make.listing(seller))
    with pytest.raises(OwnGoods):
        await add_to_cart(store, seller, variant, Decimal(1))


async def test_what_is_not_for_sale_cannot_be_put_in(store: Store, make: Factory) -> None:
    buyer = await make.person()
    with pytest.raises(NotForSale):
        await add_to_cart(store, buyer, uuid4(), Decimal(1))
    with pytest.raises(NotForSale):
        await add_to_cart(store, buyer, await apples(make, status="draft"), Decimal(1))


async def test_visitor_without_a_session_has_no_cart(store: Store, make: Factory) -> None:
    with pytest.raises(NoCart):
        await add_to_cart(store, Caller(), await apples(make), Decimal(1))


async def test_line_can_be_changed_and_taken_out(store: Store, make: Factory) -> None:
    buyer, variant = await make.person(), await apples(make)
    await add_to_cart(store, buyer, variant, Decimal(2))
    assert (await change_line(store, buyer, 1, Decimal(7))).lines[0].quantity == 7
    assert (await remove_line(store, buyer, 1)).is_empty
    with pytest.raises(NoSuchLine):
        await change_line(store, buyer, 1, Decimal(1))


async def test_stranger_sees_and_changes_only_the_own_cart(store: Store, make: Factory) -> None:
    buyer, stranger = await make.person(), await make.person()
    await add_to_cart(store, buyer, await apples(make), Decimal(2))
    assert (await get_cart(store, stranger)).is_empty
    with pytest.raises(NoSuchLine):
        await change_line(store, stranger, 1, Decimal(1))
    assert (await get_cart(store, buyer)).lines[0].quantity == 2


async def test_changed_price_is_shown_until_it_is_accepted(store: Store, make: Factory) -> None:
    buyer, variant = await make.person(), await apples(make, price=250)
    await add_to_cart(store, buyer, variant, Decimal(2))
    await change(store, update(prices).values(amount_minor=300))
    cart = await get_cart(store, buyer)
    assert cart.has_changed_prices
    assert (cart.lines[0].price_when_added_minor, cart.lines[0].unit_price_minor) == (250, 300)
    cart = await accept_prices(store, buyer)
    assert not cart.has_changed_prices
    assert cart.subtotal_minor == 600


@pytest.mark.parametrize(("column", "value"), [("status", "inactive"), ("status", "sold"), ("is_active", False)])
async def test_withdrawn_goods_are_gone(store: Store, make: Factory, column: str, value: Any) -> None:
    buyer, variant = await make.person(), await apples(make)
    await add_to_cart(store, buyer, variant, Decimal(2))
    table = listings if column == "status" else variants
    await change(store, update(table).values({column: value}))
    cart = await get_cart(store, buyer)
    assert (cart.lines[0].stock, cart.has_problems, cart.subtotal_minor) == ("gone", True, 0)


async def test_stock_that_shrank_makes_a_line_short(store: Store, make: Factory) -> None:
    buyer, variant = await make.person(), await apples(make, stock=5)
    await add_to_cart(store, buyer, variant, Decimal(4))
    await change(store, update(variants).values(on_hand=3))
    assert (await get_cart(store, buyer)).lines[0].stock == "short"
    await change(store, update(variants).values(backorder_until=text("now() + interval '1 day'")))
    assert (await get_cart(store, buyer)).lines[0].stock == "backorder"


async def test_untracked_stock_never_runs_out(store: Store, make: Factory) -> None:
    buyer, variant = await make.person(), await apples(make, stock=None)
    cart = await add_to_cart(store, buyer, variant, Decimal(500))
    assert (cart.lines[0].available, cart.lines[0].stock) == (None, "available")


async def test_guest_cart_merges_at_sign_in(store: Store, make: Factory) -> None:
    buyer, first, second = await make.person(), await apples(make), await apples(make)
    await add_to_cart(store, buyer, first, Decimal(1))
    await add_to_cart(store, GUEST, second, Decimal(2))
    await add_to_cart(store, GUEST, first, Decimal(3))
    for _ in range(2):  # twice is as good as once
        async with store.db.transaction(actor=SYSTEM) as tx:
            await service.merge_guest_cart(tx, GUEST.session or b"", buyer.user_id)  # type: ignore[arg-type]
    cart = await get_cart(store, buyer)
    assert [(line.variant_id, line.quantity) for line in cart.lines] == [(first, 4), (second, 2)]
    assert (await get_cart(store, GUEST)).is_empty


async def test_two_additions_at_once_lose_nothing(
    store: Store, make: Factory, race: Callable[..., Awaitable[list[Any]]]
) -> None:
    buyer, variant, other = await make.person(), await apples(make), await apples(make)
    await race(*(add_to_cart(store, buyer, v, Decimal(1)) for v in (variant, other, variant, other)))
    assert sorted(line.quantity for line in (await get_cart(store, buyer)).lines) == [2, 2]


CAKE = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"title": "Size", "oneOf": [{"const": "S", "x-price": "0"}, {"const": "L", "x-price": "12.50"}]},
        "message": {"type": "string", "title": "Words", "maxLength": 10},
        "extra_details": {
            "type": "object",
            "properties": {"candles": {"type": "boolean", "default": False, "x-price": "3.50"}},
        },
    },
}


def test_configuration_adds_to_the_price() -> None:
    assert configured(CAKE, {"size": "S"}, "USD") == ({"size": "S"}, 0)
    given = {"size": "L", "message": " Hi ", "extra_details": {"candles": "on"}}
    assert configured(CAKE, given, "USD") == ({"size": "L", "message": "Hi", "extra_details": {"candles": True}}, 1600)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "configuration.size"),
        ({"size": "XL"}, "configuration.size"),
        ({"size": "S", "message": "far too long"}, "configuration.message"),
        ({"size": "S", "colour": "red"}, "configuration.colour"),
        ({"size": "S", "extra_details": {"candles": "maybe"}}, "configuration.extra_details.candles"),
        ({"size": "S", "extra_details": "no"}, "configuration.extra_details"),
    ],
)
def test_bad_configuration_names_its_field(given: dict[str, Any], field: str) -> None:
    with pytest.raises(BadConfiguration) as refused:
        configured(CAKE, given, "USD")
    assert refused.value.field == field


async def test_configured_cakes_are_lines_of_their_own(store: Store, make: Factory) -> None:
    seller, buyer = await make.person("seller"), await make.person()
    listing = await make.listing(seller, "Cake", price=3000, is_customizable=True)
    statement = update(listings).values(
        configuration_schema=bindparam("schema", type_=listings.c.configuration_schema.type)
    )
    await change(store, statement, schema=CAKE)
    variant = await make.variant_of(listing)
    await add_to_cart(store, buyer, variant, Decimal(1), {"size": "S"})
    cart = await add_to_cart(store, buyer, variant, Decimal(1), {"size": "L"})
    assert [line.unit_price_minor for line in cart.lines] == [3000, 4250]
    with pytest.raises(BadConfiguration):
        await add_to_cart(store, buyer, variant, Decimal(1))
    assert len(await store.db.read(select(listings.c.id))) == 1


async def test_the_kept_copy_is_the_documented_one_for_a_day_and_forgotten_with_every_change(
    shop: Shop, servers: Servers
) -> None:
    user_id = shop.buyer.user_id
    assert user_id is not None
    assert (await cart_copy(shop.store, shop.buyer, user_id)).items == ()
    apples = await shop.goods("Apples", price=2599)
    await shop.put(apples, 2)
    copy = await cart_copy(shop.store, shop.buyer, user_id)
    raw = Redis.from_url(servers.cache_url)
    kept = json.loads(await raw.get(f"cart:{user_id}"))
    listing = await listing_of_variant(shop.store.db, apples)
    assert kept["user_id"] == str(user_id)
    assert kept["items"] == [{"product_id": str(listing), "quantity": 2.0, "unit_price": 25.99, "subtotal": 51.98}]
    assert kept["total_amount"] == 51.98
    assert copy.updated_at is not None
    assert 86_390 < await raw.ttl(f"cart:{user_id}") <= 86_400
    with count_queries() as count:
        assert await cart_copy(shop.store, shop.buyer, user_id) == copy
    assert count.queries == 0
    await change_line(shop.store, shop.buyer, 1, Decimal(3))
    assert await raw.get(f"cart:{user_id}") is None
    assert (await cart_copy(shop.store, shop.buyer, user_id)).total_amount == 77.97
    await checkout(shop.store, shop.buyer, shop.form(), "once")
    assert await raw.get(f"cart:{user_id}") is None
    await raw.aclose()

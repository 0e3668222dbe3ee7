"""From cart to order: what is written, what is refused, and that nothing moves when it is."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text, update

from tests.factories import Factory
from tests.shop import Shop
from tradepost.accounts.types import Caller, NotAllowed
from tradepost.catalog.tables import prices, variants
from tradepost.core.database import SYSTEM, count_queries
from tradepost.core.idempotency import KeyReused
from tradepost.core.postal import Address, AddressIncomplete
from tradepost.flows.cart import add_promo, add_to_cart, get_cart
from tradepost.flows.checkout import CheckoutForm, checkout
from tradepost.flows.store import Store
from tradepost.orders.types import CartEmpty, EmailNeeded, PricesChanged, SoldOut, TotalChanged
from tradepost.payments.types import GatewayUnknown

Race = Callable[..., Awaitable[list[Any]]]


async def test_paid_order_sells_stock_and_books_the_money(shop: Shop) -> None:
    variant = await shop.goods(price=1000, stock=5)
    placed = await shop.buy(variant, 2)
    assert (placed.state, placed.payment_state, placed.total_minor) == ("paid", "success", 2000)
    assert await shop.stock(variant) == (3, 0)
    assert await shop.count("reservations", "state = 'sold'") == 1
    assert (await get_cart(shop.store, shop.buyer)).is_empty
    books = await shop.balances()
    # 20.00 with 15 % tax inside: 2.61; commission 10 % of 20.00
    assert books == {"clearing": 2000, "held": -1539, "fee": -200, "tax": -261}


async def test_order_keeps_what_was_bought_as_it_was(shop: Shop) -> None:
    variant = await shop.goods(title="Old drill", price=1234)
    placed = await shop.buy(variant, 1)
    await shop.run(text("UPDATE listings SET title = 'New drill'"))
    await shop.run(update(prices).values(amount_minor=1))
    line = await shop.row("SELECT title, unit_price_minor, gross_minor, total_minor FROM order_lines")
    assert line == ("Old drill", 1234, 1234, 1234)
    order = await shop.row("SELECT number, subtotal_minor, total_minor, state FROM orders")
    assert order == (placed.number, 1234, 1234, "paid")


async def test_order_spans_sellers_with_one_payment_and_a_part_each(shop: Shop) -> None:
    first, second = await shop.goods(price=1000), await shop.goods(price=500, category="fruit")
    await shop.put(first, 1)
    placed = await shop.buy(second, 2, shipping="standard")
    assert placed.total_minor == 1000 + 1000 + 2 * 500
    assert await shop.count("fulfilments") == 2
    assert await shop.count("payments") == 1
    assert await shop.row("SELECT sum(shipping_minor) FROM fulfilments") == (1000,)


async def test_declined_payment_gives_everything_back(shop: Shop) -> None:
    variant = await shop.goods(price=1000, stock=5)
    placed = await shop.buy(variant, 2, method="decline")
    assert (placed.state, placed.payment_state) == ("failed", "failed")
    assert await shop.stock(variant) == (5, 0)
    assert await shop.balances() == {}
    cart = await get_cart(shop.store, shop.buyer)
    assert [line.quantity for line in cart.lines] == [2]  # it is back in the cart for another try


async def test_same_key_returns_the_same_order(shop: Shop) -> None:
    variant = await shop.goods(price=1000, stock=5)
    await shop.put(variant, 1)
    form = shop.form()
    first = await checkout(shop.store, shop.buyer, form, "key")
    assert await checkout(shop.store, shop.buyer, form, "key") == first
    with pytest.raises(KeyReused):
        await checkout(shop.store, shop.buyer, shop.form(note="other"), "key")
    assert (await shop.count("orders"), await shop.count("sandbox_charges")) == (1, 1)


async def test_empty_cart_cannot_be_ordered(shop: Shop) -> None:
    with pytest.raises(CartEmpty):
        await checkout(shop.store, shop.buyer, shop.form(), "key")


async def test_guest_gives_an_address_to_write_to(shop: Shop) -> None:
    guest = Caller(session=b"guest")
    await add_to_cart(shop.store, guest, await shop.goods(), Decimal(1))
    with pytest.raises(EmailNeeded):
        await checkout(shop.store, guest, shop.form(), "key")
    placed = await checkout(shop.store, guest, shop.form(email="g@example.com"), "key")
    assert placed.state == "paid"
    assert await shop.row("SELECT buyer_id, session_hash FROM orders") == (None, b"guest")


async def test_seller_without_the_permission_cannot_buy(shop: Shop) -> None:
    nobody = Caller(shop.buyer.user_id)
    with pytest.raises(NotAllowed):
        await checkout(shop.store, nobody, shop.form(), "key")


async def test_unknown_gateway_is_refused(shop: Shop) -> None:
    await shop.put(await shop.goods(), 1)
    with pytest.raises(GatewayUnknown):
        await checkout(shop.store, shop.buyer, shop.form(gateway="cheque"), "key")


async def test_changed_price_is_told_and_asked(shop: Shop) -> None:
    variant = await shop.goods(price=1000)
    await shop.put(variant, 1)
    await shop.run(update(prices).values(amount_minor=1100))
    with pytest.raises(PricesChanged):
        await checkout(shop.store, shop.buyer, shop.form(), "key")
    with pytest.raises(TotalChanged) as told:
        await checkout(shop.store, shop.buyer, shop.form(expected_total_minor=1000), "key")
    assert told.value.message == "The total is now 11.00 USD instead of 10.00 USD; please look at the order again."
    assert await shop.count("orders") == 0
    assert (await checkout(shop.store, shop.buyer, shop.form(expected_total_minor=1100), "key")).total_minor == 1100


async def test_sold_out_goods_are_named_and_nothing_moves(shop: Shop) -> None:
    variant = await shop.goods(title="Last pear", stock=3)
    await shop.put(variant, 3)
    await shop.run(update(variants).values(on_hand=2))
    with pytest.raises(SoldOut) as told:
        await checkout(shop.store, shop.buyer, shop.form(), "key")
    assert told.value.titles == "Last pear"
    assert await shop.stock(variant) == (2, 0)
    assert (await get_cart(shop.store, shop.buyer)).line_count == 1


async def test_delivery_needs_an_address(shop: Shop) -> None:
    await shop.put(await shop.goods(), 1)
    with pytest.raises(AddressIncomplete):
        await checkout(shop.store, shop.buyer, shop.form(shipping="standard", shipping_address=None), "key")
    half = Address(name="Ann", line1="", country="US")
    with pytest.raises(AddressIncomplete):
        await checkout(shop.store, shop.buyer, shop.form(shipping="standard", shipping_address=half), "key")


async def test_addresses_are_kept_encrypted(shop: Shop) -> None:
    await shop.buy(await shop.goods(), 1, shipping="standard")
    (sealed,) = await shop.row("SELECT shipping_address_enc FROM orders")
    assert b"Main Street" not in sealed
    assert "Main Street" in shop.store.keys.decrypt(sealed, "order-address")


async def test_forty_buyers_at_once_get_the_five_there_are(store: Store, make: Factory, race: Race) -> None:
    seller = await make.person("seller")
    variant = await make.variant_of(await make.listing(seller, stock=5, category="tools"))
    buyers = [await make.person() for _ in range(40)]
    for buyer in buyers:
        await add_to_cart(store, buyer, variant, Decimal(1))
    form = CheckoutForm(gateway="sandbox", method="approve", shipping="pickup")
    results = await race(*(checkout(store, buyer, form, "key") for buyer in buyers))
    sold = [r for r in results if not isinstance(r, BaseException)]
    assert (len(sold), {type(r).__name__ for r in results if isinstance(r, BaseException)}) == (5, {"SoldOut"})
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert tuple(await tx.one(text("SELECT on_hand, reserved FROM variants"))) == (0, 0)
        assert await tx.value(text("SELECT count(*) FROM orders")) == 5


async def test_one_cart_becomes_one_order_however_many_keys_are_used(shop: Shop, race: Race) -> None:
    await shop.put(await shop.goods(stock=100), 1)
    results = await race(*(checkout(shop.store, shop.buyer, shop.form(), f"key{n}") for n in range(8)))
    assert sum(not isinstance(r, BaseException) for r in results) == 1
    assert await shop.count("orders") == await shop.count("sandbox_charges") == 1


async def test_same_key_at_once_makes_one_order(shop: Shop, race: Race) -> None:
    await shop.put(await shop.goods(stock=100), 1)
    await race(*(checkout(shop.store, shop.buyer, shop.form(), "key") for _ in range(8)))
    assert await shop.count("orders") == await shop.count("sandbox_charges") == 1


async def test_promo_code_is_used_no_more_often_than_it_may(store: Store, make: Factory, race: Race) -> None:
    shops = [await Shop.open(store, make) for _ in range(6)]
    await shops[0].promo("TEN", percent=10, usage_limit=2)
    for shop in shops:
        await shop.put(await shop.goods(price=1000), 1)
        await add_promo(store, shop.buyer, "TEN")
    results = await race(*(checkout(store, s.buyer, s.form(), "key") for s in shops))
    sold = [r for r in results if not isinstance(r, BaseException)]
    assert [r.total_minor for r in sold] == [900, 900]
    assert await shops[0].row("SELECT used_count FROM promo_codes") == (2,)
    assert await shops[0].count("promo_uses") == 2


async def test_unpaid_order_gives_the_promo_code_back(shop: Shop) -> None:
    await shop.promo("TEN", percent=10, usage_limit=1)
    await shop.put(await shop.goods(price=1000), 1)
    await add_promo(shop.store, shop.buyer, "TEN")
    await checkout(shop.store, shop.buyer, shop.form(method="decline"), "key")
    assert await shop.row("SELECT used_count FROM promo_codes") == (0,)


async def test_statements_of_a_checkout_are_few(shop: Shop) -> None:
    first, second = await shop.goods(price=1000), await shop.goods(price=500)
    await shop.buy(first, 1)  # fills what a process keeps
    await shop.put(first, 1)
    await shop.put(second, 1)
    with count_queries() as count:
        await checkout(shop.store, shop.buyer, shop.form(shipping="standard"), "key2")
    assert count.queries <= 23


@pytest.mark.parametrize("user", ["stranger"])
async def test_row_level_security_hides_orders_from_strangers(shop: Shop, make: Factory, user: str) -> None:
    await shop.buy(await shop.goods(), 1)
    stranger = await make.person(username=user)
    for table in ("orders", "order_lines", "fulfilments", "payments", "order_events", "ledger_entries"):
        async with shop.store.db.transaction(actor=stranger.actor) as tx:
            assert await tx.value(text(f"SELECT count(*) FROM {table}")) == 0, table


def test_form_is_frozen_and_complete() -> None:
    assert CheckoutForm(gateway="cash").points == 0
    assert isinstance(UUID(int=1), UUID)

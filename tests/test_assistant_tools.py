"""The assistant's tools: each does its one thing with the rights of whoever talks, and nothing more."""

from decimal import Decimal
from typing import Any

import jsonschema
import msgspec
import pytest
from sqlalchemy import text

from tests.shop import Shop
from tradepost.accounts.types import Caller, NotAllowed, SignInFirst
from tradepost.assistant.results import (
    CartFacts,
    CheckoutStart,
    Comparison,
    Found,
    ListingFacts,
    OrderFacts,
    StoreFacts,
)
from tradepost.assistant.types import BadArguments, ChooseOption, NoSuchOption, NoSuchTool, NotConfirmed
from tradepost.catalog.types import NoSuchListing
from tradepost.flows.assistant_tools import TOOLS, call_tool
from tradepost.orders.types import MoveNotYours, NoSuchOrder


async def use(shop: Shop, name: str, *, by: Caller | None = None, **arguments: Any) -> Any:
    return await call_tool(shop.store, by or shop.buyer, name, arguments, is_confirmed=True)


async def listing_of(shop: Shop, variant: object) -> str:
    return str((await shop.row("SELECT listing_id FROM variants WHERE id = :id", id=variant))[0])


def test_every_tool_says_what_it_takes_and_what_it_is_for() -> None:
    assert len(TOOLS) >= 15
    for tool in TOOLS.values():
        jsonschema.Draft202012Validator.check_schema(tool.schema)
        assert tool.description
        assert msgspec.json.schema(tool.result)
        assert not tool.is_change or tool.scope, f"{tool.name} changes something without a scope"


async def test_change_waits_for_a_yes(shop: Shop) -> None:
    hammer = await listing_of(shop, await shop.goods())
    with pytest.raises(NotConfirmed):
        await call_tool(shop.store, shop.buyer, "add_to_cart", {"listing_id": hammer})
    assert await shop.count("cart_lines") == 0


async def test_arguments_that_make_no_sense_are_refused(shop: Shop) -> None:
    with pytest.raises(NoSuchTool):
        await use(shop, "drop_tables")
    for name, arguments in (
        ("get_listing", {"listing_id": "; DROP"}),
        ("search_listings", {"limit": 500}),
        ("add_to_cart", {"listing_id": "1", "price": 0}),
    ):
        with pytest.raises(BadArguments):
            await use(shop, name, **arguments)


async def test_listings_are_found_and_looked_up_with_their_price(shop: Shop) -> None:
    variant = await shop.goods("Claw hammer", price=1299, stock=4)
    found: Found = await use(shop, "search_listings", query="hammer", max_price=20)
    assert [(i.title, i.price.text if i.price else "") for i in found.items] == [("Claw hammer", "$12.99")]
    assert (await use(shop, "search_listings", query="hammer", max_price=10)).items == ()
    facts: ListingFacts = await use(shop, "get_listing", listing_id=await listing_of(shop, variant))
    assert (facts.title, facts.options[0].available, facts.in_stock) == ("Claw hammer", 4, True)


async def test_hidden_listing_is_not_looked_up(shop: Shop) -> None:
    listing = await listing_of(shop, await shop.goods(status="draft"))
    with pytest.raises(NoSuchListing):
        await use(shop, "get_listing", listing_id=listing)


async def test_two_listings_are_compared_by_what_differs(shop: Shop) -> None:
    first = await listing_of(shop, await shop.goods("Claw hammer", brand="Ox", attributes={"organic": True}))
    second = await listing_of(shop, await shop.goods("Sledge hammer", brand="Elk", attributes={"organic": True}))
    found: Comparison = await use(shop, "compare_listings", listing_ids=[first, second])
    assert [(d.name, d.values) for d in found.differences] == [("Brand", ("Ox", "Elk"))]


async def test_option_is_chosen_by_its_words(shop: Shop) -> None:
    seller = await shop.make.person("seller")
    listing = await shop.make.listing(seller, "Shirt", price=900)
    await shop.run(text("UPDATE variants SET options = jsonb_build_object('color', 'red')"))
    await shop.make.variant(listing, price=1100, options={"color": "blue"})
    with pytest.raises(ChooseOption) as choose:
        await use(shop, "add_to_cart", listing_id=str(listing))
    assert choose.value.message == "Shirt comes in several options; please choose color."
    with pytest.raises(NoSuchOption):
        await use(shop, "add_to_cart", listing_id=str(listing), options={"color": "pink"})
    cart: CartFacts = await use(shop, "add_to_cart", listing_id=str(listing), options={"Color": "Blue"}, quantity=2)
    assert [(i.options, i.quantity, i.total.text) for i in cart.items] == [({"color": "blue"}, 2, "$22.00")]


async def test_cart_is_changed_and_emptied_by_line(shop: Shop) -> None:
    listing = await listing_of(shop, await shop.goods())
    cart: CartFacts = await use(shop, "add_to_cart", listing_id=listing)
    line = cart.items[0].line_no
    assert (await use(shop, "change_cart", line_no=line, quantity=3)).subtotal.minor == 3000
    assert (await use(shop, "remove_from_cart", line_nos=[line])).items == ()


async def test_promo_code_says_what_it_takes_off(shop: Shop) -> None:
    await shop.promo("TEN", percent=10)
    await use(shop, "add_to_cart", listing_id=await listing_of(shop, await shop.goods()))
    cart: CartFacts = await use(shop, "use_promo_code", code="ten")
    assert cart.discount is not None
    assert (cart.promo_codes, cart.discount.text) == (("TEN",), "$1.00")
    assert (await use(shop, "use_promo_code", code="ten", remove=True)).promo_codes == ()


async def test_checkout_is_handed_over_by_a_link(shop: Shop) -> None:
    await use(shop, "add_to_cart", listing_id=await listing_of(shop, await shop.goods()))
    start: CheckoutStart = await use(shop, "start_checkout")
    assert (start.link, start.cart.subtotal.text) == ("/checkout", "$10.00")
    assert await shop.count("orders") == 0


async def test_own_order_is_shown_and_called_off(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods())
    facts: OrderFacts = await use(shop, "order_status", number=f"#{placed.number}")
    assert (facts.number, [i.title for i in facts.items], facts.total.minor) == (placed.number, ["Hammer"], 1000)
    assert "cancelled" in facts.can
    after: OrderFacts = await use(shop, "cancel_order", number=placed.number, reason="ordered by mistake")
    assert after.state_code == "cancelled"
    assert after.refunded is not None
    with pytest.raises(MoveNotYours):
        await use(shop, "cancel_order", number=placed.number)


async def test_orders_of_others_do_not_exist(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods())
    for stranger in (await shop.make.person(), Caller(session=b"x" * 32), await shop.make.person("staff")):
        for name, more in (("order_status", {}), ("cancel_order", {}), ("return_items", {"line_nos": [1]})):
            with pytest.raises(NoSuchOrder):
                await use(shop, name, by=stranger, number=placed.number, **more)
    assert (await shop.row("SELECT state FROM orders"))[0] == "paid"


async def test_tokens_and_visitors_do_only_what_they_may(shop: Shop) -> None:
    listing = await listing_of(shop, await shop.goods())
    token = msgspec.structs.replace(shop.buyer, scopes=frozenset({"read"}))
    with pytest.raises(NotAllowed):
        await use(shop, "add_to_cart", by=token, listing_id=listing)
    with pytest.raises(SignInFirst):
        await use(shop, "keep_alert", by=Caller(session=b"x" * 32), query="hammer")
    assert await shop.count("cart_lines") == await shop.count("alerts") == 0


async def test_search_is_kept_once(shop: Shop) -> None:
    await use(shop, "keep_alert", query="hammer", max_price=20)
    await use(shop, "keep_alert", query="hammer", max_price=20)
    assert [a.name for a in (await use(shop, "list_alerts")).items] == ["hammer"]


async def test_store_says_only_what_its_settings_say(shop: Shop) -> None:
    found: StoreFacts = await use(shop, "store_facts", topic="delivery")
    assert {f.topic for f in found.items} == {"delivery"}
    every: StoreFacts = await use(shop, "store_facts")
    assert "30 days" in next(f.text for f in every.items if f.topic == "returns")


async def test_quantity_that_is_not_there_is_refused(shop: Shop) -> None:
    listing = await listing_of(shop, await shop.goods(stock=2))
    with pytest.raises(Exception, match="Only 2"):
        await use(shop, "add_to_cart", listing_id=listing, quantity=str(Decimal(3)))

"""A buyer changes an order that is placed, in the store whose process allows it: once, within the product, and nobody else's."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.conftest import Servers
from tests.factories import Factory
from tests.shop import HOME, Shop
from tradepost.accounts.types import Caller
from tradepost.assistant.results import AddressSaved, OrderFacts
from tradepost.assistant.types import ReasonNotAccepted
from tradepost.catalog.stock import NotEnoughStock
from tradepost.core.crypto import Keyring
from tradepost.core.database import Database
from tradepost.core.settings import Settings
from tradepost.flows.assistant_tools import call_tool
from tradepost.flows.cart import add_to_cart
from tradepost.flows.checkout import Placed, checkout
from tradepost.flows.install_store import install_store
from tradepost.flows.move_order import move_order
from tradepost.flows.preset import PRESETS
from tradepost.flows.store import open_store
from tradepost.orders.changes import AddressElsewhere, AddressFixed, NothingToSwap, OptionHadBefore, SwapImpossible
from tradepost.orders.types import MoveImpossible, NoSuchOrder

CODE = "shop-assistant"


@pytest_asyncio.fixture
async def counter(servers: Servers, migrated: str, tmp_path: Path) -> AsyncIterator[Shop]:
    """Stand as a customer in the shop-assistant store, with nothing on its shelves."""
    name = await servers.clone(migrated)
    owner = await Database.open(servers.dsn(name, "postgres"), size=2)
    await install_store(owner, PRESETS / CODE)
    await owner.close()
    opened = open_store(
        CODE, Settings(stores=(CODE,), test_payments=True), dsn=servers.dsn(name, "tradepost_app"), cache_url=servers.cache_url,
        files_url=str(tmp_path / "files"), keys=Keyring.from_secret("test", b"0" * 32), preset_folder=PRESETS / CODE,
    )  # fmt: skip
    async with opened as store:
        make = Factory(store)
        yield Shop(store, make, await make.person("customer"))
    await servers.drop(name)


async def shirts(counter: Shop) -> dict[str, UUID]:
    """Offer a shirt in three colors; return the variants."""
    seller = await counter.make.person("staff")
    listing = await counter.make.listing(seller, "Shirt", price=2000, category="tops")
    await counter.run(text("UPDATE variants SET options = jsonb_build_object('color', 'red'), sku = 'R'"))
    found = {"red": await counter.make.variant_of(listing)}
    found["blue"] = await counter.make.variant(listing, price=1500, options={"color": "blue"})
    found["gold"] = await counter.make.variant(listing, price=9900, stock=0, options={"color": "gold"})
    return found


async def bought(counter: Shop, variant: UUID, quantity: int = 1) -> Placed:
    await add_to_cart(counter.store, counter.buyer, variant, Decimal(quantity))
    form = counter.form(shipping="counter")
    return await checkout(counter.store, counter.buyer, form, f"c{variant.hex[:8]}")


async def use(counter: Shop, name: str, by: Caller | None = None, **arguments: Any) -> Any:
    return await call_tool(counter.store, by or counter.buyer, name, arguments, is_confirmed=True)


async def deliver(counter: Shop, order: Placed) -> None:
    staff = await counter.make.person("admin")
    for state in ("processed", "delivered"):
        await move_order(counter.store, staff, order.order_id, state)


async def test_option_is_changed_once_and_what_is_cheaper_comes_back(counter: Shop) -> None:
    shirt = await shirts(counter)
    order = await bought(counter, shirt["red"])
    wanted = {"number": order.number, "items": [{"line_no": 1, "variant_id": str(shirt["blue"])}]}
    facts: OrderFacts = await use(counter, "change_order_items", **wanted)
    assert (facts.state_code, [i.options for i in facts.items]) == ("items_modified", [{"color": "blue"}])
    assert facts.refunded is not None
    assert facts.refunded.minor == 500
    assert [await counter.stock(shirt[c]) for c in ("red", "blue")] == [(10, 0), (9, 0)]
    back = {"number": order.number, "items": [{"line_no": 1, "variant_id": str(shirt["red"])}]}
    with pytest.raises(MoveImpossible):
        await use(counter, "change_order_items", **back)
    assert [await counter.stock(shirt[c]) for c in ("red", "blue")] == [(10, 0), (9, 0)]


async def test_only_another_option_that_is_there_can_be_had(counter: Shop) -> None:
    shirt = await shirts(counter)
    other = await counter.make.variant_of(
        await counter.make.listing(await counter.make.person("staff"), "Cap", category="tops")
    )
    order = await bought(counter, shirt["red"])
    for wanted in (shirt["gold"], shirt["red"], other):
        with pytest.raises(SwapImpossible):
            await use(
                counter, "change_order_items", number=order.number, items=[{"line_no": 1, "variant_id": str(wanted)}]
            )
    with pytest.raises(NothingToSwap):
        await use(
            counter, "change_order_items", number=order.number, items=[{"line_no": 7, "variant_id": str(shirt["blue"])}]
        )
    assert (await counter.row("SELECT state FROM orders")) == ("paid",)
    assert await counter.stock(shirt["red"]) == (9, 0)


async def test_what_arrived_is_exchanged_and_what_did_not_is_not(counter: Shop) -> None:
    shirt = await shirts(counter)
    order = await bought(counter, shirt["red"])
    wanted = {"number": order.number, "items": [{"line_no": 1, "variant_id": str(shirt["blue"])}], "settle_by": "card"}
    with pytest.raises(MoveImpossible):
        await use(counter, "exchange_items", **wanted)
    await deliver(counter, order)
    facts: OrderFacts = await use(counter, "exchange_items", **wanted)
    assert facts.state_code == "exchange_requested"
    data = (await counter.row("SELECT data FROM order_events WHERE kind = 'exchange_asked'"))[0]
    assert (data["difference_minor"], data["settle_by"], data["lines"][0]["from_sku"]) == (-500, "card", "R")
    assert await counter.stock(shirt["blue"]) == (10, 0)


async def test_what_an_order_held_before_is_ordered_anew(counter: Shop) -> None:
    shirt = await shirts(counter)
    order = await bought(counter, shirt["red"])
    await use(
        counter, "change_order_items", number=order.number, items=[{"line_no": 1, "variant_id": str(shirt["blue"])}]
    )
    await deliver(counter, order)
    with pytest.raises(OptionHadBefore):
        await use(
            counter, "exchange_items", number=order.number, items=[{"line_no": 1, "variant_id": str(shirt["red"])}]
        )


async def test_exchange_for_a_cheaper_option_gives_the_difference_back_once(counter: Shop) -> None:
    shirt = await shirts(counter)
    order = await bought(counter, shirt["red"])
    await deliver(counter, order)
    wanted = [{"line_no": 1, "variant_id": str(shirt["blue"])}]
    await use(counter, "exchange_items", number=order.number, items=wanted, settle_by="card")
    assert await counter.count("refunds") == 0
    staff = await counter.make.person("admin")
    await move_order(counter.store, staff, order.order_id, "exchanged")
    await move_order(counter.store, staff, order.order_id, "exchanged")  # a second click
    assert await counter.count("refunds") == 1
    assert await counter.row("SELECT amount_minor, reason FROM refunds") == (500, "card")
    assert await counter.row("SELECT options FROM order_lines") == ({"color": "blue"},)
    assert [await counter.stock(shirt[c]) for c in ("red", "blue")] == [(10, 0), (9, 0)]


async def test_exchange_that_was_called_off_is_not_booked_later(counter: Shop) -> None:
    shirt = await shirts(counter)
    order = await bought(counter, shirt["red"])
    await deliver(counter, order)
    wanted = [{"line_no": 1, "variant_id": str(shirt["blue"])}]
    await use(counter, "exchange_items", number=order.number, items=wanted, settle_by="card")
    staff = await counter.make.person("admin")
    for state in ("delivered", "exchange_requested", "exchanged"):
        await move_order(counter.store, staff, order.order_id, state)
    assert await counter.row("SELECT options FROM order_lines") == ({"color": "red"},)
    assert await counter.count("refunds") == 0
    assert [await counter.stock(shirt[c]) for c in ("red", "blue")] == [(9, 0), (10, 0)]


async def test_exchange_waits_for_what_is_sold_out_meanwhile(counter: Shop) -> None:
    shirt = await shirts(counter)
    order = await bought(counter, shirt["red"])
    await deliver(counter, order)
    await use(counter, "exchange_items", number=order.number, items=[{"line_no": 1, "variant_id": str(shirt["blue"])}])
    await counter.run(text("UPDATE variants SET on_hand = 0 WHERE id = :id"), id=shirt["blue"])
    staff = await counter.make.person("admin")
    with pytest.raises(NotEnoughStock):
        await move_order(counter.store, staff, order.order_id, "exchanged")
    assert await counter.row("SELECT state FROM orders") == ("exchange_requested",)
    assert await counter.stock(shirt["red"]) == (9, 0)


async def test_address_is_changed_until_the_order_is_packed(counter: Shop) -> None:
    order = await bought(counter, (await shirts(counter))["red"])
    there = {"name": "Ann", "line1": "9 New Street", "city": "Boulder", "country": "US"}
    facts: OrderFacts = await use(counter, "change_order_address", number=order.number, address=there)
    assert "9 New Street" in facts.address
    await deliver(counter, order)
    with pytest.raises(AddressFixed):
        await use(counter, "change_order_address", number=order.number, address={**there, "line1": "1 Elsewhere"})
    with pytest.raises(AddressFixed):
        await use(counter, "change_order_payment", number=order.number, settle_by="cash")


async def test_an_address_where_delivery_costs_something_else_is_not_taken(counter: Shop) -> None:
    order = await bought(counter, (await shirts(counter))["red"])
    with pytest.raises(AddressElsewhere):
        await use(
            counter, "change_order_address", number=order.number,
            address={"name": "Ann", "line1": "9 New Street", "city": "Lyon", "country": "FR"},
        )  # fmt: skip


async def test_cheaper_option_gives_back_from_its_own_line(counter: Shop) -> None:
    shirt = await shirts(counter)
    cap = await counter.make.listing(await counter.make.person("staff"), "Cap", price=2000, category="tops")
    await add_to_cart(counter.store, counter.buyer, await counter.make.variant_of(cap), Decimal(1))
    order = await bought(counter, shirt["red"])
    line_no = (await counter.row("SELECT line_no FROM order_lines WHERE sku = 'R'"))[0]
    await use(
        counter, "change_order_items", number=order.number,
        items=[{"line_no": line_no, "variant_id": str(shirt["blue"])}],
    )  # fmt: skip
    assert (await counter.row("SELECT refunded_minor FROM order_lines WHERE sku IS NOT NULL OR title = 'Shirt'"))[
        0
    ] == 500
    assert (await counter.row("SELECT refunded_minor FROM order_lines WHERE title = 'Cap'"))[0] == 0
    said = await counter.row("SELECT reason, actor_role FROM order_events WHERE kind = 'items_changed'")
    assert said[0].startswith("To give back: 5.00 USD. Shirt: red → blue")
    assert (await counter.row("SELECT actor_role FROM order_events WHERE kind = 'refunded'"))[0] == "buyer"


async def test_own_address_is_the_default_from_then_on(counter: Shop) -> None:
    address = {"name": "Ann", "line1": "9 New Street", "city": "Boulder", "country": "US"}
    saved: AddressSaved = await use(counter, "change_own_address", address=address)
    await use(counter, "change_own_address", address={**address, "line1": "10 New Street"})
    assert saved.lines[1] == "9 New Street"
    assert await counter.count("addresses", "is_default") == await counter.count("addresses") == 1


async def test_order_is_called_off_for_a_reason_that_the_store_accepts(counter: Shop) -> None:
    order = await bought(counter, (await shirts(counter))["red"])
    with pytest.raises(ReasonNotAccepted):
        await use(counter, "cancel_order", number=order.number, reason="found it cheaper")
    assert (await counter.row("SELECT state FROM orders")) == ("paid",)
    assert (
        await use(counter, "cancel_order", number=order.number, reason="No longer needed")
    ).state_code == "cancelled"


async def test_strangers_and_staff_change_nothing_of_an_order(counter: Shop) -> None:
    shirt = await shirts(counter)
    order = await bought(counter, shirt["red"])
    swap = [{"line_no": 1, "variant_id": str(shirt["blue"])}]
    address = {"name": HOME.name, "line1": HOME.line1, "city": HOME.city, "country": "US"}
    for stranger in (
        await counter.make.person("customer"),
        await counter.make.person("admin"),
        Caller(session=b"y" * 32),
    ):
        for name, more in (
            ("change_order_items", {"items": swap}),
            ("exchange_items", {"items": swap}),
            ("change_order_address", {"address": address}),
            ("change_order_payment", {"settle_by": "cash"}),
        ):
            with pytest.raises(NoSuchOrder):
                await use(counter, name, by=stranger, number=order.number, **more)
    assert (await counter.row("SELECT state, (SELECT count(*) FROM order_events WHERE kind <> 'moved') FROM orders"))[
        0
    ] == "paid"

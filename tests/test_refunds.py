"""Money on its way back: every case adds up to what was paid, to the minor unit, in currencies of 0, 2 and 3 decimals."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from tests.factories import Factory
from tests.shop import Shop
from tradepost.accounts.types import Caller, NotAllowed
from tradepost.core.clock import now, stopped_at
from tradepost.flows.cart import add_promo
from tradepost.flows.checkout import Placed, checkout
from tradepost.flows.move_order import move_order
from tradepost.flows.orders import get_order
from tradepost.flows.preset import Loyalty
from tradepost.flows.refund_order import RefundForm, RefundLine, refund_order
from tradepost.flows.returns import (
    decide_return,
    list_returns,
    list_returns_to,
    receive_return,
    request_return,
    withdraw_return,
)
from tradepost.flows.store import Store
from tradepost.flows.sweep import sweep
from tradepost.orders.returns import (
    NoSuchReturn,
    NothingToReturn,
    NotReturnable,
    ReturnDecidedAlready,
    ReturnForm,
    ReturnLine,
)
from tradepost.orders.types import NoSuchOrder
from tradepost.payments.types import NothingToRefund, RefundTooLarge

Race = Callable[..., Awaitable[list[Any]]]
AT_ONCE = timedelta(0)


def trading_in(store: Store, currency: str) -> Store:
    """Return the store as if it traded in another currency, with points worth a hundredth of its unit, or one yen."""
    identity = msgspec.structs.replace(store.settings.store, currency=currency, currencies=(currency,))
    worth = Decimal(1) if currency == "JPY" else Decimal("0.01")
    loyalty = Loyalty(points_per_unit=Decimal(1), value_per_point=worth)
    return replace(store, settings=msgspec.structs.replace(store.settings, store=identity, loyalty=loyalty))


async def big_order(shop: Shop) -> Placed:
    """Order odd prices from two sellers with delivery, a store's promo code and points."""
    seller = await shop.make.person("seller")
    first = await shop.goods("Axe", seller, price=3333, stock=50)
    second = await shop.goods("Apples", seller, price=777, stock=Decimal(50), category="fruit", unit="kg", step="0.001")
    third = await shop.goods("Saw", price=1999, stock=50)
    await shop.put(first, 3)
    await shop.put(second, "1.337")
    await shop.put(third, 1)
    await shop.promo("ODD", percent=7)
    await add_promo(shop.store, shop.buyer, "ODD")
    await shop.run(
        text("INSERT INTO loyalty_entries (user_id, points, kind) VALUES (:id, 500, 'adjusted')"), id=shop.buyer.user_id
    )
    return await checkout(shop.store, shop.buyer, shop.form(shipping="standard", points=321), "big")


async def paid(shop: Shop) -> int:
    return int((await shop.row("SELECT sum(amount_minor) FROM payments WHERE state <> 'failed'"))[0])


async def settled(shop: Shop) -> None:
    await sweep(shop.store, ask_after=AT_ONCE)
    assert await shop.count("refunds", "state <> 'success'") == 0
    assert await shop.row("SELECT coalesce(sum(amount_minor), 0) FROM ledger_entries") == (0,)


CASES: dict[str, list[dict[str, Any]]] = {
    "line by line": [{"lines": [1]}, {"lines": [2]}, {"lines": [3]}, {"delivery": True}],
    "piece by piece": [{"pieces": (1, 1)}, {"pieces": (1, 1)}, {"pieces": (1, 1)}, {"lines": [2, 3], "delivery": True}],
    "by weight": [
        {"pieces": (2, "0.337")},
        {"pieces": (2, "0.5")},
        {"pieces": (2, "0.5")},
        {"lines": [1, 3], "delivery": True},
    ],
    "gestures": [{"amount": 1}, {"amount": 999}, {"amount": 100}, {"rest": True}],
    "money of a line first": [{"money": (1, 17)}, {"money": (1, 1)}, {"lines": [1, 2, 3], "delivery": True}],
}


def form_of(step: dict[str, Any], left: int) -> RefundForm:
    if "pieces" in step:
        line_no, quantity = step["pieces"]
        return RefundForm(lines=(RefundLine(line_no=line_no, quantity=Decimal(quantity)),), restock=True)
    if "money" in step:
        line_no, amount = step["money"]
        return RefundForm(lines=(RefundLine(line_no=line_no, amount_minor=amount),))
    if "amount" in step or "rest" in step:
        return RefundForm(amount_minor=step.get("amount", left))
    lines = tuple(RefundLine(line_no=n) for n in step.get("lines", ()))
    return RefundForm(lines=lines, delivery=step.get("delivery", False), restock=True)


@pytest.mark.parametrize("currency", ["USD", "JPY", "TND"])
@pytest.mark.parametrize("case", CASES)
async def test_refunds_in_steps_leave_nothing_on_any_account(
    store: Store, make: Factory, currency: str, case: str
) -> None:
    opened = trading_in(store, currency)
    shop = await Shop.open(opened, Factory(opened))
    placed = await big_order(shop)
    staff = await shop.make.person("staff")
    for step in CASES[case]:
        left = await paid(shop) - int((await shop.row("SELECT sum(refunded_minor) FROM payments"))[0])
        await refund_order(opened, staff, placed.order_id, form_of(step, left))
        await settled(shop)
    assert await shop.row("SELECT refunded_minor - amount_minor, state FROM payments") == (0, "refunded")
    assert await shop.row("SELECT payment_state FROM orders") == ("refunded",)
    assert await shop.balances() == {}
    assert await shop.row("SELECT points FROM loyalty_accounts") == (500,)
    with pytest.raises((RefundTooLarge, NothingToRefund)):
        await refund_order(opened, staff, placed.order_id, RefundForm(amount_minor=1))


async def test_cancelled_order_gives_points_money_and_goods_back(store: Store) -> None:
    opened = trading_in(store, "USD")
    shop = await Shop.open(opened, Factory(opened))
    placed = await big_order(shop)
    assert await shop.row("SELECT points FROM loyalty_accounts") == (500 - 321 + await earned(shop),)
    await move_order(opened, shop.buyer, placed.order_id, "cancelled")
    await settled(shop)
    assert await shop.balances() == {}
    assert await shop.row("SELECT points FROM loyalty_accounts") == (500,)
    assert await shop.rows("SELECT DISTINCT on_hand, reserved FROM variants") == [(50, 0)]


async def earned(shop: Shop) -> int:
    return int((await shop.row("SELECT coalesce(sum(points), 0) FROM loyalty_entries WHERE kind = 'earned'"))[0])


async def test_points_already_spent_again_are_taken_as_far_as_they_go(store: Store) -> None:
    opened = trading_in(store, "USD")
    shop = await Shop.open(opened, Factory(opened))
    placed = await shop.buy(await shop.goods(price=5000), 1)
    assert await shop.row("SELECT points FROM loyalty_accounts") == (50,)
    await shop.buy(await shop.goods(price=1000), 1, points=45, method="page")
    await move_order(opened, shop.buyer, placed.order_id, "cancelled")
    assert await shop.row("SELECT points FROM loyalty_accounts") == (0,)
    assert await shop.row("SELECT points FROM loyalty_entries WHERE kind = 'reversed'") == (-5,)


async def test_points_cannot_be_spent_twice_at_once(store: Store, race: Race) -> None:
    opened = trading_in(store, "USD")
    shop = await Shop.open(opened, Factory(opened))
    await shop.run(
        text("INSERT INTO loyalty_entries (user_id, points, kind) VALUES (:id, 100, 'adjusted')"), id=shop.buyer.user_id
    )
    shops = [shop]
    await shop.put(await shop.goods(stock=50), 1)
    results = await race(*(checkout(opened, s.buyer, s.form(points=100), f"key{n}") for n, s in enumerate(shops * 6)))
    assert sum(not isinstance(r, BaseException) for r in results) == 1
    assert await shop.row("SELECT sum(points) FROM loyalty_entries WHERE kind IN ('spent', 'adjusted')") == (0,)


async def test_refund_above_what_is_left_moves_nothing(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods(price=1000), 2)
    staff = await shop.make.person("staff")
    before = await shop.balances()
    for form in (
        RefundForm(amount_minor=2001),
        RefundForm(lines=(RefundLine(line_no=1, amount_minor=2001),)),
        RefundForm(lines=(RefundLine(line_no=1, quantity=Decimal(3)),)),
        RefundForm(lines=(RefundLine(line_no=1, quantity=Decimal(-1)),)),
    ):
        with pytest.raises(RefundTooLarge) as told:
            await refund_order(shop.store, staff, placed.order_id, form)
        assert told.value.left == "20.00 USD"
    for form in (RefundForm(), RefundForm(lines=(RefundLine(line_no=9),))):
        with pytest.raises(NothingToRefund):
            await refund_order(shop.store, staff, placed.order_id, form)
    assert await shop.balances() == before
    assert await shop.count("refunds") == 0


async def test_two_refunds_at_once_never_exceed_the_payment(shop: Shop, race: Race) -> None:
    placed = await shop.buy(await shop.goods(price=1000), 1)
    staff = await shop.make.person("staff")
    results = await race(
        *(refund_order(shop.store, staff, placed.order_id, RefundForm(amount_minor=600)) for _ in range(5))
    )
    assert sum(not isinstance(r, BaseException) for r in results) == 1
    assert await shop.row("SELECT refunded_minor FROM payments") == (600,)


async def test_who_may_refund_what(shop: Shop) -> None:
    first, second = await shop.goods("Axe", price=1000), await shop.goods("Saw", price=2000)
    await shop.put(first, 1)
    placed = await shop.buy(second, 1)
    seller = shop.sellers[first]
    with pytest.raises(NothingToRefund):
        await refund_order(shop.store, seller, placed.order_id, RefundForm(lines=(RefundLine(line_no=2),)))
    for nobody in (shop.buyer, await shop.make.person("seller")):
        with pytest.raises(NoSuchOrder):
            await refund_order(shop.store, nobody, placed.order_id, RefundForm(amount_minor=1))
    await refund_order(
        shop.store, seller, placed.order_id, RefundForm(lines=(RefundLine(line_no=1),), reason="Chipped")
    )
    order = await get_order(shop.store, shop.buyer, placed.number)
    assert (order.refunded_minor, order.payment_state, order.timeline[-1].title) == (
        1000,
        "partly_refunded",
        "Money given back",
    )


async def delivered(shop: Shop, quantity: int = 2) -> tuple[Placed, Caller, Any]:
    variant = await shop.goods(price=1000, stock=5)
    placed = await shop.buy(variant, quantity, shipping="standard")
    seller = shop.sellers[variant]
    for step in ("shipped", "delivered"):
        await move_order(shop.store, seller, placed.order_id, step)
    return placed, seller, variant


WISH = ReturnForm(lines=(ReturnLine(1, Decimal(1)),), reason="damaged", comment="The handle is loose.")


async def test_return_is_asked_for_accepted_received_and_paid(shop: Shop) -> None:
    placed, seller, variant = await delivered(shop)
    wish = await request_return(shop.store, shop.buyer, placed.order_id, WISH)
    assert (wish.state, wish.titles, [r.id for r in await list_returns_to(shop.store, seller)]) == (
        "requested",
        ("Hammer",),
        [wish.id],
    )
    accepted = await decide_return(shop.store, seller, wish.id, accept=True, answer="Please send it.")
    assert (accepted.state, accepted.answer) == ("accepted", "Please send it.")
    received = await receive_return(shop.store, seller, wish.id, restock=True)
    assert received.state == "received"
    assert await shop.stock(variant) == (4, 0)
    await settled(shop)
    # one of two went back: 10.00 paid, of it 1.30 tax, 1.00 commission; the seller had been paid already and owes nothing else
    assert await shop.balances() == {
        "clearing": 1500,
        "seller": -(1000 - 130 - 100 + 500),
        "fee": -100,
        "tax": -130,
    }
    titles = [e.title for e in (await get_order(shop.store, shop.buyer, placed.number)).timeline[-4:]]
    assert titles == ["Return asked for", "Return accepted", "Money given back", "Returned goods are back"]


async def test_worn_goods_bring_less(shop: Shop) -> None:
    placed, seller, _ = await delivered(shop)
    wish = await request_return(shop.store, shop.buyer, placed.order_id, WISH)
    await receive_return(shop.store, seller, wish.id, restock=False, amount_minor=400)
    assert await shop.row("SELECT refunded_minor, returned_quantity FROM order_lines") == (400, 1)


async def test_returns_have_their_limits(shop: Shop) -> None:
    variant = await shop.goods(stock=5)
    on_its_way = await shop.buy(variant, 1)
    with pytest.raises(NotReturnable):
        await request_return(shop.store, shop.buyer, on_its_way.order_id, WISH)
    placed, seller, _ = await delivered(shop, 1)
    with stopped_at(now() + timedelta(days=31)), pytest.raises(NotReturnable):
        await request_return(shop.store, shop.buyer, placed.order_id, WISH)
    for lines in ((), (ReturnLine(9, Decimal(1)),), (ReturnLine(1, Decimal(0)),), (ReturnLine(1, Decimal(1)),) * 2):
        with pytest.raises(NothingToReturn):
            await request_return(shop.store, shop.buyer, placed.order_id, ReturnForm(lines=lines, reason="other"))
    stranger = await shop.make.person()
    with pytest.raises(NoSuchOrder):
        await request_return(shop.store, stranger, placed.order_id, WISH)
    wish = await request_return(shop.store, shop.buyer, placed.order_id, WISH)
    with pytest.raises(NotReturnable):  # it is asked for already
        await request_return(shop.store, shop.buyer, placed.order_id, WISH)
    for nobody in (stranger, shop.buyer):
        with pytest.raises(NoSuchReturn):
            await decide_return(shop.store, nobody, wish.id, accept=True)
    await withdraw_return(shop.store, shop.buyer, wish.id)
    with pytest.raises(ReturnDecidedAlready):
        await decide_return(shop.store, seller, wish.id, accept=True)
    assert [r.state for r in await list_returns(shop.store, shop.buyer, placed.order_id)] == ["withdrawn"]


async def test_return_is_paid_once_however_many_press_the_button(shop: Shop, race: Race) -> None:
    placed, seller, _ = await delivered(shop)
    wish = await request_return(shop.store, shop.buyer, placed.order_id, WISH)
    results = await race(*(receive_return(shop.store, seller, wish.id, restock=True) for _ in range(4)))
    assert sum(not isinstance(r, BaseException) for r in results) == 1
    assert await shop.row("SELECT refunded_minor FROM payments") == (1000,)


async def test_a_program_refunds_and_returns_with_the_right_scope_only(shop: Shop) -> None:
    placed, seller, _ = await delivered(shop)
    wish = await request_return(shop.store, shop.buyer, placed.order_id, WISH)
    reader = msgspec.structs.replace(seller, scopes=frozenset({"profile"}), permissions=frozenset())
    form = RefundForm(amount_minor=100)
    for asked in (
        refund_order(shop.store, reader, placed.order_id, form),
        receive_return(shop.store, reader, wish.id, restock=True),
        withdraw_return(shop.store, msgspec.structs.replace(shop.buyer, scopes=frozenset({"profile"})), wish.id),
    ):
        with pytest.raises(NotAllowed):
            await asked
    assert await shop.count("refunds") == 0

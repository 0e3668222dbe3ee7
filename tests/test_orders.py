"""Orders after they are placed: who sees what, who may move what, what each move does to stock and money."""

from datetime import datetime, timedelta, tzinfo
from typing import Any, Self

import pytest
from sqlalchemy import text

from tests.shop import HOME, Shop
from tradepost.accounts.types import Caller
from tradepost.core.clock import now, stopped_at
from tradepost.core.database import SYSTEM
from tradepost.core.errors import Conflict
from tradepost.core.pages import NoSuchPage
from tradepost.flows.checkout import pay_again
from tradepost.flows.move_order import move_order
from tradepost.flows.orders import get_board, get_order, list_all_orders, list_orders
from tradepost.flows.sweep import fire_timers, sweep, tidy_up
from tradepost.orders.types import MoveImpossible, MoveNotYours, NoSuchOrder, PartAhead

AT_ONCE = timedelta(0)


async def two_sellers(shop: Shop) -> tuple[Any, Caller, Caller]:
    """Order from two sellers, 10.00 from the first and 20.00 from the second, each with 5.00 for delivery."""
    first, second = await shop.goods("Axe", price=1000, stock=5), await shop.goods("Saw", price=2000, stock=5)
    await shop.put(first, 1)
    placed = await shop.buy(second, 1, shipping="standard")
    return placed, shop.sellers[first], shop.sellers[second]


async def test_buyer_sees_the_whole_order(shop: Shop) -> None:
    placed, first, _ = await two_sellers(shop)
    order = await get_order(shop.store, shop.buyer, placed.number)
    assert (order.viewer, order.state_name, order.total_minor, order.refunded_minor) == ("buyer", "Paid", 4000, 0)
    assert [line.title for line in order.lines] == ["Axe", "Saw"]
    assert {part.seller_id for part in order.parts} >= {first.user_id}
    assert [entry.title for entry in order.timeline] == ["Order placed", "Paid"]
    assert [(p.state, p.amount_minor) for p in order.payments] == [("success", 4000)]
    assert order.shipping_address is not None
    assert order.shipping_address.city == "Springfield"
    assert [(m.to_state, m.refunds) for m in order.moves] == [("cancelled", True)]
    assert sum(e.amount_minor for e in order.explanation if e.kind not in {"total", "included_tax"}) == 4000
    assert (await get_order(shop.store, shop.buyer, str(order.id))).number == order.number


async def test_seller_sees_the_own_part_only(shop: Shop) -> None:
    placed, first, _ = await two_sellers(shop)
    order = await get_order(shop.store, first, placed.number)
    assert (order.viewer, [line.title for line in order.lines], order.total_minor) == ("seller", ["Axe"], 1500)
    assert (len(order.parts), order.payments, order.email, order.moves) == (1, (), "", ())
    assert [m.to_state for m in order.parts[0].moves] == ["shipped", "cancelled"]


async def test_seller_is_told_the_street_once_the_order_is_paid(shop: Shop) -> None:
    variant = await shop.goods()
    placed = await shop.buy(variant, method="", shipping="standard")
    seller = shop.sellers[variant]
    before = (await get_order(shop.store, seller, placed.number)).shipping_address
    assert before is not None
    assert (before.lines, before.phone) == (("Springfield", "Ohio", "US"), "")
    assert (await get_order(shop.store, shop.buyer, placed.number)).shipping_address == HOME
    await pay_again(shop.store, shop.buyer, placed.order_id, "sandbox", "approve")
    assert (await get_order(shop.store, seller, placed.number)).shipping_address == HOME


async def test_seller_is_told_the_street_of_what_is_paid_at_the_door(shop: Shop) -> None:
    variant = await shop.goods()
    placed = await shop.buy(variant, gateway="cash", method="", shipping="standard")
    assert (await get_order(shop.store, shop.sellers[variant], placed.number)).shipping_address == HOME


async def test_strangers_find_nothing(shop: Shop) -> None:
    placed, *_ = await two_sellers(shop)
    for stranger in (await shop.make.person(), Caller(), Caller(session=b"x"), await shop.make.person("rider")):
        with pytest.raises(NoSuchOrder):
            await get_order(shop.store, stranger, placed.number)
        with pytest.raises(NoSuchOrder):
            await move_order(shop.store, stranger, placed.order_id, "cancelled")
    with pytest.raises(NoSuchOrder):
        await get_order(shop.store, shop.buyer, "MK-NONE")


async def test_staff_see_every_order(shop: Shop) -> None:
    placed, *_ = await two_sellers(shop)
    staff = await shop.make.person("staff")
    assert (await get_order(shop.store, staff, placed.number)).viewer == "staff"
    found = await list_all_orders(shop.store, staff, search=placed.number[3:7])
    assert [card.number for card in found.items] == [placed.number]
    assert not (await list_all_orders(shop.store, staff, state="shipped")).items


async def test_orders_are_listed_newest_first_in_pages(shop: Shop) -> None:
    variant = await shop.goods(stock=10)
    numbers = [(await shop.buy(variant)).number for _ in range(3)]
    first = await list_orders(shop.store, shop.buyer, limit=2)
    assert [c.number for c in first.items] == numbers[:0:-1]
    second = await list_orders(shop.store, shop.buyer, after=first.after, limit=2)
    assert [c.number for c in second.items] == numbers[:1]
    assert second.after is None
    assert (first.items[0].titles, first.items[0].line_count) == (("Hammer",), 1)
    assert not (await list_orders(shop.store, Caller())).items
    with pytest.raises(NoSuchPage):
        await list_orders(shop.store, shop.buyer, after="nonsense")


async def test_order_of_one_seller_moves_at_once(shop: Shop) -> None:
    variant = await shop.goods()
    placed = await shop.buy(variant)
    seller = shop.sellers[variant]
    moved = await move_order(shop.store, seller, placed.order_id, "shipped", carrier="Bus", tracking="77")
    assert (moved.state, moved.parts[0].carrier, moved.parts[0].tracking) == ("shipped", "Bus", "77")
    again = await move_order(shop.store, seller, placed.order_id, "shipped")
    assert len(again.timeline) == len(moved.timeline)  # repeating is harmless


async def test_order_of_two_sellers_follows_the_slower(shop: Shop) -> None:
    placed, first, second = await two_sellers(shop)
    await move_order(shop.store, first, placed.order_id, "shipped")
    order = await get_order(shop.store, shop.buyer, placed.number)
    assert (order.state, sorted(p.state for p in order.parts)) == ("paid", ["paid", "shipped"])
    await move_order(shop.store, first, placed.order_id, "delivered")
    await move_order(shop.store, second, placed.order_id, "shipped")
    assert (await get_order(shop.store, shop.buyer, placed.number)).state == "shipped"
    await move_order(shop.store, second, placed.order_id, "delivered")
    order = await get_order(shop.store, shop.buyer, placed.number)
    assert (order.state, [p.handed_over_at is not None for p in order.parts]) == ("delivered", [True, True])


async def test_each_seller_is_paid_when_their_part_has_arrived(shop: Shop) -> None:
    placed, first, _ = await two_sellers(shop)
    assert "seller" not in await shop.balances()
    await move_order(shop.store, first, placed.order_id, "shipped")
    await move_order(shop.store, first, placed.order_id, "delivered")
    # 10.00 − tax inside 1.30 − commission 1.00 + delivery 5.00
    assert (await shop.balances())["seller"] == -1270


async def test_moves_that_are_not_declared_or_not_ones_own_are_refused(shop: Shop) -> None:
    variant = await shop.goods()
    placed = await shop.buy(variant)
    seller = shop.sellers[variant]
    with pytest.raises(MoveImpossible) as told:
        await move_order(shop.store, seller, placed.order_id, "delivered")
    assert told.value.message == "An order that is “Paid” cannot become “Delivered”."
    with pytest.raises(MoveImpossible):
        await move_order(shop.store, seller, placed.order_id, "no such state")
    with pytest.raises(MoveNotYours):
        await move_order(shop.store, shop.buyer, placed.order_id, "shipped")
    assert await shop.count("order_events") == 2


async def test_database_itself_refuses_an_undeclared_move(shop: Shop) -> None:
    await shop.buy(await shop.goods())
    for table in ("orders", "fulfilments"):
        with pytest.raises(Conflict) as refused:
            await shop.run(text(f"UPDATE {table} SET state = 'delivered'"))
        assert refused.value.code == "OrderChanged"


async def test_cancelling_a_paid_order_gives_goods_and_money_back(shop: Shop) -> None:
    variant = await shop.goods(price=1000, stock=5)
    placed = await shop.buy(variant, 2)
    order = await move_order(shop.store, shop.buyer, placed.order_id, "cancelled", reason="Too slow")
    assert (order.state, order.payment_state, order.refunded_minor) == ("cancelled", "refunded", 2000)
    assert await shop.stock(variant) == (5, 0)
    assert await shop.row("SELECT state, reason FROM refunds") == ("requested", "Too slow")
    assert await shop.balances() == {"clearing": 2000, "buyer": -2000}
    await sweep(shop.store, ask_after=AT_ONCE)
    assert await shop.row("SELECT state FROM refunds") == ("success",)
    assert await shop.balances() == {}
    assert await shop.count("stock_movements", "reason = 'restock' AND quantity = 2") == 1


async def test_seller_who_calls_off_gives_back_the_own_part_only(shop: Shop) -> None:
    placed, first, second = await two_sellers(shop)
    await move_order(shop.store, first, placed.order_id, "cancelled", reason="Broken")
    order = await get_order(shop.store, shop.buyer, placed.number)
    assert (order.state, order.payment_state) == ("paid", "partly_refunded")
    assert [(r.amount_minor, r.reason) for r in order.refunds] == [(1500, "Broken")]
    await move_order(shop.store, second, placed.order_id, "shipped")
    await move_order(shop.store, second, placed.order_id, "delivered")
    order = await get_order(shop.store, shop.buyer, placed.number)
    assert order.state == "delivered"
    await sweep(shop.store, ask_after=AT_ONCE)
    # 20.00 − 2.61 − 2.00 + 5.00 for the second seller; nothing left of the first
    assert await shop.balances() == {"clearing": 2500, "seller": -2039, "fee": -200, "tax": -261}


async def test_last_part_called_off_ends_the_order(shop: Shop) -> None:
    placed, first, second = await two_sellers(shop)
    await move_order(shop.store, first, placed.order_id, "cancelled")
    await move_order(shop.store, second, placed.order_id, "cancelled")
    order = await get_order(shop.store, shop.buyer, placed.number)
    assert (order.state, order.payment_state) == ("cancelled", "refunded")
    await sweep(shop.store, ask_after=AT_ONCE)
    assert await shop.balances() == {}


async def test_order_with_a_part_on_its_way_cannot_be_cancelled_whole(shop: Shop) -> None:
    placed, first, _ = await two_sellers(shop)
    await move_order(shop.store, first, placed.order_id, "shipped")
    with pytest.raises(PartAhead) as told:
        await move_order(shop.store, shop.buyer, placed.order_id, "cancelled")
    assert told.value.state == "On its way"
    assert await shop.count("refunds") == 0


async def test_timer_takes_silence_for_receipt(shop: Shop) -> None:
    variant = await shop.goods()
    placed = await shop.buy(variant)
    await move_order(shop.store, shop.sellers[variant], placed.order_id, "shipped")
    with stopped_at(now() + timedelta(days=6)):
        await sweep(shop.store)
    assert (await get_order(shop.store, shop.buyer, placed.number)).state == "shipped"
    with stopped_at(now() + timedelta(days=8)):
        await sweep(shop.store)
        await sweep(shop.store)
    order = await get_order(shop.store, shop.buyer, placed.number)
    assert (order.state, order.timeline[-1].actor_role, order.due_at) == ("delivered", "system", None)
    assert "held" not in await shop.balances()


async def test_board_shows_a_sellers_parts_by_state(shop: Shop) -> None:
    placed, first, second = await two_sellers(shop)
    await move_order(shop.store, second, placed.order_id, "shipped")
    columns = {c.state: c for c in (await get_board(shop.store, first)).columns}
    assert list(columns) == ["paid", "shipped", "delivered", "cancelled", "failed"]
    (card,) = columns["paid"].cards
    assert (card.number, card.titles, card.quantities, card.total_minor, card.earns_minor) == (
        placed.number,
        ("Axe",),
        ("1",),
        1500,
        1270,
    )
    assert (card.place, [m.to_state for m in card.moves]) == ("Springfield", ["shipped", "cancelled"])
    assert {c.state: c.count for c in (await get_board(shop.store, second)).columns if c.count} == {"shipped": 1}


async def test_unpaid_orders_do_not_reach_the_board(shop: Shop) -> None:
    variant = await shop.goods()
    await shop.buy(variant, 1, method="")
    assert all(not c.cards for c in (await get_board(shop.store, shop.sellers[variant])).columns)


async def test_totals_follow_the_lines_whatever_happens_to_them(shop: Shop) -> None:
    await shop.buy(await shop.goods(price=1000), 2, shipping="standard")
    await shop.run(text("UPDATE order_lines SET discount_minor = 300"))
    assert await shop.row("SELECT subtotal_minor, discount_minor, shipping_minor, total_minor FROM orders") == (
        2000,
        300,
        500,
        2200,
    )
    await shop.run(text("UPDATE fulfilments SET shipping_minor = 0"))
    assert await shop.row("SELECT total_minor FROM orders") == (1700,)


async def test_history_cannot_be_rewritten(shop: Shop) -> None:
    await shop.buy(await shop.goods())
    async with shop.store.db.transaction(actor=SYSTEM) as tx:
        with pytest.raises(Exception, match="permission denied"):
            await tx.run(text("UPDATE order_events SET reason = 'x'"))


async def test_a_server_whose_clock_jumps_ahead_gives_up_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    variant = await shop.goods(stock=5)
    waiting = await shop.buy(variant, 2, method="nothing")
    sent = await shop.buy(variant)
    await move_order(shop.store, shop.sellers[variant], sent.order_id, "shipped")

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(days=90)

    monkeypatch.setattr("tradepost.core.clock.datetime", Ahead)
    assert await fire_timers(shop.store) == 0
    await tidy_up(shop.store)
    assert (await get_order(shop.store, shop.buyer, waiting.number)).state == waiting.state
    assert (await get_order(shop.store, shop.buyer, sent.number)).state == "shipped"
    assert await shop.stock(variant) == (4, 2)

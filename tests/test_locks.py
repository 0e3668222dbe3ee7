"""Two sessions meet at each lock of the kernel: one waits for the other, and what comes out is one of the two orders of events."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import text

from tests.factories import Factory
from tests.shop import Shop
from tradepost.catalog import stock
from tradepost.catalog.stock import StockPromised
from tradepost.core.clock import now, stopped_at
from tradepost.core.database import SYSTEM
from tradepost.core.errors import DomainError
from tradepost.delivery.slots import SlotFull, add_slot
from tradepost.flows.checkout import Placed, checkout, pay_again
from tradepost.flows.move_order import move_order
from tradepost.flows.refund import send_refund
from tradepost.flows.refund_order import RefundForm, refund_order
from tradepost.flows.returns import decide_return, request_return, withdraw_return
from tradepost.flows.settle_payment import receive_webhook
from tradepost.flows.store import Store
from tradepost.flows.sweep import give_up, sweep
from tradepost.orders.returns import ReturnForm, ReturnLine
from tradepost.orders.types import SoldOut
from tradepost.payments.adapters.sandbox import SIGNATURE, SandboxGateway
from tradepost.promotions import service as promotions

Race = Callable[..., Awaitable[list[Any]]]
AT_ONCE = timedelta(0)
TIMES = range(6)  # each meeting is arranged several times: which session comes first is chance


def unforeseen(results: list[Any]) -> list[Any]:
    """Return what neither worked nor was refused in words."""
    return [r for r in results if isinstance(r, BaseException) and not isinstance(r, DomainError)]


async def approval(shop: Shop, placed: Placed) -> Awaitable[Any]:
    """Return the sandbox's call that a payment was approved, about to arrive."""
    gateway = shop.store.gateways["sandbox"]
    assert isinstance(gateway, SandboxGateway)
    where = text("UPDATE sandbox_charges SET state = 'approved' WHERE payment_id = :id")
    await shop.run(where, id=placed.payment_id)
    sql = "SELECT ref, amount_minor, currency FROM sandbox_charges WHERE payment_id = :id"
    ref, amount, currency = await shop.row(sql, id=placed.payment_id)
    body = msgspec.json.encode(
        {"id": f"{ref}:approved", "payment_id": placed.payment_id, "ref": ref, "state": "approved", "amount_minor": amount,
         "currency": currency}
    )  # fmt: skip
    return receive_webhook(shop.store, "sandbox", {SIGNATURE: gateway.sign(body)}, body)


async def assert_whole(shop: Shop) -> None:
    """Nothing is half done: the books balance, and the gateway has what paid orders cost."""
    await sweep(shop.store, ask_after=AT_ONCE)
    assert await shop.row("SELECT coalesce(sum(amount_minor), 0) FROM ledger_entries") == (0,)
    paid = """
        SELECT coalesce(sum(o.total_minor - p.refunded_minor), 0) FROM orders o JOIN payments p ON p.order_id = o.id
        WHERE o.payment_state IN ('paid', 'partly_refunded') AND p.state IN ('success', 'partly_refunded')
    """
    at_gateway = "SELECT coalesce(sum(amount_minor - refunded_minor), 0) FROM sandbox_charges WHERE state = 'approved'"
    assert await shop.row(at_gateway) == await shop.row(paid)


async def test_variant_stock_is_lowered_while_it_is_bought(shop: Shop, race: Race) -> None:
    for n in TIMES:
        variant = await shop.goods(f"Lamp {n}", stock=1)
        await shop.put(variant, 1)

        async def take_away(variant: UUID = variant) -> None:
            async with shop.store.db.transaction(actor=SYSTEM) as tx:
                await stock.set_stock(tx, variant, Decimal(0))

        bought, taken = await race(checkout(shop.store, shop.buyer, shop.form(), f"lamp{n}"), take_away())
        assert isinstance(bought, SoldOut) or taken is None or isinstance(taken, StockPromised)
        on_hand, reserved = await shop.stock(variant)
        assert (on_hand, reserved) == (0, 0)
        sold = await shop.count("stock_movements", f"variant_id = '{variant}' AND reason = 'sale'")
        assert sold == (not isinstance(bought, BaseException))
        if isinstance(bought, BaseException):
            await shop.run(text("DELETE FROM carts WHERE user_id = :id"), id=shop.buyer.user_id)
    await assert_whole(shop)


async def test_last_place_of_a_delivery_window_goes_to_one(store: Store, make: Factory, race: Race) -> None:
    shops = [await Shop.open(store, make) for _ in range(8)]
    day = (datetime.now(UTC) + timedelta(days=2)).date()
    async with store.db.transaction(actor=SYSTEM) as tx:
        slot = await add_slot(tx, day, datetime.min.time(), datetime.max.time().replace(microsecond=0), 1)
    variant = await shops[0].goods(stock=100)
    for s in shops:
        await s.put(variant, 1)
    results = await race(*(checkout(store, s.buyer, s.form(slot_id=slot), f"slot{n}") for n, s in enumerate(shops)))
    assert [type(r) for r in results if isinstance(r, BaseException)] == [SlotFull] * 7
    assert await shops[0].row("SELECT taken, capacity FROM delivery_slots") == (1, 1)
    assert await shops[0].stock(variant) == (99, 0)


async def test_order_is_cancelled_while_its_money_arrives(shop: Shop, race: Race) -> None:
    variant = await shop.goods(stock=100)
    for _ in TIMES:
        placed = await shop.buy(variant, 1, method="page")
        call = await approval(shop, placed)
        results = await race(move_order(shop.store, shop.buyer, placed.order_id, "cancelled"), call)
        assert unforeseen(results) == []
    assert await shop.count("orders", "state = 'cancelled'") == len(TIMES)
    await assert_whole(shop)
    assert await shop.stock(variant) == (100, 0)
    assert await shop.row("SELECT sum(amount_minor - refunded_minor) FROM sandbox_charges") == (0,)


async def test_order_times_out_while_its_money_arrives(shop: Shop, race: Race) -> None:
    variant = await shop.goods(stock=100)
    for _ in TIMES:
        placed = await shop.buy(variant, 1, method="page")
        call = await approval(shop, placed)
        assert unforeseen(await race(give_up(shop.store, placed.order_id), call)) == []
    paid = await shop.count("orders", "payment_state = 'paid'")
    assert await shop.stock(variant) == (100 - paid, 0)
    await assert_whole(shop)


async def test_part_is_sent_while_the_buyer_cancels(shop: Shop, race: Race) -> None:
    variant = await shop.goods(stock=100)
    seller = shop.sellers[variant]
    for _ in TIMES:
        placed = await shop.buy(variant, 1)
        results = await race(
            move_order(shop.store, seller, placed.order_id, "shipped"),
            move_order(shop.store, shop.buyer, placed.order_id, "cancelled"),
        )
        assert unforeseen(results) == []
        assert sum(isinstance(r, DomainError) for r in results) == 1
    gone = await shop.count("orders", "state = 'cancelled'")
    assert await shop.stock(variant) == (100 - len(TIMES) + gone, 0)
    await assert_whole(shop)


async def test_order_is_paid_again_in_several_windows(shop: Shop, race: Race) -> None:
    variant = await shop.goods(stock=100)
    for _ in TIMES:
        placed = await shop.buy(variant, 1, method="page")
        results = await race(
            *(pay_again(shop.store, shop.buyer, placed.order_id, "sandbox", "approve") for _ in range(3))
        )
        assert unforeseen(results) == []
        assert any(getattr(r, "payment_state", "") == "success" for r in results)
    assert await shop.count("payments", "state = 'success'") == len(TIMES)
    await assert_whole(shop)


async def test_refund_is_sent_by_job_and_sweeper_at_once(shop: Shop, race: Race) -> None:
    placed = await shop.buy(await shop.goods(), 1)
    staff = await shop.make.person("staff")
    await refund_order(shop.store, staff, placed.order_id, RefundForm(amount_minor=300))
    (refund_id,) = await shop.row("SELECT id FROM refunds")
    assert await race(*(send_refund(shop.store, refund_id) for _ in range(4))) == ["success"] * 4
    assert await shop.count("ledger_journals", "kind = 'refund_paid'") == 1
    assert await shop.row("SELECT refunded_minor FROM sandbox_charges") == (300,)
    await assert_whole(shop)


async def test_sweepers_of_several_servers_meet(shop: Shop, race: Race) -> None:
    variant = await shop.goods(stock=100)
    for method in ("page", "lost", "delay", "nothing", "down"):
        await shop.buy(variant, 1, method=method)
    with stopped_at(now() + timedelta(minutes=31)):
        assert await race(*(sweep(shop.store, ask_after=AT_ONCE) for _ in range(4))) == [None] * 4
    assert await shop.count("orders", "payment_state = 'paid'") == 3
    assert await shop.count("ledger_journals", "kind = 'capture'") == 3
    assert await shop.stock(variant) == (97, 0)
    await assert_whole(shop)


async def test_return_is_decided_while_it_is_withdrawn(shop: Shop, race: Race) -> None:
    variant = await shop.goods(stock=100)
    seller = shop.sellers[variant]
    for _ in TIMES:
        placed = await shop.buy(variant, 1)
        for step in ("shipped", "delivered"):
            await move_order(shop.store, seller, placed.order_id, step)
        wish = await request_return(
            shop.store, shop.buyer, placed.order_id, ReturnForm(lines=(ReturnLine(1, Decimal(1)),), reason="other")
        )
        results = await race(
            withdraw_return(shop.store, shop.buyer, wish.id),
            decide_return(shop.store, seller, wish.id, accept=False, answer="No."),
        )
        assert unforeseen(results) == []
        assert sum(isinstance(r, DomainError) for r in results) == 1


@pytest.mark.parametrize("taken", [40, 100])
async def test_points_expire_while_they_are_spent(store: Store, make: Factory, race: Race, taken: int) -> None:
    shop = await Shop.open(store, make)
    mine: dict[str, Any] = {"id": shop.buyer.user_id}

    async def expire() -> int:
        async with store.db.transaction(actor=SYSTEM) as tx:
            return await promotions.take_points(tx, mine["id"], taken, "expired", None)

    for n in TIMES:
        await shop.run(
            text("INSERT INTO loyalty_entries (user_id, points, kind) VALUES (:id, 100, 'adjusted')"), **mine
        )
        placed = await shop.buy(await shop.goods(f"Thing {n}"), 1, method="page")

        async def spend(order_id: UUID = placed.order_id) -> None:
            async with store.db.transaction(actor=SYSTEM) as tx:
                await promotions.spend_points(tx, mine["id"], 70, order_id)

        assert unforeseen(await race(spend(), expire())) == []
        points, total = await shop.row(
            "SELECT points, (SELECT sum(points) FROM loyalty_entries WHERE user_id = :id) FROM loyalty_accounts WHERE user_id = :id",
            **mine,
        )
        assert points == total >= 0

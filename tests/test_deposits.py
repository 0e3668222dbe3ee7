"""Orders paid in two steps: what is due when, whose the money is in between, and that every way out adds up."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.conftest import Servers
from tests.factories import Factory
from tests.shop import Shop
from tests.test_processes import assert_sane, use
from tests.test_refunds import big_order, settled, trading_in
from tradepost.accounts.types import Caller
from tradepost.core.clock import now, stopped_at
from tradepost.flows.checkout import Placed, pay_again
from tradepost.flows.move_order import move_order
from tradepost.flows.orders import get_order
from tradepost.flows.preset import PRESETS, Process, load_processes
from tradepost.flows.processes import course_of
from tradepost.flows.quote import CheckoutChoice, quote_cart
from tradepost.flows.refund_order import RefundForm, RefundLine, refund_order
from tradepost.flows.sandbox import sandbox_outcome
from tradepost.flows.store import Store
from tradepost.flows.sweep import sweep
from tradepost.orders.processes import Deposit, Takes
from tradepost.orders.soundness import problems
from tradepost.orders.types import DepositFirst, MoveImpossible, NothingToPay
from tradepost.payments.types import RefundTooLarge

RELEASE = text("UPDATE reservations SET state = 'released' WHERE order_id = :id")
EMPTY = text("""
    INSERT INTO stock_movements (variant_id, quantity, reason) SELECT variant_id, -2, 'waste' FROM reservations WHERE order_id = :id
""")
CUSTOM = next(p for p in load_processes(PRESETS / "omade") if p.name == "custom")
TOOLS = msgspec.structs.replace(CUSTOM, takes=Takes(categories=("tools",)))


def asking(**terms: Any) -> Process:
    """Return the process for tools with other terms."""
    return msgspec.structs.replace(TOOLS, deposit=Deposit(**terms))


@pytest_asyncio.fixture
async def baker(shop: Shop, servers: Servers) -> Caller:
    """Have tools be made to order, for a deposit; return who makes them move on."""
    await use(shop, servers, TOOLS)
    return await shop.make.person("staff")


async def payments(shop: Shop) -> list[tuple[Any, ...]]:
    return await shop.rows("SELECT purpose, state, amount_minor, refunded_minor FROM payments ORDER BY id")


async def walk(shop: Shop, who: Caller, placed: Placed, *states: str) -> None:
    for state in states:
        await move_order(shop.store, who, placed.order_id, state)


async def pay(shop: Shop, placed: Placed, gateway: str = "sandbox", method: str = "approve") -> Placed:
    return await pay_again(shop.store, shop.buyer, placed.order_id, gateway, method)


async def test_deposit_is_paid_first_and_the_balance_before_hand_over(shop: Shop, baker: Caller) -> None:
    variant = await shop.goods(price=1000, stock=5)
    await shop.put(variant, 1)
    quote = await quote_cart(shop.store, shop.buyer, CheckoutChoice(shipping="pickup"))
    assert (quote.total_minor, quote.deposit_minor, quote.asks_first) == (1000, 300, False)
    assert [g.code for g in quote.gateways] == ["sandbox"]
    placed = await shop.buy(variant, 1)
    assert (placed.state, placed.payment_state, placed.total_minor) == ("confirmed", "success", 2000)
    assert await payments(shop) == [("deposit", "success", 600, 0)]
    assert await shop.balances() == {"clearing": 600, "deposit": -600}
    view = await get_order(shop.store, shop.buyer, placed.number)
    assert (view.payment_state, view.can_pay, view.deposit_minor) == ("deposit_paid", False, 600)
    with pytest.raises(NothingToPay):
        await pay(shop, placed)
    await walk(shop, baker, placed, "preparing", "ready")
    with pytest.raises(MoveImpossible):
        await walk(shop, baker, placed, "delivered")
    view = await get_order(shop.store, shop.buyer, placed.number)
    assert (view.can_pay, view.due_minor, view.due_purpose) == (True, 1400, "balance")
    assert (await pay(shop, placed)).state == "paid"
    assert await payments(shop) == [("deposit", "success", 600, 0), ("balance", "success", 1400, 0)]
    assert await shop.balances() == {"clearing": 2000, "held": -1539, "fee": -200, "tax": -261}
    await walk(shop, shop.sellers[variant], placed, "delivered")
    assert await shop.balances() == {"clearing": 2000, "seller": -1539, "fee": -200, "tax": -261}
    assert await shop.row("SELECT payment_state FROM orders") == ("paid",)


async def test_guest_pays_in_two_steps_too(shop: Shop, baker: Caller) -> None:
    guest = Caller(session=b"guest")
    asked = Shop(shop.store, shop.make, guest)
    placed = await asked.buy(await asked.goods(price=1000), 1, email="ann@example.com")
    await walk(shop, baker, placed, "preparing", "ready")
    assert (await get_order(shop.store, guest, placed.number)).due_minor == 700
    assert (await pay(asked, placed)).state == "paid"
    assert await shop.balances() == {"clearing": 1000, "held": -770, "fee": -100, "tax": -130}


async def test_stock_stays_reserved_until_the_work_begins(shop: Shop, baker: Caller) -> None:
    variant = await shop.goods(stock=5)
    placed = await shop.buy(variant, 2)
    with stopped_at(now() + timedelta(days=30)):
        await sweep(shop.store)
    assert await shop.stock(variant) == (5, 2)
    assert (await get_order(shop.store, shop.buyer, placed.number)).state == "confirmed"
    await walk(shop, baker, placed, "preparing")
    assert await shop.stock(variant) == (3, 0)


async def test_deposit_that_comes_late_takes_what_is_still_there(shop: Shop, servers: Servers) -> None:
    moves = tuple(
        msgspec.structs.replace(m, timer=None, by=("buyer", "staff")) if m.to_state == "cancelled" else m
        for m in TOOLS.transitions
    )
    await use(shop, servers, msgspec.structs.replace(TOOLS, transitions=moves))
    variant = await shop.goods(stock=3)
    placed = await shop.buy(variant, 2, method="decline")
    await shop.run(RELEASE, id=placed.order_id)
    assert await shop.stock(variant) == (3, 0)
    assert (await pay(shop, placed)).state == "confirmed"
    assert await shop.stock(variant) == (3, 2)
    other = await shop.buy(await shop.goods("Gone", stock=3), 2, method="decline")
    await shop.run(RELEASE, id=other.order_id)
    await shop.run(EMPTY, id=other.order_id)
    late = await pay(shop, other)
    assert (late.state, late.payment_state) == ("pending", "success")
    await settled(shop)
    assert (await payments(shop))[-1] == ("late", "refunded", 600, 600)
    assert await shop.balances() == {"clearing": 600, "deposit": -600}


async def test_deposit_is_not_paid_at_the_door_but_the_balance_may_be(shop: Shop, baker: Caller) -> None:
    variant = await shop.goods(price=1000)
    with pytest.raises(DepositFirst):
        await shop.buy(variant, 1, gateway="cash", method="")
    assert await shop.count("orders") == 0
    placed = await shop.buy(variant, 1)  # the cart still holds the first one
    await walk(shop, baker, placed, "preparing", "ready")
    assert (await pay(shop, placed, "cash", "")).state == "paid"
    assert await shop.balances() == {"clearing": 600, "deposit": -600}
    await refund_order(shop.store, baker, placed.order_id, RefundForm(amount_minor=100))
    assert (await payments(shop))[-1] == ("balance", "initiated", 1300, 0)
    await walk(shop, shop.sellers[variant], placed, "delivered")
    assert (await payments(shop))[-1] == ("balance", "success", 1300, 0)
    # The seller took 13.00 at the door, of which commission and tax are the store's.
    assert await shop.balances() == {"clearing": 600, "seller": -162, "fee": -190, "tax": -248}


async def test_balance_nobody_pays_ends_the_order_and_the_deposit_stays(shop: Shop, baker: Caller) -> None:
    variant = await shop.goods(price=1000)
    placed = await shop.buy(variant, 1)
    await walk(shop, baker, placed, "preparing", "ready")
    with stopped_at(now() + timedelta(days=2)):
        await sweep(shop.store)
    assert (await get_order(shop.store, shop.buyer, placed.number)).state == "ready"
    with stopped_at(now() + timedelta(days=4)):
        await sweep(shop.store)
    view = await get_order(shop.store, shop.buyer, placed.number)
    assert (view.state, view.parts[0].state, view.refunded_minor) == ("cancelled", "cancelled", 700)
    assert await payments(shop) == [("deposit", "success", 300, 0)]
    assert await shop.balances() == {"clearing": 300, "seller": -231, "fee": -30, "tax": -39}
    await refund_order(shop.store, baker, placed.order_id, RefundForm(amount_minor=300))
    await settled(shop)
    assert await shop.balances() == {}


async def test_buyer_who_cancels_in_time_gets_the_deposit_back(shop: Shop, baker: Caller) -> None:
    variant = await shop.goods(price=1000, stock=5)
    placed = await shop.buy(variant, 1)
    await walk(shop, shop.buyer, placed, "cancelled")
    await settled(shop)
    assert await payments(shop) == [("deposit", "refunded", 300, 300)]
    assert await shop.balances() == {}
    assert await shop.stock(variant) == (5, 0)
    assert await shop.row("SELECT payment_state FROM orders") == ("refunded",)


async def test_half_of_a_deposit_stays_where_the_process_says_so(shop: Shop, servers: Servers) -> None:
    await use(shop, servers, asking(amount=Decimal("5.01"), keeps=Decimal(50)))
    placed = await shop.buy(await shop.goods(price=1000), 1)
    await walk(shop, await shop.make.person("staff"), placed, "preparing")
    await walk(shop, shop.buyer, placed, "cancelled")
    await settled(shop)
    assert await payments(shop) == [("deposit", "partly_refunded", 501, 250)]
    assert (await shop.balances())["clearing"] == 251
    assert "deposit" not in await shop.balances()


async def test_refund_lowers_the_balance_before_money_goes_back(shop: Shop, baker: Caller) -> None:
    placed = await shop.buy(await shop.goods(price=1000), 1)
    for amount, back in [(200, 0), (500, 0), (100, 100)]:
        await refund_order(shop.store, baker, placed.order_id, RefundForm(amount_minor=amount))
        assert await payments(shop) == [("deposit", "partly_refunded" if back else "success", 300, back)]
    with pytest.raises(RefundTooLarge):
        await refund_order(shop.store, baker, placed.order_id, RefundForm(amount_minor=201))
    await settled(shop)
    assert await shop.balances() == {"clearing": 200, "deposit": -200}
    # Nothing is left to pay, so the order does not wait for it.
    await walk(shop, baker, placed, "preparing", "ready")
    view = await get_order(shop.store, shop.buyer, placed.number)
    assert (view.state, view.parts[0].state, view.payment_state) == ("paid", "paid", "paid")
    assert await shop.balances() == {"clearing": 200, "held": -154, "fee": -20, "tax": -26}


async def test_balance_that_was_asked_for_before_a_refund_pays_only_what_is_left(shop: Shop, baker: Caller) -> None:
    placed = await shop.buy(await shop.goods(price=1000), 1)
    await walk(shop, baker, placed, "preparing", "ready")
    opened = await pay(shop, placed, method="page")
    await refund_order(shop.store, baker, placed.order_id, RefundForm(amount_minor=300))
    assert opened.payment_id is not None
    await sandbox_outcome(shop.store, shop.buyer, opened.payment_id, "approve")
    await settled(shop)
    assert await payments(shop) == [("deposit", "success", 300, 0), ("balance", "partly_refunded", 700, 300)]
    assert await shop.balances() == {"clearing": 700, "held": -539, "fee": -70, "tax": -91}


async def test_same_balance_is_paid_once(shop: Shop, baker: Caller, race: Any) -> None:
    placed = await shop.buy(await shop.goods(price=1000), 1)
    await walk(shop, baker, placed, "preparing", "ready")
    await race(*(pay(shop, placed) for _ in range(4)))
    await sweep(shop.store, ask_after=timedelta(0))
    await settled(shop)
    assert await shop.count("payments", "purpose = 'balance' AND state = 'success'") == 1
    assert (await shop.balances())["clearing"] == 1000
    assert "buyer" not in await shop.balances()


WAYS: dict[str, list[Any]] = {
    "called off with the deposit": ["cancelled"],
    "a line, then all of the deposit": [{"lines": [3]}, "rest"],
    "more than the balance, then the rest": [{"amount": 4000}, {"amount": 77}, "rest"],
    "lines before and after the balance": [{"lines": [2]}, "preparing", "ready", "pay", {"money": (1, 17)}, {"lines": [1]}, "rest"],
    "gestures over both payments": ["preparing", "ready", "pay", {"amount": 1}, {"amount": 7000}, {"amount": 333}, "rest"],
    "called off after the balance": ["preparing", "ready", "pay", "refunded"],
    "kept, then given back all the same": ["preparing", "cancelled", {"amount": 1}, "rest"],
    "kept when the balance is due": ["preparing", "ready", {"lines": [3]}, "cancelled", "rest"],
}  # fmt: skip


@pytest.mark.parametrize("currency", ["USD", "JPY", "TND"])
@pytest.mark.parametrize("way", WAYS)
async def test_every_way_out_of_a_deposit_leaves_nothing_on_any_account(
    store: Store, servers: Servers, currency: str, way: str
) -> None:
    opened = trading_in(store, currency)
    shop = await Shop.open(opened, Factory(opened))
    await use(shop, servers, asking(percent=Decimal("33.3"), keeps=Decimal("66.6")))
    staff, placed = await shop.make.person("staff"), await big_order(shop)
    for step in WAYS[way]:
        match step:
            case "pay":
                await pay(shop, placed)
            case "rest":
                await refund_order(opened, staff, placed.order_id, RefundForm(amount_minor=await left_of(shop)))
            case str():
                await walk(shop, staff, placed, step)
            case {"lines": lines}:
                form = RefundForm(lines=tuple(RefundLine(line_no=n) for n in lines), restock=False)
                await refund_order(opened, staff, placed.order_id, form)
            case {"money": (line_no, amount)}:
                form = RefundForm(lines=(RefundLine(line_no=line_no, amount_minor=amount),))
                await refund_order(opened, staff, placed.order_id, form)
            case {"amount": amount}:
                await refund_order(opened, staff, placed.order_id, RefundForm(amount_minor=amount))
        await settled(shop)
    assert await shop.row("SELECT sum(amount_minor - refunded_minor) FROM payments") == (0,)
    assert await shop.rows("SELECT DISTINCT state FROM payments") == [("refunded",)]
    assert await shop.balances() == {}
    assert await shop.row("SELECT points FROM loyalty_accounts") == (500,)


async def left_of(shop: Shop) -> int:
    """Return what the order's lines and deliveries still come to."""
    (left,) = await shop.row("""
        SELECT total_minor - (SELECT sum(refunded_minor) FROM order_lines) - (SELECT sum(shipping_refunded_minor) FROM fulfilments)
        FROM orders
    """)
    return int(left)


async def test_one_of_two_sellers_calls_off_and_the_other_is_paid(shop: Shop, baker: Caller) -> None:
    first, second = await shop.goods("Axe", price=1000), await shop.goods("Saw", price=3000)
    await shop.put(first, 1)
    placed = await shop.buy(second, 1)
    await walk(shop, baker, placed, "preparing")
    await move_order(shop.store, baker, placed.order_id, "refunded", seller_id=shop.sellers[first].user_id)
    assert await payments(shop) == [("deposit", "success", 1200, 0)]
    await move_order(shop.store, shop.sellers[second], placed.order_id, "ready")
    assert (await get_order(shop.store, shop.buyer, placed.number)).due_minor == 1800
    await pay(shop, placed)
    assert await shop.balances() == {"clearing": 3000, "held": -2309, "fee": -300, "tax": -391}
    await assert_sane(shop)


@pytest.mark.parametrize(
    ("process", "problem"),
    [
        (msgspec.structs.replace(TOOLS, deposit=None), "a move has take_balance, but the process does not say how much the deposit is"),
        (asking(), "the deposit is either so many percent or an amount"),
        (asking(percent=Decimal(101)), "the deposit is not above zero, or above 100 percent"),
        (asking(percent=Decimal(30), keeps=Decimal(-1)), "the deposit is not above zero, or above 100 percent"),
        ("paid", "the balance is never asked for: no move has take_balance"),
        ("confirmed", "the deposit is never asked for: no move has take_deposit"),
        ("staff", "“ready” to “paid” is made by a payment, so by the system alone and without a timer"),
        ("kept", "an order can end “cancelled” with only its deposit paid: it needs take_balance, keep_deposit or refund_payment"),
        ("early", "“preparing” to “delivered” hands over before the balance is paid"),
        ("twice", "“paid” can ask for a balance whose deposit was not paid, or no longer is"),
        ("again", "“confirmed” can ask for the deposit a second time"),
        ("buyer", "money held in “ready” waits for the buyer alone: it needs a timer, or a move by the seller or staff"),
    ],
)  # fmt: skip
def test_checker_finds_deposits_that_lead_nowhere(process: Any, problem: str) -> None:
    found = list(problems(course_of(spoilt(process) if isinstance(process, str) else process)))
    assert problem in found


def spoilt(how: str) -> Process:
    """Return the process with one mistake."""

    def mistaken(move: Any) -> Any:
        drop = {"paid": "take_balance", "confirmed": "take_deposit"}.get(how)
        if move.to_state == how and drop:
            return msgspec.structs.replace(move, effects=tuple(e for e in move.effects if e != drop))
        if how == "staff" and move.to_state == "paid":
            return msgspec.structs.replace(move, by=("system", "staff"))
        if how == "kept" and "keep_deposit" in move.effects:
            return msgspec.structs.replace(move, effects=("notify_buyer",))
        if how == "buyer" and move.from_state == "ready" and move.to_state == "cancelled":
            return msgspec.structs.replace(move, by=("buyer",), timer=None)
        return move

    moves = [mistaken(move) for move in TOOLS.transitions]
    like = {m.to_state: m for m in TOOLS.transitions}
    if how == "early":
        moves.append(msgspec.structs.replace(like["delivered"], from_state="preparing"))
    if how == "twice":
        moves.append(msgspec.structs.replace(like["paid"], from_state="paid", to_state="dispatched"))
    if how == "again":
        moves.append(msgspec.structs.replace(like["confirmed"], from_state="confirmed", to_state="ready"))
    return msgspec.structs.replace(TOOLS, transitions=tuple(moves))

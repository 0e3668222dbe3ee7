"""What gateways say, and how badly they may say it: once, twice, early, late, never, forged, wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import text

from tests.conftest import Servers
from tests.shop import Shop
from tests.test_processes import use
from tradepost.accounts.types import Caller
from tradepost.core.clock import now, stopped_at
from tradepost.core.settings import Settings
from tradepost.flows import checkout as checkout_flow
from tradepost.flows.cart import get_cart
from tradepost.flows.checkout import Placed, checkout, pay_again
from tradepost.flows.gateways import open_gateways
from tradepost.flows.make_move import PaymentArgs
from tradepost.flows.move_order import move_order
from tradepost.flows.preset import PRESETS, load_processes
from tradepost.flows.sandbox import get_sandbox_payment, sandbox_outcome
from tradepost.flows.settle_payment import check_payment, receive_webhook, settle_payment
from tradepost.flows.store import Store
from tradepost.flows.sweep import cancel_payment, sweep
from tradepost.orders.types import NothingToPay
from tradepost.payments.adapters.sandbox import SIGNATURE, SandboxGateway
from tradepost.payments.ports import ChargeRequest, Outcome
from tradepost.payments.types import ForgedWebhook, GatewayDown, GatewayUnknown, NoSuchPayment, PaymentMismatch

Race = Callable[..., Awaitable[list[Any]]]
AT_ONCE = timedelta(0)


def sandbox(shop: Shop) -> SandboxGateway:
    gateway = shop.store.gateways["sandbox"]
    assert isinstance(gateway, SandboxGateway)
    return gateway


async def call(shop: Shop, placed: Placed, state: str = "approved", **changes: Any) -> tuple[dict[str, str], bytes]:
    """Return a call the sandbox might make about a payment, signed as it signs."""
    ref, amount, currency = await shop.row("SELECT ref, amount_minor, currency FROM sandbox_charges")
    body = msgspec.json.encode(
        {"id": f"{ref}:{state}", "payment_id": placed.payment_id, "ref": ref, "state": state, "amount_minor": amount,
         "currency": currency, **changes}
    )  # fmt: skip
    return {SIGNATURE: sandbox(shop).sign(body)}, body


async def facts(shop: Shop) -> dict[str, int]:
    """Return what must never double."""
    return {
        "paid orders": await shop.count("orders", "payment_state = 'paid'"),
        "captures": await shop.count("ledger_journals", "kind = 'capture'"),
        "sales": await shop.count("stock_movements", "reason = 'sale'"),
        "moves": await shop.count("order_events", "kind = 'moved'"),
    }


ONCE = {"paid orders": 1, "captures": 1, "sales": 1, "moves": 1}


async def test_buyer_decides_on_the_sandboxes_page(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods(), 1, method="")
    assert (placed.state, placed.payment_state) == ("pending", "initiated")
    assert placed.redirect_url == f"{shop.store.base_url}/pay/sandbox/{placed.payment_id}"
    payment, number = await get_sandbox_payment(shop.store, shop.buyer, placed.payment_id)
    assert (payment.amount_minor, payment.state, number) == (1000, "initiated", placed.number)
    await sandbox_outcome(shop.store, shop.buyer, placed.payment_id, "approve")
    assert await facts(shop) == ONCE
    with pytest.raises(NoSuchPayment):
        await sandbox_outcome(shop.store, shop.buyer, placed.payment_id, "decline")


async def test_sandbox_does_not_mind_the_method_of_another_gateway(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods(), 1, method="web")
    assert placed.redirect_url == f"{shop.store.base_url}/pay/sandbox/{placed.payment_id}"


async def test_stranger_cannot_decide(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods(), 1, method="")
    stranger = await shop.make.person()
    for who in (stranger, Caller(session=b"other")):
        with pytest.raises(NoSuchPayment):
            await sandbox_outcome(shop.store, who, placed.payment_id, "approve")


@pytest.mark.parametrize("method", ["early", "duplicate"])
async def test_call_before_the_reply_makes_one_order(shop: Shop, method: str) -> None:
    placed = await shop.buy(await shop.goods(), 1, method=method)
    assert (placed.state, placed.payment_state) == ("paid", "success")
    assert await facts(shop) == ONCE


async def test_reply_call_poll_and_sweep_at_once_settle_once(shop: Shop, race: Race) -> None:
    placed = await shop.buy(await shop.goods(), 1, method="lost")
    headers, body = await call(shop, placed)
    outcome = Outcome(state="success", payment_id=placed.payment_id)
    results = await race(
        *(receive_webhook(shop.store, "sandbox", headers, body) for _ in range(4)),
        *(settle_payment(shop.store, "sandbox", outcome) for _ in range(4)),
        *(check_payment(shop.store, placed.payment_id) for _ in range(2)),
        sweep(shop.store, ask_after=AT_ONCE),
    )
    assert [r for r in results if isinstance(r, BaseException)] == []
    assert await facts(shop) == ONCE
    assert await shop.count("gateway_events") == 1


async def test_lost_call_is_made_up_for_by_the_sweeper(shop: Shop) -> None:
    await shop.buy(await shop.goods(), 1, method="lost")
    await sweep(shop.store)
    assert await shop.count("orders", "state = 'pending'") == 1  # too early to ask
    await sweep(shop.store, ask_after=AT_ONCE)
    assert await facts(shop) == ONCE


async def test_gateway_that_took_money_and_did_not_answer_is_asked(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods(), 1, method="down")
    assert placed.payment_state == "initiated"
    await sweep(shop.store, ask_after=AT_ONCE)
    assert await facts(shop) == ONCE


async def test_payment_that_was_never_begun_gives_the_order_up(shop: Shop) -> None:
    variant = await shop.goods(stock=4)
    await shop.buy(variant, 3, method="nothing")
    assert await shop.stock(variant) == (4, 3)
    await sweep(shop.store, ask_after=AT_ONCE)
    assert await shop.stock(variant) == (4, 0)
    assert await shop.row("SELECT state, payment_state FROM orders") == ("failed", "failed")


async def test_delayed_approval_arrives_by_itself(shop: Shop) -> None:
    await shop.buy(await shop.goods(), 1, method="delay")
    await sweep(shop.store, ask_after=AT_ONCE)
    assert await shop.count("orders", "state = 'pending'") == 1
    with stopped_at(now() + timedelta(minutes=2)):
        await sweep(shop.store, ask_after=AT_ONCE)
    assert await facts(shop) == ONCE


async def test_forged_call_changes_nothing(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods(), 1, method="")
    headers, body = await call(shop, placed)
    for forged in ({}, {SIGNATURE: "0" * 64}, {SIGNATURE: headers[SIGNATURE].upper()}, {SIGNATURE: "é"}):
        with pytest.raises(ForgedWebhook):
            await receive_webhook(shop.store, "sandbox", forged, body)
    with pytest.raises(ForgedWebhook):
        await receive_webhook(shop.store, "sandbox", headers, body + b" ")
    with pytest.raises(GatewayUnknown):
        await receive_webhook(shop.store, "cheque", headers, body)
    assert await shop.count("orders", "state = 'pending'") == 1
    assert await shop.count("gateway_events") == 0


@pytest.mark.parametrize("change", [{"amount_minor": 999}, {"amount_minor": 1001}, {"currency": "EUR"}])
async def test_other_amount_or_currency_books_nothing(shop: Shop, change: dict[str, Any]) -> None:
    variant = await shop.goods(stock=4)
    placed = await shop.buy(variant, 1, method="")
    headers, body = await call(shop, placed, **change)
    with pytest.raises(PaymentMismatch) as told:
        await receive_webhook(shop.store, "sandbox", headers, body)
    assert told.value.expected == "10.00 USD"
    assert await shop.balances() == {}
    assert await shop.stock(variant) == (4, 1)
    assert await shop.count("events", "kind = 'PaymentMismatched'") == 1


async def test_call_about_nothing_of_ours_is_kept_and_ignored(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods(), 1, method="")
    headers, body = await call(shop, placed, payment_id=uuid4(), ref="sb_other")
    await receive_webhook(shop.store, "sandbox", headers, body)
    assert await shop.count("orders", "state = 'pending'") == 1


async def test_failure_after_success_is_ignored(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods(), 1)
    headers, body = await call(shop, placed, "declined")
    await receive_webhook(shop.store, "sandbox", headers, body)
    assert await facts(shop) == ONCE


async def test_unpaid_order_expires_and_frees_its_stock(shop: Shop) -> None:
    variant = await shop.goods(stock=4)
    await shop.buy(variant, 3, method="")
    with stopped_at(now() + timedelta(minutes=29)):
        await sweep(shop.store)
    assert await shop.stock(variant) == (4, 3)
    with stopped_at(now() + timedelta(minutes=31)):
        await sweep(shop.store)
    assert await shop.stock(variant) == (4, 0)
    assert await shop.row("SELECT state FROM orders") == ("cancelled",)
    assert await shop.row("SELECT state FROM payments") == ("cancelled",)


async def test_money_that_comes_too_late_goes_back_by_itself(shop: Shop) -> None:
    variant = await shop.goods(stock=4)
    placed = await shop.buy(variant, 3, method="lost")
    with stopped_at(now() + timedelta(minutes=31)):
        await move_on(shop, placed.order_id)
    assert await shop.row("SELECT state FROM orders") == ("cancelled",)
    headers, body = await call(shop, placed)
    await receive_webhook(shop.store, "sandbox", headers, body)
    await sweep(shop.store, ask_after=AT_ONCE)
    assert await shop.row("SELECT purpose, state, refunded_minor FROM payments") == ("late", "refunded", 3000)
    assert await shop.row("SELECT state, amount_minor FROM refunds") == ("success", 3000)
    assert await shop.row("SELECT refunded_minor FROM sandbox_charges") == (3000,)
    assert await shop.balances() == {}
    assert await shop.stock(variant) == (4, 0)
    assert await shop.row("SELECT payment_state FROM orders") == ("pending",)


async def move_on(shop: Shop, order_id: UUID) -> None:
    from tradepost.flows.sweep import move_on as move_on_by_timer

    await move_on_by_timer(shop.store, order_id)


async def test_cancelled_order_stops_its_payment(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods(), 1, method="")
    await move_order(shop.store, shop.buyer, placed.order_id, "cancelled")
    assert await shop.row("SELECT state FROM payments") == ("cancelled",)
    with pytest.raises(NoSuchPayment):
        await get_sandbox_payment(shop.store, shop.buyer, uuid4())
    assert await shop.count("pgqueuer", "entrypoint = 'payments.cancel_payment'") == 2


class Died(Exception):
    """The process ends here."""


async def stop_payments(shop: Shop, *, later: bool = False) -> None:
    """Do the waiting jobs that stop payments: those that are due, or those of `later`."""
    done = f"DELETE FROM pgqueuer WHERE entrypoint = 'payments.cancel_payment' AND (execute_after > now()) = {later} RETURNING payload"
    for (payload,) in await shop.rows(done):
        await cancel_payment(shop.store, msgspec.json.decode(payload, type=PaymentArgs).payment_id)


async def charge_after_giving_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, give_up: Callable[[UUID], Awaitable[None]]
) -> None:
    """Buy; while the gateway is being asked the order or payment is given up, and the process dies before it hears the reply."""
    ask = sandbox(shop).charge

    async def slow(request: ChargeRequest) -> Outcome:
        await give_up(request.order_id)
        await stop_payments(shop)
        await ask(request)
        raise Died

    monkeypatch.setattr(sandbox(shop), "charge", slow)
    with pytest.raises(Died):
        await shop.buy(await shop.goods(stock=4), 3)
    monkeypatch.undo()
    assert await shop.row("SELECT state, refunded_minor FROM sandbox_charges") == ("approved", 0)


async def test_money_that_was_taken_after_the_order_was_given_up_and_never_reported_goes_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def time_out(order_id: UUID) -> None:
        with stopped_at(now() + timedelta(minutes=31)):
            await move_on(shop, order_id)

    await charge_after_giving_up(shop, monkeypatch, time_out)
    await stop_payments(shop, later=True)
    await sweep(shop.store, ask_after=AT_ONCE)
    assert await shop.row("SELECT refunded_minor FROM sandbox_charges") == (3000,)
    assert await shop.row("SELECT state FROM orders") == ("cancelled",)


async def test_payment_that_the_gateway_did_not_know_is_asked_about_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody_reports(_: UUID) -> None:
        await sweep(shop.store, ask_after=AT_ONCE)

    await charge_after_giving_up(shop, monkeypatch, nobody_reports)
    await stop_payments(shop, later=True)
    await sweep(shop.store, ask_after=AT_ONCE)
    kept = "SELECT coalesce(sum(amount_minor - refunded_minor), 0) FROM sandbox_charges"
    paid = "SELECT coalesce(sum(total_minor), 0) FROM orders WHERE payment_state = 'paid'"
    assert await shop.row(kept) == await shop.row(paid)


async def test_a_key_sent_again_charges_nothing_for_an_order_that_was_given_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(_: ChargeRequest) -> Outcome:
        raise Died

    variant = await shop.goods(stock=4)
    monkeypatch.setattr(sandbox(shop), "charge", dies)
    await shop.put(variant, 1)
    with pytest.raises(Died):
        await checkout(shop.store, shop.buyer, shop.form(), "one")
    monkeypatch.undo()
    with stopped_at(now() + timedelta(minutes=31)):
        await sweep(shop.store)
        again = await checkout(shop.store, shop.buyer, shop.form(), "one")
    assert (again.state, again.payment_state) == ("failed", "failed")
    assert await shop.count("sandbox_charges") == 0


async def test_another_payment_may_be_tried_for_a_waiting_order(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods(), 1, method="")
    again = await pay_again(shop.store, shop.buyer, placed.order_id, "sandbox", "approve")
    assert (again.order_id, again.state, again.payment_state) == (placed.order_id, "paid", "success")
    assert await shop.rows("SELECT state FROM payments ORDER BY created_at") == [("cancelled",), ("success",)]
    with pytest.raises(NothingToPay):
        await pay_again(shop.store, shop.buyer, placed.order_id, "sandbox", "approve")
    assert await facts(shop) == {**ONCE, "moves": 1}


async def test_first_payment_that_comes_after_the_second_goes_back(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods(), 1, method="")
    headers, body = await call(shop, placed)
    await pay_again(shop.store, shop.buyer, placed.order_id, "sandbox", "approve")
    await shop.run(text("UPDATE sandbox_charges SET state = 'approved' WHERE state = 'cancelled'"))
    await receive_webhook(shop.store, "sandbox", headers, body)
    assert await shop.rows("SELECT purpose, state FROM payments ORDER BY created_at") == [
        ("late", "refunded"),
        ("full", "success"),
    ]
    assert await shop.row("SELECT state, payment_state FROM orders") == ("paid", "paid")


async def test_dispute_is_noted_once(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods(), 1)
    headers, body = await call(shop, placed, "disputed")
    for _ in range(2):
        await receive_webhook(shop.store, "sandbox", headers, body)
    assert await shop.count("events", "kind = 'PaymentDisputed'") == 1
    assert await shop.count("payments", "disputed_at IS NOT NULL") == 1


async def test_cash_order_goes_ahead_and_is_paid_at_the_door(shop: Shop) -> None:
    variant = await shop.goods(price=1000, stock=4)
    placed = await shop.buy(variant, 2, gateway="cash", method="")
    assert (placed.state, placed.payment_state) == ("paid", "initiated")
    assert await shop.stock(variant) == (2, 0)
    assert await shop.balances() == {}
    seller = shop.sellers[variant]
    await move_order(shop.store, seller, placed.order_id, "shipped")
    await move_order(shop.store, seller, placed.order_id, "delivered")
    assert await shop.row("SELECT state FROM payments") == ("success",)
    assert await shop.row("SELECT payment_state FROM orders") == ("paid",)
    assert await shop.balances() == {
        "seller": 461,
        "fee": -200,
        "tax": -261,
    }  # the seller took the cash, and owes the rest


async def test_order_that_costs_nothing_is_paid_by_itself(shop: Shop) -> None:
    await shop.promo("ALL", percent=100)
    from tradepost.flows.cart import add_promo

    await shop.put(await shop.goods(price=1000), 1)
    await add_promo(shop.store, shop.buyer, "ALL")
    placed = await checkout(shop.store, shop.buyer, shop.form(), "key")
    assert (placed.total_minor, placed.state) == (0, "paid")
    assert await shop.count("sandbox_charges") == 0
    assert await shop.balances() == {"promotion": 1000, "held": -900, "fee": -100}


async def test_declined_card_is_followed_by_another_where_the_process_waits(shop: Shop, servers: Servers) -> None:
    """As in every preset; the process of the tests ends an order with its first decline instead."""
    await use(shop, servers, next(p for p in load_processes(PRESETS / "souk-loop") if p.name == "purchase"))
    variant = await shop.goods(stock=4)
    placed = await shop.buy(variant, 3, method="decline")
    assert (placed.state, placed.payment_state) == ("pending", "failed")
    assert await shop.stock(variant) == (4, 3)
    assert (await get_cart(shop.store, shop.buyer)).is_empty
    again = await pay_again(shop.store, shop.buyer, placed.order_id, "sandbox", "decline")
    assert (again.state, again.payment_state) == ("pending", "failed")
    paid = await pay_again(shop.store, shop.buyer, placed.order_id, "sandbox", "approve")
    assert (paid.state, paid.payment_state) == ("paid", "success")
    assert await facts(shop) == {**ONCE, "moves": 1}
    assert await shop.stock(variant) == (1, 0)


async def test_declined_cart_comes_back_once(shop: Shop) -> None:
    variant = await shop.goods()
    await shop.buy(variant, 2, method="decline")
    await shop.put(variant, 1)
    assert [line.quantity for line in (await get_cart(shop.store, shop.buyer)).lines] == [3]


async def test_the_sandbox_is_for_the_demo_and_for_trying_out(store: Store) -> None:
    """Under `serve` it would let anybody say that they have paid."""
    for settings, is_demo, offered in (
        (Settings(), False, ["cash"]),
        (Settings(test_payments=True), False, ["sandbox", "cash"]),
        (Settings(), True, ["sandbox", "cash"]),
    ):
        made = open_gateways(store.settings, settings, store.db, store.keys, store.base_url, is_demo=is_demo)
        assert list(made) == offered


async def test_another_payment_waits_for_a_gateway_that_does_not_answer(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one might still succeed, and the buyer would pay twice."""
    placed = await shop.buy(await shop.goods(), 1, method="")

    async def silent(_payment_id: UUID, _ref: str | None) -> Outcome:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(checkout_flow, "CHARGE_TIMEOUT_S", 0.01)
    monkeypatch.setattr(shop.store.gateways["sandbox"], "cancel", silent)
    with pytest.raises(GatewayDown):
        await pay_again(shop.store, shop.buyer, placed.order_id, "sandbox")

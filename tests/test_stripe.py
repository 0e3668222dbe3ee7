"""Stripe end to end: the adapter's own rules, and a shop that sells through it, over HTTP and against a server that follows its protocol."""

import re
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from tests.fake_stripe import FakeStripe
from tests.gateways import StripeBench, a_charge, a_refund, stripe_bench
from tests.loopback import serving
from tests.shop import PAID_ONCE, Shop
from tests.visitor import Visitor, text_of
from tradepost.core.clock import now, stopped_at
from tradepost.core.ids import uuid7
from tradepost.core.settings import Settings, StripeSettings
from tradepost.flows.checkout import Placed, pay_again
from tradepost.flows.gateways import open_gateways
from tradepost.flows.move_order import move_order
from tradepost.flows.settle_payment import receive_webhook
from tradepost.flows.store import Store
from tradepost.flows.sweep import cancel_payment, sweep
from tradepost.payments.adapters.stripe.amounts import from_stripe, to_stripe
from tradepost.payments.types import ForgedWebhook, PaymentMismatch

AT_ONCE = timedelta(0)


@pytest_asyncio.fixture
async def stripe() -> AsyncIterator[FakeStripe]:
    server = FakeStripe()
    async with serving(server):
        yield server


@pytest.fixture
def installation(stripe: FakeStripe) -> Settings:
    """A store with Stripe's keys, and without the sandbox."""
    keys = StripeSettings(
        secret_key=stripe.secret_key,
        webhook_secret=stripe.webhook_secret,
        api_base=stripe.base,
        checkout_origin=stripe.base,
    )
    return Settings(stores=("market",), stripe=keys)


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[StripeBench]:
    async with stripe_bench() as bench:
        yield bench


async def buy(shop: Shop, quantity: int = 1) -> Placed:
    return await shop.buy(await shop.goods(stock=5), quantity, gateway="stripe", method="")


async def deliver(shop: Shop, stripe: FakeStripe) -> None:
    """Bring the store every call that Stripe would make, in order."""
    for event in stripe.events:
        await receive_webhook(shop.store, "stripe", *stripe.call(event))


@pytest.mark.parametrize(
    ("minor", "currency", "amount"),
    [
        (1050, "USD", 1050), (1050, "JPY", 1050), (10_005, "TND", 10_010), (10_004, "TND", 10_000), (10_010, "TND", 10_010),
        (5, "UGX", 500), (5, "ISK", 500), (500, "MGA", 5), (1234, "KWD", 1230),
    ],
)  # fmt: skip
def test_amounts_are_written_as_stripe_documents_them(minor: int, currency: str, amount: int) -> None:
    assert to_stripe(minor, currency) == amount
    assert from_stripe(amount, currency, asked=minor) == minor
    assert to_stripe(from_stripe(amount, currency), currency) == amount


async def test_dinars_are_charged_in_tens_and_the_books_keep_the_price(bench: StripeBench) -> None:
    request = a_charge(10_005, "TND")
    await bench.gateway.charge(request)
    bench.server.pay(request.payment_id)
    paid = await bench.gateway.look_up(request.payment_id, None)
    assert (paid.state, paid.amount_minor, paid.currency) == ("success", 10_005, "TND")
    assert await bench.taken() == [(10_010, "TND")]
    listed = [p async for p in bench.gateway.settled(now() - timedelta(hours=1))]
    assert [(p.amount_minor, p.currency) for p in listed] == [(10_005, "TND")]


async def test_parts_of_a_rounded_refund_add_up_to_what_was_charged(bench: StripeBench) -> None:
    request = a_charge(10_005, "TND")
    await bench.gateway.charge(request)
    bench.server.pay(request.payment_id)
    paid = await bench.gateway.look_up(request.payment_id, None)
    for part in (3333, 3334, 3335, 3):
        assert (await bench.gateway.refund(a_refund(request, paid.ref, part))).state == "success"
    assert await bench.given_back() == 10_010


@pytest.mark.parametrize(("minor", "words"), [(49, "as small as this"), (100_000_000, "as large as this")])
async def test_amounts_that_stripe_refuses_fail_with_words_for_the_buyer(
    bench: StripeBench, minor: int, words: str
) -> None:
    refused = await bench.gateway.charge(a_charge(minor))
    assert refused.state == "failed"
    assert words in (refused.error or "")
    assert bench.server.sessions == {}


async def test_a_lost_session_is_found_among_hundreds(bench: StripeBench) -> None:
    wanted = a_charge(777)
    await bench.gateway.charge(wanted)
    for _ in range(230):
        bench.server.open_page(a_charge())
    found = await bench.gateway.look_up(wanted.payment_id, None)
    assert (found.state, found.redirect_url) == ("pending", bench.server.session_of(wanted.payment_id)["url"])


async def test_the_list_of_charges_has_every_page_and_only_this_store(bench: StripeBench) -> None:
    for number in range(205):
        request = a_charge(1000 + number)
        bench.server.open_page(request, store="market" if number % 5 else "omade")
        bench.server.pay(request.payment_id)
    listed = [p async for p in bench.gateway.settled(now() - timedelta(hours=1))]
    assert len(listed) == len({p.payment_id for p in listed}) == 164


async def test_refund_is_found_again_after_stripe_forgot_the_key(bench: StripeBench) -> None:
    request = a_charge()
    await bench.gateway.charge(request)
    bench.server.pay(request.payment_id)
    paid = await bench.gateway.look_up(request.payment_id, None)
    refund = a_refund(request, paid.ref, 400)
    first = await bench.gateway.refund(refund)
    bench.server.forget_keys()
    assert await bench.gateway.refund(refund) == first
    assert await bench.given_back() == 400


async def test_refund_may_take_days(bench: StripeBench) -> None:
    request = a_charge()
    await bench.gateway.charge(request)
    bench.server.pay(request.payment_id)
    paid = await bench.gateway.look_up(request.payment_id, None)
    bench.server.refund_state = "pending"
    refund = a_refund(request, paid.ref, 400)
    assert (await bench.gateway.refund(refund)).state == "pending"
    bench.server.finish_refund(refund.refund_id, "succeeded")
    event = bench.gateway.read_webhook(*bench.server.call(bench.server.events[-1]))
    assert event.refund_id == refund.refund_id
    assert event.refund is not None
    assert event.refund.state == "success"
    assert (await bench.gateway.refund(refund)).state == "success"


async def test_bank_that_pays_later_settles_and_one_that_does_not_fails(bench: StripeBench) -> None:
    good, bad = a_charge(), a_charge()
    for request in (good, bad):
        await bench.gateway.charge(request)
        bench.server.pay_by_bank(request.payment_id)
        waiting = await bench.gateway.look_up(request.payment_id, None)
        assert (waiting.state, waiting.is_settling) == ("pending", True)
    assert (await bench.gateway.cancel(good.payment_id, None)).state == "pending"
    bench.server.bank_pays(good.payment_id)
    bench.server.bank_refuses(bad.payment_id)
    assert (await bench.gateway.look_up(good.payment_id, None)).state == "success"
    assert (await bench.gateway.look_up(bad.payment_id, None)).state == "failed"
    told = [bench.gateway.read_webhook(*bench.server.call(e)).outcome for e in bench.server.events[-2:]]
    assert [o and (o.state, o.payment_id) for o in told] == [("success", good.payment_id), ("failed", bad.payment_id)]


async def test_old_and_foreign_signatures_are_refused(bench: StripeBench) -> None:
    request = a_charge()
    await bench.gateway.charge(request)
    bench.server.pay(request.payment_id)
    event = bench.server.events[-1]
    assert bench.gateway.read_webhook(*bench.server.call(event, at=time.time() - 290)).outcome is not None
    headers, body = bench.server.call(event, at=time.time() - 310)
    with pytest.raises(ForgedWebhook):
        bench.gateway.read_webhook(headers, body)
    bench.server.webhook_secret = "whsec_other"  # of the test
    for other in (bench.server.call(event), ({}, body), ({"stripe-signature": "t=1"}, body)):
        with pytest.raises(ForgedWebhook):
            bench.gateway.read_webhook(*other)


async def test_without_a_webhook_secret_no_call_is_believed(stripe: FakeStripe, store: Store) -> None:
    keys = StripeSettings(secret_key="sk_test_local", api_base=stripe.base)  # of the test
    made = open_gateways(
        store.settings, Settings(stripe=keys), store.db, store.keys, store.base_url, is_demo=False
    )["stripe"]  # fmt: skip
    stripe.webhook_secret = ""
    headers, body = stripe.call({"id": "evt_1", "type": "checkout.session.completed", "data": {"object": {}}})
    with pytest.raises(ForgedWebhook):
        made.read_webhook(headers, body)
    await made.close()


async def test_requests_say_nothing_of_the_machine(bench: StripeBench) -> None:
    await bench.gateway.charge(a_charge())
    headers = bench.server.asked[-1].headers
    assert [name for name in headers if name.startswith("x-stripe")] == []
    assert re.fullmatch(r"Tradepost \(stripe-python [0-9.]+\)", headers["user-agent"])
    assert headers["stripe-version"] == "2026-10-28.endive"


async def test_wrong_key_leaves_the_order_waiting(shop: Shop, stripe: FakeStripe) -> None:
    stripe.secret_key = "sk_test_other"  # of the test
    placed = await buy(shop)
    assert (placed.state, placed.payment_state) == ("pending", "initiated")
    assert stripe.sessions == {}


async def test_buyer_pays_on_stripes_page_and_calls_in_any_order_settle_once(shop: Shop, stripe: FakeStripe) -> None:
    placed = await buy(shop, 2)
    assert placed.redirect_url == stripe.session_of(placed.payment_id)["url"]
    stripe.decline(placed.payment_id)
    stripe.pay(placed.payment_id)
    assert [e["type"] for e in stripe.events] == [
        "payment_intent.payment_failed", "payment_intent.succeeded", "checkout.session.completed",
    ]  # fmt: skip
    stripe.events = [*stripe.events[::-1], *stripe.events]
    await deliver(shop, stripe)
    assert await shop.paid_for() == PAID_ONCE
    ref = next(iter(stripe.intents))
    assert await shop.row("SELECT state, gateway_ref, amount_minor FROM payments") == ("success", ref, 2000)
    assert await shop.count("gateway_events") == 3


async def test_call_may_come_before_the_reply(shop: Shop, stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = shop.store.gateways["stripe"]
    charge = gateway.charge

    async def paid_before_the_reply(request: object) -> object:
        outcome = await charge(request)
        stripe.pay(request.payment_id)  # type: ignore[attr-defined]
        await deliver(shop, stripe)
        return outcome

    monkeypatch.setattr(gateway, "charge", paid_before_the_reply)
    placed = await buy(shop)
    assert (placed.state, placed.payment_state, placed.redirect_url) == ("paid", "success", None)
    assert await shop.paid_for() == PAID_ONCE


async def test_lost_reply_and_lost_calls_are_made_up_for_by_asking(shop: Shop, stripe: FakeStripe) -> None:
    stripe.fail("/v1/checkout/sessions", "lost", times=2)
    placed = await buy(shop)
    assert (placed.payment_state, placed.redirect_url) == ("initiated", None)
    await sweep(shop.store, ask_after=AT_ONCE)
    assert await shop.row("SELECT redirect_url FROM payments") == (stripe.session_of(placed.payment_id)["url"],)
    stripe.pay(placed.payment_id)
    await sweep(shop.store, ask_after=AT_ONCE)
    assert await shop.paid_for() == PAID_ONCE


async def test_payment_that_stripe_never_heard_of_is_given_up(shop: Shop, stripe: FakeStripe) -> None:
    stripe.fail("/v1/checkout/sessions", "broken")
    await buy(shop)
    await sweep(shop.store, ask_after=AT_ONCE)
    assert await shop.row("SELECT state, payment_state FROM orders") == ("failed", "failed")
    assert await shop.row("SELECT on_hand, reserved FROM variants") == (5, 0)


@pytest.mark.parametrize("change", [{"amount_total": 999}, {"currency": "eur"}])
async def test_other_amount_or_currency_books_nothing(
    shop: Shop, stripe: FakeStripe, change: dict[str, object]
) -> None:
    placed = await buy(shop)
    stripe.session_of(placed.payment_id).update(change)
    stripe.pay(placed.payment_id)
    with pytest.raises(PaymentMismatch):
        await receive_webhook(shop.store, "stripe", *stripe.call(stripe.events[-1]))
    assert await shop.balances() == {}
    assert await shop.row("SELECT state FROM orders") == ("pending",)
    assert await shop.count("events", "kind = 'PaymentMismatched'") == 1


async def test_expired_order_closes_its_page_and_money_in_between_goes_back(shop: Shop, stripe: FakeStripe) -> None:
    left, paid = await buy(shop), await buy(shop)
    with stopped_at(now() + timedelta(minutes=31)):
        await shop.run_out(left.order_id, paid.order_id)
    stripe.pay(paid.payment_id)
    for placed in (left, paid):
        assert placed.payment_id is not None
        await cancel_payment(shop.store, placed.payment_id)
    assert stripe.session_of(left.payment_id)["status"] == "expired"
    await sweep(shop.store, ask_after=AT_ONCE)
    assert sum(r["amount"] for r in stripe.refunds.values()) == 1000
    assert await shop.balances() == {}


async def test_cancelled_order_is_refunded_at_stripe(shop: Shop, stripe: FakeStripe) -> None:
    placed = await buy(shop, 2)
    stripe.pay(placed.payment_id)
    await deliver(shop, stripe)
    await move_order(shop.store, shop.buyer, placed.order_id, "cancelled")
    await sweep(shop.store, ask_after=AT_ONCE)
    assert [r["amount"] for r in stripe.refunds.values()] == [2000]
    assert await shop.row("SELECT state FROM refunds") == ("success",)
    await deliver(shop, stripe)  # and Stripe says so too
    assert await shop.balances() == {}


async def test_dispute_is_noted_once(shop: Shop, stripe: FakeStripe) -> None:
    placed = await buy(shop)
    stripe.pay(placed.payment_id)
    await deliver(shop, stripe)
    stripe.dispute(placed.payment_id)
    await deliver(shop, stripe)
    assert await shop.count("payments", "disputed_at IS NOT NULL") == 1
    assert await shop.count("events", "kind = 'PaymentDisputed'") == 1


async def test_calls_about_payments_and_refunds_of_others_are_ignored(shop: Shop, stripe: FakeStripe) -> None:
    placed = await buy(shop)
    stripe.pay(placed.payment_id)
    for event in stripe.events:
        found = event["data"]["object"]
        found["metadata"] = {"payment_id": str(uuid7())}
        found["id"] = found["payment_intent"] = "pi_other"
    stripe.events.append({
        "id": "evt_r", "object": "event", "type": "refund.updated",
        "data": {"object": {"id": "re_1", "amount": 5, "status": "succeeded", "metadata": {"refund_id": str(uuid7())}}},
    })  # fmt: skip
    await deliver(shop, stripe)
    assert await shop.paid_for() == {"paid": 0, "captures": 0, "sales": 0}
    assert await shop.count("gateway_events") == 3


async def test_another_try_closes_the_first_page(shop: Shop, stripe: FakeStripe) -> None:
    placed = await buy(shop)
    again = await pay_again(shop.store, shop.buyer, placed.order_id, "stripe")
    assert stripe.session_of(placed.payment_id)["status"] == "expired"
    assert again.redirect_url == stripe.session_of(again.payment_id)["url"]
    stripe.pay(again.payment_id)
    await deliver(shop, stripe)
    assert await shop.paid_for() == PAID_ONCE


async def post_calls(visitor: Visitor, stripe: FakeStripe) -> list[int]:
    """Have Stripe call the store over HTTP."""
    sent = [stripe.call(event) for event in stripe.events]
    return [
        (await visitor.client.post("/api/webhooks/stripe", content=body, headers=headers)).status_code
        for headers, body in sent
    ]


async def test_a_visitor_without_scripts_buys_and_pays_by_stripe(
    shop: Shop, browse: Visitor, stripe: FakeStripe
) -> None:
    variant = await shop.goods(stock=5)
    placed = await browse.order(str(variant), gateway="stripe")
    assert placed.headers["location"] == next(iter(stripe.sessions.values()))["url"]
    assert stripe.base in placed.headers["content-security-policy"]
    number = (await shop.row("SELECT number FROM orders"))[0]
    waiting = await browse.get(f"/orders/{number}")
    assert "Waiting for your payment" in text_of(waiting.text)
    assert next(iter(stripe.sessions.values()))["url"] in waiting.text
    payment_id = (await shop.row("SELECT id FROM payments"))[0]
    stripe.pay(payment_id)
    assert await post_calls(browse, stripe) == [200, 200]
    assert "Waiting for your payment" not in text_of((await browse.get(f"/orders/{number}?new=1")).text)
    assert await shop.paid_for() == PAID_ONCE
    headers, body = stripe.call(stripe.events[-1])
    forged = await browse.client.post("/api/webhooks/stripe", content=body[:-1], headers=headers)
    assert forged.status_code == 403


async def test_order_page_finds_out_by_itself_that_the_buyer_has_paid(
    shop: Shop, browse: Visitor, stripe: FakeStripe
) -> None:
    await browse.order(str(await shop.goods(stock=5)), gateway="stripe")
    number, payment_id = await shop.row("SELECT number, p.id FROM orders o JOIN payments p ON p.order_id = o.id")
    stripe.pay(payment_id)  # and no call arrives
    with stopped_at(now() + timedelta(seconds=5)):
        page = await browse.get(f"/orders/{number}")
    assert "Waiting for your payment" not in text_of(page.text)
    assert await shop.paid_for() == PAID_ONCE


async def test_checkout_with_a_test_key_says_that_no_money_moves(shop: Shop, browse: Visitor) -> None:
    await browse.post("/cart/add", {"variant_id": str(await shop.goods(stock=5)), "quantity": "1"})
    page = text_of((await browse.get("/checkout")).text)
    assert "This store takes test payments only" in page
    assert "Card or bank (test)" in page

"""Paynow end to end: signatures both ways, whose addresses are asked, and a shop that sells by page and by telephone."""

from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import parse_qsl, quote_plus, urlencode

import msgspec
import pytest
import pytest_asyncio

from tests.fake_paynow import FakePaynow
from tests.gateways import PaynowBench, a_charge, paynow_bench
from tests.loopback import serving
from tests.shop import PAID_ONCE, Shop
from tests.visitor import Visitor, text_of
from tradepost.accounts.types import NotAllowed
from tradepost.core.clock import now, stopped_at
from tradepost.core.ids import uuid7
from tradepost.core.settings import PaynowSettings, Settings
from tradepost.flows.checkout import Placed, pay_again
from tradepost.flows.move_order import move_order
from tradepost.flows.refund_by_hand import confirm_refund
from tradepost.flows.settle_payment import receive_webhook
from tradepost.flows.sweep import cancel_payment, sweep
from tradepost.orders.types import NoSuchOrder
from tradepost.payments.adapters.paynow import PaynowGateway
from tradepost.payments.service import PaymentUnderWay
from tradepost.payments.types import (
    ForgedWebhook,
    GatewayDown,
    GatewayUnknown,
    MethodUnknown,
    PaidBackByItself,
    PaymentMismatch,
    PhoneNeeded,
)

AT_ONCE = timedelta(0)


@pytest_asyncio.fixture
async def paynow() -> AsyncIterator[FakePaynow]:
    server = FakePaynow()
    async with serving(server):
        yield server


@pytest.fixture
def keys(paynow: FakePaynow) -> PaynowSettings:
    return PaynowSettings(integration_id=paynow.integration_id, integration_key=paynow.key, api_base=paynow.base)


@pytest.fixture
def installation(keys: PaynowSettings) -> Settings:
    """A store with Paynow's keys, and without the sandbox."""
    return Settings(stores=("market",), paynow=keys)


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[PaynowBench]:
    async with paynow_bench() as bench:
        yield bench


async def buy(shop: Shop, **fields: str) -> Placed:
    return await shop.buy(await shop.goods(stock=5), 1, **{"gateway": "paynow", "method": "", **fields})


def test_hash_is_the_documented_one() -> None:
    """The example of https://developers.paynow.co.zw/docs/validating_hash.html, with its key."""
    gateway = PaynowGateway(PaynowSettings(integration_key="3e9fed89-60e1-4ce5-ab6e-6b1eb2d4f977"))
    message = (
        "status=Ok&browserurl=https%3a%2f%2fstaging.paynow.co.zw%2fPayment%2fConfirmPayment%2f9510"
        "&pollurl=https%3a%2f%2fstaging.paynow.co.zw%2fInterface%2fCheckPayment%2f%3fguid%3dc7ed41da-0159-46da-b428-69549f770413"
        "&paynowreference=9510&hash=750DD0B0DF374678707BB5AF915AF81C228B9058AD57BB7120569EC68BBB9C2EFC1B26C6375D2BC562AC909B3CD6B2AF"
        "1D42E1A5E479FFAC8F4FB3FDCE71DF4D"
    )
    fields = parse_qsl(message)
    assert gateway.sign(fields) == dict(fields)["hash"]


async def test_request_is_what_paynow_documents(bench: PaynowBench) -> None:
    request = a_charge(1050, method="ecocash", payer="+263 77 123 4567")
    await bench.gateway.charge(request)
    sent = dict(parse_qsl(bench.server.asked[-1].body.decode()))
    assert bench.server.asked[-1].path == "/interface/remotetransaction"
    assert sent.pop("hash") == bench.server.hash(sent)
    assert sent == {
        "id": "1201", "reference": str(request.payment_id), "amount": "10.50", "additionalinfo": "Market MK-1",
        "returnurl": request.return_url, "resulturl": request.webhook_url, "authemail": "ann@example.com", "phone": "0771234567",
        "method": "ecocash", "merchanttrace": request.payment_id.hex, "status": "Message",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("Created", "pending"), ("Sent", "pending"), ("Paid", "success"), ("Awaiting Delivery", "success"), ("Delivered", "success"),
        ("Disputed", "success"), ("Cancelled", "cancelled"), ("Failed", "failed"), ("Refunded", "cancelled"),
    ],
)  # fmt: skip
async def test_every_documented_status_means_something(bench: PaynowBench, status: str, state: str) -> None:
    request = a_charge()
    opened = await bench.gateway.charge(request)
    bench.server.move(request.payment_id, status)
    found = await bench.gateway.look_up(request.payment_id, opened.ref)
    assert (found.state, found.disputed, found.is_settling) == (state, status == "Disputed", status == "Sent")
    event = bench.gateway.read_webhook(*bench.server.call(request.payment_id))
    assert event.outcome is not None
    assert event.outcome.state == state


async def test_status_that_nobody_documented_is_not_believed(bench: PaynowBench) -> None:
    request = a_charge()
    await bench.gateway.charge(request)
    bench.server.move(request.payment_id, "Nearly")
    with pytest.raises(ForgedWebhook):
        bench.gateway.read_webhook(*bench.server.call(request.payment_id))


async def test_calls_with_fields_missing_doubled_or_moved_are_refused(bench: PaynowBench) -> None:
    request = a_charge()
    await bench.gateway.charge(request)
    bench.server.move(request.payment_id, "Paid")
    whole = dict(parse_qsl(bench.server.message(request.payment_id)))
    for name in ("reference", "paynowreference", "amount", "status", "pollurl"):
        partial = {key: value for key, value in whole.items() if key not in {name, "hash"}}
        with pytest.raises(ForgedWebhook):
            bench.gateway.read_webhook({}, urlencode({**partial, "hash": bench.server.hash(partial)}).encode())
    unsigned = {key: value for key, value in whole.items() if key != "hash"}
    lower = {**whole, "hash": whole["hash"].lower()}
    # The hash covers the values run together: 10000 and 10.00 may not be read as 1000 and 010.00.
    moved = {
        **whole,
        "paynowreference": whole["paynowreference"][:-1],
        "amount": whole["paynowreference"][-1] + whole["amount"],
    }
    for fields in (unsigned, lower, moved):
        with pytest.raises(ForgedWebhook):
            bench.gateway.read_webhook({}, urlencode(fields).encode())
    doubled = f"{urlencode(whole)}&Status=Paid"
    with pytest.raises(ForgedWebhook):
        bench.gateway.read_webhook({}, doubled.encode())


async def test_replies_with_a_wrong_hash_are_not_believed(bench: PaynowBench) -> None:
    request = a_charge()
    opened = await bench.gateway.charge(request)
    bench.server.move(request.payment_id, "Paid")
    bench.server.signs_wrongly = True
    for asking in (bench.gateway.look_up(request.payment_id, opened.ref), bench.gateway.charge(a_charge())):
        with pytest.raises(GatewayDown):
            await asking


async def test_addresses_of_other_servers_are_never_asked(bench: PaynowBench) -> None:
    bench.server.poll_origin = "http://127.0.0.1:1"
    request = a_charge()
    with pytest.raises(GatewayDown):
        await bench.gateway.charge(request)
    asked = len(bench.server.asked)
    with pytest.raises(
        GatewayDown
    ):  # the stored address is not Paynow's: it is traced instead, and that answer is odd too
        await bench.gateway.look_up(request.payment_id, "http://127.0.0.1:1/Interface/CheckPayment/?guid=1")
    assert [a.path for a in bench.server.asked[asked:]] == ["/interface/trace"]


async def test_answer_about_another_payment_is_not_believed(bench: PaynowBench) -> None:
    mine, other = a_charge(), a_charge()
    await bench.gateway.charge(mine)
    theirs = await bench.gateway.charge(other)
    with pytest.raises(GatewayDown):
        await bench.gateway.look_up(mine.payment_id, theirs.ref)


async def test_currency_of_another_integration_is_refused(bench: PaynowBench) -> None:
    refused = await bench.gateway.charge(a_charge(1000, "EUR"))
    assert (refused.state, refused.error) == ("failed", "Paynow takes USD here; please choose another way to pay.")
    assert bench.server.asked == []


@pytest.mark.parametrize(
    ("payer", "error"),
    [
        ("0774444444", "Paynow says: Insufficient balance"),
        ("0311234567", "This is not a number of a mobile wallet in Zimbabwe, such as 077 123 4567."),
    ],
)
async def test_wallet_that_cannot_pay_fails_with_a_reason(bench: PaynowBench, payer: str, error: str) -> None:
    refused = await bench.gateway.charge(a_charge(method="ecocash", payer=payer))
    assert (refused.state, refused.error) == ("failed", error)


async def test_merchants_address_is_sent_while_the_integration_is_in_test_mode(
    paynow: FakePaynow, keys: PaynowSettings
) -> None:
    gateway = PaynowGateway(
        PaynowSettings(keys.integration_id, keys.integration_key, auth_email="me@shop.co.zw", api_base=paynow.base)
    )
    assert keys.currency == "USD"
    await gateway.charge(a_charge(currency="USD"))
    assert dict(parse_qsl(paynow.asked[-1].body.decode()))["authemail"] == "me@shop.co.zw"
    await gateway.close()


async def test_call_settles_an_order_once_however_often_it_comes(shop: Shop, paynow: FakePaynow) -> None:
    placed = await buy(shop)
    assert placed.redirect_url == f"{paynow.base}/Payment/ConfirmPayment/10000"
    created = paynow.call(placed.payment_id)
    paynow.move(placed.payment_id, "Paid")
    paid = paynow.call(placed.payment_id)
    for call in (paid, created, paid, paid):
        await receive_webhook(shop.store, "paynow", *call)
    assert await shop.paid_for() == PAID_ONCE
    assert await shop.count("gateway_events") == 2


async def test_lost_reply_and_lost_call_are_made_up_for_by_asking(shop: Shop, paynow: FakePaynow) -> None:
    paynow.fail("/interface/remotetransaction", "lost")
    placed = await buy(shop, method="ecocash", payer="0771234567")
    assert (placed.payment_state, len(paynow.transactions)) == ("initiated", 1)
    paynow.move(placed.payment_id, "Paid")
    await sweep(shop.store, ask_after=AT_ONCE)
    assert await shop.paid_for() == PAID_ONCE


async def test_payment_that_paynow_never_heard_of_is_given_up(shop: Shop, paynow: FakePaynow) -> None:
    paynow.fail("/interface/initiatetransaction", "broken")
    await buy(shop)
    await sweep(shop.store, ask_after=AT_ONCE)
    assert await shop.row("SELECT state, payment_state FROM orders") == ("failed", "failed")


async def test_other_amount_books_nothing(shop: Shop, paynow: FakePaynow) -> None:
    placed = await buy(shop)
    paynow.move(placed.payment_id, "Paid")
    with pytest.raises(PaymentMismatch):
        await receive_webhook(shop.store, "paynow", *paynow.call(placed.payment_id, amount="9.99"))
    assert await shop.balances() == {}
    assert await shop.row("SELECT state FROM orders") == ("pending",)


async def test_page_that_was_left_may_be_left_for_another_but_a_ringing_telephone_not(
    shop: Shop, paynow: FakePaynow
) -> None:
    placed = await buy(shop)
    again = await pay_again(shop.store, shop.buyer, placed.order_id, "paynow", "ecocash", "0771234567")
    assert (again.payment_state, again.redirect_url) == ("initiated", None)
    assert again.instructions == "Dial *151*2*4# and enter your EcoCash PIN."
    with pytest.raises(PaymentUnderWay):
        await pay_again(shop.store, shop.buyer, placed.order_id, "cash")
    paynow.move(again.payment_id, "Paid")
    await receive_webhook(shop.store, "paynow", *paynow.call(again.payment_id))
    assert await shop.paid_for() == PAID_ONCE
    paynow.move(placed.payment_id, "Paid")  # and then on the page all the same
    await receive_webhook(shop.store, "paynow", *paynow.call(placed.payment_id))
    assert await shop.rows("SELECT purpose FROM payments ORDER BY created_at") == [("late",), ("full",)]
    assert await shop.row("SELECT amount_minor, state FROM refunds") == (1000, "requested")


async def test_expired_order_whose_money_comes_leaves_a_refund_for_staff(shop: Shop, paynow: FakePaynow) -> None:
    placed = await buy(shop)
    with stopped_at(now() + timedelta(minutes=31)):
        await shop.run_out(placed.order_id)
    assert placed.payment_id is not None
    await cancel_payment(shop.store, placed.payment_id)
    await shop.sell_out()
    paynow.move(placed.payment_id, "Paid")
    await receive_webhook(shop.store, "paynow", *paynow.call(placed.payment_id))
    await sweep(shop.store, ask_after=AT_ONCE)
    assert await shop.row("SELECT purpose, state FROM payments") == ("late", "refunded")
    assert await shop.row("SELECT state FROM refunds") == ("requested",)


async def test_way_to_pay_is_checked_before_anything_is_ordered(shop: Shop, paynow: FakePaynow) -> None:
    for error, fields in (
        (MethodUnknown, {"method": "visa"}),
        (PhoneNeeded, {"method": "ecocash"}),
        (PhoneNeeded, {"method": "onemoney", "payer": "my phone"}),
        (GatewayUnknown, {"gateway": "stripe"}),
    ):
        with pytest.raises(error):
            await buy(shop, **fields)
    assert await shop.count("orders") == 0
    assert paynow.asked == []


async def test_method_of_one_gateway_is_not_another_ones(shop: Shop, paynow: FakePaynow) -> None:
    """A page has one field for the method, whichever gateway is chosen."""
    placed = await buy(shop, gateway="cash", method="ecocash", payer="077 123 4567")
    assert placed.state == "paid"
    assert await shop.row("SELECT gateway, method FROM payments") == ("cash", "")
    assert paynow.asked == []


async def test_visitor_buys_by_telephone_and_the_page_looks_again_by_itself(
    shop: Shop, browse: Visitor, paynow: FakePaynow
) -> None:
    variant = str(await shop.goods(stock=5))
    refused = await browse.order(variant, gateway="paynow", method="ecocash", payer="")
    assert refused.status_code == 422
    assert "Please give the number of the telephone that pays." in text_of(refused.text)
    placed = await browse.order(variant, gateway="paynow", method="ecocash", payer="077 123 4567")
    page = await browse.get(placed.headers["location"])
    assert "Please confirm your payment" in text_of(page.text)
    assert "Dial *151*2*4# and enter your EcoCash PIN." in text_of(page.text)
    assert '<meta http-equiv="refresh" content="3">' in page.text
    staying = await browse.get(f"{placed.headers['location'].partition('?')[0]}?other=1")
    assert "http-equiv" not in staying.text
    assert 'name="gateway" value="cash"' in staying.text
    payment_id = (await shop.row("SELECT id FROM payments"))[0]
    paynow.move(payment_id, "Paid")
    headers, body = paynow.call(payment_id)
    said = await browse.client.post("/api/webhooks/paynow", content=body, headers=headers)
    assert said.status_code == 200
    page = await browse.get(placed.headers["location"])
    assert "Please confirm" not in text_of(page.text)
    assert "http-equiv" not in page.text
    assert await shop.paid_for() == PAID_ONCE


async def test_forged_and_odd_forms_are_refused_over_http(shop: Shop, browse: Visitor, paynow: FakePaynow) -> None:
    placed = await buy(shop)
    paynow.move(placed.payment_id, "Paid")
    headers, body = paynow.call(placed.payment_id)
    paynow.key = "another-key"
    forged = paynow.call(placed.payment_id)[1]
    paid = quote_plus("Paid").encode()
    for odd in (forged, body.replace(paid, b"Delivered"), body[:-1], b"", b"hash=", b"%ff=%fe", b"a=1&" * 100):
        answer = await browse.client.post("/api/webhooks/paynow", content=odd, headers=headers)
        assert answer.status_code == 403, odd
    unknown = await browse.client.post("/api/webhooks/stripe", content=body, headers=headers)
    assert unknown.status_code == 422
    assert await shop.row("SELECT state FROM orders") == ("pending",)


async def test_call_about_another_shops_payment_is_ignored(shop: Shop, paynow: FakePaynow) -> None:
    placed = await buy(shop)
    paynow.move(placed.payment_id, "Paid")
    poll = f"{paynow.base}/Interface/CheckPayment/?guid={uuid7()}"
    await receive_webhook(shop.store, "paynow", *paynow.call(placed.payment_id, reference=str(uuid7()), pollurl=poll))
    assert await shop.row("SELECT state FROM orders") == ("pending",)


async def test_refund_waits_until_staff_have_paid_it_back(shop: Shop, browse: Visitor, paynow: FakePaynow) -> None:
    placed = await buy(shop)
    paynow.move(placed.payment_id, "Paid")
    await receive_webhook(shop.store, "paynow", *paynow.call(placed.payment_id))
    await move_order(shop.store, shop.buyer, placed.order_id, "cancelled")
    await sweep(shop.store, ask_after=AT_ONCE)
    refund_id, state = await shop.row("SELECT id, state FROM refunds")
    assert state == "requested"
    staff = await shop.make.person("staff")
    for stranger in (shop.buyer, shop.sellers[next(iter(shop.sellers))]):
        with pytest.raises(NotAllowed):
            await confirm_refund(shop.store, stranger, placed.order_id, refund_id)
    with pytest.raises(NoSuchOrder):
        await confirm_refund(shop.store, staff, uuid7(), refund_id)
    assert [await confirm_refund(shop.store, staff, placed.order_id, refund_id) for _ in range(2)] == ["success"] * 2
    assert await shop.balances() == {}
    assert await shop.count("events", "kind = 'RefundMade'") == 1


async def test_refund_of_a_gateway_that_makes_it_is_not_confirmed_by_hand(
    shop: Shop, paynow: FakePaynow, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = await buy(shop)
    paynow.move(placed.payment_id, "Paid")
    await receive_webhook(shop.store, "paynow", *paynow.call(placed.payment_id))
    await move_order(shop.store, shop.buyer, placed.order_id, "cancelled")
    refund_id = (await shop.row("SELECT id FROM refunds"))[0]
    about = msgspec.structs.replace(shop.store.gateways["paynow"].about, refunds_by_hand=False)
    monkeypatch.setattr(PaynowGateway, "about", about)
    with pytest.raises(PaidBackByItself):
        await confirm_refund(shop.store, await shop.make.person("staff"), placed.order_id, refund_id)
    assert await shop.row("SELECT state FROM refunds") == ("requested",)

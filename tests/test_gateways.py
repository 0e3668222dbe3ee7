"""The contract of payment gateways, over all of them; the real ones talk to local servers that follow their documented protocols."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from tests.gateways import (
    CashBench,
    PaynowBench,
    SandboxBench,
    StripeBench,
    a_charge,
    a_refund,
    paynow_bench,
    stripe_bench,
)
from tradepost.core.clock import now
from tradepost.core.ids import uuid7
from tradepost.payments.ports import Gateway, OnboardingRequest, PayoutGateway, PayoutRequest, ReversalRequest
from tradepost.payments.types import ForgedWebhook, GatewayDown, NoSuchAccount, OnboardingRefused

Any_ = SandboxBench | StripeBench | PaynowBench
ONLINE, REFUNDING, ALL = ["sandbox", "stripe", "paynow"], ["sandbox", "stripe"], ["sandbox", "stripe", "paynow", "cash"]


@pytest_asyncio.fixture
async def stripe() -> AsyncIterator[StripeBench]:
    async with stripe_bench() as bench:
        yield bench


@pytest_asyncio.fixture
async def paynow() -> AsyncIterator[PaynowBench]:
    async with paynow_bench() as bench:
        yield bench


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Any:
    """Return the bench of the gateway that a test is run for."""
    match request.param:
        case "sandbox":
            return SandboxBench(request.getfixturevalue("db"))
        case "cash":
            return CashBench()
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("bench", ALL, indirect=True)
async def test_gateway_is_what_the_port_says(bench: Any) -> None:
    gateway: Gateway = bench.gateway
    assert gateway.about.code in ALL
    pending = await gateway.charge(a_charge())
    assert (pending.state, pending.amount_minor) == ("pending", None)
    assert pending.ref is not None


@pytest.mark.parametrize("bench", ONLINE, indirect=True)
async def test_payment_is_taken_once_however_often_it_is_asked_for(bench: Any_) -> None:
    request = a_charge(2500)
    first = await bench.gateway.charge(request)
    again = await bench.gateway.charge(request)
    assert (again.state, again.ref) == ("pending", first.ref)
    await bench.pay(request.payment_id)
    late = await bench.gateway.charge(request)
    assert (late.state, late.amount_minor, late.currency) == ("success", 2500, "USD")
    assert await bench.taken() == [(2500, "USD")]


@pytest.mark.parametrize("bench", ONLINE, indirect=True)
async def test_payment_is_looked_up_by_its_reference(bench: Any_) -> None:
    request = a_charge(2500)
    opened = await bench.gateway.charge(request)
    assert (await bench.gateway.look_up(request.payment_id, opened.ref)).state == "pending"
    await bench.pay(request.payment_id)
    paid = await bench.gateway.look_up(request.payment_id, opened.ref)
    assert (paid.state, paid.payment_id, paid.amount_minor, paid.currency) == (
        "success",
        request.payment_id,
        2500,
        "USD",
    )
    assert await bench.gateway.look_up(request.payment_id, paid.ref) == paid


@pytest.mark.parametrize("bench", ONLINE, indirect=True)
async def test_payment_whose_reply_was_lost_is_found_by_its_id_alone(bench: Any_) -> None:
    others = [a_charge() for _ in range(3)]
    for other in others:
        await bench.gateway.charge(other)
    request = a_charge(4200, method="down" if isinstance(bench, SandboxBench) else "")
    await bench.lose_reply()
    with pytest.raises(GatewayDown):
        await bench.gateway.charge(request)
    found = await bench.gateway.look_up(request.payment_id, None)
    assert found.state in {"pending", "success"}
    if found.state == "pending":
        await bench.pay(request.payment_id)
    paid = await bench.gateway.look_up(request.payment_id, None)
    assert (paid.state, paid.amount_minor) == ("success", 4200)
    assert await bench.taken() == [(4200, "USD")]


@pytest.mark.parametrize("bench", ONLINE, indirect=True)
async def test_payment_that_was_never_asked_for_is_unknown(bench: Any_) -> None:
    await bench.gateway.charge(a_charge())
    assert (await bench.gateway.look_up(uuid7(), None)).state == "unknown"
    assert (await bench.gateway.cancel(uuid7(), None)).state == "cancelled"


@pytest.mark.parametrize("bench", ALL, indirect=True)
async def test_open_payment_is_cancelled(bench: Any) -> None:
    request = a_charge()
    opened = await bench.gateway.charge(request)
    assert (await bench.gateway.cancel(request.payment_id, opened.ref)).state == "cancelled"


@pytest.mark.parametrize("bench", ONLINE, indirect=True)
async def test_paid_payment_is_too_late_to_cancel(bench: Any_) -> None:
    request = a_charge()
    opened = await bench.gateway.charge(request)
    await bench.pay(request.payment_id)
    for ref in (opened.ref, None):
        late = await bench.gateway.cancel(request.payment_id, ref)
        assert (late.state, late.amount_minor) == ("success", 1000)


@pytest.mark.parametrize("bench", REFUNDING, indirect=True)
async def test_refunds_go_back_once_each_and_never_more_than_was_taken(bench: SandboxBench | StripeBench) -> None:
    request = a_charge(1000)
    opened = await bench.gateway.charge(request)
    await bench.pay(request.payment_id)
    paid = await bench.gateway.look_up(request.payment_id, opened.ref)
    part = a_refund(request, paid.ref, 300)
    results = [await bench.gateway.refund(part) for _ in range(3)]
    assert {(r.state, r.ref) for r in results} == {("success", results[0].ref)}
    assert await bench.given_back() == 300
    too_much = await bench.gateway.refund(a_refund(request, paid.ref, 701))
    assert too_much.state == "failed"
    assert too_much.error
    rest = await bench.gateway.refund(a_refund(request, paid.ref, 700))
    assert rest.state == "success"
    assert await bench.given_back() == 1000


@pytest.mark.parametrize("bench", REFUNDING, indirect=True)
async def test_payment_that_was_not_taken_cannot_go_back(bench: SandboxBench | StripeBench) -> None:
    request = a_charge()
    opened = await bench.gateway.charge(request)
    assert (await bench.gateway.refund(a_refund(request, opened.ref, 100))).state == "failed"
    assert await bench.given_back() == 0


@pytest.mark.parametrize("bench", ["paynow", "cash"], indirect=True)
async def test_gateway_without_refunds_has_staff_give_back(bench: Any) -> None:
    request = a_charge()
    opened = await bench.gateway.charge(request)
    assert (await bench.gateway.refund(a_refund(request, opened.ref, 100))).state == "manual"


@pytest.mark.parametrize("bench", ONLINE, indirect=True)
async def test_genuine_call_says_what_was_paid_and_repeats_itself_with_one_id(bench: Any_) -> None:
    request = a_charge(2500)
    await bench.gateway.charge(request)
    await bench.pay(request.payment_id)
    headers, body = await bench.call(request.payment_id)
    event = bench.gateway.read_webhook(headers, body)
    assert event.outcome is not None
    assert (event.outcome.state, event.outcome.payment_id) == ("success", request.payment_id)
    assert (event.outcome.amount_minor, event.outcome.currency) == (2500, "USD")
    assert bench.gateway.read_webhook(headers, body) == event


@pytest.mark.parametrize("bench", ONLINE, indirect=True)
async def test_forged_and_damaged_calls_are_refused(bench: Any_) -> None:
    request = a_charge()
    await bench.gateway.charge(request)
    await bench.pay(request.payment_id)
    headers, body = await bench.call(request.payment_id)
    damaged = [
        body[:-1],
        body[: len(body) // 2],
        body + b"0",
        body.replace(b"1000", b"1").replace(b"10.00", b"0.01"),
        b"",
        b"\xff",
        b"[]",
    ]
    for other in damaged:
        assert other != body
        with pytest.raises(ForgedWebhook):
            bench.gateway.read_webhook(headers, other)


@pytest.mark.parametrize("bench", ["cash"], indirect=True)
async def test_cash_believes_no_call(bench: CashBench) -> None:
    with pytest.raises(ForgedWebhook):
        bench.gateway.read_webhook({}, b"{}")


@pytest.mark.parametrize("bench", REFUNDING, indirect=True)
async def test_list_of_what_was_taken_has_every_payment(bench: SandboxBench | StripeBench) -> None:
    requests = [a_charge(1000 + n) for n in range(3)]
    for request in requests:
        await bench.gateway.charge(request)
    for request in requests[:2]:
        await bench.pay(request.payment_id)
    paid = await bench.gateway.look_up(requests[0].payment_id, None)
    await bench.gateway.refund(a_refund(requests[0], paid.ref, 400))
    listed = {p.payment_id: p async for p in bench.gateway.settled(now() - timedelta(days=1))}
    assert {k: (p.amount_minor, p.refunded_minor, p.currency) for k, p in listed.items()} == {
        requests[0].payment_id: (1000, 400, "USD"),
        requests[1].payment_id: (1001, 0, "USD"),
    }
    assert listed[requests[0].payment_id].ref == paid.ref
    assert [p async for p in bench.gateway.settled(now() + timedelta(days=1))] == []


@pytest.mark.parametrize("bench", ALL, indirect=True)
async def test_gateway_says_whether_it_keeps_a_list(bench: Any) -> None:
    if not bench.gateway.about.keeps_list:
        assert [p async for p in bench.gateway.settled(now() - timedelta(days=1))] == []
    assert bench.gateway.about.keeps_list == (bench.gateway.about.code in REFUNDING)


@pytest.mark.parametrize("bench", ["stripe", "paynow"], indirect=True)
async def test_provider_that_does_not_answer_is_down(bench: StripeBench | PaynowBench) -> None:
    path = "/v1/checkout/sessions" if isinstance(bench, StripeBench) else "/interface/trace"
    bench.server.fail(path, "broken")
    with pytest.raises(GatewayDown):
        await bench.gateway.charge(a_charge())
    assert await bench.taken() == []


async def open_account(gateway: PayoutGateway, bench: SandboxBench | StripeBench) -> str:
    seller = OnboardingRequest(
        seller_id=uuid7(), email="ben@example.com", country="US", account=None, return_url="http://market.localhost/back",
        again_url="http://market.localhost/again",
    )  # fmt: skip
    begun = await gateway.begin_onboarding(seller)
    assert begun.url.startswith("http")
    assert (await gateway.begin_onboarding(seller)).account == begun.account
    if isinstance(bench, StripeBench):
        waiting = await gateway.look_up_account(begun.account)
        assert (waiting.can_be_paid, waiting.missing) == (False, ("external_account", "individual.dob.day"))
        bench.server.verify(begun.account)
    assert (await gateway.look_up_account(begun.account)).can_be_paid
    return begun.account


@pytest.mark.parametrize("bench", REFUNDING, indirect=True)
async def test_sellers_are_paid_out_and_payouts_reversed_once_each(bench: SandboxBench | StripeBench) -> None:
    gateway = bench.gateway
    assert isinstance(gateway, PayoutGateway)
    account = await open_account(gateway, bench)
    request = a_charge(5000)
    await gateway.charge(request)
    await bench.pay(request.payment_id)
    payout = PayoutRequest(
        payout_id=uuid7(), account=account, amount_minor=3000, currency="USD", description="November"
    )
    paid = [await gateway.pay_out(payout) for _ in range(3)]
    assert {(p.state, p.ref) for p in paid} == {("success", paid[0].ref)}
    assert paid[0].ref is not None
    back = ReversalRequest(
        reversal_id=uuid7(), payout_ref=paid[0].ref, amount_minor=2000, currency="USD", reason="Refunded"
    )
    reversed_ = [await gateway.reverse_payout(back) for _ in range(3)]
    assert {(r.state, r.ref) for r in reversed_} == {("success", reversed_[0].ref)}
    over = ReversalRequest(
        reversal_id=uuid7(), payout_ref=paid[0].ref, amount_minor=1001, currency="USD", reason="Refunded"
    )
    assert (await gateway.reverse_payout(over)).state == "failed"
    if isinstance(bench, StripeBench):
        assert bench.server.balance == {"usd": 4000}


@pytest.mark.parametrize("bench", REFUNDING, indirect=True)
async def test_unknown_account_is_not_paid(bench: SandboxBench | StripeBench) -> None:
    gateway = bench.gateway
    with pytest.raises(NoSuchAccount):
        await gateway.look_up_account("acct_nobody")
    payout = PayoutRequest(payout_id=uuid7(), account="acct_nobody", amount_minor=1, currency="USD", description="")
    assert (await gateway.pay_out(payout)).state == "failed"


async def test_onboarding_that_stripe_refuses_says_why(stripe: StripeBench) -> None:
    request = OnboardingRequest(
        seller_id=uuid7(),
        email="ben@example.com",
        country="ZZ",
        account=None,
        return_url="http://x",
        again_url="http://x",
    )
    with pytest.raises(OnboardingRefused, match="Country 'ZZ' is unknown"):
        await stripe.gateway.begin_onboarding(request)

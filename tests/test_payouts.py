"""Paying sellers out: what is due, who sends it, what comes back, and whose eyes may see it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from tests.shop import Shop
from tradepost.accounts.types import Caller, NotAllowed
from tradepost.core.clock import now, stopped_at
from tradepost.flows.move_order import move_order
from tradepost.flows.pay_out import (
    begin_onboarding,
    decide_payout,
    fetch_back,
    get_own_payouts,
    get_payout_office,
    is_due,
    look_after_payouts,
    pay_seller,
    refresh_account,
    run_payouts,
    send_payout,
    send_reversal,
    settle_payout,
)
from tradepost.flows.refund_order import RefundForm, refund_order
from tradepost.flows.statements import get_statement
from tradepost.flows.store import Store
from tradepost.flows.today import get_today
from tradepost.payments.ports import PayoutOutcome
from tradepost.payments.types import (
    NoSuchPayout,
    NothingToFetchBack,
    NothingToPayOut,
    PayoutSettled,
)

Race = Callable[..., Awaitable[list[Any]]]


async def sell(shop: Shop, price: int = 5000, seller: Caller | None = None) -> tuple[Caller, Any]:
    """Have something sold and received; tax and commission leave the seller 77 of 100."""
    variant = await shop.goods(f"Thing {price}", seller, price=price)
    placed = await shop.buy(variant, 1)
    seller = shop.sellers[variant]
    for state in ("shipped", "delivered"):
        await move_order(shop.store, seller, placed.order_id, state)
    return seller, placed


async def rows(shop: Shop) -> list[tuple[Any, ...]]:
    return await shop.rows("SELECT state, amount_minor, gateway FROM payouts ORDER BY id")


async def available(shop: Shop, seller: Caller) -> int:
    return sum(b.available_minor for b in (await get_statement(shop.store, seller)).balances)


async def balanced(shop: Shop) -> None:
    assert await shop.row("SELECT coalesce(sum(amount_minor), 0) FROM ledger_entries") == (0,)
    assert await shop.rows("SELECT journal_id FROM ledger_entries GROUP BY 1 HAVING sum(amount_minor) <> 0") == []


async def test_run_pays_who_has_enough_and_staff_say_that_it_was_sent(shop: Shop) -> None:
    admin, staff = await shop.make.person("admin"), await shop.make.person("staff")
    rich, _ = await sell(shop)
    poor, _ = await sell(shop, 1000)
    await shop.buy(await shop.goods("Not received", rich, price=9000))
    with pytest.raises(NotAllowed):
        await run_payouts(shop.store, staff)
    assert (await get_today(shop.store, staff)).waiting.payouts == 1  # the other has not enough yet
    run = await run_payouts(shop.store, admin)
    assert (run.payouts, run.sums) == (1, {"USD": 3848})
    assert (await get_today(shop.store, staff)).waiting.payouts == 1  # asked for, and not made yet
    assert await rows(shop) == [("requested", 3848, "manual")]
    assert (await available(shop, rich), await available(shop, poor)) == (0, 770)
    assert (await shop.balances())["payout"] == -3848
    assert (await run_payouts(shop.store, admin)).payouts == 0
    (payout,) = (await get_payout_office(shop.store, staff)).payouts.items
    with pytest.raises(NotAllowed):
        await decide_payout(shop.store, staff, payout.id, paid=True)
    await decide_payout(shop.store, admin, payout.id, paid=True, reference="Bank 17")
    assert await shop.row("SELECT state, gateway_ref FROM payouts") == ("paid", "Bank 17")
    assert "payout" not in await shop.balances()
    assert await shop.count("events", "kind = 'PayoutMade'") == 1
    assert (await get_today(shop.store, staff)).waiting.payouts == 0
    with pytest.raises(PayoutSettled):
        await decide_payout(shop.store, admin, payout.id, paid=True)
    await balanced(shop)


async def test_payout_that_fails_or_comes_back_is_the_sellers_again(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    seller, _ = await sell(shop)
    for paid_first in (False, True):
        assert await pay_seller(shop.store, admin, seller.user_id, "USD") == 3848  # type: ignore[arg-type]
        payout = (await get_payout_office(shop.store, admin)).payouts.items[0]
        if paid_first:
            await decide_payout(shop.store, admin, payout.id, paid=True)
        await decide_payout(shop.store, admin, payout.id, paid=False, error="No such bank account")
        assert await available(shop, seller) == 3848
    assert [state for state, *_ in await rows(shop)] == ["failed", "failed"]
    assert await shop.count("ledger_journals", "kind IN ('payout_failed', 'payout_returned')") == 2
    assert await shop.count("events", "kind = 'PayoutFailed'") == 2
    with pytest.raises(PayoutSettled):
        await decide_payout(shop.store, admin, payout.id, paid=False)
    with pytest.raises(NoSuchPayout):
        await decide_payout(shop.store, admin, seller.user_id, paid=False)  # type: ignore[arg-type]
    await balanced(shop)


async def onboarded(shop: Shop, seller: Caller) -> None:
    await begin_onboarding(shop.store, seller, "sandbox")
    await refresh_account(shop.store, seller, "sandbox")


async def test_gateway_pays_into_the_sellers_account_once(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    seller, _ = await sell(shop)
    url = await begin_onboarding(shop.store, seller, "sandbox")
    assert url.endswith("/me/money/accounts/sandbox")
    assert not (await get_own_payouts(shop.store, seller)).accounts[0].can_be_paid
    assert (await refresh_account(shop.store, seller, "sandbox")).can_be_paid
    await run_payouts(shop.store, admin)
    (payout,) = (await get_own_payouts(shop.store, seller)).payouts
    assert (payout.state, payout.gateway) == ("requested", "sandbox")
    with pytest.raises(PayoutSettled):
        await decide_payout(shop.store, admin, payout.id, paid=True)
    assert [await send_payout(shop.store, payout.id) for _ in range(2)] == ["paid", "paid"]
    assert await shop.rows("SELECT amount_minor FROM sandbox_payouts") == [(3848,)]
    assert (await shop.row("SELECT count(*) FROM ledger_journals WHERE kind = 'payout_paid'")) == (1,)
    assert await settle_payout(shop.store, payout.id, PayoutOutcome(state="failed")) == "paid"
    await balanced(shop)


async def test_gateway_that_takes_its_time_is_asked_again(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    seller, _ = await sell(shop)
    await onboarded(shop, seller)
    await run_payouts(shop.store, admin)
    (payout,) = (await get_own_payouts(shop.store, seller)).payouts
    assert await settle_payout(shop.store, payout.id, PayoutOutcome(state="pending", ref="p1")) == "sent"
    assert (await shop.balances())["payout"] == -3848
    with stopped_at(now() + timedelta(hours=1)):
        await look_after_payouts(shop.store)
    assert (await rows(shop))[0][0] == "paid"
    await balanced(shop)


async def test_gateway_that_refuses_leaves_the_money_with_the_store(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    seller, _ = await sell(shop)
    await onboarded(shop, seller)
    await run_payouts(shop.store, admin)
    (payout,) = (await get_own_payouts(shop.store, seller)).payouts
    assert await settle_payout(shop.store, payout.id, PayoutOutcome(state="failed", error="Closed")) == "failed"
    assert (await available(shop, seller), (await get_own_payouts(shop.store, seller)).payouts[0].error) == (
        3848,
        "Closed",
    )
    await balanced(shop)


async def test_refund_after_the_payout_is_carried_over_into_the_next_sale(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    seller, placed = await sell(shop)
    await pay_seller(shop.store, admin, seller.user_id, "USD")  # type: ignore[arg-type]
    payout = (await get_payout_office(shop.store, admin)).payouts.items[0]
    await decide_payout(shop.store, admin, payout.id, paid=True)
    await refund_order(shop.store, admin, placed.order_id, RefundForm(amount_minor=5000))
    assert await available(shop, seller) == -3848
    with pytest.raises(NothingToPayOut):
        await pay_seller(shop.store, admin, seller.user_id, "USD")  # type: ignore[arg-type]
    with pytest.raises(NothingToFetchBack):  # people paid it, no gateway can fetch it
        await fetch_back(shop.store, admin, seller.user_id, "USD")  # type: ignore[arg-type]
    await sell(shop, 6000, seller)
    assert await available(shop, seller) == 4617 - 3848
    assert (await run_payouts(shop.store, admin)).payouts == 0
    await balanced(shop)


async def test_gateway_fetches_back_what_refunds_took(shop: Shop, race: Race) -> None:
    admin = await shop.make.person("admin")
    seller, placed = await sell(shop)
    await onboarded(shop, seller)
    await run_payouts(shop.store, admin)
    await send_payout(shop.store, (await get_own_payouts(shop.store, seller)).payouts[0].id)
    await refund_order(shop.store, admin, placed.order_id, RefundForm(amount_minor=2500))
    assert await available(shop, seller) == -1924
    done = await race(*(fetch_back(shop.store, admin, seller.user_id, "USD") for _ in range(3)))  # type: ignore[arg-type]
    assert sorted(str(d) if isinstance(d, int) else type(d).__name__ for d in done) == [
        "1924",
        "NothingToFetchBack",
        "NothingToFetchBack",
    ]
    ((reversal_id,),) = await shop.rows("SELECT id FROM payout_reversals")
    assert [await send_reversal(shop.store, reversal_id) for _ in range(2)] == ["success", "success"]
    assert await available(shop, seller) == 0
    assert await shop.rows("SELECT reversed_minor FROM sandbox_payouts") == [(1924,)]
    assert (await get_own_payouts(shop.store, seller)).payouts[0].reversed_minor == 1924
    await balanced(shop)


async def test_two_runs_at_once_pay_everybody_once(shop: Shop, race: Race) -> None:
    admin = await shop.make.person("admin")
    for price in (5000, 6000, 7000):
        await sell(shop, price)
    runs = await race(*(run_payouts(shop.store, admin) for _ in range(4)))
    assert sum(run.payouts for run in runs) == 3
    assert await shop.count("payouts") == 3
    assert "seller" not in await shop.balances()
    await balanced(shop)


def scheduled(store: Store, schedule: str) -> Store:
    terms = msgspec.structs.replace(store.settings.payments, payout_schedule=schedule, payout_minimum=Decimal("0.50"))
    return replace(store, settings=msgspec.structs.replace(store.settings, payments=terms))


@pytest.mark.parametrize(("schedule", "again_on"), [("daily", 5), ("weekly", 9), ("monthly", 32), ("off", None)])
async def test_schedule_pays_once_a_period(shop: Shop, schedule: str, again_on: int | None) -> None:
    await sell(shop, 100)
    opened, start = scheduled(shop.store, schedule), datetime(2030, 1, 4, 12, tzinfo=UTC)  # a Friday
    ran = []
    for day in range(32):
        with stopped_at(start + timedelta(days=day)):
            if await is_due(opened):
                ran.append(day + 4)
                await look_after_payouts(opened)
    expected = {None: [], 5: list(range(4, 36)), 9: [4, 7, 14, 21, 28, 35], 32: [4, 32]}
    assert ran == expected[again_on]
    assert await shop.count("payouts") == (0 if schedule == "off" else 1)


async def test_sellers_see_their_own_payouts_only(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    seller, _ = await sell(shop)
    other, _ = await sell(shop, 6000)
    await onboarded(shop, seller)
    await run_payouts(shop.store, admin)
    assert [p.amount_minor for p in (await get_own_payouts(shop.store, seller)).payouts] == [3848]
    assert [p.amount_minor for p in (await get_own_payouts(shop.store, other)).payouts] == [4617]
    for table, seen in (("payouts", 1), ("payout_accounts", 1), ("payout_reversals", 0), ("payout_runs", 0)):
        async with shop.store.db.transaction(actor=seller.actor, read_only=True) as tx:
            assert int(await tx.value(text(f"SELECT count(*) FROM {table}"))) == seen, table
    for stranger in (seller, shop.buyer):
        with pytest.raises(NotAllowed):
            await get_payout_office(shop.store, stranger)
    with pytest.raises(NotAllowed):
        await get_own_payouts(shop.store, shop.buyer)

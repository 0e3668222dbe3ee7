"""The whole of a store's money for those who run it: books, the gateways' lists beside ours, commission tried out."""

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from tests.shop import Shop
from tests.test_after_sale import browser_of, program_of
from tests.test_payouts import sell
from tests.visitor import text_of
from tradepost.accounts.types import NoSuchPerson, NotAllowed
from tradepost.catalog.types import NoSuchCategory
from tradepost.cli.money import print_report
from tradepost.core.clock import now
from tradepost.core.money import NotAnAmount
from tradepost.core.pages import NoSuchPage
from tradepost.flows.manage_sellers import RuleForm, list_rules, put_rule
from tradepost.flows.read_books import get_accounts, get_books, write_journals
from tradepost.flows.reconcile import count_differences, reconcile
from tradepost.flows.refund_order import RefundForm, refund_order
from tradepost.flows.sweep import sweep
from tradepost.flows.try_commission import Sale, try_commission
from tradepost.payments.books import JournalFilter

MONTH = timedelta(days=30)
AT_ONCE = timedelta(0)


async def test_books_show_balances_and_journals_page_by_page(shop: Shop) -> None:
    staff = await shop.make.person("staff")
    _, first = await sell(shop)
    await sell(shop, 7000)
    found = await get_books(shop.store, staff, JournalFilter())
    assert {s.kind: s.balance_minor for s in found.sums if s.balance_minor} == await shop.balances()
    assert sum(s.balance_minor for s in found.sums) == 0
    assert all(sum(e.amount_minor for e in j.entries) == 0 for j in found.journals.items)
    paged, after = [], None
    while True:
        step = await get_books(shop.store, staff, JournalFilter(), after=after, limit=1)
        paged += step.journals.items
        after = step.journals.after
        if after is None:
            break
    assert paged == list(found.journals.items)
    assert [j.kind for j in paged] == ["release", "capture", "release", "capture"]
    of_order = await get_books(shop.store, staff, JournalFilter(order_number=first.number))
    assert [j.order_number for j in of_order.journals.items] == [first.number] * 2
    with pytest.raises(NoSuchPage):
        await get_books(shop.store, staff, JournalFilter(), after="nonsense")


async def test_books_are_filtered_by_fact_account_and_time(shop: Shop) -> None:
    staff = await shop.make.person("staff")
    seller, _ = await sell(shop)
    await sell(shop, 7000)
    accounts = (await get_accounts(shop.store, staff, "seller")).items
    assert sorted(a.balance_minor for a in accounts) == [-5387, -3848]
    own = next(a for a in accounts if a.owner_id == seller.user_id)
    cases: list[tuple[dict[str, Any], int]] = [
        ({"kind": "capture"}, 2),
        ({"kind": "nothing"}, 0),
        ({"account_kind": "fee"}, 2),
        ({"account_kind": "seller"}, 2),
        ({"account_id": own.id}, 1),
        ({"since": now() + timedelta(hours=1)}, 0),
        ({"until": now() - timedelta(hours=1)}, 0),
        ({"since": now() - timedelta(hours=1), "until": now() + timedelta(hours=1)}, 4),
    ]
    for fields, count in cases:
        found = await get_books(shop.store, staff, JournalFilter(**fields))
        assert len(found.journals.items) == count, fields


async def test_books_are_nobody_elses(shop: Shop) -> None:
    seller, _ = await sell(shop)
    for stranger in (seller, shop.buyer):
        with pytest.raises(NotAllowed):
            await get_books(shop.store, stranger, JournalFilter())
        with pytest.raises(NotAllowed):
            await reconcile(shop.store, stranger, since=now() - MONTH)
        with pytest.raises(NotAllowed):
            await try_commission(shop.store, stranger, Sale(price="1"))
        page = await (await browser_of(shop, stranger)).get("/office/money/ledger.csv")
        assert page.status_code == 403


async def test_csv_says_the_same_and_starts_no_formulas(shop: Shop) -> None:
    staff = await shop.make.person("staff")
    seller = await shop.make.person("seller", display_name="=1+1")
    await sell(shop, 5000, seller)
    lines = "".join([line async for line in write_journals(shop.store, staff, JournalFilter(kind="capture"))])
    rows = list(csv.DictReader(io.StringIO(lines)))
    assert {(r["account"], r["debit"], r["credit"]) for r in rows} == {
        ("clearing", "50.00", ""), ("held", "", "38.48"), ("fee", "", "5.00"), ("tax", "", "6.52"),
    }  # fmt: skip
    assert {r["owner"] for r in rows} == {"", "'=1+1"}
    answer = await (await browser_of(shop, staff)).get("/office/money/ledger.csv?kind=capture")
    assert answer.text == lines
    assert "attachment" in answer.headers["content-disposition"]


async def test_lists_that_agree(shop: Shop) -> None:
    staff = await shop.make.person("staff")
    _, placed = await sell(shop)
    await refund_order(shop.store, staff, placed.order_id, RefundForm(amount_minor=700))
    await sweep(shop.store, ask_after=AT_ONCE)
    await shop.buy(await shop.goods(), 1, method="decline")
    await shop.buy(await shop.goods("Cash"), 1, gateway="cash", method="")
    report = await reconcile(shop.store, staff, since=now() - MONTH)
    assert [(d.gateway, d.matched, d.matched_minor) for d in report.days] == [("sandbox", 1, 5000)]
    assert (report.differences, report.without_list) == ((), ("cash",))


TAMPER = {
    "missing_here": "DELETE FROM refunds; UPDATE payments SET state = 'failed'",
    "missing_there": "DELETE FROM sandbox_charges",
    "amount_differs": "UPDATE sandbox_charges SET amount_minor = amount_minor - 1",
    "refund_differs": "UPDATE sandbox_charges SET refunded_minor = 0",
}


@pytest.mark.parametrize("fault", TAMPER)
async def test_every_difference_is_found(shop: Shop, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    staff = await shop.make.person("staff")
    _, placed = await sell(shop)
    await refund_order(shop.store, staff, placed.order_id, RefundForm(amount_minor=700))
    await sweep(shop.store, ask_after=AT_ONCE)
    for statement in TAMPER[fault].split("; "):
        await shop.run(text(statement))
    report = await reconcile(shop.store, staff, since=now() - MONTH)
    (found,) = report.differences
    expected = {
        "missing_here": (None, 5000), "missing_there": (5000, None), "amount_differs": (5000, 4999), "refund_differs": (700, 0),
    }  # fmt: skip
    assert (found.fault, found.ours_minor, found.theirs_minor) == (fault, *expected[fault])
    assert found.order_number == placed.number
    assert count_differences(report.days) == 1
    print_report(report)
    assert fault in capsys.readouterr().out
    shown = await (await browser_of(shop, staff)).get("/office/money/reconciliation")
    assert "1 payment differs." in shown.text


async def test_payment_at_the_edge_of_the_time_is_no_difference(shop: Shop) -> None:
    """The gateway's clock is behind: on its list the payment is from before the time asked about."""
    await sell(shop)
    await shop.run(text("UPDATE sandbox_charges SET created_at = created_at - interval '2 hours'"))
    report = await reconcile(shop.store, None, since=now() - timedelta(hours=1))
    assert (report.differences, [d.matched for d in report.days]) == ((), [1])


async def rule(shop: Shop, name: str, percent: str, **columns: Any) -> None:
    names = "".join(f", {n}" for n in columns)
    marks = "".join(f", :{n}" for n in columns)
    await shop.run(
        text(f"INSERT INTO commission_rules (name, percent{names}) VALUES (:name, CAST(:percent AS numeric){marks})"),
        name=name, percent=percent, **columns,
    )  # fmt: skip


async def test_commission_is_tried_and_explained(shop: Shop) -> None:
    staff, seller = await shop.make.person("staff"), await shop.make.person("seller", "maker")
    (food,) = await shop.row("SELECT id FROM categories WHERE slug = 'food'")
    (fruit,) = await shop.row("SELECT id FROM categories WHERE slug = 'fruit'")
    await rule(shop, "Food", "8", category_id=food)
    await rule(shop, "Fruit", "6", category_id=fruit)
    await rule(shop, "Maker's own", "3", seller_id=seller.user_id)
    await rule(shop, "Services in euros", "2", kind="service", currency="EUR", fixed_minor=30)

    async def fires(**sale: str) -> tuple[str, int]:
        trial = await try_commission(shop.store, staff, Sale(price="10.00", **sale))
        assert trial.rule is not None
        assert trial.commission_minor + trial.seller_minor == 1000
        assert [v.rule for v in trial.verdicts if v.fires] == [trial.rule]
        return trial.rule.name, trial.commission_minor

    usual = await fires()
    assert usual[1] == 100
    assert await fires(category="vegetables") == ("Food", 80)
    assert await fires(category="fruit") == ("Fruit", 60)
    assert await fires(category="fruit", seller="maker") == ("Maker's own", 30)
    assert await fires(kind="service", currency="EUR") == ("Services in euros", 50)
    trial = await try_commission(shop.store, staff, Sale(price="10", category="fruit"))
    reasons = {v.rule.name: v.reason for v in trial.verdicts}
    assert reasons == {
        "Maker's own": "is another seller's", "Fruit": "is made for the category",
        "Food": "fits, but a more specific rule goes first", "Services in euros": "is for another kind of listing",
        usual[0]: "fits, but a more specific rule goes first",
    }  # fmt: skip
    for sale, error in [
        (Sale(price="ten"), NotAnAmount),
        (Sale(price="1", seller="nobody"), NoSuchPerson),
        (Sale(price="1", category="moon"), NoSuchCategory),
    ]:
        with pytest.raises(error):
            await try_commission(shop.store, staff, sale)
    shown = await (await browser_of(shop, staff)).get("/office/money/commission?price=10&category=fruit")
    assert "$0.60" in shown.text
    assert (await (await browser_of(shop, staff)).get("/office/money/commission?price=ten")).status_code == 422


async def test_operator_runs_payouts_on_the_page(shop: Shop) -> None:
    seller, _ = await sell(shop)
    admin, staff = await shop.make.person("admin"), await shop.make.person("staff")
    seen = await browser_of(shop, staff)
    assert "Pay everybody now" not in (await seen.get("/office/money")).text
    assert (await seen.post("/office/money/payouts", {"action": "run"})).status_code == 403
    desk = await browser_of(shop, admin)
    assert "$38.48" in (await desk.get("/office/money")).text
    assert "1 sellers are being paid" in (await desk.post("/office/money/payouts", {"action": "run"})).text
    assert "Nobody has enough" in (await desk.post("/office/money/payouts", {"action": "run"})).text
    ((payout_id,),) = await shop.rows("SELECT id FROM payouts")
    path = f"/office/money/payouts/{payout_id}"
    assert "Paid." in (await desk.post(path, {"decision": "paid", "reference": "B1"})).text
    assert "settled by its gateway" in (await desk.post(path, {"decision": "paid"})).text
    shown = (await (await browser_of(shop, seller)).get("/me/money")).text
    assert "Paid out" in shown
    opened = await (await browser_of(shop, seller)).post("/me/money/accounts/sandbox")
    assert "/me/money/accounts/sandbox" in opened.text
    assert "Your account is ready" in (await (await browser_of(shop, seller)).get("/me/money/accounts/sandbox")).text
    for path in (
        "/office/money/ledger",
        "/office/money/payouts?payout_state=paid",
        "/office/money/reconciliation?days=7",
    ):
        assert (await desk.get(path)).status_code == 200
    assert "There is no such account" in (await desk.get("/office/money/ledger?account_id=x&since=soon")).text


async def test_programs_need_the_scope(shop: Shop) -> None:
    await sell(shop)
    admin = await shop.make.person("admin")
    narrow, wide = (
        await program_of(shop, admin, "see_reports"),
        await program_of(shop, admin, "see_reports", "manage_store"),
    )
    assert (await narrow.get("/office/payouts")).json()["payable"][0]["available_minor"] == 3848
    assert (await narrow.post("/office/payouts/runs")).status_code == 403
    assert await shop.count("payouts") == 0
    key = {"idempotency-key": "run-number-one"}
    runs = [(await wide.post("/office/payouts/runs", headers=key)).json() for _ in range(2)]
    assert runs == [{"payouts": 1, "sums": {"USD": 3848}}] * 2
    ((payout_id,),) = await shop.rows("SELECT id FROM payouts")
    decided = await wide.post(f"/office/payouts/{payout_id}/decision", json={"decision": "paid"})
    assert decided.json()["payouts"]["items"][0]["state"] == "paid"
    refused = await wide.post(f"/office/payouts/{payout_id}/decision", json={"decision": "paid", "refrence": "1"})
    assert refused.status_code == 400
    assert (await narrow.get("/office/ledger?kind=payout")).json()["journals"]["items"][0]["kind"] == "payout"
    assert (await narrow.get("/office/reconciliation")).json()["differences"] == []
    assert (await narrow.post("/office/commission-trials", json={"price": "5"})).json()["commission_minor"] == 50
    assert (
        msgspec.json.decode((await (await program_of(shop, admin, "sell")).get("/me/payouts")).content)["payouts"] == []
    )


async def test_a_sellers_own_commission_holds_from_the_next_checkout_on(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    hammer = await shop.goods(price=1000, stock=10)
    seller = shop.sellers[hammer]
    before = await shop.buy(hammer)
    office = await browser_of(shop, admin)
    rule = {
        "name": "Founding seller",
        "percent": "2,5",
        "fixed": "0.10",
        "seller": seller.username,
        "category": "",
        "kind": "",
        "action": "put",
    }
    await office.post("/office/money/commission", rule)
    after = await shop.buy(hammer)
    kept = "SELECT commission_minor FROM order_lines WHERE order_id = :id"
    assert (await shop.row(kept, id=after.order_id))[0] == 25 + 10
    assert (await shop.row(kept, id=before.order_id))[0] != (await shop.row(kept, id=after.order_id))[0]
    sellers = text_of((await office.get(f"/office/sellers?words={seller.username}")).text)
    assert "2.5 %" in sellers
    assert "$0.10" in sellers
    (own,) = [r for r in await list_rules(shop.store, admin) if r.seller]
    await office.post("/office/money/commission", {"action": "end", "rule_id": str(own.id)})
    third = await shop.buy(hammer)
    assert (await shop.row(kept, id=third.order_id)) == (await shop.row(kept, id=before.order_id))
    assert await shop.count("audit_log", f"table_name = 'commission_rules' AND actor_id = '{admin.user_id}'") == 2


@pytest.mark.parametrize(
    "wrong", [{"percent": "101"}, {"percent": "many"}, {"fixed": "-1"}, {"seller": "nobody-here"}, {"category": "nowhere"}, {"kind": "idea"}, {"name": ""}]
)  # fmt: skip
async def test_a_rule_that_makes_no_sense_is_refused_and_named(shop: Shop, wrong: dict[str, str]) -> None:
    office = await browser_of(shop, await shop.make.person("admin"))
    rule = {
        "name": "Rule",
        "percent": "5",
        "fixed": "",
        "seller": "",
        "category": "",
        "kind": "",
        "action": "put",
        **wrong,
    }
    rules = await shop.count("commission_rules", "true")
    answer = await office.post("/office/money/commission", rule)
    assert (answer.status_code, "another look" in answer.text) == (422, True)
    assert await shop.count("commission_rules", "true") == rules


async def test_staff_see_sellers_and_change_no_commission(shop: Shop) -> None:
    staff = await shop.make.person("staff")
    await shop.goods()
    seen = await browser_of(shop, staff)
    assert "as everybody" in (await seen.get("/office/sellers")).text
    assert "Set a rule" not in (await seen.get("/office/money/commission")).text
    with pytest.raises(NotAllowed):
        await put_rule(shop.store, staff, RuleForm(name="Mine", percent=Decimal(0)))
    assert (await (await browser_of(shop, shop.buyer)).get("/office/sellers")).status_code == 403

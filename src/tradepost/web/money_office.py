"""Money in the back office: payouts, the books, the gateways' lists beside ours, commission tried out."""

from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Stream

from tradepost.accounts.types import Caller, NoSuchPerson
from tradepost.catalog.listing_pages import category_tree
from tradepost.core.clock import now
from tradepost.core.errors import DomainError, FieldErrors
from tradepost.core.money import NotAnAmount, to_minor
from tradepost.core.pages import NoSuchPage
from tradepost.flows.manage_sellers import RuleForm, list_rules, list_sellers, put_rule, switch_rule
from tradepost.flows.pay_out import decide_payout, fetch_back, get_payout_office, pay_seller, run_payouts
from tradepost.flows.read_books import get_accounts, get_books, write_journals
from tradepost.flows.reconcile import count_differences, reconcile
from tradepost.flows.store import Store
from tradepost.flows.try_commission import CommissionTrial, Sale, try_commission
from tradepost.payments.books import JournalFilter
from tradepost.payments.commissions import NoSuchRule
from tradepost.payments.types import GatewayDown
from tradepost.web.forms import first_problem, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

HERE = "/office/money"
_STATES = (("All", None), ("Requested", "requested"), ("Sent", "sent"), ("Paid", "paid"), ("Failed", "failed"))
_PERIODS = (1, 7, 30, 90)


@get([HERE, f"{HERE}/payouts"], include_in_schema=False)
async def payouts_page(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    payout_state: FromQuery[str] = "",
    after: FromQuery[str | None] = None,
) -> Response[str]:
    """Show who can be paid, who owes, and every payout."""
    state = next((code for _, code in _STATES if code == payout_state), None)
    found = await get_payout_office(store, caller, state=state, after=after)
    path = f"{HERE}/payouts"
    states = [
        {
            "label": label,
            "path": f"{path}?payout_state={code}" if code else path,
            "current": code == state,
            "count": None,
        }
        for label, code in _STATES
    ]
    following = found.payouts.after
    terms = store.settings.payments
    return await page(
        request, store, caller, "office_payouts", office=found, states=states, schedule=terms.payout_schedule,
        may_pay=caller.can("manage_store"),
        next_path=f"{path}?{_query(payout_state=state, after=following)}" if following else None,
    )  # fmt: skip


def _query(**values: object) -> str:
    return urlencode({name: value for name, value in values.items() if value})


@post(f"{HERE}/payouts", include_in_schema=False)
async def pay(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Pay everybody out, or one seller; or fetch back what one owes."""
    form = await read_form(request)
    try:
        said = await _pay(store, caller, form.get("action"), form.get("seller_id"), form.get("currency"))
    except DomainError as error:
        if error.kind == "refused":
            raise
        return go(request, f"{HERE}/payouts", say=first_problem(error), tone="bad")
    return go(request, f"{HERE}/payouts", say=said)


async def _pay(store: Store, caller: GivenCaller, action: str, seller: str, currency: str) -> str:
    if action == "run":
        run = await run_payouts(store, caller)
        return f"{run.payouts} sellers are being paid." if run.payouts else "Nobody has enough to be paid now."
    try:
        seller_id = UUID(seller)
    except ValueError:
        raise FieldErrors({"": "This form is not complete; please go back and try again."}) from None
    if action == "fetch_back":
        await fetch_back(store, caller, seller_id, currency)
        return "It is being fetched back."
    await pay_seller(store, caller, seller_id, currency)
    return "They are being paid."


@post(HERE + "/payouts/{payout_id:uuid}", include_in_schema=False)
async def decide(request: HttpRequest, store: GivenStore, caller: GivenCaller, payout_id: FromPath[UUID]) -> Redirect:
    """Say that a payout was made by hand, or that it came back."""
    form = await read_form(request)
    paid = form.get("decision") == "paid"
    try:
        await decide_payout(
            store, caller, payout_id, paid=paid, reference=form.get("reference"), error=form.get("error")[:500]
        )
    except DomainError as error:
        if error.kind == "refused":
            raise
        return go(request, f"{HERE}/payouts", say=first_problem(error), tone="bad")
    return go(request, f"{HERE}/payouts", say="Paid." if paid else "The money is the seller's again.")


@get(f"{HERE}/ledger", include_in_schema=False)
async def ledger_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, after: FromQuery[str | None] = None
) -> Response[str]:
    """Show the books: balances, journals with their cause; filtered, page by page."""
    asked = dict(request.query_params)
    wanted, problem = _filter(store, asked)
    found = await get_books(store, caller, wanted, after=after)
    accounts = await get_accounts(store, caller, wanted.account_kind) if wanted.account_kind else None
    kept = {name: asked[name] for name in _FIELDS if asked.get(name)}
    following = f"{HERE}/ledger?{_query(**kept, after=found.journals.after)}" if found.journals.after else None
    return await page(
        request, store, caller, "office_ledger", books=found, accounts=accounts, form=kept, problem=problem,
        csv_path=f"{HERE}/ledger.csv?{_query(**kept)}", next_path=following,
    )  # fmt: skip


_FIELDS = ("kind", "account_kind", "account_id", "order_number", "since", "until")


def _filter(store: Store, asked: dict[str, str]) -> tuple[JournalFilter, str]:
    """Return the filter of an address, without what makes no sense, and what that was."""
    zone, problem = ZoneInfo(store.settings.store.timezone), ""
    values: dict[str, Any] = {name: asked[name].strip()[:80] for name in _FIELDS[:4] if asked.get(name, "").strip()}
    for name in ("since", "until"):
        if asked.get(name):
            try:
                day = date.fromisoformat(asked[name])
            except ValueError:
                problem = "A day is written 2026-01-31."
                continue
            last = timedelta(days=1) if name == "until" and day < date.max else timedelta()
            values[name] = datetime.combine(day + last, datetime.min.time(), zone)
    if "account_id" in values:
        try:
            values["account_id"] = UUID(values["account_id"])
        except ValueError:
            del values["account_id"]
            problem = "There is no such account."
    return JournalFilter(**values), problem


@get(f"{HERE}/ledger.csv", include_in_schema=False)
async def ledger_csv(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Stream:
    """Give the journals that fit as CSV."""
    caller.check_can("see_reports")
    wanted, _ = _filter(store, dict(request.query_params))

    async def lines() -> AsyncIterator[str]:
        async for line in write_journals(store, caller, wanted):
            yield line

    name = f"{store.code}-ledger-{now().date().isoformat()}.csv"
    return Stream(
        lines(), media_type="text/csv; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"},
    )  # fmt: skip


@get(f"{HERE}/reconciliation", include_in_schema=False)
async def reconciliation_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, days: FromQuery[int] = 30
) -> Response[str]:
    """Show our payments beside the gateways' own lists."""
    caller.check_can("see_reports")
    period = days if days in _PERIODS else 30
    report, problem = None, ""
    try:
        report = await reconcile(store, caller, since=now() - timedelta(days=period))
    except GatewayDown as error:
        problem = error.message
    periods = [
        {
            "label": "1 day" if n == 1 else f"{n} days",
            "path": f"{HERE}/reconciliation?days={n}",
            "current": n == period,
            "count": None,
        }
        for n in _PERIODS
    ]
    return await page(
        request, store, caller, "office_reconciliation", report=report, problem=problem, periods=periods,
        faults=_FAULTS, differences=count_differences(report.days) if report else 0,
    )  # fmt: skip


_FAULTS = {
    "missing_here": "Only the gateway knows it", "missing_there": "Only we know it", "amount_differs": "The amounts differ",
    "refund_differs": "What was given back differs",
}  # fmt: skip


@get(f"{HERE}/commission", include_in_schema=False)
async def commission_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show the rules; try a sale: which of them fires, and why not the others."""
    caller.check_can("see_reports")
    asked = dict(request.query_params)
    form = {name: asked.get(name, "")[:120] for name in ("seller", "category", "kind", "price", "currency")}
    trial, errors = None, {}
    if form["price"]:
        sale = Sale(**{name: text for name, text in form.items() if text})
        try:
            trial = await try_commission(store, caller, sale)
        except (DomainError, NotAnAmount) as error:
            if error.kind == "refused":
                raise
            errors = {(k or "seller"): v for k, v in problems_of(error).items()}
    return await _commission(request, store, caller, form, errors, {}, {}, trial)


async def _commission(
    request: HttpRequest, store: Store, caller: Caller, form: dict[str, str], errors: dict[str, str], draft: dict[str, str],
    refused: dict[str, str], trial: CommissionTrial | None,
) -> Response[str]:  # fmt: skip
    tree = await category_tree(store.db)
    return await page(
        request, store, caller, "office_commission", status=422 if errors or refused else 200, form=form, errors=errors, trial=trial,
        draft=draft, refused=refused, rules=await list_rules(store, caller), may_change=caller.can("manage_store"),
        kinds=[(kind.code, kind.name) for kind in store.settings.kinds],
        all_categories=sorted(((c.slug, c.path) for c in tree.by_id.values()), key=lambda c: c[1]),
    )  # fmt: skip


@post(f"{HERE}/commission", include_in_schema=False)
async def set_commission(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Put a rule in force, or end one."""
    caller.check_can("manage_store")
    form = await read_form(request)
    try:
        if form.get("action") in {"end", "again"}:
            await switch_rule(store, caller, _rule_id(form.get("rule_id")), is_active=form.get("action") == "again")
            return go(request, f"{HERE}/commission", say="Done, from the next checkout on.")
        fixed = to_minor(form.get("fixed").replace(",", "."), store.currency, "fixed") if form.get("fixed") else 0
        if fixed < 0:
            raise FieldErrors({"fixed": "0 or more."})
        wanted = RuleForm(
            name=form.get("name"), percent=form.number("percent", "How many percent?"), fixed_minor=fixed, seller=form.get("seller"),
            category=form.get("category"), kind=form.get("kind"),
        )  # fmt: skip
        await put_rule(store, caller, wanted)
    except (DomainError, NotAnAmount) as error:
        if error.kind in {"refused", "unavailable", "not_found"} and not isinstance(error, NoSuchPerson):
            raise
        problems = {(k or "seller"): v for k, v in problems_of(error).items()}
        empty = dict.fromkeys(("seller", "category", "kind", "price", "currency"), "")
        return await _commission(request, store, caller, empty, {}, form.texts, problems, None)
    return go(request, f"{HERE}/commission", say="In force from the next checkout on.")


def _rule_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NoSuchRule from None


@get("/office/sellers", include_in_schema=False)
async def sellers_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, words: FromQuery[str] = "", after: FromQuery[str | None] = None
) -> Response[str]:  # fmt: skip
    """Show who sells here, and what the store keeps of it."""
    try:
        found = await list_sellers(store, caller, words, after=after)
    except NoSuchPage:
        found = await list_sellers(store, caller, words)
    return await page(
        request, store, caller, "office_sellers", sellers=found.items, words=words, tab="sellers",
        next_path=f"/office/sellers?{_query(words=words, after=found.after)}" if found.after else None,
    )  # fmt: skip


money_office_routes: list[Any] = [
    payouts_page, pay, decide, ledger_page, ledger_csv, reconciliation_page, commission_page, set_commission,
    sellers_page,
]  # fmt: skip

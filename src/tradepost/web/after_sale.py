"""What comes after the sale: a seller's board of orders, refunds, and goods on their way back."""

from decimal import Decimal
from typing import Any, get_args
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from tradepost.accounts.types import Caller
from tradepost.core.errors import DomainError
from tradepost.core.money import NotAnAmount, to_minor
from tradepost.flows.disputes import show_evidence
from tradepost.flows.orders import get_board, get_order
from tradepost.flows.pay_out import begin_onboarding, get_own_payouts, refresh_account
from tradepost.flows.refund_by_hand import confirm_refund
from tradepost.flows.refund_order import RefundForm, RefundLine, refund_order
from tradepost.flows.returns import decide_return, list_returns_to, receive_return, request_return, withdraw_return
from tradepost.flows.statements import get_statement
from tradepost.flows.store import Store
from tradepost.orders.disputes import EvidenceForm
from tradepost.orders.returns import ReturnForm, ReturnLine, ReturnReason, ReturnView
from tradepost.orders.types import OrderView
from tradepost.payments.types import NothingToRefund
from tradepost.web.buying import show_order
from tradepost.web.forms import Form, first_problem, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

_MOST, _MOST_SAID = 500, 2000
_KINDS = {
    "capture": "Sold", "release": "Released to you", "refund": "Given back", "cash": "Sold for cash", "deposit_kept": "Deposit kept",
    "payout": "Paid out", "payout_failed": "Payout failed", "payout_returned": "Payout came back",
    "payout_reversed": "Fetched back",
}  # fmt: skip


@get("/me/sales", include_in_schema=False)
async def board(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show a seller's orders by what is to be done, and the returns that wait."""
    caller.check_can("sell")
    found = await get_board(store, caller)
    waiting = await list_returns_to(store, caller)
    return await page(
        request, store, caller, "sales", board=found, returns=waiting, is_empty=not any(c.count for c in found.columns)
    )


@get("/me/money", include_in_schema=False)
async def money(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, after: FromQuery[str | None] = None
) -> Response[str]:
    """Show a seller what the store owes them, and every change of it."""
    return await _money_page(request, store, caller, after=after)


async def _money_page(
    request: HttpRequest, store: Store, caller: Caller, *, after: str | None = None, onward: str = "", problem: str = ""
) -> Response[str]:
    found = await get_statement(store, caller, after=after)
    paid = await get_own_payouts(store, caller, limit=10)
    following = f"/me/money?after={found.after}" if found.after else None
    return await page(
        request, store, caller, "money", status=409 if problem else 200, statement=found, next_path=following, kinds=_KINDS,
        paid=paid, schedule=store.settings.payments.payout_schedule, onward=onward, problem=problem,
    )  # fmt: skip


@post("/me/money/accounts/{gateway:str}", include_in_schema=False)
async def open_account(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, gateway: FromPath[str]
) -> Response[str]:
    """Open an account at a gateway, and show the way there: it is another site, so the seller follows a link."""
    try:
        return await _money_page(request, store, caller, onward=await begin_onboarding(store, caller, gateway))
    except DomainError as error:
        if error.kind in {"refused", "not_found"}:
            raise
        return await _money_page(request, store, caller, problem=error.message)


@get("/me/money/accounts/{gateway:str}", include_in_schema=False)
async def back_from_gateway(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, gateway: FromPath[str]
) -> Redirect:
    """Take a seller back who comes from a gateway, and ask it whether it can pay them now."""
    try:
        account = await refresh_account(store, caller, gateway)
    except DomainError as error:
        if error.kind == "refused":
            raise
        return go(request, "/me/money", say=error.message, tone="bad")
    if account.can_be_paid:
        return go(request, "/me/money", say="Your account is ready: the next payout goes there.")
    return go(request, "/me/money", say="The gateway still needs something from you.", tone="warn")


@post("/orders/{number:str}/refunds", include_in_schema=False)
async def refund(request: HttpRequest, store: GivenStore, caller: GivenCaller, number: FromPath[str]) -> Response[Any]:
    """Give some of an order's money back."""
    form = await read_form(request)
    order = await get_order(store, caller, number)
    try:
        await refund_order(store, caller, order.id, _refund_form(form, order))
    except DomainError as error:
        return await show_order(request, store, caller, number, form.texts, problems_of(error))
    return go(request, f"/orders/{number}", say="The money is on its way back.")


@post("/orders/{number:str}/refunds/{refund_id:uuid}/paid", include_in_schema=False)
async def refund_paid(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, number: FromPath[str], refund_id: FromPath[UUID]
) -> Response[Any]:
    """Take note that staff paid a refund back by hand."""
    order = await get_order(store, caller, number)
    try:
        await confirm_refund(store, caller, order.id, refund_id)
    except DomainError as error:
        return await show_order(request, store, caller, number, {}, problems_of(error))
    return go(request, f"/orders/{number}", say="It is in the books.")


def _refund_form(form: Form, order: OrderView) -> RefundForm:
    """Read lines that are ticked, with their quantities; or an amount, if none is. Raises `FieldErrors`, `NotAnAmount`."""
    lines = tuple(RefundLine(line_no=no, quantity=quantity) for no, quantity in _ticked(form, order))
    amount = (
        to_minor(form.get("amount").replace(",", "."), order.currency) if form.get("amount") and not lines else None
    )
    if amount is not None and amount <= 0:
        raise NothingToRefund
    return RefundForm(
        lines=lines, delivery=bool(form.get("delivery")), amount_minor=amount, restock=bool(form.get("restock")),
        reason=form.get("reason")[:_MOST],
    )  # fmt: skip


def _ticked(form: Form, order: OrderView) -> list[tuple[int, Decimal]]:
    return [
        (line.line_no, form.number(f"line.{line.line_no}.quantity"))
        for line in order.lines
        if form.get(f"line.{line.line_no}")
    ]


@post("/orders/{number:str}/returns", include_in_schema=False)
async def ask_back(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, number: FromPath[str]
) -> Response[Any]:
    """Ask to give goods back."""
    form = await read_form(request)
    order = await get_order(store, caller, number)
    reason = form.get("return_reason")
    try:
        lines = tuple(ReturnLine(no, quantity) for no, quantity in _ticked(form, order))
        known: Any = reason if reason in get_args(ReturnReason) else "other"
        await request_return(
            store, caller, order.id, ReturnForm(lines=lines, reason=known, comment=form.get("comment")[:2000])
        )
    except DomainError as error:
        return await show_order(request, store, caller, number, form.texts, problems_of(error))
    return go(request, f"/orders/{number}", say="We have told the seller.")


@post("/returns/{return_id:uuid}", include_in_schema=False)
async def bring_on(request: HttpRequest, store: GivenStore, caller: GivenCaller, return_id: FromPath[UUID]) -> Redirect:
    """Accept, reject, receive or withdraw a return, and go back to where it was shown."""
    form = await read_form(request)
    answer, back = form.get("answer")[:2000], form.get("next") or "/me/sales"
    try:
        done = await _decide(store, caller, return_id, form, answer)
    except (DomainError, NotAnAmount) as error:
        return go(request, back, say=first_problem(error), tone="bad")
    said = {"accepted": "Accepted: wait for the goods.", "rejected": "Refused, with your answer.",
            "received": "Received; the money is on its way back.", "withdrawn": "Called off."}  # fmt: skip
    return go(request, back, say=said.get(done.state, "Done."))


async def _decide(store: GivenStore, caller: GivenCaller, return_id: UUID, form: Form, answer: str) -> ReturnView:
    match form.get("decision"):
        case "withdraw":
            return await withdraw_return(store, caller, return_id)
        case "receive":
            amount = to_minor(form.get("amount").replace(",", "."), store.currency) if form.get("amount") else None
            return await receive_return(
                store, caller, return_id, restock=bool(form.get("restock")), amount_minor=amount, answer=answer
            )
        case decision:
            return await decide_return(store, caller, return_id, accept=decision == "accept", answer=answer)


@post("/orders/{number:str}/evidence", include_in_schema=False)
async def show_something(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, number: FromPath[str]
) -> Response[Any]:
    """Show words or a picture about an order that is disputed."""
    form = await read_form(request)
    order = await get_order(store, caller, number)
    sent = form.files.get("picture")
    try:
        said = EvidenceForm(body=form.get("evidence")[:_MOST_SAID])
        await show_evidence(store, caller, order.id, said, await sent[0].read() if sent else None)
    except DomainError as error:
        return await show_order(request, store, caller, number, form.texts, problems_of(error))
    return go(request, f"/orders/{number}#dispute", say="It is there for whoever decides, and for the other side.")


after_sale_routes = [
    board, money, open_account, back_from_gateway, refund, refund_paid, ask_back, bring_on, show_something
]  # fmt: skip

"""Payouts, the books, reconciliation and commission, for programs."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK
from msgspec import Meta

from tradepost.api.buying import Cursor
from tradepost.core.clock import now
from tradepost.core.pages import Page
from tradepost.flows.pay_out import (
    PayoutOffice,
    PayoutRun,
    SellerPayouts,
    decide_payout,
    fetch_back,
    get_own_payouts,
    get_payout_office,
    pay_seller,
    run_payouts,
)
from tradepost.flows.read_books import Books, get_accounts, get_books
from tradepost.flows.reconcile import Reconciliation, reconcile
from tradepost.flows.try_commission import CommissionTrial, Sale, try_commission
from tradepost.payments.books import Account, JournalFilter
from tradepost.web.typing import GivenCaller, GivenStore

Text = Annotated[str | None, QueryParameter(max_length=80)]
Since = Annotated[datetime | None, QueryParameter(description="From this moment on.")]


class PayoutDecision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of a payout made by hand, or that any payout's money came back."""

    decision: Literal["paid", "failed"]
    reference: Annotated[str, Meta(max_length=120)] = ""
    error: Annotated[str, Meta(max_length=500)] = ""


class OneSeller(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One seller's money in one currency."""

    seller_id: UUID
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]


class Moved(msgspec.Struct, frozen=True):
    """How much is on its way."""

    amount_minor: int


@get("/me/payouts", tags=["Selling"])
async def own_payouts(store: GivenStore, caller: GivenCaller, after: Cursor = None) -> SellerPayouts:
    """Return the caller's payouts, the newest first, and where they go."""
    return await get_own_payouts(store, caller, after=after)


@get("/office/payouts", tags=["Office"])
async def payouts(
    store: GivenStore, caller: GivenCaller, payout_state: Text = None, after: Cursor = None
) -> PayoutOffice:  # fmt: skip
    """Return what sellers have, and payouts, the newest first."""
    return await get_payout_office(store, caller, state=payout_state, after=after)


@post("/office/payouts/runs", tags=["Office"])
async def run(store: GivenStore, caller: GivenCaller) -> PayoutRun:
    """Pay every seller out who has enough."""
    return await run_payouts(store, caller)


@post("/office/payouts", tags=["Office"])
async def pay(store: GivenStore, caller: GivenCaller, data: JSONBody[OneSeller]) -> Moved:
    """Pay one seller out, whatever the smallest amount."""
    return Moved(await pay_seller(store, caller, data.seller_id, data.currency))


@post("/office/payouts/reversals", tags=["Office"])
async def reverse(store: GivenStore, caller: GivenCaller, data: JSONBody[OneSeller]) -> Moved:
    """Fetch back what a seller owes from what gateways have paid them."""
    return Moved(await fetch_back(store, caller, data.seller_id, data.currency))


@post("/office/payouts/{payout_id:uuid}/decision", tags=["Office"], status_code=HTTP_200_OK)
async def decide(
    store: GivenStore, caller: GivenCaller, payout_id: FromPath[UUID], data: JSONBody[PayoutDecision]
) -> PayoutOffice:
    """Say that a payout was made by hand, or that it came back; return payouts."""
    await decide_payout(
        store, caller, payout_id, paid=data.decision == "paid", reference=data.reference, error=data.error
    )
    return await get_payout_office(store, caller)


@get("/office/ledger", tags=["Office"])
async def ledger(
    store: GivenStore,
    caller: GivenCaller,
    kind: Text = None,
    account_kind: Text = None,
    account_id: FromQuery[UUID | None] = None,
    order_number: Text = None,
    since: Since = None,
    until: Since = None,
    after: Cursor = None,
) -> Books:
    """Return the balances of the books and one page of journals, the newest first."""
    wanted = JournalFilter(
        kind=kind, account_kind=account_kind, account_id=account_id, order_number=order_number, since=since, until=until
    )
    return await get_books(store, caller, wanted, after=after)


@get("/office/ledger/accounts", tags=["Office"])
async def accounts(
    store: GivenStore, caller: GivenCaller, kind: Annotated[str, QueryParameter(max_length=40)], after: Cursor = None
) -> Page[Account]:
    """Return the single accounts of a kind with their balances."""
    return await get_accounts(store, caller, kind, after=after)


@get("/office/reconciliation", tags=["Office"])
async def reconciliation(
    store: GivenStore, caller: GivenCaller, days: Annotated[int, QueryParameter(ge=1, le=366)] = 30
) -> Reconciliation:
    """Compare our payments with the gateways' own lists."""
    return await reconcile(store, caller, since=now() - timedelta(days=days))


@post("/office/commission-trials", tags=["Office"], status_code=HTTP_200_OK)
async def commission(store: GivenStore, caller: GivenCaller, data: JSONBody[Sale]) -> CommissionTrial:
    """Say which commission rule a sale would fall under, and why not the others; nothing is sold."""
    return await try_commission(store, caller, data)


money_routes: list[Any] = [
    own_payouts, payouts, run, pay, reverse, decide, ledger, accounts, reconciliation, commission
]  # fmt: skip

"""Paying sellers out: everybody at once, by hand or on schedule; through their account at a gateway, or by people.

A payout is written down and booked first, in one transaction; then its gateway is asked with the payout's id as idempotency key
and nothing locked; then it is settled. A crash in between is finished by `look_after_payouts`. What refunds took beyond a
balance is carried over into the next sales, or fetched back from what a gateway has paid.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import structlog

from tradepost.accounts.queries import access_own_profile
from tradepost.accounts.types import Caller
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Actor, Transaction
from tradepost.core.errors import DomainError
from tradepost.core.events import record
from tradepost.core.jobs import enqueue
from tradepost.core.money import to_major, to_minor
from tradepost.core.pages import Page
from tradepost.flows.store import Store
from tradepost.payments import payouts
from tradepost.payments.events import PayoutFailed, PayoutMade
from tradepost.payments.payouts import MANUAL, Payable, PayoutAccountRow
from tradepost.payments.ports import (
    OnboardingRequest,
    PayoutGateway,
    PayoutOutcome,
    PayoutRequest,
    ReversalRequest,
)
from tradepost.payments.types import (
    GatewayUnknown,
    NothingToFetchBack,
    NothingToPayOut,
    Payout,
    PayoutSettled,
    PayoutUnderWay,
)

LOOK_AGAIN_AFTER = timedelta(minutes=10)
_log = structlog.get_logger(__name__)


class PayoutArgs(msgspec.Struct, frozen=True):
    """Which payout a job is about."""

    payout_id: UUID


class ReversalArgs(msgspec.Struct, frozen=True):
    """Which reversal a job is about."""

    reversal_id: UUID


class PayoutRun(msgspec.Struct, frozen=True):
    """What a run did: how many payouts, and their sums by currency."""

    payouts: int
    sums: dict[str, int]


class PayoutOffice(msgspec.Struct, frozen=True, kw_only=True):
    """Who could be paid, who owes, and the payouts there were."""

    payable: tuple[Payable, ...]
    payouts: Page[Payout]
    minimum: dict[str, int]


class SellerPayouts(msgspec.Struct, frozen=True, kw_only=True):
    """A seller's own payouts, where they are paid, and which gateways could pay them."""

    payouts: tuple[Payout, ...]
    accounts: tuple[PayoutAccountRow, ...]
    gateways: tuple[tuple[str, str], ...]


def _payers(store: Store) -> dict[str, PayoutGateway]:
    return {code: gateway for code, gateway in store.gateways.items() if isinstance(gateway, PayoutGateway)}


def least_payout(store: Store, currency: str) -> int:
    """Return the smallest amount that is worth a payout, in minor units: the same number in every currency."""
    return max(1, to_minor(store.settings.payments.payout_minimum.quantize(to_major(1, currency)), currency))


async def run_payouts(store: Store, caller: Caller | None) -> PayoutRun:
    """Pay every seller out who has enough and no payout under way; nobody as the caller is the schedule.

    Raises `NotAllowed` without the permission manage_store.
    """
    by = _check_manager(caller) if caller is not None else None
    async with store.db.transaction(actor=Actor("system", by)) as tx:
        run_id = await payouts.start_run(tx, by)
        found = await payouts.payable(tx)
    sums: dict[str, int] = {}
    count = 0
    for one in found:
        if one.is_open or one.available_minor < least_payout(store, one.currency):
            continue
        try:
            amount = await _start(store, one.seller_id, one.currency, by, run_id)
        except (PayoutUnderWay, NothingToPayOut):
            continue
        count, sums[one.currency] = count + 1, sums.get(one.currency, 0) + amount
    return PayoutRun(count, sums)


def _check_manager(caller: Caller) -> UUID:
    caller.check_can("manage_store")
    return caller.check_scope("manage_store")


async def pay_seller(store: Store, caller: Caller, seller_id: UUID, currency: str) -> int:
    """Pay one seller out now, whatever the smallest amount; return it. Raises `NotAllowed`, `NothingToPayOut`, `PayoutUnderWay`."""
    return await _start(store, seller_id, currency, _check_manager(caller), None, least=1)


async def _start(
    store: Store, seller_id: UUID, currency: str, by: UUID | None, run_id: UUID | None, *, least: int | None = None
) -> int:  # fmt: skip
    async with store.db.transaction(actor=Actor("system", by)) as tx:
        await payouts.hold_seller(tx, seller_id)
        now_there = [p for p in await payouts.payable(tx, seller_id) if p.currency == currency]
        amount = now_there[0].available_minor if now_there else 0
        if now_there and now_there[0].is_open:
            raise PayoutUnderWay
        if amount < (least_payout(store, currency) if least is None else least):
            raise NothingToPayOut(f"{to_major(amount, currency)} {currency}")
        gateway = _gateway_for(store, await payouts.accounts_of(tx, seller_id))
        payout_id = await payouts.start(tx, seller_id, amount, currency, gateway, run_id)
        if gateway != MANUAL:
            await enqueue(tx, "payments.send_payout", PayoutArgs(payout_id), dedupe=f"payout:{payout_id}")
    return amount


def _gateway_for(store: Store, accounts: Sequence[PayoutAccountRow]) -> str:
    """Return the gateway that pays a seller: the first of the store's where they have an account that can be paid."""
    ready = {account.gateway for account in accounts if account.can_be_paid}
    return next((code for code in _payers(store) if code in ready), MANUAL)


async def send_payout(store: Store, payout_id: UUID) -> str:
    """Have a payout's gateway send it, and settle it; return its state. Idempotent. Raises `GatewayDown`; a job tries again."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        payout = await payouts.lock_payout(tx, payout_id)
        accounts = {a.gateway: a for a in await payouts.accounts_of(tx, payout.seller_id)}
    gateway, account = _payers(store).get(payout.gateway), accounts.get(payout.gateway)
    if payout.state not in {"requested", "sent"} or gateway is None or account is None:
        return payout.state
    outcome = await gateway.pay_out(
        PayoutRequest(payout_id=payout.id, account=account.account, amount_minor=payout.amount_minor, currency=payout.currency,
                      description=f"{store.settings.store.name}: your sales")
    )  # fmt: skip
    return await settle_payout(store, payout_id, outcome)


async def settle_payout(store: Store, payout_id: UUID, outcome: PayoutOutcome) -> str:
    """Make true what a gateway says of a payout. Idempotent; return its state."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        payout = await payouts.lock_payout(tx, payout_id)
        if payout.state not in {"requested", "sent"}:
            return payout.state
        state: Literal["paid", "failed", "sent"] = "sent"
        if outcome.state != "pending":
            state = "paid" if outcome.state == "success" else "failed"
        await payouts.settle(tx, payout, state, ref=outcome.ref, error=outcome.error)
        await _tell(tx, payout, state, outcome.error or "")
        return state


async def _tell(tx: Transaction, payout: payouts.LockedPayout, state: str, error: str) -> None:
    if state == "paid":
        made = PayoutMade(payout.id, payout.seller_id, payout.amount_minor, payout.currency)
        await record(tx, made, subject_id=payout.seller_id)
    if state == "failed":
        failed = PayoutFailed(payout.id, payout.seller_id, payout.amount_minor, payout.currency, error)
        await record(tx, failed, subject_id=payout.seller_id)


async def decide_payout(
    store: Store, caller: Caller, payout_id: UUID, *, paid: bool, reference: str = "", error: str = ""
) -> None:  # fmt: skip
    """Say, as whoever manages the store, that a payout was made by hand, or that its money came back: then it is the seller's again.

    Raises `NoSuchPayout`, and `PayoutSettled` where it has ended otherwise or a gateway is still to say so.
    """
    by = _check_manager(caller)
    async with store.db.transaction(actor=Actor("system", by)) as tx:
        payout = await payouts.lock_payout(tx, payout_id)
        open_by_hand = payout.state in {"requested", "sent"} and payout.gateway == MANUAL
        came_back = not paid and payout.state == "paid" and payout.reversed_minor == 0
        if not (open_by_hand or came_back):
            raise PayoutSettled(payout.state)
        state: Literal["paid", "failed"] = "paid" if paid else "failed"
        await payouts.settle(
            tx, payout, state, ref=reference.strip()[:120] or None, error=error.strip() or None, decided_by=by
        )
        await _tell(tx, payout, state, error.strip())


async def fetch_back(store: Store, caller: Caller, seller_id: UUID, currency: str) -> int:
    """Fetch what a seller owes back from what gateways have paid them, the latest first; return the amount asked for.

    Raises `NothingToFetchBack` where nothing is owed, or nothing was paid by a gateway.
    """
    by = _check_manager(caller)
    async with store.db.transaction(actor=Actor("system", by)) as tx:
        await payouts.hold_seller(tx, seller_id)
        balance = next((p for p in await payouts.payable(tx, seller_id) if p.currency == currency), None)
        owed = -min(0, balance.available_minor) if balance else 0
        owed -= await payouts.being_fetched(tx, seller_id, currency)
        left = owed
        for payout in await payouts.paid_to(tx, seller_id, currency) if owed > 0 else ():
            part = min(left, payout.amount_minor - payout.reversed_minor)
            if part and payout.gateway in _payers(store):
                reversal_id = await payouts.start_reversal(tx, payout, part, by)
                await enqueue(tx, "payments.send_reversal", ReversalArgs(reversal_id), dedupe=f"reversal:{reversal_id}")
                left -= part
        if left == owed:
            raise NothingToFetchBack
    return owed - left


async def send_reversal(store: Store, reversal_id: UUID) -> str:
    """Have a gateway fetch money back, and book it; return the reversal's state. Idempotent. Raises `GatewayDown`."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        reversal = await payouts.lock_reversal(tx, reversal_id)
    gateway = _payers(store).get(reversal.gateway)
    if reversal.state != "requested" or gateway is None:
        return reversal.state
    outcome = await gateway.reverse_payout(
        ReversalRequest(reversal_id=reversal.id, payout_ref=reversal.payout_ref or "", amount_minor=reversal.amount_minor,
                        currency=reversal.currency, reason="Refunds to your buyers")
    )  # fmt: skip
    async with store.db.transaction(actor=SYSTEM) as tx:
        reversal = await payouts.lock_reversal(tx, reversal_id)
        if reversal.state != "requested" or outcome.state == "pending":
            return reversal.state
        done = outcome.state == "success"
        await payouts.settle_reversal(tx, reversal, done=done, ref=outcome.ref, error=outcome.error)
        return "success" if done else "failed"


async def look_after_payouts(store: Store, *, look_again_after: timedelta = LOOK_AGAIN_AFTER) -> None:
    """Pay everybody out where the schedule says so, and bring on what is under way."""
    if await is_due(store):
        await run_payouts(store, None)
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        waiting = await payouts.list_open(tx, now() - look_again_after)
        reversals = await payouts.list_open_reversals(tx, now() - look_again_after)
    steps = [send_payout(store, payout_id) for payout_id in waiting]
    for step in [*steps, *(send_reversal(store, reversal_id) for reversal_id in reversals)]:
        try:
            await step
        except DomainError as error:
            _log.warning("payouts.step_refused", error=error.code)


async def is_due(store: Store) -> bool:
    """Whether the schedule has everybody paid out now: not yet since the last Monday, first of the month, or midnight of the store."""
    start = _period_start(store.settings.payments.payout_schedule, now(), ZoneInfo(store.settings.store.timezone))
    if start is None:
        return False
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        last = await payouts.last_scheduled_run(tx)
    return last is None or last < start


def _period_start(schedule: str, at: datetime, zone: ZoneInfo) -> datetime | None:
    midnight = at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    match schedule:
        case "daily":
            return midnight
        case "weekly":
            return midnight - timedelta(days=midnight.weekday())
        case "monthly":
            return midnight.replace(day=1)
    return None


async def get_payout_office(
    store: Store, caller: Caller, *, state: str | None = None, after: str | None = None, limit: int = 50
) -> PayoutOffice:  # fmt: skip
    """Return who can be paid and the payouts there were; needs the permission see_reports. Raises `NoSuchPage`."""
    caller.check_can("see_reports")
    async with store.db.transaction(actor=Actor("staff", caller.user_id), read_only=True) as tx:
        found = await payouts.payable(tx)
        listed = await payouts.list_payouts(tx, state=state, after=after, limit=limit)
    least = {currency: least_payout(store, currency) for currency in {p.currency for p in found}}
    return PayoutOffice(payable=tuple(found), payouts=listed, minimum=least)


async def get_own_payouts(store: Store, caller: Caller, *, after: str | None = None, limit: int = 50) -> SellerPayouts:
    """Return the caller's own payouts, the newest first, and where they go. Raises `NotAllowed`, `NoSuchPage`."""
    caller.check_can("sell")
    seller_id = caller.check_signed_in()
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        listed = await payouts.list_payouts(tx, seller_id=seller_id, after=after, limit=limit)
        accounts = await payouts.accounts_of(tx, seller_id)
    names = tuple((code, store.gateways[code].about.name) for code in _payers(store))
    return SellerPayouts(payouts=listed.items, accounts=tuple(accounts), gateways=names)


async def begin_onboarding(store: Store, caller: Caller, gateway: str) -> str:
    """Open an account for the caller at a gateway, or go on with theirs; return where they go now.

    Raises `GatewayUnknown`, `GatewayDown`, `OnboardingRefused`, `NotByToken`.
    """
    caller.check_can("sell")
    seller_id, payer = caller.check_in_person(), _payers(store).get(gateway)
    if payer is None:
        raise GatewayUnknown(gateway[:40])
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        known = {a.gateway: a for a in await payouts.accounts_of(tx, seller_id)}
        email = (await access_own_profile(tx, caller, store.keys)).email
    begun = await payer.begin_onboarding(
        OnboardingRequest(
            seller_id=seller_id, email=email or "", country=store.settings.store.country,
            account=known[gateway].account if gateway in known else None,
            return_url=f"{store.base_url}/me/money/accounts/{gateway}", again_url=f"{store.base_url}/me/money",
        )
    )  # fmt: skip
    async with store.db.transaction(actor=caller.actor) as tx:
        can_be_paid = gateway in known and known[gateway].account == begun.account and known[gateway].can_be_paid
        await payouts.keep_account(tx, seller_id, PayoutAccountRow(gateway, begun.account, can_be_paid, []))
    return begun.url


async def refresh_account(store: Store, caller: Caller, gateway: str) -> PayoutAccountRow:
    """Ask a gateway whether it can pay the caller now, and keep its answer. Raises `GatewayUnknown`, `GatewayDown`, `NoSuchAccount`."""
    caller.check_can("sell")
    seller_id, payer = caller.check_in_person(), _payers(store).get(gateway)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        known = {a.gateway: a for a in await payouts.accounts_of(tx, seller_id)}
    if payer is None or gateway not in known:
        raise GatewayUnknown(gateway[:40])
    seen = await payer.look_up_account(known[gateway].account)
    row = PayoutAccountRow(gateway, seen.account, seen.can_be_paid, list(seen.missing))
    async with store.db.transaction(actor=caller.actor) as tx:
        await payouts.keep_account(tx, seller_id, row)
    return row

"""Are our payments those that the gateways have on their own lists? Day by day, and every difference by name.

Promises to find money that only one side knows, and amounts, currencies and refunds that differ. What lies near the beginning
of the time asked about is matched with what the other side has from a day before, because their clocks need not agree.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM
from tradepost.core.errors import Conflict
from tradepost.flows.store import Store
from tradepost.payments.ports import Gateway, SettledPayment

MARGIN = timedelta(days=1)
Fault = Literal["missing_here", "missing_there", "amount_differs", "refund_differs"]


@dataclass(eq=False)
class BooksDiffer(Conflict):
    """{differences} payments differ from the gateways' lists."""

    differences: int


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A payment on which we and a gateway do not agree. Amounts are in minor units; None where a side has none."""

    gateway: str
    day: date
    fault: Fault
    ref: str | None
    payment_id: UUID | None
    order_number: str | None
    ours_minor: int | None
    theirs_minor: int | None
    currency: str


class GatewayDay(msgspec.Struct, frozen=True, kw_only=True):
    """One gateway on one day of the store."""

    gateway: str
    day: date
    currency: str
    matched: int
    matched_minor: int
    missing_here: int
    missing_there: int
    differing: int


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared and what came of it. `without_list`: gateways that cannot be asked, such as cash."""

    since: datetime
    until: datetime
    days: tuple[GatewayDay, ...]
    differences: tuple[Difference, ...]
    without_list: tuple[str, ...]


class _Ours(msgspec.Struct, frozen=True):
    id: UUID
    number: str
    gateway: str
    ref: str | None
    amount_minor: int
    refunded_minor: int
    currency: str
    is_taken: bool
    at: datetime


# What was refunded is what the gateway has said it gave back; what it is still to give back, it cannot have on its list yet.
_OURS = text("""
    SELECT p.id, o.number, p.gateway, p.gateway_ref AS ref, p.amount_minor,
           CAST(coalesce((SELECT sum(amount_minor) FROM refunds r WHERE r.payment_id = p.id AND r.state = 'success'), 0) AS bigint)
           AS refunded_minor,
           p.currency, p.state IN ('success', 'refunded', 'partly_refunded') AS is_taken, coalesce(p.settled_at, p.created_at) AS at
    FROM payments p JOIN orders o ON o.id = p.order_id
    WHERE p.gateway = :gateway AND p.amount_minor > 0
      AND (p.settled_at >= :since OR p.id = ANY (CAST(:ids AS uuid[])) OR p.gateway_ref = ANY (CAST(:refs AS text[])))
""")


async def reconcile(store: Store, caller: Caller | None, *, since: datetime) -> Reconciliation:
    """Compare our payments with the gateways' own lists; nobody as the caller is the command line.

    Raises `NotAllowed` without the permission see_reports, `GatewayDown`.
    """
    if caller is not None:
        caller.check_can("see_reports")
    days: dict[tuple[str, date, str], list[int]] = {}
    differences: list[Difference] = []
    silent = []
    zone = ZoneInfo(store.settings.store.timezone)
    for code, gateway in store.gateways.items():
        if not gateway.about.keeps_list or gateway.about.is_offline:
            silent.append(code)
            continue
        for ours, theirs in await _pairs(store, code, gateway, since):
            at = ours.at if ours is not None else theirs.at if theirs is not None else since
            fault = _fault(ours, theirs)
            day, currency = at.astimezone(zone).date(), _currency(ours, theirs)
            counts = days.setdefault((code, day, currency), [0, 0, 0, 0, 0])
            _count(counts, fault, ours)
            if fault is not None:
                differences.append(_difference(code, day, fault, ours, theirs))
    return Reconciliation(
        since=since, until=now(), without_list=tuple(silent), differences=tuple(sorted(differences, key=lambda d: (d.day, d.gateway, d.fault), reverse=True)),
        days=tuple(GatewayDay(gateway=code, day=day, currency=currency, matched=c[0], matched_minor=c[1], missing_here=c[2],
                              missing_there=c[3], differing=c[4])
                   for (code, day, currency), c in sorted(days.items(), key=lambda item: (item[0][1], item[0][0]), reverse=True)),
    )  # fmt: skip


async def _pairs(
    store: Store, code: str, gateway: Gateway, since: datetime
) -> list[tuple[_Ours | None, SettledPayment | None]]:  # fmt: skip
    """Return every payment that either side has since then, beside what the other has of it."""
    theirs = [payment async for payment in gateway.settled(since - MARGIN)]
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        rows = await tx.all(
            _OURS, into=_Ours, gateway=code, since=since, ids=[t.payment_id for t in theirs if t.payment_id],
            refs=[t.ref for t in theirs],
        )  # fmt: skip
    by_id, by_ref = {row.id: row for row in rows}, {row.ref: row for row in rows if row.ref}
    pairs: list[tuple[_Ours | None, SettledPayment | None]] = []
    matched = set()
    for their in theirs:
        ours = (by_id.get(their.payment_id) if their.payment_id else None) or by_ref.get(their.ref)
        if ours is not None:
            matched.add(ours.id)
        if their.at >= since or (ours is not None and ours.at >= since):
            pairs.append((ours, their))
    return pairs + [(ours, None) for ours in rows if ours.is_taken and ours.id not in matched and ours.at >= since]


def _fault(ours: _Ours | None, theirs: SettledPayment | None) -> Fault | None:
    if ours is None or not ours.is_taken:
        return "missing_here"
    if theirs is None:
        return "missing_there"
    if (ours.amount_minor, ours.currency) != (theirs.amount_minor, theirs.currency):
        return "amount_differs"
    return "refund_differs" if ours.refunded_minor != theirs.refunded_minor else None


def _currency(ours: _Ours | None, theirs: SettledPayment | None) -> str:
    return next(side.currency for side in (ours, theirs) if side is not None)


def _count(counts: list[int], fault: Fault | None, ours: _Ours | None) -> None:
    if fault is None and ours is not None:
        counts[0] += 1
        counts[1] += ours.amount_minor
    else:
        counts[{"missing_here": 2, "missing_there": 3}.get(fault or "", 4)] += 1


def _difference(
    code: str, day: date, fault: Fault, ours: _Ours | None, theirs: SettledPayment | None
) -> Difference:  # fmt: skip
    is_refund = fault == "refund_differs"
    taken = ours if ours is not None and ours.is_taken else None
    return Difference(
        gateway=code, day=day, fault=fault, ref=theirs.ref if theirs else ours.ref if ours else None,
        payment_id=ours.id if ours else theirs.payment_id if theirs else None, order_number=ours.number if ours else None,
        ours_minor=None if taken is None else taken.refunded_minor if is_refund else taken.amount_minor,
        theirs_minor=None if theirs is None else theirs.refunded_minor if is_refund else theirs.amount_minor,
        currency=_currency(ours, theirs),
    )  # fmt: skip


def count_differences(days: Iterable[GatewayDay]) -> int:
    """Return on how many payments the sides do not agree."""
    return sum(day.missing_here + day.missing_there + day.differing for day in days)

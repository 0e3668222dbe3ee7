"""What waits for the people behind the counter today, in a handful of bounded questions; and the counts of it as they change.

Whoever watches is told within `LOOK_EVERY_S`: one process counts once for all its watchers, and only while somebody watches.
"""

import asyncio
import time as clock
from collections.abc import AsyncGenerator
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from weakref import WeakKeyDictionary

import msgspec
from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Database, Transaction
from tradepost.core.live import Entry
from tradepost.delivery.slots import Slot
from tradepost.flows.office_orders import OfficeColumn, read_columns
from tradepost.flows.orders import reading
from tradepost.flows.pay_out import least_payout
from tradepost.flows.store import Store
from tradepost.messaging.queries import UNREAD
from tradepost.orders.processes import courses

MOST_COUNTED = 100
LOOK_EVERY_S: Final = 3.0
_SOON_DAYS = 2

# Sellers who earned enough since their last payout, which took all there was. Ids of payouts and journals grow with time, so the
# index on an account's entries says it at once, however long the books are; a thousand entries are enough to tell.
_EARNED = f"""
    SELECT FROM ledger_accounts a
    CROSS JOIN LATERAL (SELECT coalesce((SELECT p.id FROM payouts p WHERE p.seller_id = a.owner_id ORDER BY p.id DESC LIMIT 1),
                                        '00000000-0000-0000-0000-000000000000') AS id) last_payout
    WHERE CAST(:pays_sellers AS boolean) AND a.kind = 'seller' AND (
        SELECT -sum(amount_minor) FROM (
            SELECT e.amount_minor FROM ledger_entries e WHERE e.account_id = a.id AND e.journal_id > last_payout.id
            ORDER BY e.journal_id LIMIT 1000) n) >= CASE WHEN a.currency = :currency THEN CAST(:least_minor AS bigint) ELSE 1 END
      AND NOT EXISTS (SELECT FROM payouts p WHERE p.seller_id = a.owner_id AND p.currency = a.currency AND p.state IN ('requested', 'sent'))
    LIMIT {MOST_COUNTED}
"""
# Each count stops at a hundred: whoever has more to do than that needs no exact figure.
_WAITING = text(f"""
    SELECT
        (SELECT count(*) FROM (SELECT FROM reports WHERE decision_id IS NULL LIMIT {MOST_COUNTED}) n) AS reports,
        (SELECT count(*) FROM (SELECT FROM appeals WHERE state = 'open' LIMIT {MOST_COUNTED}) n) AS appeals,
        (SELECT count(*) FROM (SELECT FROM verifications WHERE status = 'pending' LIMIT {MOST_COUNTED}) n) AS papers,
        (SELECT count(*) FROM ((SELECT FROM payouts WHERE state = 'requested' LIMIT {MOST_COUNTED}) UNION ALL ({_EARNED})) n) AS payouts,
        (SELECT count(*) FROM (SELECT FROM returns WHERE state IN ('requested', 'accepted') LIMIT {MOST_COUNTED}) n) AS returns,
        (SELECT count(*) FROM (SELECT FROM pgqueuer WHERE status = 'failed' LIMIT {MOST_COUNTED}) n) AS failed_jobs,
        (SELECT count(*) FROM (SELECT FROM delivery_slots WHERE delivery_on BETWEEN :today AND :last AND taken > 0 AND rider_id IS NULL
                               AND status <> 'completed' LIMIT {MOST_COUNTED}) n) AS slots,
        (SELECT count(*) FROM (SELECT FROM orders WHERE placed_at >= :midnight AND payment_state IN ('paid', 'deposit_paid', 'partly_refunded')
                               LIMIT 10000) n) AS orders_today,
        (SELECT coalesce(sum(total_minor), 0)::bigint FROM (
            SELECT total_minor FROM orders WHERE placed_at >= :midnight
                AND payment_state IN ('paid', 'deposit_paid', 'partly_refunded') LIMIT 10000) n) AS sold_today_minor
""")
_SLOTS = text("""
    SELECT s.id, s.delivery_on, s.starts_at, s.ends_at, s.capacity, s.taken, s.rider_id, s.status,
           coalesce(u.display_name, '') AS rider_name
    FROM delivery_slots s LEFT JOIN users u ON u.id = s.rider_id
    WHERE s.delivery_on BETWEEN :today AND :last ORDER BY s.delivery_on, s.starts_at, s.id LIMIT 60
""")


class Waiting(msgspec.Struct, frozen=True):
    """How much waits, part by part; at most 100 of each is counted. `payouts`: asked for, or earned and enough to be paid."""

    reports: int
    appeals: int
    papers: int
    payouts: int
    returns: int
    failed_jobs: int
    slots: int
    orders_today: int
    sold_today_minor: int


class SlotToday(Slot, frozen=True):
    """A delivery window of today or tomorrow, and who drives."""

    rider_name: str


class Today(msgspec.Struct, frozen=True, kw_only=True):
    """What waits now. `columns`: open orders that staff or sellers can bring on; `unpaid` wait for their buyers."""

    day: date
    columns: tuple[OfficeColumn, ...]
    unpaid: int
    waiting: Waiting
    slots: tuple[SlotToday, ...]


async def get_today(store: Store, caller: Caller) -> Today:
    """Return what waits. For whoever works here; a part that the caller may not see is left out by the page. Raises `NotAllowed`."""
    caller.check_can("staff")
    day = now().astimezone(store.zone).date()
    columns: tuple[OfficeColumn, ...] = ()
    unpaid = 0
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        if caller.can("see_all_orders"):
            columns, unpaid = await _open_orders(tx)
        waiting = await _waiting(tx, store, day)
        slots: list[Any] = []
        if store.settings.features.delivery:
            slots = await tx.all(_SLOTS, into=SlotToday, today=day, last=_last(day))
    return Today(day=day, columns=columns, unpaid=unpaid, waiting=waiting, slots=tuple(slots))


def _last(day: date) -> date:
    return day + timedelta(days=_SOON_DAYS - 1)


async def _waiting(tx: Transaction, store: Store, day: date) -> Waiting:
    midnight = datetime.combine(day, time(), store.zone)
    pays = store.settings.features.selling != "staff"  # where only staff sell, what is earned is the store's own
    return await tx.one(
        _WAITING, into=Waiting, midnight=midnight, today=day, last=_last(day), pays_sellers=pays, currency=store.currency,
        least_minor=least_payout(store, store.currency),
    )  # fmt: skip


async def _open_orders(tx: Transaction) -> tuple[tuple[OfficeColumn, ...], int]:
    """Return how many orders somebody here could bring on, state by state, and how many wait for their payment."""
    known = await courses(tx)
    columns: list[OfficeColumn] = []
    unpaid = 0
    for column in await read_columns(tx, known):
        course = known[column.process]
        if course.payment_move(column.state) is not None:
            unpaid += column.count
        elif course.choices(column.state, frozenset({"staff", "seller", "rider"})):
            columns.append(column)
    return tuple(columns), unpaid


class DeskCounts(msgspec.Struct, frozen=True):
    """How much waits for one of those who work here, part by part; 0 where it is not theirs. `state` changes whenever any of it does."""

    orders: int
    unpaid: int
    returns: int
    slots: int
    messages: int
    papers: int
    reports: int
    appeals: int
    payouts: int
    failed_jobs: int
    total: int
    state: str


_Counted = tuple[float, tuple[OfficeColumn, ...], int, Waiting]
_counted: WeakKeyDictionary[Database, _Counted] = WeakKeyDictionary()


async def _count(store: Store) -> _Counted:
    """Count for everybody who watches in this process."""
    known = _counted.get(store.db)
    if known and clock.monotonic() - known[0] < LOOK_EVERY_S / 2:
        return known
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        columns, unpaid = await _open_orders(tx)
        waiting = await _waiting(tx, store, now().astimezone(store.zone).date())
    found = _counted[store.db] = clock.monotonic(), columns, unpaid, waiting
    return found


async def count_desk(store: Store, caller: Caller) -> DeskCounts:
    """Return how much waits for the caller, no older than a second or two. Raises `NotAllowed`."""
    caller.check_can("staff")
    _, columns, unpaid, waiting = await _count(store)
    messages = 0
    if store.settings.features.messages and caller.user_id is not None:
        async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
            messages = await tx.value(UNREAD, user_id=caller.user_id)
    sees, trusts = caller.can("see_all_orders"), caller.can("moderate")
    counts = {
        "orders": sum(c.count for c in columns) if sees else 0, "unpaid": unpaid if sees else 0,
        "returns": waiting.returns if sees else 0, "slots": waiting.slots if sees and store.settings.features.delivery else 0,
        "messages": messages, "papers": waiting.papers if caller.can("manage_people") else 0,
        "reports": waiting.reports if trusts else 0, "appeals": waiting.appeals if trusts else 0,
        "payouts": waiting.payouts if caller.can("see_reports") else 0,
        "failed_jobs": waiting.failed_jobs if caller.can("manage_store") else 0,
    }  # fmt: skip
    total = sum(counts.values()) - counts["unpaid"]
    places = "/".join(str(c.count) for c in columns) if sees else ""
    return DeskCounts(
        **counts,
        total=total,
        state=f"{places}:{'/'.join(map(str, counts.values()))}:{waiting.orders_today if sees else 0}",
    )


async def watch_desk(store: Store, caller: Caller) -> AsyncGenerator[list[Entry], None]:
    """Return the counts: now, and whenever they changed. Raises `NotAllowed`."""
    caller.check_can("staff")
    return _watch(store, caller)


async def _watch(store: Store, caller: Caller) -> AsyncGenerator[list[Entry], None]:
    shown = ""
    quiet = 0.0
    while True:
        counts = await count_desk(store, caller)
        if counts.state != shown:
            shown, quiet = counts.state, 0.0
            yield [Entry("desk", counts)]
        elif quiet >= _ALIVE_S:
            quiet = 0.0
            yield []
        quiet += LOOK_EVERY_S
        await asyncio.sleep(LOOK_EVERY_S)


_ALIVE_S = 15.0

"""What waits for the people behind the counter today, in a handful of bounded questions."""

from datetime import date, datetime, time, timedelta
from typing import Any

import msgspec
from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.core.clock import now
from tradepost.delivery.slots import Slot
from tradepost.flows.office_orders import OfficeColumn, read_columns
from tradepost.flows.orders import reading
from tradepost.flows.store import Store
from tradepost.orders.processes import courses

MOST_COUNTED = 100
_SOON_DAYS = 2

# Each count stops at a hundred: whoever has more to do than that needs no exact figure.
_WAITING = text(f"""
    SELECT
        (SELECT count(*) FROM (SELECT FROM reports WHERE decision_id IS NULL LIMIT {MOST_COUNTED}) n) AS reports,
        (SELECT count(*) FROM (SELECT FROM appeals WHERE state = 'open' LIMIT {MOST_COUNTED}) n) AS appeals,
        (SELECT count(*) FROM (SELECT FROM verifications WHERE status = 'pending' LIMIT {MOST_COUNTED}) n) AS papers,
        (SELECT count(*) FROM (SELECT FROM payouts WHERE state = 'requested' AND gateway = 'manual' LIMIT {MOST_COUNTED}) n) AS payouts,
        (SELECT count(*) FROM (SELECT FROM returns WHERE state IN ('requested', 'accepted') LIMIT {MOST_COUNTED}) n) AS returns,
        (SELECT count(*) FROM (SELECT FROM pgqueuer WHERE status = 'failed' LIMIT {MOST_COUNTED}) n) AS failed_jobs,
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
    """How much waits, part by part; at most 100 of each is counted."""

    reports: int
    appeals: int
    papers: int
    payouts: int
    returns: int
    failed_jobs: int
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
    midnight = datetime.combine(day, time(), store.zone)
    columns: list[OfficeColumn] = []
    unpaid = 0
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        if caller.can("see_all_orders"):
            known = await courses(tx)
            for column in await read_columns(tx, known):
                course = known[column.process]
                if course.payment_move(column.state) is not None:
                    unpaid += column.count
                elif course.choices(column.state, frozenset({"staff", "seller", "rider"})):
                    columns.append(column)
        waiting = await tx.one(_WAITING, into=Waiting, midnight=midnight)
        slots: list[Any] = []
        if store.settings.features.delivery:
            slots = await tx.all(_SLOTS, into=SlotToday, today=day, last=day + timedelta(days=_SOON_DAYS - 1))
    return Today(day=day, columns=tuple(columns), unpaid=unpaid, waiting=waiting, slots=tuple(slots))

"""Alerts at work: what people ask for is filed for the matcher, and what is new or changed finds those who asked for it."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.alerts.compiling import compile_alerts, list_stale, list_unfiled
from tradepost.alerts.criteria import Offered
from tradepost.alerts.events import AlertChanged, AlertRemoved, AlertSaved
from tradepost.alerts.matching import (
    CLAIMED,
    MOST_AT_ONCE,
    Change,
    Pair,
    claim_waiting,
    find_matches,
    find_page,
    record_matches,
)
from tradepost.catalog.listing_pages import category_tree
from tradepost.core.database import SYSTEM, Transaction
from tradepost.core.jobs import Priority, Request, enqueue, enqueue_all, job, scheduled
from tradepost.flows.store import Store
from tradepost.flows.tell_matches import tell_matches

NOBODY: Final = UUID(int=0)
_SOURCES = text("SELECT code FROM sources")


class Crowd(msgspec.Struct, frozen=True):
    """A listing that very many alerts are for, and after which of them to go on."""

    change: Change
    after: UUID = NOBODY


async def offered_by(store: Store) -> Offered:
    """Return what an alert can ask for in this store."""
    settings = store.settings
    return Offered(
        currency=store.currency,
        categories=(await category_tree(store.db)).by_slug,
        kinds=[k.code for k in settings.kinds], feeds=[f.code for f in settings.feeds],
        conditions=[c.code for c in settings.conditions], sources=[r[0] for r in await store.db.read(_SOURCES)],
        choices={f.key: f.choices for kind in settings.kinds for f in kind.fields if f.type == "choice" and f.filter},
    )  # fmt: skip


@job("alerts.match_waiting")
async def match_waiting(store: Store) -> None:
    """Match the listings that wait, until none does. What waits is forgotten when what was found is written, so a crash loses nothing."""
    while await match_some(store) == CLAIMED:
        pass


async def match_some(store: Store) -> int:
    """Match up to 200 of the listings that wait; return how many there were."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        changes = await claim_waiting(tx)
        if changes:
            await _match(tx, store, changes)
        return len(changes)


async def _match(tx: Transaction, store: Store, changes: list[Change]) -> None:
    """Write down what was found. A listing for a crowd is a job of its own, so that no other waits for it."""
    pairs = await find_matches(tx, changes)
    found: dict[UUID, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(pair.listing_id, []).append(pair)
    crowds = [c for c in changes if len(found.get(c.listing_id, ())) >= MOST_AT_ONCE]
    await enqueue_all(tx, [Request("alerts.match_crowd", Crowd(c), priority=Priority.BACKGROUND) for c in crowds])
    apart = {c.listing_id for c in crowds}
    matches = await record_matches(tx, changes, [p for p in pairs if p.listing_id not in apart])
    await tell_matches(tx, store, matches)


@job("alerts.match_crowd", args=Crowd)
async def match_crowd(store: Store, crowd: Crowd) -> None:
    """Write down so many of the alerts that a listing is for, and leave the rest to another job. Idempotent."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        pairs = await find_page(tx, crowd.change, crowd.after)
        if pairs:
            await tell_matches(tx, store, await record_matches(tx, [crowd.change], pairs))
            await enqueue(
                tx, "alerts.match_crowd", Crowd(crowd.change, pairs[-1].alert_id), priority=Priority.BACKGROUND
            )


@job("alerts.file_saved", args=AlertSaved)
async def file_saved(store: Store, fact: AlertSaved) -> None:
    """Have a new alert found by what it is for."""
    await file_alerts(store, [fact.alert_id])


@job("alerts.file_changed", args=AlertChanged)
async def file_changed(store: Store, fact: AlertChanged) -> None:
    """Have a changed alert found by what it is for now, and a paused one not at all."""
    await file_alerts(store, [fact.alert_id])


@job("alerts.file_removed", args=AlertRemoved)
async def file_removed(store: Store, fact: AlertRemoved) -> None:
    """Have a removed alert not found any more."""
    await file_alerts(store, [fact.alert_id])


async def file_alerts(store: Store, ids: list[UUID]) -> None:
    """Make the index what these alerts say now. Idempotent."""
    offered = await offered_by(store)
    async with store.db.transaction(actor=SYSTEM) as tx:
        await compile_alerts(tx, ids, offered)


@scheduled("alerts.catch_up", cron="* * * * *")
async def catch_up(store: Store) -> None:
    """Match what still waits, and file what is not filed: after a restart, or when words mean something else."""
    await _file_each(store, list_unfiled)
    await match_waiting(store)


@scheduled("alerts.file_anew", cron="29 3 * * *", time_limit=timedelta(hours=1))
async def file_anew(store: Store) -> None:
    """File alerts anew that were filed when the store had less than half of what it has now: what is rare may be common by now."""
    await _file_each(store, list_stale)


async def _file_each(store: Store, list_some: Callable[[Transaction, UUID], Awaitable[list[UUID]]]) -> None:
    """File all that a read lists, in transactions of their own."""
    after = NOBODY
    while True:
        async with store.db.transaction(actor=SYSTEM) as tx:
            ids = await list_some(tx, after)
        if not ids:
            return
        await file_alerts(store, ids)
        after = ids[-1]

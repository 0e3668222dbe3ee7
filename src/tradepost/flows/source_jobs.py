"""Reading sources by the clock, and at once when the staff ask."""

from datetime import timedelta
from uuid import UUID

import msgspec

from tradepost.accounts.types import Caller
from tradepost.core.database import SYSTEM
from tradepost.core.jobs import Priority, Request, enqueue, enqueue_all, job, scheduled
from tradepost.flows.push_listings import PERMISSION
from tradepost.flows.read_sources import read_source
from tradepost.flows.source_pictures import keep_pictures, requests_for_rest
from tradepost.flows.store import Store
from tradepost.flows.wanted_pictures import FetchPictures
from tradepost.sources.queries import find_source
from tradepost.sources.service import prune_runs, take_due
from tradepost.sources.types import AlreadyReading, BeganBy, NoSuchSource


class ReadSource(msgspec.Struct, frozen=True):
    """A source to read."""

    source_id: UUID
    began_by: BeganBy = "schedule"


@scheduled("sources.read_due", cron="* * * * *")
async def read_due(store: Store) -> None:
    """Have the sources read whose time has come, and those whose reading was interrupted."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        due = await take_due(tx)
        await enqueue_all(tx, [
            Request("sources.read", ReadSource(source_id), dedupe=f"read-{source_id}", priority=Priority.PATIENT) for source_id in due
        ])  # fmt: skip


@job("sources.read", args=ReadSource, tries=2, time_limit=timedelta(hours=12))
async def read(store: Store, args: ReadSource) -> None:
    """Read a source; one that is being read already, or is gone, is left alone."""
    try:
        await read_source(store, args.source_id, args.began_by)
    except (AlreadyReading, NoSuchSource):
        return


@job("sources.fetch_pictures", args=FetchPictures, tries=2, time_limit=timedelta(hours=3))
async def fetch_pictures(store: Store, args: FetchPictures) -> None:
    """Keep copies of the first pictures of new listings: some minutes of it, then others have their turn. Idempotent."""
    kept = await keep_pictures(store, args.source_id, args.listing_ids)
    async with store.db.transaction(actor=SYSTEM) as tx:
        await enqueue_all(tx, requests_for_rest(args, kept))


@scheduled("sources.prune_runs", cron="23 4 * * *")
async def prune(store: Store) -> None:
    """Forget old readings and their reports."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await prune_runs(tx)


async def read_now(store: Store, caller: Caller, code: str) -> None:
    """Have a source read as soon as a worker is free. Raises `NoSuchSource`, and what the caller may not."""
    caller.check_scope(PERMISSION)
    caller.check_can(PERMISSION)
    source = await find_source(store.db, code)
    async with store.db.transaction(actor=caller.actor) as tx:
        await enqueue(
            tx, "sources.read", ReadSource(source.id, "hand"), dedupe=f"read-{source.id}", priority=Priority.PATIENT
        )

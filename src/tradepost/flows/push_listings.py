"""What programs send us of an outside market: rows of a source that is pushed instead of read."""

from collections.abc import AsyncIterator

import msgspec

from tradepost.accounts.types import Caller
from tradepost.core.database import SYSTEM
from tradepost.flows.ingest import Intake, Progress, bearings_of, take_off_missing
from tradepost.flows.store import Store
from tradepost.sources.formats import Broken
from tradepost.sources.queries import find_source, get_run, list_errors
from tradepost.sources.service import begin_run, end_run
from tradepost.sources.types import Claim, NoSuchSource, Raw, RowError, Run

PERMISSION = "manage_catalog"


class Receipt(msgspec.Struct, frozen=True):
    """What became of rows that were sent: counts in `run`, the first refusals, and why the rest was not read where that is so."""

    run: Run
    errors: tuple[RowError, ...]
    problem: str = ""


async def receive_rows(
    store: Store,
    caller: Caller,
    code: str,
    raws: AsyncIterator[Raw],
    *,
    complete: bool = False,
    progress: Progress | None = None,
) -> Receipt:
    """Take rows of a source, in batches that commit one by one; sending them again changes nothing more.

    `complete`: these are all of the source's listings, others have gone. Raises `NoSuchSource`, and what the caller may not.
    """
    caller.check_scope(PERMISSION)
    caller.check_can(PERMISSION)
    source = await find_source(store.db, code)
    if not source.is_active:
        raise NoSuchSource
    async with store.db.transaction(actor=SYSTEM) as tx:
        claim = await begin_run(tx, source.id, "push")
    intake = Intake(store, source, claim, await bearings_of(store), notes_seen=complete)
    problem = ""
    try:
        outcome = await intake.take(raws, progress)
        if complete and outcome.counts.seen > outcome.counts.refused:
            _, problem = await take_off_missing(store, source, claim)
    except Broken as error:
        problem = str(error)
    except BaseException:
        await _end(store, claim, "It was cut short.", is_whole=False)
        raise
    await _end(store, claim, problem, is_whole=not problem)
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        return Receipt(await get_run(tx, claim.run_id), tuple(await list_errors(tx, claim.run_id)), problem)


async def _end(store: Store, claim: Claim, problem: str, *, is_whole: bool) -> None:
    async with store.db.transaction(actor=SYSTEM) as tx:
        await end_run(tx, claim, "done" if is_whole else "failed", problem)

"""The staff's view of outside markets: which there are, how reading them goes, how they are read."""

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from croniter import croniter

from tradepost.accounts.types import Caller
from tradepost.catalog.markets import add_source, change_source, remove_source, switch_source
from tradepost.core.clock import now
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.text import one_line
from tradepost.flows.push_listings import PERMISSION, Receipt
from tradepost.flows.store import Store
from tradepost.sources import queries
from tradepost.sources.service import plan_reading
from tradepost.sources.types import NoSuchRun, NoSuchSource, Run, Source, SourceDraft, SourceHealth

_FROM_HERE = ("http://", "https://", "sample:", "folder:")


async def see_sources(store: Store, caller: Caller) -> list[SourceHealth]:
    """Return every source with how it fares. For who manages the catalogue."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await queries.list_health(tx)


async def see_source(
    store: Store, caller: Caller, code: str, *, before: UUID | None = None
) -> tuple[Source, list[Run]]:
    """Return a source and its latest readings. Raises `NoSuchSource`."""
    caller.check_can(PERMISSION)
    source = await queries.find_source(store.db, code)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return source, await queries.list_runs(tx, source.id, before=before)


async def read_run(store: Store, caller: Caller, code: str, run_id: UUID, *, after: int = 0) -> Receipt:
    """Return a reading with the rows it refused, a hundred from the one numbered `after`. Raises `NoSuchSource`, `NoSuchRun`."""
    caller.check_can(PERMISSION)
    source = await queries.find_source(store.db, code)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        run = await queries.get_run(tx, run_id)
        if run.source_id != source.id:
            raise NoSuchRun
        return Receipt(run, tuple(await queries.list_errors(tx, run_id, after=after)), run.message)


async def put_source(store: Store, caller: Caller, draft: SourceDraft, *, code: str | None = None) -> str:
    """Add a source, or change the one with this code; return its code. Raises `FieldErrors`, `SourceTaken`, `NoSuchSource`."""
    caller.check_scope(PERMISSION)
    caller.check_can(PERMISSION)
    check_fields(broken_limits(draft) | _problems(store, draft))
    values = msgspec.structs.asdict(draft) | {
        "settings": msgspec.to_builtins(draft.settings),
        "name": one_line(draft.name),
    }
    async with store.db.transaction(actor=caller.actor) as tx:
        if code is None:
            source_id = await add_source(tx, values)
        else:
            source_id = (await queries.find_source(store.db, code)).id
            await change_source(tx, source_id, values)
        await plan_reading(tx, source_id, next_reading(draft.schedule, store.zone))
    return draft.code


def _problems(store: Store, draft: SourceDraft) -> dict[str, str | None]:
    slug_is_good = (
        bool(draft.code) and all(c.isascii() and (c.isalnum() or c == "-") for c in draft.code) and draft.code.islower()
    )
    settings = draft.settings
    return {
        "code": None if slug_is_good else "Small letters, digits and hyphens.",
        "name": None if one_line(draft.name) else "This is needed.",
        "url": None if draft.kind == "push" or draft.url.startswith(_FROM_HERE) or (draft.kind == "pages" and settings.pages) else "An address, please: https://…",
        "schedule": None if not draft.schedule or is_schedule(draft.schedule) else "Five fields: minute hour day month weekday.",
        "category": None if not settings.category or any(c.slug == settings.category for c in store.settings.categories) else "Choose one of the categories.",
        "selectors": None if draft.kind != "search_page" or settings.selectors.item else "Say which part of the page is one result.",
    }  # fmt: skip


def is_schedule(text: str) -> bool:
    """Whether text is five fields of cron that come round at all."""
    return len(text.split()) == 5 and croniter.is_valid(text, strict=True)


def next_reading(schedule: str, zone: ZoneInfo, *, failures: int = 0) -> datetime | None:
    """Return when a source is read next by its schedule, later after failures; None without one."""
    if not schedule:
        return None
    times = croniter(schedule, now().astimezone(zone))
    found: datetime = times.get_next(datetime)
    for _ in range(min(2 ** min(failures, 6), 64) - 1):
        found = times.get_next(datetime)
    return found


async def switch(store: Store, caller: Caller, code: str, *, on: bool) -> None:
    """Have a source read, or no longer. Raises `NoSuchSource`."""
    caller.check_scope(PERMISSION)
    caller.check_can(PERMISSION)
    source = await queries.find_source(store.db, code)
    async with store.db.transaction(actor=caller.actor) as tx:
        await switch_source(tx, source.id, on=on)
        await plan_reading(tx, source.id, next_reading(source.schedule, store.zone) if on else None)


async def remove(store: Store, caller: Caller, code: str) -> None:
    """Delete a source from which nothing was ever read. Raises `NoSuchSource`."""
    caller.check_scope(PERMISSION)
    caller.check_can(PERMISSION)
    source = await queries.find_source(store.db, code)
    async with store.db.transaction(actor=caller.actor) as tx:
        if not await remove_source(tx, source.id):
            raise NoSuchSource

"""What `tradepost ingest` does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tradepost.accounts.types import Caller
from tradepost.cli.serve import open_stores
from tradepost.core.database import SYSTEM
from tradepost.core.ids import uuid7
from tradepost.core.money import to_major
from tradepost.core.settings import Settings
from tradepost.flows.ingest import Progress as Report
from tradepost.flows.preview_source import Preview, preview_source
from tradepost.flows.push_listings import PERMISSION, receive_rows
from tradepost.flows.read_sources import feed_rows, file_chunks, read_source
from tradepost.flows.store import Store
from tradepost.sources.fetching import unpacked
from tradepost.sources.queries import find_source, list_health
from tradepost.sources.types import Counts, Kind, Run, SourceDraft, SourceUnreadable

_console = Console()
_BY_NAME: dict[str, Kind] = {
    ".ndjson": "ndjson_feed",
    ".jsonl": "ndjson_feed",
    ".csv": "csv_feed",
    ".tsv": "csv_feed",
    ".xml": "rss_feed",
}


def _operator() -> Caller:
    """Return whoever runs commands on the server: they have its database anyway."""
    return Caller(user_id=uuid7(), permissions=frozenset({PERMISSION, "staff"}))


@asynccontextmanager
async def _opened(settings: Settings, code: str) -> AsyncIterator[Store]:
    async with open_stores(msgspec.structs.replace(settings, stores=(code,))) as stores:
        yield stores[code]


@asynccontextmanager
async def _reporting(what: str) -> AsyncIterator[Report]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    with Progress(*columns, console=_console) as bar:
        task = bar.add_task(what, total=None, said="")

        async def report(counts: Counts, read_bytes: int) -> None:
            said = (
                f"{counts.seen:,} rows, {counts.inserted:,} new, {counts.changed:,} changed, {counts.refused:,} refused"
            )
            bar.update(task, said=said + (f", {read_bytes / 1e6:,.1f} MB" if read_bytes else ""))

        yield report


async def print_sources(settings: Settings, code: str) -> None:
    """Print a store's sources as a table."""
    table = Table("Source", "Kind", "On offer", "Last reading", "Refused", "Failures", "Schedule")
    async with _opened(settings, code) as store, store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        for s in await list_health(tx):
            last = f"{s.run_state} {s.run_at:%Y-%m-%d %H:%M}" if s.run_at else "never"
            table.add_row(
                s.code,
                s.kind,
                f"{s.listings:,}",
                last,
                str(s.run_refused or 0),
                str(s.failures),
                s.schedule if s.is_active else "off",
            )
    _console.print(table)


async def read_with_progress(settings: Settings, code: str, source_code: str) -> None:
    """Read a source and print how it ended. Raises `SourceUnreadable` where it failed."""
    async with _opened(settings, code) as store:
        source = await find_source(store.db, source_code)
        async with _reporting(source.name) as report:
            ending = await read_source(store, source.id, "command", progress=report)
    print_run(ending.run)
    if ending.problem:
        raise SourceUnreadable(source.name, ending.problem)


async def push_file(settings: Settings, code: str, source_code: str, path: Path, *, complete: bool) -> None:
    """Take a file's rows and print what became of them. Raises `SourceUnreadable` where the file breaks off."""
    async with _opened(settings, code) as store:
        source = await find_source(store.db, source_code)
        suffixes = [s.lower() for s in path.suffixes]
        kind = next((_BY_NAME[s] for s in reversed(suffixes) if s in _BY_NAME), "json_feed")
        chunks = file_chunks(path)
        rows = feed_rows(
            msgspec.structs.replace(source, kind=kind), unpacked(chunks) if suffixes[-1:] == [".gz"] else chunks
        )
        async with _reporting(path.name) as report:
            receipt = await receive_rows(store, _operator(), source_code, rows, complete=complete, progress=report)
    print_run(receipt.run)
    for error in receipt.errors[:20]:
        _console.print(f"  {error.place}: {error.reason}", style="dim")
    if receipt.problem:
        raise SourceUnreadable(path.name, receipt.problem)


def print_run(run: Run) -> None:
    """Print what a reading brought."""
    _console.print(
        f"{run.seen:,} rows: {run.inserted:,} new, {run.changed:,} changed, {run.returned:,} came back, {run.gone:,} gone, "
        f"{run.unchanged:,} as they were, {run.refused:,} refused"
    )


async def print_preview(settings: Settings, code: str, address: str) -> None:
    """Print what would be read from an address. Raises `SourceUnreadable` where that is nothing."""
    async with _opened(settings, code) as store:
        draft = SourceDraft(code="", name="", kind="pages", url=address)
        found: Preview = await preview_source(store, _operator(), draft, guess=True)
    if found.problem:
        raise SourceUnreadable(address, found.problem)
    table = Table("Where", "Id", "Title", "Price", "Availability", title=found.draft.kind)
    for row in found.rows:
        one = row.listing
        if one is None:
            table.add_row(row.place, "", f"[red]{row.reason}[/]", "", "")
            continue
        price = (
            ""
            if one.price_minor is None or one.currency is None
            else f"{to_major(one.price_minor, one.currency)} {one.currency}"
        )
        table.add_row(
            row.place,
            one.external_id,
            one.title,
            price,
            one.status if one.status != "active" else "in stock" if one.in_stock else "out of stock",
        )
    _console.print(table)

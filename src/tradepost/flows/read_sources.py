"""Reading a source from end to end: a run begins or goes on, rows come in, what is missing is taken off, the next reading is planned."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from tradepost.core.database import SYSTEM
from tradepost.core.errors import DomainError, Unavailable
from tradepost.core.http import Outside
from tradepost.flows.ingest import Intake, Progress, bearings_of, take_off_missing
from tradepost.flows.manage_sources import next_reading
from tradepost.flows.store import Store
from tradepost.sources import queries
from tradepost.sources.fetching import AGENT, Fetcher, Sleep, Stream, TakeTurn, unpacked
from tradepost.sources.formats import Broken, known_encoding, read_csv, read_json, read_ndjson, read_xml
from tradepost.sources.pages import Extent, given_addresses, read_addresses, read_saved, read_search, sitemap_addresses
from tradepost.sources.service import (
    BEAT_S,
    begin_document,
    end_run,
    keep_run,
    note_state,
    release_run,
    take_run,
    take_turn,
)
from tradepost.sources.types import BeganBy, Claim, Raw, Run, RunLost, Source, SourceUnreadable

_log = structlog.get_logger()
_FEEDS: Final = frozenset(("json_feed", "ndjson_feed", "csv_feed", "rss_feed"))
_CHUNK: Final = 1 << 16
Connect = Callable[[Source], Fetcher]


class Ending(msgspec.Struct, frozen=True):
    """How a run ended: `problem` empty where all is well."""

    run: Run
    problem: str


async def read_source(
    store: Store,
    source_id: UUID,
    began_by: BeganBy,
    *,
    connect: Connect | None = None,
    progress: Progress | None = None,
    sleep: Sleep = asyncio.sleep,
) -> Ending:
    """Read a source, from where an interrupted run of it stopped. Raises `NoSuchSource`, `AlreadyReading`.

    What is wrong with the source ends the run and is in the answer; a process that is stopped or dies leaves the run to be gone on
    with, at once or after it has done nothing for some minutes. One that only seemed dead writes nothing more: `RunLost`.
    """
    async with store.db.transaction(actor=SYSTEM) as tx:
        source = await queries.get_source(tx, source_id)
        claim = await take_run(tx, source_id, began_by)
        run = await queries.get_run(tx, claim.run_id)
        validators = await queries.read_validators(tx, source_id)
    notes = _Notes(run, claim, validators)
    problem = ""
    try:
        async with opened_fetcher(store, source, connect) as fetcher:
            reading = asyncio.ensure_future(_take(store, source, notes, fetcher, progress))
            problem = await _held(store, claim, reading, sleep)
    except RunLost:
        raise
    except DomainError as error:
        problem = str(error)
    except Exception:
        # Left to be gone on with, it would fail again every minute.
        await _end(store, source, notes, "Something unexpected went wrong; the log says what.")
        raise
    except BaseException:
        await asyncio.shield(_let_go(store, claim))
        raise
    run = await _end(store, source, notes, problem)
    _log.info("source read", source=source.code, state=run.state, seen=run.seen, refused=run.refused, problem=problem)
    return Ending(run, problem)


async def _held(store: Store, claim: Claim, reading: asyncio.Future[str], sleep: Sleep) -> str:
    """Say that somebody is at a run until its reading is done, however silent its source; return what the reading returns."""
    beating = asyncio.create_task(_beat(store, claim, sleep))
    try:
        await asyncio.wait((reading, beating), return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            beating.result()  # raises RunLost, nothing else ends it
        return await reading
    finally:
        for task in (reading, beating):
            task.cancel()
        await asyncio.gather(reading, beating, return_exceptions=True)


async def _beat(store: Store, claim: Claim, sleep: Sleep) -> None:
    """Keep a run again and again. Raises `RunLost`; a database that is away for a while is no reason to give it up."""
    while True:
        await sleep(BEAT_S)
        with suppress(Unavailable):
            async with store.db.transaction(actor=SYSTEM) as tx:
                await keep_run(tx, claim)


async def _end(store: Store, source: Source, notes: "_Notes", problem: str) -> Run:
    """End a run and plan the next reading, after a failure later and later; return the run. Raises `RunLost`."""
    source_id = source.id
    state: Any = "failed" if problem else "done"
    async with store.db.transaction(actor=SYSTEM) as tx:
        failures = await queries.count_failures(tx, source_id) + 1 if problem else 0
        await end_run(tx, notes.claim, state, problem or notes.message)
        await note_state(
            tx, source_id, due_at=next_reading(source.schedule, store.zone, failures=failures), failed=bool(problem),
            validators=None if problem else notes.validators,
        )  # fmt: skip
        return await queries.get_run(tx, notes.run.id)


async def _let_go(store: Store, claim: Claim) -> None:
    """Leave a run to whoever reads the source next."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await release_run(tx, claim)


class _Notes:
    """What a run learns on its way: how many bytes there are, and what its server says."""

    def __init__(self, run: Run, claim: Claim, validators: Mapping[str, Any]) -> None:
        self.run = run
        self.claim = claim
        self.known = {k: str(v) for k, v in validators.items()}
        self.validators: dict[str, Any] = dict(validators)
        self.message = ""
        self.bytes = 0
        self.whole: int | None = None
        self.is_unchanged = False
        self.extent = Extent()

    async def counted(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Pass a stream on and count its bytes."""
        async for chunk in chunks:
            self.bytes += len(chunk)
            yield chunk


async def _take(store: Store, source: Source, notes: _Notes, fetcher: Fetcher, progress: Progress | None) -> str:
    intake = Intake(store, source, notes.claim, await bearings_of(store), notes_seen=source.settings.complete)
    intake.read_bytes = lambda: (notes.bytes, notes.whole)
    rows = _rows(store, source, notes, fetcher)
    try:
        counts = (await intake.take(rows, progress)).counts
    except Broken as error:
        return str(error)
    if counts.seen and counts.refused == counts.seen:
        return "Every row was refused; nothing was taken off, please look at the report."
    if notes.is_unchanged or not source.settings.complete:
        return ""
    if notes.extent.is_cut:
        notes.message = "It has more pages than are read; nothing was taken off."
        return ""
    _, problem = await take_off_missing(store, source, notes.claim)
    return problem


@asynccontextmanager
async def opened_fetcher(store: Store, source: Source, connect: Connect | None = None) -> AsyncIterator[Fetcher]:
    """Lend what asks a source's servers, at its pace, which it shares with whoever else in the store asks them."""
    if connect is not None:
        yield connect(source)
        return
    settings = store.installation.ingest
    async with Outside(allowed=settings.allow, agent=f"{AGENT} (+{store.base_url})") as outside:
        yield Fetcher(source.name, outside, pause_s=source.pause_s, take_turn=turns_of(store))


def turns_of(store: Store) -> TakeTurn:
    """Return what takes the next moment of a server, for every reader of the store alike."""

    async def take(host: str, pause_s: float) -> float:
        async with store.db.transaction(actor=SYSTEM) as tx:
            return await take_turn(tx, host, timedelta(seconds=pause_s))

    return take


async def _rows(store: Store, source: Source, notes: _Notes, fetcher: Fetcher) -> AsyncIterator[Raw]:
    """Yield a source's rows that its run has not taken yet."""
    home = source.settings.currency or store.currency
    if source.kind in _FEEDS:
        async for raw in _feed_rows(store, source, notes, fetcher):
            yield raw
        return
    if source.kind == "push":
        raise SourceUnreadable(source.name, "its listings are sent to us, there is nothing to read")
    skip = notes.run.at_row
    if source.kind == "folder":
        pages = _from_thread(read_saved(local_path(store, source.url), home))
    elif source.kind == "search_page":
        pages = read_search(fetcher, source, home, notes.extent)
    elif source.kind == "sitemap":
        urls = _after(sitemap_addresses(fetcher, source, notes.extent), skip)
        pages = read_addresses(fetcher, source, urls, home, notes.extent)
        skip = 0
    else:
        pages = read_addresses(fetcher, source, _after(given_addresses(source), skip), home, notes.extent)
        skip = 0
    async for raw in _after(pages, skip):
        yield raw


async def _after(rows: AsyncIterator[Any], skip: int) -> AsyncIterator[Any]:
    async for row in rows:
        if skip > 0:
            skip -= 1
        else:
            yield row


async def _from_thread(rows: Any) -> AsyncIterator[Raw]:
    """Yield the rows of a generator that reads files and works, from a thread."""
    while (row := await asyncio.to_thread(next, rows, None)) is not None:
        yield row


async def _feed_rows(store: Store, source: Source, notes: _Notes, fetcher: Fetcher) -> AsyncIterator[Raw]:
    async with _opened(store, source, notes, fetcher) as stream:
        if stream is None:
            notes.is_unchanged, notes.message = True, "It has not changed since it was last read."
            return
        document = msgspec.json.encode(stream.validators).decode() if stream.validators else ""
        skip = notes.run.at_row
        is_other = bool(skip) and document != notes.run.document
        async with store.db.transaction(actor=SYSTEM) as tx:
            await begin_document(tx, notes.claim, document, anew=is_other)
        notes.whole, notes.validators = stream.whole, dict(stream.validators)
        rows = feed_rows(source, notes.counted(stream.chunks), stream.content_type)
        async for raw in _after(rows, 0 if is_other else skip):
            yield raw


@asynccontextmanager
async def _opened(store: Store, source: Source, notes: _Notes, fetcher: Fetcher) -> AsyncIterator[Stream | None]:
    """Lend a feed; a run that goes on has to see it again even if it has not changed."""
    if source.url.startswith(("http://", "https://")):
        known = {} if notes.run.at_row else notes.known
        async with fetcher.feed(source.url, known) as stream:
            yield stream
        return
    path = local_path(store, source.url)
    if not path.is_file():
        raise SourceUnreadable(source.name, "there is no such file")
    about = path.stat()
    state = {"etag": f"{about.st_size}-{about.st_mtime_ns}"}
    if not notes.run.at_row and notes.known == state:
        yield None
        return
    chunks = file_chunks(path)
    is_packed = path.suffix == ".gz"
    yield Stream(unpacked(chunks) if is_packed else chunks, None if is_packed else about.st_size, state)


async def file_chunks(path: Path) -> AsyncIterator[bytes]:
    """Yield a file's bytes."""
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk


def feed_rows(source: Source, chunks: AsyncIterator[bytes], content_type: str = "") -> AsyncIterator[Raw]:
    """Return the rows of a feed by its kind."""
    settings = source.settings
    if source.kind == "ndjson_feed":
        return read_ndjson(chunks)
    if source.kind == "csv_feed":
        said = content_type.partition("charset=")[2].partition(";")[0]
        return read_csv(chunks, delimiter=settings.delimiter, encoding=known_encoding(settings.encoding or said))
    if source.kind == "rss_feed":
        return read_xml(chunks)
    return read_json(chunks, settings.items)


def local_path(store: Store, url: str) -> Path:
    """Return the place of a local source: below the preset's sample (`sample:`) or the installation's folder (`folder:`).

    Raises `SourceUnreadable` for any other place.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "sample":
        base = store.preset_folder / "sample"
    elif scheme == "folder" and store.installation.ingest.folder:
        base = Path(store.installation.ingest.folder)
    else:
        raise SourceUnreadable("The source", "the installation has no folder for saved pages (ingest.folder)")
    path = (base / rest.strip("/")).resolve()
    if not path.is_relative_to(base.resolve()) or not path.exists():
        raise SourceUnreadable("The source", f"there is no “{rest[:100]}” in its folder")
    return path

"""Rows of a source become listings, batch by batch.

Promises that what a batch brings is merged, counted and reported together, so that a run that is interrupted goes on after the last
whole batch; that the next batch is read while the one before is merged, and no more than two are ever in memory; and that what has
not changed since its row was last seen is recognised by the row's hash, before anything is made of it.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Final
from uuid import UUID

import msgspec

from tradepost.alerts.service import listings_changed
from tradepost.catalog.outside import LANES, finish_documents, known_items, lock_source, mark_gone, merge_rows
from tradepost.catalog.outside_types import KnownItem, OutsideRow
from tradepost.core.database import SYSTEM, Transaction
from tradepost.flows.same_things import cluster
from tradepost.flows.store import Store
from tradepost.flows.wanted_pictures import want_pictures
from tradepost.sources import queries
from tradepost.sources.mapping import Bearings, Reader
from tradepost.sources.service import note_batch
from tradepost.sources.types import BadRow, Claim, Counts, NoSuchSource, Raw, RowError, Source

BATCH: Final = 1000
_WORTH_LANES: Final = 200
_GONE_AT_ONCE: Final = 1000
_LONGEST_EXCERPT: Final = 300
_LONGEST_BATCH_S: Final = 5.0
Progress = Callable[[Counts, int], Awaitable[None]]


class Outcome(msgspec.Struct, frozen=True):
    """What some rows did, with those that were refused."""

    counts: Counts = Counts()
    errors: tuple[RowError, ...] = ()

    def __add__(self, other: "Outcome") -> "Outcome":
        """Return both together, with the first hundred refusals."""
        return Outcome(self.counts + other.counts, (*self.errors, *other.errors)[:100])


class _Batch(msgspec.Struct, frozen=True):
    """Rows that were read: those to merge, the ids of those that are as they were, and what was refused."""

    rows: tuple[OutsideRow, ...]
    same: tuple[UUID, ...]
    errors: tuple[RowError, ...]
    size: int


async def bearings_of(store: Store) -> Bearings:
    """Return what rows are understood by in this store."""
    names, settings = await queries.read_names(store.db), store.settings
    return Bearings(
        currency=store.currency, kinds={k.code: msgspec.to_builtins(k.fields) for k in settings.kinds}, feed=settings.feeds[0].code,
        categories={slug: UUID(found) for slug, found in names["categories"].items()},
        category_names={name: UUID(found) for name, found in names["category_names"].items()},
        conditions={word: c.code for c in settings.conditions for word in (c.code, c.name.casefold())},
        places={name: (label, lat, lon) for name, (label, lat, lon) in names["places"].items()},
        units={k.code: k.default_unit for k in settings.kinds},
    )  # fmt: skip


class Intake:
    """Takes the rows of one source into a store, for one run."""

    def __init__(
        self, store: Store, source: Source, claim: Claim, bearings: Bearings, *, notes_seen: bool = False
    ) -> None:
        self._store = store
        self._source = source
        self._claim = claim
        self._reader = Reader(source.settings, bearings, source.url)
        self._notes_seen = notes_seen
        self.read_bytes: Callable[[], tuple[int, int | None]] = lambda: (0, None)

    async def take(self, raws: AsyncIterator[Raw], progress: Progress | None = None) -> Outcome:
        """Take rows until there are no more. What was taken before an error stays."""
        whole, merging = Outcome(), None
        async with aclosing(_batches(raws)) as batches:  # type: ignore[type-var]  # an async generator
            try:
                async for batch in batches:
                    prepared = await self._prepare(batch)
                    if merging is not None:
                        whole += await merging
                        if progress:
                            await progress(whole.counts, self.read_bytes()[0])
                    merging = asyncio.create_task(self._merge(prepared))
            finally:
                if merging is not None:
                    whole += await merging
        if progress:
            await progress(whole.counts, self.read_bytes()[0])
        return whole

    async def _prepare(self, batch: Sequence[Raw]) -> _Batch:
        found, errors = await asyncio.to_thread(self._identify, batch)
        known = await self._known([i for i, _, _ in found], [h for _, h, _ in found])
        rows, more = await asyncio.to_thread(self._understand, found, known)
        same = tuple(k.listing_id for k in known.values() if k.is_same)
        return _Batch(rows, same, (*errors, *more), len(batch))

    async def _known(self, ids: list[str], hashes: list[bytes]) -> dict[int, KnownItem]:
        async with self._store.db.transaction(actor=SYSTEM, read_only=True) as tx:
            return {k.n: k for k in await known_items(tx, self._source.id, ids, hashes)}

    def _identify(self, batch: Sequence[Raw]) -> tuple[list[tuple[str, bytes, Raw]], list[RowError]]:
        """Return the rows with their ids and hashes, the last of each id, and those that have none."""
        found: dict[str, tuple[str, bytes, Raw]] = {}
        errors = []
        for raw in batch:
            if raw.problem:
                errors.append(RowError(raw.place, None, raw.problem, raw.text[:_LONGEST_EXCERPT]))
                continue
            try:
                external_id = self._reader.external_id(raw.data)
            except BadRow as error:
                errors.append(_refusal(raw, None, error))
                continue
            earlier = found.get(external_id)
            if earlier is not None:
                errors.append(
                    _refusal(earlier[2], external_id, BadRow(f"The same id comes again at {raw.place}, which counts."))
                )
            found[external_id] = external_id, self._reader.raw_hash(raw.data), raw
        return list(found.values()), errors

    def _understand(
        self, found: Sequence[tuple[str, bytes, Raw]], known: dict[int, KnownItem]
    ) -> tuple[tuple[OutsideRow, ...], list[RowError]]:
        rows, errors = [], []
        for n, (external_id, _, raw) in enumerate(found, 1):
            item = known.get(n)
            if item is not None and item.is_same:
                continue
            try:
                rows.append(self._reader.read(external_id, raw.data))
            except BadRow as error:
                errors.append(_refusal(raw, external_id, error))
        return tuple(rows), errors

    async def _merge(self, batch: _Batch) -> Outcome:
        """Merge a batch: a small one in one transaction, a large one in as many at once as there are lanes."""
        at, of = self.read_bytes()
        if len(batch.rows) < _WORTH_LANES:
            return await self._merge_part(batch, 0, batch.size, at, of)
        lanes: list[list[OutsideRow]] = [[] for _ in range(LANES)]
        for row in batch.rows:
            lanes[lane_of(row.external_id)].append(row)
        parts = [_Batch(tuple(rows), (), (), len(rows)) for rows in lanes]
        rest = _Batch((), batch.same, batch.errors, batch.size - len(batch.rows))
        merged = await asyncio.gather(*(self._merge_part(part, n, 0, at, of) for n, part in enumerate(parts)))
        # Last, because a run that is interrupted before it reads these rows again and finds them unchanged.
        return sum(merged, await self._merge_part(rest, 0, batch.size, at, of))

    async def _merge_part(self, batch: _Batch, lane: int, rows: int, at: int, of: int | None) -> Outcome:
        async with self._store.db.transaction(actor=SYSTEM) as tx:
            if not await lock_source(tx, self._source.id, lane):
                raise NoSuchSource
            merged = await merge_rows(tx, self._source.id, batch.rows)
            if merged:
                await cluster(tx, self._source.id, [m.listing_id for m in merged if m.change != "changed"])
                listings_changed(tx)
                pictured = {row.external_id for row in batch.rows if row.images}
                wanted = [m.listing_id for m in merged if m.external_id in pictured]
                await want_pictures(tx, self._source.id, wanted if self._source.settings.pictures else ())
            inserted, changed, returned = (
                sum(m.change == c for m in merged) for c in ("inserted", "changed", "returned")
            )
            counts = Counts(
                seen=batch.size, inserted=inserted, changed=changed, returned=returned, refused=len(batch.errors),
                unchanged=batch.size - len(batch.errors) - len(merged),
            )  # fmt: skip
            seen = await self._seen(tx, batch) if self._notes_seen else ()
            await finish_documents(tx)
            await note_batch(
                tx, self._claim, counts, rows=rows, seen_ids=seen, errors=batch.errors, read_bytes=at, whole=of
            )
        return Outcome(counts, batch.errors[:100])

    async def _seen(self, tx: Transaction, batch: _Batch) -> tuple[UUID, ...]:
        """Return the listings that a batch showed, also those whose rows are refused now: they are still there."""
        ids = [row.external_id for row in batch.rows] + [e.external_id for e in batch.errors if e.external_id]
        known = await known_items(tx, self._source.id, ids, [b""] * len(ids)) if ids else []
        return tuple({*batch.same, *(k.listing_id for k in known)})


def lane_of(external_id: str) -> int:
    """Return which of the lanes a listing is merged in: always the same one, so that two never merge it at once."""
    return zlib.crc32(external_id.encode("utf-8", "replace")) % LANES


def _refusal(raw: Raw, external_id: str | None, error: BadRow) -> RowError:
    excerpt = raw.text or msgspec.json.encode(raw.data).decode("utf-8", "replace")
    return RowError(raw.place, external_id, error.reason, excerpt[:_LONGEST_EXCERPT])


async def _batches(raws: AsyncIterator[Raw]) -> AsyncIterator[list[Raw]]:
    """Yield rows in batches, of a slow source those of some seconds; those before an error come out before it does."""
    batch: list[Raw] = []
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async for raw in raws:
            batch.append(raw)
            if len(batch) == BATCH or loop.time() - began > _LONGEST_BATCH_S:
                yield batch
                batch, began = [], loop.time()
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


async def as_rows(rows: Iterable[Raw]) -> AsyncIterator[Raw]:
    """Yield rows that are there already."""
    for row in rows:
        yield row


async def take_off_missing(store: Store, source: Source, claim: Claim) -> tuple[int, str]:
    """Take off what a complete reading has not seen; return how many, and why none where that would be most of the source.

    Half of a source that vanishes at once is a changed layout or a broken feed much more often than it is sold out.
    """
    async with store.db.transaction(actor=SYSTEM) as tx:
        missing = await queries.missing_listings(tx, source.id, claim.run_id)
        known = await queries.count_known(tx, source.id)
    if len(missing) > 20 and len(missing) * 2 > known:
        return (
            0,
            f"{len(missing)} of {known} listings were not there; nothing was taken off, please look at the source.",
        )
    gone = 0
    for start in range(0, len(missing), _GONE_AT_ONCE):
        async with store.db.transaction(actor=SYSTEM) as tx:
            for lane in range(LANES):
                await lock_source(tx, source.id, lane)
            part = await mark_gone(
                tx, missing[start : start + _GONE_AT_ONCE], as_sold=source.settings.gone_as == "sold"
            )
            await note_batch(tx, claim, Counts(gone=part), rows=0)
            gone += part
    return gone, ""

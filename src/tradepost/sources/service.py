"""Commands on readings: begin one, note what a batch of it did, end it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TEXT, TIMESTAMP
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from tradepost.core.database import Transaction, on_violation
from tradepost.core.ids import uuid7
from tradepost.sources import queries
from tradepost.sources.types import AlreadyReading, BeganBy, Counts, RowError, SourceTaken, State

SILENCE: Final = timedelta(minutes=10)
"""How long a run may do nothing before it counts as interrupted; batches end after seconds, however slow the source."""
on_violation("uq_ingest_runs_running", AlreadyReading)
on_violation("uq_sources_code", SourceTaken)
_BEGIN = text("INSERT INTO ingest_runs (id, source_id, began_by) VALUES (:run, :source, :began_by)").bindparams(
    bindparam("run", type_=PG_UUID), bindparam("source", type_=PG_UUID), bindparam("began_by", type_=TEXT)
)
_NOTE = text("""
    UPDATE ingest_runs SET seen = seen + :seen, inserted = inserted + :inserted, changed = changed + :changed,
        unchanged = unchanged + :unchanged, returned = returned + :returned, gone = gone + :gone, refused = refused + :refused,
        at_row = at_row + :rows, bytes = greatest(bytes, :bytes), whole = coalesce(:whole, whole), moved_at = now()
    WHERE id = :run AND state = 'running' RETURNING refused
""")
_SEEN = text("""
    INSERT INTO ingest_seen (run_id, batch, listing_ids)
    SELECT :run, coalesce(max(batch) + 1, 0), :ids FROM ingest_seen WHERE run_id = :run
""").bindparams(bindparam("run", type_=PG_UUID), bindparam("ids", type_=ARRAY(PG_UUID)))
_REFUSE = text("""
    INSERT INTO ingest_errors (run_id, n, place, external_id, reason, excerpt)
    SELECT :run, :first + e.n::int, e.place, e.external_id, e.reason, e.excerpt
    FROM unnest(:places, :ids, :reasons, :excerpts) WITH ORDINALITY AS e(place, external_id, reason, excerpt, n)
    WHERE :first + e.n::int <= :most
    ON CONFLICT DO NOTHING
""").bindparams(
    bindparam("run", type_=PG_UUID), *(bindparam(n, type_=ARRAY(TEXT)) for n in ("places", "ids", "reasons", "excerpts"))
)  # fmt: skip
_RESTART = text("UPDATE ingest_runs SET at_row = 0, bytes = 0, document = :document WHERE id = :run")
_DOCUMENT = text("UPDATE ingest_runs SET document = :document WHERE id = :run")
_FORGET_SEEN = text("DELETE FROM ingest_seen WHERE run_id = :run")
_END = text("""
    UPDATE ingest_runs SET state = :state, message = left(:message, 500), finished_at = now(), moved_at = now()
    WHERE id = :run AND state = 'running'
""")
_STATE = text("""
    INSERT INTO source_states AS s (source_id, due_at, failures, validators)
    VALUES (:source, :due_at, CASE WHEN :failed THEN 1 ELSE 0 END, coalesce(:validators, '{}'))
    ON CONFLICT (source_id) DO UPDATE SET due_at = excluded.due_at,
        failures = CASE WHEN :failed THEN s.failures + 1 ELSE 0 END, validators = coalesce(:validators, s.validators)
""").bindparams(
    bindparam("source", type_=PG_UUID), bindparam("due_at", type_=TIMESTAMP(timezone=True)), bindparam("validators", type_=JSONB)
)  # fmt: skip
_DUE = text("""
    UPDATE source_states t SET due_at = NULL FROM sources s
    WHERE s.id = t.source_id AND s.is_active AND s.schedule <> '' AND t.due_at <= now() RETURNING t.source_id
""")
_PLAN = text("""
    INSERT INTO source_states (source_id, due_at) VALUES (:source, :due_at)
    ON CONFLICT (source_id) DO UPDATE SET due_at = excluded.due_at
""").bindparams(bindparam("source", type_=PG_UUID), bindparam("due_at", type_=TIMESTAMP(timezone=True)))
_TAKE = text("""
    UPDATE ingest_runs SET moved_at = now() WHERE source_id = :source AND state = 'running' AND began_by <> 'push'
      AND moved_at < now() - CAST(:silence AS interval) RETURNING id
""")
_RELEASE = text("UPDATE ingest_runs SET moved_at = now() - interval '1 day' WHERE id = :run AND state = 'running'")
_STALE = text("""
    SELECT r.source_id FROM ingest_runs r JOIN sources s ON s.id = r.source_id
    WHERE r.state = 'running' AND r.began_by IN ('schedule', 'hand') AND r.moved_at < now() - CAST(:silence AS interval) AND s.is_active
""")
_PRUNE = text("DELETE FROM ingest_runs WHERE state <> 'running' AND started_at < now() - interval '90 days'")


async def begin_run(tx: Transaction, source_id: UUID, began_by: BeganBy) -> UUID:
    """Write down that a reading begins, and return its id. Raises `AlreadyReading`, at the latest with the commit."""
    run_id = uuid7()
    await tx.run(_BEGIN, run=run_id, source=source_id, began_by=began_by)
    return run_id


async def take_run(tx: Transaction, source_id: UUID, began_by: BeganBy) -> UUID:
    """Return the run of a source that was interrupted, or begin one. Raises `AlreadyReading` while another is at it."""
    found = await tx.value(_TAKE, source=source_id, silence=SILENCE)
    return found or await begin_run(tx, source_id, began_by)


async def release_run(tx: Transaction, run_id: UUID) -> None:
    """Leave a run to be gone on with at once."""
    await tx.run(_RELEASE, run=run_id)


async def begin_document(tx: Transaction, run_id: UUID, document: str, *, anew: bool) -> None:
    """Note which state of its document a reading reads; `anew`: from the first row, because it is another one than before."""
    await tx.run(_RESTART if anew else _DOCUMENT, run=run_id, document=document)


async def note_batch(
    tx: Transaction, run_id: UUID, counts: Counts, *, rows: int, seen_ids: Sequence[UUID] = (), errors: Sequence[RowError] = (),
    read_bytes: int = 0, whole: int | None = None,
) -> None:  # fmt: skip
    """Add what a batch did to its run, with the rows that were refused and, for complete sources, the listings seen."""
    refused = await tx.value(
        _NOTE, run=run_id, rows=rows, bytes=read_bytes, whole=whole,
        **{n: getattr(counts, n) for n in Counts.__struct_fields__},
    )  # fmt: skip
    if refused is None:
        raise AlreadyReading
    if seen_ids:
        await tx.run(_SEEN, run=run_id, ids=list(seen_ids))
    if errors:
        first = refused - len(errors)
        await tx.run(
            _REFUSE, run=run_id, first=first, most=queries.MOST_ERRORS, places=[e.place for e in errors],
            ids=[e.external_id for e in errors], reasons=[e.reason for e in errors], excerpts=[e.excerpt for e in errors],
        )  # fmt: skip


async def end_run(tx: Transaction, run_id: UUID, state: State, message: str = "") -> None:
    """End a reading. Idempotent."""
    await tx.run(_FORGET_SEEN, run=run_id)
    await tx.run(_END, run=run_id, state=state, message=message)


async def note_state(
    tx: Transaction, source_id: UUID, *, due_at: datetime | None, failed: bool, validators: dict[str, Any] | None = None
) -> None:
    """Note when a source is read next, that reading it failed or did not, and what its server said."""
    await tx.run(_STATE, source=source_id, due_at=due_at, failed=failed, validators=validators)


async def plan_reading(tx: Transaction, source_id: UUID, due_at: datetime | None) -> None:
    """Have a source read at a moment, or no more by itself."""
    await tx.run(_PLAN, source=source_id, due_at=due_at)


async def take_due(tx: Transaction) -> list[UUID]:
    """Return the sources that are to be read now, each once, and those whose reading was interrupted."""
    return list(dict.fromkeys([*await tx.values(_DUE), *await tx.values(_STALE, silence=SILENCE)]))


async def prune_runs(tx: Transaction) -> int:
    """Forget readings older than 90 days; return how many."""
    return await tx.run(_PRUNE)

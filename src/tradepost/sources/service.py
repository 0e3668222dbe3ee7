"""Commands on readings: begin one, keep it, note what a batch of it did, end it.

Promises that of those who hold a run only the last one writes: what another commits for it is undone with its batch.
"""

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
from tradepost.sources.types import AlreadyReading, BeganBy, Claim, Counts, RowError, RunLost, SourceTaken, State

SILENCE: Final = timedelta(minutes=10)
"""How long a run may do nothing before it counts as interrupted."""
BEAT_S: Final = SILENCE.total_seconds() / 10
"""How often whoever is at a run says so, however long its source says nothing."""
on_violation("uq_ingest_runs_running", AlreadyReading)
on_violation("uq_sources_code", SourceTaken)
_BEGIN = text("INSERT INTO ingest_runs (id, source_id, began_by) VALUES (:run, :source, :began_by)").bindparams(
    bindparam("run", type_=PG_UUID), bindparam("source", type_=PG_UUID), bindparam("began_by", type_=TEXT)
)
_NOTE = text("""
    UPDATE ingest_runs SET seen = seen + :seen, inserted = inserted + :inserted, changed = changed + :changed,
        unchanged = unchanged + :unchanged, returned = returned + :returned, gone = gone + :gone, refused = refused + :refused,
        at_row = at_row + :rows, bytes = greatest(bytes, :bytes), whole = coalesce(:whole, whole), moved_at = now()
    WHERE id = :run AND turn = :turn AND state = 'running' RETURNING refused
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
_HELD = "id = :run AND turn = :turn AND state = 'running'"
_RESTART = text(f"UPDATE ingest_runs SET at_row = 0, bytes = 0, document = :document WHERE {_HELD}")
_DOCUMENT = text(f"UPDATE ingest_runs SET document = :document WHERE {_HELD}")
_KEEP = text(f"UPDATE ingest_runs SET moved_at = now() WHERE {_HELD}")
_FORGET_SEEN = text("DELETE FROM ingest_seen WHERE run_id = :run")
_END = text(f"""
    UPDATE ingest_runs SET state = :state, message = left(:message, 500), finished_at = now(), moved_at = now() WHERE {_HELD}
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
    UPDATE ingest_runs SET moved_at = now(), turn = turn + 1
    WHERE source_id = :source AND state = 'running' AND began_by <> 'push' AND moved_at < now() - CAST(:silence AS interval)
    RETURNING id AS run_id, turn
""")
_RELEASE = text(f"UPDATE ingest_runs SET moved_at = now() - interval '1 day' WHERE {_HELD}")
# A moment that is over is nobody's; one that lies ahead is somebody's already, and ours comes after it.
_TURN = text("""
    INSERT INTO source_hosts AS h (host, free_at) VALUES (left(:host, 300), clock_timestamp() + CAST(:pause AS interval))
    ON CONFLICT (host) DO UPDATE SET free_at = greatest(h.free_at, clock_timestamp()) + CAST(:pause AS interval)
    RETURNING CAST(extract(epoch FROM free_at - CAST(:pause AS interval) - clock_timestamp()) AS float8)
""")
_FORGET_HOSTS = text("DELETE FROM source_hosts WHERE free_at < now() - interval '1 day'")
_STALE = text("""
    SELECT r.source_id FROM ingest_runs r JOIN sources s ON s.id = r.source_id
    WHERE r.state = 'running' AND r.began_by IN ('schedule', 'hand') AND r.moved_at < now() - CAST(:silence AS interval) AND s.is_active
""")
_PRUNE = text("DELETE FROM ingest_runs WHERE state <> 'running' AND started_at < now() - interval '90 days'")


async def begin_run(tx: Transaction, source_id: UUID, began_by: BeganBy) -> Claim:
    """Write down that a reading begins, and return it. Raises `AlreadyReading`, at the latest with the commit."""
    claim = Claim(uuid7())
    await tx.run(_BEGIN, run=claim.run_id, source=source_id, began_by=began_by)
    return claim


async def take_run(tx: Transaction, source_id: UUID, began_by: BeganBy) -> Claim:
    """Return the run of a source that was interrupted, or begin one. Raises `AlreadyReading` while another is at it."""
    found = await tx.maybe(_TAKE, into=Claim, source=source_id, silence=SILENCE)
    return found or await begin_run(tx, source_id, began_by)


async def keep_run(tx: Transaction, claim: Claim) -> None:
    """Say that somebody is at a run, whatever its source does. Raises `RunLost`."""
    if not await tx.run(_KEEP, run=claim.run_id, turn=claim.turn):
        raise RunLost


async def release_run(tx: Transaction, claim: Claim) -> None:
    """Leave a run to be gone on with at once, unless it is somebody else's."""
    await tx.run(_RELEASE, run=claim.run_id, turn=claim.turn)


async def take_turn(tx: Transaction, host: str, pause: timedelta) -> float:
    """Take the next moment at which a server may be asked, for whoever of however many readers asks; return in how many seconds it is."""
    return float(await tx.value(_TURN, host=host, pause=pause))


async def begin_document(tx: Transaction, claim: Claim, document: str, *, anew: bool) -> None:
    """Note which state of its document a reading reads; `anew`: from the first row, because it is another one than before.

    Raises `RunLost`.
    """
    if not await tx.run(_RESTART if anew else _DOCUMENT, run=claim.run_id, turn=claim.turn, document=document):
        raise RunLost


async def note_batch(
    tx: Transaction, claim: Claim, counts: Counts, *, rows: int, seen_ids: Sequence[UUID] = (), errors: Sequence[RowError] = (),
    read_bytes: int = 0, whole: int | None = None,
) -> None:  # fmt: skip
    """Add what a batch did to its run, with the rows that were refused and, for complete sources, the listings seen.

    Raises `RunLost`, so that the batch is not committed where the run is another's.
    """
    run_id = claim.run_id
    refused = await tx.value(
        _NOTE, run=run_id, turn=claim.turn, rows=rows, bytes=read_bytes, whole=whole,
        **{n: getattr(counts, n) for n in Counts.__struct_fields__},
    )  # fmt: skip
    if refused is None:
        raise RunLost
    if seen_ids:
        await tx.run(_SEEN, run=run_id, ids=list(seen_ids))
    if errors:
        first = refused - len(errors)
        await tx.run(
            _REFUSE, run=run_id, first=first, most=queries.MOST_ERRORS, places=[e.place for e in errors],
            ids=[e.external_id for e in errors], reasons=[e.reason for e in errors], excerpts=[e.excerpt for e in errors],
        )  # fmt: skip


async def end_run(tx: Transaction, claim: Claim, state: State, message: str = "") -> None:
    """End a reading. Raises `RunLost`."""
    if not await tx.run(_END, run=claim.run_id, turn=claim.turn, state=state, message=message):
        raise RunLost
    await tx.run(_FORGET_SEEN, run=claim.run_id)


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
    """Forget readings older than 90 days, and when servers were asked; return how many readings."""
    await tx.run(_FORGET_HOSTS)
    return await tx.run(_PRUNE)

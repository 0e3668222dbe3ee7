"""Writing down figures, and what was done for the database."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from tradepost.core.database import Transaction
from tradepost.core.ids import uuid7
from tradepost.core.jobs import queue_lag, queue_state
from tradepost.ops.types import Kind

_SAMPLE = text("""
    INSERT INTO engine_samples (database_bytes, connections, blocks_hit, blocks_read, commits, rollbacks, live_rows, dead_rows,
                                jobs_due, jobs_failed, lag_s)
    SELECT pg_database_size(current_database()),
           (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'),
           blks_hit, blks_read, xact_commit, xact_rollback,
           (SELECT coalesce(sum(n_live_tup), 0) FROM pg_stat_user_tables WHERE schemaname = 'public'),
           (SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables WHERE schemaname = 'public'), :due, :failed, :lag
    FROM pg_stat_database WHERE datname = current_database()
    ON CONFLICT (taken_at) DO NOTHING
""")
_THIN_OUT = text("""
    DELETE FROM engine_samples s WHERE taken_at < now() - CAST(:fine AS interval) AND (taken_at < now() - CAST(:coarse AS interval)
        OR EXISTS (SELECT FROM engine_samples e WHERE e.taken_at < s.taken_at AND e.taken_at >= date_trunc('day', s.taken_at, 'UTC')))
""")
_BEGIN = text("""
    INSERT INTO maintenance_runs (id, kind, target, bytes_before) VALUES (:id, :kind, :target, :bytes_before)
""")
_END = text("""
    UPDATE maintenance_runs SET outcome = :outcome, detail = left(:detail, 1000), found = :found, bytes_after = :bytes_after, ended_at = now()
    WHERE id = :id
""")
_ABANDONED = text("""
    UPDATE maintenance_runs SET outcome = 'failed', detail = 'It was interrupted before its end.', ended_at = now()
    WHERE outcome = 'running' AND kind = ANY (CAST(:kinds AS text[]))
""")
_FORGET = text("DELETE FROM maintenance_runs WHERE began_at < now() - CAST(:age AS interval)")


async def take_sample(tx: Transaction) -> None:
    """Write down the database's figures of this moment, and thin out old ones: all of two weeks, one a day for two years."""
    queue, lag = await queue_state(tx), await queue_lag(tx)
    await tx.run(_SAMPLE, due=queue.due, failed=queue.failed, lag=lag)
    await tx.run(_THIN_OUT, fine=timedelta(days=14), coarse=timedelta(days=730))


async def begin_run(tx: Transaction, kind: Kind, target: str, bytes_before: int | None = None) -> UUID:
    """Write down that something begins; return its id."""
    run_id = uuid7()
    await tx.run(_BEGIN, id=run_id, kind=kind, target=target, bytes_before=bytes_before)
    return run_id


async def end_run(
    tx: Transaction, run_id: UUID, *, detail: str = "", found: int = 0, bytes_after: int | None = None, failed: bool = False
) -> None:  # fmt: skip
    """Write down what came of it."""
    outcome = "failed" if failed else "done"
    await tx.run(_END, id=run_id, outcome=outcome, detail=detail, found=found, bytes_after=bytes_after)


async def note_run(tx: Transaction, kind: Kind, target: str, *, detail: str = "", found: int = 0) -> None:
    """Write down something that is done in the caller's own transaction."""
    await end_run(tx, await begin_run(tx, kind, target), detail=detail, found=found)


async def give_up_running(tx: Transaction, *kinds: Kind) -> None:
    """Mark as failed what a killed worker left running. Only who holds the lock of maintenance may say so."""
    await tx.run(_ABANDONED, kinds=list(kinds))


async def forget_runs(tx: Transaction, *, age: timedelta = timedelta(days=400)) -> None:
    """Delete the record of what was done long ago."""
    await tx.run(_FORGET, age=age)

-- What our jobs need beside the job library's own tables. Run after the library has laid those out; safe to repeat.

-- The library's trigger notifies inside the transaction of whoever enqueues. PostgreSQL lets one such transaction commit at a
-- time in the whole cluster, so orders would queue up at the disk. core/jobs.py notifies after the commit instead.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_trigger
               WHERE tgrelid = 'pgqueuer'::regclass AND tgname = 'tg_pgqueuer_changed' AND tgenabled <> 'D') THEN
        ALTER TABLE pgqueuer DISABLE TRIGGER tg_pgqueuer_changed;
    END IF;
END $$;

-- Finds what is due, urgent first, however many jobs wait for later.
CREATE INDEX IF NOT EXISTS tradepost_jobs_due ON pgqueuer (priority, execute_after) WHERE status = 'queued';

-- A queue's rows live for seconds: clean up after them at once.
ALTER TABLE pgqueuer SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
                          autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 500);

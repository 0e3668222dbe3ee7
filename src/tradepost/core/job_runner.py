"""Doing the jobs of one store: claims what is due, runs it, records what came of it.

Owns the loop and its connection. Promises that several workers of one store share the work, that the jobs of a killed worker
are taken over when its heartbeats stop, that a restart of PostgreSQL only delays, and that stopping takes less than two seconds:
what does not finish by then is cancelled and put back. An idle worker asks the database one question every few seconds.
"""

import asyncio
import random
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import structlog
from croniter import croniter
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job as Row
from pgqueuer.models import TracebackRecord
from pgqueuer.queries import Queries
from pgqueuer.types import JobId
from sqlalchemy import TextClause, text

from tradepost.core.database import translate
from tradepost.core.errors import Unavailable
from tradepost.core.jobs import CHANNEL, INSERT_JOBS, HasDatabase, Priority, Registry, Request, bell_of, columns_of
from tradepost.core.metrics import JOB_SECONDS, JOBS
from tradepost.core.statements import compiled
from tradepost.core.tracing import fail

_log = structlog.get_logger()
_LEVELS: Final = sorted((int(level) for level in Priority if level > Priority.PATIENT), reverse=True)
_PATIENT: Final = [int(Priority.PATIENT)]
_FIRST_DELAY: Final = timedelta(seconds=2)
_LONGEST_DELAY: Final = timedelta(minutes=15)
_RECONNECT_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_SETTLED_S: Final = 10.0
_LONGEST_TRACE: Final = 20_000


@dataclass(frozen=True, slots=True)
class Pace:
    """How a worker paces itself. A killed worker's jobs are taken over after `heartbeat_s` and at most one `poll_s`.

    `concurrency` jobs run at once, and `patient` ones beside them.
    """

    concurrency: int = 4
    patient: int = 3
    poll_s: float = 5.0
    heartbeat_s: float = 30.0
    grace_s: float = 1.0
    gather_s: float = 0.01  # between two claims: jobs that arrive or end meanwhile are dealt with together


class OutOfTime(Unavailable):
    """The job took longer than its time limit."""


class WorkerKeptDying(Exception):
    """Every worker that took this job died or lost its connection before the job was done."""


# Rows are claimed level by level through the index on (priority, execute_after): jobs that are due later cost nothing. A claim
# takes the key away, so that whoever asks for the same work from now on gets a run that sees his change; taking over a dead
# worker's job counts as a try, so that a job that kills its worker is given up in the end.
_CLAIM = text("""
    WITH due AS (
        SELECT found.id
        FROM unnest(CAST(:levels AS int[])) WITH ORDINALITY AS level(priority, n) CROSS JOIN LATERAL (
            SELECT id FROM pgqueuer
            WHERE status = 'queued' AND priority = level.priority AND execute_after <= now()
              AND entrypoint = ANY (CAST(:names AS text[]))
            ORDER BY execute_after LIMIT CAST(:most AS int) FOR UPDATE SKIP LOCKED) AS found
        ORDER BY level.n LIMIT CAST(:most AS int)
    ), stale AS (
        SELECT id FROM pgqueuer
        WHERE status = 'picked' AND heartbeat < now() - CAST(:silence AS interval)
          AND entrypoint = ANY (CAST(:names AS text[])) AND id <> ALL (CAST(:mine AS bigint[]))
          AND priority = ANY (CAST(:levels AS int[]))
        ORDER BY heartbeat LIMIT CAST(:most AS int) FOR UPDATE SKIP LOCKED
    )
    UPDATE pgqueuer SET status = 'picked', queue_manager_id = :worker, dedupe_key = NULL, updated = now(), heartbeat = now(),
           attempts = attempts + (status = 'picked')::int
    WHERE id IN (SELECT id FROM stale UNION ALL SELECT id FROM due LIMIT CAST(:most AS int))
    RETURNING *
""")
_NEXT_DUE = text("""
    SELECT CAST(extract(epoch FROM min(first.execute_after) - now()) AS float8)
    FROM unnest(CAST(:levels AS int[])) AS level(priority) CROSS JOIN LATERAL (
        SELECT execute_after FROM pgqueuer
        WHERE status = 'queued' AND priority = level.priority AND entrypoint = ANY (CAST(:names AS text[]))
        ORDER BY execute_after LIMIT 1) AS first
""")
_PUT_BACK = text("""
    UPDATE pgqueuer SET status = 'queued', queue_manager_id = NULL, execute_after = now(), updated = now()
    WHERE id = ANY (CAST(:ids AS bigint[])) AND queue_manager_id = :worker
""")
_ADD_SCHEDULES = text("""
    INSERT INTO pgqueuer_schedules (entrypoint, expression, next_run)
    SELECT * FROM unnest(CAST(:names AS text[]), CAST(:crons AS text[]), CAST(:times AS timestamptz[]))
    ON CONFLICT (expression, entrypoint) DO NOTHING
""")
_DROP_SCHEDULES = text("""
    DELETE FROM pgqueuer_schedules WHERE entrypoint = ANY (CAST(:names AS text[]))
      AND (entrypoint, expression) NOT IN (SELECT * FROM unnest(CAST(:names AS text[]), CAST(:crons AS text[])))
""")
_DUE_SCHEDULES = text("""
    SELECT entrypoint, expression, next_run FROM pgqueuer_schedules
    WHERE next_run <= :now AND entrypoint = ANY (CAST(:names AS text[]))
""")
_MOVE_SCHEDULE = text("""
    UPDATE pgqueuer_schedules SET next_run = :next_run, last_run = now(), updated = now()
    WHERE entrypoint = :name AND expression = :cron AND next_run = :this_run
""")


async def run_jobs(store: HasDatabase, registry: Registry, stop: asyncio.Event, *, pace: Pace | None = None) -> None:
    """Do the store's jobs until `stop` is set; returns within two seconds of that. Never raises because of a job."""
    runner = _Runner(store, registry, pace or Pace())
    bell = bell_of(store.db)
    bell.listeners.add(runner.wake)
    stopping = asyncio.create_task(stop.wait())
    stopping.add_done_callback(lambda _: runner.wake.set())
    failures = 0
    try:
        while not stop.is_set():
            began = time.monotonic()
            try:
                async with store.db.own_connection() as connection:
                    await runner.serve(connection, stop)
            except Exception as error:  # noqa: BLE001  # whatever it was, the next connection may do better; it is reported
                failures = 0 if time.monotonic() - began > _SETTLED_S else failures
                _report(error, failures)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _RECONNECT_S[min(failures, len(_RECONNECT_S) - 1)])
                failures += 1
    finally:
        bell.listeners.discard(runner.wake)
        stopping.cancel()
        runner.abandon()


def _report(error: Exception, failures: int) -> None:
    """Log once that the database is away; anything else is a defect and comes with its traceback."""
    # asyncpg says InternalClientError when a connection breaks between two messages of one operation.
    if isinstance(error, Unavailable | asyncpg.InternalClientError) or isinstance(translate(error), Unavailable):
        if failures == 0:
            _log.warning("jobs.database_away", error=str(error) or type(error).__name__)
    else:
        _log.error("jobs.worker_failed", exc_info=error)


@dataclass(slots=True)
class _Outcome:
    """What came of a try and has to be recorded."""

    row: Row
    status: str  # successful, failed, retry or interrupted
    error: BaseException | None = None
    delay: timedelta = field(default_factory=timedelta)


class _Runner:
    """The state of a worker; it outlives connections, so that jobs go on while PostgreSQL restarts."""

    def __init__(self, store: HasDatabase, registry: Registry, pace: Pace) -> None:
        self.wake = asyncio.Event()
        self._store = store
        self._registry = registry
        self._pace = pace
        self._worker: UUID = uuid4()
        self._names = [job.name for job in registry]
        self._crons = {job.name: job.cron for job in registry if job.cron}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._patient: set[int] = set()
        self._outcomes: list[_Outcome] = []
        self._next_beat = 0.0
        self._next_schedule = 0.0

    async def serve(self, connection: asyncpg.Connection, stop: asyncio.Event) -> None:
        """Work on one connection until `stop` is set; raises when the connection is lost."""
        queries = Queries(AsyncpgDriver(connection))
        connection.add_termination_listener(lambda _: self.wake.set())
        await connection.add_listener(CHANNEL, lambda *_: self.wake.set())
        await self._lay_out_schedules(connection)
        while not stop.is_set():
            self.wake.clear()
            await self._record(connection, queries)
            await self._beat(queries)
            await self._enqueue_scheduled(connection)
            await self._rest(connection, await self._claim(connection), stop)
        await self._finish()
        await self._record(connection, queries)

    def abandon(self) -> None:
        """Cancel what still runs when there is no connection to say so: other workers take over when heartbeats stop."""
        for task in self._running.values():
            task.cancel()

    async def _claim(self, connection: asyncpg.Connection) -> list[int]:
        """Start as many due jobs as there is room for; return the levels of which there could be more."""
        room = self._pace.concurrency - len(self._running) + len(self._patient)
        left = await self._claim_some(connection, _LEVELS, room)
        patient = await self._claim_some(connection, _PATIENT, self._pace.patient - len(self._patient))
        return [*(_LEVELS if left else ()), *(_PATIENT if patient else ())]

    async def _claim_some(self, connection: asyncpg.Connection, levels: list[int], room: int) -> int:
        """Start so many due jobs of some levels; return how many more were asked for than found."""
        if room <= 0 or not self._names:
            return 0
        silence = timedelta(seconds=self._pace.heartbeat_s)
        rows = await _fetch(
            connection, _CLAIM, levels=levels, names=self._names, most=room, silence=silence,
            mine=list(self._running), worker=self._worker,
        )  # fmt: skip
        for found in sorted(rows, key=lambda r: (-r["priority"], r["execute_after"], r["id"])):
            row = Row.model_validate(dict(found))
            if row.priority in _PATIENT:
                self._patient.add(row.id)
            self._running[row.id] = asyncio.create_task(self._try(row))
        return room - len(rows)

    async def _rest(self, connection: asyncpg.Connection, levels: list[int], stop: asyncio.Event) -> None:
        """Wait for news: a finished job, a ring, a time that has come. Of levels without room left only a finished job is news."""
        if levels:
            await asyncio.sleep(self._pace.gather_s)
        if self.wake.is_set() or stop.is_set():
            return
        moments = [self._pace.poll_s]
        if levels:
            moments += [r[0] for r in await _fetch(connection, _NEXT_DUE, levels=levels, names=self._names) if r[0]]
        if self._running:
            moments.append(self._next_beat - time.monotonic())
        if self._crons:
            moments.append(self._next_schedule - time.monotonic())
        with suppress(TimeoutError):
            await asyncio.wait_for(self.wake.wait(), max(min(moments), self._pace.gather_s))

    async def _beat(self, queries: Queries) -> None:
        """Tell the other workers that this one lives, three times in the time after which they would take over."""
        if self._running and time.monotonic() >= self._next_beat:
            await queries.update_heartbeat([JobId(n) for n in self._running])
            self._next_beat = time.monotonic() + self._pace.heartbeat_s / 3

    async def _try(self, row: Row) -> None:
        """Run a job once; whatever happens becomes an outcome."""
        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(job=row.entrypoint, job_id=row.id, attempt=row.attempts + 1):
            try:
                outcome = await self._traced(row)
                JOBS.add(self._store.db.label, row.entrypoint, outcome.status)
                JOB_SECONDS.note(time.perf_counter() - started, self._store.db.label, row.entrypoint)
                self._outcomes.append(outcome)  # in two steps: the list is another one by now
            finally:
                self._running.pop(row.id, None)
                self._patient.discard(row.id)
                self.wake.set()

    async def _traced(self, row: Row) -> _Outcome:
        """Run a job once within a span, which belongs to what enqueued it where that was traced."""
        recorder = self._store.db.recorder
        if recorder is None:
            return await self._outcome(row)
        waited_s = max(0.0, (datetime.now(UTC) - row.execute_after).total_seconds())
        with recorder.job(row.entrypoint, row.id, row.otel_headers() or {}) as span:
            outcome = await self._outcome(row)
            span.set_attributes(
                {
                    "tradepost.store": self._store.db.label,
                    "tradepost.job.attempt": row.attempts + 1,
                    "tradepost.job.outcome": outcome.status,
                    "tradepost.job.wait_seconds": round(waited_s, 3),
                }
            )
            if outcome.error is not None:
                fail(span, type(outcome.error).__name__)
        return outcome

    async def _outcome(self, row: Row) -> _Outcome:
        job = self._registry[row.entrypoint]
        if row.attempts >= job.tries:
            return _given_up(row, WorkerKeptDying())
        try:
            async with asyncio.timeout(job.time_limit.total_seconds()) as limit:
                await job.call(self._store, row.payload)
        except asyncio.CancelledError as error:
            stopped = (task := asyncio.current_task()) is not None and task.cancelling() > 0
            return _Outcome(row, "interrupted") if stopped else _given_up(row, error)
        except Exception as error:  # noqa: BLE001  # any error of a job is recorded, none may end the worker
            cause: Exception = OutOfTime() if isinstance(error, TimeoutError) and limit.expired() else error
            if not _is_passing(cause) or row.attempts + 1 >= job.tries:
                return _given_up(row, cause)
            delay = _delay_after(row.attempts)
            _log.warning("job.put_off", error=str(cause), seconds=round(delay.total_seconds(), 1))
            return _Outcome(row, "retry", cause, delay)
        return _Outcome(row, "successful")

    async def _record(self, connection: asyncpg.Connection, queries: Queries) -> None:
        """Write down what came of the jobs; what could not be written stays for the next connection."""
        outcomes, self._outcomes = self._outcomes, []
        try:
            while outcomes:
                await self._record_some(connection, queries, outcomes)
        finally:
            self._outcomes = outcomes + self._outcomes

    async def _record_some(self, connection: asyncpg.Connection, queries: Queries, outcomes: list[_Outcome]) -> None:
        """Record all outcomes of one sort and take them off the list."""
        status = outcomes[0].status
        same = [o for o in outcomes if o.status == status]
        if status == "interrupted":
            await _execute(connection, _PUT_BACK, ids=[o.row.id for o in same], worker=self._worker)
            await connection.execute(f"NOTIFY {CHANNEL}")
        elif status == "retry":
            same = same[:1]
            await queries.retry_job(same[0].row, same[0].delay, _traceback(same[0]))
        elif status == "failed":
            await queries.log_jobs([(o.row, "failed", _traceback(o)) for o in same])
        else:
            await queries.log_jobs([(o.row, "successful", None) for o in same])
        outcomes[:] = [o for o in outcomes if o not in same]

    async def _finish(self) -> None:
        """Let jobs finish for a moment, then cancel them."""
        if not self._running:
            return
        await asyncio.wait(list(self._running.values()), timeout=self._pace.grace_s)
        cancelled = list(self._running.values())
        for task in cancelled:
            task.cancel()
        if cancelled:
            await asyncio.wait(cancelled, timeout=self._pace.grace_s / 2)

    async def _lay_out_schedules(self, connection: asyncpg.Connection) -> None:
        """Add schedules that are new; drop times that a job had in an earlier version."""
        if not self._crons:
            return
        now = await connection.fetchval("SELECT now()")
        names, crons = list(self._crons), list(self._crons.values())
        times = [_after(now, cron) for cron in crons]
        await _execute(connection, _DROP_SCHEDULES, names=names, crons=crons)
        await _execute(connection, _ADD_SCHEDULES, names=names, crons=crons, times=times)

    async def _enqueue_scheduled(self, connection: asyncpg.Connection) -> None:
        """Enqueue the jobs whose time has come, once however many workers see it."""
        if not self._crons or time.monotonic() < self._next_schedule:
            return
        now = await connection.fetchval("SELECT now()")
        for due in await _fetch(connection, _DUE_SCHEDULES, names=list(self._crons), now=now):
            name, cron = due["entrypoint"], due["expression"]
            async with connection.transaction():
                moved = await _execute(
                    connection,
                    _MOVE_SCHEDULE,
                    name=name,
                    cron=cron,
                    this_run=due["next_run"],
                    next_run=_after(now, cron),
                )
                if moved == "UPDATE 1":
                    await _execute(connection, INSERT_JOBS, **columns_of([Request(name, dedupe=f"schedule:{name}")]))
        first = min(_after(now, cron) for cron in self._crons.values())
        self._next_schedule = time.monotonic() + (first - now).total_seconds()


def _after(moment: datetime, cron: str) -> datetime:
    """Return the first time of a schedule after a moment, by the database's clock."""
    return datetime.fromtimestamp(croniter(cron, moment.timestamp()).get_next(float), UTC)


def _is_passing(error: BaseException) -> bool:
    """Whether trying again may help: `Unavailable`, or a group of errors that are nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_passing(inner) for inner in error.exceptions)
    return isinstance(error, Unavailable)


def _delay_after(tries: int) -> timedelta:
    """Return twice as long a pause after each try, with up to a fifth more so that many do not come back as one."""
    return min(_FIRST_DELAY * 2.0 ** min(tries, 20), _LONGEST_DELAY) * random.uniform(1.0, 1.2)  # noqa: S311  # no secret


def _given_up(row: Row, error: BaseException) -> _Outcome:
    _log.error("job.failed", exc_info=error)
    return _Outcome(row, "failed", error)


def _traceback(outcome: _Outcome) -> TracebackRecord:
    """Return the record of an error, without the characters that jsonb refuses."""
    error = outcome.error or RuntimeError(outcome.status)
    return TracebackRecord(
        job_id=outcome.row.id,
        timestamp=datetime.now(UTC),
        exception_type=type(error).__name__,
        exception_message=_storable(str(error)),
        traceback=_storable("".join(traceback.format_exception(error))),
        additional_context=None,
    )


def _storable(words: str) -> str:
    """Return text that fits into jsonb: no NUL, no half of a surrogate pair, the end of what is too long."""
    return words[-_LONGEST_TRACE:].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


async def _fetch(connection: asyncpg.Connection, statement: TextClause, **params: Any) -> list[asyncpg.Record]:
    ready = compiled(statement)
    return list(await connection.fetch(ready.sql, *ready.arguments(params)))


async def _execute(connection: asyncpg.Connection, statement: TextClause, **params: Any) -> str:
    ready = compiled(statement)
    return str(await connection.execute(ready.sql, *ready.arguments(params)))

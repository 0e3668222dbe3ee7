"""Work to be done later: declared by the modules, asked for inside a transaction, done by a worker (core/job_runner).

Promises that a job exists exactly when the transaction that asked for it committed, and that it is done at least once: after a
crash a job may run again, so every job is idempotent (it looks at the present state, or its effect carries a key). A job opens
its own transaction and makes one call. Only `Unavailable` is tried again, later and later; any other error is recorded with its
traceback in the list of failed jobs and stays there until somebody retries or discards it.

The rows live in the tables of pgqueuer. Who waits for work is told after the commit, never inside the transaction
(docs/decisions/0004-jobs-and-events.md says why).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakKeyDictionary, ref

import msgspec
from croniter import croniter
from sqlalchemy import text

from tradepost.core.database import Database, Transaction
from tradepost.core.errors import Unavailable

F = TypeVar("F", bound=Callable[..., Awaitable[None]])

CHANNEL: Final = "tradepost_jobs"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_NOTIFY_PAUSE_S: Final = 0.05


class HasDatabase(Protocol):
    """What the engine room itself needs of a store; jobs get the whole of it."""

    @property
    def db(self) -> Database:
        """The store's database."""
        ...


class Priority(IntEnum):
    """Which of the due jobs go first: somebody waits for it, as usual, whenever there is nothing else.

    `PATIENT` is for what takes long because it waits for servers of others: it has places of its own in a worker, so that however much
    of it there is, nothing else waits for it.
    """

    URGENT = 10
    NORMAL = 0
    BACKGROUND = -10
    PATIENT = -20


class Job(msgspec.Struct, frozen=True):
    """A declared job: what runs under a name, with which arguments, how often and how long at most."""

    name: str
    run: Callable[..., Awaitable[None]]
    args: type[msgspec.Struct] | None
    tries: int
    time_limit: timedelta
    cron: str | None = None

    async def call(self, store: Any, payload: bytes | None) -> None:
        """Run the job with the arguments of its row. Raises msgspec's error for arguments of another shape."""
        if self.args is None:
            await self.run(store)
        else:
            await self.run(store, msgspec.json.decode(payload or b"null", type=self.args))


class Registry:
    """The jobs that a worker knows, by name."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._jobs

    def __getitem__(self, name: str) -> Job:
        return self._jobs[name]

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def job(
        self,
        name: str,
        *,
        args: type[msgspec.Struct] | None = None,
        tries: int = 10,
        time_limit: timedelta = timedelta(minutes=5),
    ) -> Callable[[F], F]:
        """Declare `async def f(store, args)` (or `f(store)` without `args`) as the job `module.verb_noun`.

        With `tries` 10 the last try comes about half an hour after the first.
        """
        return self._declaring(name, args, tries, time_limit, None)

    def scheduled(
        self, name: str, *, cron: str, tries: int = 10, time_limit: timedelta = timedelta(minutes=5)
    ) -> Callable[[F], F]:
        """Declare `async def f(store)` as a job that is enqueued at the times `cron` says (five fields, UTC).

        However many workers there are, each time enqueues one job; times missed while no worker ran become one.
        """
        if not croniter.is_valid(cron) or len(cron.split()) != 5:
            raise ValueError(f"not five fields of cron: {cron!r}")
        return self._declaring(name, None, tries, time_limit, cron)

    def _declaring(
        self, name: str, args: type[msgspec.Struct] | None, tries: int, time_limit: timedelta, cron: str | None
    ) -> Callable[[F], F]:
        if not _NAME.fullmatch(name):
            raise ValueError(f"a job is called module.verb_noun, not {name!r}")
        if name in self._jobs:
            raise ValueError(f"two jobs are called {name!r}")
        if args is not None and not args.__struct_config__.frozen:
            raise ValueError(f"the arguments of {name!r} are not a frozen Struct")

        def declare(run: F) -> F:
            self._jobs[name] = Job(name, run, args, tries, time_limit, cron)
            return run

        return declare


DECLARED: Final = Registry()
job = DECLARED.job
scheduled = DECLARED.scheduled


class Request(msgspec.Struct, frozen=True):
    """A wish for a job: see `enqueue`."""

    name: str
    args: msgspec.Struct | None = None
    after: timedelta | None = None
    dedupe: str | None = None
    priority: Priority = Priority.NORMAL


# A waiting job of the same key is locked until the caller's commit: a worker cannot take it before it could see what the caller
# changed. A job that runs already has given up its key (core/job_runner), so that the change gets a run of its own.
_INSERT: Final = """
    INSERT INTO pgqueuer AS job (priority, entrypoint, payload, execute_after, dedupe_key, status{column})
    SELECT r.priority, r.name, r.payload, now() + r.after, r.dedupe, 'queued'{value}
    FROM unnest(CAST(:priorities AS int[]), CAST(:names AS text[]), CAST(:payloads AS bytea[]),
                CAST(:afters AS interval[]), CAST(:dedupes AS text[])) AS r(priority, name, payload, after, dedupe)
    ON CONFLICT (dedupe_key) WHERE ((status = ANY (ARRAY['queued'::pgqueuer_status, 'picked'::pgqueuer_status]))
                                    AND (dedupe_key IS NOT NULL))
    DO UPDATE SET priority = greatest(job.priority, excluded.priority),
                  execute_after = least(job.execute_after, excluded.execute_after)
"""
INSERT_JOBS: Final = text(_INSERT.format(column="", value=""))
_INSERT_TRACED: Final = text(_INSERT.format(column=", headers", value=", CAST(:headers AS jsonb)"))


async def enqueue(
    tx: Transaction,
    name: str,
    args: msgspec.Struct | None = None,
    *,
    after: timedelta | None = None,
    dedupe: str | None = None,
    priority: Priority = Priority.NORMAL,
) -> None:
    """Have a job done once this transaction has committed, `after` so long at the earliest.

    `dedupe` joins a waiting job of the same key instead of adding one; the earlier time and the higher priority hold, and the
    arguments must follow from the key. A transaction that enqueues several keys does so in one `enqueue_all`, in one order.
    """
    await enqueue_all(tx, [Request(name, args, after, dedupe, priority)])


async def enqueue_all(tx: Transaction, requests: Sequence[Request]) -> None:
    """Enqueue several jobs in one statement."""
    if not requests:
        return
    recorder = tx.database.recorder
    told = None if recorder is None else recorder.carried()
    if told is None:
        await tx.later(INSERT_JOBS, **columns_of(requests))
    else:
        await tx.later(_INSERT_TRACED, **columns_of(requests), headers={"otel": told})
    ring_after_commit(tx)


def columns_of(requests: Sequence[Request]) -> dict[str, Any]:
    """Return the parameters of `INSERT_JOBS`; keys come once each and in order, so that two callers cannot lock crosswise."""
    for request in requests:
        _check_declared(request)
    keyed = {r.dedupe: r for r in reversed(requests) if r.dedupe}
    rows = [*(keyed[key] for key in sorted(keyed)), *(r for r in requests if not r.dedupe)]
    return {
        "priorities": [int(r.priority) for r in rows],
        "names": [r.name for r in rows],
        "payloads": [None if r.args is None else msgspec.json.encode(r.args) for r in rows],
        "afters": [r.after or timedelta() for r in rows],
        "dedupes": [r.dedupe for r in rows],
    }


def _check_declared(request: Request) -> None:
    """Find a mix-up where it happens, not in the worker: a process that knows the job knows its arguments."""
    if request.name in DECLARED and not isinstance(request.args, DECLARED[request.name].args or type(None)):
        raise TypeError(f"{request.name} takes {DECLARED[request.name].args}, not {type(request.args).__name__}")


class Bell:
    """Tells the workers of one database that jobs were committed: those of this process at once, others by NOTIFY."""

    def __init__(self, database: Database) -> None:
        self._database = ref(database)
        self.listeners: set[asyncio.Event] = set()
        self._wanted = False
        self._sending: asyncio.Task[None] | None = None

    async def ring(self) -> None:
        """Wake whoever waits for work; never raises, and does not wait for the database."""
        for listener in self.listeners:
            listener.set()
        if not self.listeners:
            self._wanted = True
            if self._sending is None or self._sending.done():
                self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        """NOTIFY once for all that rang meanwhile; a worker that misses it looks by itself within seconds."""
        while self._wanted:
            self._wanted = False
            database = self._database()
            if database is None:
                return
            try:
                async with database.connection() as connection:
                    await connection.execute(f"NOTIFY {CHANNEL}")
            except (Unavailable, OSError):
                return
            await asyncio.sleep(_NOTIFY_PAUSE_S)


_bells: WeakKeyDictionary[Database, Bell] = WeakKeyDictionary()


def bell_of(database: Database) -> Bell:
    """Return the bell of a database."""
    found = _bells.get(database)
    if found is None:
        found = _bells[database] = Bell(database)
    return found


def ring_after_commit(tx: Transaction) -> None:
    """Ring once the transaction has committed, however many jobs it enqueued."""
    bell = bell_of(tx.database)
    if bell.ring not in tx.reactions:
        tx.after_commit(bell.ring)


class FailedJob(msgspec.Struct, frozen=True):
    """A job that was given up, with the error of its last try. `args` is its JSON."""

    id: int
    name: str
    args: str | None
    tries: int
    enqueued_at: datetime
    failed_at: datetime
    error: str | None
    message: str | None
    traceback: str | None


class QueueState(msgspec.Struct, frozen=True):
    """How many jobs are due, wait for later, run and were given up."""

    due: int
    later: int
    running: int
    failed: int


_FAILED = text("""
    SELECT j.id, j.entrypoint AS name, convert_from(j.payload, 'UTF8') AS args, j.attempts + 1 AS tries,
           j.created AS enqueued_at, j.updated AS failed_at, l.traceback ->> 'exception_type' AS error,
           l.traceback ->> 'exception_message' AS message, l.traceback ->> 'traceback' AS traceback
    FROM pgqueuer j
    LEFT JOIN LATERAL (SELECT traceback FROM pgqueuer_log WHERE job_id = j.id AND status = 'failed'
                       ORDER BY created DESC LIMIT 1) l ON true
    WHERE j.status = 'failed' AND j.id < :before ORDER BY j.id DESC LIMIT :limit
""")
_RETRY = text("""
    UPDATE pgqueuer SET status = 'queued', attempts = 0, execute_after = now(), updated = now(), queue_manager_id = NULL
    WHERE id = ANY (CAST(:ids AS bigint[])) AND status = 'failed'
""")
_DISCARD = text("DELETE FROM pgqueuer WHERE id = ANY (CAST(:ids AS bigint[])) AND status = 'failed'")
_STATE = text("""
    SELECT count(*) FILTER (WHERE status = 'queued' AND execute_after <= now()) AS due,
           count(*) FILTER (WHERE status = 'queued' AND execute_after > now()) AS later,
           count(*) FILTER (WHERE status = 'picked') AS running,
           count(*) FILTER (WHERE status = 'failed') AS failed
    FROM pgqueuer
""")
_LAG = text("""
    SELECT CAST(greatest(extract(epoch FROM now() - min(first.execute_after)), 0) AS float8)
    FROM unnest(CAST(:levels AS int[])) AS level(priority) CROSS JOIN LATERAL (
        SELECT execute_after FROM pgqueuer
        WHERE status = 'queued' AND priority = level.priority ORDER BY execute_after LIMIT 1) AS first
""")
_PRUNE = text("""
    WITH logged AS (DELETE FROM pgqueuer_log WHERE created < now() - CAST(:history AS interval))
    DELETE FROM pgqueuer WHERE status = 'failed' AND updated < now() - CAST(:failures AS interval)
""")


async def list_failed(tx: Transaction, *, before: int = 2**63 - 1, limit: int = 50) -> list[FailedJob]:
    """Return the jobs that were given up, the newest first, older than the id `before`."""
    return await tx.all(_FAILED, into=FailedJob, before=before, limit=limit)


async def retry_failed(tx: Transaction, ids: Sequence[int]) -> int:
    """Put failed jobs back into the queue with all their tries; return how many there were."""
    retried = await tx.run(_RETRY, ids=list(ids))
    ring_after_commit(tx)
    return retried


async def discard_failed(tx: Transaction, ids: Sequence[int]) -> int:
    """Forget failed jobs; return how many there were."""
    return await tx.run(_DISCARD, ids=list(ids))


async def queue_state(tx: Transaction) -> QueueState:
    """Count the jobs in each state, for the back office; reads the whole queue."""
    return await tx.one(_STATE, into=QueueState)


async def queue_lag(tx: Transaction) -> float:
    """Return for how many seconds the oldest due job has waited, 0 where none does; cheap however long the queue.

    What is patient does not count.
    """
    return float(await tx.value(_LAG, levels=[int(level) for level in Priority if level > Priority.PATIENT]) or 0)


async def prune_jobs(
    tx: Transaction, *, history: timedelta = timedelta(days=14), failures: timedelta = timedelta(days=90)
) -> int:
    """Delete the history of jobs and failed jobs that are older than this; return how many failed jobs went."""
    return await tx.run(_PRUNE, history=history, failures=failures)

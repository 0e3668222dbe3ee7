"""Jobs: done once their transaction committed, again after a crash, by one of however many workers."""

import asyncio
import inspect
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.conftest import Servers
from tests.pooled import direct
from tradepost.core.database import SYSTEM, Database, count_queries
from tradepost.core.embedded import embedded_postgres
from tradepost.core.errors import Invalid, Unavailable
from tradepost.core.job_runner import Pace, run_jobs
from tradepost.core.jobs import (
    DECLARED,
    FailedJob,
    Priority,
    QueueState,
    Registry,
    Request,
    discard_failed,
    enqueue,
    enqueue_all,
    list_failed,
    prune_jobs,
    queue_lag,
    queue_state,
    retry_failed,
)
from tradepost.core.log import configure_logging
from tradepost.core.settings import LogSettings
from tradepost.migrations import create_database, migrate
from tradepost.worker import JOB_MODULES, compose


@dataclass
class Shop:
    """A store, as far as jobs need one."""

    db: Database


class Parcel(msgspec.Struct, frozen=True):
    number: int


class Away(Unavailable):
    """The post office is closed."""


class Wrong(Invalid):
    """That is no address."""


@asynccontextmanager
async def working(db: Database, registry: Registry, **pace: Any) -> AsyncIterator[None]:
    """Run a worker for the length of the block."""
    stop = asyncio.Event()
    worker = asyncio.create_task(run_jobs(Shop(db), registry, stop, pace=Pace(**pace)))
    try:
        yield
    finally:
        stop.set()
        await worker


async def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait until something has come true by itself; `condition` may be asynchronous."""
    async with asyncio.timeout(seconds):
        while True:
            held = condition()
            if await held if inspect.isawaitable(held) else held:
                return
            await asyncio.sleep(0.01)


async def asked(db: Database, *requests: Request) -> None:
    async with db.transaction(actor=SYSTEM) as tx:
        await enqueue_all(tx, requests)


async def state(db: Database) -> QueueState:
    async with db.transaction(actor=SYSTEM) as tx:
        return await queue_state(tx)


async def state_becomes(db: Database, **expected: int) -> None:
    wanted = QueueState(**({"due": 0, "later": 0, "running": 0, "failed": 0} | expected))

    async def reached() -> bool:
        return await state(db) == wanted

    await until(reached)


async def failures(db: Database) -> list[FailedJob]:
    async with db.transaction(actor=SYSTEM) as tx:
        return await list_failed(tx)


async def change(db: Database, sql: str) -> None:
    async with db.connection() as connection:
        await connection.execute(sql)


async def look(db: Database, sql: str) -> list[Any]:
    async with db.connection() as connection:
        return [tuple(row) for row in await connection.fetch(sql)]


@pytest.fixture(autouse=True, scope="module")
def plain_log() -> None:
    """Log as the server does: the library's own default draws a picture of every traceback."""
    configure_logging(LogSettings())


@pytest_asyncio.fixture(scope="module")
async def database_name(servers: Servers, migrated: str) -> AsyncIterator[str]:
    """One database for all tests of this file; each leaves the queue empty."""
    name = await servers.clone(migrated)
    yield name
    await servers.drop(name)


@pytest_asyncio.fixture
async def db(servers: Servers, database_name: str) -> AsyncIterator[Database]:
    opened = await Database.open(servers.dsn(database_name, "tradepost_app"), size=8)
    yield opened
    await change(opened, "DELETE FROM pgqueuer; DELETE FROM pgqueuer_log; DELETE FROM pgqueuer_schedules")
    await opened.close()


DUE_NOW = "UPDATE pgqueuer SET execute_after = now() WHERE status = 'queued'"


@pytest.fixture
def sent() -> list[int]:
    return []


@pytest.fixture
def registry(sent: list[int]) -> Registry:
    registry = Registry()

    @registry.job("post.send_parcel", args=Parcel)
    async def send_parcel(_shop: Shop, parcel: Parcel) -> None:
        sent.append(parcel.number)

    return registry


async def test_a_job_is_done_after_the_commit_and_never_before(
    db: Database, registry: Registry, sent: list[int]
) -> None:
    async with working(db, registry):
        async with db.transaction(actor=SYSTEM) as tx:
            await enqueue(tx, "post.send_parcel", Parcel(1))
            async with db.transaction(actor=SYSTEM) as other:
                assert (await queue_state(other)).due == 0
            assert sent == []
        await until(lambda: sent == [1])
        await state_becomes(db)


async def test_a_transaction_that_rolls_back_leaves_no_job(db: Database, registry: Registry, sent: list[int]) -> None:
    async def change_of_mind() -> None:
        async with db.transaction(actor=SYSTEM) as tx:
            await enqueue(tx, "post.send_parcel", Parcel(1))
            raise Wrong

    with pytest.raises(Wrong):
        await change_of_mind()
    assert await state(db) == QueueState(0, 0, 0, 0)
    async with working(db, registry):
        await asked(db, Request("post.send_parcel", Parcel(2)))
        await until(lambda: sent == [2])


async def test_a_job_without_arguments_gets_the_store_only(db: Database) -> None:
    registry, got = Registry(), []

    @registry.job("post.open_office")
    async def open_office(shop: Shop) -> None:
        got.append(shop.db)

    async with working(db, registry):
        await asked(db, Request("post.open_office"))
        await until(lambda: got == [db])


async def test_enqueueing_several_jobs_is_one_query(db: Database) -> None:
    with count_queries() as count:
        async with db.transaction(actor=SYSTEM) as tx:
            await enqueue_all(tx, [Request("post.send_parcel", Parcel(n)) for n in range(50)])
            await enqueue_all(tx, [])
    assert count.queries == 1
    assert (await state(db)).due == 50


async def test_commits_do_not_wait_for_each_other_to_notify(db: Database) -> None:
    """The job library's trigger would let one enqueueing transaction commit at a time in the whole cluster."""
    assert await look(db, "SELECT tgenabled FROM pg_trigger WHERE tgname = 'tg_pgqueuer_changed'") == [(b"D",)]


async def test_a_declared_job_is_not_enqueued_with_arguments_of_another_type(db: Database) -> None:
    compose()
    assert "core.prune_history" in DECLARED
    with pytest.raises(TypeError, match=r"core\.prune_history"):
        await asked(db, Request("core.prune_history", Parcel(1)))
    assert await state(db) == QueueState(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("name", "args"), [("send", None), ("Post.send", None), ("a.b.c", None), ("a.b", msgspec.defstruct("Thawed", []))]
)
def test_a_job_is_declared_by_module_and_verb_with_frozen_arguments(name: str, args: Any) -> None:
    registry = Registry()
    with pytest.raises(ValueError, match=r"called|frozen"):
        registry.job(name, args=args)
    assert list(registry) == []


def test_two_jobs_cannot_have_one_name(registry: Registry) -> None:
    with pytest.raises(ValueError, match="two jobs"):
        registry.job("post.send_parcel")


@pytest.mark.parametrize("cron", ["", "hourly", "* * * *", "61 * * * *", "* * * * * *"])
def test_a_schedule_has_five_fields_of_cron(cron: str) -> None:
    with pytest.raises(ValueError, match="cron"):
        Registry().scheduled("post.count_stamps", cron=cron)


async def test_a_deferred_job_waits_and_is_then_done_at_once(db: Database, registry: Registry, sent: list[int]) -> None:
    async with working(db, registry, poll_s=60):
        began = time.monotonic()
        await asked(
            db,
            Request("post.send_parcel", Parcel(1), after=timedelta(hours=1)),
            Request("post.send_parcel", Parcel(2), after=timedelta(milliseconds=300)),
        )
        await until(lambda: sent == [2])  # long before the worker would have looked by itself
        assert time.monotonic() - began >= 0.3
        await state_becomes(db, later=1)


async def test_a_waiting_job_of_the_same_key_is_joined(db: Database) -> None:
    await asked(db, Request("post.send_parcel", Parcel(1), after=timedelta(hours=1), dedupe="parcel 1"))
    await asked(db, Request("post.send_parcel", Parcel(1), after=timedelta(hours=9), dedupe="parcel 1"))
    assert await state(db) == QueueState(0, 1, 0, 0)
    await asked(
        db,
        Request("post.send_parcel", Parcel(1), dedupe="parcel 1", priority=Priority.URGENT),
        Request("post.send_parcel", Parcel(1), dedupe="parcel 1"),
        Request("post.send_parcel", Parcel(2), dedupe="parcel 2"),
    )
    found = "SELECT dedupe_key, priority, execute_after <= now() FROM pgqueuer ORDER BY dedupe_key"
    assert await look(db, found) == [("parcel 1", 10, True), ("parcel 2", 0, True)]


async def test_a_change_made_while_the_job_of_its_key_runs_gets_a_run_of_its_own(db: Database) -> None:
    registry, started, go_on = Registry(), [], asyncio.Event()

    @registry.job("post.count_stamps")
    async def count_stamps(_shop: Shop) -> None:
        started.append(1)
        await go_on.wait()

    async with working(db, registry, concurrency=1):
        await asked(db, Request("post.count_stamps", dedupe="stamps"))
        await until(lambda: len(started) == 1)
        await asked(db, Request("post.count_stamps", dedupe="stamps"))
        await asked(db, Request("post.count_stamps", dedupe="stamps"))
        go_on.set()
        await until(lambda: len(started) == 2)
        await state_becomes(db)
    assert len(started) == 2


async def test_a_job_that_is_joined_does_not_run_before_the_joining_change_is_committed(
    db: Database, owner: Database
) -> None:
    """Otherwise it could finish without having seen the change, and nobody would run it again."""
    registry, seen = Registry(), []
    await change(
        owner, "CREATE TABLE stamps (n int); GRANT ALL ON stamps TO tradepost_app; INSERT INTO stamps VALUES (1)"
    )

    @registry.job("post.count_stamps")
    async def count_stamps(shop: Shop) -> None:
        seen.extend(await look(shop.db, "SELECT n FROM stamps"))

    @registry.job("post.send_parcel", args=Parcel)
    async def send_parcel(_shop: Shop, _parcel: Parcel) -> None:
        seen.append(("other work",))

    await asked(db, Request("post.count_stamps", dedupe="stamps"))
    async with db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("UPDATE stamps SET n = 2"))
        await enqueue(tx, "post.count_stamps", dedupe="stamps")
        assert (
            await tx.value(text("SELECT count(*) FROM stamps")) == 1
        )  # what waits is asked for by now, and kept from workers
        async with working(db, registry):
            await asked(db, Request("post.send_parcel", Parcel(1)))
            await until(lambda: seen == [("other work",)])
    async with working(db, registry):
        await until(lambda: seen == [("other work",), (2,)])
    await state_becomes(db)
    await change(owner, "DROP TABLE stamps")


async def test_urgent_work_goes_first_and_work_of_one_priority_by_age(
    db: Database, registry: Registry, sent: list[int]
) -> None:
    order = [Priority.BACKGROUND, Priority.NORMAL, Priority.URGENT, Priority.NORMAL]
    for number, priority in enumerate(order):
        await asked(db, Request("post.send_parcel", Parcel(number), priority=priority))
    async with working(db, registry, concurrency=1):
        await until(lambda: len(sent) == 4)
    assert sent == [2, 1, 3, 0]


async def test_work_that_is_unavailable_is_tried_again_later_and_later(db: Database) -> None:
    registry, tries = Registry(), []

    @registry.job("post.send_parcel", args=Parcel)
    async def send_parcel(_shop: Shop, parcel: Parcel) -> None:
        tries.append(parcel.number)
        if len(tries) == 1:
            raise Away
        if len(tries) == 2:
            raise ExceptionGroup("both offices", [Away(), Away()])

    delay = "SELECT attempts, extract(epoch FROM execute_after - now())::float8 FROM pgqueuer"
    async with working(db, registry):
        await asked(db, Request("post.send_parcel", Parcel(7)))
        await state_becomes(db, later=1)
        ((attempts, seconds),) = await look(db, delay)
        assert attempts == 1
        assert 1 < seconds < 2.5
        await change(db, DUE_NOW)
        await asked(db, Request("post.unknown"))  # rings
        await until(lambda: len(tries) == 2)
        await state_becomes(db, later=1, due=1)
        ((attempts, seconds),) = await look(db, delay + " WHERE entrypoint = 'post.send_parcel'")
        assert attempts == 2
        assert 3 < seconds < 5
        await change(db, DUE_NOW)
        await asked(db, Request("post.unknown"))
        await until(lambda: len(tries) == 3)
        await state_becomes(db, due=2)
    assert tries == [7, 7, 7]
    assert await failures(db) == []


async def test_work_that_stays_unavailable_is_given_up_after_its_tries(db: Database) -> None:
    registry, tries = Registry(), []

    @registry.job("post.send_parcel", args=Parcel, tries=2)
    async def send_parcel(_shop: Shop, parcel: Parcel) -> None:
        tries.append(parcel.number)
        raise Away

    async with working(db, registry):
        await asked(db, Request("post.send_parcel", Parcel(1)))
        await state_becomes(db, later=1)
        await change(db, DUE_NOW)
        await asked(db, Request("post.unknown"))
        await state_becomes(db, failed=1, due=1)
    assert tries == [1, 1]
    (failed,) = await failures(db)
    assert (failed.error, failed.message, failed.tries) == ("Away", "The post office is closed.", 2)


async def test_any_other_error_is_recorded_at_once_with_its_traceback(db: Database) -> None:
    registry, tries = Registry(), []

    @registry.job("post.send_parcel", args=Parcel)
    async def send_parcel(_shop: Shop, parcel: Parcel) -> None:
        tries.append(parcel.number)
        raise Wrong

    async with working(db, registry):
        await asked(db, Request("post.send_parcel", Parcel(5)))
        await state_becomes(db, failed=1)
    assert tries == [5]
    (failed,) = await failures(db)
    assert (failed.name, failed.args, failed.tries) == ("post.send_parcel", '{"number":5}', 1)
    assert (failed.error, failed.message) == ("Wrong", "That is no address.")
    assert "in send_parcel" in (failed.traceback or "")


async def test_a_failed_job_can_be_retried_or_discarded(db: Database) -> None:
    registry, works, sent = Registry(), [], []

    @registry.job("post.send_parcel", args=Parcel)
    async def send_parcel(_shop: Shop, parcel: Parcel) -> None:
        if not works:
            raise Wrong
        sent.append(parcel.number)

    async with working(db, registry):
        await asked(db, *(Request("post.send_parcel", Parcel(n), dedupe=f"{n}") for n in (1, 2)))
        await state_becomes(db, failed=2)
        second, first = await failures(db)
        works.append(True)
        async with db.transaction(actor=SYSTEM) as tx:
            assert await discard_failed(tx, [second.id]) == 1
            assert await retry_failed(tx, [first.id, second.id]) == 1
        await until(lambda: sent == [1])
        await state_becomes(db)


async def test_an_error_that_cannot_be_stored_as_it_is_does_not_stop_the_worker(
    db: Database, registry: Registry, sent: list[int]
) -> None:
    @registry.job("post.read_address")
    async def read_address(_shop: Shop) -> None:
        raise ValueError("a NUL \x00 and half a pair \ud800 " + "x" * 30_000)

    async with working(db, registry):
        await asked(db, Request("post.read_address"))
        await state_becomes(db, failed=1)
        await asked(db, Request("post.send_parcel", Parcel(1)))
        await until(lambda: sent == [1])
    (failed,) = await failures(db)
    assert len(failed.message or "") == 20_000


async def test_arguments_of_an_older_shape_are_recorded_as_an_error(
    db: Database, registry: Registry, sent: list[int]
) -> None:
    class Letter(msgspec.Struct, frozen=True):
        stamp: str

    async with working(db, registry):
        await asked(db, Request("post.send_parcel", Letter("red")))
        await state_becomes(db, failed=1)
    (failed,) = await failures(db)
    assert failed.error == "ValidationError"
    assert sent == []


async def test_a_job_beyond_its_time_limit_is_cancelled_and_tried_again(db: Database) -> None:
    registry, cancelled = Registry(), []

    @registry.job("post.wait_for_ever", time_limit=timedelta(milliseconds=50))
    async def wait_for_ever(_shop: Shop) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async with working(db, registry):
        await asked(db, Request("post.wait_for_ever"))
        await state_becomes(db, later=1)
    assert cancelled == [True]


async def test_a_job_that_nobody_here_knows_waits_for_a_worker_that_does(
    db: Database, registry: Registry, sent: list[int]
) -> None:
    await asked(db, Request("post.not_yet_known", Parcel(1)))
    async with working(db, registry):
        await asked(db, Request("post.send_parcel", Parcel(1)))
        await until(lambda: sent == [1])
    assert (await state(db)).due == 1


async def test_several_workers_do_each_job_once(db: Database) -> None:
    registry, sent = Registry(), []

    @registry.job("post.send_parcel", args=Parcel)
    async def send_parcel(_shop: Shop, parcel: Parcel) -> None:
        await asyncio.sleep(0)
        sent.append(parcel.number)

    await asked(db, *(Request("post.send_parcel", Parcel(n)) for n in range(300)))
    async with working(db, registry), working(db, registry), working(db, registry):
        await until(lambda: len(sent) >= 300)
        await state_becomes(db)
    assert sorted(sent) == list(range(300))


async def test_a_worker_does_no_more_at_once_than_it_may(db: Database) -> None:
    registry, now_running, most = Registry(), [], []

    @registry.job("post.send_parcel", args=Parcel)
    async def send_parcel(_shop: Shop, parcel: Parcel) -> None:
        now_running.append(parcel.number)
        most.append(len(now_running))
        await asyncio.sleep(0.002)
        now_running.remove(parcel.number)

    await asked(db, *(Request("post.send_parcel", Parcel(n)) for n in range(40)))
    async with working(db, registry, concurrency=3):
        await until(lambda: len(most) == 40)
    assert max(most) == 3


async def test_work_that_waits_for_others_has_places_of_its_own(db: Database) -> None:
    registry, running, over = Registry(), set(), asyncio.Event()

    @registry.job("post.await_ship", args=Parcel)
    async def await_ship(_shop: Shop, parcel: Parcel) -> None:
        running.add(parcel.number)
        await over.wait()

    done = []

    @registry.job("post.send_parcel", args=Parcel)
    async def send_parcel(_shop: Shop, parcel: Parcel) -> None:
        done.append(parcel.number)

    await asked(db, *(Request("post.await_ship", Parcel(n), priority=Priority.PATIENT) for n in range(9)))
    async with working(db, registry, concurrency=2, patient=3):
        await until(lambda: len(running) == 3)
        await asked(db, *(Request("post.send_parcel", Parcel(n), priority=Priority.BACKGROUND) for n in range(5)))
        await until(lambda: len(done) == 5)
        async with db.transaction(actor=SYSTEM) as tx:
            assert await queue_lag(tx) == 0
        assert len(running) == 3
        over.set()
        await until(lambda: len(running) == 9)


@pytest.fixture
def stamps(registry: Registry) -> list[int]:
    """Declare a job for every full hour; return what it counted."""
    counted: list[int] = []

    @registry.scheduled("post.count_stamps", cron="0 * * * *")
    async def count_stamps(_shop: Shop) -> None:
        counted.append(1)

    return counted


async def plan(db: Database, registry: Registry) -> None:
    """Run a worker until it has written down its schedules."""
    crons = [job.cron for job in registry if job.cron]

    async def planned() -> bool:
        return await look(db, "SELECT expression FROM pgqueuer_schedules") == [(cron,) for cron in crons]

    async with working(db, registry):
        await until(planned)


async def test_a_scheduled_time_enqueues_one_job_however_many_workers_there_are(
    db: Database, registry: Registry, stamps: list[int]
) -> None:
    await plan(db, registry)
    await change(db, "UPDATE pgqueuer_schedules SET next_run = now() - interval '5 hours'")  # nobody worked for hours
    async with working(db, registry), working(db, registry), working(db, registry):
        await until(lambda: stamps == [1])
        await state_becomes(db)
    assert stamps == [1]
    planned = "SELECT next_run > now(), next_run = date_trunc('hour', next_run), next_run <= now() + interval '1 hour' FROM pgqueuer_schedules"
    assert await look(db, planned) == [(True, True, True)]


async def test_a_schedule_that_has_changed_replaces_the_former(
    db: Database, registry: Registry, stamps: list[int]
) -> None:
    await plan(db, registry)
    changed = Registry()

    @changed.scheduled("post.count_stamps", cron="30 4 * * *")
    async def count_stamps(_shop: Shop) -> None:
        stamps.append(1)

    await plan(db, changed)
    assert await look(db, "SELECT entrypoint, expression FROM pgqueuer_schedules") == [
        ("post.count_stamps", "30 4 * * *")
    ]


async def test_stopping_takes_less_than_two_seconds_and_puts_unfinished_work_back(db: Database) -> None:
    registry, started, finish = Registry(), [], asyncio.Event()

    @registry.job("post.send_parcel", args=Parcel)
    async def send_parcel(_shop: Shop, parcel: Parcel) -> None:
        started.append(parcel.number)
        await finish.wait()

    assert Pace().grace_s * 1.5 < 2
    await asked(db, Request("post.send_parcel", Parcel(1)))
    async with working(db, registry, grace_s=0.1):
        await until(lambda: started == [1])
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert await look(db, "SELECT status::text, attempts FROM pgqueuer") == [("queued", 0)]
    finish.set()
    async with working(db, registry):
        await until(lambda: started == [1, 1])
        await state_becomes(db)


async def test_an_idle_worker_stops_at_once(db: Database, registry: Registry) -> None:
    async with working(db, registry, poll_s=60):
        await asked(db, Request("post.send_parcel", Parcel(1)))
        await state_becomes(db)
        began = time.monotonic()
    assert time.monotonic() - began < 5


async def test_a_lost_connection_is_made_anew_and_what_was_done_meanwhile_is_recorded(
    db: Database, owner: Database, registry: Registry, sent: list[int]
) -> None:
    finish, started = asyncio.Event(), []

    @registry.job("post.send_letter")
    async def send_letter(_shop: Shop) -> None:
        started.append(1)
        await finish.wait()

    async with working(db, registry, poll_s=60):
        await asked(owner, Request("post.send_letter"))
        await until(lambda: started == [1])
        ours = "usename = 'tradepost_app' AND datname = current_database()"
        await change(owner, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}")
        finish.set()
        await state_becomes(owner)
        await asked(owner, Request("post.send_parcel", Parcel(1)))
        await until(lambda: sent == [1])
    assert started == [1]


WORKER = """
import asyncio, sys
import msgspec
from tradepost.core.database import Database
from tradepost.core.job_runner import Pace, run_jobs
from tradepost.core.jobs import Registry

registry = Registry()

class Parcel(msgspec.Struct, frozen=True):
    number: int

class Shop:
    def __init__(self, db):
        self.db = db

@registry.job("post.send_parcel", args=Parcel)
async def send_parcel(shop, parcel):
    print(parcel.number, flush=True)
    await asyncio.sleep(600)

async def main():
    db = await Database.open(sys.argv[1], direct_dsn=sys.argv[3], size=2)
    await run_jobs(Shop(db), registry, asyncio.Event(), pace=Pace(concurrency=1, poll_s=300, heartbeat_s=float(sys.argv[2])))

print("ready", flush=True)
asyncio.run(main())
"""


@asynccontextmanager
async def other_worker(dsn: str, heartbeat_s: float) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a worker in a process of its own, whose jobs never end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, dsn, str(heartbeat_s), direct(dsn),
        stdout=asyncio.subprocess.PIPE, env=dict(os.environ),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_worker_elsewhere_hears_of_a_job_and_another_takes_it_over_when_it_is_killed(
    servers: Servers, database_name: str, db: Database, registry: Registry, sent: list[int]
) -> None:
    async with other_worker(servers.dsn(database_name, "tradepost_app"), 2.0) as process:
        assert process.stdout is not None
        waiting = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                     AND query LIKE '%min(first.execute_after)%' AND state = 'idle'"""

        async def idles() -> bool:
            return await look(db, waiting) == [(1,)]

        await until(idles)
        await asked(db, Request("post.send_parcel", Parcel(8)))
        assert await process.stdout.readline() == b"8\n"  # long before it would have looked by itself
        async with working(db, registry, heartbeat_s=2.0, poll_s=0.1):
            await asked(db, Request("post.send_parcel", Parcel(9)))
            await until(lambda: sent == [9])  # it lives: its job stays its own
            await state_becomes(db, running=1)
            assert await look(db, "SELECT attempts FROM pgqueuer WHERE status = 'picked'") == [(0,)]
            process.send_signal(signal.SIGKILL)
            await until(lambda: sent == [9, 8])
            await state_becomes(db)


async def test_a_job_that_keeps_killing_its_workers_is_given_up(
    db: Database, registry: Registry, sent: list[int]
) -> None:
    await asked(db, Request("post.send_parcel", Parcel(1)))
    await change(db, "UPDATE pgqueuer SET status = 'picked', attempts = 9, heartbeat = now() - interval '1 day'")
    async with working(db, registry):
        await state_becomes(db, failed=1)
    (failed,) = await failures(db)
    assert failed.error == "WorkerKeptDying"
    assert sent == []


@pytest.mark.slow
async def test_a_worker_goes_on_after_postgresql_was_restarted(
    tmp_path: Path, registry: Registry, sent: list[int]
) -> None:
    async with embedded_postgres(tmp_path) as server:
        await create_database(server.dsn("postgres", "postgres"), "post")
        await migrate(server.dsn("post", "postgres"))
        db = await Database.open(server.dsn("post", "tradepost_app"), size=4)
        stop = asyncio.Event()
        worker = asyncio.create_task(run_jobs(Shop(db), registry, stop))
        await asked(db, Request("post.send_parcel", Parcel(1)))
        await until(lambda: sent == [1])
        await asked(db, Request("post.send_parcel", Parcel(2), after=timedelta(seconds=1)))
    async with embedded_postgres(tmp_path):
        await until(lambda: sent == [1, 2], 20)
        await asked(db, Request("post.send_parcel", Parcel(3)))
        await until(lambda: sent == [1, 2, 3])
        stop.set()
        await worker
        await db.close()


async def test_the_lag_is_how_long_the_oldest_due_job_waits(db: Database) -> None:
    async with db.transaction(actor=SYSTEM) as tx:
        assert await queue_lag(tx) == 0
        await enqueue(tx, "post.send_parcel", Parcel(1), after=timedelta(hours=1))
        assert await queue_lag(tx) == 0
        await enqueue_all(tx, [Request("post.send_parcel", Parcel(n), priority=p) for n, p in enumerate(Priority)])
    await change(db, "UPDATE pgqueuer SET execute_after = now() - interval '90 seconds' WHERE priority = -10")
    async with db.transaction(actor=SYSTEM) as tx:
        assert 90 <= await queue_lag(tx) < 100
        assert await queue_state(tx) == QueueState(due=4, later=1, running=0, failed=0)


async def test_old_history_and_old_failures_are_pruned(db: Database, registry: Registry) -> None:
    @registry.job("post.read_address")
    async def read_address(_shop: Shop) -> None:
        raise Wrong

    async with working(db, registry):
        await asked(db, Request("post.send_parcel", Parcel(1)), *(Request("post.read_address") for _ in range(2)))
        await state_becomes(db, failed=2)
    (oldest, *_rest) = sorted(f.id for f in await failures(db))
    async with db.transaction(actor=SYSTEM) as tx:
        assert await prune_jobs(tx) == 0
    await change(db, f"UPDATE pgqueuer SET updated = now() - interval '91 days' WHERE id = {oldest}")
    await change(db, "UPDATE pgqueuer_log SET created = now() - interval '15 days'")
    async with db.transaction(actor=SYSTEM) as tx:
        assert await prune_jobs(tx) == 1
    assert len(await failures(db)) == 1
    assert await look(db, "SELECT count(*) FROM pgqueuer_log") == [(0,)]


async def test_a_hundred_thousand_deferred_jobs_do_not_slow_the_next_one(
    owner: Database, db: Database, registry: Registry
) -> None:
    """pgqueuer's own statement reads all of them each time (docs/decisions/0004-jobs-and-events.md)."""
    await change(
        owner,
        "INSERT INTO pgqueuer (priority, entrypoint, status, execute_after) "
        "SELECT 0, 'post.send_parcel', 'queued', now() + interval '1 hour' FROM generate_series(1, 100000)",
    )
    plan = await look(
        owner,
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT TEXT) SELECT id FROM pgqueuer WHERE status = 'queued' AND priority = 0 "
        "AND execute_after <= now() AND entrypoint = ANY ('{post.send_parcel}') ORDER BY execute_after LIMIT 4 FOR UPDATE SKIP LOCKED",
    )
    assert any("tradepost_jobs_due" in line for (line,) in plan), plan


def test_every_module_that_declares_jobs_is_composed() -> None:
    source = Path(compose.__code__.co_filename).parent
    declaring = {
        "tradepost." + ".".join(path.relative_to(source).with_suffix("").parts)
        for path in source.rglob("*.py")
        if "@job(" in (code := path.read_text("utf-8")) or "@scheduled(" in code
    }
    assert declaring == set(JOB_MODULES)


def names(registry: Registry) -> Sequence[str]:
    return sorted(job.name for job in registry)


def test_composing_twice_is_composing_once() -> None:
    assert names(compose()) == names(compose())

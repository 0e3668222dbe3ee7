"""Facts and who reacts to them; the months their rows go to."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from sqlalchemy import text

from tradepost.core import events
from tradepost.core.database import ANYBODY, SYSTEM, Actor, Database, count_queries
from tradepost.core.events import check_subscriptions, record, record_all, subscribe, subscriptions
from tradepost.core.housekeeping import make_months
from tradepost.core.job_runner import Pace, run_jobs
from tradepost.core.jobs import Priority, Registry

SUBJECT = UUID(int=7)


class LetterPosted(msgspec.Struct, frozen=True):
    """A letter is in the box."""

    letter_id: UUID
    stamp: str


class OfficeOpened(msgspec.Struct, frozen=True):
    """The office is open."""


class Shop:
    """A store, as far as jobs need one."""

    def __init__(self, db: Database) -> None:
        self.db = db


@pytest.fixture(autouse=True)
def nobody_subscribed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test its own subscribers."""
    monkeypatch.setattr(events, "_subscriptions", {})


async def rows(db: Database, sql: str) -> list[Any]:
    async with db.transaction(actor=SYSTEM) as tx:
        return [tuple(row) for row in await tx.all(text(sql))]


EVENTS = "SELECT kind, user_id, session_hash, subject_id, data FROM events ORDER BY id"
JOBS = "SELECT entrypoint, dedupe_key, priority, convert_from(payload, 'UTF8') FROM pgqueuer ORDER BY id"


async def test_a_fact_is_kept_with_who_did_it_and_what_it_is_about(db: Database) -> None:
    actor = Actor("person", UUID(int=3), b"\x01" * 32)
    async with db.transaction(actor=actor) as tx:
        fact_id = await record(tx, LetterPosted(SUBJECT, "red"), subject_id=SUBJECT)
    assert await rows(db, EVENTS) == [
        ("LetterPosted", UUID(int=3), b"\x01" * 32, SUBJECT, {"letter_id": str(SUBJECT), "stamp": "red"})
    ]
    assert await rows(db, "SELECT id FROM events") == [(fact_id,)]
    assert await rows(db, JOBS) == []


async def test_a_fact_and_the_jobs_of_its_subscribers_are_one_query(db: Database) -> None:
    subscribe(LetterPosted, "post.sort_letter")
    subscribe(LetterPosted, "post.count_letter", priority=Priority.BACKGROUND)
    subscribe(OfficeOpened, "post.ring_bell")
    with count_queries() as count:
        async with db.transaction(actor=ANYBODY) as tx:
            await record(tx, LetterPosted(SUBJECT, "red"), subject_id=SUBJECT)
    assert count.queries == 1
    payload = f'{{"letter_id":"{SUBJECT}","stamp":"red"}}'
    assert await rows(db, EVENTS) == [
        ("LetterPosted", None, None, SUBJECT, {"letter_id": str(SUBJECT), "stamp": "red"})
    ]
    assert await rows(db, JOBS) == [("post.sort_letter", None, 0, payload), ("post.count_letter", None, -10, payload)]


async def test_several_facts_are_one_query_and_keep_their_order(db: Database) -> None:
    subscribe(OfficeOpened, "post.ring_bell", after=timedelta(hours=1))
    with count_queries() as count:
        async with db.transaction(actor=SYSTEM) as tx:
            ids = await record_all(
                tx, [(OfficeOpened(), None), (LetterPosted(SUBJECT, "blue"), SUBJECT), (OfficeOpened(), SUBJECT)]
            )
            assert await record_all(tx, []) == []
    assert count.queries == 1
    recorded = {row[0]: row[1:] for row in await rows(db, "SELECT id, kind, subject_id FROM events")}
    assert [recorded[fact_id] for fact_id in ids] == [
        ("OfficeOpened", None),
        ("LetterPosted", SUBJECT),
        ("OfficeOpened", SUBJECT),
    ]
    assert await rows(db, "SELECT count(*), min(execute_after - created) FROM pgqueuer") == [(2, timedelta(hours=1))]


async def test_neither_fact_nor_job_is_left_when_the_transaction_rolls_back(db: Database) -> None:
    subscribe(OfficeOpened, "post.ring_bell")

    async def change_of_mind() -> None:
        async with db.transaction(actor=SYSTEM) as tx:
            await record(tx, OfficeOpened())
            raise LookupError

    with pytest.raises(LookupError):
        await change_of_mind()
    assert await rows(db, EVENTS) == []
    assert await rows(db, JOBS) == []


async def test_events_about_one_subject_may_share_a_waiting_job(db: Database) -> None:
    subscribe(LetterPosted, "post.sort_letter", once_per_subject=True)
    async with db.transaction(actor=SYSTEM) as tx:
        for subject in (SUBJECT, UUID(int=8), SUBJECT, None, None):
            await record(tx, LetterPosted(SUBJECT, "red"), subject_id=subject)
        await record_all(tx, [(LetterPosted(SUBJECT, "red"), SUBJECT), (LetterPosted(SUBJECT, "red"), SUBJECT)])
    keys = [row[1] for row in await rows(db, JOBS)]
    assert keys == [f"post.sort_letter:{SUBJECT}", f"post.sort_letter:{UUID(int=8)}", None, None]


async def test_a_subscriber_gets_the_event_as_its_arguments(db: Database) -> None:
    registry, sorted_letters = Registry(), asyncio.Queue[LetterPosted]()

    @registry.job("post.sort_letter", args=LetterPosted)
    async def sort_letter(_shop: Shop, letter: LetterPosted) -> None:
        await sorted_letters.put(letter)

    subscribe(LetterPosted, "post.sort_letter")
    check_subscriptions(registry)
    stop = asyncio.Event()
    worker = asyncio.create_task(run_jobs(Shop(db), registry, stop, pace=Pace()))
    async with db.transaction(actor=SYSTEM) as tx:
        await record(tx, LetterPosted(SUBJECT, "red"))
    async with asyncio.timeout(30):
        assert await sorted_letters.get() == LetterPosted(SUBJECT, "red")
    stop.set()
    await worker


def test_subscribing_twice_is_subscribing_once() -> None:
    subscribe(OfficeOpened, "post.ring_bell")
    subscribe(OfficeOpened, "post.ring_bell")
    assert [s.job for s in subscriptions()[OfficeOpened]] == ["post.ring_bell"]


def test_a_subscription_to_a_job_that_does_not_exist_or_takes_something_else_is_found() -> None:
    registry = Registry()
    subscribe(LetterPosted, "post.sort_letter")
    with pytest.raises(ValueError, match="nobody declared"):
        check_subscriptions(registry)

    @registry.job("post.sort_letter", args=OfficeOpened)
    async def sort_letter(_shop: Shop, _event: OfficeOpened) -> None: ...

    with pytest.raises(ValueError, match="does not take LetterPosted"):
        check_subscriptions(registry)


def test_an_event_that_could_be_changed_is_no_event() -> None:
    with pytest.raises(ValueError, match="frozen"):
        subscribe(msgspec.defstruct("Thawed", []), "post.sort_letter")


async def test_a_fact_is_never_changed_or_removed_by_the_server(db: Database) -> None:
    async with db.transaction(actor=SYSTEM) as tx:
        await record(tx, OfficeOpened())
    for sql in ("UPDATE events SET kind = 'x'", "DELETE FROM events"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await rows(db, sql)
    assert len(await rows(db, EVENTS)) == 1


MONTHS = """SELECT replace(pg_get_expr(relpartbound, oid), '+00', '') FROM pg_class
            WHERE relispartition AND relkind = 'r' AND oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'events'::regclass)
            AND relname <> 'events_default' ORDER BY relname"""


def months(n: int) -> list[Any]:
    """Return the bounds of this month's and the next n months' partitions, as PostgreSQL prints them."""
    today = datetime.now(UTC)
    firsts = [
        f"{today.year + (today.month - 1 + k) // 12}-{(today.month - 1 + k) % 12 + 1:02}-01 00:00:00"
        for k in range(n + 2)
    ]
    return [(f"FOR VALUES FROM ('{a}') TO ('{b}')",) for a, b in pairwise(firsts)]


async def test_the_worker_makes_the_months_that_are_missing_as_the_servers_own_role(
    db: Database, owner: Database
) -> None:
    async with owner.connection() as connection:
        for (name,) in await connection.fetch(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass"
        ):
            if name != "events_default":
                await connection.execute(f"DROP TABLE {name}")
    async with db.transaction(actor=SYSTEM) as tx:
        kept = await record(tx, OfficeOpened())
    assert await rows(db, "SELECT tableoid::regclass::text FROM events") == [("events_default",)]

    async with db.transaction(actor=SYSTEM) as tx:
        assert await make_months(tx) == 4
        assert await make_months(tx) == 0

    assert await rows(owner, MONTHS) == months(3)
    now = datetime.now(UTC)
    assert await rows(db, "SELECT id, tableoid::regclass::text FROM events") == [(kept, f"events_p{now:%Y%m}")]


async def test_every_partitioned_table_gets_its_months(db: Database, owner: Database) -> None:
    async with owner.connection() as connection:
        await connection.execute("""
            SET ROLE tradepost_owner;
            CREATE TABLE letters (id int, at timestamptz, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
            CREATE TABLE drawers (id int) PARTITION BY HASH (id);
            RESET ROLE;
        """)
    async with db.transaction(actor=SYSTEM) as tx:
        assert await make_months(tx) == 4
    made = "SELECT count(*) FROM pg_inherits WHERE inhparent = '{}'::regclass"
    assert await rows(owner, made.format("letters")) == [(4,)]
    assert await rows(owner, made.format("drawers")) == [(0,)]


@pytest.mark.parametrize("table", ["users", "pg_class"])
async def test_months_are_made_for_our_partitioned_tables_only(owner: Database, table: str) -> None:
    with pytest.raises(asyncpg.WrongObjectTypeError):
        await rows(owner, f"SELECT ensure_month_partitions('{table}', 1)")


async def test_the_server_may_not_choose_the_table(db: Database) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await rows(db, "SELECT ensure_month_partitions('events', 1)")

"""The database as everything above sees it: rows as Structs, an actor for every transaction, few round trips."""
# ruff: noqa: PT012  # what is expected to fail here is a whole transaction

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import bindparam, column, insert, select, table, text, update

from tests.conftest import Servers
from tradepost.catalog.tables import categories, feeds
from tradepost.core.database import (
    ANYBODY,
    SYSTEM,
    Actor,
    ChangedMeanwhile,
    Database,
    DatabaseBusy,
    DatabaseUnreachable,
    NotStorable,
    RuleBroken,
    TookTooLong,
    count_queries,
    on_violation,
)
from tradepost.core.errors import Conflict, NotFound
from tradepost.migrations import create_database

ADD = insert(feeds).values(code=bindparam("code"), name=bindparam("name"))
FEED = select(feeds.c.code, feeds.c.name, feeds.c.description).where(feeds.c.code == bindparam("code"))
FEEDS = select(feeds.c.code, feeds.c.name, feeds.c.description).order_by(feeds.c.code)
CODES = select(feeds.c.code).order_by(feeds.c.code)
NAP = text("SELECT pg_sleep(10)")


class Feed(msgspec.Struct, frozen=True):
    """A row of `feeds`, in the order of its columns."""

    code: str
    name: str
    description: str


class Turned(msgspec.Struct, frozen=True):
    """The same, in another order and with a field that has a default."""

    description: str
    name: str
    code: str
    note: str = "none"


class Inner(msgspec.Struct, frozen=True):
    """A part of a row that comes as JSON."""

    sku: str
    price: Decimal


class Outer(msgspec.Struct, frozen=True):
    """A row with Structs within."""

    id: UUID
    parts: tuple[Inner, ...]
    first: Inner | None
    at: datetime


@pytest_asyncio.fixture(scope="module")
async def database_name(servers: Servers, migrated: str) -> AsyncIterator[str]:
    """Share one database among these tests: they use one table, which is emptied after each."""
    name = await servers.clone(migrated)
    yield name
    await servers.drop(name)


@pytest_asyncio.fixture(autouse=True)
async def emptied(owner: Database) -> AsyncIterator[None]:
    yield
    async with owner.transaction(actor=SYSTEM) as tx:
        await tx.run(text("DELETE FROM feeds"))


async def add(db: Database, *codes: str) -> None:
    async with db.transaction(actor=SYSTEM) as tx:
        await tx.run_many(ADD, [{"code": code, "name": code.title()} for code in codes])


async def codes(db: Database) -> list[str]:
    return [row[0] for row in await db.read(CODES)]


async def test_rows_become_structs_whatever_the_order_of_their_columns(db: Database) -> None:
    await add(db, "two", "one")
    assert await db.read(FEEDS, into=Feed) == [Feed("one", "One", ""), Feed("two", "Two", "")]
    assert await db.read(FEEDS, into=Turned) == [Turned("", "One", "one"), Turned("", "Two", "two")]
    assert await db.read_maybe(FEED, into=Feed, code="two") == Feed("two", "Two", "")
    assert await db.read_maybe(FEED, into=Feed, code="three") is None


async def test_structs_within_rows_are_made_of_json(db: Database) -> None:
    statement = text("""
        SELECT CAST('00000000-0000-0000-0000-000000000007' AS uuid) AS id,
               CAST('[{"sku": "A", "price": "1.50"}, {"sku": "B", "price": "2"}]' AS jsonb) AS parts,
               CAST(:first AS jsonb) AS first, CAST('2026-03-01T12:00+02' AS timestamptz) AS at
    """)
    at = datetime(2026, 3, 1, 10, tzinfo=UTC)
    parts = (Inner("A", Decimal("1.50")), Inner("B", Decimal(2)))
    assert await db.read(statement, into=Outer, first=None) == [Outer(UUID(int=7), parts, None, at)]
    (row,) = await db.read(statement, into=Outer, first={"sku": "C", "price": "3.00"})
    assert row.first == Inner("C", Decimal("3.00"))


async def test_one_wants_a_row_and_maybe_does_not(db: Database) -> None:
    await add(db, "one")
    async with db.transaction(actor=ANYBODY) as tx:
        assert await tx.one(FEED, into=Feed, code="one") == Feed("one", "One", "")
        assert (await tx.one(FEED, code="one"))["name"] == "One"
        assert await tx.maybe(FEED, into=Feed, code="none") is None
        assert await tx.maybe(FEED, code="none") is None
        assert await tx.all(FEED, into=Feed, code="none") == []
        assert await tx.value(CODES) == "one"
        assert await tx.value(FEED, code="none") is None
        assert await tx.values(CODES) == ["one"]
        with pytest.raises(NotFound):
            await tx.one(FEED, into=Feed, code="none")


async def test_a_change_says_how_many_rows_it_touched(db: Database) -> None:
    await add(db, "one", "two", "three")
    rename = feeds.update().values(name=bindparam("name_given")).where(feeds.c.code != bindparam("but"))
    async with db.transaction(actor=SYSTEM) as tx:
        assert await tx.run(rename, name_given="New", but="two") == 2
        assert await tx.run(rename.where(feeds.c.code == "nine"), name_given="New", but="two") == 0
        assert await tx.run(text("SET LOCAL work_mem = '4MB'")) == 0


async def test_rows_are_copied_in_as_they_come(db: Database) -> None:
    async with db.transaction(actor=SYSTEM) as tx:
        rows = ((f"feed{n:03}", f"Feed {n}") for n in range(250))
        assert await tx.copy_in("feeds", ["code", "name"], rows) == 250
        with pytest.raises(RuleBroken, match="pk_feeds"):
            async with tx.savepoint():
                await tx.copy_in("feeds", ["code", "name"], [("feed001", "again")])
    assert len(await codes(db)) == 250


async def test_an_error_rolls_the_transaction_back(db: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with db.transaction(actor=SYSTEM) as tx:
            await tx.run(ADD, code="one", name="One")
            raise ZeroDivisionError
    assert await codes(db) == []
    await add(db, "two")
    assert await codes(db) == ["two"]


async def test_cancelling_rolls_back_and_gives_the_connection_back(servers: Servers, database_name: str) -> None:
    db = await Database.open(servers.dsn(database_name, "tradepost_app"), size=1)
    started = asyncio.Event()

    async def work() -> None:
        async with db.transaction(actor=SYSTEM) as tx:
            await tx.run(ADD, code="one", name="One")
            started.set()
            await tx.value(NAP)

    try:
        task = asyncio.create_task(work())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await codes(db) == []
    finally:
        await db.close()


async def test_an_error_in_a_savepoint_undoes_only_what_it_did(db: Database) -> None:
    async with db.transaction(actor=SYSTEM) as tx:
        await tx.run(ADD, code="before", name="Before")
        with pytest.raises(RuleBroken):
            async with tx.savepoint():
                await tx.run(ADD, code="within", name="Within")
                await tx.run(ADD, code="before", name="Again")
        await tx.run(ADD, code="after", name="After")
    assert await codes(db) == ["after", "before"]


async def test_a_savepoint_that_failed_within_another_leaves_the_outer_one_whole(db: Database) -> None:
    async with db.transaction(actor=SYSTEM) as tx:
        with pytest.raises(ZeroDivisionError):
            async with tx.savepoint():
                await tx.run(ADD, code="outer", name="Outer")
                with pytest.raises(RuleBroken):
                    async with tx.savepoint():
                        await tx.run(ADD, code="outer", name="Again")
                await tx.run(ADD, code="later", name="Later")
                raise ZeroDivisionError
        await tx.run(ADD, code="end", name="End")
    assert await codes(db) == ["end"]


WHO = text("""
    SELECT current_setting('app.role', true), app_user_id(), encode(app_session(), 'hex'), app_sees_all()
""")


async def who(tx: Any) -> tuple[Any, ...]:
    return tuple(await tx.one(WHO))


@pytest.mark.parametrize(
    ("actor", "seen"),
    [
        (ANYBODY, ("anonymous", None, None, False)),
        (Actor("anonymous", None, b"\x01\xff"), ("anonymous", None, "01ff", False)),
        (Actor("person", UUID(int=5), b"\x02"), ("person", UUID(int=5), "02", False)),
        (Actor("staff", UUID(int=6)), ("staff", UUID(int=6), None, True)),
        (SYSTEM, ("system", None, None, True)),
    ],
)
async def test_the_database_knows_who_a_transaction_acts_for(db: Database, actor: Actor, seen: tuple[Any, ...]) -> None:
    async with db.transaction(actor=actor) as tx:
        assert await who(tx) == seen
        assert await tx.value(text("SELECT session_user::text")) == "tradepost_app"


async def test_an_actor_does_not_outlive_the_transaction(servers: Servers, database_name: str) -> None:
    db = await Database.open(servers.dsn(database_name, "tradepost_app"), size=1)
    try:
        async with db.transaction(actor=SYSTEM) as tx:
            assert (await who(tx))[3] is True
        with pytest.raises(ZeroDivisionError):
            async with db.transaction(actor=SYSTEM):
                raise ZeroDivisionError
        (row,) = await db.read(WHO)
        assert tuple(row) == ("", None, None, False)
    finally:
        await db.close()


async def test_a_step_may_act_for_somebody_else_and_no_longer(db: Database) -> None:
    person = Actor("person", UUID(int=5))
    async with db.transaction(actor=person) as tx:
        async with tx.acting_as(SYSTEM):
            assert tx.actor == SYSTEM
            assert await who(tx) == ("system", None, None, True)
        assert tx.actor == person
        assert await who(tx) == ("person", UUID(int=5), None, False)
        with pytest.raises(ZeroDivisionError):
            async with tx.acting_as(SYSTEM):
                raise ZeroDivisionError
        assert tx.actor == person
        assert await who(tx) == ("person", UUID(int=5), None, False)


@pytest.mark.parametrize("role", ["x'; DROP TABLE users; --", "Staff", "a b"])
async def test_a_role_cannot_smuggle_sql(db: Database, role: Any) -> None:
    with pytest.raises(ValueError, match="not a setting"):
        async with db.transaction(actor=Actor(role)):
            pass


async def test_a_reading_transaction_refuses_to_write(db: Database) -> None:
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with db.transaction(actor=SYSTEM, read_only=True) as tx:
            await tx.run(ADD, code="one", name="One")
    assert await codes(db) == []


async def test_reactions_follow_a_commit_and_no_roll_back(db: Database) -> None:
    seen: list[list[str]] = []

    async def look() -> None:
        seen.append(await codes(db))

    async with db.transaction(actor=SYSTEM) as tx:
        tx.after_commit(look)
        await tx.run(ADD, code="one", name="One")
        assert seen == []
    assert seen == [["one"]]
    with pytest.raises(ZeroDivisionError):
        async with db.transaction(actor=SYSTEM) as tx:
            tx.after_commit(look)
            raise ZeroDivisionError
    assert seen == [["one"]]


async def test_what_joins_a_transaction_commits_with_it(db: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with db.transaction(actor=SYSTEM) as outer:
            with db.joined_by(outer):
                await add(db, "within")
                assert await codes(db) == ["within"]
            raise ZeroDivisionError
    assert await codes(db) == []


class Wire:
    """A server that passes on what it hears to PostgreSQL and counts PostgreSQL's answers."""

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        query = parse_qs(parts.query)
        self.socket = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}" if "host" in query else ""
        self.host, self.port = parts.hostname, parts.port or 5432
        self.answers = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.socket:
            far_reader, far_writer = await asyncio.open_unix_connection(self.socket)
        else:
            far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
        there = asyncio.create_task(self.pass_on(reader, far_writer))
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await far_reader.readexactly(5)
                body = await far_reader.readexactly(int.from_bytes(head[1:], "big") - 4)
                self.answers += head[:1] == b"Z"  # ReadyForQuery: PostgreSQL ends every round trip with it
                writer.write(head + body)
                await writer.drain()
        there.cancel()
        for end in (writer, far_writer):
            end.close()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def database_on_a_wire(servers: Servers, name: str) -> AsyncIterator[tuple[Database, Wire]]:
    wire = Wire(servers.dsn(name, "tradepost_app"))
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    db = await Database.open(f"postgresql://tradepost_app@127.0.0.1:{port}/{name}?sslmode=disable", size=1)
    try:
        yield db, wire
    finally:
        await db.close()
        server.close()
        await server.wait_closed()


async def test_a_read_is_one_round_trip_and_an_actor_costs_none(servers: Servers, database_name: str) -> None:
    async with database_on_a_wire(servers, database_name) as (db, wire):
        await db.read(FEEDS, into=Feed)
        before = wire.answers
        await db.read(FEEDS, into=Feed)
        await db.read(FEEDS, into=Turned)
        assert wire.answers - before == 2
        before = wire.answers
        async with db.transaction(actor=Actor("person", UUID(int=5))) as tx:
            await tx.all(FEEDS, into=Feed)
        assert wire.answers - before == 3  # BEGIN with the actor, the query, COMMIT


async def test_statements_are_counted_and_what_surrounds_them_is_not(db: Database) -> None:
    await db.read(FEEDS)
    with count_queries() as counted:
        await db.read(FEEDS)
        async with db.transaction(actor=SYSTEM) as tx:
            await tx.run(ADD, code="one", name="One")
            async with tx.savepoint():
                await tx.all(FEEDS, into=Feed)
        with pytest.raises(RuleBroken):
            await add(db, "one")
    assert counted.queries == 4
    assert counted.seconds > 0
    with count_queries() as nothing:
        pass
    assert nothing.queries == 0


async def test_counting_ends_with_its_block_and_is_each_tasks_own(db: Database) -> None:
    async def count_two() -> int:
        with count_queries() as mine:
            await db.read(FEEDS)
            await db.read(FEEDS)
        await db.read(FEEDS)
        return mine.queries

    assert await asyncio.gather(count_two(), count_two(), count_two()) == [2, 2, 2]


async def test_a_parameter_that_a_statement_does_not_know_is_a_mistake(db: Database) -> None:
    with pytest.raises(TypeError, match=r"unknown parameters \['kode'\]"):
        await db.read(FEED, kode="one")
    with pytest.raises(TypeError, match=r"unknown parameters \['limit'\]"):
        await db.read(FEED, code="one", limit=3)


async def test_a_parameter_that_is_missing_is_a_mistake(db: Database) -> None:
    with pytest.raises(TypeError, match="missing parameter 'code'"):
        await db.read(FEED)


async def test_values_within_a_statement_are_sent_as_parameters(db: Database) -> None:
    await add(db, "one", "two")
    here = table("feeds", column("code"), column("name"))
    statement = select(here.c.code).where(here.c.name == "Two'; DROP TABLE feeds; --")
    assert await db.read(statement) == []
    assert [row[0] for row in await db.read(select(here.c.code).where(here.c.name == "Two"))] == ["two"]


async def test_a_list_is_one_parameter_and_an_expanding_in_is_refused(db: Database) -> None:
    await add(db, "one", "two", "three")
    with pytest.raises(TypeError, match="= ANY"):
        await db.read(select(feeds.c.code).where(feeds.c.code.in_(["one", "two"])))
    statement = text("SELECT code FROM feeds WHERE code = ANY (:codes) ORDER BY code")
    assert [row[0] for row in await db.read(statement, codes=["one", "two", "nine"])] == ["one", "two"]


async def test_a_struct_that_does_not_fit_the_columns_is_named(db: Database) -> None:
    class Other(msgspec.Struct, frozen=True):
        code: str
        title: str

    await add(db, "one")
    wrong = r"Other: columns without a field \['description', 'name'\], fields without a column \['title'\]"
    with pytest.raises(TypeError, match=wrong):
        await db.read(FEEDS, into=Other)


ROOT = insert(categories).values(slug=bindparam("slug"), name="Root")


class SlugTaken(Conflict):
    """There is such a slug already."""


async def test_a_broken_rule_carries_the_constraints_name(db: Database) -> None:
    with pytest.raises(RuleBroken) as refusal:
        async with db.transaction(actor=SYSTEM) as tx:
            await tx.run(ROOT, slug="Not A Slug")
    assert refusal.value.rule == "ck_categories_slug_form"
    assert isinstance(refusal.value.__cause__, asyncpg.CheckViolationError)


async def test_a_constraint_may_have_an_error_of_its_own(db: Database, owner: Database) -> None:
    async with owner.transaction(actor=SYSTEM) as tx:
        await tx.run(text("CREATE TABLE told (slug text CONSTRAINT uq_told_slug UNIQUE)"))
        await tx.run(text("GRANT INSERT ON told TO tradepost_app"))
    on_violation("uq_told_slug", SlugTaken)
    tell = text("INSERT INTO told VALUES (:slug)")
    with pytest.raises(SlugTaken):
        async with db.transaction(actor=SYSTEM) as tx:
            await tx.run(tell, slug="a")
            await tx.run(tell, slug="a")


async def test_a_deferred_rule_is_told_at_the_commit(db: Database, owner: Database) -> None:
    async with owner.transaction(actor=SYSTEM) as tx:
        await tx.run(text("CREATE TABLE late (n int CONSTRAINT uq_late UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
        await tx.run(text("GRANT INSERT ON late TO tradepost_app"))
    reached = False
    with pytest.raises(RuleBroken, match="uq_late"):
        async with db.transaction(actor=SYSTEM) as tx:
            await tx.run(text("INSERT INTO late VALUES (1), (1)"))
            reached = True
    assert reached


async def test_a_statement_that_takes_too_long_is_ended(servers: Servers, database_name: str) -> None:
    db = await Database.open(servers.dsn(database_name, "tradepost_app"), size=1, statement_timeout_ms=50)
    try:
        with pytest.raises(TookTooLong):
            await db.read(NAP)
        assert await db.read(CODES) == []
    finally:
        await db.close()


async def test_a_lock_is_not_waited_for_without_end(servers: Servers, database_name: str, db: Database) -> None:
    impatient = await Database.open(servers.dsn(database_name, "tradepost_app"), size=1, lock_timeout_ms=50)
    await add(db, "one")
    lock = text("SELECT code FROM feeds FOR UPDATE")
    try:
        async with db.transaction(actor=SYSTEM) as tx:
            await tx.all(lock)
            with pytest.raises(TookTooLong):
                async with impatient.transaction(actor=SYSTEM) as other:
                    await other.all(lock)
    finally:
        await impatient.close()


async def test_of_two_who_wait_for_each_other_one_is_told(db: Database) -> None:
    await add(db, "one", "two")
    lock = text("SELECT code FROM feeds WHERE code = :code FOR UPDATE")
    both = asyncio.Barrier(2)

    async def cross(first: str, second: str) -> str:
        async with db.transaction(actor=SYSTEM) as tx:
            await tx.all(lock, code=first)
            await both.wait()
            await tx.all(lock, code=second)
            return "got both"

    results = await asyncio.gather(cross("one", "two"), cross("two", "one"), return_exceptions=True)
    assert {type(result) for result in results} == {str, ChangedMeanwhile}


async def test_a_database_that_is_not_there_is_unavailable(servers: Servers) -> None:
    db = await Database.open("postgresql://tradepost_app@127.0.0.1:1/nothing", size=1)
    try:
        with pytest.raises(DatabaseUnreachable):
            await db.read(CODES)
        with pytest.raises(DatabaseUnreachable):
            async with db.transaction(actor=SYSTEM):
                pass
    finally:
        await db.close()


@pytest.mark.parametrize("attempt", range(10))
async def test_a_connection_that_breaks_is_replaced(servers: Servers, database_name: str, attempt: int) -> None:
    db = await Database.open(servers.dsn(database_name, "tradepost_app"), size=1)
    try:
        with pytest.raises(DatabaseUnreachable):
            async with db.transaction(actor=SYSTEM) as tx:
                pid = await tx.value(text("SELECT pg_backend_pid()"))
                await servers.command(f"SELECT pg_terminate_backend({pid})")
                await asyncio.sleep(0.0002 * attempt)  # the driver learns of it before, at or after the next statement
                await tx.all(CODES)
        assert await db.read(CODES) == []
    finally:
        await db.close()


async def test_an_argument_of_the_wrong_type_is_a_defect_and_no_outage(db: Database) -> None:
    with pytest.raises(asyncpg.DataError, match="expected str, got int"):
        await db.read(FEED, code=7)
    async with db.transaction(actor=SYSTEM) as tx:
        with pytest.raises(NotStorable):
            await tx.run(text("UPDATE conditions SET position = :position"), position=2**40)
        assert await tx.value(text("SELECT 1")) == 1


async def test_a_defect_surfaces_as_what_it_is(db: Database) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        await db.read(text("SELECT 1 FROM nowhere"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await db.read(text("TRUNCATE users"))


async def test_a_missing_value_is_named_without_quoting_the_row(owner: Database) -> None:
    insert_person = text("INSERT INTO users (username, email, display_name) VALUES ('ann', 'ann@example.com', NULL)")
    with pytest.raises(RuleBroken) as refused:
        async with owner.transaction(actor=SYSTEM) as tx:
            await tx.run(insert_person)
    assert refused.value.message == "The database refused the change: users.display_name is needed."


async def test_who_waits_too_long_for_a_connection_is_told(servers: Servers, database_name: str) -> None:
    monkeypatch = pytest.MonkeyPatch()
    small = await Database.open(servers.dsn(database_name, "tradepost_app"), size=1)
    try:
        async with small.transaction(actor=SYSTEM):
            monkeypatch.setattr("tradepost.core.database._LONGEST_WAIT_S", 0.05)
            with pytest.raises(DatabaseBusy):
                await small.read(text("SELECT 1"))
            monkeypatch.undo()
        assert (await small.read(text("SELECT 1")))[0][0] == 1
    finally:
        await small.close()


RENAME = update(feeds).values(name=bindparam("new_name")).where(feeds.c.code == bindparam("old_code"))
ADD_TEXT = text("INSERT INTO feeds (code, name) VALUES (:code, :name) RETURNING name")
NOTE_IT = text("""
    INSERT INTO units (code, name, short) SELECT :unit, name, :unit FROM changed_feeds
""")


NOTE_UNIT = text("INSERT INTO units (code, name, short) VALUES (:unit, :unit, :unit)")


class NothingRenamed(Conflict):
    """There was nothing to rename."""


async def feeds_named(db: Database) -> dict[str, str]:
    return {feed.code: feed.name for feed in await db.read(FEEDS, into=Feed)}


async def test_changes_that_wait_are_one_round_trip_with_their_own_parameters(db: Database) -> None:
    with count_queries() as count:
        async with db.transaction(actor=SYSTEM) as tx:
            await tx.later(ADD_TEXT, NOTE_IT, code="fresh", name="Fresh", unit="firkin")
            assert count.queries == 0
    assert count.queries == 1
    assert (await feeds_named(db))["fresh"] == "Fresh"
    assert await db.read(text("SELECT name FROM units WHERE code = 'firkin'")) == [("Fresh",)]


async def test_a_table_that_changes_twice_changes_in_order(db: Database) -> None:
    with count_queries() as count:
        async with db.transaction(actor=SYSTEM) as tx:
            await tx.later(ADD, code="fresh", name="Fresh")
            await tx.later(RENAME, old_code="fresh", new_name="Fresher", refusal=NothingRenamed)
    assert count.queries == 2
    assert (await feeds_named(db))["fresh"] == "Fresher"


async def test_whoever_reads_sees_what_waited(db: Database) -> None:
    async with db.transaction(actor=SYSTEM) as tx:
        await tx.later(ADD, code="fresh", name="Fresh")
        assert "fresh" in await tx.values(CODES)


async def test_a_change_that_touches_nothing_is_refused_with_all_that_waited(db: Database) -> None:
    with pytest.raises(NothingRenamed):
        async with db.transaction(actor=SYSTEM) as tx:
            await tx.later(NOTE_UNIT, unit="hogshead")
            await tx.later(RENAME, old_code="nowhere", new_name="Fresher", refusal=NothingRenamed)
    assert await db.read(text("SELECT FROM units WHERE code = 'hogshead'")) == []


async def test_an_error_of_what_waited_undoes_its_step_alone(db: Database) -> None:
    async with db.transaction(actor=SYSTEM) as tx:
        await tx.later(ADD, code="fresh", name="Fresh")
        with pytest.raises(NothingRenamed):
            async with tx.savepoint():
                await tx.later(RENAME, old_code="nowhere", new_name="Fresher", refusal=NothingRenamed)
        await tx.later(NOTE_UNIT, unit="kilderkin")
    assert "fresh" in await feeds_named(db)
    assert len(await db.read(text("SELECT FROM units WHERE code = 'kilderkin'"))) == 1


async def test_what_waits_is_forgotten_with_its_step(db: Database) -> None:
    async with db.transaction(actor=SYSTEM) as tx:
        with suppress(NothingRenamed):
            async with tx.savepoint():
                await tx.later(ADD, code="fresh", name="Fresh")
                raise NothingRenamed
    assert "fresh" not in await feeds_named(db)


async def test_a_broken_rule_is_told_when_the_change_is_made(db: Database) -> None:
    with pytest.raises(RuleBroken):
        async with db.transaction(actor=SYSTEM) as tx:
            await tx.later(ADD, code="fresh", name="Fresh")
            await tx.later(ADD, code="fresh", name="Fresh again")


async def test_only_changes_wait_and_only_with_parameters_they_know(db: Database) -> None:
    async with db.transaction(actor=SYSTEM) as tx:
        with pytest.raises(TypeError, match="not an INSERT"):
            await tx.later(CODES)
        with pytest.raises(TypeError, match="unknown parameters"):
            await tx.later(ADD, code="fresh", name="Fresh", colour="red")
        with pytest.raises(TypeError, match="missing parameter"):
            await tx.later(ADD, code="fresh")


async def test_statements_are_never_compiled(servers: Servers, db: Database, migrated: str) -> None:
    """PostgreSQL as Debian builds it would spend a second on that for a search of milliseconds."""
    shown = text("SELECT current_setting('jit')")
    async with db.transaction(actor=ANYBODY, read_only=True) as tx:
        assert await tx.value(shown) == "off"
    await create_database(servers.dsn("postgres", "postgres"), migrated)
    anybody = await asyncpg.connect(servers.dsn(migrated, "postgres"))
    assert await anybody.fetchval("SELECT current_setting('jit')") == "off"
    await anybody.close()

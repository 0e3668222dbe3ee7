"""How the database does, and what keeps it well: figures, advice, maintenance on record."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from sqlalchemy import text

from tests.conftest import Servers
from tests.people import join_as
from tests.shop import Shop
from tests.visitor import Visitor, text_of
from tradepost.accounts.types import NotAllowed
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM
from tradepost.core.settings import MaintenanceSettings, Settings
from tradepost.flows.engine import get_database_health
from tradepost.flows.store import Store
from tradepost.flows.upkeep import check_books, is_quiet, maintain, months, sample
from tradepost.ops.queries import list_indexes, list_runs, list_tables, observe, without_values
from tradepost.ops.rules import advise, in_words, needs_analyze, needs_vacuum, unused_indexes, whole_tables
from tradepost.ops.service import begin_run, note_run, take_sample
from tradepost.ops.types import IndexHealth, MaintenanceRun, Observed, Standby, TableHealth
from tradepost.ops.upkeep import LOCK, Skipped, vacuum
from tradepost.web.health_office import course_of
from tradepost.web.security import SESSION_COOKIE

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=7)
ALWAYS = Settings(stores=("market",), test_payments=True, maintenance=MaintenanceSettings(quiet_from=0, quiet_until=0))
TABLE = TableHealth("orders", "orders", False, 100_000, 0, 0, 800_000_000, 0, 0, 0, 0, 0, 0, 0, NOON, NOON, 10)


async def on(dsn: str, sql: str) -> None:
    """Run commands as the superuser, outside of transactions."""
    connection = await asyncpg.connect(dsn)
    try:
        for one in sql.split(";\n"):
            await connection.execute(one)
    finally:
        await connection.close()


@pytest.fixture
def superuser(servers: Servers, store_dsn: str) -> Callable[[str], Awaitable[None]]:
    """Change the store's database as PostgreSQL's superuser."""
    name = store_dsn.rpartition("/")[2].partition("?")[0]
    return lambda sql: on(servers.dsn(name, "postgres"), sql)


async def runs_of(store: Store) -> list[MaintenanceRun]:
    async with store.db.transaction(actor=SYSTEM) as tx:
        return await list_runs(tx)


async def observed(store: Store) -> Observed:
    async with store.db.transaction(actor=SYSTEM) as tx:
        await take_sample(tx)
        return await observe(tx)


def quietly(store: Store) -> None:
    """Make every hour a quiet one."""
    store.installation = ALWAYS


SPARSE = """
    CREATE TABLE heap AS SELECT n AS id, md5(n::text) AS word FROM generate_series(1, 20000) n;
ALTER TABLE heap OWNER TO tradepost_owner;
GRANT MAINTAIN ON heap TO tradepost_app;
ALTER TABLE heap SET (autovacuum_enabled = false);
CREATE INDEX ix_heap_word ON heap (word);
DELETE FROM heap WHERE id % 10 <> 0;
SELECT pg_stat_force_next_flush()
"""


async def test_staff_see_how_the_database_does(shop: Shop, browse: Visitor) -> None:
    await shop.goods()
    async with shop.store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(
            text("INSERT INTO engine_samples SELECT now() - interval '1 hour', 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0")
        )
        await take_sample(tx)
    browse.client.cookies.set(SESSION_COOKIE, (await join_as(shop.store, "boss", "admin")).token)
    page = await browse.get("/office/health")
    assert page.status_code == 200
    shown = text_of(page.text)
    assert "PostgreSQL 1" in shown
    assert "What takes the room?" in shown
    assert "Transactions a minute" in page.text
    assert "ix_listings_" in shown or "uq_listings_" in shown
    assert 'class="statement__text"' in page.text


async def test_whoever_does_not_run_the_store_sees_nothing(store: Store, shop: Shop, browse: Visitor) -> None:
    assert (await browse.get("/office/health", follow=False)).status_code == 303
    assert (await browse.get("/api/v1/engine/health")).status_code == 401
    with pytest.raises(NotAllowed):
        await get_database_health(store, shop.buyer)


async def test_programs_of_the_staff_read_the_same_as_json(shop: Shop) -> None:
    boss = (await join_as(shop.store, "boss", "admin")).caller
    found = msgspec.to_builtins(await get_database_health(shop.store, boss))
    assert found["state"]["database_bytes"] > 1_000_000
    assert {"users", "orders", "events"} <= {table["name"] for table in found["tables"]}
    assert next(t for t in found["tables"] if t["name"] == "events")["months"] >= 5
    assert found["statements"] is True
    assert found["books"] is None


async def test_bloat_is_estimated_and_dead_rows_are_counted(
    store: Store, superuser: Callable[[str], Awaitable[None]]
) -> None:
    await superuser(SPARSE)
    await superuser("VACUUM ANALYZE heap")
    async with store.db.transaction(actor=SYSTEM) as tx:
        heap = next(table for table in await list_tables(tx) if table.name == "heap")
        index = next(index for index in await list_indexes(tx) if index.name == "ix_heap_word")
    assert heap.rows_about == 2000
    assert heap.bloat_bytes is not None
    assert index.bloat_bytes is not None
    assert 0.8 < heap.bloat_bytes / heap.table_bytes < 0.95
    assert 0.8 < index.bloat_bytes / index.index_bytes < 0.95


async def test_maintenance_cleans_up_and_writes_anew_on_record(
    store: Store, superuser: Callable[[str], Awaitable[None]]
) -> None:
    await superuser(SPARSE)
    quietly(store)
    assert await maintain(store, least_bytes=100_000) > 0
    assert (
        await maintain(store, least_bytes=100_000) == 1
    )  # what was cleaned up first has shown the index to be mostly air
    done = {(run.kind, run.target): run for run in await runs_of(store)}
    assert done["vacuum", "heap"].outcome == "done"
    rewritten = done["reindex", "ix_heap_word"]
    assert rewritten.outcome == "done"
    assert (rewritten.bytes_after or 0) < 0.2 * (rewritten.bytes_before or 0)
    assert await maintain(store, least_bytes=100_000) == 0


async def test_indexes_wait_for_quiet_hours(store: Store, superuser: Callable[[str], Awaitable[None]]) -> None:
    await superuser(SPARSE)
    await maintain(store, least_bytes=100_000)
    hour = now().astimezone(store.zone).hour
    store.installation = msgspec.structs.replace(
        ALWAYS, maintenance=MaintenanceSettings(quiet_from=(hour + 2) % 24, quiet_until=(hour + 3) % 24)
    )
    assert await maintain(store, least_bytes=100_000) == 0
    assert "reindex" not in {run.kind for run in await runs_of(store)}


async def test_what_an_interrupted_rewrite_left_is_cleared_and_nothing_else_can_be(
    store: Store, superuser: Callable[[str], Awaitable[None]]
) -> None:
    store.installation = ALWAYS
    await superuser(SPARSE)
    await superuser("CREATE INDEX ix_heap_word_ccnew ON heap (word)")
    await superuser("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_heap_word_ccnew'::regclass")
    found = await observed(store)
    assert [a.about for a in advise(found, now()) if a.tone == "warn"] == ["heap", "ix_heap_word_ccnew"]
    async with store.db.transaction(actor=SYSTEM) as tx:
        left = await begin_run(tx, "reindex", "ix_heap_word")
    await maintain(store)
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert "ix_heap_word_ccnew" not in {index.name for index in await list_indexes(tx)}
    done = {run.id: run for run in await runs_of(store)}
    assert done[left].outcome == "failed"
    assert {run.kind for run in done.values()} >= {"leftover", "vacuum"}
    async with store.db.own_connection() as connection:
        for kept in ("ix_heap_word", "pk_orders"):
            with pytest.raises(asyncpg.WrongObjectTypeError):
                await connection.execute("SELECT drop_leftover_index($1)", kept)


async def test_one_maintains_at_a_time(store: Store, race: Callable[..., Awaitable[list[Any]]]) -> None:
    async with store.db.own_connection() as other:
        await other.execute(f"SELECT pg_advisory_lock({LOCK})")
        assert await maintain(store) == 0
    assert await runs_of(store) == []
    await asyncio.gather(maintain(store), maintain(store))
    targets = [(run.kind, run.target) for run in await runs_of(store)]
    assert len(targets) == len(set(targets)) > 0  # the sums of months were never looked at


async def test_a_command_that_fails_is_on_record_and_the_next_goes_on(
    store: Store, superuser: Callable[[str], Awaitable[None]]
) -> None:
    await superuser(SPARSE)
    await superuser(
        "REVOKE MAINTAIN ON heap FROM tradepost_app;\nALTER TABLE heap OWNER TO postgres;\nGRANT SELECT ON heap TO tradepost_owner"
    )
    await superuser("CREATE INDEX ix_heap_id ON heap (id);\nVACUUM ANALYZE heap")
    quietly(store)
    await maintain(store, least_bytes=100_000)
    failed = [run for run in await runs_of(store) if run.outcome == "failed"]
    assert [(run.kind, run.target) for run in failed] == [("reindex", "ix_heap_word")]
    assert "permission denied" in failed[0].detail
    assert any(a.about == "ix_heap_word" and "failed" in a.text for a in advise(await observed(store), now()))


async def test_a_ledger_that_adds_up_is_said_so_and_one_that_does_not_as_well(
    shop: Shop, superuser: Callable[[str], Awaitable[None]]
) -> None:
    await shop.buy(await shop.goods())
    assert (await check_books(shop.store)).found == 0
    await superuser(
        "BEGIN; SET LOCAL session_replication_role = replica; UPDATE ledger_entries SET amount_minor = amount_minor + 7 "
        "WHERE (journal_id, line_no) = (SELECT journal_id, line_no FROM ledger_entries LIMIT 1); COMMIT"
    )
    drift = await check_books(shop.store)
    assert (drift.unbalanced, drift.off_minor, drift.unbooked) == (1, 7, 0)
    await superuser(
        "BEGIN; SET LOCAL session_replication_role = replica; DELETE FROM ledger_journals WHERE kind = 'capture';"
        "UPDATE payments SET settled_at = now() - interval '2 hours'; COMMIT"
    )
    assert (await check_books(shop.store)).unbooked == 1
    boss = (await join_as(shop.store, "boss", "admin")).caller
    health = await get_database_health(shop.store, boss)
    assert health.advice[0].tone == "bad"
    assert health.advice[0].about == "ledger"


async def test_months_made_ahead_are_on_record(store: Store, superuser: Callable[[str], Awaitable[None]]) -> None:
    await months(store)
    assert await runs_of(store) == []
    later = (now().replace(day=1) + timedelta(days=95)).strftime("%Y%m")
    await superuser(f"DROP TABLE IF EXISTS events_p{later}")
    last = (now().replace(day=1) + timedelta(days=32)).strftime("%Y%m")
    await superuser(f"DROP TABLE events_p{last}")
    await months(store)
    assert [(run.kind, run.outcome) for run in await runs_of(store)] == [("months", "done")]


async def test_old_samples_are_thinned_out(store: Store) -> None:
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(
            text("""
                INSERT INTO engine_samples SELECT now() - interval '30 days' + n * interval '6 hours', 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0
                FROM generate_series(0, 7) n UNION ALL SELECT now() - interval '3 years', 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0
            """)
        )
    await sample(store)
    async with store.db.transaction(actor=SYSTEM) as tx:
        days = await tx.values(text("SELECT taken_at FROM engine_samples ORDER BY taken_at"))
    assert len(days) == len({day.astimezone(UTC).date() for day in days})
    assert all(now() - day < timedelta(days=31) for day in days)


def test_no_value_of_a_statement_is_shown() -> None:
    written = (
        "SELECT * FROM users\n  WHERE email = 'ann@example.com' AND note = 'it''s' AND age > 42.5 AND id = $1 LIMIT 10"
    )
    assert (
        without_values(written)
        == "SELECT * FROM users WHERE email = '…' AND note = '…' AND age > ? AND id = $1 LIMIT ?"
    )
    assert len(without_values("SELECT " + "a, " * 400)) == 300


def test_tables_that_need_work_are_told_from_those_that_do_not() -> None:
    def table(**changed: Any) -> TableHealth:
        return msgspec.structs.replace(TABLE, **changed)

    assert not needs_vacuum(table(dead_rows=5_000), LATER)
    assert needs_vacuum(table(dead_rows=20_000), LATER)
    assert not needs_vacuum(table(dead_rows=20_000), NOON + timedelta(hours=5))  # tried already
    assert not needs_vacuum(table(rows_about=10, dead_rows=900), LATER)
    assert needs_vacuum(table(frozen_age=1_500_000_000), LATER)
    assert not needs_analyze(table(changed_rows=10_000), NOON)
    assert needs_analyze(table(changed_rows=11_000), NOON)
    parent = table(is_parent=True, dead_rows=90_000)
    assert not needs_vacuum(parent, LATER)
    assert not needs_analyze(parent, NOON)
    assert needs_analyze(parent, NOON + timedelta(days=8))
    months_of = [table(name="events_p1", root="events"), table(name="events_p2", root="events", dead_rows=100_000)]
    (whole,) = whole_tables([table(name="events", root="events", is_parent=True, rows_about=0), *months_of])
    assert (whole.months, whole.rows_about, whole.dead_percent) == (2, 200_000, 33)


async def test_advice_names_what_is_wrong_and_what_to_do(store: Store) -> None:
    found = await observed(store)
    state = msgspec.structs.replace(
        found.state, server_connections=199, most_connections=200, blocks_hit=800_000, blocks_read=300_000, longest_s=3000.0,
        kept_wal_bytes=9 << 30, lost_slots=["third"], idle_slots=["second_slot", "tradepost_archive"], counted_since=None, started_at=NOON - timedelta(days=9),
    )  # fmt: skip
    big = [
        msgspec.structs.replace(i, name="ix_idle", scans=0, is_constraint=False, index_bytes=99_000_000)
        for i in found.indexes[:1]
    ]
    dead = msgspec.structs.replace(TABLE, rows_about=60_000, dead_rows=40_000, bloat_bytes=700_000_000)
    ill = msgspec.structs.replace(
        found, state=state, tables=(dead,), indexes=tuple(big), standbys=(Standby("second", "streaming", 10, 45.0),), slow=(), statements=False,
    )  # fmt: skip
    said = advise(ill, NOON)
    assert [one.tone for one in said] == sorted((one.tone for one in said), key=["bad", "warn", "info"].index)
    about = {one.about: one.text for one in said}
    assert "Table orders has 40 % dead rows (40,000); vacuum it" in " ".join(one.text for one in said)
    assert "199 of 200 connections" in about["connections"]
    assert "72.7 %" in about["memory"]
    assert "50 minutes" in about["transactions"]
    assert "9.0 GB" in about["replication slots"]
    assert "Make the replica anew" in about["third"]
    assert "Bring the replica back" in about["second_slot"]
    assert "what changes now cannot be brought back" in about["tradepost_archive"]
    assert "45 seconds behind" in about["second"]
    assert "DROP INDEX CONCURRENTLY ix_idle" in about["ix_idle"]
    assert "shared_preload_libraries" in about["pg_stat_statements"]
    assert advise(msgspec.structs.replace(found, tables=(), indexes=(), samples=(), runs=()), now()) == ()


async def test_figures_become_a_course(store: Store) -> None:
    (one,) = (await observed(store)).samples
    later = msgspec.structs.replace(
        one, taken_at=one.taken_at + timedelta(minutes=10), blocks_hit=one.blocks_hit + 90, blocks_read=one.blocks_read + 10,
        commits=one.commits + 600, jobs_due=4,
    )  # fmt: skip
    course = course_of([one, later], store.zone)
    assert course.hits == (90.0,)
    assert course.due == (0, 4)
    assert [bar[1] for bar in course.bars] == [60]
    assert course_of([one], store.zone).bars == ()


def test_unused_indexes_are_those_that_keep_no_promise_and_answer_nobody() -> None:
    def index(name: str, **changed: Any) -> IndexHealth:
        one = IndexHealth(name, "orders", "orders", "btree", 90_000_000, 0, 0, 0, None, False, True)
        return msgspec.structs.replace(one, **changed)

    months = [
        index(f"events_p{n}_kind_idx", table_name=f"events_p{n}", root="events", scans=n) for n in range(2)
    ]  # read in one month, so needed in all
    idle = [index("ix_idle", index_bytes=99_000_000), index("ix_other")]
    kept = [index("pk_orders", is_constraint=True), index("ix_read", scans=1), index("ix_small", index_bytes=9)]
    assert unused_indexes([*months, *idle, *kept]) == [
        ("ix_idle", "orders", 99_000_000),
        ("ix_other", "orders", 90_000_000),
    ]
    assert [in_words(n) for n in (10, 2048, 5_000_000, 3 << 30, 7 << 40)] == [
        "10 bytes",
        "2.0 kB",
        "4.8 MB",
        "3.0 GB",
        "7.0 TB",
    ]


async def test_drift_of_the_books_is_advised_of_however_much_was_done_since(store: Store) -> None:
    async with store.db.transaction(actor=SYSTEM) as tx:
        await note_run(tx, "books", "ledger", detail="1 entry is not balanced.", found=1)
        for n in range(50):
            await note_run(tx, "vacuum", f"table_{n}")
    async with store.db.transaction(actor=SYSTEM) as tx:
        found = await observe(tx)
    assert [one.about for one in advise(found, now()) if one.tone == "bad"] == ["ledger"]


async def test_what_postgresql_leaves_out_is_no_success(store: Store) -> None:
    async with store.db.own_connection() as connection:
        with pytest.raises(Skipped, match="permission denied"):
            await vacuum(connection, "alembic_version")


def test_quiet_hours_may_go_over_midnight() -> None:
    night = MaintenanceSettings(quiet_from=22, quiet_until=4)
    assert [hour for hour in range(24) if is_quiet(night, hour)] == [0, 1, 2, 3, 22, 23]
    assert sum(is_quiet(MaintenanceSettings(quiet_from=5, quiet_until=5), hour) for hour in range(24)) == 24

"""The plan for a Citus cluster, held against the database as it is; carried out where a cluster is named."""

import os
import re
from pathlib import Path

import asyncpg
import pytest

import tradepost
from tests.conftest import Servers
from tradepost.cli import scale
from tradepost.cli.scale import NoCitus, NotSpreadable, carry_out, in_words, spread
from tradepost.migrations import create_database, migrate
from tradepost.migrations.citus import LOCAL, PART_OF, REFERENCE, RELIED_ON, WITH, Plan, plan_citus
from tradepost.migrations.schema import metadata

CLUSTER = "TRADEPOST_TEST_CITUS_URL"
_IN_SQL = re.compile(
    r"INSERT\s+INTO\s+(\w+)(?:(?!INSERT\s+INTO).)*?ON\s+CONFLICT\s*\(([^()]*)\)", re.DOTALL | re.IGNORECASE
)
_IN_CORE = re.compile(
    r"insert\((\w+)\)(?:(?!insert\().)*?on_conflict_do_\w+\(\s*index_elements=\[([^\]]*)\]", re.DOTALL
)


@pytest.fixture
async def plan(servers: Servers, migrated: str) -> Plan:
    connection = await asyncpg.connect(servers.dsn(migrated, "postgres"))
    try:
        return await plan_citus(connection)
    finally:
        await connection.close()


async def test_each_table_goes_to_exactly_one_place(plan: Plan) -> None:
    names = [table.name for table in plan.tables]
    assert len(names) == len(set(names))
    assert set(names) == {*metadata.tables, "alembic_version"}
    assert {*REFERENCE, *LOCAL, *PART_OF, *WITH} <= set(names)
    assert not REFERENCE & LOCAL


async def test_the_parts_of_an_order_lie_together_and_keep_their_foreign_keys(plan: Plan) -> None:
    of_order = {table.name: table.column for table in plan.tables if table.group == "orders"}
    assert of_order.pop("orders") == "id"
    assert set(of_order.values()) == {"order_id"}
    assert of_order.keys() == {
        "delivery_stops", "fulfilments", "line_configurations", "order_events", "order_lines", "payments", "reservations", "returns",
        "slot_bookings",
    }  # fmt: skip
    kept = set(plan.kept)
    assert {"order_lines.fk_order_lines_order_id_seller_id", "payments.uq_payments_open"} <= kept
    journal = {table.name: table.group for table in plan.tables if table.name.startswith("ledger_")}
    assert journal["ledger_entries"] == journal["ledger_journals"] == "ledger_journals"
    assert {lost.name for lost in plan.lost} >= {"uq_orders_number", "fk_orders_buyer_id"}
    assert all(table.column for table in plan.tables if table.kind == "distributed")


async def test_what_stays_can_be_kept_by_one_node_and_what_goes_cannot(
    plan: Plan, servers: Servers, migrated: str
) -> None:
    by_name = {table.name: table for table in plan.tables}
    connection = await asyncpg.connect(servers.dsn(migrated, "postgres"))
    try:
        keys = await connection.fetch("""
            SELECT c.conrelid::regclass::text, c.confrelid::regclass::text, c.conname FROM pg_constraint c
            WHERE c.contype = 'f' AND c.conparentid = 0 AND c.connamespace = 'public'::regnamespace
              AND NOT (SELECT relispartition FROM pg_class WHERE oid = c.conrelid)
        """)
        broken = [await connection.fetchval(lost.check) for lost in plan.lost if lost.check]
    finally:
        await connection.close()
    lost = {f"{one.table}.{one.name}" for one in plan.lost}
    assert not lost & set(plan.kept)
    for table, target, name in keys:
        here, there = by_name[table], by_name[target]
        if f"{table}.{name}" in plan.kept:
            assert there.kind == "reference" or here.group == there.group, name
        else:
            assert f"{table}.{name}" in lost, name
    assert set(broken) == {0}
    assert [lost.name for lost in plan.lost if lost.definition.startswith("CREATE UNIQUE INDEX")] != []


async def test_a_check_finds_what_a_lost_constraint_would_have_refused(plan: Plan, owner_dsn: str) -> None:
    checks = {f"{lost.table}.{lost.name}": lost for lost in plan.lost}
    lost = checks["follows.fk_follows_followed_id"]
    connection = await asyncpg.connect(owner_dsn)
    try:
        await connection.execute(f'ALTER TABLE follows DROP CONSTRAINT "{lost.name}"')
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(
            "INSERT INTO follows (follower_id, followed_id) VALUES (gen_random_uuid(), gen_random_uuid())"
        )
        assert await connection.fetchval(lost.check) == 1
    finally:
        await connection.close()


async def test_what_statements_find_rows_by_is_known(plan: Plan) -> None:
    """Every target of an ON CONFLICT in the sources that the plan would lose, and nothing else."""
    lost = {(one.table, frozenset(one.columns)): one for one in plan.lost if "REFERENCES" not in one.definition}
    needed = {lost[target].table for target in targets() if target in lost}
    assert needed == {one.table for one in plan.lost if one.is_relied_on}
    assert {table for table, _ in RELIED_ON} <= needed


def targets() -> set[tuple[str, frozenset[str]]]:
    """Return what the product's statements name as the target of ON CONFLICT: (table, columns)."""
    found = set()
    folder = Path(tradepost.__file__).parent
    for file in (*folder.rglob("*.py"), *folder.rglob("*.sql")):
        source = file.read_text("utf-8")
        for table, columns in (*_IN_SQL.findall(source), *_IN_CORE.findall(source)):
            found.add((table, frozenset(re.findall(r"[a-z_]+", columns))))
    return found


async def test_a_plan_that_would_stop_the_product_is_not_carried_out(
    monkeypatch: pytest.MonkeyPatch, owner_dsn: str
) -> None:
    monkeypatch.setattr(scale, "HAS_CITUS", "SELECT true")
    with pytest.raises(NotSpreadable, match="uq_ledger_journals_kind"):
        await spread(owner_dsn, apply=True)


async def test_the_plan_can_be_read_and_a_database_without_citus_is_refused(plan: Plan, owner_dsn: str) -> None:
    lines = in_words(plan)
    assert any(line.startswith("Together with orders: ") for line in lines)
    assert len([step for step in plan.steps() if "create_distributed_table" in step]) == len(
        [table for table in plan.tables if table.kind == "distributed"]
    )
    with pytest.raises(NoCitus, match="has no extension citus"):
        await spread(owner_dsn, apply=True)


@pytest.mark.skipif(CLUSTER not in os.environ, reason=f"{CLUSTER} names no cluster")
async def test_the_plan_is_taken_by_a_cluster() -> None:
    admin = os.environ[CLUSTER]
    dsn = f"{admin.rsplit('/', 1)[0]}/tradepost_citus_test"
    await create_database(admin, "tradepost_citus_test")
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS citus")
        plan = await plan_citus(connection)
        await carry_out(connection, plan)
        assert await connection.fetchval("SELECT count(*) FROM citus_tables") == len(
            [table for table in plan.tables if table.kind != "local"]
        )
    finally:
        await connection.close()

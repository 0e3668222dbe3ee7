"""The database's history: up, down and up again; two at once; and at its end exactly what tables.py say."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.conftest import Servers
from tradepost.migrations import configuration, create_database, current_revision, migrate
from tradepost.migrations.schema import metadata

REVISIONS = [
    script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions("base", "heads")
][::-1]

# What a database is made of, as PostgreSQL itself writes it; tables of the job library, of Alembic and months left out.
CATALOG = r"""
    WITH ours AS (
        SELECT c.oid, c.relname FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND c.relname NOT LIKE 'pgqueuer%' AND c.relname NOT IN ('alembic_version', 'spatial_ref_sys')
    )
    SELECT 'column', o.relname || '.' || a.attname,
           concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
                     regexp_replace(pg_get_expr(d.adbin, d.adrelid), '^''([0-9.]+)''::\w+$', '\1'), nullif(a.attgenerated, ''))
    FROM ours o JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = o.oid AND d.adnum = a.attnum
    UNION ALL
    SELECT 'constraint', o.relname || '.' || c.conname, pg_get_constraintdef(c.oid)
    FROM ours o JOIN pg_constraint c ON c.conrelid = o.oid WHERE c.contype IN ('c', 'f', 'p', 'u', 'x')
    UNION ALL
    SELECT 'index', o.relname || '.' || i.relname, replace(pg_get_indexdef(i.oid), ' ON ONLY ', ' ON ')
    FROM ours o JOIN pg_index x ON x.indrelid = o.oid JOIN pg_class i ON i.oid = x.indexrelid
    UNION ALL
    SELECT 'table', o.relname, concat_ws(' ', c.relkind, c.relpersistence, obj_description(o.oid, 'pg_class'))
    FROM ours o JOIN pg_class c ON c.oid = o.oid
"""
# Functions, triggers, policies and rights: what tables.py cannot say, so it is compared over a way down and up only.
BEHAVIOUR = """
    SELECT 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid)
    FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proowner = 'tradepost_owner'::regrole
      AND p.prokind = 'f' AND p.proname NOT LIKE 'fn_pgqueuer%'
    UNION ALL
    SELECT 'trigger', c.relname || '.' || t.tgname, pg_get_triggerdef(t.oid)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal AND c.relname NOT LIKE 'pgqueuer%'
      AND NOT c.relispartition
    UNION ALL
    SELECT 'policy', p.polrelid::regclass || '.' || p.polname,
           concat_ws(' ', p.polcmd, p.polroles::regrole[]::text, pg_get_expr(p.polqual, p.polrelid),
                     pg_get_expr(p.polwithcheck, p.polrelid), c.relrowsecurity::text)
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    UNION ALL
    SELECT 'rights', c.relname, (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(c.relacl) AS a)
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.relname NOT LIKE 'pgqueuer%'
"""


@pytest_asyncio.fixture
async def empty(servers: Servers) -> AsyncIterator[str]:
    """Make a database that was never migrated."""
    servers.made += 1
    name = f"empty_{servers.made}_{id(servers) % 10_000}"
    await create_database(servers.dsn("postgres", "postgres"), name)
    yield name
    await servers.drop(name)


async def rows_of(dsn: str, sql: str) -> dict[tuple[str, str], str]:
    connection = await asyncpg.connect(dsn)
    try:
        return {(kind, name): content for kind, name, content in await connection.fetch(sql)}
    finally:
        await connection.close()


async def with_connection(dsn: str, work: Any, *, owner: bool = True) -> Any:
    """Run a synchronous function on SQLAlchemy's connection, as migrations do."""
    engine = create_async_engine(f"postgresql+asyncpg://{dsn.partition('://')[2]}", poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            if owner:
                await connection.exec_driver_sql("SET ROLE tradepost_owner")
                await connection.commit()
            result = await connection.run_sync(work)
            await connection.commit()
            return result
    finally:
        await engine.dispose()


def downgrade(to: str) -> Any:
    def work(connection: Connection) -> None:
        config = configuration()
        config.attributes["connection"] = connection
        command.downgrade(config, to)

    return work


def test_revisions_are_one_line_of_numbers() -> None:
    assert [f"{number:04}" for number in range(1, len(REVISIONS) + 1)] == REVISIONS
    assert len(ScriptDirectory.from_config(configuration()).get_heads()) == 1


async def test_a_new_database_is_at_the_newest_revision(servers: Servers, migrated: str, empty: str) -> None:
    assert await current_revision(servers.dsn(migrated, "postgres")) == REVISIONS[-1]
    assert await current_revision(servers.dsn(empty, "postgres")) is None


async def test_down_and_up_again_is_the_same(servers: Servers, database_name: str) -> None:
    dsn = servers.dsn(database_name, "postgres")
    before = await rows_of(dsn, f"{CATALOG} UNION ALL {BEHAVIOUR}")
    await with_connection(dsn, downgrade("base"))
    left = await rows_of(dsn, f"{CATALOG} UNION ALL {BEHAVIOUR}")
    assert left.keys() - {("rights", "spatial_ref_sys")} == {("rights", "alembic_version")}  # PostGIS keeps its table
    await migrate(dsn)
    assert difference(before, await rows_of(dsn, f"{CATALOG} UNION ALL {BEHAVIOUR}")) == []


@pytest.mark.parametrize("revision", REVISIONS[:-1])
async def test_each_step_down_can_be_taken_up_again(servers: Servers, database_name: str, revision: str) -> None:
    dsn = servers.dsn(database_name, "postgres")
    before = await rows_of(dsn, f"{CATALOG} UNION ALL {BEHAVIOUR}")
    await with_connection(dsn, downgrade(revision))
    assert await current_revision(dsn) == revision
    await migrate(dsn)
    assert difference(before, await rows_of(dsn, f"{CATALOG} UNION ALL {BEHAVIOUR}")) == []


async def test_migrating_twice_changes_nothing(servers: Servers, database_name: str) -> None:
    dsn = servers.dsn(database_name, "postgres")
    before = await rows_of(dsn, f"{CATALOG} UNION ALL {BEHAVIOUR}")
    await migrate(dsn)
    assert await rows_of(dsn, f"{CATALOG} UNION ALL {BEHAVIOUR}") == before


async def test_two_servers_that_start_together_migrate_once(servers: Servers, empty: str) -> None:
    dsn = servers.dsn(empty, "postgres")
    results = await asyncio.gather(migrate(dsn), migrate(dsn), return_exceptions=True)
    assert results == [None, None]
    assert await current_revision(dsn) == REVISIONS[-1]


async def test_two_servers_that_start_together_create_a_database_once(servers: Servers) -> None:
    servers.made += 1
    name = f"twice_{servers.made}_{id(servers) % 10_000}"
    admin = servers.dsn("postgres", "postgres")
    try:
        results = await asyncio.gather(*(create_database(admin, name) for _ in range(3)))
        assert sorted(results) == [False, False, True]
    finally:
        await servers.drop(name)


async def test_a_migration_that_cannot_have_its_lock_fails_in_time_and_leaves_nothing(
    servers: Servers, empty: str
) -> None:
    dsn = servers.dsn(empty, "postgres")
    await migrate(dsn, to=REVISIONS[0])
    before = await rows_of(dsn, f"{CATALOG} UNION ALL {BEHAVIOUR}")
    holder = await asyncpg.connect(dsn)
    try:
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute("LOCK TABLE ledger_accounts, follows, users, orders IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Exception, match="lock timeout"):
            await migrate(dsn, lock_timeout="100ms")
        await transaction.rollback()
    finally:
        await holder.close()
    reached = await current_revision(dsn)
    assert reached is not None
    assert reached < REVISIONS[-1]
    if reached == REVISIONS[0]:
        assert await rows_of(dsn, f"{CATALOG} UNION ALL {BEHAVIOUR}") == before
    await migrate(dsn)
    assert await current_revision(dsn) == REVISIONS[-1]


def difference(one: dict[tuple[str, str], str], other: dict[tuple[str, str], str]) -> list[str]:
    """Return what differs, in words that fit into a test's report."""
    return [
        f"{key}: {one.get(key)} | {other.get(key)}"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]


@pytest.mark.filterwarnings("ignore:Did not recognize type:sqlalchemy.exc.SAWarning")  # geo_point
@pytest.mark.filterwarnings("ignore:Expression #1")  # operator classes: the next test compares them
async def test_alembic_finds_nothing_to_do(servers: Servers, database_name: str) -> None:
    def ours(thing: Any, name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:
        if kind == "index":
            return all(isinstance(part, Column) for part in thing.expressions)  # the next test compares expressions
        foreign = ("pgqueuer", "spatial_ref_sys")
        return kind != "table" or not (
            str(name).startswith(foreign) or "_p2" in str(name) or str(name).endswith("_default")
        )

    def compare(connection: Connection) -> list[Any]:
        options = {"include_object": ours, "compare_type": False, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    assert await with_connection(servers.dsn(database_name, "postgres"), compare) == []


async def test_the_migrations_end_in_exactly_what_the_tables_say(servers: Servers, migrated: str, empty: str) -> None:
    """Compare with a database made from tables.py alone: CHECKs, defaults and expressions, which Alembic does not look at."""
    dsn, made = servers.dsn(migrated, "postgres"), servers.dsn(empty, "postgres")
    await migrate(made, to=REVISIONS[0])
    await with_connection(made, downgrade("base"))
    await lend_functions(dsn, made)
    await with_connection(made, metadata.create_all)
    found = difference(await rows_of(dsn, CATALOG), await rows_of(made, CATALOG))
    assert found == []


async def lend_functions(source: str, target: str) -> None:
    """Copy the functions and the domain that columns, CHECKs and indexes are made with."""
    here, there = await asyncpg.connect(source), await asyncpg.connect(target)
    try:
        base = await here.fetchval(
            "SELECT format_type(typbasetype, typtypmod) FROM pg_type WHERE typname = 'geo_point'"
        )
        await there.execute(f"SET ROLE tradepost_owner; CREATE DOMAIN geo_point AS {base}")
        functions = await here.fetch("""
            SELECT pg_get_functiondef(oid) FROM pg_proc
            WHERE pronamespace = 'public'::regnamespace AND proowner = 'tradepost_owner'::regrole
              AND (provolatile = 'i' OR proname = 'uuidv7') ORDER BY oid
        """)
        for (definition,) in functions:
            await there.execute(definition)
        for (configuration_name,) in await here.fetch(
            "SELECT cfgname FROM pg_ts_config WHERE cfgowner = 'tradepost_owner'::regrole"
        ):
            await there.execute(f"CREATE TEXT SEARCH CONFIGURATION {configuration_name} (COPY = pg_catalog.english)")
    finally:
        await here.close()
        await there.close()


async def test_the_app_owns_nothing_and_logs_in_without_powers(servers: Servers, migrated: str) -> None:
    connection = await asyncpg.connect(servers.dsn(migrated, "postgres"))
    try:
        roles = await connection.fetch("""
            SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolcanlogin FROM pg_roles
            WHERE rolname IN ('tradepost_owner', 'tradepost_app', 'tradepost_readonly') ORDER BY rolname
        """)
        owned = await connection.fetchval("SELECT count(*) FROM pg_class WHERE relowner <> 'tradepost_owner'::regrole "
                                          "AND relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') "
                                          "AND relname NOT IN ('spatial_ref_sys')")  # fmt: skip
        public = await connection.fetchval("SELECT has_schema_privilege('tradepost_app', 'public', 'CREATE')")
    finally:
        await connection.close()
    assert [tuple(role) for role in roles] == [
        ("tradepost_app", False, False, False, False, True),
        ("tradepost_owner", False, False, False, False, False),
        ("tradepost_readonly", False, False, False, False, True),
    ]
    assert owned == 0
    assert public is False

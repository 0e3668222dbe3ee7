"""The database's history: Alembic revisions, and the one function that applies them safely.

Promises that two processes migrating at once are one after the other (an advisory lock), that a migration never waits for a
table longer than the lock timeout, and that objects belong to `tradepost_owner` and are granted to `tradepost_app` and
`tradepost_readonly` with least privilege. Whoever migrates installs the store afterwards (`flows/install_store.py`): that brings
back the schema `documented`, which a migration drops.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tradepost.core.errors import Conflict

FOLDER = Path(__file__).parent
LOCK = 0x7472616465  # “trade” in ASCII: the advisory lock under which a database is migrated
OWNER, APP, READONLY = "tradepost_owner", "tradepost_app", "tradepost_readonly"
EXTENSIONS = ("citext", "pg_trgm", "unaccent", "btree_gist", "vector", "pg_stat_statements")


Watch = tuple[Callable[[Connection], None], Callable[..., None]]


@dataclass(eq=False)
class DatabaseTooNew(Conflict):
    """This database was made by a newer version ({revision}), and nothing was changed; install that one."""

    revision: str


def configuration() -> Config:
    """Return Alembic's configuration without a file: everything is said in code."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    return config


async def create_database(dsn: str, name: str, *, template: str = "") -> bool:
    """Create roles, an empty database owned by `tradepost_owner` and its extensions; `dsn` is a superuser's.

    With `template` it is a copy of that database. Return whether the database is new. Safe to repeat and to run twice at once.
    """
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        for role, login in ((OWNER, "NOLOGIN"), (APP, "LOGIN"), (READONLY, "LOGIN")):
            if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role):
                await connection.execute(f"CREATE ROLE {role} {login}")
        await connection.execute(f"GRANT pg_read_all_stats TO {OWNER}")  # of replicas, which replication_health() tells
        existing = await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name)
        if not existing:
            await connection.execute(
                f'CREATE DATABASE "{name}" OWNER {OWNER}' + (f' TEMPLATE "{template}"' if template else "")
            )
            # Compiling a search takes a second where running it takes milliseconds; also for who comes through a pooler.
            await connection.execute(f'ALTER DATABASE "{name}" SET jit = off')
    finally:
        await connection.close()
    return not existing


async def migrate(
    dsn: str,
    to: str = "head",
    *,
    lock_timeout: str = "5s",
    statement_timeout: str = "15min",
    watch: Watch | None = None,
) -> None:
    """Bring a database to a revision. `dsn` belongs to a superuser, or to `tradepost_owner` where extensions exist.

    `watch`: what is called before the first step, and at the end of each one before it commits.
    Raises `DatabaseTooNew`; the driver's error when a lock cannot be had in time: the revision at fault is rolled back whole.
    """
    await _check_known(dsn)
    engine = create_async_engine(_alchemy(dsn), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.exec_driver_sql(f"SELECT pg_advisory_lock({LOCK})")
            await _prepare(await connection.run_sync(_driver))
            await connection.exec_driver_sql(f"SET ROLE {OWNER}")
            await connection.exec_driver_sql(f"SET lock_timeout = '{lock_timeout}'")
            await connection.exec_driver_sql(f"SET statement_timeout = '{statement_timeout}'")
            await connection.commit()
            await connection.run_sync(_drop_documented, to)
            await connection.run_sync(_upgrade, to, watch)
            await _jobs_schema(await connection.run_sync(_driver))
            await connection.commit()
    finally:
        await engine.dispose()


async def current_revision(dsn: str) -> str | None:
    """Return the revision a database is at, or None when it was never migrated."""
    connection = await asyncpg.connect(dsn)
    try:
        if not await connection.fetchval("SELECT to_regclass('public.alembic_version') IS NOT NULL"):
            return None
        revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
        return revision
    finally:
        await connection.close()


async def _check_known(dsn: str) -> None:
    """Refuse a database that a newer version has migrated. Raises `DatabaseTooNew`."""
    current = await current_revision(dsn)
    known = {script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()}
    if current and current not in known:
        raise DatabaseTooNew(current)


def _alchemy(dsn: str) -> str:
    """Return an asyncpg DSN as SQLAlchemy's URL; a socket folder travels as the host parameter."""
    scheme, _, rest = dsn.partition("://")
    if not scheme.startswith("postgres"):
        raise ValueError(f"not a PostgreSQL address: {quote(scheme)}")
    return f"postgresql+asyncpg://{rest}"


def _driver(connection: Connection) -> asyncpg.Connection:
    return connection.connection.driver_connection


def _drop_documented(connection: Connection, to: str) -> None:
    """Drop the views of documented names when there is something to migrate: they would hold on to columns that change."""
    target = ScriptDirectory.from_config(configuration()).get_revision(to)
    if MigrationContext.configure(connection).get_current_revision() != target.revision:
        connection.exec_driver_sql("DROP SCHEMA IF EXISTS documented CASCADE")
    connection.commit()


def _upgrade(connection: Connection, to: str, watch: Watch | None) -> None:
    config = configuration()
    config.attributes["connection"] = connection
    if watch:
        watch[0](connection)
        config.attributes["watch"] = watch[1]
    command.upgrade(config, to)


async def _prepare(connection: asyncpg.Connection) -> None:
    available = {r[0] for r in await connection.fetch("SELECT name FROM pg_available_extensions")}
    geo = ("postgis",) if "postgis" in available else ("cube",)
    for extension in (*EXTENSIONS, *geo):
        await connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")


async def _jobs_schema(connection: asyncpg.Connection) -> None:
    """Let the job library lay out or converge its own tables; it versions them itself."""
    queries = Queries(AsyncpgDriver(connection))
    if await queries.has_table("pgqueuer"):
        await queries.upgrade()
    else:
        await queries.install()
    await connection.execute((FOLDER / "sql" / "jobs.sql").read_text("utf-8"))
    await connection.execute(
        f"GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA public TO {OWNER}"
    )
    tables = await connection.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename LIKE 'pgqueuer%'"
    )
    for (table,) in tables:
        await connection.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE, MAINTAIN ON "{table}" TO {APP}')
    await connection.execute(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {APP}")

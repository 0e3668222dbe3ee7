"""What `tradepost doctor` asks of a store's database, with one connection, and changes nothing."""

import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import asyncpg
from alembic.script import ScriptDirectory

from tradepost.cli.findings import Finding
from tradepost.core.crypto import Keyring
from tradepost.core.settings import DatabaseSettings
from tradepost.migrations import EXTENSIONS, configuration
from tradepost.migrations.spares import LEFT_BEHIND

OLDEST = 170_000
_ROLE = """
    SELECT r.rolname, r.rolsuper, r.rolbypassrls,
           EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relowner = r.oid AND c.relkind IN ('r', 'p'))
           AS owns
    FROM pg_roles r WHERE r.rolname = current_user
"""
_LAG = "SELECT coalesce(extract(epoch FROM now() - min(execute_after)), 0)::float8 FROM pgqueuer WHERE status = 'queued' AND execute_after <= now()"
UNREADABLE = (
    "Write it as scheme://user:password@host:port/name, and signs such as / @ # % in a password as %2F %40 %23 %25."
)
_KEYS = "SELECT key_id FROM encryption_keys WHERE retired_at IS NULL"


async def connect(dsn: str) -> asyncpg.Connection:
    """Connect within five seconds. Raises what `why_not` puts into words."""
    return await asyncpg.connect(dsn, timeout=5, command_timeout=10, statement_cache_size=0)


async def look_through_pooler(dsn: str, store: str) -> AsyncIterator[Finding]:
    """Look at the address of the requests, where the pooler may let another role in than PostgreSQL's own address does."""
    try:
        connection = await connect(dsn)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        yield why_not(error, store, "pooler")
        return
    try:
        role = await connection.fetchrow(_ROLE)
        yield Finding(store, "pooler", "good", "answers")
        yield _bound("role of requests", store, role)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        yield why_not(error, store, "pooler")
    finally:
        await connection.close(timeout=2)


def _bound(what: str, store: str, role: asyncpg.Record) -> Finding:
    """Say whether row-level security holds a role."""
    if role["rolsuper"] or role["rolbypassrls"] or role["owns"]:
        return Finding(
            store, what, "bad", f"{role['rolname']} is not held by row-level security: it would see and change everybody’s rows",
            "Let database.url name the role tradepost_app, which owns nothing and is no superuser.",
        )  # fmt: skip
    return Finding(store, what, "good", f"{role['rolname']}, held by row-level security")


def why_not(error: BaseException, store: str, name: str) -> Finding:
    """Say why a database cannot be reached, and what to do, and nothing of an address that cannot be read: it may hold a password."""
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return Finding(store, name, "bad", "there is no such database", "Run: tradepost migrate")
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        mend = "See the role and password in the address, and the lines of pg_hba.conf."
        return Finding(store, name, "bad", f"PostgreSQL does not let us in: {error}", mend)
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return Finding(
            store, name, "bad", "all connections are taken", "Raise max_connections, or lower database.pool_size."
        )
    if isinstance(error, ValueError):
        return Finding(store, name, "bad", "the address cannot be read", UNREADABLE)
    words = "no answer within five seconds" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return Finding(
        store, name, "bad", words, "See that PostgreSQL runs, and that host and port in the address are right."
    )


async def look(
    connection: asyncpg.Connection, store: str, settings: DatabaseSettings, keys: Keyring | None, wanted: int
) -> AsyncIterator[Finding]:
    """Yield what is found; `wanted`: the connections that all processes of this installation may open on this server."""

    def said(what: str, state: bool, good: str, bad: str = "", mend: str = "", *, warn: bool = False) -> Finding:
        return Finding(
            store, what, "good" if state else "warn" if warn else "bad", good if state else bad, "" if state else mend
        )

    text = f"PostgreSQL {await connection.fetchval('SHOW server_version')}"
    number = int(await connection.fetchval("SHOW server_version_num"))
    yield said("version", number >= OLDEST, text, f"{text} is too old", "Upgrade to PostgreSQL 17 or newer.")
    yield _bound("role", store, await connection.fetchrow(_ROLE))
    async for finding in _schema(connection, said):
        yield finding
    async for finding in _server(connection, said, wanted):
        yield finding
    if await connection.fetchval("SELECT to_regclass('encryption_keys') IS NOT NULL") and keys is not None:
        async for finding in _inside(connection, said, keys):
            yield finding
    if settings.statement_cache == 0 and not settings.direct_url:
        yield Finding(
            store,
            "pooler",
            "warn",
            "statements are not kept prepared (statement_cache = 0), as behind a pooler",
            "Where there is no pooler, remove it; where there is, name PostgreSQL’s own address in database.direct_url.",
        )


_Said = Callable[..., Finding]


async def _schema(connection: asyncpg.Connection, said: _Said) -> AsyncIterator[Finding]:
    """Look at extensions and the revision."""
    present = {row[0] for row in await connection.fetch("SELECT extname FROM pg_extension")}
    missing = sorted(set(EXTENSIONS) - present)
    yield said(
        "extensions",
        not missing,
        "all there",
        f"missing: {', '.join(missing)}",
        "Install their packages (postgresql-17-pgvector and the like), then run: tradepost migrate",
    )
    head = ScriptDirectory.from_config(configuration()).get_current_head()
    exists = await connection.fetchval("SELECT to_regclass('public.alembic_version') IS NOT NULL")
    at = None
    if exists:
        at = await connection.fetchval("SELECT version_num FROM alembic_version")
    is_newer = at is not None and head is not None and at > head
    mend = "This program is older than the database: install the newer one." if is_newer else "Run: tradepost migrate"
    yield said(
        "revision",
        at == head,
        f"{at}, the newest",
        f"the database is at {at or 'none'}, this program needs {head}",
        mend,
    )


async def _server(connection: asyncpg.Connection, said: _Said, wanted: int) -> AsyncIterator[Finding]:
    """Look at settings of the whole server, and its clock."""
    most = int(await connection.fetchval("SHOW max_connections")) - int(
        await connection.fetchval("SHOW superuser_reserved_connections")
    )
    yield said(
        "connections",
        wanted <= most,
        f"at most {wanted} of {most} by this installation",
        f"this installation may open {wanted}, PostgreSQL takes {most}",
        "Raise max_connections, lower database.pool_size or http.workers, or put pgbouncer between.",
    )
    for setting, why in (
        ("fsync", "a power cut may lose the database"),
        ("full_page_writes", "a power cut may tear pages"),
        ("autovacuum", "dead rows are never cleaned up"),
    ):
        value = await connection.fetchval(f"SHOW {setting}")
        yield said(setting, value == "on", "on", f"off: {why}", f"Set {setting} = on in postgresql.conf.")
    try:
        await connection.fetchval("SELECT count(*) FROM pg_stat_statements WHERE false")
        counts = True
    except asyncpg.PostgresError:
        counts = False
    yield said(
        "statements",
        counts,
        "counted",
        "PostgreSQL does not count statements, so slow ones are not known",
        "Set shared_preload_libraries = 'pg_stat_statements' and start PostgreSQL anew.",
        warn=True,
    )
    left = [row[0] for row in await connection.fetch(LEFT_BEHIND)]
    yield said(
        "leftovers",
        not left,
        "none",
        f"killed commands left databases behind, which may hold copies of what customers told: {', '.join(left)}",
        "The next tradepost rehearse, import or backup verify drops them; or do it by DROP DATABASE.",
        warn=True,
    )
    before = time.time()
    theirs: datetime = await connection.fetchval("SELECT clock_timestamp()")
    ours = datetime.fromtimestamp((before + time.time()) / 2, UTC)
    apart = abs((theirs - ours).total_seconds())
    yield said(
        "clock",
        apart <= 2,
        f"{apart:.1f} s apart",
        f"this machine and the database are {apart:.0f} s apart",
        "Set both by NTP (systemd-timesyncd or chrony).",
        warn=apart <= 30,
    )


async def _inside(connection: asyncpg.Connection, said: _Said, keys: Keyring) -> AsyncIterator[Finding]:
    """Look at what the store itself keeps: keys in use, the queue."""
    used = {row[0] for row in await connection.fetch(_KEYS)}
    missing = sorted(used - set(keys.key_ids))
    yield said(
        "keys",
        not missing,
        "every key in use is here",
        f"encrypted with keys that are not here: {', '.join(missing)}",
        "Put them into secret_key again, or restore the home’s keys folder from its backup.",
    )
    lag = float(await connection.fetchval(_LAG))
    yield said(
        "jobs",
        lag < 120,
        f"the oldest due job has waited for {lag:.0f} s",
        f"the oldest due job has waited for {lag:.0f} s",
        "See that a worker runs: systemctl status tradepost-worker, or: tradepost worker",
        warn=True,
    )

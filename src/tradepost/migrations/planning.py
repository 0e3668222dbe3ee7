"""What a migration would do, found out by doing it: on an empty database beside the others, which is dropped again.

Promises the locks that PostgreSQL really takes, not those that somebody thinks it takes, and that the store's own database is not
touched and keeps no lock.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from tradepost.migrations import configuration, create_database, migrate
from tradepost.migrations.spares import spare_database

# Weaker ones keep nobody from reading and writing.
_STRONG = """
    SELECT DISTINCT c.oid, c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    WHERE l.pid = pg_backend_pid() AND l.granted AND c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
      AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""
_TABLES = "SELECT oid FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
_IN_WORDS = {
    "ShareLock": "writing waits",
    "ShareRowExclusiveLock": "writing waits",
    "ExclusiveLock": "writing waits",
    "AccessExclusiveLock": "reading and writing wait",
}


class Lock(msgspec.Struct, frozen=True, order=True):
    """A table that others cannot use as usual until a step is done. `effect`: in words."""

    table: str
    effect: str


class Step(msgspec.Struct, frozen=True):
    """One revision that is still to come."""

    revision: str
    about: str
    locks: tuple[Lock, ...]


async def plan_migration(admin_dsn: str, dsn_of: Callable[[str], str], current: str | None) -> tuple[Step, ...]:
    """Return the steps from a revision to the newest; `admin_dsn` is a superuser's, `dsn_of` gives the address of a database."""
    scripts = ScriptDirectory.from_config(configuration())
    if current == scripts.get_current_head():
        return ()
    async with spare_database(admin_dsn, "plan") as (name, _):
        await create_database(admin_dsn, name)
        if current is not None:
            await migrate(dsn_of(name), to=current)
        return await _watched(dsn_of(name), scripts)


async def _watched(dsn: str, scripts: ScriptDirectory) -> tuple[Step, ...]:
    """Migrate an empty database and return what each step held when it was about to commit."""
    steps: list[Step] = []
    known: set[int] = set()

    def begin(connection: Connection) -> None:
        known.update(row[0] for row in connection.exec_driver_sql(_TABLES))

    def look(*, ctx: Any, step: Any, **_: Any) -> None:
        held = [row for row in ctx.connection.exec_driver_sql(_STRONG) if row[0] in known]
        locks = {
            name: _IN_WORDS[mode] for _, name, mode in sorted(held, key=lambda row: row[2] == "AccessExclusiveLock")
        }
        script = scripts.get_revision(step.up_revision_id)
        locked = tuple(Lock(*pair) for pair in sorted(locks.items()))
        steps.append(Step(script.revision, (script.doc or "").strip(), locked))
        begin(ctx.connection)

    await migrate(dsn, watch=(begin, look))
    return tuple(steps)

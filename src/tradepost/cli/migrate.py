"""`tradepost migrate`: every store's database brought to the newest revision, or what that would do."""

from dataclasses import dataclass

import asyncpg
from rich.console import Console
from sqlalchemy.exc import DBAPIError

from tradepost.cli.serve import address, check_addresses
from tradepost.core.database import Database
from tradepost.core.errors import Unavailable
from tradepost.core.settings import Settings
from tradepost.flows.install_store import install_store
from tradepost.flows.preset import find_presets
from tradepost.flows.store import database_name
from tradepost.migrations import create_database, current_revision, migrate
from tradepost.migrations.planning import Step, plan_migration

_console = Console()


@dataclass(eq=False)
class MigrationBlocked(Unavailable):
    """The database of {store} is at revision {revision} and the next one was given up and undone: {why}. Try again at a quieter time, or with a longer {option}."""

    store: str
    revision: str
    why: str
    option: str


@dataclass(frozen=True)
class Patience:
    """For how many seconds a migration waits for a lock, and for a statement."""

    lock_s: int = 5
    statement_s: int = 900


async def migrate_stores(settings: Settings, patience: Patience = Patience()) -> None:
    """Create, migrate and install every store; safe to run twice at once.

    Raises `AddressMissing`, `AddressShared`, `DatabaseTooNew`, `MigrationBlocked`.
    """
    check_addresses(settings)
    for code, folder in find_presets(settings.stores, settings.presets).items():
        name = database_name(code)
        owner = address(settings.database.owner_url, "database.owner_url", name)
        await create_database(address(settings.database.owner_url, "database.owner_url", "postgres"), name)
        await migrate_store(owner, code, patience)
        db = await Database.open(owner, size=1)
        try:
            await install_store(db, folder)
        finally:
            await db.close()


async def migrate_store(owner: str, code: str, patience: Patience) -> None:
    """Migrate one store's database. Raises `DatabaseTooNew`, `MigrationBlocked`."""
    try:
        await migrate(owner, lock_timeout=f"{patience.lock_s}s", statement_timeout=f"{patience.statement_s}s")
    except (DBAPIError, asyncpg.PostgresError) as error:
        cause = error.orig.__cause__ if isinstance(error, DBAPIError) and error.orig else error
        if not isinstance(cause, asyncpg.LockNotAvailableError | asyncpg.QueryCanceledError):
            raise
        is_lock = isinstance(cause, asyncpg.LockNotAvailableError)
        why = (
            f"a table stayed locked for {patience.lock_s} s"
            if is_lock
            else f"a statement took {patience.statement_s} s"
        )
        option = "--lock-timeout" if is_lock else "--statement-timeout"
        raise MigrationBlocked(code, await current_revision(owner) or "none", why, option) from None


async def print_plans(settings: Settings) -> None:
    """Print for each store what a migration would do. Raises `AddressMissing`, `AddressShared`."""
    check_addresses(settings)
    for code in find_presets(settings.stores, settings.presets):
        for line in await plan_of(code, settings):
            _console.print(line, highlight=False, soft_wrap=True)


async def plan_of(code: str, settings: Settings) -> list[str]:
    """Return in words what a migration of a store would do."""
    url, name = settings.database.owner_url, database_name(code)
    admin = address(url, "database.owner_url", "postgres")
    try:
        current = await current_revision(address(url, "database.owner_url", name))
    except asyncpg.InvalidCatalogNameError:
        return [f"{code}: there is no database {name} yet; it would be made."]
    steps = await plan_migration(admin, lambda database: address(url, "database.owner_url", database), current)
    if not steps:
        return [f"{code}: at {current}, nothing to do."]
    sizes = await _sizes(address(url, "database.owner_url", name))
    head = f"{code}: at {current or 'nothing'}, {len(steps)} to go. The views of documented names are dropped and made anew."
    return [head, *(_in_words(step, sizes) for step in steps)]


def _in_words(step: Step, sizes: dict[str, int]) -> str:
    waits = "; ".join(f"{lock.table} ({sizes.get(lock.table, 0):,} rows): {lock.effect}" for lock in step.locks)
    return f"  {step.revision} {step.about} {waits or 'Nobody waits'}."


async def _sizes(dsn: str) -> dict[str, int]:
    """Return about how many rows each table has."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT relname, greatest(reltuples, 0)::bigint FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        )
    finally:
        await connection.close()
    return dict(rows)

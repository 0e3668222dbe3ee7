"""What `tradepost keys` does, in the demo's own database (which must be stopped) or in the one that is named."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from tradepost.cli.owner_database import owner_database
from tradepost.cli.serve import files_of
from tradepost.core.crypto import Keyring, open_keyring
from tradepost.core.database import SYSTEM, Database
from tradepost.core.files import FileStore
from tradepost.core.home import find_home, open_home
from tradepost.core.key_list import keys_in_use
from tradepost.core.settings import Settings
from tradepost.flows import rotate_keys

_console = Console()


@asynccontextmanager
async def _opened(store: str, dsn: str, settings: Settings) -> AsyncIterator[tuple[Database, FileStore, Keyring]]:
    home = open_home(find_home(os.environ))
    keys = open_keyring(settings.secret_key, home.keys)
    async with owner_database(store, dsn) as db:
        yield db, FileStore.open(files_of(settings, home, store)), keys


async def print_keys(store: str, dsn: str, settings: Settings) -> None:
    """Print the keys in use, and how many values wait for rotation."""
    async with _opened(store, dsn, settings) as (db, _, keys):
        async with db.transaction(actor=SYSTEM, read_only=True) as tx:
            used = await keys_in_use(tx)
        for key in used:
            words = [w for w, said in (("retired", key.is_retired), ("indexes", key.is_index)) if said]
            words += ["newest"] if key.key_id == keys.key_ids[0] else []
            words += [] if key.key_id in keys.key_ids or key.is_retired else ["MISSING from secret_key"]
            _console.print(f"{key.key_id}  {', '.join(words) or 'in use'}", highlight=False)
        for (table, column), number in (await rotate_keys.count_old(db, keys)).items():
            if number:
                _console.print(f"{table}.{column}: {number:,} values wait for rotation", highlight=False)


async def rotate_values(store: str, dsn: str, settings: Settings) -> None:
    """Encrypt every value again that the newest key did not, with progress."""
    async with _opened(store, dsn, settings) as (db, files, keys):
        with _bar() as bar:
            done = await rotate_keys.rotate(db, files, keys, _shown(bar))
    _console.print(f"{done:,} values of {store} are encrypted with {keys.key_ids[0]} now.", highlight=False)


async def make_indexes(store: str, dsn: str, settings: Settings) -> None:
    """Make the blind indexes anew with the last key, with progress."""
    async with _opened(store, dsn, settings) as (db, _, keys):
        with _bar() as bar:
            done = await rotate_keys.reindex(db, keys, _shown(bar))
    _console.print(f"{done:,} blind indexes of {store} are made with {keys.key_ids[-1]} now.", highlight=False)


def _bar() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=_console)


def _shown(bar: Progress) -> rotate_keys.Progress:
    tasks: dict[str, TaskID] = {}

    def show(what: str, done: int, whole: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=whole)
        bar.update(tasks[what], completed=done, total=whole)

    return show

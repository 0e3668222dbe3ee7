"""`tradepost keys`: which keys encrypt a store's values, and putting another in their place."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from tradepost.cli.owner_database import owner_database
from tradepost.core.crypto import Keyring, open_keyring
from tradepost.core.database import SYSTEM, Database
from tradepost.core.files import FileStore
from tradepost.core.home import find_home, open_home
from tradepost.core.key_list import keys_in_use
from tradepost.core.settings import load_settings
from tradepost.flows import rotate_keys

keys_cli = typer.Typer(no_args_is_help=True, help=__doc__)
Store = Annotated[str, typer.Option(help="The store.")]
Address = Annotated[str, typer.Option(help="The owner's database address; the demo's own unless given.")]
SettingsFile = Annotated[Path | None, typer.Option(help="The settings file.")]
_console = Console()


@keys_cli.command()
def status(store: Store, database: Address = "", settings: SettingsFile = None) -> None:
    """Show the keys in use, and how many values wait for rotation."""
    from tradepost.cli import run

    run(lambda: _status(store, database, settings))


@keys_cli.command()
def rotate(store: Store, database: Address = "", settings: SettingsFile = None) -> None:
    """Encrypt everything again that the newest key did not; may be interrupted and begun again."""
    from tradepost.cli import run

    run(lambda: _rotate(store, database, settings))


@keys_cli.command()
def reindex(store: Store, database: Address = "", settings: SettingsFile = None) -> None:
    """Make the blind indexes anew with the last key of secret_key; with the servers stopped."""
    from tradepost.cli import run

    run(lambda: _reindex(store, database, settings))


@asynccontextmanager
async def _opened(store: str, dsn: str, file: Path | None) -> AsyncIterator[tuple[Database, FileStore, Keyring]]:
    installation = load_settings(file or Path("tradepost.toml"), os.environ)
    home = open_home(find_home(os.environ))
    place = f"{installation.files.url.rstrip('/')}/{store}" if installation.files.url else str(home.files(store))
    keys = open_keyring(installation.secret_key, home.keys)
    async with owner_database(store, dsn) as db:
        yield db, FileStore.open(place), keys


async def _status(store: str, dsn: str, file: Path | None) -> None:
    async with _opened(store, dsn, file) as (db, _, keys):
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


async def _rotate(store: str, dsn: str, file: Path | None) -> None:
    async with _opened(store, dsn, file) as (db, files, keys):
        with _bar() as bar:
            done = await rotate_keys.rotate(db, files, keys, _shown(bar))
    _console.print(f"{done:,} values of {store} are encrypted with {keys.key_ids[0]} now.", highlight=False)


async def _reindex(store: str, dsn: str, file: Path | None) -> None:
    async with _opened(store, dsn, file) as (db, _, keys):
        with _bar() as bar:
            done = await rotate_keys.reindex(db, keys, _shown(bar))
    _console.print(f"{done:,} blind indexes of {store} are made with {keys.key_ids[-1]} now.", highlight=False)


def _bar() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=_console)


def _shown(bar: Progress) -> rotate_keys.Progress:
    tasks: dict[str, TaskID] = {}

    def show(what: str, done: int, whole: int) -> None:
        task = tasks.setdefault(what, bar.add_task(what, total=whole)) if what not in tasks else tasks[what]
        bar.update(task, completed=done, total=whole)

    return show

"""`tradepost keys`: which keys encrypt a store's values, and putting another in their place."""

from pathlib import Path
from typing import Annotated

import typer

keys_cli = typer.Typer(no_args_is_help=True, help=__doc__)
Store = Annotated[str, typer.Option(help="The store.")]
Address = Annotated[str, typer.Option(help="The owner's database address; the demo's own unless given.")]
SettingsFile = Annotated[Path | None, typer.Option(help="The settings file.")]


@keys_cli.command()
def status(store: Store, database: Address = "", settings: SettingsFile = None) -> None:
    """Show the keys in use, and how many values wait for rotation."""
    from tradepost.cli import installation, run
    from tradepost.cli.keys_work import print_keys

    run(lambda: print_keys(store, database, installation(settings)))


@keys_cli.command()
def rotate(store: Store, database: Address = "", settings: SettingsFile = None) -> None:
    """Encrypt everything again that the newest key did not; may be interrupted and begun again."""
    from tradepost.cli import installation, run
    from tradepost.cli.keys_work import rotate_values

    run(lambda: rotate_values(store, database, installation(settings)))


@keys_cli.command()
def reindex(store: Store, database: Address = "", settings: SettingsFile = None) -> None:
    """Make the blind indexes anew with the last key of secret_key; with the servers stopped."""
    from tradepost.cli import installation, run
    from tradepost.cli.keys_work import make_indexes

    run(lambda: make_indexes(store, database, installation(settings)))

"""`tradepost backup`: a store as one file, and back; a backup that was never restored is none, so `verify` restores it."""

from pathlib import Path
from typing import Annotated

import typer

backup_cli = typer.Typer(no_args_is_help=True, help=__doc__)
Store = Annotated[str, typer.Option(help="The store.")]
Address = Annotated[str, typer.Option(help="The owner's database address; the demo's own unless given.")]
Archive = Annotated[str, typer.Argument(help="A backup: a file, or s3://bucket/prefix/name.")]


@backup_cli.command()
def create(
    store: Store,
    to: Annotated[str, typer.Option(help="A folder, or s3://bucket/prefix.")] = "backups",
    keep: Annotated[int, typer.Option(min=0, help="How many backups of this store to keep there; 0 keeps all.")] = 0,
    database: Address = "",
    encrypt: Annotated[bool, typer.Option("--encrypt", help="Encrypt it with the installation's key.")] = False,
) -> None:
    """Write the store's database, files and preset of its own into one file, while the store is open."""
    from tradepost.cli import run
    from tradepost.cli.backup_work import create_backup

    run(lambda: create_backup(store, database, to, keep=keep, encrypt=encrypt))


@backup_cli.command()
def verify(archive: Archive, database: Address = "") -> None:
    """Restore a backup into a database beside the others, compare every count and sum and the ledger, and drop it again."""
    from tradepost.cli import run
    from tradepost.cli.backup_work import verify_backup

    run(lambda: verify_backup(archive, database))


@backup_cli.command()
def restore(archive: Archive, database: Address = "") -> None:
    """Restore a backup into a new store; one that holds anything is never touched."""
    from tradepost.cli import run
    from tradepost.cli.backup_work import restore_backup

    run(lambda: restore_backup(archive, database))


@backup_cli.command("list")
def list_all(at: Annotated[str, typer.Option(help="A folder, or s3://bucket/prefix.")] = "backups") -> None:
    """List the backups of a place, oldest first."""
    from tradepost.cli import run
    from tradepost.cli.backup_work import list_backups

    run(lambda: list_backups(at))


@backup_cli.command()
def sql(
    store: Store,
    to: Annotated[Path, typer.Option(help="The file to write; with .gz at its end it is compressed.")],
    database: Address = "",
    only: Annotated[str, typer.Option(help="schema or data; both unless given.")] = "",
) -> None:
    """Write the store's database as SQL for psql: all of it, its schema, or its data."""
    from tradepost.cli import run
    from tradepost.cli.backup_work import write_sql

    if only not in {"", "schema", "data"}:
        raise typer.BadParameter("schema or data")
    run(lambda: write_sql(store, database, to, only=only))

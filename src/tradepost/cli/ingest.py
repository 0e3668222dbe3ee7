"""`tradepost ingest`: outside markets from the command line."""

from pathlib import Path
from typing import Annotated

import typer

ingest_cli = typer.Typer(no_args_is_help=True, help=__doc__)
Store = Annotated[str, typer.Option(help="The store.")]
SettingsFile = Annotated[Path | None, typer.Option("--settings", help="The settings file.")]


@ingest_cli.command("list")
def list_sources(store: Store, settings: SettingsFile = None) -> None:
    """Show the sources of a store and how reading them goes."""
    from tradepost.cli import installation, run
    from tradepost.cli.ingest_work import print_sources

    run(lambda: print_sources(installation(settings), store))


@ingest_cli.command()
def read(
    source: Annotated[str, typer.Argument(help="The source's code.")], store: Store, settings: SettingsFile = None
) -> None:
    """Read a source now, with progress; an interrupted reading goes on where it stopped. The exit code is 2 where it failed."""
    from tradepost.cli import installation, run
    from tradepost.cli.ingest_work import read_with_progress

    run(lambda: read_with_progress(installation(settings), store, source))


@ingest_cli.command()
def push(
    source: Annotated[str, typer.Argument(help="The source's code.")],
    file: Annotated[
        Path, typer.Argument(help="A JSON, NDJSON, CSV or XML file, also packed as .gz.", exists=True, dir_okay=False)
    ],
    store: Store,
    complete: Annotated[bool, typer.Option(help="These are all the source has; what is missing is taken off.")] = False,
    settings: SettingsFile = None,
) -> None:
    """Take the rows of a file into a source, with progress, whatever its size."""
    from tradepost.cli import installation, run
    from tradepost.cli.ingest_work import push_file

    run(lambda: push_file(installation(settings), store, source, file, complete=complete))


@ingest_cli.command()
def look(
    address: Annotated[str, typer.Argument(help="A feed, a sitemap, a page.")],
    store: Store,
    settings: SettingsFile = None,
) -> None:
    """Show what would be read from an address; nothing is saved."""
    from tradepost.cli import installation, run
    from tradepost.cli.ingest_work import print_preview

    run(lambda: print_preview(installation(settings), store, address))

"""`tradepost archive`: every change of the database as it is made, and the database of any second back."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

archive_cli = typer.Typer(no_args_is_help=True, help=__doc__)
Folder = Annotated[str, typer.Option(help="The archive’s folder; that of the settings unless given.")]
Address = Annotated[
    str, typer.Option(help="A superuser’s database address; that of the settings or of the running demo unless given.")
]


@archive_cli.command("run")
def run_archive(folder: Folder = "", database: Address = "") -> None:
    """Keep the archive of your own server until interrupted; the demo keeps its own where the settings name a folder."""
    from tradepost.cli import run
    from tradepost.cli.archive_work import keep_archive

    run(lambda: keep_archive(folder, database))


@archive_cli.command()
def backup(folder: Folder = "", database: Address = "") -> None:
    """Make a base backup now, before something risky: recovering from it is quicker than from an older one."""
    from tradepost.cli import run
    from tradepost.cli.archive_work import make_backup

    run(lambda: make_backup(folder, database))


@archive_cli.command("list")
def list_archive(folder: Folder = "") -> None:
    """Look the archive through, and say from when to when it can be recovered from."""
    from tradepost.cli import run
    from tradepost.cli.archive_work import list_moments

    run(lambda: list_moments(folder))


@archive_cli.command()
def recover(
    folder: Folder = "",
    to: Annotated[
        str,
        typer.Option(
            help="The second to come back to (ISO 8601, UTC unless it says otherwise); the last one unless given."
        ),
    ] = "",
    home: Annotated[
        Path | None, typer.Option(help="The home to make the data folder in; TRADEPOST_HOME unless given.")
    ] = None,
    timeline: Annotated[
        str, typer.Option(help="Which life of the server, such as 00000002; needed where the archive holds several.")
    ] = "",
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Trust the last pieces of the log although they have no seal.")
    ] = False,
) -> None:
    """Make a new data folder for the embedded PostgreSQL with everything committed until a second; one that is there is never touched."""
    from tradepost.cli import run
    from tradepost.cli.archive_work import as_second, recover_archive

    try:
        until: datetime | None = as_second(to) if to else None
    except ValueError:
        raise typer.BadParameter("a moment such as 2026-11-21T19:30:05", param_hint="--to") from None
    run(lambda: recover_archive(folder, home, until, timeline, unsigned=unsigned))


@archive_cli.command()
def stop(database: Address = "") -> None:
    """Have the server keep its log for the archive no longer, when it shall have none any more."""
    from tradepost.cli import run
    from tradepost.cli.archive_work import stop_archive

    run(lambda: stop_archive(database))

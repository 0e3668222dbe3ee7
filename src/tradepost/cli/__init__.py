"""The command line: `tradepost demo`, `serve`, `worker`, `migrate`, `sample`. Errors are one sentence and an exit code."""

import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tradepost.cli.archive import archive_cli
from tradepost.cli.assistant import assistant_cli
from tradepost.cli.backup import backup_cli
from tradepost.cli.ingest import ingest_cli
from tradepost.cli.keys import keys_cli
from tradepost.cli.scale import scale_cli
from tradepost.cli.search import search_cli
from tradepost.core.errors import DomainError
from tradepost.core.settings import Settings, load_settings

EXIT_CODES = {"not_found": 3, "refused": 4, "conflict": 5, "invalid": 2, "too_many": 6, "unavailable": 7, "error": 1}
cli = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
cli.add_typer(assistant_cli, name="assistant")
cli.add_typer(search_cli, name="search")
cli.add_typer(backup_cli, name="backup")
cli.add_typer(archive_cli, name="archive")
cli.add_typer(keys_cli, name="keys")
cli.add_typer(scale_cli, name="scale")
cli.add_typer(ingest_cli, name="ingest")
errors = Console(stderr=True)


def main() -> None:
    """Run the command line; a domain error becomes one sentence on standard error and an exit code that is not 0."""
    try:
        cli()
    except DomainError as error:
        errors.print(f"[bold red]tradepost:[/] {error.message}", highlight=False, soft_wrap=True)
        sys.exit(EXIT_CODES[error.kind])


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a command's coroutine on the fast event loop."""
    import uvloop

    uvloop.run(work())


def installation(settings_file: Path | None = None) -> Settings:
    """Return the installation's settings: `tradepost.toml` in the current folder unless another file is named."""
    return load_settings(settings_file or Path("tradepost.toml"), os.environ)


@cli.command()
def demo(
    port: Annotated[str, typer.Option(envvar="PORT", metavar="NUMBER", help="Port of all five stores.")] = "8000",
    stores: Annotated[str, typer.Option(help="Comma-separated stores to open; all five unless given.")] = "",
) -> None:
    """Open the five stores on this machine, with embedded servers and sample data; Ctrl-C stops all of it."""
    from tradepost.cli.demo import as_port, run_demo

    number = as_port(port)
    run(lambda: run_demo(number, [s for s in stores.split(",") if s]))


@cli.command()
def serve(settings: Annotated[Path | None, typer.Option(help="The settings file.")] = None) -> None:
    """Serve the stores of the settings file on your own PostgreSQL and Redis or Valkey."""
    from tradepost.cli.serve import serve_forever

    serve_forever(settings)


@cli.command()
def worker(settings: Annotated[Path | None, typer.Option(help="The settings file.")] = None) -> None:
    """Run background jobs of all stores, without a web server."""
    from tradepost.cli.serve import work_forever

    run(lambda: work_forever(installation(settings)))


@cli.command()
def migrate(
    settings: Annotated[Path | None, typer.Option(help="The settings file.")] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what would be done, and what each step keeps waiting.")
    ] = False,
    lock_timeout: Annotated[int, typer.Option(min=1, help="Give up after so many seconds without a table’s lock.")] = 5,
    statement_timeout: Annotated[int, typer.Option(min=1, help="Give up a statement after so many seconds.")] = 900,
) -> None:
    """Create what is missing and bring every store's database to the newest revision and preset."""
    from tradepost.cli.migrate import Patience, migrate_stores, print_plans

    if plan:
        run(lambda: print_plans(installation(settings)))
    else:
        run(lambda: migrate_stores(installation(settings), Patience(lock_timeout, statement_timeout)))


@cli.command()
def rehearse(
    store: Annotated[str, typer.Option(help="The store.")],
    backup: Annotated[
        str, typer.Option(help="A backup to rehearse on; a copy of the store’s database unless given.")
    ] = "",
    database: Annotated[str, typer.Option(help="The owner's database address; the demo's own unless given.")] = "",
) -> None:
    """Upgrade a copy of a store, compare every count and sum and the ledger before and after, and drop it again."""
    from tradepost.cli.rehearse import rehearse_upgrade

    run(lambda: rehearse_upgrade(store, backup, database))


@cli.command()
def doctor(
    settings: Annotated[Path | None, typer.Option(help="The settings file.")] = None,
    backups: Annotated[str, typer.Option(help="Where backups are kept: a folder, or s3://bucket/prefix.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON instead of lines.")] = False,
) -> None:
    """Look whether this set-up is right, and say what to do where it is not; the exit code is 1 where something is bad."""
    from tradepost.cli.doctor import examine

    is_sound = True

    async def work() -> None:
        nonlocal is_sound
        is_sound = await examine(settings, backups, as_json=as_json)

    run(work)
    if not is_sound:
        raise typer.Exit(1)


@cli.command()
def sample(
    store: Annotated[str, typer.Option(help="The store to grow.")],
    listings: Annotated[int, typer.Option(min=1, max=5_000_000, help="How many listings it shall have in all.")],
    database: Annotated[str, typer.Option(help="The owner's database address; the demo's own unless given.")] = "",
) -> None:
    """Grow a store to many plausible listings, for benchmarks."""
    from tradepost.cli.sample import grow

    run(lambda: grow(store, listings, database))


@cli.command()
def audit(
    store: Annotated[str, typer.Option(help="The store.")],
    person: Annotated[str, typer.Option(help="Who did it: a username.")] = "",
    about: Annotated[str, typer.Option(help="Whose own rows it was done to: a username.")] = "",
    table: Annotated[str, typer.Option(help="The table.")] = "",
    row: Annotated[str, typer.Option(help="The key of the row, or its first part.")] = "",
    action: Annotated[str, typer.Option(help="insert, update, delete, look or act.")] = "",
    since: Annotated[str, typer.Option(help="From this day or moment on (ISO 8601, UTC).")] = "",
    until: Annotated[str, typer.Option(help="Before this day or moment.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="One line of JSON for each.")] = False,
    database: Annotated[str, typer.Option(help="The owner's database address; the demo's own unless given.")] = "",
) -> None:
    """Show who changed what when, the latest first."""
    from tradepost.cli.audit import print_audit
    from tradepost.flows.audit import AuditQuestion, as_moment

    if action and action not in {"insert", "update", "delete", "look", "act"}:
        raise typer.BadParameter("insert, update, delete, look or act", param_hint="--action")
    try:
        begin, end = as_moment(since), as_moment(until)
    except ValueError:
        raise typer.BadParameter("a day or a moment such as 2026-11-21 or 2026-11-21T09:00") from None
    question = AuditQuestion(person=person, about=about, table=table, row=row, action=action, since=begin, until=end)
    run(lambda: print_audit(store, database, question, most=limit, as_json=json))


@cli.command()
def payouts(
    store: Annotated[str, typer.Option(help="The store whose sellers are paid.")],
    settings: Annotated[Path | None, typer.Option(help="The settings file.")] = None,
) -> None:
    """Pay every seller out who has enough and no payout under way, without waiting for the schedule."""
    from tradepost.cli.money import pay_sellers

    run(lambda: pay_sellers(installation(settings), store))


@cli.command()
def reconcile(
    store: Annotated[str, typer.Option(help="The store.")],
    days: Annotated[int, typer.Option(min=1, max=366, help="How far back.")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON instead of a table.")] = False,
    settings: Annotated[Path | None, typer.Option(help="The settings file.")] = None,
) -> None:
    """Compare a store's payments with its gateways' own lists; the exit code is 5 where they do not agree."""
    from tradepost.cli.money import compare_lists

    run(lambda: compare_lists(installation(settings), store, days, as_json=as_json))


@cli.command()
def mcp(
    address: Annotated[str, typer.Argument(help="The store’s address, such as http://shop-assistant.localhost:8000.")],
    token: Annotated[
        str, typer.Option(envvar="TRADEPOST_MCP_TOKEN", help="An API token of the person whom the agent shops for.")
    ] = "",
) -> None:
    """Offer a store's tools to an agent by standard input and output (Model Context Protocol)."""
    from tradepost.cli.agents import bridge

    run(lambda: bridge(address, token))


@cli.command("import")
def import_(
    system: Annotated[str, typer.Argument(help="Which system’s database it is: omade, shop-assistant, tese, marketplace-watch or souk-loop.")],
    source: Annotated[str, typer.Argument(help="Its address, postgresql://…, which is only read; or a file that pg_dump made.")],
    store: Annotated[str, typer.Option(help="The store to import into; the one called like the system unless given.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do all of it, report, and keep nothing.")] = False,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Do not go on where an import was stopped; look at every row again.")
    ] = False,
    seller: Annotated[str, typer.Option(help="Who sells what nobody is named for: a username of the store.")] = "",
    zone: Annotated[str, typer.Option(help="The time zone of times that name none.")] = "UTC",
    phone_prefix: Annotated[str, typer.Option(help="The country’s number, for telephone numbers that begin with 0: +263.")] = "",
    report: Annotated[Path | None, typer.Option(help="Where refused rows are listed (CSV); import-SYSTEM.csv unless given.")] = None,
    database: Annotated[
        str, typer.Option(help="The owner's address of your server; that of the settings, or the demo's own, unless given.")
    ] = "",
) -> None:  # fmt: skip
    """Import the whole database of another system; the exit code is 5 where something does not agree afterwards."""
    from tradepost.cli.move_in import SYSTEMS, Wishes, import_database

    if system not in SYSTEMS:
        raise typer.BadParameter(", ".join(SYSTEMS), param_hint="SYSTEM")
    wishes = Wishes(dry_run=dry_run, from_start=from_start, seller=seller, zone=zone, prefix=phone_prefix)
    path = report or Path(f"import-{system}.csv")
    run(lambda: import_database(system, source, store or system, wishes, report=path, database=database))

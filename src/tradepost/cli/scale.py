"""`tradepost scale`: a store's database over several machines."""

from dataclasses import dataclass
from typing import Annotated

import asyncpg
import typer
from rich.console import Console

from tradepost.core.errors import Conflict, Invalid
from tradepost.migrations.citus import Plan, plan_citus

scale_cli = typer.Typer(no_args_is_help=True, help=__doc__)
_console = Console()
HAS_CITUS = "SELECT true FROM pg_extension WHERE extname = 'citus'"


@dataclass(eq=False)
class NoCitus(Invalid):
    """The database at that address has no extension citus, and nothing was changed; make it there on every node first."""


@dataclass(eq=False)
class CitusRefused(Conflict):
    """Citus refused “{step}” ({why}); everything was undone."""

    step: str
    why: str


@dataclass(eq=False)
class NotSpreadable(Conflict):
    """Without {constraints} the product could not write any more, and no node can keep them; nothing was changed. For now this is a plan to read."""

    constraints: str


@scale_cli.callback()
def scale() -> None:
    """Spread a store over several machines."""


@scale_cli.command()
def citus(
    database: Annotated[str, typer.Argument(help="The owner’s address of the store’s database, on the coordinator.")],
    apply: Annotated[
        bool,
        typer.Option("--apply", help="Do it, all or nothing, where no constraint goes that the product writes by."),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Count what breaks the constraints that no node can keep.")
    ] = False,
) -> None:
    """Say how the tables spread over a Citus cluster, and with --apply do it."""
    from tradepost.cli import run

    if apply and check:
        raise typer.BadParameter("--apply does it and --check looks at what was done: one after the other.")
    run(lambda: check_rows(database) if check else spread(database, apply=apply))


async def spread(dsn: str, *, apply: bool) -> None:
    """Print the plan, and carry it out where asked. Raises `NoCitus`, `NotSpreadable`, `CitusRefused`."""
    connection = await asyncpg.connect(dsn)
    try:
        if not await connection.fetchval(HAS_CITUS):
            raise NoCitus
        plan = await plan_citus(connection)
        for line in in_words(plan):
            _console.print(line, highlight=False, soft_wrap=True)
        if apply:
            if needed := [f"{lost.table}.{lost.name}" for lost in plan.lost if lost.is_relied_on]:
                raise NotSpreadable(", ".join(needed))
            await carry_out(connection, plan)
            _console.print("[green]Done.[/] Run it with --check from time to time.")
    finally:
        await connection.close()


async def carry_out(connection: asyncpg.Connection, plan: Plan) -> None:
    """Carry a plan out in one transaction. Raises `CitusRefused`."""
    async with connection.transaction():
        await connection.execute("SET LOCAL citus.enable_unsafe_triggers = on; SET LOCAL lock_timeout = '5s'")
        for step in plan.steps():
            try:
                await connection.execute(step)
            except asyncpg.PostgresError as error:
                raise CitusRefused(step, str(error)) from None


async def check_rows(dsn: str) -> None:
    """Print what breaks the constraints that are not kept on several nodes."""
    connection = await asyncpg.connect(dsn)
    try:
        plan = await plan_citus(connection)
        found = {lost: await connection.fetchval(lost.check) for lost in plan.lost if lost.check}
    finally:
        await connection.close()
    for lost, count in found.items():
        if count:
            _console.print(f"{lost.table}.{lost.name}: {count} rows break {lost.definition}", highlight=False)
    _console.print(f"{len(found)} constraints looked at, {sum(map(bool, found.values()))} broken.")


def in_words(plan: Plan) -> list[str]:
    """Return a plan as lines to read."""
    groups: dict[str, list[str]] = {}
    for table in plan.tables:
        if table.kind == "distributed":
            groups.setdefault(table.group, []).append(f"{table.name} by {table.column}")
    of_kind = {kind: [table.name for table in plan.tables if table.kind == kind] for kind in ("reference", "local")}
    return [
        f"On every node: {', '.join(of_kind['reference'])}.",
        f"On the coordinator alone, with the job queue: {', '.join(of_kind['local'])}.",
        *(f"Together with {group}: {', '.join(sorted(members))}." for group, members in sorted(groups.items())),
        *(f"Wider key: {table.name} ({', '.join(table.widened_key)})." for table in plan.tables if table.widened_key),
        f"{len(plan.kept)} constraints stay. {len(plan.lost)} go, and --check looks for what they would refuse:",
        *(
            f"  {lost.table}.{lost.name}: {lost.why}{'; the product writes by it' if lost.is_relied_on else ''}."
            for lost in plan.lost
        ),
        f"{len(plan.triggers)} triggers run on each node, on its own rows only: {', '.join(plan.triggers)}.",
    ]

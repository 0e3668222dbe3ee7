"""`tradepost payouts` and `tradepost reconcile`: a store's money from the command line."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec
from rich.console import Console
from rich.table import Table

from tradepost.cli.serve import open_stores
from tradepost.core.clock import now
from tradepost.core.money import to_major
from tradepost.core.settings import Settings
from tradepost.flows.pay_out import run_payouts
from tradepost.flows.reconcile import BooksDiffer, Reconciliation, count_differences, reconcile
from tradepost.flows.store import Store

console = Console()


@asynccontextmanager
async def _opened(settings: Settings, code: str) -> AsyncIterator[Store]:
    """Open one store of the settings. Raises `NoSuchStore`, `AddressMissing`."""
    async with open_stores(msgspec.structs.replace(settings, stores=(code,))) as stores:
        yield stores[code]


async def pay_sellers(settings: Settings, code: str) -> None:
    """Pay every seller of a store out who has enough; workers send what gateways are to send."""
    async with _opened(settings, code) as store:
        run = await run_payouts(store, None)
    sums = ", ".join(f"{to_major(amount, currency)} {currency}" for currency, amount in sorted(run.sums.items()))
    console.print(f"{run.payouts} payouts{': ' + sums if sums else ''}")


async def compare_lists(settings: Settings, code: str, days: int, *, as_json: bool) -> None:
    """Compare a store's payments with its gateways' lists and print it. Raises `BooksDiffer` where they do not agree."""
    async with _opened(settings, code) as store:
        report = await reconcile(store, None, since=now() - timedelta(days=days))
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        print_report(report)
    differences = count_differences(report.days)
    if differences:
        raise BooksDiffer(differences)


def print_report(report: Reconciliation) -> None:
    """Print the days, and then each difference."""
    table = Table("Day", "Gateway", "Agree", "Sum", "Missing here", "Missing there", "Differ")
    for day in report.days:
        table.add_row(
            str(day.day), day.gateway, str(day.matched), f"{to_major(day.matched_minor, day.currency)} {day.currency}",
            str(day.missing_here), str(day.missing_there), str(day.differing),
        )  # fmt: skip
    console.print(table)
    for row in report.differences:
        sides = " ".join(
            f"{side} {'-' if minor is None else to_major(minor, row.currency)}"
            for side, minor in (("ours", row.ours_minor), ("theirs", row.theirs_minor))
        )
        console.print(f"{row.day} {row.gateway} {row.fault}: {row.order_number or row.ref} {sides} {row.currency}")
    if report.without_list:
        console.print(f"Not asked, because they keep no list: {', '.join(report.without_list)}", style="dim")

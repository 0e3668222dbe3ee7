"""`tradepost demo`: five stores open on one machine, from nothing, within seconds."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from granian.constants import Interfaces
from granian.server.embed import Server
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from tradepost.app import create_app
from tradepost.cli.archive_work import archived, server_settings
from tradepost.cli.serve import BACKLOG, MOST_OPEN
from tradepost.core.crypto import open_keyring
from tradepost.core.database import Database
from tradepost.core.embedded import EmbeddedServices, embedded_services
from tradepost.core.errors import Conflict, Invalid, Unavailable
from tradepost.core.files import FileStore
from tradepost.core.home import Home, find_home, open_home
from tradepost.core.log import configure_logging
from tradepost.core.settings import HttpSettings, LogSettings, MetricsSettings, Settings, load_settings
from tradepost.flows.install_store import install_store
from tradepost.flows.load_sample import load_sample
from tradepost.flows.preset import find_presets
from tradepost.flows.rotate_keys import check_keys
from tradepost.flows.store import Store, database_name, open_store
from tradepost.migrations import create_database, migrate
from tradepost.web.metrics import Watch
from tradepost.worker import run_worker

TEMPLATE = "tradepost_template"
console = Console()


@dataclass(eq=False)
class NotAPort(Invalid):
    """“{text}” is not a port; it is a whole number from 1 to 65535: PORT=8000 make demo."""

    text: str


@dataclass(eq=False)
class PortTaken(Conflict):
    """Port {port} is in use by another program; choose another one with PORT={other} make demo."""

    port: int
    other: int


@dataclass(eq=False)
class ServerEnded(Unavailable):
    """{what} stopped by itself: {why}"""

    what: str
    why: str


async def run_demo(port: int, wanted: Sequence[str]) -> None:
    """Open the stores and serve until interrupted. Raises a domain error for whatever stands in the way."""
    check_port(port)
    settings = msgspec.structs.replace(load_settings(None, os.environ), http=HttpSettings(port=port))
    presets = find_presets(wanted or settings.stores, settings.presets)
    configure_logging(LogSettings(level="warning"))
    async with AsyncExitStack() as stack:
        home = open_home(find_home(os.environ))
        console.print("Starting PostgreSQL and Valkey …", style="dim")
        services = await stack.enter_async_context(embedded_services(home.path, server_settings(settings)))
        await stack.enter_async_context(archived(services.postgres, settings, home))
        await prepare(services, home, presets)
        stores = {}
        for number, code in enumerate(presets):
            cache_url = f"{services.cache.url}?db={number}"
            stores[code] = await stack.enter_async_context(_open(code, settings, services, cache_url, home))
        console.print(introduction(stores, port))
        await serve(stores, services, port)
    console.print("Stopped. Your data is kept; the next start takes seconds.", style="dim")


def as_port(text: str) -> int:
    """Return the port that somebody typed. Raises `NotAPort`."""
    number = text.strip()
    if not (number.isascii() and number.isdigit() and len(number) <= 5 and 0 < int(number) < 65_536):
        raise NotAPort(text[:40])
    return int(number)


def check_port(port: int) -> None:
    """Refuse a port that somebody listens on. Raises `PortTaken`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                raise PortTaken(port, 9000 if port != 9000 else 9100) from None
            raise


async def prepare(services: EmbeddedServices, home: Home, presets: Mapping[str, Path]) -> None:
    """Create, migrate and fill what is missing; new databases are copies of one migrated template."""
    admin = services.postgres.dsn("postgres")
    await create_database(admin, TEMPLATE)
    await migrate(services.postgres.dsn(TEMPLATE))
    for code in presets:
        if not await create_database(admin, database_name(code), template=TEMPLATE):
            await migrate(services.postgres.dsn(database_name(code)))
    bars = Progress(
        TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), console=console, transient=True
    )
    with bars:
        await asyncio.gather(*(_fill(services, home, code, folder, bars) for code, folder in presets.items()))


async def _fill(services: EmbeddedServices, home: Home, code: str, folder: Path, bars: Progress) -> None:
    owner = await Database.open(services.postgres.dsn(database_name(code)), size=2, statement_timeout_ms=120_000)
    task = bars.add_task(code, total=None)

    def progress(what: str, done: int, whole: int) -> None:
        bars.update(task, description=f"{code} {what}", completed=done, total=whole)

    try:
        settings = await install_store(owner, folder)
        await load_sample(
            owner, FileStore.open(str(home.files(code))), folder, settings, progress, open_keyring("", home.keys)
        )
    finally:
        await owner.close()


@asynccontextmanager
async def _open(
    code: str, settings: Settings, services: EmbeddedServices, cache_url: str, home: Home
) -> AsyncIterator[Store]:
    keys = open_keyring("", home.keys)
    opened = open_store(
        code, settings, dsn=services.postgres.dsn(database_name(code), "tradepost_app"), cache_url=cache_url,
        files_url=str(home.files(code)), keys=keys, is_demo=True,
    )  # fmt: skip
    async with opened as store:
        await check_keys(store.db, store.keys)
        yield store


def introduction(stores: dict[str, Store], port: int) -> Table:
    """Return the table of addresses and of who may sign in."""
    table = Table(
        title=f"All stores: http://localhost:{port}   (Ctrl-C stops)",
        title_justify="left",
        header_style="bold",
        show_lines=True,
    )
    table.add_column("Store", overflow="fold")
    table.add_column("Sign in as (role)", overflow="fold")
    for store in stores.values():
        sample = store.settings.sample
        people = "\n".join(f"{person.username} ({person.role})" for person in sample.sign_ins)
        table.add_row(f"{store.settings.store.name}\n{store.base_url}\nPassword: {sample.password}", people)
    return table


async def serve(stores: dict[str, Store], services: EmbeddedServices, port: int) -> None:
    """Serve pages and run jobs in this process until SIGINT or SIGTERM, or until a server ends by itself."""
    server = Server(
        create_app(stores, watch=Watch(MetricsSettings())),
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGI,
        log_enabled=False,
        backlog=BACKLOG,
        backpressure=MOST_OPEN,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    jobs = [asyncio.create_task(run_worker(store, stop)) for store in stores.values()]
    serving = asyncio.create_task(server.serve())
    watching = asyncio.create_task(services.wait())
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({serving, watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    server.stop()  # type: ignore[no-untyped-call]  # Granian ships it untyped
    for task in (watching, stopping):
        task.cancel()
    await asyncio.wait([serving, *jobs], timeout=5)
    for task in (serving, *jobs):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
    if watching in done:
        raise watching.result()
    if serving in done and not stopping.done():
        raise ServerEnded("The web server", repr(serving.exception()))

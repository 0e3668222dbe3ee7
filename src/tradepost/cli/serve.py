"""`tradepost serve`, `worker` and `migrate`: the same engine on an operator's own PostgreSQL and Redis or Valkey."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from granian import Granian
from granian.constants import Interfaces

from tradepost.app import create_app
from tradepost.core.crypto import open_keyring
from tradepost.core.database import DatabaseUnreachable
from tradepost.core.errors import Invalid
from tradepost.core.home import Home, find_home, open_home
from tradepost.core.log import configure_logging
from tradepost.core.metrics import Exchange
from tradepost.core.settings import Settings, load_settings
from tradepost.core.tracing import Recorder, check_tracing, recording
from tradepost.flows.preset import find_presets
from tradepost.flows.rotate_keys import check_keys
from tradepost.flows.store import Store, database_name, open_store
from tradepost.web.metrics import Watch
from tradepost.web.proxies import networks_of
from tradepost.worker import compose, run_worker

SETTINGS_VARIABLE = "TRADEPOST_SETTINGS_FILE"
# People who watch keep a connection each; the server's own limit would be some hundred and count them like requests.
BACKLOG: Final = 2_048
MOST_OPEN: Final = 20_000


@dataclass(eq=False)
class AddressMissing(Invalid):
    """The setting “{name}” is needed here; it may contain {{database}} for the name of a store's database."""

    name: str


@dataclass(eq=False)
class AddressShared(Invalid):
    """The setting “{name}” must contain {{database}}, because there are several stores and each has a database of its own."""

    name: str


def address(url: str, name: str, database: str) -> str:
    """Return a database address with the store's database filled in. Raises `AddressMissing`."""
    if not url:
        raise AddressMissing(name)
    return url.replace("{database}", database)


def check_addresses(settings: Settings) -> None:
    """Raise `AddressShared` where two stores would write to one database, or read from one replica."""
    database = settings.database
    found = [("url", database.url), ("direct_url", database.direct_url), ("owner_url", database.owner_url)]
    found += [("replica_urls", url) for url in database.replica_urls]
    for name, url in found:
        if len(settings.stores) > 1 and url and "{database}" not in url:
            raise AddressShared(f"database.{name}")


def files_address(url: str, code: str) -> str:
    """Return where a store keeps its files: a folder of its own in the installation's, before what an S3 address asks for."""
    place, mark, options = url.partition("?")
    return f"{place.rstrip('/')}/{code}{mark}{options}"


def files_of(settings: Settings, home: Home, code: str) -> str:
    """Return where a store keeps its files: in the installation's place, or in the home where the settings name none."""
    return files_address(settings.files.url, code) if settings.files.url else str(home.files(code))


def serve_forever(settings_file: Path | None) -> None:
    """Serve in as many processes as the settings say, until interrupted."""
    os.environ[SETTINGS_VARIABLE] = str((settings_file or Path("tradepost.toml")).resolve())
    settings = _settings()
    address(settings.database.url, "database.url", "")
    networks_of((*settings.http.trusted_proxies, *settings.metrics.networks))  # said here, before any process starts
    check_tracing(settings.tracing)
    Granian(
        "tradepost.cli.serve:application", address=settings.http.host, port=settings.http.port, interface=Interfaces.ASGI,
        workers=settings.http.workers, factory=True, log_access=False, backlog=BACKLOG, backpressure=MOST_OPEN,
    ).serve()  # fmt: skip


def _settings() -> Settings:
    return load_settings(Path(os.environ[SETTINGS_VARIABLE]), os.environ)


def application() -> Any:
    """Return the ASGI application of one server process; stores open with its lifespan."""
    settings = _settings()
    configure_logging(settings.log)
    return _Application(settings)


class _Application:
    """Opens the stores when the server starts and closes them when it stops."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.app: Any = None
        self.stack = AsyncExitStack()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self.app(scope, receive, send)

    async def _live(self, receive: Any, send: Any) -> None:
        async with self.stack:
            await receive()
            stores = await self.stack.enter_async_context(open_stores(self.settings))
            http = self.settings.http
            proxies = networks_of(http.trusted_proxies)
            watch = watching(self.settings, "server")
            recorder = await self.stack.enter_async_context(traced(self.settings, stores, "server"))
            self.app = create_app(
                stores, domain=http.domain, secure=http.scheme == "https", proxies=proxies, compress=http.compress, watch=watch,
                recorder=recorder,
            )  # fmt: skip
            leaving = asyncio.create_task(watch.leave(stores))
            await send({"type": "lifespan.startup.complete"})
            await receive()
            leaving.cancel()
        await send({"type": "lifespan.shutdown.complete"})


def watching(settings: Settings, role: str) -> Watch:
    """Return the page of the metrics of a process, which knows of those of its siblings through the home."""
    run = open_home(find_home(os.environ)).run
    return Watch(settings.metrics, Exchange.here(run / "metrics", role), run)


@asynccontextmanager
async def open_stores(settings: Settings) -> AsyncIterator[Mapping[str, Store]]:
    """Open every store of the settings for the length of the block. Raises `AddressMissing`, `AddressShared`, `BadSettings`."""
    check_addresses(settings)
    compose()  # whoever records events must know who subscribes to them
    home = open_home(find_home(os.environ))
    keys = open_keyring(settings.secret_key, home.keys)
    async with AsyncExitStack() as stack:
        stores = {}
        for code in find_presets(settings.stores, settings.presets):
            opened = open_store(
                code, settings, dsn=address(settings.database.url, "database.url", database_name(code)),
                cache_url=address(settings.cache.url, "cache.url", database_name(code)),
                files_url=files_of(settings, home, code), keys=keys, cache_prefix=f"{code}:",
            )  # fmt: skip
            stores[code] = await stack.enter_async_context(opened)
            await _check_keys(stores[code])
        yield stores


@asynccontextmanager
async def traced(settings: Settings, stores: Mapping[str, Store], role: str) -> AsyncIterator[Recorder | None]:
    """Have what these stores do traced for the length of the block, where the settings name a collector."""
    async with recording(settings.tracing, role) as recorder:
        for store in stores.values():
            store.db.recorder = recorder
        try:
            yield recorder
        finally:
            for store in stores.values():
                store.db.recorder = None


async def _check_keys(store: Store) -> None:
    """Refuse to start without a key that something is encrypted with; a database that is away is waited for elsewhere."""
    with suppress(DatabaseUnreachable):
        await check_keys(store.db, store.keys)


async def work_forever(settings: Settings) -> None:
    """Run the jobs of every store until SIGINT or SIGTERM."""
    configure_logging(settings.log)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_stores(settings) as stores, traced(settings, stores, "worker"), asyncio.TaskGroup() as tasks:
        leaving = tasks.create_task(watching(settings, "worker").leave(stores))
        working = [tasks.create_task(run_worker(store, stop)) for store in stores.values()]
        await asyncio.wait(working)
        leaving.cancel()

"""Fixtures: a real PostgreSQL and a real Valkey for each worker, a fresh clone of a migrated database for each test."""

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tests.factories import Factory
from tests.people import visitor
from tests.pooled import direct
from tests.shop import Shop
from tests.visitor import Visitor
from tradepost.core.crypto import Keyring
from tradepost.core.database import Database
from tradepost.core.embedded import embedded_services
from tradepost.core.settings import Settings
from tradepost.flows.install_store import install_store
from tradepost.flows.store import Store, open_store
from tradepost.migrations import create_database, migrate

if TYPE_CHECKING:
    from playwright.async_api import Browser

SHARED_MEMORY, ROOM = Path("/dev/shm"), 3 << 30  # noqa: S108  # a folder of its own within
MARKET = Path(__file__).parent / "presets" / "market"
_real_connect = socket.socket.connect


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that would leave this machine."""

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6} and address[0] not in {"127.0.0.1", "::1", "localhost"}:
            raise AssertionError(f"a test tried to reach {address}")
        _real_connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


class Servers:
    """The database server and the cache of this test worker."""

    def __init__(self, dsn: Callable[[str, str], str], cache_url: str) -> None:
        self.dsn = dsn
        self.cache_url = cache_url
        self.made = 0

    async def clone(self, template: str) -> str:
        """Return the name of a new database, a copy of `template`."""
        self.made += 1
        name = f"t{os.getpid()}_{self.made}"
        await self.command(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy OWNER tradepost_owner')
        return name

    async def drop(self, name: str) -> None:
        """Drop a database and whoever is still connected to it."""
        await self.command(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def command(self, sql: str) -> None:
        """Run one statement as the superuser."""
        connection = await asyncpg.connect(self.dsn("postgres", "postgres"))
        try:
            await connection.execute(sql)
        finally:
            await connection.close()


@contextmanager
def _in_memory() -> Iterator[Path | None]:
    """Give a folder in memory where there is room for one: a clone is a thousand files, ten times dearer on a busy disk."""
    if not SHARED_MEMORY.is_dir() or shutil.disk_usage(SHARED_MEMORY).free < ROOM:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="tradepost-tests-", dir=SHARED_MEMORY) as folder:
        Path(folder).chmod(0o755)  # the database may run as somebody else
        yield Path(folder)


def _named_servers() -> Servers:
    """Return the servers of TRADEPOST_TEST_DATABASE_URL and, for this worker, of TRADEPOST_TEST_CACHE_URL.

    With TRADEPOST_TEST_POOLER_URL the application goes there; whoever makes and drops databases does not.
    """
    server, pooler = os.environ["TRADEPOST_TEST_DATABASE_URL"], os.environ.get("TRADEPOST_TEST_POOLER_URL")
    caches = os.environ["TRADEPOST_TEST_CACHE_URL"].split()
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))

    def dsn(name: str, user: str) -> str:
        scheme, _, rest = (pooler if pooler and user == "tradepost_app" else server).partition("://")
        return f"{scheme}://{user}@{rest.rpartition('@')[2].partition('/')[0]}/{name}"

    return Servers(dsn, caches[worker % len(caches)])


@pytest.fixture(autouse=True, scope="session")
def sessions_beside_the_pooler() -> Iterator[None]:
    """Tell every pool that is opened through the pooler where PostgreSQL itself is, as `database.direct_url` does."""
    given = Database.open.__func__  # type: ignore[attr-defined]  # the class method's own function

    async def opened(cls: type[Database], dsn: str, **options: Any) -> Database:
        return cast("Database", await given(cls, dsn, **{"direct_dsn": direct(dsn)} | options))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "open", classmethod(opened))
        yield


@pytest_asyncio.fixture(scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """Start the embedded servers, or use those that the environment names."""
    async with AsyncExitStack() as stack:
        if "TRADEPOST_TEST_DATABASE_URL" in os.environ:
            yield _named_servers()
            return
        home = stack.enter_context(_in_memory()) or tmp_path_factory.mktemp("home")
        services = await stack.enter_async_context(
            embedded_services(home, {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"})
        )
        yield Servers(services.postgres.dsn, services.cache.url)


@pytest_asyncio.fixture(scope="session")
async def migrated(servers: Servers) -> str:
    """Return the name of a migrated database to clone."""
    name = f"template_migrated_{os.getpid()}"
    await create_database(servers.dsn("postgres", "postgres"), name)
    await migrate(servers.dsn(name, "postgres"))
    return name


@pytest_asyncio.fixture(scope="session")
async def market(servers: Servers, migrated: str) -> str:
    """Return the name of a database with the test preset installed, to clone."""
    name = await servers.clone(migrated)
    owner = await Database.open(servers.dsn(name, "postgres"), size=2)
    await install_store(owner, MARKET)
    await owner.close()
    return name


@pytest_asyncio.fixture
async def database_name(servers: Servers, migrated: str) -> AsyncIterator[str]:
    """Clone the migrated database for one test."""
    name = await servers.clone(migrated)
    yield name
    await servers.drop(name)


@pytest.fixture
def owner_dsn(servers: Servers, database_name: str) -> str:
    """Return the owner's address of the test's database."""
    return servers.dsn(database_name, "postgres")


@pytest_asyncio.fixture
async def db(servers: Servers, database_name: str) -> AsyncIterator[Database]:
    """Open the test's empty database as the server would."""
    opened = await Database.open(servers.dsn(database_name, "tradepost_app"), size=8)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def owner(servers: Servers, database_name: str) -> AsyncIterator[Database]:
    """Open the test's empty database as its owner: no row-level security."""
    opened = await Database.open(servers.dsn(database_name, "postgres"), size=2)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def store_dsn(servers: Servers, market: str) -> AsyncIterator[str]:
    """Clone the database of the test preset for one test; return the server's address of it."""
    name = await servers.clone(market)
    yield servers.dsn(name, "tradepost_app")
    await servers.drop(name)


@pytest.fixture
def installation() -> Settings:
    """Return the settings that a test's store runs with."""
    return Settings(stores=("market",), test_payments=True)


@pytest_asyncio.fixture
async def store(servers: Servers, store_dsn: str, tmp_path: Path, installation: Settings) -> AsyncIterator[Store]:
    """Open a store of its own for one test: the test preset, no people, no listings."""
    opened = open_store(
        "market", installation, dsn=store_dsn, cache_url=servers.cache_url, files_url=str(tmp_path / "files"),
        keys=Keyring.from_secret("test", b"0" * 32), preset_folder=MARKET,
    )  # fmt: skip
    async with opened as store:
        yield store


@pytest_asyncio.fixture
async def browse(store: Store) -> AsyncIterator[Visitor]:
    """Visit the test's store as a browser without scripts would."""
    from tradepost.app import create_app

    app = create_app({store.code: store}, show_costs=True)
    transport = httpx.ASGITransport(app=app, client=(visitor().address, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://market.localhost") as client:
        yield Visitor(client)


@pytest_asyncio.fixture
async def make(store: Store) -> Factory:
    """Make people, listings and the like in the test's store."""
    return Factory(store)


@pytest_asyncio.fixture
async def shop(store: Store, make: Factory) -> Shop:
    """Stand as a buyer in the test's store."""
    return await Shop.open(store, make)


@pytest_asyncio.fixture
async def browser() -> AsyncIterator["Browser"]:
    """Start the Chromium that the runner of the tests found."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        path = os.environ.get("TRADEPOST_CHROMIUM", "/usr/bin/chromium")
        started = await playwright.chromium.launch(executable_path=path, chromium_sandbox=False)
        yield started
        await started.close()


@pytest.fixture
def race() -> Callable[..., Awaitable[list[Any]]]:
    """Run coroutines at once and return their results, errors included."""

    async def run(*work: Awaitable[Any]) -> list[Any]:
        return await asyncio.gather(*work, return_exceptions=True)

    return run


@pytest.fixture
def ids() -> Iterator[UUID]:
    """Return predictable ids, in order."""
    return (UUID(int=n) for n in range(1, 1000))

"""Read replicas, with a real standby: one's own writes are seen, one that lags or is gone is left out, a promoted one takes over."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text
from structlog.testing import LogCapture

from tests.conftest import MARKET, Servers, _in_memory
from tests.people import visitor
from tests.standby import QUICK, standby_of, value
from tests.visitor import Visitor
from tradepost.app import create_app
from tradepost.core import replicas as module
from tradepost.core.crypto import Keyring
from tradepost.core.database import ANYBODY, Database, DatabaseUnreachable
from tradepost.core.embedded import PostgresServer, embedded_postgres
from tradepost.core.errors import DomainError
from tradepost.core.replicas import Replicas, primary_only, reading_after
from tradepost.core.settings import DatabaseSettings, Settings
from tradepost.flows.store import open_store
from tradepost.web.errors import STATUS
from tradepost.web.hosting import Hosting

WHERE = text("SELECT pg_is_in_recovery()")
COUNT = text("SELECT count(*) FROM notes")
ADD = text("INSERT INTO notes VALUES (1)")


@dataclass
class Pair:
    """A primary, its standby, and the database as a server process has it open."""

    primary: PostgresServer
    standby: PostgresServer
    db: Database
    clock: list[float]

    @property
    def replicas(self) -> Replicas:
        """The replicas, probed when a test says so."""
        assert self.db.replicas is not None
        return self.db.replicas

    async def is_replica(self, seen: int = 0) -> object:
        """Say whether a read would come from the standby for somebody who must see everything up to a position."""
        with reading_after(seen):
            return (await self.db.read(WHERE))[0][0]

    async def add(self) -> int:
        """Change something; return the position after it."""
        async with self.db.transaction(actor=ANYBODY) as tx:
            await tx.run(ADD)
        return await self.db.position()

    async def replay(self, until: int) -> None:
        """Let the standby go on, and wait until it has come up to a position."""
        await value(self.standby.dsn(), "SELECT pg_wal_replay_resume()")
        async with asyncio.timeout(120):
            while self.replicas.all[0].replayed < until:
                await self.replicas.probe()

    async def pause(self) -> None:
        """Have the standby receive without showing anything new."""
        await value(self.standby.dsn(), "SELECT pg_wal_replay_pause()")
        async with asyncio.timeout(120):
            while await value(self.standby.dsn(), "SELECT pg_get_wal_replay_pause_state()") != "paused":
                pass


@asynccontextmanager
async def pair_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    monkeypatch.setattr(module, "EVERY_S", 3600)  # tests say when
    clock = [0.0]
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(
            embedded_postgres(folder / "primary", QUICK | {"synchronous_commit": "on"})
        )
        await value(primary.dsn(), "CREATE TABLE notes (number int)")
        standby = await stack.enter_async_context(standby_of(primary.dsn(), folder / "standby"))
        db = await Database.open(both(primary, standby), replica_dsns=[standby.dsn()], most_lag_s=5, size=2)
        stack.push_async_callback(db.close)
        assert db.replicas is not None
        db.replicas._clock = lambda: clock[0]  # time is a test's to say
        pair = Pair(primary, standby, db, clock)
        await pair.replay(await db.position())
        yield pair


@pytest_asyncio.fixture
async def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    with _in_memory() as memory:
        async with pair_in(memory or tmp_path, monkeypatch) as made:
            yield made


def both(*servers: PostgresServer) -> str:
    """Return the address of whichever of two servers takes changes."""
    folders = ",".join(parse_qs(urlsplit(server.dsn()).query)["host"][0] for server in servers)
    return f"postgresql://postgres@/postgres?host={folders}&port=5432,5432&target_session_attrs=primary"


async def test_a_replica_answers_who_may_wait_and_never_who_has_just_written(pair: Pair) -> None:
    db = pair.db
    assert await pair.is_replica() is True
    assert (await db.read(WHERE))[0][0] is False  # nobody said that it may be a moment old
    with reading_after(0):
        assert (await db.read(WHERE, fresh=True))[0][0] is False
        with primary_only():
            assert (await db.read(WHERE))[0][0] is False
        async with db.transaction(actor=ANYBODY, read_only=True) as tx:
            assert await tx.value(WHERE) is True
        async with db.transaction(actor=ANYBODY) as tx:
            assert await tx.value(WHERE) is False
    await pair.pause()
    with reading_after(0):
        await pair.add()
        assert await db.read(COUNT) == [(1,)]  # in the same request: the primary
    position = await db.position()
    await pair.replicas.probe()
    assert await pair.is_replica(seen=position) is False  # in the next request of the same person
    with reading_after(0):
        assert await db.read(COUNT) == [(0,)]  # somebody else
    await pair.replay(position)
    assert await pair.is_replica(seen=position) is True
    with reading_after(position):
        assert await db.read(COUNT) == [(1,)]


async def test_a_replica_that_lags_is_left_out_until_it_has_caught_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogCapture()
    monkeypatch.setattr(module, "_log", Listening(log))
    await pair.pause()
    position = await pair.add()
    for seconds, is_used in ((1, True), (4, True), (7, False), (3 * 3600, False)):
        pair.clock[0] = seconds
        await pair.replicas.probe()
        assert await pair.is_replica() is is_used
    (replica,) = pair.replicas.all
    assert replica.why == "it is 3 hours behind"
    await pair.replay(position)
    assert await pair.is_replica() is True
    assert [entry["event"] for entry in log.entries] == ["replica.left_out", "replica.in_use"]
    assert log.entries[0]["why"] == "it is 6.0 seconds behind"


async def test_when_the_primary_dies_the_promoted_standby_takes_changes_and_is_no_replica(pair: Pair) -> None:
    await pair.add()
    await pair.replay(await pair.db.position())
    os.kill(pair.primary.pid, signal.SIGKILL)
    await pair.primary.wait()
    await pair.replicas.probe()
    assert await pair.is_replica() is True  # what may be a moment old goes on
    assert await value(pair.standby.dsn(), "SELECT pg_promote(true, 60)")
    await pair.replicas.probe()
    assert pair.replicas.all[0].why == "it is no replica any more"
    for attempt in range(5):  # connections that the pool still had to the dead one
        try:
            await pair.add()
            break
        except DatabaseUnreachable:
            assert attempt < 4
    assert await pair.db.read(COUNT) == [(2,)]


async def test_a_replica_that_is_gone_is_left_out_and_nobody_notices(pair: Pair) -> None:
    os.kill(pair.standby.pid, signal.SIGKILL)
    await pair.standby.wait()
    assert await pair.is_replica() is False
    assert pair.replicas.all[0].why.startswith("it does not answer")
    await pair.replicas.probe()
    with reading_after(0):
        async with pair.db.transaction(actor=ANYBODY, read_only=True) as tx:
            assert await tx.value(WHERE) is False


class Page:
    """A page whose first attempt the replica breaks off."""

    def __init__(self, db: Database, breaks: str, *, writes: bool = False) -> None:
        self.db = db
        self.breaks = breaks
        self.writes = writes
        self.answers: list[int] = []

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        """Answer 200 from the primary; what a replica answers is broken off."""
        assert scope["path"] == "/"
        scope["path"] = ""  # as Litestar does, who leaves its marks on what was asked
        status = 200
        try:
            if self.writes:
                async with self.db.transaction(actor=ANYBODY) as tx:
                    await tx.run(ADD)
            async with self.db.transaction(actor=ANYBODY, read_only=True) as tx:
                if not self.answers:
                    await tx.run(text(self.breaks))
                    await tx.value(WHERE)
                status += await tx.value(WHERE)
        except DomainError as error:
            status = STATUS[error.kind]
        self.answers.append(status)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def get(self) -> int:
        """Ask for it, as a browser does."""
        store: Any = SimpleNamespace(code="market", db=self.db, gateways={})
        hosting = Hosting(self, {"market": store}, domain="localhost", secure=False)
        transport = httpx.ASGITransport(app=hosting)
        async with httpx.AsyncClient(transport=transport, base_url="http://market.localhost") as client:
            return (await client.get("/")).status_code


async def test_what_a_replica_breaks_off_is_read_from_the_primary(pair: Pair) -> None:
    conflict = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$"
    page = Page(pair.db, conflict)
    assert (await page.get(), page.answers) == (200, [409, 200])
    (replica,) = pair.replicas.all
    assert replica.why == ""  # it had to clean up, and is well
    page = Page(pair.db, conflict, writes=True)
    assert (await page.get(), page.answers) == (409, [409])  # the primary said that itself, and something was changed
    page = Page(pair.db, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert (await page.get(), page.answers) == (200, [503, 200])
    assert replica.why.startswith("it does not answer")


class Listening:
    """A log that a test reads."""

    def __init__(self, capture: LogCapture) -> None:
        self.capture = capture

    def warning(self, event: str, **what: object) -> None:
        """Note it."""
        self.capture.entries.append({"event": event, **what})

    info = warning


async def test_a_person_sees_what_they_changed_while_the_replica_stands_still(
    servers: Servers, store_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.environ.get("TRADEPOST_TEST_DATABASE_URL"):
        pytest.skip("a standby is made with the embedded server's own programs")
    monkeypatch.setattr(module, "EVERY_S", 3600)
    with _in_memory() as memory:
        name = urlsplit(store_dsn).path[1:]
        async with standby_of(servers.dsn("postgres", "postgres"), (memory or tmp_path) / "standby") as standby:
            settings = Settings(
                stores=("market",), database=DatabaseSettings(replica_urls=(standby.dsn(name, "tradepost_app"),))
            )
            opened = open_store(
                "market", settings, dsn=store_dsn, cache_url=servers.cache_url, files_url=str(tmp_path / "files"),
                keys=Keyring.from_secret("test", b"0" * 32), preset_folder=MARKET,
            )  # fmt: skip
            async with opened as store:
                assert store.db.replicas is not None
                while store.db.replicas.all[0].why:
                    await store.db.replicas.probe()
                await value(standby.dsn(), "SELECT pg_wal_replay_pause()")
                app = create_app({store.code: store})
                transport = httpx.ASGITransport(app=app, client=(visitor().address, 40_000))
                async with httpx.AsyncClient(transport=transport, base_url="http://market.localhost") as client:
                    visit = Visitor(client)
                    await visit.sign_up("newcomer")
                    assert "position" in client.cookies
                    assert (await client.get("/u/newcomer")).status_code == 200
                    position = client.cookies["position"]
                    stranger = httpx.AsyncClient(transport=transport, base_url="http://market.localhost")
                    async with stranger:
                        assert (
                            await stranger.get("/u/newcomer")
                        ).status_code == 404  # the replica has not heard of them
                        for told in (
                            {"tradepost-position": position},
                            {"sec-fetch-dest": "empty"},
                            {"cookie": "position=?"},
                        ):
                            assert (await stranger.get("/u/newcomer", headers=told)).status_code == 200, told
                    assert (await client.get("/")).status_code == 200

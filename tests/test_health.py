"""Whether a store can be served, told within two seconds."""

import asyncio
from collections import namedtuple
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.conftest import Servers
from tradepost.core import health
from tradepost.core.cache import Cache
from tradepost.core.database import SYSTEM, Database
from tradepost.core.health import Probe, liveness, readiness, together
from tradepost.core.jobs import enqueue


@pytest_asyncio.fixture
async def cache(servers: Servers) -> AsyncIterator[Cache]:
    opened = await Cache.open(servers.cache_url, timeout_ms=5000)
    yield opened
    await opened.close()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a busy test machine more time than a load balancer would."""
    monkeypatch.setattr(health, "LONGEST_S", 30.0)


def states(probes: tuple[Probe, ...]) -> dict[str, str]:
    return {probe.name: probe.state for probe in probes}


def test_a_process_that_answers_lives() -> None:
    assert liveness().state == "up"
    assert liveness().uptime_s >= 0


async def test_a_store_with_everything_is_up(db: Database, cache: Cache, tmp_path: Path) -> None:
    found = await readiness(db, cache, tmp_path)
    assert states(found.probes) == {"database": "up", "cache": "up", "jobs": "up", "disk": "up"}
    assert found.state == "up"
    assert found.is_ready


async def test_a_store_without_its_cache_is_degraded_and_serves(db: Database) -> None:
    away = await Cache.open("redis://127.0.0.1:1/0", timeout_ms=50)
    found = await readiness(db, away)
    assert states(found.probes) == {"database": "up", "cache": "degraded", "jobs": "up"}
    assert (found.state, found.is_ready) == ("degraded", True)
    await away.close()


async def test_a_store_without_its_database_is_down(cache: Cache) -> None:
    db = await Database.open("postgresql://tradepost_app@127.0.0.1:1/nowhere")
    found = await readiness(db, cache)
    assert states(found.probes) == {"database": "down", "cache": "up", "jobs": "degraded"}
    assert (found.state, found.is_ready) == ("down", False)
    assert "does not answer" in found.probes[0].detail
    await db.close()


async def test_a_database_that_hangs_is_down_in_time(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LONGEST_S", 0.2)
    silent: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _reader, writer: silent.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    db = await Database.open(f"postgresql://tradepost_app@127.0.0.1:{port}/nowhere")
    found = await readiness(db, cache)
    assert states(found.probes)["database"] == "down"
    assert found.probes[0].detail == "no answer within 0.2 seconds"
    server.close()
    for writer in silent:
        writer.close()
    await db.close()


async def test_jobs_that_wait_long_degrade_a_store(db: Database, cache: Cache) -> None:
    async with db.transaction(actor=SYSTEM) as tx:
        await enqueue(tx, "post.send_parcel")
        await tx.run(text("UPDATE pgqueuer SET execute_after = now() - interval '5 minutes'"))
    found = await readiness(db, cache)
    assert states(found.probes)["jobs"] == "degraded"
    assert found.is_ready
    assert "is a worker running?" in found.probes[2].detail


@pytest.mark.parametrize(("free_mb", "state"), [(10, "down"), (500, "degraded"), (5000, "up")])
async def test_a_full_disk_stops_a_store(
    db: Database, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_mb: int, state: str
) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024  # as shutil's own
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(0, 0, free_mb * 1024 * 1024))
    found = await readiness(db, cache, tmp_path)
    assert states(found.probes)["disk"] == state
    assert found.is_ready == (state != "down")
    assert found.probes[3].detail == f"{free_mb} MB free"


def test_the_whole_is_as_bad_as_its_worst_part() -> None:
    probes = [Probe("a", "up", "", 0), Probe("b", "down", "", 0), Probe("c", "degraded", "", 0)]
    assert together(probes).state == "down"
    assert together([]).state == "up"

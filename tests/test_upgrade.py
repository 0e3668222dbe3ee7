"""Upgrades: said before they are done, given up in time, and tried on a copy first."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest
import pytest_asyncio

from tests.conftest import MARKET, Servers
from tests.test_migrations import REVISIONS, downgrade, with_connection
from tradepost.cli.backup_work import create_backup
from tradepost.cli.migrate import MigrationBlocked, Patience, migrate_store, migrate_stores, plan_of
from tradepost.cli.rehearse import RehearsalDiffers, compare, rehearse_upgrade
from tradepost.core.settings import DatabaseSettings, Settings
from tradepost.migrations import DatabaseTooNew, current_revision, migrate, spares
from tradepost.migrations.spares import LEFT_BEHIND, NoRoomForCopy, check_room, size_of, spare_database

NAME = "tradepost_market"


@pytest_asyncio.fixture
async def dsn(servers: Servers, market: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A store called market, a few revisions behind; the owner's address of it."""
    monkeypatch.setenv("TRADEPOST_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRADEPOST_PRESETS", str(MARKET.parent))
    monkeypatch.chdir(tmp_path)
    await servers.drop(NAME)
    await servers.command(f'CREATE DATABASE "{NAME}" TEMPLATE "{market}" OWNER tradepost_owner')
    await with_connection(servers.dsn(NAME, "postgres"), downgrade("0031"))
    yield servers.dsn(NAME, "postgres")
    await servers.drop(NAME)


@pytest.fixture
def settings(servers: Servers) -> Settings:
    address = servers.dsn("{database}", "postgres").replace("%7Bdatabase%7D", "{database}")
    return Settings(stores=("market",), presets=str(MARKET.parent), database=DatabaseSettings(owner_url=address))


async def databases(servers: Servers) -> int:
    connection = await asyncpg.connect(servers.dsn("postgres", "postgres"))
    try:
        return int(
            await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname ~ '_(plan|rehearse|verify)_'")
        )
    finally:
        await connection.close()


async def test_a_plan_names_every_step_and_what_it_keeps_waiting_and_does_nothing(
    dsn: str, servers: Servers, settings: Settings
) -> None:
    head, *steps = await plan_of("market", settings)
    assert head.startswith(f"market: at 0031, {len(REVISIONS) - 31} to go.")
    assert [step.split()[0] for step in steps] == REVISIONS[31:]
    assert "participants (" in steps[0]
    assert "reading and writing wait" in steps[0]
    assert await current_revision(dsn) == "0031"
    await migrate_stores(settings)
    assert await plan_of("market", settings) == [f"market: at {REVISIONS[-1]}, nothing to do."]
    assert await databases(servers) == 0


async def test_a_migration_that_is_kept_waiting_says_so_and_two_at_once_are_one_after_the_other(dsn: str) -> None:
    holder = await asyncpg.connect(dsn)
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE participants IN ACCESS SHARE MODE")
            with pytest.raises(MigrationBlocked, match=r"at revision 0031 .* a table stayed locked for 1 s"):
                await migrate_store(dsn, "market", Patience(lock_s=1))
    finally:
        await holder.close()
    assert await current_revision(dsn) == "0031"
    assert (
        await asyncio.gather(migrate_store(dsn, "market", Patience()), migrate_store(dsn, "market", Patience()))
        == [None] * 2
    )
    assert await current_revision(dsn) == REVISIONS[-1]


async def test_what_a_killed_command_left_behind_is_dropped_and_what_another_one_uses_is_not(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = servers.dsn("postgres", "postgres")
    left = "tradepost_import_0badcafe"
    await servers.command(f'CREATE DATABASE "{left}"')
    connection = await asyncpg.connect(admin)
    try:
        assert left in [row[0] for row in await connection.fetch(LEFT_BEHIND)]
        async with spare_database(admin, "rehearse") as (mine, _):
            await connection.execute(f'CREATE DATABASE "{mine}"')
            async with spare_database(admin, "plan") as (other, _):
                assert other != mine
            there = {row[0] for row in await connection.fetch("SELECT datname FROM pg_database")}
        assert mine in there
        assert left not in there
        assert not await size_of(connection, mine)
        size = await size_of(connection, "postgres")
        await check_room(connection, size)
        assert size > 1_000_000
        monkeypatch.setattr(spares, "_IS_HERE", "SELECT true")
        monkeypatch.setattr(spares.shutil, "disk_usage", lambda _: SimpleNamespace(free=3 * 2**20))
        with pytest.raises(NoRoomForCopy, match=r"about 5 MB .* and 3 MB are free there"):
            await check_room(connection, 5 * 2**20)
    finally:
        await connection.close()


async def test_only_alerts_that_may_be_filed_wrongly_are_filed_anew(dsn: str) -> None:
    await migrate(dsn, to="0035")
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("""
            INSERT INTO users (id, username, display_name, email) VALUES ('00000000-0000-4000-8000-000000000001', 'keeper', 'Keeper', 'k@example.com');
            INSERT INTO alerts (user_id, name, query, criteria, criteria_hash, is_active, compiled_at, updated_at)
            SELECT '00000000-0000-4000-8000-000000000001', v.name, v.query, v.criteria::jsonb, v.name::bytea, v.name <> 'paused', now(), '2020-01-01Z'
            FROM (VALUES ('brand', '', '{"brands": ["Acme"]}'), ('colour', '', '{"attributes": {"colour": ["red"]}}'), ('words', 'lamp', '{}'),
                         ('named', 'red lamp', '{}'), ('paused', '', '{"brands": ["Acme"]}')) AS v(name, query, criteria);
            INSERT INTO alert_index (term, alert_id, user_id) SELECT '=.colour=red', id, user_id FROM alerts WHERE name = 'named';
        """)
        await migrate(dsn, to="0036")
        rows = await connection.fetch(
            "SELECT name, compiled_at IS NULL, updated_at = '2020-01-01Z' FROM alerts ORDER BY name"
        )
    finally:
        await connection.close()
    assert [row[0] for row in rows if row[1]] == ["brand", "colour", "named"]
    assert all(row[2] for row in rows)


async def test_a_database_of_a_newer_version_is_left_alone(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    await connection.close()
    with pytest.raises(DatabaseTooNew, match="newer version"):
        await migrate(dsn)
    assert await current_revision(dsn) == "9999"


async def test_a_rehearsal_upgrades_a_copy_and_leaves_the_store_alone(
    dsn: str, servers: Servers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    admin = servers.dsn("postgres", "postgres")
    await rehearse_upgrade("market", "", admin)
    said = capsys.readouterr().out
    assert all(f"{revision}: " in said for revision in REVISIONS[31:])
    assert "and the ledger are still there" in " ".join(said.split())
    (tmp_path / "backups").mkdir()
    await create_backup("market", admin, str(tmp_path / "backups"), keep=0, encrypt=False)
    (backup,) = (tmp_path / "backups").glob("*.tpb")
    await rehearse_upgrade("market", str(backup), admin)
    assert await current_revision(dsn) == "0031"
    assert await databases(servers) == 0


def test_a_rehearsal_tells_what_would_be_lost() -> None:
    before = ({"orders": 3, "roles": 2}, {"orders.total_minor": "500"}, 0)
    compare(before, ({"orders": 3, "roles": 4, "new": 9}, {"orders.total_minor": "500"}, 0))
    with pytest.raises(
        RehearsalDiffers, match=r"orders 2 instead of 3; orders.total_minor is gone instead of 500; 1 journals"
    ):
        compare(before, ({"orders": 2, "roles": 2}, {}, 1))

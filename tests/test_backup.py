"""A store as one file and back: whole, genuine, into an empty place, or not at all."""

# ruff: noqa: ASYNC240  # these tests look at files on purpose

import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import MARKET, Servers
from tests.factories import Factory
from tests.shop import Shop
from tradepost.catalog.pictures import add_picture, receive_picture
from tradepost.cli.backup_work import (
    About,
    BackupTooNew,
    StoreNotEmpty,
    create_backup,
    measure,
    place_of,
    restore_backup,
    verify_backup,
    write_sql,
)
from tradepost.core.archive import ArchiveBroken, unpack, write_archive
from tradepost.core.crypto import KeyMissing, Keyring
from tradepost.core.database import SYSTEM
from tradepost.core.files import NoSuchFile
from tradepost.core.settings import Settings
from tradepost.flows.store import open_store

KEYS = Keyring.from_secret("test", b"0" * 32)
NAME = "tradepost_market"


class Yard:
    """A store called market that trades, its server, and a folder for backups."""

    def __init__(self, servers: Servers, folder: Path) -> None:
        self.servers = servers
        self.folder = folder
        self.dsn = servers.dsn("postgres", "postgres")

    async def backup(self, **options: Any) -> str:
        """Make a backup; return its path."""
        before = set(self.folder.glob("*.tpb"))
        await create_backup("market", self.dsn, str(self.folder), **{"keep": 0, "encrypt": False, **options})
        (made,) = set(self.folder.glob("*.tpb")) - before
        return str(made)

    async def contents(self) -> Any:
        """Return rows, sums and what does not balance."""
        connection = await asyncpg.connect(self.servers.dsn(NAME, "postgres"))
        try:
            return await measure(connection)
        finally:
            await connection.close()


@pytest_asyncio.fixture
async def yard(servers: Servers, market: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Yard]:
    monkeypatch.setenv("TRADEPOST_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRADEPOST_PRESETS", str(MARKET.parent))
    monkeypatch.chdir(tmp_path)
    await servers.command(f'CREATE DATABASE "{NAME}" TEMPLATE "{market}" OWNER tradepost_owner')
    async with place_of(servers.dsn("postgres", "postgres")) as place:
        files_url, keys = str(place.home.files("market")), place.keys()
    opened = open_store(
        "market", Settings(stores=("market",), test_payments=True), dsn=servers.dsn(NAME, "tradepost_app"),
        cache_url=servers.cache_url, files_url=files_url, keys=keys, preset_folder=MARKET,
    )  # fmt: skip
    async with opened as store:
        shop = await Shop.open(store, Factory(store))
        await shop.buy(await shop.goods(stock=5), 2)
        from tests.test_pages import photo

        received = await receive_picture(store.files, photo(), most_mb=1)
        async with store.db.transaction(actor=SYSTEM) as tx:
            await add_picture(tx, received)
    (tmp_path / "backups").mkdir()
    yield Yard(servers, tmp_path / "backups")
    await servers.drop(NAME)


@pytest.mark.parametrize("encrypt", [False, True])
async def test_a_store_comes_back_as_it_was(yard: Yard, *, encrypt: bool) -> None:
    before = await yard.contents()
    path = await yard.backup(encrypt=encrypt)
    assert Path(path).stat().st_mode & 0o777 == 0o600
    await verify_backup(path, yard.dsn)
    with pytest.raises(StoreNotEmpty):
        await restore_backup(path, yard.dsn)
    assert await yard.contents() == before
    await yard.servers.drop(NAME)
    async with place_of(yard.dsn) as place:
        files = place.home.files("market")
        kept = sorted(p.relative_to(files) for p in files.rglob("*") if p.is_file())
        for file in files.rglob("*"):
            if file.is_file():
                file.unlink()
        await restore_backup(path, yard.dsn)
        assert sorted(p.relative_to(files) for p in files.rglob("*") if p.is_file()) == kept
    assert len(kept) == 1
    assert await yard.contents() == before


async def test_a_backup_that_was_cut_off_or_changed_is_refused_and_nothing_made(yard: Yard) -> None:
    for encrypt in (False, True):
        path = Path(await yard.backup(encrypt=encrypt))
        data = path.read_bytes()
        for broken in (
            data[: len(data) // 2],
            data[:-11_000],
            data[:3000] + b"?" + data[3001:],
            b"",
            b"nonsense" * 999,
        ):
            path.write_bytes(broken)
            with pytest.raises(ArchiveBroken):
                await verify_backup(str(path), yard.dsn)
        path.write_bytes(data)
    async with place_of(yard.dsn) as place:
        connection = await asyncpg.connect(place.dsn("postgres"))
        left = await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname LIKE 'tradepost_verify%'")
        await connection.close()
    assert left == 0


async def test_a_backup_of_another_installation_needs_its_key(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = await yard.backup(encrypt=True)
    monkeypatch.setenv("TRADEPOST_HOME", str(tmp_path / "other"))
    with pytest.raises(KeyMissing):
        await verify_backup(path, yard.dsn)
    with pytest.raises(NoSuchFile):
        await verify_backup(path + "x", yard.dsn)


async def test_a_backup_of_a_newer_version_is_refused(yard: Yard, tmp_path: Path) -> None:
    path = Path(await yard.backup())
    async with place_of(yard.dsn) as place:
        keys = place.keys()
    folder = tmp_path / "unpacked"
    folder.mkdir()
    about, members = unpack(path, folder, keys, About)
    with write_archive(path, keys, encrypt=False) as archive:
        for name in members:
            archive.add_file(name, folder / name)
        archive.finish(msgspec.structs.replace(about, revision="9999_later"), keys)
    with pytest.raises(BackupTooNew):
        await verify_backup(str(path), yard.dsn)


async def test_the_oldest_backups_go(yard: Yard) -> None:
    for day in (1, 2, 3):
        (yard.folder / f"tradepost-market-2020010{day}T000000000Z.tpb").write_bytes(b"old")
    (yard.folder / "tradepost-market-notes.txt").write_bytes(b"mine")
    new = await yard.backup(keep=2)
    left = sorted(p.name for p in yard.folder.iterdir())
    assert left == ["tradepost-market-20200103T000000000Z.tpb", Path(new).name, "tradepost-market-notes.txt"]


@pytest.mark.parametrize(("only", "there", "absent"), [("schema", "CREATE TABLE public.orders", "COPY public."),
                                                      ("data", "COPY public.orders", "CREATE TABLE")])  # fmt: skip
async def test_sql_holds_the_schema_or_the_data(yard: Yard, tmp_path: Path, only: str, there: str, absent: str) -> None:
    path = tmp_path / "out.sql.gz"
    await write_sql("market", yard.dsn, path, only=only)
    sql = gzip.decompress(path.read_bytes()).decode()
    assert there in sql
    assert absent not in sql


@settings(max_examples=40, deadline=None)
@given(data=st.data(), encrypt=st.booleans(), sizes=st.lists(st.integers(0, 1_200_000), max_size=3))
def test_no_changed_byte_goes_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, encrypt: bool, sizes: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    path = folder / "a.tpb"
    contents = {f"files/{n}": bytes([n + 1]) * size for n, size in enumerate(sizes)}
    with write_archive(path, KEYS, encrypt=encrypt) as archive:
        for name, content in contents.items():
            archive.add(name, content)
        archive.finish({"n": len(sizes)}, KEYS)
    (folder / "whole").mkdir()
    about, members = unpack(path, folder / "whole", KEYS, dict[str, int])
    assert about == {"n": len(sizes)}
    assert {name: (folder / "whole" / name).read_bytes() for name in members} == contents
    raw = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(raw)
    (folder / "changed").mkdir()
    try:
        _, found = unpack(path, folder / "changed", KEYS, dict[str, int])
    except (ArchiveBroken, KeyMissing):
        return
    # what a tar says of owner, mode and padding is not read, so it may change
    assert {name: (folder / "changed" / name).read_bytes() for name in found} == contents

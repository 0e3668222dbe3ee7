"""`tradepost import`: what the five documents' databases hold comes in, once, whole, field by field; what cannot be stays behind."""

import csv
import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import md5
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from tests.conftest import MARKET, Servers
from tests.moving.differences import DIFFERENCES, KEYS, REFUSED
from tradepost.cli.move_in import DatabaseToImportAway, DumpLeavesItsDatabase, DumpMissing, import_database
from tradepost.core.archiving.client import DumpFailed, run_client
from tradepost.core.crypto import Keyring
from tradepost.core.database import SYSTEM, Database
from tradepost.flows.install_store import install_store
from tradepost.flows.move_in import Note, NotThisStore, Report, SourceLacks, Wishes, move_in
from tradepost.flows.move_plan import SYSTEMS, NothingToMoveIn, load_plan
from tradepost.flows.preset import PRESETS, load_preset
from tradepost.ops.books import find_drift

FOLDER = Path(__file__).parent / "moving"
COLUMNS: dict[str, dict[str, str]] = tomllib.loads((FOLDER.parent / "documented" / "columns.toml").read_text("utf-8"))
KEYRING = Keyring.from_secret("test", b"0" * 32)
PEOPLE = 40
COUNTED = ("orders", "order_lines", "order_events", "payments", "ledger_entries", "stock_movements", "user_roles", "audit_log", "categories",
           "loyalty_entries", "messages", "participants", "notices", "prices", "price_history", "sources")  # fmt: skip


class Moving(NamedTuple):
    """A system's database, and a store that it moves into."""

    system: str
    servers: Servers
    source: str
    target: str

    async def run(
        self, *, progress: Callable[[str, int, int], None] | None = None, **wishes: Any
    ) -> tuple[Report, list[Note]]:
        db = await Database.open(self.servers.dsn(self.target, "postgres"), size=2)
        source = await asyncpg.connect(self.servers.dsn(self.source, "postgres"), server_settings={"timezone": "UTC"})
        notes: list[Note] = []
        folder = PRESETS / self.system
        try:
            report = await move_in(
                db, source, load_plan(folder, self.system), load_preset(folder), KEYRING, Wishes(**{"batch": 50} | wishes),
                progress=progress or (lambda *_: None), on_note=notes.append,
            )  # fmt: skip
        finally:
            await db.close()
            await source.close()
        return report, notes

    @asynccontextmanager
    async def connect(self, name: str) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.servers.dsn(name, "postgres"), server_settings={"timezone": "UTC"})
        try:
            yield connection
        finally:
            await connection.close()

    async def state(self) -> dict[str, Any]:
        """Return everything that could change: rows by table, and all that the document shows."""
        async with self.connect(self.target) as there:
            found = {t: await there.fetchval(f"SELECT count(*) FROM {t}") for t in COUNTED}
            for table in COLUMNS[self.system]:
                rows = await there.fetch(f"SELECT t::text FROM documented.{table} t ORDER BY 1")
                found[f"documented.{table}"] = [row[0] for row in rows]
        return found


@pytest_asyncio.fixture(scope="module")
async def stores(servers: Servers, migrated: str) -> AsyncIterator[dict[str, tuple[str, str]]]:
    """Make each system's database and a store of its kind with nothing in it."""
    made: dict[str, tuple[str, str]] = {}
    for system in SYSTEMS:
        source, target = await servers.clone("template0"), await servers.clone(migrated)
        connection = await asyncpg.connect(servers.dsn(source, "postgres"))
        await connection.execute((FOLDER / f"{system}.sql").read_text("utf-8").replace("{n}", str(PEOPLE)))
        await connection.close()
        owner = await Database.open(servers.dsn(target, "postgres"), size=1)
        await install_store(owner, PRESETS / system)
        await owner.close()
        made[system] = source, target
    yield made
    for pair in made.values():
        for name in pair:
            await servers.drop(name)


@pytest_asyncio.fixture(params=SYSTEMS)
async def moving(
    request: pytest.FixtureRequest, servers: Servers, stores: dict[str, tuple[str, str]]
) -> AsyncIterator[Moving]:
    source, template = stores[request.param]
    target = await servers.clone(template)
    yield Moving(request.param, servers, source, target)
    await servers.drop(target)


def imported_id(table: str, number: int) -> UUID:
    """Compute the id that a numbered row gets: zeros, a mark of its table, version 8, the number."""
    mark, number_hex = md5(table.encode()).hexdigest(), f"{number:016x}"  # noqa: S324  # a mark, not a secret
    return UUID(f"00{mark[:6]}-{mark[6:10]}-8000-80{number_hex[2:4]}-{number_hex[4:]}")


def comparable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value
    if isinstance(value, str) and value[:1] in "{[":
        return value.replace(" ", "")
    return value.normalize() if isinstance(value, Decimal) else value


def shown(system: str, table: str, row: asyncpg.Record, *, is_source: bool) -> tuple[Any, ...]:
    """Return the columns of a row that are the same on both sides, in the document's order, with our ids for numbers."""
    left_out = DIFFERENCES[system].get(table, {})
    values = []
    for column in (spec.split()[0] for spec in COLUMNS[system][table].split(", ")):
        if column in left_out and left_out[column] is None:
            continue
        value = row.get(column)
        of = KEYS.get(system, {}).get(f"{table}.{column}")
        if is_source and of and isinstance(value, int):
            value = imported_id(of, value)
        change = left_out.get(column)
        values.append(comparable(change(value, row) if is_source and change else value))
    return tuple(values)


async def both_sides(moving: Moving, table: str, refused: set[str]) -> tuple[Counter[Any], Counter[Any]]:
    async with moving.connect(moving.source) as source, moving.connect(moving.target) as target:
        there = await source.fetch(f"SELECT * FROM {table}")
        here = await target.fetch(f"SELECT * FROM documented.{table}")
    key = "id" if there and "id" in there[0] else next(iter(there[0].keys()))
    expected = Counter(shown(moving.system, table, r, is_source=True) for r in there if str(r[key]) not in refused)
    return expected, Counter(shown(moving.system, table, r, is_source=False) for r in here)


async def test_everything_that_can_be_here_comes_field_by_field_and_a_second_time_changes_nothing(
    moving: Moving,
) -> None:
    report, notes = await moving.run()
    assert report.differences == []
    refused = {(n.table, n.key): n.reason for n in notes if n.is_refused}
    assert sorted({(table, reason) for (table, _), reason in refused.items()}) == sorted(REFUSED[moving.system])
    assert sum(t.tally.here for t in report.tables) > 5 * PEOPLE
    for part in load_plan(PRESETS / moving.system, moving.system).parts:
        if part.table not in COLUMNS[moving.system] or DIFFERENCES[moving.system].get(part.table) == {"*": None}:
            continue
        expected, found = await both_sides(moving, part.table, {key for table, key in refused if table == part.table})
        assert expected, part.table
        assert expected - found == Counter(), part.table
    await check_money_and_timers(moving)
    before = await moving.state()
    again, same_notes = await moving.run()
    assert (again.differences, [t.tally for t in again.tables]) == ([], [t.tally for t in report.tables])
    assert [n for n in same_notes if n.is_refused] == [n for n in notes if n.is_refused]
    assert await moving.state() == before


async def drift_of(moving: Moving) -> int:
    db = await Database.open(moving.servers.dsn(moving.target, "postgres"), size=1)
    async with db.transaction(actor=SYSTEM, read_only=True) as tx:
        found = (await find_drift(tx)).found
    await db.close()
    return found


HELD = """
    SELECT p.state AS paid, f.handed_over_at IS NOT NULL AS is_over,
           coalesce(sum(e.amount_minor) FILTER (WHERE a.kind = 'held'), 0) < 0 AS is_held, bool_or(j.kind = 'imported_payout') AS is_paid_out,
           coalesce(sum(e.amount_minor) FILTER (WHERE a.kind = 'clearing'), 0) > 0 AS is_with_us, f.state
    FROM payments p JOIN fulfilments f USING (order_id) JOIN ledger_journals j ON j.reference = p.id::text JOIN ledger_entries e ON e.journal_id = j.id
    JOIN ledger_accounts a ON a.id = e.account_id AND (a.kind = 'clearing' OR a.owner_id = f.seller_id)
    WHERE j.kind IN ('capture', 'imported_payout', 'imported_refund') AND p.amount_minor > 0 GROUP BY p.id, f.order_id, f.seller_id
"""
WAITING = """
    SELECT count(*) FILTER (WHERE o.due_at IS NULL AND f.due_at IS NULL), count(*) FILTER (WHERE o.due_at > now() OR f.due_at > now()) > 0
    FROM orders o JOIN fulfilments f ON f.order_id = o.id
    WHERE EXISTS (SELECT FROM order_transitions t WHERE t.process = f.process AND t.from_state = f.state AND t.timer IS NOT NULL)
"""


async def check_money_and_timers(moving: Moving) -> None:
    """What was handed over is paid out, what was refunded has left, all else is held; what would move on by itself here will."""
    assert await drift_of(moving) == 0
    async with moving.connect(moving.target) as target:
        rows = [tuple(row) for row in await target.fetch(HELD)]
        forgotten, is_waiting = await target.fetchrow(WAITING)
    if COLUMNS[moving.system].keys() & {"orders", "teseapi_order", "transactions"}:
        assert {row[:4] for row in rows} >= {("success", True, False, True), ("success", False, True, False)}
        assert ("success", False, True, False, True, "cancelled") in rows
        assert (forgotten, is_waiting) == (0, True)
        assert any(paid == "refunded" for paid, *_ in rows)
    for paid, is_over, is_held, is_paid_out, is_with_us, _ in rows:
        if paid == "refunded":
            assert (is_held, is_paid_out, is_with_us) == (False, False, False)
        else:
            assert (is_held, is_paid_out) == (not is_over, is_over)


async def test_money_that_turns_up_for_an_order_that_is_here_is_not_booked(
    servers: Servers, stores: dict[str, tuple[str, str]]
) -> None:
    moving = Moving("tese", servers, *[await servers.clone(name) for name in stores["tese"]])
    await moving.run()
    before = await moving.state()
    async with moving.connect(moving.source) as source:
        failed = await source.fetchval(
            "UPDATE teseapi_order SET status = 'PAID' WHERE id = 5 AND status = 'FAILED' RETURNING id"
        )
        await source.execute(
            "INSERT INTO teseapi_payment SELECT 800000001, id, total_amount, 'stripe', 'SUCCESS', 'late', now() FROM teseapi_order WHERE id = $1", failed,
        )  # fmt: skip
    report, notes = await moving.run()
    assert report.differences == []
    reason = "its order came without it before, and stays as it is here"
    assert Note("teseapi_payment", "800000001", reason, is_refused=True) in notes
    told = "it is here already in another state than there, and stays as it is here"
    assert [(n.table, n.key) for n in notes if n.reason == told] == [("teseapi_order", str(failed))]
    assert await moving.state() == before
    for name in (moving.source, moving.target):
        await servers.drop(name)


async def test_a_killed_import_goes_on_where_it_stopped(moving: Moving) -> None:
    calls = 0

    def die(_what: str, _done: int, _whole: int) -> None:
        nonlocal calls
        calls += 1
        if calls in {6, 17}:
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            await moving.run(progress=die, batch=20)
    report, _ = await moving.run(batch=20)
    assert (report.went_on, report.differences) == (True, [])
    reached = await moving.state()
    whole, _ = await moving.run(from_start=True)
    assert (whole.went_on, [t.tally for t in whole.tables]) == (False, [t.tally for t in report.tables])
    assert await moving.state() == reached


async def test_a_trial_reports_everything_and_leaves_nothing(moving: Moving) -> None:
    before = await moving.state()
    report, notes = await moving.run(dry_run=True)
    assert report.differences == []
    assert {(n.table, n.reason) for n in notes if n.is_refused} == set(REFUSED[moving.system])
    assert await moving.state() == before
    async with moving.connect(moving.target) as target:
        assert await target.fetchval("SELECT count(*) FROM move_in_steps") == 0


async def test_a_database_that_lacks_a_column_is_refused_and_nothing_changed(moving: Moving) -> None:
    part = load_plan(PRESETS / moving.system, moving.system).parts[-1]
    column = next(c for c in part.columns if not c.is_optional and c.name == c.needs[0] and c.name != part.key).name
    before = await moving.state()
    async with moving.connect(moving.source) as source:
        await source.execute(f'ALTER TABLE "{part.table}" RENAME COLUMN "{column}" TO gone')
        try:
            with pytest.raises(SourceLacks) as refusal:
                await moving.run()
        finally:
            await source.execute(f'ALTER TABLE "{part.table}" RENAME COLUMN gone TO "{column}"')
    assert (
        refusal.value.message
        == f"The database to import from is not one of {moving.system}: it lacks {part.table}.{column}."
    )
    assert await moving.state() == before


async def test_a_store_of_another_kind_is_refused(
    servers: Servers, stores: dict[str, tuple[str, str]], market: str
) -> None:
    with pytest.raises(NotThisStore):
        await Moving("omade", servers, stores["omade"][0], market).run()
    with pytest.raises(NothingToMoveIn):
        load_plan(PRESETS / "omade", "tese")
    with pytest.raises(NothingToMoveIn):
        load_plan(MARKET, "omade")


async def test_the_command_reports_and_lists_what_was_refused(
    servers: Servers, stores: dict[str, tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    source, template = stores["omade"]
    target = await servers.clone(template)
    await servers.command("DROP DATABASE IF EXISTS tradepost_omade")
    await servers.command(f'ALTER DATABASE "{target}" RENAME TO tradepost_omade')
    monkeypatch.setenv("TRADEPOST_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    listed = tmp_path / "refused.csv"
    await servers.command(f"ALTER DATABASE \"{source}\" SET idle_in_transaction_session_timeout = '1ms'")
    try:
        await import_database(
            "omade", servers.dsn(source, "postgres"), "omade", Wishes(), report=listed, database=servers.dsn("postgres", "postgres")
        )  # fmt: skip
        said = capsys.readouterr().out
        assert "orders: 1 refused, because it has no lines" in said
        with listed.open(encoding="utf-8", newline="") as lines:
            rows = [tuple(row.values()) for row in csv.DictReader(lines)]
        assert ("users", "bad00000-0000-0000-0000-000000000004", "refused", "the role is not one of the four") in rows
        with pytest.raises(DatabaseToImportAway):
            await import_database(
                "omade", servers.dsn("nowhere", "postgres"), "omade", Wishes(), report=listed, database=servers.dsn("postgres", "postgres")
            )  # fmt: skip
    finally:
        await servers.command(f'ALTER DATABASE "{source}" RESET idle_in_transaction_session_timeout')
        await servers.command("DROP DATABASE tradepost_omade WITH (FORCE)")


@pytest.mark.parametrize(
    ("beyond", "said"),
    [("\\connect other", "\\connect"), ("\\c other", "\\c"), (" create  database x;", "create  database"), ("DROP DATABASE x;", "DROP DATABASE"),
     ("CREATE ROLE x;", "CREATE ROLE"), ("ALTER ROLE x SUPERUSER;", "ALTER ROLE")],
)  # fmt: skip
async def test_a_dump_that_reaches_beyond_its_database_is_refused_but_its_rows_may_say_anything(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beyond: str, said: str
) -> None:
    monkeypatch.setenv("TRADEPOST_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    dump, rows = (
        tmp_path / "old.sql",
        "CREATE TABLE t (a text);\nCOPY public.t (a) FROM stdin;\nDROP DATABASE x;\n\\connect y\n\\.\n",
    )
    given = {"report": tmp_path / "refused.csv", "database": servers.dsn("postgres", "postgres")}
    dump.write_text(f"{rows}{beyond}\n", "utf-8")
    with pytest.raises(DumpLeavesItsDatabase) as refusal:
        await import_database("omade", str(dump), "omade", Wishes(), **given)
    assert (refusal.value.line, refusal.value.said) == (6, said)


@pytest.mark.parametrize("form", ["custom", "plain"])
async def test_a_dump_is_restored_beside_imported_and_dropped(
    servers: Servers, stores: dict[str, tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    source, template = stores["marketplace-watch"]
    monkeypatch.setenv("TRADEPOST_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    server = servers.dsn("postgres", "postgres")
    dump, listed = tmp_path / "old.dump", tmp_path / "refused.csv"
    await run_client("pg_dump", servers.dsn(source, "postgres"), f"--format={form}", f"--file={dump}")
    name = await servers.clone(template)
    await servers.command("DROP DATABASE IF EXISTS tradepost_marketplace_watch")
    await servers.command(f'ALTER DATABASE "{name}" RENAME TO tradepost_marketplace_watch')
    given = {"report": listed, "database": server}
    try:
        await import_database("marketplace-watch", str(dump), "marketplace-watch", Wishes(), **given)
        with pytest.raises(DumpMissing):
            await import_database("marketplace-watch", "nothing.dump", "marketplace-watch", Wishes(), **given)
        if form == "plain":
            dump.write_bytes(dump.read_bytes() + b"\\connect postgres\n")
            with pytest.raises(DumpLeavesItsDatabase):
                await import_database("marketplace-watch", str(dump), "marketplace-watch", Wishes(), **given)
        dump.write_bytes(dump.read_bytes()[:3000] + b"; SELECT nothing;")
        with pytest.raises(DumpFailed):
            await import_database("marketplace-watch", str(dump), "marketplace-watch", Wishes(), **given)
        connection = await asyncpg.connect(servers.dsn("tradepost_marketplace_watch", "postgres"))
        assert await connection.fetchval("SELECT count(*) FROM listings") == 3 * PEOPLE
        assert (
            await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname LIKE 'tradepost_import_%'") == 0
        )
        await connection.close()
    finally:
        await servers.command("DROP DATABASE tradepost_marketplace_watch WITH (FORCE)")

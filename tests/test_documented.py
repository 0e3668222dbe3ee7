"""The schema `documented`: every table and type of the five documents, their queries as they stand, and sums that are right."""

import re
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from tests.conftest import Servers
from tests.pooled import direct
from tradepost.core.database import Database
from tradepost.core.money import _EXPONENTS, to_major
from tradepost.core.settings import Settings
from tradepost.flows.install_store import install_store
from tradepost.flows.preset import PRESETS
from tradepost.migrations import migrate

STORES = Settings().stores
FOLDER = Path(__file__).parent / "documented"
COLUMNS: dict[str, dict[str, str]] = tomllib.loads((FOLDER / "columns.toml").read_text("utf-8"))
SHORT, LONG = "documented", "documented, public, pg_catalog"
ANN, BEN, SHOP = (UUID(int=n) for n in (1, 2, 3))
LOAF, ROLL = UUID(int=0x11), UUID(int=0x12)
SUMS = ("product_stats", "user_order_summary", "daily_sales")  # every store has them, after the bakery's document
WORDS = {
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "varchar": "character varying",
}
VIEWS = """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    WHERE c.relnamespace = 'documented'::regnamespace AND c.relkind = 'v' AND c.relname NOT LIKE 'pg_stat%'
    ORDER BY c.relname, a.attnum
"""


class Query(NamedTuple):
    """A statement of a document, with what its notes say."""

    sql: str
    path: str
    given: tuple[str, ...]
    fails: str
    returns: str


def queries(store: str) -> list[Query]:
    """Read a document's statements; those that stand between empty lines belong together with the notes above them."""
    found = []
    for block in re.split(r"\n\s*\n", (FOLDER / f"{store}.sql").read_text("utf-8")):
        lines = block.strip().splitlines()
        notes = dict(line.removeprefix("-- ").partition(":")[::2] for line in lines if line.startswith("--"))
        sql = "\n".join(line for line in lines if not line.startswith("--"))
        given = tuple(word.strip() for word in notes.get("with", "").split(",") if word.strip())
        if sql:
            path = LONG if "long path" in notes else SHORT
            found.append(Query(sql, path, given, notes.get("fails", "").strip(), notes.get("returns", "").strip()))
    return found


QUERIES = [
    pytest.param(store, query, id=f"{store}-{n}") for store in STORES for n, query in enumerate(queries(store), 1)
]


class Reporter:
    """The stores' databases with a few rows in each, as somebody sees them who makes reports."""

    def __init__(self, servers: Servers, names: dict[str, str]) -> None:
        self.servers = servers
        self.names = names

    @asynccontextmanager
    async def connect(
        self, store: str, path: str = SHORT, role: str = "tradepost_readonly"
    ) -> AsyncIterator[asyncpg.Connection]:
        dsn = self.servers.dsn(self.names[store], role)  # a pooler does not keep a search path
        connection = await asyncpg.connect(direct(dsn) or dsn, server_settings={"search_path": path})
        try:
            yield connection
        finally:
            await connection.close()

    async def rows(self, store: str, sql: str) -> list[tuple[Any, ...]]:
        async with self.connect(store) as connection:
            return [tuple(row) for row in await connection.fetch(sql)]


@pytest_asyncio.fixture(scope="module")
async def reporter(servers: Servers, migrated: str) -> AsyncIterator[Reporter]:
    """Install the five stores and put the same rows into each."""
    names = {}
    for store in STORES:
        names[store] = await servers.clone(migrated)
        owner = await Database.open(servers.dsn(names[store], "postgres"), size=1)
        await install_store(owner, PRESETS / store)
        await owner.close()
        connection = await asyncpg.connect(servers.dsn(names[store], "postgres"))
        await connection.execute("BEGIN; " + (FOLDER / "rows.sql").read_text("utf-8") + "; COMMIT")
        await connection.close()
    yield Reporter(servers, names)
    for name in names.values():
        await servers.drop(name)


def spelled(types: str) -> list[tuple[str, str]]:
    """Return names and types of columns as PostgreSQL spells them."""
    columns = []
    for column in re.split(r",\s+", types):
        name, _, kind = column.partition(" ")
        word, bracket, length = kind.partition("(")
        columns.append((name, WORDS.get(word, word) + bracket + length))
    return columns


@pytest.mark.parametrize("store", STORES)
async def test_every_table_and_view_of_a_document_is_there_with_its_columns_and_types(
    reporter: Reporter, store: str
) -> None:
    found: dict[str, list[tuple[str, str]]] = {}
    async with reporter.connect(store, LONG) as connection:
        for view, column, kind in await connection.fetch(VIEWS):
            found.setdefault(view, []).append((column, kind))
    sums = {name: columns for name in SUMS if name not in COLUMNS[store] and (columns := found.pop(name))}
    assert found == {table: spelled(types) for table, types in COLUMNS[store].items()}
    for name, columns in sums.items():
        assert [column for column, _ in columns] == [column for column, _ in spelled(COLUMNS["omade"][name])]


@pytest.mark.parametrize("store", STORES)
async def test_every_table_can_be_read_by_who_makes_reports(reporter: Reporter, store: str) -> None:
    empty = set()
    async with reporter.connect(store) as connection:
        for table in COLUMNS[store]:
            if not await connection.fetch(f"SELECT * FROM {table}"):
                empty.add(table)
    assert empty <= {"teseapi_location", "stream_products", "badges"}


@pytest.mark.parametrize(("store", "query"), QUERIES)
async def test_the_queries_of_the_documents_run_as_they_stand(reporter: Reporter, store: str, query: Query) -> None:
    known = {"ann": ANN, "loaf": LOAF, "vector": str([0.0] * 384)}
    async with reporter.connect(store, query.path) as connection:
        if query.sql.startswith("EXECUTE"):
            (prepared,) = (q.sql for q in queries(store) if q.sql.startswith("PREPARE"))
            await connection.execute(prepared)
        if "vector" in query.given:
            await connection.set_type_codec("vector", schema="public", encoder=str, decoder=str, format="text")
        if "category" in query.given:
            known["category"] = await connection.fetchval("SELECT category_id FROM products LIMIT 1")
        given = [known[g] if g in known else _number(g) for g in query.given]
        if query.fails:
            with pytest.raises(asyncpg.PostgresError, match=query.fails):
                await _run(connection, query.sql, given)
            return
        rows = await _run(connection, query.sql, given)
        if query.returns:
            assert [row[0] for row in rows] == [query.returns]


def _number(word: str) -> Any:
    return word.strip("'") if word.startswith("'") else Decimal(word)


async def _run(connection: asyncpg.Connection, sql: str, given: list[Any]) -> list[Any]:
    if sql.startswith(("PREPARE", "EXECUTE")):
        await connection.execute(sql)
        return []
    statement = await connection.prepare(sql)
    wanted = [parameter.name for parameter in statement.get_parameters()]
    return list(await statement.fetch(*(_fit(value, kind) for value, kind in zip(given, wanted, strict=True))))


def _fit(value: Any, kind: str) -> Any:
    if not isinstance(value, Decimal):
        return value
    return {"numeric": value, "float8": float(value)}.get(kind, int(value))


async def test_the_prepared_query_answers_for_a_person(reporter: Reporter) -> None:
    async with reporter.connect("omade") as connection:
        await connection.execute(next(q.sql for q in queries("omade") if q.sql.startswith("PREPARE")))
        found = await connection.fetch(f"EXECUTE get_user_orders('{ANN}', 'delivered')")
    assert [(row["total_amount"], row["payment_status"], row["payment_reference"]) for row in found] == [
        (Decimal("30.00"), "paid", "ref_N2"), (Decimal("20.00"), "paid", "ref_N1")
    ]  # fmt: skip


async def test_reviews_and_sales_do_not_multiply_each_other(reporter: Reporter) -> None:
    loaf, roll = await reporter.rows(
        "omade", "SELECT name, avg_rating, review_count, total_sold, stock, price FROM product_stats ORDER BY name"
    )
    assert loaf == ("Loaf", Decimal("3.5"), 2, 5, 20, Decimal("25.99"))
    assert roll == ("Roll", 0, 0, 0, None, Decimal("25.99"))
    (wrong,) = (q.sql for q in queries("omade") if "LEFT JOIN reviews" in q.sql)
    theirs = [row for row in await reporter.rows("omade", wrong.rstrip(";")) if row[1] == "Loaf"]
    assert theirs[0][-2:] == (
        6,
        24,
    )  # two reviews times three sales; twelve pieces, delivered or not, times two reviews


async def test_sums_by_person_and_by_day_are_of_delivered_orders(reporter: Reporter) -> None:
    people = await reporter.rows(
        "omade", "SELECT name, total_orders, total_spent, loyalty_points FROM user_order_summary ORDER BY name"
    )
    assert people == [("Ann", 2, Decimal("50.00"), 70), ("Ben", 0, 0, 0), ("Shop", 0, 0, 0)]
    days = await reporter.rows(
        "omade", "SELECT * FROM daily_sales"
    )  # three o'clock in London is the evening before in Boston
    assert days == [
        (date(2026, 3, 1), 1, Decimal("30.00"), Decimal("30.00")), (date(2026, 2, 28), 1, Decimal("20.00"), Decimal("20.00"))
    ]  # fmt: skip


async def test_amounts_add_up_in_every_store(reporter: Reporter) -> None:
    assert await reporter.rows("tese", "SELECT status, sum(total_amount) FROM teseapi_order GROUP BY status ORDER BY 1") == [
        ("DELIVERED", Decimal("50.00")), ("PENDING", Decimal("70.00"))
    ]  # fmt: skip
    assert await reporter.rows("tese", "SELECT status, sum(amount) FROM teseapi_payment GROUP BY status ORDER BY 1") == [
        ("INITIATED", Decimal("70.00")), ("SUCCESS", Decimal("50.00"))
    ]  # fmt: skip
    assert await reporter.rows("shop-assistant", "SELECT sum(total_amount), (SELECT sum(total_price) FROM order_items) FROM orders") == [
        (Decimal("120.00"), Decimal("120.00"))
    ]  # fmt: skip
    assert await reporter.rows("souk-loop", "SELECT status, sum(subtotal), sum(platform_fee), sum(seller_payout) FROM transactions GROUP BY status ORDER BY 1") == [
        ("completed", Decimal("5.000"), Decimal("0.250"), Decimal("4.750")), ("pending", Decimal("7.000"), Decimal("0.350"), Decimal("6.650"))
    ]  # fmt: skip


async def test_amounts_have_the_decimals_of_their_currency(reporter: Reporter) -> None:
    async with reporter.connect("omade") as connection:
        for currency in (*_EXPONENTS, "USD", "EUR"):
            found = await connection.fetchval("SELECT public.major_units(123456, $1)", currency)
            assert found == to_major(123456, currency), currency


@pytest.mark.parametrize(("store", "table", "secret"), [
    ("omade", "users", "password_hash"), ("tese", "teseapi_user", "password"), ("shop-assistant", "users", "password_hash"),
    ("marketplace-watch", "users", "password_hash"), ("souk-loop", "users", "hashed_password"),
])  # fmt: skip
async def test_no_password_is_shown(reporter: Reporter, store: str, table: str, secret: str) -> None:
    assert await reporter.rows(store, f"SELECT DISTINCT {secret} FROM {table}") == [("!",)]


@pytest.mark.parametrize("store", STORES)
async def test_reports_read_what_is_not_secret_and_change_nothing(reporter: Reporter, store: str) -> None:
    table = next(iter(COLUMNS[store]))
    async with reporter.connect(store) as connection:
        for change in (
            f"DELETE FROM {table}",
            f"UPDATE {table} SET id = id",
            "CREATE TABLE documented.mine (id integer)",
        ):
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ObjectNotInPrerequisiteStateError)):
                await connection.execute(change)
        for secret in ("SELECT token_hash FROM public.tokens", "SELECT data FROM public.sessions", "SELECT body FROM public.messages",
                       "SELECT data_enc FROM public.verifications", "SELECT letter_enc FROM public.mails"):  # fmt: skip
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(secret)


@pytest.mark.parametrize("store", STORES)
async def test_every_view_asks_the_tables_for_the_rights_of_who_reads(reporter: Reporter, store: str) -> None:
    async with reporter.connect(store, LONG) as connection:
        found = await connection.fetch(
            "SELECT relname, relowner::regrole::text FROM pg_class WHERE relnamespace = 'documented'::regnamespace AND relkind = 'v' "
            "AND (relowner <> 'tradepost_owner'::regrole OR NOT coalesce(reloptions, '{}') @> ARRAY['security_invoker=true'])"
        )
    assert found == []


async def test_the_server_sees_through_the_views_what_the_actor_may_see(reporter: Reporter) -> None:
    async with reporter.connect("omade", role="tradepost_app") as connection, connection.transaction():
        assert await connection.fetchval("SELECT count(*) FROM orders") == 0
        await connection.execute(f"SET LOCAL app.role = 'person'; SET LOCAL app.user_id = '{BEN}'")
        assert await connection.fetchval("SELECT count(*) FROM orders") == 1


async def test_souk_loops_point_is_where_it_says(reporter: Reporter) -> None:
    async with reporter.connect("souk-loop") as connection:
        metres = await connection.fetchval(
            "SELECT st_distance(l.location, r.location) FROM products l, products r WHERE l.title = 'Loaf' AND r.title = 'Roll'"
        )
        talk = await connection.fetchrow("SELECT buyer_id, seller_id, product_id FROM conversations")
    assert metres == pytest.approx(116_100, rel=0.01)
    assert tuple(talk) == (ANN, SHOP, LOAF)


async def test_a_migration_drops_the_views_and_installing_brings_them_back(
    servers: Servers, database_name: str, owner: Database, tmp_path: Path
) -> None:
    dsn = servers.dsn(database_name, "postgres")
    exists = "SELECT to_regclass('documented.product_stats') IS NOT NULL"
    await install_store(owner, PRESETS / "omade")
    connection = await asyncpg.connect(dsn)
    try:
        before = await connection.fetchval("SELECT 'documented.product_stats'::regclass::oid")
        await install_store(owner, PRESETS / "omade")
        assert (
            await connection.fetchval("SELECT 'documented.product_stats'::regclass::oid") == before
        )  # nothing to do, nothing done
        await migrate(dsn)
        assert await connection.fetchval(exists) is True
        await connection.execute("UPDATE alembic_version SET version_num = '0001'")
        with pytest.raises(Exception, match="already exists"):
            await migrate(dsn)
        assert await connection.fetchval(exists) is False
        newest = await connection.fetchval("SELECT version_num FROM alembic_version")
        assert newest == "0001"
        await install_store(owner, PRESETS / "omade")
        assert await connection.fetchval(exists) is True
    finally:
        await connection.close()


async def test_a_preset_without_a_document_has_the_views_of_sums(servers: Servers, market: str) -> None:
    connection = await asyncpg.connect(servers.dsn(market, "postgres"))
    try:
        found = await connection.fetch(VIEWS)
    finally:
        await connection.close()
    assert {view for view, _, _ in found} == set(SUMS)

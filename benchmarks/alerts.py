"""Matching new listings against 10,000 to 2,000,000 alerts, beside a plain scan of what they require; crowds.

Listings have the titles of real products (`chorus_icecat`) with one of 1,400 models, 300 categories, prices over three orders of magnitude, 300 towns. Alerts
ask for one to three words of such a title, most with a price and many with a place; for a category with a price and a place; for a
brand; and one in a hundred for everything in a category, which few categories have many of, as with people. Two people ask for each.
They are filed by the store's own code. In the end there are twice as many: the second half is like the first, but each asks for what no listing has, another continent or a
price beyond all. Draws how time grows into docs/images/alerts-growth.svg; TRADEPOST_BENCH_ALERTS limits the number of alerts.
"""

import asyncio
import itertools
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from sqlalchemy import text

from benchmarks.catalogue import Product, read_catalogue
from benchmarks.chart import Line, growth_chart
from benchmarks.ground import Ground, ground
from tradepost.alerts.compiling import lex, row_of, shares_of
from tradepost.alerts.criteria import Needs
from tradepost.alerts.filing import Filed, file_alert
from tradepost.alerts.matching import Change, find_by_scan, find_matches, find_page, record_matches
from tradepost.core.database import SYSTEM, Database
from tradepost.flows.install_store import install_store
from tradepost.flows.preset import PRESETS
from tradepost.migrations import create_database, migrate
from tradepost.search.counting import count_terms

_ADD_CROWD = text("""
    WITH made AS (INSERT INTO alerts (id, user_id, name, query, criteria_hash)
                  SELECT k, :owner, 'crowd', 'x', uuid_send(k) FROM (SELECT gen_random_uuid() AS k FROM generate_series(1, :n)) AS s
                  RETURNING id)
    INSERT INTO alert_index (term, alert_id, user_id, wants) SELECT 'crowdword', id, :owner, 'crowdword' FROM made
""")
_WORD = text("""
    UPDATE search_documents SET words = CASE WHEN :word THEN words || 'crowdword:1'::tsvector ELSE ts_delete(words, 'crowdword') END
    WHERE listing_id = :id
""")
STORE, NAME = "tese", "bench_alerts_makes"
LISTINGS, PROBES, CATEGORIES, TOWNS, MODELS = 20_000, 400, 300, 300, 1_400
SIZES = (10_000, 100_000, 1_000_000)
CROWD = 50_000
ASKERS = 2  # of each wish
TELLING = 40  # so few of the 19,406 products have a word that says what is meant: most wishes are made of such words
_CHUNK = 20_000
_OWNER = UUID(int=1)
CHART = Path(__file__).parents[1] / "docs" / "images" / "alerts-growth.svg"
_LISTINGS = """
    INSERT INTO listings (id, seller_id, kind, feed, slug, title, description, category_id, brand, status, published_at, location,
                          price_minor, price_to_minor, currency, unit, in_stock)
    SELECT id, $8, 'product', 'discover', 'x', title, '', (SELECT c.id FROM categories c WHERE c.slug = category), nullif(brand, ''), 'active',
           now(), geo_point(lat, lon), price, price, 'USD', 'piece', true
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::float8[], $7::float8[])
         AS l(id, title, category, brand, price, lat, lon)
"""


class Market:
    """What is offered and what is asked for: real titles, invented categories, towns and prices."""

    def __init__(self, products: Sequence[Product], seed: int = 5) -> None:
        self.chance = random.Random(seed)  # noqa: S311  # plausible, not secret
        self.products = [p for p in products if len(p.name.split()) > 2]
        counts = Counter(w for p in self.products for w in set(_words(p)))
        self.telling = {w for w, n in counts.items() if n <= TELLING}
        self.towns = [(self.chance.uniform(-22, -16), self.chance.uniform(26, 33)) for _ in range(TOWNS)]
        self.town_weights = list(itertools.accumulate(1 / (n + 3) for n in range(TOWNS)))
        self.wanted = list(itertools.accumulate(1 / (n + 1) ** 1.2 for n in range(CATEGORIES)))

    def town(self) -> tuple[float, float]:
        """Return a town, large ones more often."""
        return self.chance.choices(self.towns, cum_weights=self.town_weights)[0]

    def price(self) -> int:
        """Return a price in minor units: around 50, between 1 and some thousands."""
        return max(100, int(self.chance.lognormvariate(8.5, 1.3)))

    def listings(self, count: int) -> list[tuple[UUID, str, str, str, int, float, float]]:
        """Return so many listings."""
        made = []
        for _ in range(count):
            product, (lat, lon) = self.chance.choice(self.products), self.town()
            category = f"c{self.chance.randrange(CATEGORIES)}"
            title = f"{product.name[:200]} {self.model()}"
            made.append((uuid4(), title, category, product.brand[:80], self.price(), lat, lon))
        return made

    def needs(self, *, hopeless: bool) -> Needs:
        """Return what somebody asks for; `hopeless` is what no listing has."""
        chance, kind = self.chance, self.chance.random()
        product = chance.choice(self.products)
        every = _words(product) or ["cable"]
        telling = [w for w in every if w in self.telling]
        is_plain = not telling or chance.random() < 0.03  # words that many things have
        words = every if is_plain else telling
        model = [self.model()] if not is_plain and chance.random() < 0.8 else []
        is_plain = not model  # and so with a place
        start, price = chance.randrange(len(words)), self.price()
        near, radius, groups = None, None, []
        low: int | None = None
        high: int | None = price
        if kind < 0.60:
            taken = [*words[start : start + (1 if kind < 0.15 else 2)], *model]
            high = high if chance.random() < 0.7 or kind < 0.15 else None
            near = self.town() if is_plain or chance.random() < 0.4 or kind < 0.15 else None
        elif kind < 0.80:
            taken, low, high, near = [], price, price * 3, self.town()
            groups = [(f"=category={self.category()}",)]
        elif kind < 0.90 and product.brand:
            near = self.town() if is_plain else None
            taken, groups = [*words[start : start + 1], *model], [(f"=brand={product.brand[:80].lower()}",)]
        elif kind < 0.99:
            taken, high = [*words[start : start + 3], *model], None
            near = self.town() if is_plain else None
        else:
            taken, high, groups = [], None, [(f"=category={self.category()}",)]
        if near:
            radius = chance.choice((10_000.0, 25_000.0, 50_000.0))
        if hopeless and near:
            near = (near[0] + 60, near[1])
        elif hopeless:
            low, high = 10**9, 10**10
        return Needs(
            words=tuple(dict.fromkeys(taken)), any_of=tuple(groups), min_minor=low, max_minor=high,
            currency="USD" if high or low else None, near=near, radius_m=radius,
        )  # fmt: skip

    def model(self) -> str:
        """Return a word that tells one make of a thing from the others."""
        return f"mx{self.chance.randrange(MODELS)}"

    def category(self) -> str:
        """Return a category to ask for: few have most of the askers."""
        return f"c{self.chance.choices(range(CATEGORIES), cum_weights=self.wanted)[0]}"


def _words(product: Product) -> list[str]:
    return [w.lower() for w in product.name.split() if w.isalnum() and len(w) > 2]


async def measure(data: Path) -> dict[str, Any]:
    """Measure every size, and the last one doubled by alerts that nothing fits; return the figures before that, and draw how they grow."""
    limit = int(os.environ.get("TRADEPOST_BENCH_ALERTS", 2 * SIZES[-1]))
    fitting = [n for n in SIZES if n <= limit] or [limit]
    doubled = 2 * fitting[-1]
    sizes = [*fitting, doubled] if doubled <= limit else fitting
    async with ground(shared_buffers="3GB", effective_cache_size="8GB") as on:
        market = Market(read_catalogue(data))
        changes = await _prepare(on, market)
        db = await Database.open(on.dsn(NAME), size=4, statement_timeout_ms=3_600_000)
        try:
            grown: dict[int, dict[str, float]] = {}
            beside: dict[str, Any] = {}
            filed = 0
            for size in sizes:
                await _ask(on, db, market, size - filed, hopeless=size == doubled)
                filed = size
                grown[size] = await _measure(db, changes)
                print(f"{size:,} alerts: {grown[size]}", flush=True)
                if size == fitting[-1]:
                    beside = await _crowd(db, changes)
                    print(f"  {beside}", flush=True)
            found = grown[fitting[-1]]
            if doubled in grown:
                found["growth"] = round(grown[doubled]["mean_cpu_ms"] / found["mean_cpu_ms"], 2)
            if len(grown) > 2:
                CHART.write_text(_chart(grown), "utf-8")
            return found | beside
        finally:
            await db.close()


async def _prepare(on: Ground, market: Market) -> list[Change]:
    """Return listings that are matched as if they were new, of a store that is made once; nobody asks for anything yet."""
    await create_database(on.dsn("postgres", "postgres"), NAME)
    await migrate(on.dsn(NAME, "postgres"))
    connection = await asyncpg.connect(on.dsn(NAME, "postgres"), command_timeout=3600)
    try:
        if await connection.fetchval("SELECT count(*) FROM search_terms") == 0:
            await _make(on, market)
        await connection.execute("TRUNCATE alerts, alert_wide_terms, alert_queue, notices CASCADE")
        rows = await connection.fetch("SELECT listing_id FROM search_documents ORDER BY listing_id LIMIT $1", PROBES)
    finally:
        await connection.close()
    return [Change(row[0], True, None, False) for row in rows]


async def _make(on: Ground, market: Market) -> None:
    db = await Database.open(on.dsn(NAME, "postgres"), size=2, statement_timeout_ms=3_600_000)
    await install_store(db, PRESETS / STORE)
    await db.close()
    connection = await asyncpg.connect(on.dsn(NAME, "postgres"), command_timeout=3600)
    try:
        await connection.execute(
            "INSERT INTO users (id, username, email, display_name) VALUES ($1, 'asker', 'asker@example.com', 'Asker'), "
            "(gen_random_uuid(), 'seller', 'seller@example.com', 'Seller') ON CONFLICT DO NOTHING", _OWNER,
        )  # fmt: skip
        seller = await connection.fetchval("SELECT id FROM users WHERE username = 'seller'")
        await connection.execute(
            "INSERT INTO categories (slug, name) SELECT 'c' || n, 'Group ' || n FROM generate_series(0, $1::int - 1) AS n",
            CATEGORIES,
        )
        made = market.listings(LISTINGS)
        for start in range(0, LISTINGS, 2_000):
            await connection.execute(_LISTINGS, *map(list, zip(*made[start : start + 2_000], strict=True)), seller)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
    app = await Database.open(on.dsn(NAME), size=2, statement_timeout_ms=3_600_000)
    await count_terms(app)
    await app.close()


async def _ask(on: Ground, db: Database, market: Market, count: int, *, hopeless: bool) -> None:
    """File so many more alerts by the store's own rules, and load them by COPY."""
    connection = await asyncpg.connect(on.dsn(NAME, "postgres"), command_timeout=3600)
    try:
        await connection.execute("SET session_replication_role = replica")  # nothing refers to what is not there
        for start in range(0, count, _CHUNK):
            needs = [market.needs(hopeless=hopeless) for _ in range(min(_CHUNK, count - start) // ASKERS)]
            async with db.transaction(actor=SYSTEM) as tx:
                lexed = await lex(tx, {w for n in needs for w in n.words})
                share = await shares_of(tx, needs, lexed)
            remembered: dict[str, float] = {}

            def known(term: str, share: Any = share, remembered: dict[str, float] = remembered) -> float:
                found = remembered.get(term)
                if found is None:
                    found = remembered[term] = share(term)
                return found

            placed = [(one, file_alert(one, lexed, known)) for one in needs]
            await _load(connection, [(uuid4(), one, place) for one, place in placed for _ in range(ASKERS)])
        await connection.execute("ANALYZE alert_index")
        await connection.execute("ANALYZE alerts")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _load(connection: asyncpg.Connection, filed: list[tuple[UUID, Needs, Filed]]) -> None:
    wide = sorted({term for _, _, one in filed for term in one.wide})
    await connection.execute(
        "INSERT INTO alert_wide_terms SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", wide
    )  # fmt: skip
    await connection.copy_records_to_table(
        "alerts", columns=["id", "user_id", "name", "query", "criteria", "criteria_hash"],
        records=[(key, _OWNER, "x", "x", "{}", key.bytes) for key, _, _ in filed],
    )  # fmt: skip
    await connection.execute("CREATE TEMP TABLE IF NOT EXISTS loading (term text, alert_id uuid, wants text, min_minor bigint, "
                             "max_minor bigint, currency text, lat float8, lon float8, radius_m float8)")  # fmt: skip
    await connection.copy_records_to_table("loading", records=list(_records(filed)))
    await connection.execute(f"""
        INSERT INTO alert_index (term, alert_id, user_id, wants, min_minor, max_minor, currency, lat, lon, radius_m)
        SELECT term, alert_id, '{_OWNER}', wants::tsquery, min_minor, max_minor, currency, lat, lon, radius_m FROM loading ORDER BY term
    """)  # our own id
    await connection.execute("TRUNCATE loading")


def _records(filed: list[tuple[UUID, Needs, Filed]]) -> Iterator[tuple[Any, ...]]:
    for key, needs, one in filed:
        row = row_of(key, _OWNER, needs, one)
        for term in row.terms:
            yield (term, key, row.wants, row.min_minor, row.max_minor, row.currency, row.lat, row.lon, row.radius_m)


async def _measure(db: Database, changes: Sequence[Change]) -> dict[str, float]:
    """Match listings one by one, a first round to warm the pages; then some of them by reading every alert."""
    times: list[float] = []
    counts: list[int] = []
    cpu: list[float] = []
    async with db.transaction(actor=SYSTEM) as tx:
        process = int(await tx.value(text("SELECT pg_backend_pid()")))
        for is_timed in (False, True):
            for change in changes:
                started, worked = perf_counter(), _cpu_ms(process)
                found = await find_matches(tx, [change], 100_000)
                if is_timed:
                    times.append((perf_counter() - started) * 1000)
                    cpu.append(_cpu_ms(process) - worked)
                    counts.append(len(found))
        worked = _cpu_ms(process)
        together = await find_matches(tx, list(changes[:200]), 100_000)
        batch = (_cpu_ms(process) - worked) / 200
        assert {p.listing_id for p in together} <= {c.listing_id for c in changes}
        scans = []
        for change in changes[:3]:
            worked = _cpu_ms(process)
            scanned = await find_by_scan(tx, [change])
            scans.append(_cpu_ms(process) - worked)
            assert {p.alert_id for p in scanned} == {p.alert_id for p in await find_matches(tx, [change], 100_000)}
    for values in (times, counts, cpu):
        values.sort()
    return {
        "p50_ms": round(median(times), 2), "p99_ms": round(times[int(len(times) * 0.99)], 2),
        "p50_cpu_ms": round(median(cpu), 2), "p99_cpu_ms": round(cpu[int(len(cpu) * 0.99)], 2),
        "mean_cpu_ms": round(sum(cpu) / len(cpu), 3), "batch_ms": round(batch, 2), "scan_ms": round(median(scans), 1),
        "matches_p50": counts[len(counts) // 2], "matches_p99": counts[int(len(counts) * 0.99)],
    }  # fmt: skip


def _cpu_ms(process: int) -> float:
    """Return how long a process has computed, waiting for the processor not counted: other work beside does not show."""
    return int(Path(f"/proc/{process}/schedstat").read_text("ascii").split()[0]) / 1e6


def _chart(grown: dict[int, dict[str, float]]) -> str:
    return growth_chart(
        "Finding the alerts that a new listing is for", "alerts", "milliseconds of PostgreSQL’s CPU a listing",
        [
            Line("99 of 100 listings, at most", "ours", {n: v["p99_cpu_ms"] for n, v in grown.items()}),
            Line("median", "ours-thin", {n: v["p50_cpu_ms"] for n, v in grown.items()}),
            Line("a listing among 200 at once", "soft", {n: v["batch_ms"] for n, v in grown.items()}),
            Line("reading every alert, warm, median of 3", "peer", {n: v["scan_ms"] for n, v in grown.items()}),
        ],
    )  # fmt: skip


async def _crowd(db: Database, changes: Sequence[Change]) -> dict[str, float]:
    """Write down the 50,000 alerts that one listing is for, and match others meanwhile; return what these cost alone and beside it."""
    crowd, others = changes[0], list(changes[1:21])
    async with db.transaction(actor=SYSTEM) as tx:
        await tx.run(_ADD_CROWD, owner=_OWNER, n=CROWD)
        await tx.run(_WORD, id=crowd.listing_id, word=True)
    await _others(db, others)
    alone = [took for _ in range(5) for took in await _others(db, others)]
    started = perf_counter()
    writing = asyncio.create_task(_write_crowd(db, crowd))
    beside: list[float] = []
    while not writing.done():
        beside += await _others(db, others)
    took = perf_counter() - started
    assert await writing >= CROWD
    async with db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("DELETE FROM alerts WHERE name = 'crowd'"))
        await tx.run(_WORD, id=crowd.listing_id, word=False)
    return {
        "others_alone_ms": round(median(alone), 2), "others_beside_crowd_ms": round(median(beside), 2), "crowd_s": round(took, 1),
        "others_beside_crowd": len(beside),
    }  # fmt: skip


async def _write_crowd(db: Database, crowd: Change) -> int:
    """Do what the job of a crowd does, page by page; return how many alerts were found."""
    after, found = UUID(int=0), 0
    while True:
        async with db.transaction(actor=SYSTEM) as tx:
            page = await find_page(tx, crowd, after)
            if not page:
                return found
            await record_matches(tx, [crowd], page)
        found, after = found + len(page), page[-1].alert_id


async def _others(db: Database, others: Sequence[Change]) -> list[float]:
    """Match listings one by one as the matcher does; return how many milliseconds of PostgreSQL each took."""
    took = []
    for change in others:
        async with db.transaction(actor=SYSTEM) as tx:
            process = int(await tx.value(text("SELECT pg_backend_pid()")))
            worked = _cpu_ms(process)
            await record_matches(tx, [change], await find_matches(tx, [change]))
            took.append(_cpu_ms(process) - worked)
    return took

"""Searching in 10,000, 100,000 and 1,000,000 listings: time, searches a second, suggestions, recall of the vectors, beside plain SQL.

Queries are real ones (those of `chorus_icecat` and one to three words of a random product's title), each asked once: nothing is
remembered from the time before but pages in memory, which a round of other queries has warmed. Half of them have filters. Ours are
asked over HTTP (`GET /api/v1/search` with facets, logged as always); the plain full-text statement runs in the database alone, so
what is in its favour is the server and the model. Draws how time grows into docs/images/search-growth.svg.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy import text

from benchmarks.catalogue import read_catalogue, read_queries
from benchmarks.chart import Line, growth_chart
from benchmarks.ground import Ground, ground
from benchmarks.load import hammer
from benchmarks.pages import server
from benchmarks.search_ground import STORE, searchable
from tradepost.core.database import SYSTEM, Database
from tradepost.core.embeddings import query_vectors
from tradepost.core.settings import EmbeddingSettings
from tradepost.search.filters import filters_of
from tradepost.search.plan import plan_search
from tradepost.search.queries import ranking
from tradepost.search.rules import Words
from tradepost.search.service import facts_of
from tradepost.search.spelling import Spellings
from tradepost.search.types import SearchRequest, Weights

SIZES = (10_000, 100_000, 1_000_000)
QUERIES, SEED, CLIENTS = 400, 7, 8
RECALLED = 40
CHART = Path(__file__).parents[1] / "docs" / "images" / "search-growth.svg"
_PLACES = ((-17.83, 31.05), (-20.15, 28.58), (-18.97, 32.67))


@dataclass(frozen=True)
class Asked:
    """A query with its filters, as the API takes them."""

    words: str
    filters: dict[str, str]

    @property
    def path(self) -> str:
        """The address to ask."""
        return "/api/v1/search?" + urlencode({"q": self.words, "facets": "true", **self.filters})


def make_queries(data: Path, tags: Sequence[str], seed: int) -> list[Asked]:
    """Return real queries, each once, half of them with filters."""
    chance = random.Random(seed)  # noqa: S311  # plausible, not secret
    titles = [p.name.split() for p in read_catalogue(data)]
    found = {q.text for q in read_queries(data)} if seed == SEED else set()
    while len(found) < QUERIES:
        words = [w for w in chance.choice(titles) if len(w) > 2 and w.isalnum()]
        if words:
            start, size = chance.randrange(len(words)), chance.choice((1, 2, 2, 3))
            found.add(" ".join(words[start : start + size]))
    queries = sorted(found)
    chance.shuffle(queries)
    return [Asked(q, _filters(chance, tags) if n % 2 else {}) for n, q in enumerate(queries)]


def _filters(chance: random.Random, tags: Sequence[str]) -> dict[str, str]:
    low = chance.choice((100, 500, 2000))
    near = dict(zip(("lat", "lon"), map(str, chance.choice(_PLACES)), strict=True))
    every: list[dict[str, str]] = [
        {"in_stock": "true"},
        {"min_price": str(low), "max_price": str(low * 4)},
        {"category": chance.choice([t for t in tags if t.startswith("category=")])[9:]},
        {"brand": chance.choice([t for t in tags if t.startswith("brand=")])[6:]},
        {**near, "within_m": chance.choice(("25000", "100000"))},
        {"max_age_days": chance.choice(("7", "30"))},
    ]
    return {k: v for part in chance.sample(every, chance.choice((1, 1, 2))) for k, v in part.items()}


async def measure(data: Path, sizes: Sequence[int] = SIZES) -> dict[str, Any]:
    """Measure every size; return the figures of the largest, and draw how they grow."""
    grown: dict[int, dict[str, float]] = {}
    async with ground(shared_buffers="6GB", effective_cache_size="10GB") as on:
        for size in sizes:
            name = await searchable(on, size, data)
            grown[size] = await _measure(on, name, data)
            print(f"{size:,} listings: {grown[size]}", flush=True)
    if tuple(sizes) == SIZES:
        CHART.write_text(_chart(grown), "utf-8")
    return grown[max(sizes)]


async def _measure(on: Ground, name: str, data: Path) -> dict[str, float]:
    db = await Database.open(on.dsn(name), size=4, statement_timeout_ms=600_000)
    try:
        await _warm(on, name)
        tags = [row[0] for row in await db.read(_COMMON_TAGS)]
        rounds = [make_queries(data, tags, seed) for seed in (SEED + 1, SEED, SEED + 2)]
        found = await _over_http(on, name, rounds)
        found |= await _plain(db, rounds[0], rounds[1])
        return found | await _recall(db, [a.words for a in rounds[1]])
    finally:
        await db.close()


async def _warm(on: Ground, name: str) -> None:
    """Have in memory what an open store would have there after an hour: what searches read, with its indexes."""
    owner = await Database.open(on.dsn(name, "postgres"), size=1, statement_timeout_ms=600_000)
    async with owner.transaction(actor=SYSTEM) as tx:
        await tx.control("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
        await tx.value(_LOAD)
    await owner.close()


_LOAD = text("""
    SELECT sum(pg_prewarm(r.oid::regclass)) FROM pg_class c CROSS JOIN LATERAL (
        SELECT c.oid UNION ALL SELECT nullif(c.reltoastrelid, 0) UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid = c.oid) r
    WHERE c.relkind = 'r' AND r.oid IS NOT NULL
      AND c.relname IN ('search_documents', 'search_vectors', 'search_vocabulary', 'search_terms', 'listings')
""")
_COMMON_TAGS = text("SELECT term FROM search_terms WHERE kind = 'tag' ORDER BY documents DESC LIMIT 60")


async def _over_http(on: Ground, name: str, rounds: Sequence[Sequence[Asked]]) -> dict[str, float]:
    warm, measured, crowd = ([a.path for a in asked] for asked in rounds)
    typed = [_suggest(a.words[:n]) for a in rounds[1] for n in (2, 4, 7) if len(a.words) >= n]
    with server("store", on.dsn(name), STORE, on.cache_url, str(on.home.files(STORE))) as (pid, port):
        ask = partial(hammer, port, f"{STORE}.localhost", pid=pid)
        await ask(warm, requests=len(warm), clients=2)
        one = await ask(measured, requests=len(measured), clients=1)
        eight = await ask(crowd, requests=len(crowd), clients=CLIENTS)
        await ask(typed[:100], requests=100, clients=1)
        typing = await ask(typed, requests=len(typed), clients=1)
    return {
        "p50_ms": round(one.percentile(50), 1), "p95_ms": round(one.percentile(95), 1), "p99_ms": round(one.percentile(99), 1),
        "qps8": round(eight.rps, 1), "p95_8_ms": round(eight.percentile(95), 1), "server_cpu_ms": round(one.cpu_ms, 1),
        "suggest_p50_ms": round(typing.percentile(50), 1), "suggest_p95_ms": round(typing.percentile(95), 1),
    }  # fmt: skip


def _suggest(typed: str) -> str:
    return "/api/v1/search/suggest?" + urlencode({"q": typed})


async def _plain(db: Database, warm: Sequence[Asked], measured: Sequence[Asked]) -> dict[str, float]:
    """Ask the same as anybody would write it: the words, the filters, `ts_rank_cd`, the best 24."""
    times = []
    for asked in (*warm[:100], *measured):
        started = perf_counter()
        await db.read(text(_plain_sql(asked.filters)), words=asked.words, **_plain_params(asked.filters))
        times.append((perf_counter() - started) * 1000)
    times = sorted(times[100:])
    return {"plain_p50_ms": round(median(times), 1), "plain_p95_ms": round(times[int(len(times) * 0.95)], 1)}


def _plain_sql(filters: dict[str, str]) -> str:
    tests = {
        "in_stock": "d.in_stock", "min_price": "d.price_minor >= :min_price", "max_price": "d.price_minor <= :max_price",
        "category": "d.tags @> ARRAY[:category]", "brand": "d.tags @> ARRAY[:brand]",
        "within_m": "geo_within(d.location, :lat, :lon, :within_m)",
        "max_age_days": "d.published_at > now() - make_interval(days => :max_age_days)",
    }  # fmt: skip
    where = "".join(f" AND {tests[k]}" for k in filters if k in tests)
    return (
        "SELECT l.id, l.title, l.price_minor FROM (SELECT d.listing_id, ts_rank_cd(d.words, q.query) AS rank FROM search_documents d, "
        f"(SELECT plainto_tsquery('public.store_words', :words) AS query) q WHERE d.words @@ q.query{where} "
        "ORDER BY 2 DESC LIMIT 24) f JOIN listings l ON l.id = f.listing_id ORDER BY f.rank DESC"
    )


def _plain_params(filters: dict[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in filters.items():
        if name in {"category", "brand"}:
            made[name] = f"{name}={value}"
        elif name in {"min_price", "max_price", "max_age_days"}:
            made[name] = int(value)
        elif name != "in_stock":
            made[name] = float(value)
    return made


async def _recall(db: Database, queries: Sequence[str]) -> dict[str, float]:
    """Return how many of the ten nearest by the exact vectors are found: of all listings, and under filters that keep 1 %."""
    vectors = query_vectors(EmbeddingSettings(threads=2))
    if vectors is None:
        raise SystemExit("The language model is not installed: make bench installs it.")
    narrow = await _narrow_filters(db)
    free, filtered = [], []
    for n, query in enumerate(queries[:RECALLED]):
        vector = await vectors.of(query, wait=True)
        if vector is None:
            raise RuntimeError("no vector")
        free.append(await _share_found(db, vector, SearchRequest(facets=False, limit=10)))
        filtered.append(await _share_found(db, vector, narrow[n % len(narrow)]))
    return {"recall10": round(mean(free), 3), "recall10_filtered": round(mean(filtered), 3)}


async def _narrow_filters(db: Database) -> list[SearchRequest]:
    """Return filters that keep about 1 %: a brand, a range of prices, a category with a range."""
    rows = await db.read(
        text(
            "SELECT term FROM search_terms, (SELECT documents AS whole FROM search_state) s WHERE kind = 'tag' AND term LIKE 'brand=%' "
            "AND documents BETWEEN whole * 0.006 AND whole * 0.016 ORDER BY term LIMIT 8"
        )
    )
    made = [SearchRequest(brands=(row[0][6:],), facets=False, limit=10) for row in rows]
    for share in (0.2, 0.5, 0.8):
        ((low, high),) = await db.read(
            text(
                "SELECT percentile_disc(CAST(:low AS float8)) WITHIN GROUP (ORDER BY price_minor), "
                "percentile_disc(CAST(:high AS float8)) WITHIN GROUP (ORDER BY price_minor) FROM search_documents"
            ),
            low=share, high=share + 0.01,
        )  # fmt: skip
        made.append(SearchRequest(min_minor=low, max_minor=high, facets=False, limit=10))
    return made


async def _share_found(db: Database, vector: list[float], request: SearchRequest) -> float:
    """Return how many of the ten found are as near as the tenth nearest: what is equally near is equally right."""
    exact = await db.read(text(_exact_sql(request)), vector=vector, **_exact_params(request))
    found = await db.read(_LIKENESS, vector=vector, ids=await _nearest(db, vector, request))
    farthest = min((row[0] for row in exact), default=0.0)
    return sum(row[0] >= farthest - 1e-6 for row in found) / max(len(exact), 1)


_LIKENESS = text(
    "SELECT -(v.embedding <#> :vector) FROM search_vectors v WHERE v.listing_id = ANY (CAST(:ids AS uuid[]))"
)


def _exact_sql(request: SearchRequest) -> str:
    tests = ["d.tags @> ARRAY[:brand]"] if request.brands else []
    tests += ["d.price_minor BETWEEN :low AND :high"] if request.min_minor is not None else []
    return (
        "SELECT -(v.embedding <#> :vector) FROM search_vectors v JOIN search_documents d ON d.listing_id = v.listing_id "
        f"{'WHERE ' + ' AND '.join(tests) if tests else ''} ORDER BY v.embedding <#> :vector LIMIT 10"
    )


def _exact_params(request: SearchRequest) -> dict[str, Any]:
    brand = {"brand": f"brand={request.brands[0]}"} if request.brands else {}
    return brand | ({"low": request.min_minor, "high": request.max_minor} if request.min_minor is not None else {})


async def _nearest(db: Database, vector: list[float], request: SearchRequest) -> list[UUID]:
    """Return the ten that a search would put first if nothing counted but meaning."""
    weights = Weights(words=0, popularity=0, freshness=0, likeness=0)
    filters, words = filters_of(request), Words("")
    facts = await facts_of(db, words, filters)
    plan = plan_search(request, words, Spellings(()), filters, facts, weights, vector)
    return [row["id"] for row in (await db.read(ranking(plan.shape), **plan.params))[:10]]


def _chart(grown: dict[int, dict[str, float]]) -> str:
    lines = [
        Line("Search, 95 of 100 under", "ours", {n: f["p95_ms"] for n, f in grown.items()}),
        Line("Search, half under", "ours-thin", {n: f["p50_ms"] for n, f in grown.items()}),
        Line("Suggestions, 95 of 100 under", "soft", {n: f["suggest_p95_ms"] for n, f in grown.items()}),
        Line("Plain full-text SQL, 95 of 100 under", "peer", {n: f["plain_p95_ms"] for n, f in grown.items()}),
    ]
    return growth_chart("Time of a search as a store grows", "listings", "milliseconds", lines)


if __name__ == "__main__":
    print(asyncio.run(measure(Path("../shared/data"))))

"""`make bench-search`: how good search results are on a catalogue with human ratings; the last line is JSON.

Loads `chorus_icecat/catalog/product.csv.gz` into a store of its own (kept for the next run), gives every product its vector, asks
the queries of `chorus_icecat/open/` through `search` with the settings that every store begins with, and compares with plain BM25
over the same texts. Definitions: nDCG@10 with gain = rating / 3, products without a rating count 0; "rated only" drops them from
the first 200 results. Misspelled queries have one typo in a word, made as `typos_symspell` shows that people make them.
"""

import argparse
import asyncio
import json
import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).parents[1]))

import bm25s
import Stemmer
from sqlalchemy import text

from benchmarks.catalogue import Product, Query, catalogue_mark, read_catalogue, read_queries
from benchmarks.ground import ground
from tradepost.core.database import SYSTEM, Database
from tradepost.core.embeddings import open_embedder, query_vectors
from tradepost.core.ids import uuid7
from tradepost.core.settings import EmbeddingSettings
from tradepost.core.text import edit_distance, slugify
from tradepost.migrations import create_database, migrate
from tradepost.search.counting import count_terms
from tradepost.search.rules import read_query
from tradepost.search.service import forget_facts, search_documents
from tradepost.search.types import SearchRequest, Weights
from tradepost.search.vectors import count_waiting, embed_batch

FIRST, DEPTH, SEED = 10, 200, 7


def ndcg(ranked: Sequence[str], gains: dict[str, float]) -> float:
    """Return nDCG@10 of product ids in order."""
    found = sum(gains.get(key, 0.0) / math.log2(n + 2) for n, key in enumerate(ranked[:FIRST]))
    best = sum(g / math.log2(n + 2) for n, g in enumerate(sorted(gains.values(), reverse=True)[:FIRST]))
    return found / best


def rated_only(ranked: Sequence[str], gains: dict[str, float]) -> list[str]:
    """Return what is left of the first 200 when products without a rating are dropped."""
    return [key for key in ranked[:DEPTH] if key in gains]


def plain_bm25(products: Sequence[Product], queries: Sequence[Query]) -> dict[str, list[str]]:
    """Rank by bm25s: k1 1.2, b 0.75, English stop words and Snowball stemmer, over name and description."""
    stemmer = Stemmer.Stemmer("english")
    index = bm25s.BM25(k1=1.2, b=0.75)
    texts = [f"{p.name} {p.description}" for p in products]
    index.index(bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False), show_progress=False)
    ranked = {}
    for query in queries:
        words = bm25s.tokenize([query.text], stopwords="en", stemmer=stemmer, show_progress=False, return_ids=False)[0]
        scores = index.get_scores(words)
        ranked[query.id] = [products[n].id for n in (-scores).argsort(kind="stable")[:DEPTH]]
    return ranked


class Typist:
    """Makes the mistakes that people make, as often as in a list of misspelled words with what was meant."""

    def __init__(self, file: Path) -> None:
        self.kinds: Counter[str] = Counter()
        for line in file.read_text("utf-8").splitlines():
            parts = line.split()
            if len(parts) == 3 and edit_distance(parts[0], parts[1]) == 1:
                self.kinds[self._kind(parts[0], parts[1])] += 1

    @staticmethod
    def _kind(wrong: str, right: str) -> str:
        if len(wrong) != len(right):
            return "dropped" if len(wrong) < len(right) else "doubled"
        return "swapped" if sorted(wrong) == sorted(right) else "changed"

    def misspell(self, query: str, chance: random.Random) -> str:
        """Return a query with one mistake in its longest word; words of three letters and fewer are left alone."""
        words = query.split()
        n = max(range(len(words)), key=lambda i: len(words[i]))
        if len(words[n]) > 3:
            words[n] = self._mistake(words[n], chance)
        return " ".join(words)

    def _mistake(self, word: str, chance: random.Random) -> str:
        kind = chance.choices(list(self.kinds), list(self.kinds.values()))[0]
        at = chance.randrange(1, len(word))
        if kind == "dropped":
            return word[:at] + word[at + 1 :]
        if kind == "doubled":
            return word[:at] + chance.choice("abcdefghijklmnopqrstuvwxyz") + word[at:]
        if kind == "swapped":
            at = min(at, len(word) - 2)
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        return word[:at] + chance.choice("abcdefghijklmnopqrstuvwxyz") + word[at + 1 :]


_LOAD = text("""
    INSERT INTO listings (id, seller_id, kind, feed, slug, title, description, category_id, brand, status, published_at, attributes)
    SELECT g.id, u.id, 'product', 'all', g.slug, g.title, g.description, c.id, nullif(g.brand, ''), 'active', now(),
           jsonb_build_object('product_id', g.product_id)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:slugs AS text[]), CAST(:titles AS text[]), CAST(:descriptions AS text[]),
                CAST(:brands AS text[]), CAST(:products AS text[])) AS g(id, slug, title, description, brand, product_id),
         users u, categories c
""")
_FRAME = (
    "INSERT INTO listing_kinds (code, name, plural) VALUES ('product', 'Product', 'Products')",
    "INSERT INTO feeds (code, name) VALUES ('all', 'All')",
    "INSERT INTO categories (slug, name) VALUES ('everything', 'Everything')",
    "INSERT INTO users (username, email, display_name) VALUES ('shop', 'shop@example.com', 'Shop')",
)


async def load(db: Database, products: Sequence[Product]) -> None:
    """Fill an empty store with the catalogue, once."""
    async with db.transaction(actor=SYSTEM) as tx:
        if await tx.value(text("SELECT count(*) FROM listings")):
            return
        for statement in _FRAME:
            await tx.run(text(statement))
        for start in range(0, len(products), 2000):
            part = products[start : start + 2000]
            await tx.run(
                _LOAD, ids=[uuid7() for _ in part], slugs=[slugify(p.name) for p in part], titles=[p.name[:255] for p in part],
                descriptions=[p.description[:20_000] for p in part], brands=[p.brand[:100] for p in part], products=[p.id for p in part],
            )  # fmt: skip


async def give_vectors(db: Database) -> None:
    """Wait until every product has its vector."""
    embedder = open_embedder(EmbeddingSettings(threads=2))
    if embedder is None:
        raise SystemExit("The language model is not installed; run it as: make bench-search")
    whole = await count_waiting(db)
    done = 0
    while embedded := await embed_batch(db, embedder, 512):
        done += embedded
        print(f"  vectors: {done:,} of {whole:,}", flush=True)


async def rank(
    db: Database, query: str, weights: Weights | None, products: dict[str, str]
) -> tuple[list[str], str | None]:
    """Return product ids in the order that search gives them, and the query as it corrected it."""
    wanted = read_query(query, currency="USD")
    vectors = query_vectors(EmbeddingSettings(threads=2))
    meaning_of = partial(vectors.of, wait=True) if vectors else None
    request = SearchRequest(query=query, limit=100, facets=False)
    ranked: list[str] = []
    corrected = None
    while len(ranked) < DEPTH:
        found = await search_documents(db, request, wanted, meaning_of=meaning_of, weights=weights)
        ranked += [products[str(card.id)] for card in found.items]
        corrected = found.corrected_query
        if found.after is None:
            break
        request = SearchRequest(query=query, limit=100, facets=False, after=found.after)
    return ranked, corrected


async def measure(data: Path, weights: Weights | None = None, tell: Callable[[str], None] = print) -> dict[str, float]:
    """Measure everything and return the figures."""
    products, queries = read_catalogue(data), read_queries(data)
    async with ground() as on:
        name = f"bench_quality_{catalogue_mark(data)}"
        await create_database(on.dsn("postgres", "postgres"), name)
        await migrate(on.dsn(name, "postgres"))
        db = await Database.open(on.dsn(name, "postgres"), size=2, statement_timeout_ms=600_000)
        try:
            await load(db, products)
            await give_vectors(db)
            await count_terms(db)
            forget_facts(db)
            return await _measure(db, products, queries, data, weights, tell)
        finally:
            await db.close()


async def _measure(
    db: Database,
    products: Sequence[Product],
    queries: Sequence[Query],
    data: Path,
    weights: Weights | None,
    tell: Callable[[str], None],
) -> dict[str, float]:
    rows = await db.read(text("SELECT id::text, attributes ->> 'product_id' FROM listings"))
    known = {row[0]: row[1] for row in rows}
    peer = plain_bm25(products, queries)
    typist, chance = Typist(data / "typos_symspell/noisy_query_en_1000.txt"), random.Random(SEED)  # noqa: S311  # plausible, not secret
    full, rated, bm25, misspelled = [], [], [], []
    tell(f"{'query':28} {'ours':>6} {'rated':>6} {'bm25':>6}   misspelled")
    for query in queries:
        ranked, _ = await rank(db, query.text, weights, known)
        wrong = typist.misspell(query.text, chance)
        mended, corrected = await rank(db, wrong, weights, known)
        full.append(ndcg(ranked, query.gains))
        rated.append(ndcg(rated_only(ranked, query.gains), query.gains))
        bm25.append(ndcg(peer[query.id], query.gains))
        misspelled.append(ndcg(mended, query.gains))
        tell(
            f"{query.text:28} {full[-1]:6.3f} {rated[-1]:6.3f} {bm25[-1]:6.3f}   {misspelled[-1]:6.3f} {wrong} -> {corrected}"
        )
    return {
        "ndcg10": round(mean(full), 4), "ndcg10_rated_only": round(mean(rated), 4), "bm25_ndcg10": round(mean(bm25), 4),
        "typo_kept": round(mean(misspelled) / mean(full), 4),
    }  # fmt: skip


def main() -> None:
    """Print a table and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with the data sets")
    print(json.dumps(asyncio.run(measure(parser.parse_args().data))))


if __name__ == "__main__":
    main()

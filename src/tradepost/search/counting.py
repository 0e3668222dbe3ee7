"""Counting words, tags and marks over all documents, so that a search knows beforehand how much it will find.

Large stores are counted by a sample of pages; a word that the sample misses is looked up in the index when somebody asks for it.
"""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import TextClause, text

from tradepost.core.database import SYSTEM, Database, Transaction

SAMPLED = 200_000
_READ = 20_000  # descriptions that are read for their words
_TIERED_FROM = 20_000
_TIERS = (0.75, 0.9375, 0.984375, 0.99609375)
_BATCH = 2_000


async def count_terms(db: Database) -> int:
    """Count everything anew and return how many documents there are. Searches meanwhile see the old counts."""
    async with db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("SET LOCAL statement_timeout = '10min'"))
        await tx.value(text("SELECT pg_advisory_xact_lock(hashtext('search.count_terms'))"))
        whole: int = await tx.value(text("SELECT count(*) FROM search_documents"))
        sample, factor = _sample_of(whole)
        for kind in ("words", "tags", "marks"):
            await tx.run(text("DELETE FROM search_terms WHERE kind = :kind"), kind=kind[:-1])
        await tx.run(_count_words(sample), factor=factor)
        await tx.run(_count_tags(sample), factor=factor)
        await tx.run(text("DELETE FROM search_vocabulary"))
        await tx.run(_count_vocabulary(sample), factor=factor)
        await tx.run(_add_texts(_sample_of(whole, _READ)[0]))
        await tx.run(_note(sample), whole=whole, quantiles=list(_TIERS) if whole >= _TIERED_FROM else [])
    return whole


def _sample_of(whole: int, most: int = SAMPLED) -> tuple[str, float]:
    if whole <= most:
        return "search_documents", 1.0
    percent = round(100 * most / whole, 3)
    return f"search_documents TABLESAMPLE SYSTEM ({percent}) REPEATABLE (7)", 100 / percent


@lru_cache(maxsize=64)
def _count_words(sample: str) -> TextClause:
    return text(
        "INSERT INTO search_terms (kind, term, documents) SELECT 'word', w.word, CAST(ceil(w.ndoc * CAST(:factor AS float8)) AS int) "
        f"FROM ts_stat('SELECT d.words FROM {sample.replace('search_documents', 'search_documents d', 1)}') w"
    )


@lru_cache(maxsize=64)
def _count_tags(sample: str) -> TextClause:
    aliased = sample.replace("search_documents", "search_documents d", 1)
    return text(f"""
        INSERT INTO search_terms (kind, term, documents)
        SELECT t.kind, t.term, CAST(ceil(count(*) * CAST(:factor AS float8)) AS int)
        FROM {aliased} CROSS JOIN LATERAL (
            SELECT 'tag' AS kind, u.term FROM unnest(d.tags) AS u(term)
            UNION ALL SELECT 'mark', u.term FROM unnest(d.marks) AS u(term)) t
        GROUP BY t.kind, t.term
    """)


@lru_cache(maxsize=64)
def _count_vocabulary(sample: str) -> TextClause:
    aliased = sample.replace("search_documents", "search_documents d", 1)
    return text(f"""
        INSERT INTO search_vocabulary (word, stem, documents, deletes)
        SELECT w.word, stems.all[1], CAST(ceil(w.documents * CAST(:factor AS float8)) AS int), search_deletes(w.word)
        FROM (
            SELECT u.word, count(*) AS documents FROM (
                SELECT d.listing_id::text AS key, regexp_split_to_table(d.trigrams, '[^[:alnum:]]+') AS word FROM {aliased}
                UNION ALL SELECT c.slug, regexp_split_to_table(lower(unaccent(c.name)), '[^[:alnum:]]+') FROM categories c) u
            WHERE char_length(u.word) BETWEEN 2 AND 40 AND u.word !~ '^[0-9]{{1,2}}$' GROUP BY u.word
        ) w
        CROSS JOIN LATERAL (SELECT tsvector_to_array(to_tsvector('public.store_words', w.word)) AS all) stems
        WHERE stems.all[1] IS NOT NULL
    """)


@lru_cache(maxsize=64)
def _add_texts(sample: str) -> TextClause:
    """Words of descriptions, so that they are not taken for typos; what occurs once may be one itself."""
    aliased = sample.replace("search_documents", "search_documents d", 1)
    return text(f"""
        INSERT INTO search_vocabulary (word, stem, documents, deletes)
        SELECT w.word, stems.all[1], 1, search_deletes(w.word)
        FROM (
            SELECT u.word FROM (
                SELECT d.listing_id, regexp_split_to_table(lower(unaccent(l.description)), '[^[:alnum:]]+') AS word
                FROM {aliased} JOIN listings l ON l.id = d.listing_id) u
            WHERE char_length(u.word) BETWEEN 3 AND 40 AND u.word !~ '[0-9]' GROUP BY u.word HAVING count(DISTINCT u.listing_id) > 1
        ) w
        CROSS JOIN LATERAL (SELECT tsvector_to_array(to_tsvector('public.store_words', w.word)) AS all) stems
        WHERE stems.all[1] IS NOT NULL ON CONFLICT DO NOTHING
    """)


@lru_cache(maxsize=64)
def _note(sample: str) -> TextClause:
    return text(f"""
        UPDATE search_state SET documents = :whole, counted_at = now(), average_length = coalesce(s.length, 1),
               tiers = CASE WHEN cardinality(CAST(:quantiles AS float8[])) = 0 THEN '{{}}' ELSE s.tiers END
        FROM (SELECT avg(d.length) AS length,
                     CAST(percentile_disc(CAST(:quantiles AS float8[])) WITHIN GROUP (ORDER BY d.popularity) AS real[]) AS tiers
              FROM {sample.replace("search_documents", "search_documents d", 1)}) s
    """)


_STALE = text("""
    SELECT d.listing_id FROM search_documents d JOIN categories c ON c.path <> d.category_path
    JOIN listings l ON l.id = d.listing_id AND l.category_id = c.id LIMIT :limit
""")
_OUT_OF_TIER = text("""
    SELECT d.listing_id FROM search_documents d, search_state s
    WHERE (SELECT count(*) FROM unnest(s.tiers) AS t(least) WHERE d.popularity >= t.least)
          NOT BETWEEN (SELECT count(*) FROM unnest(d.marks) AS m(mark) WHERE m.mark LIKE 'tier=%')
                      - (d.published_at > now() - interval '8 days')::int
              AND (SELECT count(*) FROM unnest(d.marks) AS m(mark) WHERE m.mark LIKE 'tier=%')
    LIMIT :limit
""")
_REFRESH_FACTS = text("SELECT search_refresh_facts(CAST(:ids AS uuid[]))")
_REFRESH_WORDS = text("SELECT search_refresh_words(CAST(:ids AS uuid[]))")


async def refresh_stale(db: Database, most: int = 50_000) -> int:
    """Bring documents in line whose category moved or whose popularity left its tier; return how many. In small transactions."""
    done = 0
    for find, refresh in ((_STALE, _REFRESH_WORDS), (_OUT_OF_TIER, _REFRESH_FACTS)):
        while done < most:
            async with db.transaction(actor=SYSTEM) as tx:
                ids: list[UUID] = await tx.values(find, limit=_BATCH)
                if ids:
                    await tx.value(refresh, ids=ids)
            done += len(ids)
            if len(ids) < _BATCH:
                break
    return done


_TURNS = {
    name: (
        text(f"SELECT {name} FROM search_state FOR UPDATE"),
        text(f"UPDATE search_state SET {name} = now()"),
    )
    for name in ("interest_seen_at", "due_seen_at")
}


async def take_turn(tx: Transaction, what: Literal["interest_seen_at", "due_seen_at"]) -> datetime:
    """Return when somebody last looked at what people did, or at what the clock changes, and remember this look.

    Others who want a turn wait for this transaction's end.
    """
    last, remember = _TURNS[what]
    since: datetime = await tx.value(last)
    await tx.run(remember)
    return since


_NEXT = text("SELECT id FROM listings WHERE status = 'active' AND id > :after ORDER BY id LIMIT :limit")
_COUNT_ACTIVE = text("SELECT count(*) FROM listings WHERE status = 'active'")
_LEFT_OVER = text("""
    DELETE FROM search_documents d WHERE NOT EXISTS (SELECT FROM listings l WHERE l.id = d.listing_id AND l.status = 'active')
""")


async def rebuild(db: Database, progress: Callable[[int, int], Any] = lambda _done, _whole: None) -> int:
    """Make every document anew while the store is open, in small transactions; return how many there are."""
    async with db.transaction(actor=SYSTEM, read_only=True) as tx:
        whole: int = await tx.value(_COUNT_ACTIVE)
    after, done = UUID(int=0), 0
    while True:
        async with db.transaction(actor=SYSTEM) as tx:
            ids: list[UUID] = await tx.values(_NEXT, after=after, limit=_BATCH)
            if not ids:
                break
            await _refresh(tx, ids)
        after, done = ids[-1], done + len(ids)
        progress(done, whole)
    async with db.transaction(actor=SYSTEM) as tx:
        await tx.run(_LEFT_OVER)
    await count_terms(db)
    return done


async def _refresh(tx: Transaction, ids: list[UUID]) -> None:
    await tx.run(text("SET LOCAL statement_timeout = '5min'"))
    await tx.value(_REFRESH_WORDS, ids=ids)


_IN_CATEGORY = text("""
    SELECT l.id FROM listings l WHERE l.status = 'active' AND l.id > CAST(:after AS uuid) AND l.category_id = ANY (ARRAY(
        SELECT below.id FROM categories c JOIN categories below ON below.id = c.id OR starts_with(below.path, c.path || '/')
        WHERE c.id = CAST(:category_id AS uuid)))
    ORDER BY l.id LIMIT :limit
""")


async def refresh_category(db: Database, category_id: UUID) -> int:
    """Bring the documents of a category and of all below it in line with its name and place; return how many."""
    after, done = UUID(int=0), 0
    while True:
        async with db.transaction(actor=SYSTEM) as tx:
            ids: list[UUID] = await tx.values(_IN_CATEGORY, category_id=category_id, after=after, limit=500)
            if ids:
                await tx.value(_REFRESH_WORDS, ids=ids)
        done += len(ids)
        if len(ids) < 500:
            return done
        after = ids[-1]

"""Every read of search. The ranking statement is composed once for each shape of a request and kept compiled.

Its parts: `words` are the documents that have the words (or all that pass the filters), a bounded number from one GIN index; where
`strict` finds little, `loose` adds those that lack one; `nearest` adds those nearest in meaning; the best by words are compared by
meaning; what is shown is joined with the listings' cards. Values travel as scalar sub-selects: the planner then takes the index whatever the
words are, and parses a query once and not once a row.
"""

from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Double, Integer, Select, column, select, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from tradepost.catalog.queries import CARD_TABLES, card_columns
from tradepost.catalog.tables import listings
from tradepost.core.columns import Timestamp
from tradepost.search.tables import INDEXED_TIERS
from tradepost.search.types import Sort

FEW = 12
"""With fewer documents that have all words, those that lack one are shown too."""
SAMPLE = 1000
"""Over how many documents facets are counted where a list is not fetched whole."""


class Shape(msgspec.Struct, frozen=True):
    """What of a request changes the statement's form; everything else is a parameter.

    `groups` says for each word how many spellings it has, `tier` that the popular ones will do (never of those near in meaning),
    `any_tags` and `any_marks` how many sets there are of which one must be had, `ranges` which ends of each numeric range are given.
    """

    sort: Sort = "best"
    groups: tuple[int, ...] = ()
    loose: bool = False
    pattern: bool = False
    walk: bool = False
    tier: int = 0
    all_tags: bool = False
    all_marks: bool = False
    any_tags: int = 0
    any_marks: int = 0
    low: bool = False
    high: bool = False
    radius: bool = False
    near: bool = False
    age: bool = False
    since: bool = False
    verified: bool = False
    ranges: tuple[tuple[bool, bool], ...] = ()
    vector: str = ""
    after: bool = False
    facets: bool = False
    explain: bool = False
    ranked: int = 1000
    compared: int = 200
    neighbours: int = 100


# The value each order goes by, its type in a cursor, whether it goes down, and the index order to walk along.
ORDERS: dict[str, tuple[str, Any, bool, str]] = {
    "newest": ("d.published_at", Timestamp, True, "d.published_at DESC, d.listing_id DESC"),
    "popular": ("d.popularity", Double, True, "d.popularity DESC, d.listing_id DESC"),
    "cheapest": ("d.price_minor", BigInteger, False, "d.price_minor, d.listing_id"),
    "dearest": ("d.price_minor", BigInteger, True, "d.price_minor DESC, d.listing_id DESC"),
    "rated": ("d.rating", Double, True, "d.rating DESC, d.listing_id DESC"),
    "nearest": ("geo_order(d.location, :lat, :lon)", Double, False, "geo_order(d.location, :lat, :lon)"),
    "best": ("0::float8", Double, True, "d.popularity DESC, d.listing_id DESC"),
}


@lru_cache(maxsize=1024)
def ranking(shape: Shape) -> Select[Any]:
    """Return the one statement of a search of this shape; its rows are cards with `sort_value`, `facets` and `found`."""
    sql, kind = _page_sql(shape)
    found = (
        text(sql)
        .columns(
            column("listing_id", UUID), column("sort_value", kind), column("facets", JSONB), column("found", Integer),
            column("is_relaxed", Integer), column("parts", JSONB),
        )
        .cte("found")
    )  # fmt: skip
    descending = ORDERS[shape.sort][2]
    by, key = found.c.sort_value, found.c.listing_id
    return (
        select(*card_columns(distance=shape.near), by, found.c.facets, found.c.found, found.c.is_relaxed, found.c.parts)
        .select_from(found.join(CARD_TABLES, listings.c.id == found.c.listing_id))
        .order_by(by.desc() if descending else by, key.desc() if descending else key)
    )


def _page_sql(shape: Shape) -> tuple[str, Any]:
    _, kind, descending, _ = ORDERS[shape.sort]
    best = shape.sort == "best"
    if shape.loose:
        steps = [
            f"strict AS MATERIALIZED ({_candidates(shape, loose=False)})",
            f"loose AS MATERIALIZED ({_candidates(shape, loose=True)})",
            f"words AS MATERIALIZED ({_EITHER})",
        ]
    else:
        steps = [f"words AS MATERIALIZED ({_candidates(shape, loose=False)})"]
    if best and shape.vector:
        more, pool = _meaning(shape)
        steps += more
    else:
        pool = "SELECT w.*, NULL::float8 AS meaning FROM words w"
    steps.append(f"scored AS MATERIALIZED (SELECT p.*, {_SCORE if best else 'p.value'} AS sort_value FROM ({pool}) p)")
    after = ""
    if shape.after:
        sign = "<" if descending else ">"
        after = f"WHERE (s.sort_value, s.listing_id) {sign} (:after_value, :after_id)"
    direction = "DESC" if descending else "ASC"
    steps.append(
        f"page AS (SELECT s.* FROM scored s {after} ORDER BY s.sort_value {direction}, s.listing_id {direction} LIMIT :limit)"
    )
    counted = "scored"
    if shape.walk and shape.facets:
        counted = "sample"
        steps.append(f"sample AS MATERIALIZED ({_candidates(shape, sample=True)})")
    facets = _FACETS.format(counted=counted) if shape.facets else "NULL::jsonb"
    relaxed = "(SELECT count(*) FROM loose)" if shape.loose else "0"
    parts = _PARTS if shape.explain else "NULL::jsonb"
    sql = (
        f"WITH {', '.join(steps)} SELECT p.listing_id, p.sort_value, "
        f"CASE WHEN row_number() OVER () = 1 THEN ({facets}) END AS facets, "
        f"(SELECT count(*) FROM scored)::int AS found, {relaxed}::int AS is_relaxed, {parts} AS parts FROM page p"
    )
    return sql, kind


_EITHER = "SELECT * FROM strict UNION ALL SELECT * FROM loose l WHERE NOT EXISTS (SELECT FROM strict s WHERE s.listing_id = l.listing_id)"
# Each part lies between 0 and 1 before it is weighed; what was not compared by meaning counts as unlike.
_SCORE = (
    "(:w_words * p.hits + :w_meaning * coalesce(p.meaning, 0) + :w_popularity * p.popularity / (p.popularity + 5) "
    "+ :w_freshness * exp(-date_part('epoch', CAST(:moment AS timestamptz) - p.published_at) / 2592000))::float8"
)
_PARTS = (
    "jsonb_build_object('words', :w_words * p.hits, 'meaning', :w_meaning * coalesce(p.meaning, 0), "
    "'popularity', :w_popularity * p.popularity / (p.popularity + 5), "
    "'freshness', :w_freshness * exp(-date_part('epoch', CAST(:moment AS timestamptz) - p.published_at) / 2592000))"
)
_FACETS = """
    SELECT jsonb_build_object('tags', (SELECT jsonb_object_agg(t.tag, t.n) FROM (
               SELECT u.tag, count(*) AS n FROM {counted} s CROSS JOIN LATERAL unnest(s.tags) AS u(tag)
               GROUP BY u.tag ORDER BY n DESC LIMIT 400) t),
           'low', (SELECT min(s.price_minor) FROM {counted} s), 'high', (SELECT max(s.price_minor) FROM {counted} s),
           'counted', (SELECT count(*) FROM {counted} s))
"""


def _candidates(shape: Shape, *, loose: bool = False, sample: bool = False) -> str:
    value, _, _, walk = ORDERS[shape.sort]
    tests = _tests(shape)
    if shape.tier and (sample or not shape.walk):
        # Written out, so that the index of this tier alone is taken; the last tiers share one.
        tests += [
            f"d.marks @> '{{tier={n}}}'::text[]" for n in sorted({min(shape.tier, INDEXED_TIERS[-1]), shape.tier})
        ]
    if shape.groups or shape.pattern:
        name = "loose" if loose else "strict"
        if shape.pattern:
            tests.append("d.trigrams LIKE (SELECT CAST(:pattern AS text))")
        else:
            tests.append(f"d.words @@ (SELECT CAST(CAST(:{name} AS text) AS tsquery))")
    if loose:
        tests.append(f"(SELECT count(*) FROM strict) < {FEW}")
    elif shape.walk and not sample and shape.after and shape.sort != "best":
        sign = "<" if ORDERS[shape.sort][2] else ">"
        tests.append(f"({value}, d.listing_id) {sign} (:after_value, :after_id)")
    if shape.sort in {"cheapest", "dearest"}:
        tests.append("d.price_minor IS NOT NULL")
    if shape.sort == "nearest":
        tests.append("d.location IS NOT NULL")
    order = f" ORDER BY {walk}" if shape.walk and not sample else ""
    most = SAMPLE if sample else shape.ranked
    return (
        f"SELECT d.listing_id, {_hits(shape)} AS hits, {value} AS value, d.popularity, d.published_at, d.price_minor, "
        f"{'d.tags' if shape.facets else 'NULL::text[]'} AS tags FROM search_documents d"
        f"{' WHERE ' + ' AND '.join(tests) if tests else ''}{order} LIMIT {most}"
    )


def _hits(shape: Shape) -> str:
    """Return the expression of how well a document has the words: by rarity, by where they stand, by its length.

    `ts_rank` of a single word grows with its occurrences, falling off as their squares, between 0 and its weight.
    """
    if not shape.groups or shape.sort != "best":
        return "0::float8"
    weights = "(SELECT CAST(:field_weights AS real[]))"
    groups = []
    for n, spellings in enumerate(shape.groups):
        ranks = [
            f"(SELECT CAST(:weight_{n}_{m} AS float8)) * ts_rank({weights}, d.words, (SELECT CAST(CAST(:word_{n}_{m} AS text) AS tsquery)))"
            for m in range(spellings)
        ]
        groups.append(ranks[0] if len(ranks) == 1 else f"greatest({', '.join(ranks)})")
    return f"({' + '.join(groups)}) / (1 + (SELECT CAST(:length_weight AS float8)) * (d.length / (SELECT CAST(:usual_length AS float8)) - 1))"


def _tests(shape: Shape) -> list[str]:
    tests = []
    if shape.all_tags:
        tests.append("d.tags @> (SELECT CAST(:all_tags AS text[]))")
    if shape.all_marks:
        tests.append("d.marks @> (SELECT CAST(:all_marks AS text[]))")
    tests += [f"d.tags && (SELECT CAST(:any_tags_{n} AS text[]))" for n in range(shape.any_tags)]
    tests += [f"d.marks && (SELECT CAST(:any_marks_{n} AS text[]))" for n in range(shape.any_marks)]
    if shape.low:
        tests.append("d.price_minor >= :min_minor")
    if shape.high:
        tests.append("d.price_minor <= :max_minor")
    if shape.radius:
        tests.append("geo_within(d.location, :lat, :lon, :radius_m)")
    if shape.age:
        tests.append("d.published_at >= now() - make_interval(days => :max_age_days)")
    if shape.since:
        tests.append("d.published_at > :published_after")
    if shape.verified:
        tests.append("EXISTS (SELECT FROM user_badges b WHERE b.user_id = d.seller_id AND b.badge = 'verified')")
    for n, (low, high) in enumerate(shape.ranges):
        field = f"CAST(:range_{n} AS text)"
        number = f"CASE WHEN jsonb_typeof(d.metadata -> {field}) = 'number' THEN (d.metadata ->> {field})::float8 END"
        if low:
            tests.append(f"{number} >= :low_{n}")
        if high:
            tests.append(f"{number} <= :high_{n}")
    return tests


def _meaning(shape: Shape) -> tuple[list[str], str]:
    """Return the steps that compare by meaning, and what there is to choose from then.

    Compared are the best by words and, unless words find plenty, the nearest of all that pass the filters.
    """
    best = f"SELECT w.listing_id FROM words w ORDER BY w.hits DESC, w.listing_id LIMIT {shape.compared}"
    compared = "SELECT v.listing_id, -(v.embedding <#> :vector) AS likeness FROM search_vectors v JOIN ({}) i ON i.listing_id = v.listing_id"
    together = (
        "SELECT p.*, greatest(c.likeness, 0) AS meaning FROM ({}) p LEFT JOIN compared c ON c.listing_id = p.listing_id"
    )
    if shape.vector == "known":
        return [f"compared AS MATERIALIZED ({compared.format(best)})"], together.format("SELECT * FROM words")
    # What shares no word with the query must be like it.
    added = (
        "SELECT d.listing_id, 0::float8 AS hits, 0::float8 AS value, d.popularity, d.published_at, d.price_minor, "
        f"{'d.tags' if shape.facets else 'NULL::text[]'} AS tags FROM compared c JOIN search_documents d ON d.listing_id = c.listing_id "
        "WHERE c.likeness >= :likeness AND NOT EXISTS (SELECT FROM words w WHERE w.listing_id = c.listing_id)"
    )
    either = "SELECT listing_id FROM known UNION SELECT listing_id FROM nearest"
    return [
        f"known AS ({best})",
        f"nearest AS MATERIALIZED ({_nearest(shape)})",
        f"compared AS MATERIALIZED ({compared.format(either)})",
        f"added AS ({added})",
    ], together.format("SELECT * FROM words UNION ALL SELECT * FROM added")


_INDEXED = {"index": "search_nearest", "glance": "search_near"}


def _nearest(shape: Shape) -> str:
    filters = _tests(shape)
    tests = " AND ".join(filters) or "true"
    if shape.vector == "few":
        # Signs alone miss one in five of the ten nearest; comparing eight times as many exactly mends that. A whole small store is not
        # helped by it (benchmarks/search_quality.py), for its words find what signs miss.
        most = (16 if filters else 2) * shape.neighbours
        alike = (
            "SELECT d.listing_id FROM search_documents d "
            f"WHERE d.signature IS NOT NULL AND {tests} ORDER BY d.signature <~> :signature LIMIT {most}"
        )
        return (
            f"SELECT a.listing_id FROM ({alike}) a JOIN search_vectors v ON v.listing_id = a.listing_id "
            f"ORDER BY v.embedding <#> :vector LIMIT {2 * shape.neighbours}"
        )
    # One look at a document for each that is near: a join would first fetch all that pass the filters.
    return (
        f"SELECT v.listing_id FROM {_INDEXED[shape.vector]}(:vector, :reach) v CROSS JOIN LATERAL ("
        f"SELECT FROM search_documents d WHERE d.listing_id = v.listing_id AND {tests} OFFSET 0) k LIMIT {shape.neighbours}"
    )


class Known(msgspec.Struct, frozen=True, array_like=True):
    """A known word: in how many titles it is, its stem, and in how many documents that is."""

    word: str
    titles: int
    stem: str
    documents: int


class TermFacts(msgspec.Struct, frozen=True):
    """What is known of a word. `stems` are its forms in documents, `documents` in how many each occurs, `titles` as written.

    `others` are its synonyms as query text, `similar` the known words that look like it, `split` two known words that it is
    made of. `is_new`: documents have it that were not counted yet.
    """

    word: str
    stems: tuple[str, ...]
    documents: tuple[int, ...]
    titles: int
    is_new: bool
    others: tuple[str, ...] = ()
    similar: tuple[Known, ...] = ()
    split: tuple[Known, Known] | None = None

    @property
    def is_known(self) -> bool:
        """Whether any document has the word."""
        return self.titles > 0 or self.is_new or any(self.documents)


class QueryFacts(msgspec.Struct, frozen=True):
    """What is known of a query's words and of the whole."""

    documents: int
    has_vectors: bool
    average_length: float
    tiers: int
    settings: dict[str, Any]
    counts: dict[str, int]
    terms: tuple[TermFacts, ...]
    phrases: tuple[str, ...]


_KNOWN = """jsonb_build_array({0}.word, {0}.documents, {0}.stem, coalesce((
    SELECT t.documents FROM search_terms t WHERE t.kind = 'word' AND t.term = {0}.stem), 0))"""

# A word nobody has written is looked up once more in the index: it may be new.
UNDERSTAND = text(f"""
    SELECT s.documents, EXISTS (SELECT FROM search_vectors) AS has_vectors, s.average_length, cardinality(s.tiers) AS tiers, s.settings,
           coalesce((SELECT jsonb_object_agg(t.kind || ':' || t.term, t.documents) FROM search_terms t
                     WHERE (t.kind = 'tag' AND t.term = ANY (CAST(:tags AS text[])))
                        OR (t.kind = 'mark' AND t.term = ANY (CAST(:marks AS text[])))), '{{}}') AS counts,
           coalesce((
               SELECT jsonb_agg(jsonb_build_object(
                   'word', w.word, 'stems', l.stems, 'documents', l.documents, 'titles', coalesce(v.documents, 0),
                   'is_new', n.is_new,
                   'others', coalesce((
                       SELECT jsonb_agg(phraseto_tsquery('public.store_words', search_text(o.other))::text)
                       FROM (SELECT y.means AS other FROM search_synonyms y WHERE y.word = w.word
                             UNION SELECT y.word FROM search_synonyms y WHERE y.means = w.word AND y.both_ways LIMIT 6) o), '[]'),
                   'similar', CASE WHEN w.is_mendable AND NOT n.is_new AND v.documents IS NULL THEN coalesce((
                       SELECT jsonb_agg({_KNOWN.format("x")})
                       FROM (SELECT k.word, k.documents, k.stem FROM search_vocabulary k
                             WHERE k.word % unaccent(w.word) OR k.deletes && search_deletes(unaccent(w.word))
                             ORDER BY similarity(k.word, unaccent(w.word)) DESC, k.documents DESC LIMIT 60) x), '[]') ELSE '[]' END,
                   'split', CASE WHEN w.is_mendable AND NOT n.is_new AND v.documents IS NULL AND l.is_counted IS NOT TRUE THEN (
                       SELECT jsonb_build_array({_KNOWN.format("a")}, {_KNOWN.format("b")})
                       FROM generate_series(3, char_length(w.word) - 3) AS i
                       JOIN search_vocabulary a ON a.word = left(w.word, i)
                       CROSS JOIN LATERAL (
                           SELECT y.* FROM search_vocabulary y WHERE y.word LIKE substr(w.word, i + 1) || '%'
                             AND y.stem = (tsvector_to_array(to_tsvector('public.store_words', substr(w.word, i + 1))))[1]
                           ORDER BY y.documents DESC LIMIT 1) b
                       ORDER BY least(a.documents, b.documents) DESC LIMIT 1) END) ORDER BY w.n)
               FROM (SELECT u.word, u.n, char_length(u.word) BETWEEN 3 AND 30 AND u.word !~ '[[:space:]]' AS is_mendable
                     FROM unnest(CAST(:words AS text[])) WITH ORDINALITY AS u(word, n)) w
               CROSS JOIN LATERAL (
                   SELECT coalesce(jsonb_agg(x.stem), '[]') AS stems, coalesce(jsonb_agg(coalesce(t.documents, 0)), '[]') AS documents,
                          array_agg(x.stem) AS all_stems, bool_or(t.documents > 0) AS is_counted
                   FROM unnest(tsvector_to_array(to_tsvector('public.store_words', search_text(w.word)))) AS x(stem)
                   LEFT JOIN search_terms t ON t.kind = 'word' AND t.term = x.stem) l
               LEFT JOIN search_vocabulary v ON v.word = lower(unaccent(w.word))
               CROSS JOIN LATERAL (
                   SELECT w.is_mendable AND l.is_counted IS NOT TRUE AND l.all_stems IS NOT NULL AND EXISTS (
                       SELECT FROM search_documents d WHERE d.words @@ CAST(CAST(quote_literal(l.all_stems[1]) AS text) AS tsquery)) AS is_new) n
               ), '[]') AS terms,
           coalesce((SELECT jsonb_agg(phraseto_tsquery('public.store_words', search_text(p))::text)
                     FROM unnest(CAST(:phrases AS text[])) AS p), '[]') AS phrases
    FROM search_state s
""")

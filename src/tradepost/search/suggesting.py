"""Suggestions while somebody types: words that begin so, categories, and popular listings that have all of it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from tradepost.catalog.listing_pages import CategoryTree
from tradepost.core.database import Database
from tradepost.core.ids import short_id
from tradepost.search.rules import Words
from tradepost.search.types import Suggestion

_MOST = 8
_SHORTEST_FOR_TITLES = 3  # shorter beginnings fit too much to be of use

# The popular ones first, by an index of their own: a beginning has thousands of words in a large store. Only where few of them fit are
# all asked, and then few of all have it.
_SUGGEST = text("""
    WITH typed AS MATERIALIZED (
        SELECT CAST(CAST(:whole AS text) AS tsquery) AS whole
    ), endings AS MATERIALIZED (
        SELECT v.word FROM search_vocabulary v WHERE v.word LIKE :beginning AND v.documents > 1
        ORDER BY v.documents DESC, v.word LIMIT 6
    ), popular AS MATERIALIZED (
        SELECT d.listing_id, d.title, d.popularity FROM search_documents d
        WHERE CAST(:titles AS boolean) AND d.words @@ (SELECT whole FROM typed) AND d.marks @> '{tier=3}'::text[] LIMIT 400
    ), others AS MATERIALIZED (
        SELECT d.listing_id, d.title, d.popularity FROM search_documents d
        WHERE CAST(:titles AS boolean) AND (SELECT count(*) FROM popular) < 4 AND d.words @@ (SELECT whole FROM typed) LIMIT 50
    )
    SELECT 'query' AS kind, e.word AS text, NULL::uuid AS listing_id, NULL AS slug FROM endings e
    UNION ALL
    (SELECT 'listing', p.title, p.listing_id, l.slug
     FROM (SELECT * FROM popular UNION ALL SELECT * FROM others ORDER BY popularity DESC, listing_id LIMIT 4) p
     JOIN listings l ON l.id = p.listing_id)
""")


async def suggest(db: Database, tree: CategoryTree, typed: Words, *, is_open: bool) -> tuple[Suggestion, ...]:
    """Return up to eight suggestions for what was typed so far; with `is_open` its last word may still go on."""
    if not typed.words:
        return ()
    *before, last = typed.words
    found = _categories(tree, typed.tidy)
    rows = await db.read(
        _SUGGEST,
        whole=_query(before, last, is_open=is_open),
        beginning=_literal(last) + "%",
        titles=len(last) >= _SHORTEST_FOR_TITLES,
    )
    found += [_suggestion(row, before) for row in rows if row["kind"] == "listing" or is_open]
    unique = {(s.kind, s.text.lower()): s for s in found}
    return tuple(unique.values())[:_MOST]


def _query(before: Sequence[str], last: str, *, is_open: bool) -> str:
    words = [f"'{_plain(w)}'" for w in before if _plain(w)]
    return " & ".join([*words, f"'{_plain(last)}'" + (":*" if is_open else "")])


def _plain(word: str) -> str:
    """Return a word without what has a meaning in a query; quotes and backslashes are none of its letters anyway."""
    return word.replace("'", "").replace("’", "").replace("\\", "")


def _literal(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _suggestion(row: Any, before: Sequence[str]) -> Suggestion:
    if row["kind"] == "query":
        return Suggestion("query", " ".join([*before, row["text"]]), "")
    return Suggestion("listing", row["text"], f"/l/{row['slug']}-{short_id(row['listing_id'])}")


def _categories(tree: CategoryTree, typed: str) -> list[Suggestion]:
    start = typed.lower()
    return [
        Suggestion("category", c.name, f"/c/{c.slug}")
        for c in tree.rows
        if any(part.startswith(start) for part in (c.name.lower(), *c.name.lower().split()))
    ][:2]

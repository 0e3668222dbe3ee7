"""What staff do with search: read what found nothing, add synonyms, choose weights."""

from datetime import timedelta
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.database import Transaction, on_violation
from tradepost.core.errors import NotFound
from tradepost.search.rules import tidy_query
from tradepost.search.types import SameWord, SearchFigures, Synonym, SynonymKnown, UnansweredQuery, Weights

on_violation("uq_search_synonyms_word_means", SynonymKnown)
on_violation("ck_search_synonyms_not_itself", SameWord)

_LIST = text("SELECT id, word, means, both_ways FROM search_synonyms ORDER BY word, means LIMIT 1000")
_ADD = text("""
    INSERT INTO search_synonyms (word, means, both_ways, created_by) VALUES (:word, :means, :both_ways, :by) RETURNING id
""")
_REMOVE = text("DELETE FROM search_synonyms WHERE id = :synonym_id")
_UNANSWERED = text("""
    SELECT q.query, q.times, q.last_at,
           (SELECT v.word FROM search_vocabulary v WHERE v.word % q.query AND v.documents > 1
            ORDER BY similarity(v.word, q.query) DESC, v.documents DESC LIMIT 1) AS nearest
    FROM (SELECT lower(s.query) AS query, count(*)::int AS times, max(s.at) AS last_at FROM search_log s
          WHERE s.results_count = 0 AND s.at > now() - CAST(:within AS interval)
            AND NOT EXISTS (SELECT FROM search_synonyms y WHERE y.word = lower(s.query))
          GROUP BY lower(s.query) ORDER BY count(*) DESC, max(s.at) DESC LIMIT :limit) q
    ORDER BY q.times DESC, q.last_at DESC
""")
_FIGURES = text("""
    SELECT count(*)::int AS searches, count(*) FILTER (WHERE results_count = 0)::int AS unanswered,
           count(*) FILTER (WHERE clicked_id IS NOT NULL)::int AS clicked, count(*) FILTER (WHERE ordered_id IS NOT NULL)::int AS ordered,
           coalesce(percentile_cont(0.95) WITHIN GROUP (ORDER BY response_ms), 0)::float8 AS p95_ms
    FROM search_log WHERE at > now() - CAST(:within AS interval)
""")
_WEIGHTS = text("SELECT settings FROM search_state")
_SET_WEIGHTS = text("UPDATE search_state SET settings = :settings")


async def list_synonyms(tx: Transaction) -> list[Synonym]:
    """Return the store's synonyms by word."""
    return await tx.all(_LIST, into=Synonym)


async def add_synonym(tx: Transaction, word: str, means: str, *, both_ways: bool = True) -> UUID:
    """Let searches for `word` find what has `means` (one or more words), and the other way round with `both_ways`.

    Raises `SynonymKnown`, `SameWord`.
    """
    word, means = tidy_query(word).lower()[:60], tidy_query(means).lower()[:60]
    if not word or not means:
        raise SameWord
    added: UUID = await tx.value(_ADD, word=word, means=means, both_ways=both_ways, by=tx.actor.user_id)
    return added


async def remove_synonym(tx: Transaction, synonym_id: UUID) -> None:
    """Forget a synonym. Raises `NotFound`."""
    if not await tx.run(_REMOVE, synonym_id=synonym_id):
        raise NotFound


async def list_unanswered(tx: Transaction, *, days: int = 30, limit: int = 50) -> list[UnansweredQuery]:
    """Return the searches of the last days that found nothing and have no synonym yet, the most frequent first."""
    return await tx.all(_UNANSWERED, into=UnansweredQuery, within=timedelta(days=days), limit=limit)


async def search_figures(tx: Transaction, *, days: int = 30) -> SearchFigures:
    """Return how search did in the last days."""
    return await tx.one(_FIGURES, into=SearchFigures, within=timedelta(days=days))


async def store_weights(tx: Transaction) -> Weights:
    """Return the weights in force."""
    return msgspec.convert(await tx.value(_WEIGHTS), Weights)


async def set_weights(tx: Transaction, weights: Weights) -> None:
    """Have every search of the store weigh so from now on; other processes follow within seconds."""
    await tx.run(_SET_WEIGHTS, settings=msgspec.to_builtins(weights))

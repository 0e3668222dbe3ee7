"""How the assistant does: how much it was asked, understood and thanked for, and what it did not understand, as a list to work through."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.clock import now
from tradepost.core.database import Transaction


class AssistantFigures(msgspec.Struct, frozen=True):
    """The talks of a stretch of time. `withheld`: sentences of a language model that nothing stood behind."""

    talks: int
    turns: int
    understood: int
    by_model: int
    tokens: int
    withheld: int
    helped: int
    not_helped: int
    handed_over: int
    carted: int
    p95_ms: float


class IntentCount(msgspec.Struct, frozen=True):
    """How often something was asked for, and in how many of these turns a tool refused."""

    intent: str
    turns: int
    refused: int


class Unanswered(msgspec.Struct, frozen=True):
    """A question that was not understood, or an answer that did not help: the latest of those in the same words, and how many."""

    talk_id: UUID
    seq: int
    asked: str
    times: int
    last_at: datetime
    was_understood: bool


_FIGURES = text("""
    SELECT count(DISTINCT t.talk_id) AS talks, count(*) AS turns, count(*) FILTER (WHERE t.is_understood) AS understood,
           count(*) FILTER (WHERE t.made_by = 'model') AS by_model, coalesce(sum(t.tokens), 0)::bigint AS tokens,
           coalesce(sum(t.withheld), 0)::bigint AS withheld, count(*) FILTER (WHERE t.feedback = 1) AS helped,
           count(*) FILTER (WHERE t.feedback = -1) AS not_helped,
           (SELECT count(*) FROM assistant_talks k WHERE k.handed_over_at >= :begins AND k.handed_over_at < :ends) AS handed_over,
           count(DISTINCT t.talk_id) FILTER (WHERE jsonb_path_exists(t.reply, '$.sources[*] ? (@.tool == "add_to_cart" && @.result != null)')) AS carted,
           coalesce(percentile_cont(0.95) WITHIN GROUP (ORDER BY t.ms), 0)::float8 AS p95_ms
    FROM assistant_turns t WHERE t.at >= :begins AND t.at < :ends
""")
_INTENTS = text("""
    SELECT i.intent, count(*) AS turns,
           count(*) FILTER (WHERE jsonb_path_exists(t.reply, '$.sources[*] ? (@.error != null)')) AS refused
    FROM assistant_turns t CROSS JOIN unnest(t.intents) AS i(intent)
    WHERE t.at >= :begins AND t.at < :ends GROUP BY i.intent ORDER BY count(*) DESC, i.intent LIMIT 15
""")
_UNANSWERED = text("""
    SELECT DISTINCT ON (count(*) OVER same, lower(t.asked)) t.talk_id, t.seq, t.asked, CAST(count(*) OVER same AS int) AS times,
           max(t.at) OVER same AS last_at, t.is_understood AS was_understood
    FROM assistant_turns t WHERE (NOT t.is_understood OR t.feedback = -1) AND t.settled_at IS NULL AND t.at >= :begins
    WINDOW same AS (PARTITION BY lower(t.asked))
    ORDER BY count(*) OVER same DESC, lower(t.asked), t.at DESC LIMIT :limit
""")
_SETTLE = text("""
    UPDATE assistant_turns SET settled_at = :now, settled_by = :by
    WHERE lower(asked) = lower(CAST(:asked AS text)) AND (NOT is_understood OR feedback = -1) AND settled_at IS NULL
""")


async def assistant_figures(tx: Transaction, begins: datetime, ends: datetime) -> AssistantFigures:
    """Return how the assistant did between two moments."""
    return await tx.one(_FIGURES, into=AssistantFigures, begins=begins, ends=ends)


async def count_intents(tx: Transaction, begins: datetime, ends: datetime) -> list[IntentCount]:
    """Return what was asked for most."""
    return await tx.all(_INTENTS, into=IntentCount, begins=begins, ends=ends)


async def list_unanswered_questions(tx: Transaction, since: datetime, limit: int = 50) -> list[Unanswered]:
    """Return what nobody has seen to yet, the most frequent first."""
    return await tx.all(_UNANSWERED, into=Unanswered, begins=since, limit=limit)


async def settle_question(tx: Transaction, asked: str, by: UUID | None) -> int:
    """Take a question off the list, in whatever case it was written; return how many turns that were."""
    return await tx.run(_SETTLE, asked=asked, now=now(), by=by)

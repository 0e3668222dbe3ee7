"""Every read of reports, decisions, appeals and blocks."""

from typing import Any
from uuid import UUID

from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.core.database import Transaction
from tradepost.core.pages import Page, newest_first, page_of, page_size, to_cursor
from tradepost.moderation.types import BlockedCard, Case, Decision, NoSuchDecision, OwnReport, ReportLine

CASES = text("""
    SELECT subject_kind, subject_id, count(*) AS reports, min(created_at) AS first_at, max(created_at) AS last_at,
           array_agg(DISTINCT reason) AS reasons
    FROM reports WHERE decision_id IS NULL GROUP BY subject_kind, subject_id ORDER BY count(*) DESC, min(created_at) LIMIT :limit
""")
REPORTS_ABOUT = text("""
    SELECT r.id, r.reason, r.details, CAST(u.username AS text) AS reporter, r.created_at, r.decision_id IS NULL AS is_open
    FROM reports r JOIN users u ON u.id = r.reporter_id
    WHERE r.subject_kind = :kind AND r.subject_id = :subject_id ORDER BY r.created_at DESC LIMIT 200
""")
OWN_REPORTS = text("""
    SELECT r.id, r.subject_kind, r.subject_id, r.reason, r.created_at,
           CASE WHEN r.decision_id IS NULL THEN NULL ELSE 'decided' END AS action
    FROM reports r WHERE r.reporter_id = :user_id ORDER BY r.created_at DESC LIMIT 100
""")
_DECISION = """
    SELECT d.id, d.subject_kind, d.subject_id, d.person_id, d.action, d.reason, d.until, d.decided_by,
           CAST(u.username AS text) AS decider, d.created_at, d.ended_at, d.undo_reason, a.text AS appeal,
           a.state AS appeal_state, a.answer AS appeal_answer
    FROM decisions d JOIN users u ON u.id = d.decided_by LEFT JOIN appeals a ON a.decision_id = d.id
"""
DECISION = text(f"{_DECISION} WHERE d.id = :decision_id")
DECISIONS_ABOUT = text(f"{_DECISION} WHERE d.subject_id = :subject_id ORDER BY d.created_at DESC LIMIT 100")
DECISIONS_ON = text(
    f"{_DECISION} WHERE d.person_id = :user_id AND d.action <> 'none' ORDER BY d.created_at DESC LIMIT 100"
)
OPEN_APPEALS = text(f"{_DECISION} WHERE a.state = 'open' ORDER BY a.created_at LIMIT :limit")
LATEST_DECISIONS = text(f"""
    {_DECISION} WHERE (d.created_at, d.id) < (:before_at, :before_id) ORDER BY d.created_at DESC, d.id DESC LIMIT :limit
""")
LOCK_DECISION = text("""
    SELECT id, subject_kind, subject_id, person_id, action, until, effect, decided_by, ended_at FROM decisions
    WHERE id = :decision_id FOR UPDATE
""")
OVERDUE = text("""
    SELECT id FROM decisions WHERE until <= :now AND ended_at IS NULL ORDER BY id LIMIT 200
""")
IS_BLOCKED = text("SELECT is_blocked(CAST(:one AS uuid), CAST(:other AS uuid))")
HAS_BLOCKED = text("SELECT EXISTS (SELECT FROM blocks WHERE user_id = :user_id AND blocked_id = :blocked_id)")
BLOCKED_BY = text("""
    SELECT u.id, CAST(u.username AS text) AS username, u.display_name, b.created_at
    FROM blocks b JOIN users u ON u.id = b.blocked_id WHERE b.user_id = :user_id ORDER BY b.created_at DESC LIMIT 500
""")


async def list_cases(tx: Transaction, caller: Caller, limit: int = 100) -> list[Case]:
    """Return what is reported and undecided, the most reported first. Raises `NotAllowed`."""
    caller.check_can("moderate")
    return await tx.all(CASES, into=Case, limit=limit)


async def reports_about(tx: Transaction, caller: Caller, kind: str, subject_id: UUID) -> list[ReportLine]:
    """Return the reports about one thing, the latest first. Raises `NotAllowed`."""
    caller.check_can("moderate")
    return await tx.all(REPORTS_ABOUT, into=ReportLine, kind=kind, subject_id=subject_id)


async def decisions_about(tx: Transaction, caller: Caller, subject_id: UUID) -> list[Decision]:
    """Return what was decided about one thing before. Raises `NotAllowed`."""
    caller.check_can("moderate")
    return await tx.all(DECISIONS_ABOUT, into=Decision, subject_id=subject_id)


async def open_appeals(tx: Transaction, caller: Caller, limit: int = 100) -> list[Decision]:
    """Return the decisions that are appealed against, the longest waiting first. Raises `NotAllowed`."""
    caller.check_can("moderate")
    return await tx.all(OPEN_APPEALS, into=Decision, limit=limit)


async def latest_decisions(
    tx: Transaction, caller: Caller, *, after: str | None = None, limit: int = 24
) -> Page[Decision]:
    """Return decisions, the latest first. Raises `NotAllowed`, `NoSuchPage`."""
    caller.check_can("moderate")
    at, key = newest_first(after)
    size = page_size(limit)
    rows = await tx.all(LATEST_DECISIONS, into=Decision, before_at=at, before_id=key, limit=size + 1)
    return page_of(rows, size, lambda last: to_cursor(last.created_at, last.id))


async def own_decisions(tx: Transaction, caller: Caller) -> list[Decision]:
    """Return what was decided against the caller, the latest first."""
    return await tx.all(DECISIONS_ON, into=Decision, user_id=caller.check_signed_in())


async def own_reports(tx: Transaction, caller: Caller) -> list[OwnReport]:
    """Return what the caller reported, the latest first."""
    return await tx.all(OWN_REPORTS, into=OwnReport, user_id=caller.check_signed_in())


async def access_decision(tx: Transaction, caller: Caller, decision_id: UUID) -> Decision:
    """Return a decision to the person it concerns and to moderators. Raises `NoSuchDecision` to anybody else."""
    found = await tx.maybe(DECISION, into=Decision, decision_id=decision_id)
    mine = found is not None and found.person_id is not None and found.person_id == caller.check_signed_in()
    if found is None or not (mine or caller.can("moderate")):
        raise NoSuchDecision
    return found


async def lock_decision(tx: Transaction, decision_id: UUID) -> Any:
    """Lock a decision and return its row. Raises `NoSuchDecision`."""
    found = await tx.maybe(LOCK_DECISION, decision_id=decision_id)
    if found is None:
        raise NoSuchDecision
    return found


async def is_blocked(tx: Transaction, one: UUID, other: UUID) -> bool:
    """Whether one of two people blocks the other, whichever it is."""
    return bool(await tx.value(IS_BLOCKED, one=one, other=other))


async def list_blocked(tx: Transaction, caller: Caller) -> list[BlockedCard]:
    """Return whom the caller has blocked, the latest first."""
    return await tx.all(BLOCKED_BY, into=BlockedCard, user_id=caller.check_signed_in())

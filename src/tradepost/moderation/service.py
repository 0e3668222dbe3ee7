"""Writing reports, decisions, appeals and blocks. What a decision does to its subject is done by the flow around it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from tradepost.accounts.types import Caller, NoSuchPerson
from tradepost.core.clock import now
from tradepost.core.database import Transaction, on_violation
from tradepost.core.events import record
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.ids import uuid7
from tradepost.core.text import paragraphs
from tradepost.moderation import queries
from tradepost.moderation.events import (
    AppealDecided,
    CaseDecided,
    DecisionAppealed,
    DecisionEnded,
    PersonBlocked,
    PersonUnblocked,
    SubjectReported,
)
from tradepost.moderation.types import (
    AppealAnswer,
    AppealedAlready,
    AppealForm,
    BlockedPerson,
    CannotBlock,
    DecidedMeanwhile,
    DecisionForm,
    NoSuchDecision,
    NotAppealable,
    OwnDecision,
    ReportForm,
    SubjectKind,
)

on_violation("ck_blocks_not_oneself", CannotBlock)
on_violation("fk_blocks_blocked_id", NoSuchPerson)
on_violation("ck_follows_not_blocked", BlockedPerson)
on_violation("pk_appeals", AppealedAlready)

_REPORT = text("""
    INSERT INTO reports (id, subject_kind, subject_id, reporter_id, reason, details)
    VALUES (:id, :kind, :subject_id, :user_id, :reason, :details)
    ON CONFLICT (subject_id, reporter_id) WHERE decision_id IS NULL DO NOTHING
""")
_DECIDE = text("""
    INSERT INTO decisions (id, subject_kind, subject_id, person_id, action, reason, until, effect, decided_by)
    VALUES (:id, :kind, :subject_id, :person_id, :action, :reason, :until, :effect, :by)
""")
_CLOSE_REPORTS = text("""
    UPDATE reports SET decision_id = :decision_id
    WHERE subject_kind = :kind AND subject_id = :subject_id AND decision_id IS NULL
""")
_END = text("""
    UPDATE decisions SET ended_at = :now, undone_by = CAST(:by AS uuid), undo_reason = CAST(:reason AS text) WHERE id = :decision_id
""")
_APPEAL = text("INSERT INTO appeals (decision_id, text) VALUES (:decision_id, :text)")
_ANSWER_APPEAL = text("""
    UPDATE appeals SET state = :state, answer = :answer, decided_by = :by, decided_at = :now
    WHERE decision_id = :decision_id AND state = 'open'
""")
_BLOCK = text("INSERT INTO blocks (user_id, blocked_id) VALUES (:user_id, :blocked_id) ON CONFLICT DO NOTHING")
_UNBLOCK = text("DELETE FROM blocks WHERE user_id = :user_id AND blocked_id = :blocked_id")


async def add_report(tx: Transaction, caller: Caller, kind: SubjectKind, subject_id: UUID, form: ReportForm) -> bool:
    """Report something; return whether that is new. The same person's second report of it waits with the first."""
    check_fields(broken_limits(form))
    report_id = uuid7()
    if not await tx.run(
        _REPORT, id=report_id, kind=kind, subject_id=subject_id, user_id=caller.check_signed_in(), reason=form.reason,
        details=paragraphs(form.details),
    ):  # fmt: skip
        return False
    await record(tx, SubjectReported(report_id, kind, subject_id, form.reason), subject_id=subject_id)
    return True


async def write_decision(
    tx: Transaction, caller: Caller, kind: SubjectKind, subject_id: UUID, person_id: UUID | None, form: DecisionForm, *,
    decision_id: UUID, until: datetime | None, effect: dict[str, Any],
) -> None:  # fmt: skip
    """Write a decision down and close the reports it answers. Raises `NotAllowed`, `FieldErrors`."""
    caller.check_can("moderate")
    check_fields(broken_limits(form))
    await tx.run(
        _DECIDE, id=decision_id, kind=kind, subject_id=subject_id, person_id=person_id, action=form.action,
        reason=paragraphs(form.reason), until=until, effect=effect, by=caller.check_in_person(),
    )  # fmt: skip
    await tx.run(_CLOSE_REPORTS, decision_id=decision_id, kind=kind, subject_id=subject_id)
    await record(tx, CaseDecided(decision_id, kind, subject_id, person_id, form.action), subject_id=subject_id)


async def end_decision(tx: Transaction, decision_id: UUID, *, by: UUID | None = None, reason: str | None = None) -> Any:
    """Write down that a decision no longer holds, and return its row. Raises `NoSuchDecision`, `DecidedMeanwhile`."""
    row = await queries.lock_decision(tx, decision_id)
    if row["ended_at"] is not None:
        raise DecidedMeanwhile
    await tx.run(_END, decision_id=decision_id, now=now(), by=by, reason=reason)
    await record(tx, DecisionEnded(decision_id, row["person_id"]), subject_id=row["subject_id"])
    return row


async def appeal(tx: Transaction, caller: Caller, decision_id: UUID, form: AppealForm) -> None:
    """Object to a decision about oneself. Raises `NoSuchDecision`, `NotAppealable`, `AppealedAlready`, `FieldErrors`."""
    check_fields(broken_limits(form))
    found = await queries.access_decision(tx, caller, decision_id)
    if found.person_id != caller.check_in_person():
        raise NoSuchDecision
    if found.appeal is not None:
        raise AppealedAlready
    if not found.may_be_appealed:
        raise NotAppealable
    await tx.run(_APPEAL, decision_id=decision_id, text=paragraphs(form.text))
    await record(tx, DecisionAppealed(decision_id), subject_id=found.subject_id)


async def answer_appeal(
    tx: Transaction, caller: Caller, decision_id: UUID, form: AppealAnswer, *, is_alone: bool
) -> None:
    """Grant or refuse an appeal. `is_alone`: nobody else could. Raises `OwnDecision`, `NoSuchDecision`, `FieldErrors`."""
    caller.check_can("moderate")
    check_fields(broken_limits(form))
    row = await queries.lock_decision(tx, decision_id)
    if row["decided_by"] == caller.check_in_person() and not is_alone:
        raise OwnDecision
    state = "granted" if form.grant else "refused"
    if not await tx.run(
        _ANSWER_APPEAL, decision_id=decision_id, state=state, answer=paragraphs(form.answer), by=caller.user_id,
        now=now(),
    ):  # fmt: skip
        raise NoSuchDecision
    await record(tx, AppealDecided(decision_id, row["person_id"], form.grant), subject_id=row["subject_id"])


async def block(tx: Transaction, caller: Caller, user_id: UUID) -> bool:
    """Block a person; return whether that is new. They no longer follow each other. Raises `NoSuchPerson`, `CannotBlock`."""
    me = caller.check_in_person()
    if not await tx.run(_BLOCK, user_id=me, blocked_id=user_id):
        return False
    await record(tx, PersonBlocked(me, user_id), subject_id=me)
    return True


async def unblock(tx: Transaction, caller: Caller, user_id: UUID) -> bool:
    """Take a block back; return whether there was one."""
    me = caller.check_in_person()
    if not await tx.run(_UNBLOCK, user_id=me, blocked_id=user_id):
        return False
    await record(tx, PersonUnblocked(me, user_id), subject_id=me)
    return True

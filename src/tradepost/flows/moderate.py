"""Keeping order: reports become cases, cases decisions, and a decision does what it says to a listing, a review, a message or an account.

Everything a decision did is undone with it: listings that it took down are on offer again, and only those. Staff cannot be
suspended by those who may not manage people; banning takes the permission to manage people. Of what people write to each other
moderators read the messages that one of them reported, and nothing else.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.accounts import service as accounts
from tradepost.accounts.types import Caller, NotAllowed
from tradepost.catalog import oversight
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Actor, Transaction
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.ids import short_id, uuid7
from tradepost.core.limits import check_rate
from tradepost.core.pages import Page
from tradepost.flows.store import Store
from tradepost.messaging import service as talks
from tradepost.moderation import queries, service
from tradepost.moderation.types import (
    ACTIONS,
    AppealAnswer,
    AppealForm,
    BlockedCard,
    Case,
    Decision,
    DecisionForm,
    NoSuchSubject,
    NotForThat,
    NotYourself,
    OwnReport,
    ReportForm,
    ReportLine,
    SubjectKind,
)
from tradepost.reviews import service as reviews

MOST_REPORTS = 20

_SUBJECTS = {
    "listing": text("""
        SELECT l.id, l.seller_id AS person_id, l.title AS name, l.slug, left(l.description, 600) AS words, l.status AS state,
               l.status = 'active' AS is_shown, CAST(u.username AS text) AS username
        FROM listings l LEFT JOIN users u ON u.id = l.seller_id WHERE l.id = :id AND l.status <> 'removed'
    """),
    "review": text("""
        SELECT r.id, r.user_id AS person_id, l.title AS name, l.slug, r.comment AS words, r.status AS state, l.id AS listing_id,
               r.status = 'shown' AS is_shown, CAST(u.username AS text) AS username
        FROM reviews r JOIN listings l ON l.id = r.listing_id JOIN users u ON u.id = r.user_id WHERE r.id = :id
    """),
    "person": text("""
        SELECT u.id, u.id AS person_id, u.display_name AS name, '' AS slug, u.bio AS words,
               CASE WHEN NOT u.is_active THEN 'closed' WHEN u.suspended_until > now() THEN 'suspended' ELSE 'open' END AS state,
               u.is_active AS is_shown, CAST(u.username AS text) AS username
        FROM users u WHERE u.id = :id AND u.erased_at IS NULL
    """),
    "message": text("""
        SELECT m.id, m.sender_id AS person_id, u.display_name AS name, '' AS slug, m.body AS words, m.file_id,
               CASE WHEN m.deleted_at IS NULL THEN 'shown' ELSE 'deleted' END AS state, m.deleted_at IS NULL AS is_shown,
               CAST(u.username AS text) AS username
        FROM messages m JOIN users u ON u.id = m.sender_id
        WHERE m.id = :id AND (
            EXISTS (SELECT FROM reports r WHERE r.subject_kind = 'message' AND r.subject_id = m.id)
            OR EXISTS (SELECT FROM participants p WHERE p.conversation_id = m.conversation_id AND p.user_id = (SELECT app_user_id())))
    """),
}  # fmt: skip
_PERMISSIONS_OF = text("SELECT permissions FROM person_roles(CAST(:user_id AS uuid))")
_OTHER_MODERATORS = text("""
    SELECT EXISTS (SELECT FROM user_roles ur JOIN role_permissions rp ON rp.role = ur.role JOIN users u ON u.id = ur.user_id
                   WHERE rp.permission = 'moderate' AND u.is_active AND u.id <> :user_id)
""")


class Subject(msgspec.Struct, frozen=True):
    """What a case is about, as a moderator sees it. `path` leads to it; `state` is its own."""

    kind: SubjectKind
    id: UUID
    person_id: UUID | None
    username: str | None
    name: str
    words: str
    state: str
    is_shown: bool
    path: str
    file_id: UUID | None = None


class CaseView(msgspec.Struct, frozen=True):
    """Everything about one thing that was reported. `actions`: what the caller may decide."""

    subject: Subject
    reports: list[ReportLine]
    decisions: list[Decision]
    actions: tuple[str, ...]


class Queue(msgspec.Struct, frozen=True):
    """What waits for moderators: reported things with what they are, and appeals."""

    cases: list[tuple[Case, Subject | None]]
    appeals: list[Decision]


def _acting(caller: Caller) -> Actor:
    caller.check_can("moderate")
    return Actor("staff", caller.user_id, caller.session, caller.behind.id if caller.behind else None)


async def report_subject(store: Store, caller: Caller, kind: SubjectKind, subject_id: UUID, form: ReportForm) -> bool:
    """Tell the staff that something is wrong; return whether it was new to them.

    Raises `SignInFirst`, `NoSuchSubject`, `NotYourself`, `TooOften` after 20 in a quarter of an hour, `FieldErrors`.
    """
    user_id = caller.check_in_person()
    await check_rate(store.cache, str(user_id), "report", MOST_REPORTS)
    async with store.db.transaction(actor=caller.actor) as tx:
        subject = await find_subject(tx, kind, subject_id)
        if subject is None or not subject.is_shown:
            raise NoSuchSubject
        if subject.person_id == user_id:
            raise NotYourself
        return await service.add_report(tx, caller, kind, subject_id, form)


async def find_subject(tx: Transaction, kind: SubjectKind, subject_id: UUID) -> Subject | None:
    """Return what a report or a decision is about, or None when it is gone."""
    row = await tx.maybe(_SUBJECTS[kind], id=subject_id)
    return _subject(kind, dict(row)) if row else None


def _subject(kind: SubjectKind, row: dict[str, Any]) -> Subject:
    listing_id = row.get("listing_id", row["id"])
    path = f"/u/{row['username']}" if kind in {"person", "message"} else f"/l/{row['slug']}-{short_id(listing_id)}"
    return Subject(kind, row["id"], row["person_id"], row["username"], row["name"], row["words"], row["state"],
                   row["is_shown"], path + ("#reviews" if kind == "review" else ""), row.get("file_id"))  # fmt: skip


async def moderation_queue(store: Store, caller: Caller) -> Queue:
    """Return what waits: the most reported first, then appeals. Raises `NotAllowed`."""
    async with store.db.transaction(actor=_acting(caller), read_only=True) as tx:
        cases = await queries.list_cases(tx, caller)
        shown = [(case, await find_subject(tx, case.subject_kind, case.subject_id)) for case in cases]
        return Queue(shown, await queries.open_appeals(tx, caller))


async def latest_decisions(store: Store, caller: Caller, *, after: str | None = None) -> Page[Decision]:
    """Return what was decided, the latest first. Raises `NotAllowed`, `NoSuchPage`."""
    async with store.db.transaction(actor=_acting(caller), read_only=True) as tx:
        return await queries.latest_decisions(tx, caller, after=after)


async def open_case(store: Store, caller: Caller, kind: SubjectKind, subject_id: UUID) -> CaseView:
    """Return everything about one thing, reported or not. Raises `NotAllowed`, `NoSuchSubject`."""
    async with store.db.transaction(actor=_acting(caller), read_only=True) as tx:
        subject = await find_subject(tx, kind, subject_id)
        if subject is None:
            raise NoSuchSubject
        allowed = tuple(a for a in ACTIONS[kind] if a != "ban" or caller.can("manage_people"))
        return CaseView(
            subject,
            await queries.reports_about(tx, caller, kind, subject_id),
            await queries.decisions_about(tx, caller, subject_id),
            allowed,
        )


async def decide_case(store: Store, caller: Caller, kind: SubjectKind, subject_id: UUID, form: DecisionForm) -> UUID:
    """Decide about a listing, a review, a message or a person and do what that means, in one transaction. Return the decision's id.

    Raises `NotAllowed`, `NoSuchSubject`, `NotForThat`, `NotYourself`, `LastAdministrator`, `FieldErrors`.
    """
    if form.action not in ACTIONS[kind]:
        raise NotForThat
    async with store.db.transaction(actor=_acting(caller)) as tx:
        subject = await find_subject(tx, kind, subject_id)
        if subject is None:
            raise NoSuchSubject
        if subject.person_id == caller.user_id:
            raise NotYourself
        decision_id = uuid7()
        until = now() + timedelta(days=form.days) if form.action == "suspend" else None
        effect = await _apply(tx, store, caller, subject, form, decision_id, until)
        await service.write_decision(
            tx, caller, kind, subject_id, subject.person_id, form, decision_id=decision_id, until=until, effect=effect
        )
        return decision_id


async def _apply(
    tx: Transaction, store: Store, caller: Caller, subject: Subject, form: DecisionForm, decision_id: UUID, until: Any
) -> dict[str, Any]:
    """Do what a decision says; return what undoing it needs to know."""
    if form.action == "hide" and subject.kind == "listing":
        return {"was_active": await oversight.hide_listing(tx, subject.id, decision_id)}
    if form.action == "hide" and subject.kind == "message":
        return {"message": await talks.remove_message(tx, subject.id)}
    if form.action == "hide":
        return {"was_shown": await reviews.set_hidden(tx, subject.id, hidden=True)}
    if form.action in {"suspend", "ban"} and subject.person_id is not None:
        await _check_rank(tx, caller, subject.person_id)
        was_open = await _lock_out(tx, store, caller, subject.person_id, form.action, until)
        return {"was_open": was_open, "listings": await oversight.hide_listings_of(tx, subject.person_id, decision_id)}
    return {}


async def _lock_out(tx: Transaction, store: Store, caller: Caller, user_id: UUID, action: str, until: Any) -> bool:
    if action == "ban":
        caller.check_can("manage_people")
        return await accounts.deactivate(tx, store.cache, caller, user_id)
    await accounts.suspend(tx, store.cache, user_id, until)
    return True


async def _check_rank(tx: Transaction, caller: Caller, user_id: UUID) -> None:
    """Only who manages people moves against the staff. Raises `NotAllowed`."""
    if "staff" in await tx.value(_PERMISSIONS_OF, user_id=user_id) and not caller.can("manage_people"):
        raise NotAllowed("manage_people")


async def undo_decision(store: Store, caller: Caller, decision_id: UUID, reason: str) -> None:
    """Take a decision back with everything it did. Raises `NotAllowed`, `NoSuchDecision`, `DecidedMeanwhile`, `FieldErrors`."""
    said = DecisionForm(action="none", reason=reason)
    async with store.db.transaction(actor=_acting(caller)) as tx:
        check_fields(broken_limits(said))
        row = await service.end_decision(tx, decision_id, by=caller.check_in_person(), reason=reason.strip())
        await _restore(tx, store, caller, row)


async def _restore(tx: Transaction, store: Store, caller: Caller | None, row: Any) -> None:
    """Undo what a decision did; where something else happened meanwhile, that stays."""
    effect, action = row["effect"], row["action"]
    if action == "hide" and row["subject_kind"] == "listing":
        await oversight.show_listings(tx, row["id"], as_active=bool(effect.get("was_active")))
    elif action == "hide" and effect.get("message"):
        await talks.restore_message(tx, row["subject_id"], effect["message"])
    elif action == "hide" and effect.get("was_shown"):
        await reviews.set_hidden(tx, row["subject_id"], hidden=False)
    elif action in {"suspend", "ban"} and row["person_id"] is not None:
        if action == "suspend":
            await accounts.suspend(tx, store.cache, row["person_id"], None)
        elif effect.get("was_open") and caller is not None:
            await accounts.reactivate(tx, caller, row["person_id"])
        await oversight.show_listings(tx, row["id"], as_active=True)


async def appeal_decision(store: Store, caller: Caller, decision_id: UUID, form: AppealForm) -> None:
    """Object to a decision about oneself.

    Raises `NoSuchDecision`, `NotAppealable`, `AppealedAlready`, `FieldErrors`.
    """
    async with store.db.transaction(actor=caller.actor) as tx:
        await service.appeal(tx, caller, decision_id, form)


async def answer_appeal(store: Store, caller: Caller, decision_id: UUID, form: AppealAnswer) -> None:
    """Grant an appeal, which undoes the decision, or refuse it; by somebody else than who decided where there is one.

    Raises `NotAllowed`, `NoSuchDecision`, `OwnDecision`, `FieldErrors`.
    """
    async with store.db.transaction(actor=_acting(caller)) as tx:
        is_alone = not await tx.value(_OTHER_MODERATORS, user_id=caller.user_id)
        await service.answer_appeal(tx, caller, decision_id, form, is_alone=is_alone)
        if form.grant:
            row = await service.end_decision(tx, decision_id, by=caller.user_id, reason=form.answer.strip())
            await _restore(tx, store, caller, row)


async def end_suspensions(store: Store) -> int:
    """End the suspensions whose time is over, each in a transaction of its own; return how many."""
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        due = await tx.values(queries.OVERDUE, now=now())
    for decision_id in due:
        async with store.db.transaction(actor=SYSTEM) as tx:
            await _restore(tx, store, None, await service.end_decision(tx, decision_id))
    return len(due)


async def standing(store: Store, caller: Caller) -> tuple[list[Decision], list[OwnReport], list[BlockedCard]]:
    """Return what was decided about the caller, what they reported and whom they blocked."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return (
            await queries.own_decisions(tx, caller),
            await queries.own_reports(tx, caller),
            await queries.list_blocked(tx, caller),
        )


async def block_person(store: Store, caller: Caller, user_id: UUID) -> bool:
    """Have nothing to do with a person; return whether that is new. Raises `NoSuchPerson`, `CannotBlock`, `NotByToken`."""
    async with store.db.transaction(actor=caller.actor) as tx:
        return await service.block(tx, caller, user_id)


async def unblock_person(store: Store, caller: Caller, user_id: UUID) -> bool:
    """Take a block back; return whether there was one."""
    async with store.db.transaction(actor=caller.actor) as tx:
        return await service.unblock(tx, caller, user_id)


async def has_blocked(store: Store, caller: Caller, user_id: UUID) -> bool:
    """Whether the caller has blocked a person."""
    if caller.user_id is None:
        return False
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return bool(await tx.value(queries.HAS_BLOCKED, user_id=caller.user_id, blocked_id=user_id))

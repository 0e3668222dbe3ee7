"""What the rest of the product knows of reports, decisions, appeals and blocks."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.core.errors import Conflict, NotFound, Refused

SubjectKind = Literal["listing", "person", "review", "message"]
DecisionAction = Literal["none", "warn", "hide", "suspend", "ban"]
ReportReason = Literal["counterfeit", "forbidden", "fraud", "abuse", "spam", "wrong", "other"]
REASONS: dict[ReportReason, str] = {
    "counterfeit": "It is counterfeit or stolen",
    "forbidden": "It may not be sold",
    "fraud": "It is a fraud",
    "abuse": "It insults or threatens somebody",
    "spam": "It is advertising or the same again and again",
    "wrong": "It is wrong or misleading",
    "other": "Something else",
}
ACTIONS: dict[SubjectKind, tuple[DecisionAction, ...]] = {
    "listing": ("none", "warn", "hide"),
    "review": ("none", "warn", "hide"),
    "message": ("none", "warn", "hide"),
    "person": ("none", "warn", "suspend", "ban"),
}


class NoSuchSubject(NotFound):
    """What you want to report is not here (any more)."""


class NotYourself(Conflict):
    """This is your own; you can change or remove it yourself."""


class NoSuchDecision(NotFound):
    """There is no such decision."""


class NotForThat(Conflict):
    """That cannot be done with this; listings, reviews and messages are hidden, people suspended or banned."""


class DecidedMeanwhile(Conflict):
    """This decision was undone or has ended already."""


class AppealedAlready(Conflict):
    """There is an appeal against this decision already."""


class NotAppealable(Conflict):
    """Nothing was done that one could appeal against."""


class OwnDecision(Refused):
    """You made this decision; somebody else decides about the appeal."""


class BlockedPerson(Refused):
    """One of you has blocked the other."""


class CannotBlock(Conflict):
    """You cannot block yourself."""


class ReportForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody says is wrong."""

    reason: ReportReason
    details: Annotated[str, Meta(max_length=2000)] = ""


class DecisionForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a moderator decides. `reason` is told to the person; `days` is the length of a suspension."""

    action: DecisionAction
    reason: Annotated[str, Meta(min_length=3, max_length=2000)]
    days: Annotated[int, Meta(ge=1, le=365)] = 7


class AppealForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why somebody does not accept a decision."""

    text: Annotated[str, Meta(min_length=3, max_length=2000)]


class AppealAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of an appeal, and why."""

    grant: bool
    answer: Annotated[str, Meta(min_length=3, max_length=2000)]


class Case(msgspec.Struct, frozen=True):
    """Open reports about one thing, in the queue."""

    subject_kind: SubjectKind
    subject_id: UUID
    reports: int
    first_at: datetime
    last_at: datetime
    reasons: tuple[str, ...]


class ReportLine(msgspec.Struct, frozen=True):
    """One report of a case. `is_open`: nobody has decided about it."""

    id: UUID
    reason: str
    details: str
    reporter: str
    created_at: datetime
    is_open: bool


class OwnReport(msgspec.Struct, frozen=True):
    """A report as who made it sees it; `action` is what was decided, None while nobody has."""

    id: UUID
    subject_kind: str
    subject_id: UUID
    reason: str
    created_at: datetime
    action: str | None


class Decision(msgspec.Struct, frozen=True):
    """A decision with its appeal. `ended_at`: it was undone, or its time is over."""

    id: UUID
    subject_kind: str
    subject_id: UUID
    person_id: UUID | None
    action: str
    reason: str
    until: datetime | None
    decided_by: UUID
    decider: str
    created_at: datetime
    ended_at: datetime | None
    undo_reason: str | None
    appeal: str | None
    appeal_state: str | None
    appeal_answer: str | None

    @property
    def may_be_appealed(self) -> bool:
        """Whether the person may still object: something was done, and is in force."""
        return self.action != "none" and self.ended_at is None and self.appeal is None


class BlockedCard(msgspec.Struct, frozen=True):
    """Somebody whom the caller has blocked."""

    id: UUID
    username: str
    display_name: str
    created_at: datetime

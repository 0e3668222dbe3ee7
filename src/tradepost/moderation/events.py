"""What happens between people and the staff who keep order, as facts."""

from uuid import UUID

import msgspec


class SubjectReported(msgspec.Struct, frozen=True):
    """Somebody said that something is wrong with a listing, a person or a review."""

    report_id: UUID
    subject_kind: str
    subject_id: UUID
    reason: str


class CaseDecided(msgspec.Struct, frozen=True):
    """Somebody of the staff decided about a listing, a person or a review."""

    decision_id: UUID
    subject_kind: str
    subject_id: UUID
    person_id: UUID | None
    action: str


class DecisionEnded(msgspec.Struct, frozen=True):
    """A decision no longer holds: it was undone, or its time was over."""

    decision_id: UUID
    person_id: UUID | None


class DecisionAppealed(msgspec.Struct, frozen=True):
    """The person concerned objects to a decision."""

    decision_id: UUID


class AppealDecided(msgspec.Struct, frozen=True):
    """Somebody else of the staff granted or refused an appeal."""

    decision_id: UUID
    person_id: UUID | None
    granted: bool


class PersonBlocked(msgspec.Struct, frozen=True):
    """Somebody wants nothing to do with somebody."""

    user_id: UUID
    blocked_id: UUID


class PersonUnblocked(msgspec.Struct, frozen=True):
    """Somebody took that back."""

    user_id: UUID
    blocked_id: UUID

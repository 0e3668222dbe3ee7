"""What the rest of the product knows of verification: that somebody is who they say."""

from datetime import date, datetime
from typing import Annotated, Literal, Protocol
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.core.errors import Conflict, Invalid, NotFound

SubmittedKind = Literal["government_id", "address", "business"]
KINDS: dict[str, str] = {
    "government_id": "Identity card or passport",
    "address": "Proof of address",
    "business": "Registration of the business",
}
MOST_DOCUMENTS = 4
DATA, NAME, FILE = "verifications.data", "verification_documents.name", "verification_documents.file"
"""The purposes under which what is sent is encrypted."""


class NoSuchVerification(NotFound):
    """There is no such verification."""


class NoSuchDocument(NotFound):
    """This document is not here (any more)."""


class VerifiedOrWaiting(Conflict):
    """There is one of this kind already, verified or waiting to be looked at."""


class VerificationDecidedAlready(Conflict):
    """Somebody else has decided about this already."""


class NotADocument(Invalid):
    """Please send pictures (JPEG, PNG, WebP) or PDF files; this one is neither."""

    field: str | None = "documents"


class DocumentsMissing(Invalid):
    """Please add one to four pictures or PDF files."""

    field: str | None = "documents"


class DocumentTooLarge(Invalid):
    """A document may have up to 12 MB."""

    field: str | None = "documents"


class VerificationForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody tells about their papers: the name on them, their number, until when they hold."""

    kind: SubmittedKind
    name: Annotated[str, Meta(min_length=2, max_length=150)]
    number: Annotated[str, Meta(max_length=60)] = ""
    valid_until: date | None = None


class VerificationDecision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a reviewer decides; a refusal says why."""

    verify: bool
    reason: Annotated[str, Meta(max_length=1000)] = ""


class SubmittedData(msgspec.Struct, frozen=True):
    """What is encrypted in `data_enc`."""

    name: str
    number: str
    valid_until: date | None


class ReceivedDocument(msgspec.Struct, frozen=True):
    """A document that was checked and is still to be put away."""

    name: str
    media_type: str
    data: bytes


class Verification(msgspec.Struct, frozen=True):
    """A submission as its person sees it."""

    id: UUID
    kind: str
    status: str
    submitted_at: datetime
    decided_at: datetime | None
    rejection_reason: str | None
    expires_at: datetime | None
    documents: int


class WaitingVerification(msgspec.Struct, frozen=True):
    """A submission in the queue of reviewers."""

    id: UUID
    kind: str
    status: str
    submitted_at: datetime
    username: str
    display_name: str
    documents: int


class DocumentCard(msgspec.Struct, frozen=True):
    """A document in a reviewer's list; `name` is what its file was called."""

    position: int
    media_type: str
    bytes: int
    name: str


class VerificationCase(msgspec.Struct, frozen=True):
    """Everything about a submission, for who decides. `data` and the documents are gone some time after the decision."""

    id: UUID
    user_id: UUID
    username: str
    display_name: str
    kind: str
    status: str
    submitted_at: datetime
    decided_at: datetime | None
    decider: str | None
    rejection_reason: str | None
    expires_at: datetime | None
    cleared_at: datetime | None
    data: SubmittedData | None
    documents: tuple[DocumentCard, ...]


class Verdict(msgspec.Struct, frozen=True):
    """What an identity service says: `pending` leaves it to the staff."""

    status: Literal["pending", "verified", "rejected"]
    reason: str = ""
    reference: str = ""


class IdentityCase(msgspec.Struct, frozen=True):
    """What an identity service is given."""

    id: UUID
    kind: str
    data: SubmittedData
    documents: tuple[ReceivedDocument, ...]


class IdentityService(Protocol):
    """Looks at a submission. Called by a job, so it may take long and may be asked twice about one case."""

    async def look_at(self, case: IdentityCase) -> Verdict:
        """Return what is to be thought of a submission. Raises `Unavailable` to be asked again."""

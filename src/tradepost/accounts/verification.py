"""Verification: what people send to show who they are, encrypted; who decided; until when it counts.

Promises one open submission for each person and kind, that data and documents are readable with the key ring only, and that
every look at them by staff is in the audit log. Deciding takes the permission to manage people.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.accounts.events import VerificationDecided, VerificationExpired, VerificationSubmitted
from tradepost.accounts.types import Caller
from tradepost.accounts.verification_types import (
    DATA,
    FILE,
    NAME,
    DocumentCard,
    NoSuchDocument,
    NoSuchVerification,
    ReceivedDocument,
    SubmittedData,
    Verification,
    VerificationCase,
    VerificationDecidedAlready,
    VerificationDecision,
    VerificationForm,
    VerifiedOrWaiting,
    WaitingVerification,
)
from tradepost.core.audit import note_look
from tradepost.core.clock import now
from tradepost.core.crypto import Keyring
from tradepost.core.database import Transaction, on_violation
from tradepost.core.events import record, record_all
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.text import one_line, paragraphs

on_violation("uq_verifications_open", VerifiedOrWaiting)

_ADD = text("INSERT INTO verifications (id, user_id, kind, data_enc) VALUES (:id, :user_id, :kind, :data_enc)")
_ADD_DOCUMENT = text("""
    INSERT INTO verification_documents (verification_id, position, storage_key, media_type, bytes, name_enc)
    VALUES (:id, :position, :storage_key, :media_type, :bytes, :name_enc)
""")
_DOCUMENTS = "(SELECT count(*) FROM verification_documents d WHERE d.verification_id = v.id) AS documents"
_OWN = text(f"""
    SELECT v.id, v.kind, v.status, v.submitted_at, v.decided_at, v.rejection_reason, v.expires_at, {_DOCUMENTS}
    FROM verifications v WHERE v.user_id = :user_id ORDER BY v.submitted_at DESC LIMIT 50
""")
_QUEUE = text(f"""
    SELECT v.id, v.kind, v.status, v.submitted_at, CAST(u.username AS text) AS username, u.display_name, {_DOCUMENTS}
    FROM verifications v JOIN users u ON u.id = v.user_id
    WHERE v.status = CAST(:status AS text) ORDER BY v.submitted_at LIMIT 200
""")
_CASE = text("""
    SELECT v.id, v.user_id, CAST(u.username AS text) AS username, u.display_name, v.kind, v.status, v.submitted_at, v.decided_at,
           CAST(s.username AS text) AS decider, v.rejection_reason, v.expires_at, v.cleared_at, v.data_enc
    FROM verifications v JOIN users u ON u.id = v.user_id LEFT JOIN users s ON s.id = v.decided_by WHERE v.id = :id
""")
_DOCUMENTS_OF = text("""
    SELECT position, media_type, bytes, name_enc, storage_key FROM verification_documents WHERE verification_id = :id ORDER BY position
""")
_LOCK = text("SELECT id, user_id, kind, status FROM verifications WHERE id = :id FOR UPDATE")
_DECIDE = text("""
    UPDATE verifications SET status = :status, decided_at = :now, decided_by = CAST(:by AS uuid), rejection_reason = CAST(:reason AS text),
           expires_at = CAST(:expires_at AS timestamptz), outside_reference = CAST(:reference AS text)
    WHERE id = :id
""")
_WITHDRAW = text(
    "UPDATE verifications SET status = 'withdrawn', decided_at = :now WHERE id = :id AND status = 'pending'"
)
_EXPIRE = text("""
    UPDATE verifications SET status = 'expired' WHERE status = 'verified' AND expires_at <= :now RETURNING id, user_id
""")
_TO_CLEAR = text("""
    SELECT v.id, array(SELECT d.storage_key FROM verification_documents d WHERE d.verification_id = v.id) AS keys
    FROM verifications v WHERE v.status <> 'pending' AND v.cleared_at IS NULL AND v.decided_at <= :before ORDER BY v.id LIMIT 100
""")
_KEYS_OF_PERSON = text("""
    SELECT d.storage_key FROM verification_documents d JOIN verifications v ON v.id = d.verification_id WHERE v.user_id = :user_id
""")
_DROP_DOCUMENTS = text("DELETE FROM verification_documents WHERE verification_id = :id")
_CLEAR = text("UPDATE verifications SET data_enc = NULL, cleared_at = :now WHERE id = :id")
_KINDS_OF = text("SELECT kind FROM verifications WHERE user_id = :user_id AND status = 'verified' ORDER BY kind")


def storage_key(verification_id: UUID, position: int) -> str:
    """Return where a document lies; pages serve nothing from there."""
    return f"private/verifications/{verification_id}/{position}"


async def add_submission(
    tx: Transaction, keys: Keyring, caller: Caller, form: VerificationForm, verification_id: UUID,
    documents: Sequence[ReceivedDocument],
) -> None:  # fmt: skip
    """Write down what the caller sent; the files are put away already. Raises `VerifiedOrWaiting`, `FieldErrors`, `NotByToken`."""
    check_fields(broken_limits(form))
    user_id = caller.check_in_person()
    data = SubmittedData(one_line(form.name), one_line(form.number), form.valid_until)
    await tx.run(
        _ADD,
        id=verification_id,
        user_id=user_id,
        kind=form.kind,
        data_enc=keys.seal(msgspec.json.encode(data), DATA),
    )
    for position, document in enumerate(documents):
        await tx.run(
            _ADD_DOCUMENT, id=verification_id, position=position, storage_key=storage_key(verification_id, position),
            media_type=document.media_type, bytes=len(document.data), name_enc=keys.encrypt(document.name[:200], NAME),
        )  # fmt: skip
    await record(tx, VerificationSubmitted(verification_id, user_id, form.kind), subject_id=user_id)


async def own_verifications(tx: Transaction, caller: Caller) -> list[Verification]:
    """Return what the caller sent, the latest first."""
    return await tx.all(_OWN, into=Verification, user_id=caller.check_signed_in())


async def withdraw(tx: Transaction, caller: Caller, verification_id: UUID) -> None:
    """Take back a submission that nobody has decided about. Raises `NoSuchVerification`, `VerificationDecidedAlready`."""
    row = await tx.maybe(_LOCK, id=verification_id)
    if row is None or row["user_id"] != caller.check_in_person():
        raise NoSuchVerification
    if not await tx.run(_WITHDRAW, id=verification_id, now=now()):
        raise VerificationDecidedAlready


async def list_waiting(tx: Transaction, caller: Caller, status: str = "pending") -> list[WaitingVerification]:
    """Return submissions of a status, the longest waiting first. Raises `NotAllowed`."""
    caller.check_can("manage_people")
    return await tx.all(_QUEUE, into=WaitingVerification, status=status)


async def access_verification(
    tx: Transaction, keys: Keyring, caller: Caller, verification_id: UUID
) -> VerificationCase:
    """Return a submission with its data to who decides; the look is noted. Raises `NotAllowed`, `NoSuchVerification`."""
    caller.check_can("manage_people")
    row = await tx.maybe(_CASE, id=verification_id)
    if row is None:
        raise NoSuchVerification
    values = dict(row)
    sealed = values.pop("data_enc")
    documents = tuple(
        DocumentCard(d["position"], d["media_type"], d["bytes"], keys.decrypt(d["name_enc"], NAME))
        for d in await tx.all(_DOCUMENTS_OF, id=verification_id)
    )
    data = msgspec.json.decode(keys.unseal(sealed, DATA), type=SubmittedData) if sealed else None
    await note_look(tx, "verifications", str(verification_id))
    return VerificationCase(**values, data=data, documents=documents)


async def access_document(tx: Transaction, caller: Caller, verification_id: UUID, position: int) -> tuple[str, str]:
    """Return the storage key and type of a document to who decides; the look is noted. Raises `NotAllowed`, `NoSuchDocument`."""
    caller.check_can("manage_people")
    rows = await tx.all(_DOCUMENTS_OF, id=verification_id)
    found = next((row for row in rows if row["position"] == position), None)
    if found is None:
        raise NoSuchDocument
    await note_look(tx, "verification_documents", f"{verification_id}/{position}")
    return found["storage_key"], found["media_type"]


def open_document(keys: Keyring, sealed: bytes) -> bytes:
    """Return the content of a document as it was sent. Raises `KeyMissing`, `NotDecryptable`."""
    return keys.unseal(sealed, FILE)


async def decide(
    tx: Transaction, caller: Caller, verification_id: UUID, form: VerificationDecision, *, holds_days: int
) -> None:
    """Accept a submission for so many days, or refuse it with a reason. Nobody decides about themselves.

    Raises `NotAllowed`, `NoSuchVerification`, `VerificationDecidedAlready`, `FieldErrors`.
    """
    caller.check_can("manage_people")
    reason = paragraphs(form.reason)
    check_fields(
        {"reason": None if form.verify or reason else "Please say why; the person reads it."} | broken_limits(form)
    )
    row = await tx.maybe(_LOCK, id=verification_id)
    if row is None or row["user_id"] == caller.check_in_person():
        raise NoSuchVerification
    expires_at = now() + timedelta(days=holds_days) if form.verify else None
    await write_verdict(
        tx, row, "verified" if form.verify else "rejected", by=caller.user_id, reason=None if form.verify else reason,
        expires_at=expires_at,
    )  # fmt: skip


async def write_verdict(
    tx: Transaction, row: Any, status: str, *, by: UUID | None = None, reason: str | None = None,
    expires_at: datetime | None = None, reference: str | None = None,
) -> None:  # fmt: skip
    """Write down what was decided about a locked submission. Raises `VerificationDecidedAlready`."""
    if row["status"] != "pending":
        raise VerificationDecidedAlready
    await tx.run(
        _DECIDE,
        id=row["id"],
        status=status,
        now=now(),
        by=by,
        reason=reason,
        expires_at=expires_at,
        reference=reference,
    )
    await record(tx, VerificationDecided(row["id"], row["user_id"], row["kind"], status), subject_id=row["user_id"])


async def lock_verification(tx: Transaction, verification_id: UUID) -> Any:
    """Lock a submission and return its row. Raises `NoSuchVerification`."""
    row = await tx.maybe(_LOCK, id=verification_id)
    if row is None:
        raise NoSuchVerification
    return row


async def read_submission(
    tx: Transaction, keys: Keyring, verification_id: UUID
) -> tuple[str, SubmittedData, list[Any]] | None:
    """Return a submission's kind, data and document rows, for the identity service; None when it waits no longer."""
    row = await tx.maybe(_CASE, id=verification_id)
    if row is None or row["status"] != "pending" or row["data_enc"] is None:
        return None
    data = msgspec.json.decode(keys.unseal(row["data_enc"], DATA), type=SubmittedData)
    return row["kind"], data, await tx.all(_DOCUMENTS_OF, id=verification_id)


async def verified_kinds(tx: Transaction, user_id: UUID) -> list[str]:
    """Return in what a person is verified. The transaction's actor sees that person's rows."""
    return await tx.values(_KINDS_OF, user_id=user_id)


async def expire_verifications(tx: Transaction) -> int:
    """End the verifications whose time is over; return how many. Needs an actor that sees all."""
    ended = await tx.all(_EXPIRE, now=now())
    await record_all(tx, [(VerificationExpired(row["id"], row["user_id"]), row["user_id"]) for row in ended])
    return len(ended)


async def submissions_to_clear(tx: Transaction, decided_before: datetime) -> list[tuple[UUID, list[str]]]:
    """Return submissions that were decided before a moment and still have data, with their files' keys."""
    return [(row["id"], list(row["keys"])) for row in await tx.all(_TO_CLEAR, before=decided_before)]


async def clear_submission(tx: Transaction, verification_id: UUID) -> None:
    """Forget what was sent; that it was decided, by whom and how stays."""
    await tx.run(_DROP_DOCUMENTS, id=verification_id)
    await tx.run(_CLEAR, id=verification_id, now=now())


async def document_keys_of(tx: Transaction, user_id: UUID) -> list[str]:
    """Return the keys of all documents of a person."""
    return await tx.values(_KEYS_OF_PERSON, user_id=user_id)

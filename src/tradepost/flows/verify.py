"""Showing who one is: documents come in checked and encrypted, wait for a reviewer or an outside service, and go again.

Pictures are drawn anew, so that nothing hides in them; a PDF is kept as it is and only ever handed out as a download that no
browser runs. No transaction is open while files are written.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec
import structlog

from tradepost.accounts import verification
from tradepost.accounts.types import Caller
from tradepost.accounts.verification_types import (
    FILE,
    MOST_DOCUMENTS,
    DocumentsMissing,
    DocumentTooLarge,
    IdentityCase,
    IdentityService,
    NotADocument,
    ReceivedDocument,
    Verification,
    VerificationCase,
    VerificationDecision,
    VerificationForm,
    WaitingVerification,
)
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Actor
from tradepost.core.ids import uuid7
from tradepost.core.jobs import enqueue
from tradepost.core.limits import check_rate
from tradepost.core.pictures import NotAPicture, check_picture, worked_on
from tradepost.core.text import one_line
from tradepost.flows.store import Store

LARGEST_BYTES = 12 * 1024 * 1024
MOST_TRIES = 10
_log = structlog.get_logger("tradepost.accounts")


class VerificationArgs(msgspec.Struct, frozen=True):
    """Which submission a job is about."""

    verification_id: UUID


def _acting(caller: Caller) -> Actor:
    caller.check_can("manage_people")
    return Actor("staff", caller.user_id, caller.session)


async def check_document(name: str, data: bytes) -> ReceivedDocument:
    """Return an upload as a document: a picture drawn anew, or a PDF. Raises `DocumentTooLarge`, `NotADocument`, `PictureTooLarge`."""
    if len(data) > LARGEST_BYTES:
        raise DocumentTooLarge
    label = one_line(name)[:200] or "document"
    if data.startswith(b"%PDF-") and b"%%EOF" in data[-2048:]:
        return ReceivedDocument(label, "application/pdf", data)
    try:
        picture = await worked_on(check_picture, data)
    except NotAPicture:
        raise NotADocument from None
    return ReceivedDocument(label, picture.media_type, picture.data)


async def submit_verification(
    store: Store, caller: Caller, form: VerificationForm, uploads: Sequence[tuple[str, bytes]]
) -> UUID:
    """Send papers to be looked at; return the submission's id.

    Raises `NotByToken`, `DocumentsMissing`, `DocumentTooLarge`, `NotADocument`, `PictureTooLarge`, `VerifiedOrWaiting`, `FieldErrors`,
    `TooOften` after ten in a quarter of an hour.
    """
    user_id = caller.check_in_person()
    await check_rate(store.cache, str(user_id), "verification", MOST_TRIES)
    if not 0 < len(uploads) <= MOST_DOCUMENTS:
        raise DocumentsMissing
    documents = [await check_document(name, data) for name, data in uploads]
    verification_id = uuid7()
    keys = [verification.storage_key(verification_id, n) for n in range(len(documents))]
    try:
        for key, document in zip(keys, documents, strict=True):
            await store.files.put(key, store.keys.seal(document.data, FILE), "application/octet-stream")
        async with store.db.transaction(actor=caller.actor) as tx:
            await verification.add_submission(tx, store.keys, caller, form, verification_id, documents)
            if store.installation.identity.url:
                await enqueue(tx, "accounts.ask_identity_service", VerificationArgs(verification_id))
    except BaseException:
        for key in keys:
            await store.files.delete(key)
        raise
    return verification_id


async def own_verifications(store: Store, caller: Caller) -> list[Verification]:
    """Return what the caller sent, the latest first. Raises `SignInFirst`."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await verification.own_verifications(tx, caller)


async def withdraw_verification(store: Store, caller: Caller, verification_id: UUID) -> None:
    """Take back what nobody has decided about, and delete it at once. Raises `NoSuchVerification`, `VerificationDecidedAlready`."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await verification.withdraw(tx, caller, verification_id)
    await _clear(store, verification_id, [verification.storage_key(verification_id, n) for n in range(MOST_DOCUMENTS)])


async def waiting_verifications(store: Store, caller: Caller, status: str = "pending") -> list[WaitingVerification]:
    """Return submissions of a status, the longest waiting first. Raises `NotAllowed`."""
    async with store.db.transaction(actor=_acting(caller), read_only=True) as tx:
        return await verification.list_waiting(tx, caller, status)


async def verification_case(store: Store, caller: Caller, verification_id: UUID) -> VerificationCase:
    """Return a submission with what was sent, for who decides; the look is in the audit log. Raises `NotAllowed`, `NoSuchVerification`."""
    async with store.db.transaction(actor=_acting(caller)) as tx:
        return await verification.access_verification(tx, store.keys, caller, verification_id)


async def verification_document(
    store: Store, caller: Caller, verification_id: UUID, position: int
) -> tuple[bytes, str]:
    """Return a document's content and type, for who decides; the look is in the audit log. Raises `NotAllowed`, `NoSuchDocument`."""
    async with store.db.transaction(actor=_acting(caller)) as tx:
        key, media_type = await verification.access_document(tx, caller, verification_id, position)
    return verification.open_document(store.keys, await store.files.get(key)), media_type


async def decide_verification(store: Store, caller: Caller, verification_id: UUID, form: VerificationDecision) -> None:
    """Accept a submission or refuse it with a reason.

    Raises `NotAllowed`, `NoSuchVerification`, `VerificationDecidedAlready`, `FieldErrors`.
    """
    async with store.db.transaction(actor=_acting(caller)) as tx:
        days = store.installation.privacy.verified_days
        await verification.decide(tx, caller, verification_id, form, holds_days=days)


async def ask_identity_service(store: Store, service: IdentityService, verification_id: UUID) -> None:
    """Let an outside service look at a submission; what it leaves open stays in the queue. Idempotent. Raises `Unavailable`."""
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        found = await verification.read_submission(tx, store.keys, verification_id)
    if found is None:
        return
    kind, data, rows = found
    documents = [
        ReceivedDocument("", row["media_type"], verification.open_document(store.keys, await store.files.get(row["storage_key"])))
        for row in rows
    ]  # fmt: skip
    verdict = await service.look_at(IdentityCase(verification_id, kind, data, tuple(documents)))
    if verdict.status == "pending":
        return
    async with store.db.transaction(actor=SYSTEM) as tx:
        locked = await verification.lock_verification(tx, verification_id)
        if locked["status"] == "pending":
            verified = verdict.status == "verified"
            days = timedelta(days=store.installation.privacy.verified_days)
            await verification.write_verdict(
                tx, locked, verdict.status, reason=None if verified else verdict.reason[:1000] or "Not accepted.",
                expires_at=now() + days if verified else None, reference=verdict.reference[:200] or None,
            )  # fmt: skip


async def tidy_verifications(store: Store) -> int:
    """End what has expired, and delete what was sent some days after the decision; return how many submissions were cleared."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await verification.expire_verifications(tx)
    before = now() - timedelta(days=store.installation.privacy.documents_days)
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        due = await verification.submissions_to_clear(tx, before)
    for verification_id, keys in due:
        await _clear(store, verification_id, keys)
    return len(due)


async def _clear(store: Store, verification_id: UUID, keys: Sequence[str]) -> None:
    """Delete the files first: a crash in between leaves rows that the next round finds again."""
    for key in keys:
        await store.files.delete(key)
    async with store.db.transaction(actor=SYSTEM) as tx:
        await verification.clear_submission(tx, verification_id)
    _log.info("verification.cleared", store=store.code, verification=str(verification_id))

"""Looks: that somebody of the staff saw the store with a person's eyes, when and why."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.core.clock import now
from tradepost.core.database import Transaction

_PERSON = text("""
    SELECT u.id, r.permissions FROM users u CROSS JOIN LATERAL person_roles(u.id) r
    WHERE u.id = :user_id AND u.is_active AND u.erased_at IS NULL
""")
_BEGIN = text("""
    INSERT INTO impersonations (id, staff_id, person_id, session_hash, reason, ends_at)
    VALUES (:id, :staff_id, :person_id, :session, :reason, :ends_at)
""")
_END = text("""
    UPDATE impersonations SET ended_at = :now WHERE staff_id = :staff_id AND session_hash = :session AND ended_at IS NULL
""")
_EYES = text("""
    SELECT i.ends_at, u.id, CAST(u.username AS text) AS username, u.display_name, u.locale, r.roles, r.permissions
    FROM impersonations i JOIN users u ON u.id = i.person_id CROSS JOIN LATERAL person_roles(u.id) r
    WHERE i.id = :id AND i.staff_id = :staff_id AND i.session_hash = :session AND i.ended_at IS NULL AND i.ends_at > :now
      AND u.is_active
""")
_LOOKS = text("""
    SELECT CAST(s.username AS text) AS by, i.reason, i.created_at, coalesce(i.ended_at, i.ends_at) AS until
    FROM impersonations i JOIN users s ON s.id = i.staff_id WHERE i.person_id = :user_id ORDER BY i.created_at DESC LIMIT 50
""")


class Look(msgspec.Struct, frozen=True):
    """A time somebody of the staff looked with a person's eyes."""

    by: str
    reason: str
    created_at: datetime
    until: datetime


async def permissions_of(tx: Transaction, user_id: UUID) -> frozenset[str] | None:
    """Return what a person whose account is open may do, or None where there is no such person."""
    row = await tx.maybe(_PERSON, user_id=user_id)
    return frozenset(row["permissions"]) if row else None


async def begin(tx: Transaction, look_id: UUID, *, staff_id: UUID, person_id: UUID, session: bytes, reason: str,
                ends_at: datetime) -> None:  # fmt: skip
    """Write down that a look begins; one that this session still has open ends."""
    await end(tx, staff_id, session)
    await tx.run(
        _BEGIN, id=look_id, staff_id=staff_id, person_id=person_id, session=session, reason=reason, ends_at=ends_at
    )


async def end(tx: Transaction, staff_id: UUID, session: bytes) -> None:
    """Write down that the look of this session is over. Idempotent."""
    await tx.run(_END, staff_id=staff_id, session=session, now=now())


async def eyes(tx: Transaction, look_id: UUID, staff_id: UUID, session: bytes) -> Any:
    """Return the person of a look that is under way in this session, or None."""
    return await tx.maybe(_EYES, id=look_id, staff_id=staff_id, session=session, now=now())


async def looks_at(tx: Transaction, caller: Caller) -> list[Look]:
    """Return when somebody of the staff looked with the caller's eyes, and why; the latest first."""
    return await tx.all(_LOOKS, into=Look, user_id=caller.check_signed_in())

"""Disputes: what both sides of an order show while it is disputed. The decision is a move of the order, with its reason."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta
from sqlalchemy import text

from tradepost.core.database import Transaction
from tradepost.core.errors import Conflict, Invalid
from tradepost.core.ids import uuid7
from tradepost.orders.types import Party

DISPUTED: Final = "disputed"
MOST_PIECES: Final = 20  # of one side, about one order


class NotDisputed(Conflict):
    """Nothing is in dispute about this order, so there is nothing to show."""


class NothingShown(Invalid):
    """Say what happened, or add a picture."""

    field: str | None = "body"


class EnoughShown(Conflict):
    """That is as much as one side can show; whoever decides reads all of it."""


class DecisionNeedsReason(Invalid):
    """Say why you decide so: both sides read it."""

    field: str | None = "reason"


class EvidenceForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one side says about a dispute."""

    body: Annotated[str, Meta(max_length=2000)] = ""


class Evidence(msgspec.Struct, frozen=True):
    """One piece of what is shown in a dispute: by whom, on which side, what they say, and a picture."""

    id: UUID
    order_id: UUID
    by_id: UUID | None
    name: str
    side: str
    body: str
    file_id: UUID | None
    at: datetime


_ADD = text("""
    INSERT INTO dispute_evidence (id, order_id, by_id, side, body, file_id)
    VALUES (:id, :order_id, :by_id, :side, :body, :file_id)
""")
_COUNT = text("""
    SELECT count(*) FROM dispute_evidence WHERE order_id = :order_id AND side = :side AND by_id IS NOT DISTINCT FROM :by_id
""")
# One seller does not read what another shows.
_OF = text("""
    SELECT e.id, e.order_id, e.by_id, coalesce(u.business_name, u.display_name, '') AS name, e.side, e.body, e.file_id, e.at
    FROM dispute_evidence e LEFT JOIN users u ON u.id = e.by_id
    WHERE e.order_id = :order_id AND (e.side <> 'seller' OR CAST(:only_of AS uuid) IS NULL OR e.by_id = :only_of)
    ORDER BY e.at, e.id
""")


async def add_evidence(
    tx: Transaction, order_id: UUID, side: Party, by_id: UUID | None, body: str, file_id: UUID | None
) -> UUID:
    """Write down what somebody shows about an order that is locked and disputed. Raises `NothingShown`, `EnoughShown`."""
    if not body and file_id is None:
        raise NothingShown
    if await tx.value(_COUNT, order_id=order_id, side=side, by_id=by_id) >= MOST_PIECES:
        raise EnoughShown
    evidence_id = uuid7()
    await tx.run(_ADD, id=evidence_id, order_id=order_id, by_id=by_id, side=side, body=body, file_id=file_id)
    return evidence_id


async def evidence_of(tx: Transaction, order_id: UUID, *, only_of: UUID | None = None) -> list[Evidence]:
    """Return what was shown about an order, the oldest first; with `only_of` what that seller may read of sellers' pieces."""
    return await tx.all(_OF, into=Evidence, order_id=order_id, only_of=only_of)

"""Returns: a buyer's wish to give goods back to one seller, and what became of it."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta
from sqlalchemy import text

from tradepost.core.database import Transaction
from tradepost.core.errors import Conflict, Invalid, NotFound
from tradepost.orders.types import LockedOrder

ReturnReason = Literal["damaged", "wrong_item", "not_as_described", "late", "does_not_fit", "changed_mind", "other"]


class NoSuchReturn(NotFound):
    """There is no such return."""


class NotReturnable(Conflict):
    """These goods cannot be returned: they have not arrived yet, it is too late, or they are on their way back already."""


class ReturnDecidedAlready(Conflict):
    """This return has been decided already."""


class NothingToReturn(Invalid):
    """Please choose what you would like to return."""

    field: str | None = "lines"


class ReturnLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So much of a line."""

    line_no: int
    quantity: Decimal


class ReturnForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a buyer wants to give back to one seller, and why."""

    lines: Annotated[tuple[ReturnLine, ...], Meta(max_length=500)]
    reason: ReturnReason
    comment: Annotated[str, Meta(max_length=2000)] = ""


class ReturnView(msgspec.Struct, frozen=True, kw_only=True):
    """A return as both sides see it."""

    id: UUID
    order_id: UUID
    order_number: str
    seller_id: UUID
    state: str
    reason: str
    comment: str
    answer: str
    lines: tuple[ReturnLine, ...]
    titles: tuple[str, ...]
    created_at: datetime
    decided_at: datetime | None


class ReturnableLine(msgspec.Struct, frozen=True):
    """A line of an order as a return sees it: how much of it is still with the buyer, and since when."""

    line_no: int
    seller_id: UUID
    left_quantity: Decimal
    handed_over_at: datetime | None


_VIEW = """
    SELECT r.id, r.order_id, o.number AS order_number, r.seller_id, r.state, r.reason, r.comment, r.answer, r.lines,
           ARRAY(SELECT l.title FROM order_lines l JOIN jsonb_to_recordset(r.lines) AS w(line_no int) ON w.line_no = l.line_no
                 WHERE l.order_id = r.order_id ORDER BY l.line_no) AS titles, r.created_at, r.decided_at
    FROM returns r JOIN orders o ON o.id = r.order_id
"""
_ONE = text(f"{_VIEW} WHERE r.id = :return_id")
_OF_ORDER = text(f"{_VIEW} WHERE r.order_id = :order_id ORDER BY r.created_at")
_OF_SELLER = text(
    f"{_VIEW} WHERE r.seller_id = :seller_id AND r.state IN ('requested', 'accepted') ORDER BY r.created_at LIMIT 200"
)
_LINES = text("""
    SELECT l.line_no, l.seller_id, l.quantity - l.returned_quantity AS left_quantity, f.handed_over_at
    FROM order_lines l JOIN fulfilments f ON (f.order_id, f.seller_id) = (l.order_id, l.seller_id) WHERE l.order_id = :order_id
""")
_OPEN = text("SELECT lines FROM returns WHERE order_id = :order_id AND state IN ('requested', 'accepted')")
_ASK = text("""
    INSERT INTO returns (order_id, seller_id, buyer_id, session_hash, reason, comment, lines)
    VALUES (:order_id, :seller_id, :buyer_id, :session_hash, :reason, :comment, :lines) RETURNING id
""")
_DECIDE = text("""
    UPDATE returns SET state = :state, answer = :answer, decided_by = :by, decided_at = now(), refund_id = coalesce(:refund_id, refund_id)
    WHERE id = :return_id AND state = ANY (CAST(:before AS text[]))
""")


async def find_return(tx: Transaction, return_id: UUID) -> ReturnView:
    """Return a return. Raises `NoSuchReturn`."""
    found = await tx.maybe(_ONE, into=ReturnView, return_id=return_id)
    if found is None:
        raise NoSuchReturn
    return found


async def returns_of(tx: Transaction, order_id: UUID) -> list[ReturnView]:
    """Return every return of an order, the oldest first."""
    return await tx.all(_OF_ORDER, into=ReturnView, order_id=order_id)


async def open_returns_to(tx: Transaction, seller_id: UUID) -> list[ReturnView]:
    """Return the returns to a seller that wait for something, the oldest first."""
    return await tx.all(_OF_SELLER, into=ReturnView, seller_id=seller_id)


async def returnable_lines(tx: Transaction, order_id: UUID) -> dict[int, ReturnableLine]:
    """Return the lines of an order by number, less what is on its way back already."""
    lines = {line.line_no: line for line in await tx.all(_LINES, into=ReturnableLine, order_id=order_id)}
    for wanted in await tx.values(_OPEN, order_id=order_id):
        for back in msgspec.convert(wanted, list[ReturnLine], strict=False):
            line = lines[back.line_no]
            lines[back.line_no] = msgspec.structs.replace(line, left_quantity=line.left_quantity - back.quantity)
    return lines


async def ask(tx: Transaction, order: LockedOrder, seller_id: UUID, form: ReturnForm) -> UUID:
    """Write down that a buyer wants to give something back; return the return's id."""
    made: UUID = await tx.value(
        _ASK, order_id=order.id, seller_id=seller_id, buyer_id=order.buyer_id, session_hash=order.session_hash,
        reason=form.reason, comment=form.comment.strip(), lines=form.lines,
    )  # fmt: skip
    return made


async def decide(
    tx: Transaction, return_id: UUID, state: str, *, before: Sequence[str], by: UUID | None, answer: str = "",
    refund_id: UUID | None = None,
) -> None:  # fmt: skip
    """Bring a return from one of the states `before` into another. Raises `ReturnDecidedAlready`."""
    done = await tx.run(
        _DECIDE, return_id=return_id, state=state, answer=answer, by=by, refund_id=refund_id, before=list(before)
    )
    if not done:
        raise ReturnDecidedAlready

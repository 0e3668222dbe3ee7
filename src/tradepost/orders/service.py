"""Commands on orders: placing one, moving it along its process, writing its history.

They change only what belongs to an order; what a move does to stock and money is carried out by flows.
"""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.database import Transaction, on_violation
from tradepost.core.errors import Conflict
from tradepost.orders.types import LockedOrder, LockedPart, NoSuchOrder, OrderChanged

on_violation("ck_orders_legal_move", OrderChanged)


class LineDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A line to be written; amounts in minor units. `configuration` is also kept in columns where it is a cake's."""

    line_no: int
    seller_id: UUID
    listing_id: UUID
    variant_id: UUID
    title: str
    sku: str | None
    options: dict[str, str]
    unit: str
    quantity: Decimal
    unit_price_minor: int
    gross_minor: int
    discount_minor: int
    store_discount_minor: int
    points_minor: int
    tax_minor: int
    included_tax_minor: int
    commission_minor: int
    snapshot: dict[str, Any]


class PartDraft(msgspec.Struct, frozen=True, kw_only=True):
    """One seller's part to be written."""

    seller_id: UUID
    shipping_minor: int


class OrderDraft(msgspec.Struct, frozen=True, kw_only=True):
    """An order to be written. `totals` names the summary columns; the database checks them against the lines."""

    id: UUID
    number: str
    buyer_id: UUID | None
    session_hash: bytes | None
    email_enc: bytes | None
    process: str
    state: str
    due_at: datetime | None
    currency: str
    tax_inclusive: bool
    points_spent: int
    shipping_address_enc: bytes | None
    billing_address_enc: bytes | None
    payment_method: str
    shipping_method: str | None
    cart_id: UUID | None
    explanation: Any
    note: str
    requested_on: date | None
    actor_role: str
    lines: tuple[LineDraft, ...]
    parts: tuple[PartDraft, ...]


_PLACE = text("""
    INSERT INTO orders (id, number, buyer_id, session_hash, email_enc, seller_ids, process, state, due_at, currency,
        tax_inclusive, subtotal_minor, discount_minor, points_minor, shipping_minor, tax_minor, included_tax_minor, points_spent,
        shipping_address_enc, billing_address_enc, payment_method, shipping_method, cart_id, explanation, note, requested_on)
    VALUES (:id, :number, :buyer_id, :session_hash, :email_enc, :seller_ids, :process, :state, :due_at, :currency,
        :tax_inclusive, :subtotal_minor, :discount_minor, :points_minor, :shipping_minor, :tax_minor, :included_tax_minor,
        :points_spent, :shipping_address_enc, :billing_address_enc, :payment_method, :shipping_method, :cart_id, :explanation,
        :note, :requested_on)
""")
_PLACE_PARTS = text("""
    INSERT INTO fulfilments (order_id, seller_id, buyer_id, session_hash, process, state, shipping_minor, shipping_method)
    SELECT :id, p.seller_id, :buyer_id, :session_hash, :process, :state, p.shipping_minor, :shipping_method
    FROM jsonb_to_recordset(:parts) AS p(seller_id uuid, shipping_minor bigint)
""")
_PLACED = text("""
    INSERT INTO order_events (order_id, seq, actor_id, actor_role, kind, to_state, buyer_id, session_hash)
    VALUES (:id, 1, :buyer_id, :actor_role, 'placed', :state, :buyer_id, :session_hash)
""")
_PLACE_LINES = text("""
    INSERT INTO order_lines (order_id, line_no, buyer_id, session_hash, seller_id, listing_id, variant_id, title, sku, options, unit,
        quantity, unit_price_minor, gross_minor, discount_minor, store_discount_minor, points_minor, tax_minor, included_tax_minor,
        commission_minor, snapshot)
    SELECT :id, l.line_no, :buyer_id, :session_hash, l.seller_id, l.listing_id, l.variant_id, l.title, l.sku, l.options, l.unit,
        l.quantity, l.unit_price_minor, l.gross_minor, l.discount_minor, l.store_discount_minor, l.points_minor, l.tax_minor,
        l.included_tax_minor, l.commission_minor, l.snapshot
    FROM jsonb_to_recordset(:lines) AS l(line_no int, seller_id uuid, listing_id uuid, variant_id uuid, title text, sku text,
        options jsonb, unit text, quantity numeric, unit_price_minor bigint, gross_minor bigint, discount_minor bigint,
        store_discount_minor bigint, points_minor bigint, tax_minor bigint, included_tax_minor bigint, commission_minor bigint,
        snapshot jsonb)
""")
_CONFIGURE = text("""
    INSERT INTO line_configurations (order_id, line_no, flavor, size, frosting, message, image_file_id, extra_details)
    SELECT :order_id, l.line_no, c.flavor, c.size, c.frosting, c.message, c.image_reference,
           (l.configuration - ARRAY['flavor', 'size', 'frosting', 'message', 'image_reference', 'extra_details'])
           || coalesce(CASE WHEN jsonb_typeof(l.configuration -> 'extra_details') = 'object' THEN l.configuration -> 'extra_details' END, '{}')
    FROM jsonb_to_recordset(:lines) AS l(line_no int, configuration jsonb)
    CROSS JOIN LATERAL jsonb_to_record(l.configuration) AS c(flavor text, size text, frosting text, message text, image_reference uuid)
""")

_FORGET_BUYER = text("""
    UPDATE orders SET email_enc = NULL, shipping_address_enc = NULL, billing_address_enc = NULL, note = '' WHERE buyer_id = :user_id
""")


async def place(tx: Transaction, draft: OrderDraft) -> None:
    """Write an order with its lines, parts and first event: at once, so that the triggers that sum it up find the totals right."""
    totals = {
        name: sum(getattr(line, part) for line in draft.lines)
        for name, part in (
            ("subtotal_minor", "gross_minor"), ("discount_minor", "discount_minor"), ("points_minor", "points_minor"),
            ("tax_minor", "tax_minor"), ("included_tax_minor", "included_tax_minor"),
        )
    }  # fmt: skip
    values = {name: getattr(draft, name) for name in OrderDraft.__struct_fields__}
    await tx.later(
        _PLACE,
        _PLACE_PARTS,
        _PLACED,
        _PLACE_LINES,
        **values,
        **totals,
        shipping_minor=sum(part.shipping_minor for part in draft.parts),
        seller_ids=sorted(part.seller_id for part in draft.parts),
    )
    made = [
        {"line_no": line.line_no, "configuration": line.snapshot["configuration"]}
        for line in draft.lines
        if line.snapshot.get("configuration")
    ]
    if made:  # not later: only whoever may see a line may say how it is made, and the line must be there for that
        await tx.run(_CONFIGURE, order_id=draft.id, lines=made)


_LOCK = text("""
    SELECT o.id, o.number, o.process, o.state, o.payment_state, o.buyer_id, o.session_hash, o.seller_ids, o.currency,
           o.total_minor, o.points_spent, o.placed_at, o.cart_id,
           (SELECT value FROM store_facts WHERE name = 'rules_version') AS rules_version
    FROM orders o WHERE o.id = :order_id FOR NO KEY UPDATE
""")
_PARTS = text("""
    SELECT seller_id, state, shipping_minor, rider_id, opened_at, handed_over_at FROM fulfilments
    WHERE order_id = :order_id ORDER BY seller_id FOR NO KEY UPDATE
""")


async def lock_order(tx: Transaction, order_id: UUID) -> LockedOrder:
    """Return an order and keep others from moving it until the commit. Raises `NoSuchOrder`."""
    found = await tx.maybe(_LOCK, into=LockedOrder, order_id=order_id)
    if found is None:
        raise NoSuchOrder
    return found


async def lock_parts(tx: Transaction, order_id: UUID) -> list[LockedPart]:
    """Return the sellers' parts of an order that is locked already."""
    return await tx.all(_PARTS, into=LockedPart, order_id=order_id)


# An order and those parts of it that are where it is (or one part alone) move together, with one line of history.
_MOVE = text("""
    UPDATE orders SET state = :to_state, due_at = :due_at, payment_state = coalesce(:payment_state, payment_state)
    WHERE id = :order_id AND state = :from_state AND :whole RETURNING id
""")
_MOVE_PARTS = text("""
    UPDATE fulfilments SET state = :to_state, due_at = CASE WHEN coalesce(opened_at, :opened_at) IS NOT NULL THEN CAST(:part_due_at AS timestamptz) END,
        opened_at = coalesce(opened_at, :opened_at), handed_over_at = coalesce(handed_over_at, :handed_over_at)
    WHERE order_id = :order_id AND state = :from_state AND seller_id = ANY (:seller_ids) RETURNING seller_id
""")
_MOVED = text("""
    INSERT INTO order_events (order_id, seq, actor_id, actor_role, kind, from_state, to_state, seller_id, buyer_id, session_hash, reason)
    SELECT :order_id, (SELECT coalesce(max(seq), 0) + 1 FROM order_events WHERE order_id = :order_id), :actor_id, :actor_role,
           CASE WHEN :whole THEN 'moved' ELSE 'part_moved' END, :from_state, :to_state, :seller_id, :buyer_id, :session_hash, :reason
    WHERE EXISTS (SELECT FROM changed_orders) OR (NOT :whole AND EXISTS (SELECT FROM changed_fulfilments))
""")


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One move to be written. `whole`: the order moves, with these parts of it; otherwise only the parts do."""

    to_state: str
    from_state: str
    whole: bool
    seller_ids: tuple[UUID, ...]
    seller_id: UUID | None
    due_at: datetime | None
    part_due_at: datetime | None
    opened_at: datetime | None
    handed_over_at: datetime | None
    payment_state: str | None
    actor_id: UUID | None
    actor_role: str
    reason: str


async def write_move(tx: Transaction, order: LockedOrder, step: Step) -> None:
    """Move an order or parts of it. Raises `OrderChanged` where the state is another by now, or the move undeclared."""
    values = {name: getattr(step, name) for name in Step.__struct_fields__}
    values["seller_ids"] = list(step.seller_ids)
    await tx.later(
        _MOVE, _MOVE_PARTS, _MOVED, refusal=OrderChanged,
        order_id=order.id, buyer_id=order.buyer_id, session_hash=order.session_hash, **values,
    )  # fmt: skip


_NOTE = text("""
    INSERT INTO order_events (order_id, seq, actor_id, actor_role, kind, seller_id, buyer_id, session_hash, reason, data)
    SELECT :order_id, (SELECT coalesce(max(seq), 0) + 1 FROM order_events WHERE order_id = :order_id), :actor_id, :actor_role,
           :kind, :seller_id, :buyer_id, :session_hash, :reason, :data
""")
_SET_PAYMENT_STATE = text(
    "UPDATE orders SET payment_state = :payment_state WHERE id = :order_id AND payment_state <> :payment_state"
)
_SET_TRACKING = text("""
    UPDATE fulfilments SET carrier = :carrier, tracking = :tracking, shipped_at = coalesce(shipped_at, now())
    WHERE order_id = :order_id AND seller_id = :seller_id
""")
_SET_RIDER = text("""
    UPDATE fulfilments SET rider_id = :rider_id
    WHERE (order_id, seller_id) IN (SELECT * FROM unnest(CAST(:order_ids AS uuid[]), CAST(:seller_ids AS uuid[])))
      AND handed_over_at IS NULL AND rider_id IS DISTINCT FROM CAST(:rider_id AS uuid)
""")
_SET_PROOF = text("UPDATE fulfilments SET proof = :proof WHERE order_id = :order_id AND seller_id = :seller_id")
_TAKE_BACK = text("""
    UPDATE order_lines l SET refunded_minor = l.refunded_minor + r.amount_minor, returned_quantity = l.returned_quantity + r.quantity
    FROM jsonb_to_recordset(:lines) AS r(line_no int, amount_minor bigint, quantity numeric)
    WHERE l.order_id = :order_id AND l.line_no = r.line_no
""")


async def note(
    tx: Transaction, order: LockedOrder, kind: str, *, actor_role: str, actor_id: UUID | None = None, seller_id: UUID | None = None,
    reason: str = "", data: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write a line of history that is no move, on an order that is locked."""
    await tx.run(
        _NOTE, order_id=order.id, actor_id=actor_id, actor_role=actor_role, kind=kind, seller_id=seller_id,
        buyer_id=order.buyer_id, session_hash=order.session_hash, reason=reason, data=data or {},
    )  # fmt: skip


async def set_payment_state(tx: Transaction, order_id: UUID, payment_state: str) -> None:
    """Say what has become of an order's money."""
    await tx.run(_SET_PAYMENT_STATE, order_id=order_id, payment_state=payment_state)


async def set_tracking(tx: Transaction, order_id: UUID, seller_id: UUID, carrier: str, tracking: str) -> None:
    """Write how a part was sent; the first time also when."""
    await tx.run(_SET_TRACKING, order_id=order_id, seller_id=seller_id, carrier=carrier, tracking=tracking)


async def set_rider(tx: Transaction, parts: Sequence[tuple[UUID, UUID]], rider_id: UUID | None) -> int:
    """Give parts (order, seller) that are not handed over yet a rider, or none; return how many changed."""
    order_ids, seller_ids = [part[0] for part in parts], [part[1] for part in parts]
    return await tx.run(_SET_RIDER, order_ids=order_ids, seller_ids=seller_ids, rider_id=rider_id)


async def set_proof(tx: Transaction, order_id: UUID, seller_id: UUID, proof: dict[str, Any]) -> None:
    """Write how it is known that a part was handed over."""
    await tx.run(_SET_PROOF, order_id=order_id, seller_id=seller_id, proof=proof)


class LineBack(msgspec.Struct, frozen=True):
    """So much of a line given back, in money and in goods."""

    line_no: int
    amount_minor: int
    quantity: Decimal


class RefundExceedsLine(Conflict):
    """More would be given back than was paid for a line."""


on_violation("ck_order_lines_refund_within_price", RefundExceedsLine)
on_violation("ck_order_lines_returned_within_quantity", RefundExceedsLine)


async def take_back(tx: Transaction, order_id: UUID, lines: list[LineBack]) -> None:
    """Count refunded money and returned goods on lines; the database refuses more than there was."""
    if lines:
        await tx.run(_TAKE_BACK, order_id=order_id, lines=lines)


async def forget_buyer(tx: Transaction, user_id: UUID) -> int:
    """Take addresses and words of an erased person out of their orders; what was sold and paid stays. Return how many orders."""
    return await tx.run(_FORGET_BUYER, user_id=user_id)

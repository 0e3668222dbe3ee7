"""Stock: what is on hand, what is held for orders, and why it changed. The only code that changes stock.

Promises that a variant is never oversold: the database keeps `variants.reserved` equal to the reservations that hold, refuses
more than there is unless the variant may be back-ordered, and does so at the commit, with rows locked in the order of their
ids. What is sold before it has come is owed, and goes to the oldest orders when stock arrives. A variant without `on_hand`
is not tracked and never runs out. Orders are plain ids here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import ARRAY, Numeric, String, bindparam, func, insert, or_, select, text, update
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from tradepost.catalog.tables import reservations, stock_movements, variants
from tradepost.catalog.types import product_key
from tradepost.core.columns import Timestamp
from tradepost.core.database import Transaction, on_violation
from tradepost.core.errors import Conflict, Invalid, NotFound

Reason = Literal["restock", "return", "correction", "waste", "stock_take", "import"]
ZERO = Decimal(0)


class NotEnoughStock(Conflict):
    """There is not enough left."""


class QuantityOffStep(Invalid):
    """The quantity does not fit the step it is sold in."""


class NoSuchVariant(NotFound):
    """There is no such variant."""


@dataclass(eq=False)
class StockPromised(Conflict):
    """{reserved} are held for orders that are being paid; there cannot be less on hand."""

    reserved: Decimal
    field: str | None = "on_hand"


class NothingHeld(Conflict):
    """What was held for the order has been given up."""


on_violation("ck_variants_not_oversold", NotEnoughStock)
on_violation("ck_variants_on_hand_not_negative", NotEnoughStock)
on_violation("ck_reservations_step", QuantityOffStep)


class Want(msgspec.Struct, frozen=True):
    """So much of a variant."""

    variant_id: UUID
    quantity: Decimal


_VARIANT = bindparam("variant", type_=PG_UUID)
_ORDER = bindparam("order", type_=PG_UUID)
_ONLY = bindparam("only", None, type_=ARRAY(PG_UUID))

_LOCK_VARIANTS = text("""
    SELECT id, listing_id, on_hand, reserved, backorder_until FROM variants
    WHERE id = ANY (CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE
""")
_START_TRACKING = text("UPDATE variants SET on_hand = 0 WHERE id = ANY (CAST(:ids AS uuid[]))")
_STOP_TRACKING = text("UPDATE variants SET on_hand = NULL WHERE id = ANY (CAST(:ids AS uuid[]))")
_MOVE = text("""
    INSERT INTO stock_movements (variant_id, quantity, reason, actor_id, note)
    SELECT w.id, w.quantity, :reason, :actor, :note
    FROM unnest(CAST(:ids AS uuid[]), CAST(:quantities AS numeric[])) AS w(id, quantity)
""")

_wanted = (
    func.unnest(bindparam("variant_ids", type_=ARRAY(PG_UUID)), bindparam("quantities", type_=ARRAY(Numeric(12, 3))))
    .table_valued("variant_id", "quantity")
    .render_derived("wanted")
)
_RESERVE = insert(reservations).from_select(
    ["order_id", "variant_id", "quantity", "expires_at"],
    select(_ORDER, _wanted.c.variant_id, _wanted.c.quantity, bindparam("expires_at", type_=Timestamp)).order_by(
        _wanted.c.variant_id
    ),
)
_SELL = (
    update(reservations).values(state="sold").where(reservations.c.order_id == _ORDER, reservations.c.state == "held")
)
_SELL_LATE = (
    update(reservations)
    .values(state="sold")
    .where(reservations.c.order_id == _ORDER, reservations.c.state == "released")
)
_KEEP = (
    update(reservations)
    .values(expires_at=text("'infinity'"))
    .where(reservations.c.order_id == _ORDER, reservations.c.state == "held")
)
_HOLD_AGAIN = (
    update(reservations)
    .values(state="held", expires_at=text("'infinity'"))
    .where(reservations.c.order_id == _ORDER, reservations.c.state == "released")
)
_RELEASE = (
    update(reservations)
    .values(state="released")
    .where(
        reservations.c.order_id == _ORDER,
        or_(reservations.c.state == "held", reservations.c.state == "owed"),
        or_(_ONLY.is_(None), reservations.c.variant_id == func.any(_ONLY)),
    )
)
_back = (
    update(reservations)
    .values(returned=reservations.c.returned + _wanted.c.quantity)
    .where(
        reservations.c.order_id == _ORDER,
        reservations.c.variant_id == _wanted.c.variant_id,
        reservations.c.state == "sold",
    )
    .returning(reservations.c.variant_id, _wanted.c.quantity)
    .cte("back")
)
_PUT_BACK = insert(stock_movements).from_select(
    ["variant_id", "quantity", "reason", "order_id", "actor_id"],
    select(
        _back.c.variant_id,
        _back.c.quantity,
        bindparam("reason", type_=String),
        _ORDER,
        bindparam("actor", type_=PG_UUID),
    )
    .join(variants, variants.c.id == _back.c.variant_id)
    .where(variants.c.on_hand.is_not(None))
    .order_by(_back.c.variant_id),
)
_EVER = select(reservations.c.variant_id).where(reservations.c.order_id == _ORDER)
_NOW = text("SET CONSTRAINTS apply_reservation IMMEDIATE")
_LATER = text("SET CONSTRAINTS apply_reservation DEFERRED")


class Held(msgspec.Struct, frozen=True):
    """What is there of a variant, and what of it is held for orders."""

    id: UUID
    listing_id: UUID
    on_hand: Decimal | None
    reserved: Decimal
    backorder_until: datetime | None


async def set_stock(
    tx: Transaction, variant_id: UUID, on_hand: Decimal | None, *, actor_id: UUID | None = None, reason: Reason = "correction",
    note: str = "",
) -> None:  # fmt: skip
    """Make the stock of a variant so much, recording the difference; None stops tracking it. Locks the variant.

    Raises `NoSuchVariant`, `StockPromised` for less than is held for orders.
    """
    await set_stocks(tx, {variant_id: on_hand}, actor_id=actor_id, reason=reason, note=note)


async def set_stocks(
    tx: Transaction, wanted: Mapping[UUID, Decimal | None], *, actor_id: UUID | None = None, reason: Reason = "correction",
    note: str = "",
) -> None:  # fmt: skip
    """Do the same with many variants, locked in the order of their ids."""
    now = await lock_stock(tx, list(wanted))
    for variant, on_hand in wanted.items():
        held = now[variant]
        tx.forget(product_key(held.listing_id))
        if on_hand is not None and on_hand < held.reserved and held.backorder_until is None:
            raise StockPromised(held.reserved)
    stopped = [v for v, on_hand in wanted.items() if on_hand is None and now[v].on_hand is not None]
    begun = [v for v, on_hand in wanted.items() if on_hand is not None and now[v].on_hand is None]
    if stopped:
        await tx.run(_STOP_TRACKING, ids=stopped)
    if begun:
        await tx.run(_START_TRACKING, ids=begun)
    changes = {v: on_hand - (now[v].on_hand or ZERO) for v, on_hand in wanted.items() if on_hand is not None}
    await _move(tx, {v: change for v, change in changes.items() if change}, reason, actor_id, note)


async def lock_stock(tx: Transaction, variant_ids: Sequence[UUID]) -> dict[UUID, Held]:
    """Lock variants in the order of their ids and return what there is of them. Raises `NoSuchVariant`."""
    found = {held.id: held for held in await tx.all(_LOCK_VARIANTS, into=Held, ids=list(variant_ids))}
    if len(found) < len(set(variant_ids)):
        raise NoSuchVariant
    return found


async def begin_stock(tx: Transaction, on_hand: Mapping[UUID, Decimal], *, actor_id: UUID | None) -> None:
    """Record what fresh variants start with; their rows say it already."""
    await _move(tx, on_hand, "initial", actor_id, "")


async def _move(
    tx: Transaction, changes: Mapping[UUID, Decimal], reason: str, actor_id: UUID | None, note: str
) -> None:
    if changes:
        ids = sorted(changes)
        await tx.run(_MOVE, ids=ids, quantities=[changes[v] for v in ids], reason=reason, actor=actor_id, note=note)


def _arrays(wants: Sequence[Want]) -> dict[str, Any]:
    """Return wants as two arrays in the order of the variants' ids, several of one variant added up."""
    whole: dict[UUID, Decimal] = {}
    for want in wants:
        whole[want.variant_id] = whole.get(want.variant_id, ZERO) + want.quantity
    ids = sorted(whole)
    return {"variant_ids": list(ids), "quantities": [whole[i] for i in ids]}


async def reserve(tx: Transaction, order_id: UUID, wants: Sequence[Want], expires_at: datetime) -> None:
    """Hold stock for an order. Whether there is enough shows at the commit, which raises `NotEnoughStock`."""
    await tx.later(_RESERVE, order=order_id, expires_at=expires_at, **_arrays(wants))


async def sell(tx: Transaction, order_id: UUID) -> int:
    """Turn what is held for an order into a sale; return how many variants it had: 0 if none was held.

    What has not come yet becomes owed at the commit. Idempotent: what was sold stays sold.
    """
    return await tx.run(_SELL, order=order_id)


async def sell_held(tx: Transaction, order_id: UUID) -> None:
    """Do the same with the other changes that wait. Raises `NothingHeld`, when they are made, where `sell` would return 0."""
    await tx.later(_SELL, order=order_id, refusal=NothingHeld)


async def sell_late(tx: Transaction, order_id: UUID) -> None:
    """Sell goods whose reservation was given up, at once. Raises `NotEnoughStock` if somebody else has them by now."""
    await tx.run(_NOW)
    await tx.run(_SELL_LATE, order=order_id)
    await tx.run(_LATER)


async def keep(tx: Transaction, order_id: UUID) -> None:
    """Hold an order's stock for as long as it takes, again if it was given up. Raises `NotEnoughStock` if others have it by now."""
    if not await tx.run(_KEEP, order=order_id):
        await tx.run(_NOW)
        await tx.run(_HOLD_AGAIN, order=order_id)
        await tx.run(_LATER)


async def release(tx: Transaction, order_id: UUID, variant_ids: Sequence[UUID] | None = None) -> int:
    """Give up what is held or owed for an order, or for some of its variants. Return how many. Idempotent."""
    return await tx.run(_RELEASE, order=order_id, only=None if variant_ids is None else list(variant_ids))


async def ever_reserved(tx: Transaction, order_id: UUID) -> set[UUID]:
    """Return every variant that an order ever held stock of: it cannot hold one a second time."""
    return {row["variant_id"] for row in await tx.all(_EVER, order=order_id)}


async def put_back(
    tx: Transaction,
    order_id: UUID,
    wants: Sequence[Want],
    *,
    reason: Literal["restock", "return"],
    actor_id: UUID | None,
) -> None:
    """Put sold goods back on the shelf; the database refuses more than the order had."""
    await tx.run(_PUT_BACK, order=order_id, reason=reason, actor=actor_id, **_arrays(wants))

"""Stock: what is on hand, what is held for orders, and why it changed. The only code that changes stock.

Promises that a variant is never oversold: the database keeps `variants.reserved` equal to the reservations that hold, refuses
more than there is unless the variant may be back-ordered, and does so at the commit, with rows locked in the order of their
ids. What is sold before it has come is owed, and goes to the oldest orders when stock arrives. A variant without `on_hand`
is not tracked and never runs out. Orders are plain ids here.
"""

from collections.abc import Sequence
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

_LOCK_VARIANT = (
    select(variants.c.on_hand, variants.c.reserved, variants.c.backorder_until, variants.c.listing_id)
    .where(variants.c.id == _VARIANT)
    .with_for_update(key_share=True)
)
_START_TRACKING = update(variants).values(on_hand=0).where(variants.c.id == _VARIANT)
_STOP_TRACKING = update(variants).values(on_hand=None).where(variants.c.id == _VARIANT)
_MOVE = insert(stock_movements).values(
    variant_id=_VARIANT,
    quantity=bindparam("quantity", type_=Numeric(12, 3)),
    reason=bindparam("reason", type_=String),
    order_id=bindparam("order", None, type_=PG_UUID),
    actor_id=bindparam("actor", None, type_=PG_UUID),
    note=bindparam("note", "", type_=String),
)

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
_NOW = text("SET CONSTRAINTS apply_reservation IMMEDIATE")
_LATER = text("SET CONSTRAINTS apply_reservation DEFERRED")


async def set_stock(
    tx: Transaction, variant_id: UUID, on_hand: Decimal | None, *, actor_id: UUID | None = None, is_new: bool = False,
    reason: Reason = "correction", note: str = "",
) -> None:  # fmt: skip
    """Make the stock of a variant so much, recording the difference; None stops tracking it. Locks the variant.

    `is_new` records what a fresh variant starts with. Raises `StockPromised` for less than is held for orders.
    """
    now = await tx.maybe(_LOCK_VARIANT, variant=variant_id)
    if now is None:
        raise NoSuchVariant
    tx.forget(product_key(now["listing_id"]))
    if on_hand is None:
        if now["on_hand"] is not None:
            await tx.run(_STOP_TRACKING, variant=variant_id)
        return
    if on_hand < now["reserved"] and now["backorder_until"] is None:
        raise StockPromised(now["reserved"])
    if now["on_hand"] is None:
        await tx.run(_START_TRACKING, variant=variant_id)
    change = on_hand - (now["on_hand"] or ZERO)
    if change:
        why = "stock_take" if is_new else reason
        await tx.run(_MOVE, variant=variant_id, quantity=change, reason=why, actor=actor_id, note=note)


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

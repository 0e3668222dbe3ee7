"""Other options of what an order holds: the goods, the lines and the money of it, in the transaction that makes the change.

A line keeps the price that was paid for it. What became cheaper is given back from its own line, in the share that was paid; what became
dearer stands in the order's history and is asked for by whoever hands the goods over.
"""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from tradepost.catalog import stock
from tradepost.catalog.stock import Want
from tradepost.core.clock import now
from tradepost.core.database import Transaction
from tradepost.core.money import rounded, times, to_major
from tradepost.flows.refund import ZERO, Piece, Refundable, give_back, refundable
from tradepost.flows.store import Store
from tradepost.orders import changes
from tradepost.orders import service as orders
from tradepost.orders.changes import LineSwap, OptionHadBefore, SwapImpossible
from tradepost.orders.types import LockedOrder, OrderLine, Party

ASKED: Final = "exchange_asked"
_HELD_FOR: Final = timedelta(hours=1)


class Swapped(msgspec.Struct, frozen=True, kw_only=True):
    """A line as it is, the option it becomes, and what one of that costs now."""

    line_no: int
    title: str
    label: str
    sku: str | None
    variant_id: UUID
    quantity: Decimal
    unit_price_minor: int
    gross_minor: int
    total_minor: int
    to: LineSwap
    price_minor: int

    @property
    def difference_minor(self) -> int:
        """How much dearer what is left of the line becomes; below zero where it becomes cheaper."""
        return times(self.price_minor - self.unit_price_minor, self.quantity)

    @property
    def back_minor(self) -> int:
        """What goes back of a line that becomes cheaper: the share of the difference that was paid, after discounts."""
        if self.difference_minor >= 0 or not self.gross_minor:
            return 0
        return rounded(Decimal(-self.difference_minor) * self.total_minor / self.gross_minor)


def difference(swaps: Sequence[Swapped]) -> int:
    """Return by how much an order becomes dearer."""
    return sum(swap.difference_minor for swap in swaps)


async def check_stock(tx: Transaction, order_id: UUID, swaps: Sequence[Swapped]) -> None:
    """Raise `SwapImpossible`, `OptionHadBefore` where an order would hold an option twice: its stock is counted by order and option."""
    wanted = {swap.to.variant_id for swap in swaps}
    if len(wanted) < len(swaps):
        raise SwapImpossible
    if wanted & await stock.ever_reserved(tx, order_id):
        raise OptionHadBefore


async def swap_goods(
    tx: Transaction, order: LockedOrder, swaps: Sequence[Swapped], actor_id: UUID | None, *, came_back: bool
) -> None:
    """Put what is not wanted any more back on the shelf, take what is wanted from it, and write it on the lines.

    `came_back`: it had been handed over. Raises `NotEnoughStock`.
    """
    back = [Want(swap.variant_id, swap.quantity) for swap in swaps]
    await stock.release(tx, order.id, [want.variant_id for want in back])
    await stock.put_back(tx, order.id, back, reason="return" if came_back else "restock", actor_id=actor_id)
    await stock.reserve(tx, order.id, [Want(s.to.variant_id, s.quantity) for s in swaps], now() + _HELD_FOR)
    await stock.sell(tx, order.id)
    await changes.swap_lines(tx, order.id, [swap.to for swap in swaps])


async def give_difference(
    tx: Transaction, store: Store, order: LockedOrder, swaps: Sequence[Swapped], *, role: Party, actor_id: UUID | None, reason: str
) -> None:  # fmt: skip
    """Give back what a paid order became cheaper by, all swaps taken together, and write it in its history."""
    if order.payment_state not in {"paid", "partly_refunded"}:
        return
    pieces = _pieces(swaps, await refundable(tx, order.id), -difference(swaps))
    if not pieces:
        return
    await give_back(tx, store, order, pieces, reason=reason, requested_by=actor_id)
    amount = sum(piece.amount_minor for piece in pieces)
    await orders.note(
        tx, order, "refunded", actor_role=role, actor_id=actor_id, reason=reason, data={"amount_minor": amount}
    )


def _pieces(swaps: Sequence[Swapped], left: Sequence[Refundable], most: int) -> list[Piece]:
    by_no = {r.line_no: r for r in left if r.line_no is not None}
    pieces: list[Piece] = []
    for swap in swaps:
        line = by_no[swap.line_no]
        back = min(swap.back_minor, most, line.left_minor)
        if back > 0:
            most -= back
            pieces.append(line.piece(back, ZERO))
    return pieces


async def note_swaps(
    tx: Transaction, order: LockedOrder, kind: str, swaps: Sequence[Swapped], *, actor_id: UUID | None, settle_by: str
) -> None:
    """Write in an order's history what its buyer chose instead, in words and as data."""
    words = "; ".join(f"{s.title}: {s.label} → {', '.join(s.to.options.values())}" for s in swaps)
    words = _settlement(order, difference(swaps), settle_by) + words
    data = {"lines": [_written(s) for s in swaps], "difference_minor": difference(swaps), "settle_by": settle_by}
    await orders.note(tx, order, kind, actor_role="buyer", actor_id=actor_id, reason=words[:2000], data=data)


def _written(swap: Swapped) -> dict[str, Any]:
    return {
        "line_no": swap.line_no, "from_sku": swap.sku, "to_sku": swap.to.sku, "to_variant": str(swap.to.variant_id),
        "to_options": swap.to.options, "price_minor": swap.price_minor,
    }  # fmt: skip


def _settlement(order: LockedOrder, dearer: int, settle_by: str) -> str:
    if not dearer:
        return ""
    what = "To pay" if dearer > 0 else "To give back"
    by = f" ({settle_by})" if settle_by else ""
    return f"{what}: {to_major(abs(dearer), order.currency)} {order.currency}{by}. "


async def finish_exchange(
    tx: Transaction, store: Store, order: LockedOrder, role: Party, actor_id: UUID | None
) -> None:
    """Book the exchange that was asked for: what came back, what goes out for it, and the money. Raises `NotEnoughStock`.

    `order` is as it was before the move, which is written already. An exchange for which nobody chose options, or none since the last
    one was called off, changes no goods.
    """
    asked = await changes.standing_note(tx, order.id, ASKED, order.state)
    if asked is None:
        return
    swaps = await _asked_swaps(tx, order.id, asked["lines"])
    await swap_goods(tx, order, swaps, actor_id, came_back=True)
    await give_difference(
        tx, store, order, swaps, role=role, actor_id=actor_id, reason=asked["settle_by"] or "Exchanged"
    )


async def _asked_swaps(tx: Transaction, order_id: UUID, asked: Sequence[dict[str, Any]]) -> list[Swapped]:
    lines = {line.line_no: line for line in await changes.lines_of(tx, order_id)}
    return [
        swapped(lines[one["line_no"]], LineSwap(one["line_no"], UUID(one["to_variant"]), one["to_sku"], one["to_options"]), one["price_minor"])
        for one in asked
    ]  # fmt: skip


def swapped(line: OrderLine, to: LineSwap, price_minor: int) -> Swapped:
    """Return a line with what it is to become."""
    return Swapped(
        line_no=line.line_no, title=line.title, label=line.label, sku=line.sku, variant_id=line.variant_id,
        quantity=line.quantity - line.returned_quantity, unit_price_minor=line.unit_price_minor, gross_minor=line.gross_minor,
        total_minor=line.total_minor, to=to, price_minor=price_minor,
    )  # fmt: skip

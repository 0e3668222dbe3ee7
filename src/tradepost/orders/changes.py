"""What a buyer may still change of an order that is placed: which option of a thing, and where it goes. The money stays what was paid."""

from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.database import Transaction
from tradepost.core.errors import Conflict, Invalid
from tradepost.orders.queries import LINES
from tradepost.orders.types import OrderLine


class SwapImpossible(Invalid):
    """A thing can be changed for another option of the same product that is in stock, and for nothing else."""

    field: str | None = "variant_id"


class OptionHadBefore(Conflict):
    """This order has held that option before; please send it back and order the other one anew."""


class NothingToSwap(Invalid):
    """Please choose what to change, and for which option."""

    field: str | None = "items"


class AddressFixed(Conflict):
    """This order is packed already; where it goes and how it is paid cannot be changed any more."""


class AddressElsewhere(Conflict):
    """This address is in another country, region or town, where delivery or tax cost something else; call the order off and place it anew."""


class LineSwap(msgspec.Struct, frozen=True):
    """A line and the option it is changed for."""

    line_no: int
    variant_id: UUID
    sku: str | None
    options: dict[str, str]


_SWAP = text("""
    UPDATE order_lines l SET variant_id = s.variant_id, sku = s.sku, options = s.options
    FROM jsonb_to_recordset(:swaps) AS s(line_no int, variant_id uuid, sku text, options jsonb)
    WHERE l.order_id = :order_id AND l.line_no = s.line_no
""")
# The move that answers it is written already, so one move out of the state has followed; after a second one it was called off.
_STANDING = text("""
    SELECT e.data FROM order_events e WHERE e.order_id = :order_id AND e.kind = :kind
      AND (SELECT count(*) FROM order_events m WHERE m.order_id = e.order_id AND m.seq > e.seq AND m.from_state = :state) <= 1
    ORDER BY e.seq DESC LIMIT 1
""")
_SET_ADDRESS = text("UPDATE orders SET shipping_address_enc = :address WHERE id = :order_id")


async def swap_lines(tx: Transaction, order_id: UUID, swaps: list[LineSwap]) -> None:
    """Write other options on the lines of an order that is locked."""
    await tx.run(_SWAP, order_id=order_id, swaps=swaps)


async def standing_note(tx: Transaction, order_id: UUID, kind: str, state: str) -> dict[str, Any] | None:
    """Return the data of an order's latest line of history of a kind, None where there is none or the order has left `state` since."""
    found: dict[str, Any] | None = await tx.value(_STANDING, order_id=order_id, kind=kind, state=state)
    return found


async def lines_of(tx: Transaction, order_id: UUID) -> list[OrderLine]:
    """Return the lines of an order as they are now."""
    return [OrderLine(**row) for row in await tx.all(LINES, order_id=order_id)]


async def set_shipping_address(tx: Transaction, order_id: UUID, address: bytes) -> None:
    """Write where an order goes, sealed."""
    await tx.run(_SET_ADDRESS, order_id=order_id, address=address)

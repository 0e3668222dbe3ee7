"""Giving part of an order's money back: for lines, for some of a line, for delivery, or as a gesture.

Staff with the permission refund_orders may refund everything, sellers their own part. Calling off a whole order or part is a
move of its process, not this.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.accounts.types import Caller
from tradepost.catalog import stock
from tradepost.catalog.stock import Want
from tradepost.core.database import Actor, Transaction
from tradepost.core.money import to_major
from tradepost.flows.make_move import go_on_if_paid
from tradepost.flows.orders import access_order, read_order
from tradepost.flows.refund import Piece, Refundable, gesture, give_back, goods_of, refundable
from tradepost.flows.store import Store
from tradepost.orders import service as orders
from tradepost.orders.processes import courses
from tradepost.orders.types import LockedOrder, NoSuchOrder, OrderView
from tradepost.payments import service as payments
from tradepost.payments.types import NothingToRefund, RefundTooLarge

ZERO = Decimal(0)


class RefundLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line to refund: the price of so many goods, or so much money; neither means all that is left of it."""

    line_no: int
    quantity: Decimal | None = None
    amount_minor: Annotated[int, Meta(ge=1, le=10**15)] | None = None


class RefundForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to give back. `amount_minor` alone is a gesture, taken from every line by what is left of it.

    `delivery`: the price of delivery too. `restock`: the goods are back on the shelf.
    """

    lines: Annotated[tuple[RefundLine, ...], Meta(max_length=500)] = ()
    delivery: bool = False
    amount_minor: Annotated[int, Meta(ge=1, le=10**15)] | None = None
    restock: bool = False
    reason: Annotated[str, Meta(max_length=500)] = ""


async def refund_order(store: Store, caller: Caller, order_id: UUID, form: RefundForm) -> OrderView:
    """Give back what the form says, to the buyer, from those who had it. Return the order.

    The gateway is asked by a job, right after. Raises `NoSuchOrder`, `RefundTooLarge`, `NothingToRefund`.
    """
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        access = await access_order(tx, caller, order_id=order_id)
        sees_all = caller.can("refund_orders") and "staff" in access.parties
        if not sees_all and "seller" not in access.parties:
            raise NoSuchOrder
        if not sees_all:
            caller.check_token("sell")
        order = await orders.lock_order(tx, order_id)
        await _check_paid(tx, order)
        left = [r for r in await refundable(tx, order_id) if sees_all or r.seller_id == caller.user_id]
        pieces = chosen_pieces(form, left, order.currency)
        await give_pieces(tx, store, order, pieces, left, reason=form.reason, restock=form.restock, caller=caller)
        await go_on_if_paid(tx, store, order, (await courses(tx, order.rules_version))[order.process])
        return await read_order(tx, store, caller, await access_order(tx, caller, order_id=order_id))


async def _check_paid(tx: Transaction, order: LockedOrder) -> None:
    """Raise `RefundTooLarge` for an order that nobody has paid for, nor will at the door: it is called off instead."""
    found = await payments.lock_payments_of(tx, order.id)
    if order.payment_state in {"pending", "failed"} and not any(p.is_offline and p.state == "initiated" for p in found):
        raise RefundTooLarge(f"{to_major(0, order.currency)} {order.currency}")


def chosen_pieces(form: RefundForm, left: Sequence[Refundable], currency: str) -> list[Piece]:
    """Return the pieces a form asks for. Raises `RefundTooLarge`, `NothingToRefund`."""
    if form.amount_minor is not None and not form.lines:
        return gesture(left, form.amount_minor, currency)
    by_no = {r.line_no: r for r in left if r.line_no is not None}
    pieces = [_piece(wanted, by_no.get(wanted.line_no), currency) for wanted in form.lines]
    if form.delivery:
        pieces += [r.piece(r.left_minor, ZERO) for r in left if r.line_no is None and r.left_minor]
    if not pieces:
        raise NothingToRefund
    return pieces


def _piece(wanted: RefundLine, line: Refundable | None, currency: str) -> Piece:
    if line is None:
        raise NothingToRefund
    quantity = wanted.quantity if wanted.quantity is not None else ZERO
    if wanted.quantity is None and wanted.amount_minor is None:
        quantity = line.left_quantity
    amount = wanted.amount_minor if wanted.amount_minor is not None else line.price_of(quantity)
    if quantity < 0 or quantity > line.left_quantity or amount > line.left_minor:
        raise RefundTooLarge(f"{to_major(line.left_minor, currency)} {currency}")
    if not amount and not quantity:
        raise NothingToRefund
    return line.piece(amount, quantity)


async def give_pieces(
    tx: Transaction, store: Store, order: LockedOrder, pieces: Sequence[Piece], left: Sequence[Refundable], *, reason: str,
    restock: bool, caller: Caller, role: str = "",
) -> UUID | None:  # fmt: skip
    """Give pieces back, put their goods on the shelf where asked, and write it in the order's history, as done by staff or seller unless `role` says."""
    refund_id = await give_back(tx, store, order, pieces, reason=reason, requested_by=caller.user_id)
    wants = [Want(variant_id, quantity) for variant_id, quantity in goods_of(pieces, left).items()]
    if restock and wants:
        await stock.put_back(tx, order.id, wants, reason="return", actor_id=caller.user_id)
    amount = sum(piece.amount_minor for piece in pieces)
    sellers = {piece.seller_id for piece in pieces}
    role = role or ("seller" if caller.user_id in sellers and not caller.can("refund_orders") else "staff")
    await orders.note(
        tx, order, "refunded", actor_role=role, actor_id=caller.user_id, reason=reason, data={"amount_minor": amount},
        seller_id=next(iter(sellers)) if len(sellers) == 1 and len(order.seller_ids) > 1 else None,
    )  # fmt: skip
    return refund_id

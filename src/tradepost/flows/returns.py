"""Goods on their way back: a buyer asks with a reason, the seller or staff say yes or no, and pay when the goods are back."""

from datetime import timedelta
from uuid import UUID

from tradepost.accounts.types import Caller
from tradepost.core.clock import now
from tradepost.core.database import Actor, Transaction
from tradepost.core.events import record
from tradepost.flows.orders import access_order, reading
from tradepost.flows.refund import cut, refundable
from tradepost.flows.refund_order import RefundForm, RefundLine, chosen_pieces, give_pieces
from tradepost.flows.store import Store
from tradepost.orders import returns
from tradepost.orders import service as orders
from tradepost.orders.events import ReturnDecided, ReturnRequested
from tradepost.orders.returns import (
    NoSuchReturn,
    NothingToReturn,
    NotReturnable,
    ReturnableLine,
    ReturnForm,
    ReturnView,
)
from tradepost.orders.types import NoSuchOrder, OrderLine, OrderView, Party

RETURN_WITHIN = timedelta(days=30)
_WAITING = ("requested", "accepted")


async def request_return(store: Store, caller: Caller, order_id: UUID, form: ReturnForm) -> ReturnView:
    """Ask to give goods of one seller back, within thirty days of their arrival.

    Raises `NoSuchOrder`, `NotReturnable`, `NothingToReturn`.
    """
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        access = await access_order(tx, caller, order_id=order_id)
        if "buyer" not in access.parties:
            raise NoSuchOrder
        caller.check_token("buy")
        order = await orders.lock_order(tx, order_id)
        seller_id = check_lines(await returns.returnable_lines(tx, order_id), form)
        return_id = await returns.ask(tx, order, seller_id, form)
        await orders.note(tx, order, "return_requested", actor_role="buyer", actor_id=caller.user_id, reason=form.comment,
                          seller_id=seller_id if len(order.seller_ids) > 1 else None)  # fmt: skip
        await record(tx, ReturnRequested(return_id, order_id, order.number, seller_id), subject_id=order_id)
        return await returns.find_return(tx, return_id)


def check_lines(known: dict[int, ReturnableLine], form: ReturnForm) -> UUID:
    """Return the one seller of the chosen lines. Raises `NothingToReturn`, `NotReturnable`."""
    chosen = {wanted.line_no: wanted.quantity for wanted in form.lines}
    if not chosen or len(chosen) < len(form.lines) or not chosen.keys() <= known.keys() or min(chosen.values()) <= 0:
        raise NothingToReturn
    for line_no, quantity in chosen.items():
        arrived = known[line_no].handed_over_at
        if arrived is None or now() - arrived > RETURN_WITHIN or quantity > known[line_no].left_quantity:
            raise NotReturnable
    sellers = {known[line_no].seller_id for line_no in chosen}
    if len(sellers) > 1:
        raise NothingToReturn
    return sellers.pop()


async def decide_return(store: Store, caller: Caller, return_id: UUID, *, accept: bool, answer: str = "") -> ReturnView:
    """Say yes or no to a return, as its seller or as staff. Raises `NoSuchReturn`, `ReturnDecidedAlready`."""
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        view, role = await _access(tx, caller, return_id)
        state = "accepted" if accept else "rejected"
        await returns.decide(tx, return_id, state, before=["requested"], by=caller.user_id, answer=answer.strip())
        return await _tell(tx, caller, view, role, state, answer.strip())


async def withdraw_return(store: Store, caller: Caller, return_id: UUID) -> ReturnView:
    """Call a return off, as the buyer. Raises `NoSuchReturn`, `ReturnDecidedAlready`."""
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        view = await returns.find_return(tx, return_id)
        try:
            access = await access_order(tx, caller, order_id=view.order_id)
        except NoSuchOrder:
            raise NoSuchReturn from None
        if "buyer" not in access.parties:
            raise NoSuchReturn
        caller.check_token("buy")
        await returns.decide(tx, return_id, "withdrawn", before=_WAITING, by=caller.user_id)
        return await _tell(tx, caller, view, "buyer", "withdrawn", "")


async def receive_return(
    store: Store, caller: Caller, return_id: UUID, *, restock: bool, amount_minor: int | None = None, answer: str = ""
) -> ReturnView:
    """Take returned goods in and give their price back, or `amount_minor` of it where they have suffered.

    Raises `NoSuchReturn`, `ReturnDecidedAlready`, `RefundTooLarge`.
    """
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        view, role = await _access(tx, caller, return_id)
        order = await orders.lock_order(tx, view.order_id)
        await returns.decide(tx, return_id, "received", before=_WAITING, by=caller.user_id, answer=answer.strip())
        left = [r for r in await refundable(tx, order.id) if r.seller_id == view.seller_id]
        wanted = tuple(RefundLine(line_no=line.line_no, quantity=line.quantity) for line in view.lines)
        pieces = chosen_pieces(RefundForm(lines=wanted), left, order.currency)
        if amount_minor is not None:
            pieces = cut(pieces, left, amount_minor)
        refund_id = await give_pieces(
            tx, store, order, pieces, left, reason=view.reason, restock=restock, caller=caller
        )
        await returns.decide(
            tx,
            return_id,
            "received",
            before=["received"],
            by=caller.user_id,
            answer=answer.strip(),
            refund_id=refund_id,
        )
        return await _tell(tx, caller, view, role, "received", answer.strip())


async def _access(tx: Transaction, caller: Caller, return_id: UUID) -> tuple[ReturnView, Party]:
    """Return a return, and whether the caller decides as its seller or as staff. Raises `NoSuchReturn`."""
    view = await returns.find_return(tx, return_id)
    if caller.user_id is not None and caller.user_id == view.seller_id:
        caller.check_token("sell")
        return view, "seller"
    if caller.can("refund_orders"):
        return view, "staff"
    raise NoSuchReturn


async def _tell(tx: Transaction, caller: Caller, view: ReturnView, role: Party, state: str, said: str) -> ReturnView:
    """Write what became of a return into its order's history, tell those who listen, and return it."""
    order = await orders.lock_order(tx, view.order_id)
    await orders.note(tx, order, f"return_{state}", actor_role=role, actor_id=caller.user_id, reason=said,
                      seller_id=view.seller_id if len(order.seller_ids) > 1 else None)  # fmt: skip
    await record(tx, ReturnDecided(view.id, order.id, order.number, state), subject_id=order.id)
    return await returns.find_return(tx, view.id)


async def list_returns(store: Store, caller: Caller, order_id: UUID) -> list[ReturnView]:
    """Return an order's returns, as far as they concern the caller. Raises `NoSuchOrder`."""
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        access = await access_order(tx, caller, order_id=order_id)
        found = await returns.returns_of(tx, order_id)
    if access.parties <= {"seller", "rider"}:
        return [r for r in found if r.seller_id == caller.user_id]
    return found


async def list_returns_to(store: Store, caller: Caller) -> list[ReturnView]:
    """Return the open returns to the caller as a seller, the oldest first."""
    seller_id = caller.check_signed_in()
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await returns.open_returns_to(tx, seller_id)


def returnable_now(order: OrderView, found: list[ReturnView]) -> list[OrderLine]:
    """Return the lines that the buyer of an order may ask to give back now; the whole truth is asked when they do."""
    arrived = {part.seller_id: part.handed_over_at for part in order.parts}
    under_way = {line.line_no for r in found if r.state in _WAITING for line in r.lines}
    if order.viewer != "buyer":
        return []
    return [
        line
        for line in order.lines
        for at in [arrived.get(line.seller_id)]
        if at is not None and now() - at <= RETURN_WITHIN
        if line.returned_quantity < line.quantity and line.line_no not in under_way
    ]

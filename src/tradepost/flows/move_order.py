"""Moving an order, or a seller's part of it, along its process, with what the move does to stock and money.

The buyer and staff move the whole order. Sellers and riders move a part; the order follows when its slowest part has come as
far, so an order of one seller moves at once. A seller who calls off the own part of several gives back that part alone.
"""

from uuid import UUID

import msgspec

from tradepost.accounts.types import Caller
from tradepost.core.database import Actor, Transaction
from tradepost.delivery.types import ProofNeeded
from tradepost.flows.make_move import Mover, make_move
from tradepost.flows.orders import access_order, read_order
from tradepost.flows.store import Store
from tradepost.orders import service as orders
from tradepost.orders.disputes import DISPUTED, DecisionNeedsReason
from tradepost.orders.processes import MONEY_EFFECTS, Course, Transition, courses
from tradepost.orders.types import (
    LockedOrder,
    LockedPart,
    MoveImpossible,
    MoveNotYours,
    NoSuchOrder,
    OrderView,
    PartAhead,
    PartsMoveTogether,
    Party,
)

# What an API token must be made for to move orders in each role.
SCOPES: dict[Party, str] = {"buyer": "buy", "seller": "sell", "rider": "deliver", "staff": "move_orders"}


async def move_order(
    store: Store, caller: Caller, order_id: UUID, to_state: str, *, seller_id: UUID | None = None, reason: str = "",
    carrier: str = "", tracking: str = "",
) -> OrderView:  # fmt: skip
    """Move an order, or with `seller_id` that seller's part, and carry out the effects. Return the order.

    Raises `NoSuchOrder`, `MoveImpossible`, `MoveNotYours`, `PartAhead`, `PartsMoveTogether`, `ProofNeeded` for a rider who hands over,
    `DecisionNeedsReason` for staff who decide a dispute. Repeating a move that was made is no error.
    """
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        access = await access_order(tx, caller, order_id=order_id)
        order = await orders.lock_order(tx, order_id)
        parties = _impartial(order.state, access.parties)
        course = (await courses(tx, order.rules_version))[order.process]
        parts = await orders.lock_parts(tx, order_id)
        if seller_id is None and not parties & {"buyer", "staff"}:
            seller_id = _own_part(caller, parts)
        if seller_id is not None:
            await _move_as_seller(tx, store, caller, order, course, parts, to_state, seller_id, parties, reason)
            if carrier or tracking:
                await orders.set_tracking(tx, order_id, seller_id, carrier.strip()[:60], tracking.strip()[:120])
        else:
            role: Party = "staff" if caller.can("move_orders") and "staff" in parties else "buyer"
            caller.check_token(SCOPES[role])
            _check_decision(order.state, role, reason)
            await _move_whole(tx, store, order, course, parts, to_state, parties, Mover(role, caller.user_id, reason))
        return await read_order(tx, store, caller, await access_order(tx, caller, order_id=order_id))


def _impartial(state: str, parties: frozenset[Party]) -> frozenset[Party]:
    """Return as what somebody may move an order: whoever is a side of a dispute does not decide it as staff."""
    return parties - {"staff"} if state == DISPUTED and parties & {"buyer", "seller"} else parties


def _check_decision(state: str, role: Party, reason: str) -> None:
    """Raise `DecisionNeedsReason` for staff who end a dispute without a word; the reason stays in the order's history."""
    if state == DISPUTED and role == "staff" and not reason.strip():
        raise DecisionNeedsReason


def _own_part(caller: Caller, parts: list[LockedPart]) -> UUID:
    """Return the part that a seller or rider means who names none. Raises `NoSuchOrder` where it is not one."""
    mine = [p.seller_id for p in parts if caller.user_id in {p.seller_id, p.rider_id}]
    if len(mine) != 1:
        raise NoSuchOrder
    return mine[0]


async def _move_whole(
    tx: Transaction, store: Store, order: LockedOrder, course: Course, parts: list[LockedPart], to_state: str,
    parties: frozenset[Party], mover: Mover,
) -> LockedOrder:  # fmt: skip
    if order.state == to_state:
        return order
    move = _allowed(course, order.state, to_state, parties & {"buyer", "staff"})
    live = [p for p in parts if not course.states[p.state].is_final or p.state == order.state]
    ahead = [p for p in live if p.state != order.state and course.move(p.state, to_state) is None]
    if ahead:
        raise PartAhead(course.states[ahead[0].state].name)
    for part in live:
        if part.state != order.state:
            own = course.move(part.state, to_state)
            if own is not None and move.is_whole:  # what it does to money is done once, for all parts
                own = msgspec.structs.replace(own, effects=own.effects - MONEY_EFFECTS)
            if own is not None:
                await make_move(tx, store, order, course, own, mover, parts=[part], whole=False)
    same = [p for p in live if p.state == order.state]
    return await make_move(tx, store, order, course, move, mover, parts=same, whole=True)


async def _move_as_seller(
    tx: Transaction, store: Store, caller: Caller, order: LockedOrder, course: Course, parts: list[LockedPart], to_state: str,
    seller_id: UUID, parties: frozenset[Party], reason: str,
) -> None:  # fmt: skip
    part = next((p for p in parts if p.seller_id == seller_id), None)
    mine: set[Party] = set(parties) & {"staff"} if caller.can("move_orders") else set()
    if part is not None and part.seller_id == caller.user_id:
        mine.add("seller")
    if part is not None and part.rider_id is not None and part.rider_id == caller.user_id:
        mine.add("rider")
    if part is None or not mine:
        raise NoSuchOrder
    if part.state == to_state:
        return
    move = _allowed(course, part.state, to_state, frozenset(mine))
    if move.is_whole and len(parts) > 1:
        raise PartsMoveTogether
    role: Party = next(p for p in ("seller", "rider", "staff") if p in mine and p in move.actors)
    if role == "rider" and "complete_fulfilments" in move.effects:
        raise ProofNeeded  # a rider hands over at the door: flows/hand_over.py
    caller.check_token(SCOPES[role])
    _check_decision(part.state, role, reason)
    await move_part(tx, store, order, course, parts, part, move, Mover(role, caller.user_id, reason))


def _allowed(course: Course, from_state: str, to_state: str, parties: frozenset[Party]) -> Transition:
    """Return the move. Raises `MoveImpossible` where there is none, `MoveNotYours` where others may make it."""
    move = course.move(from_state, to_state)
    name = course.states[to_state].name if to_state in course.states else to_state[:60]
    if move is None:
        raise MoveImpossible(course.states[from_state].name, name)
    if not move.actors & parties:
        raise MoveNotYours(name)
    return move


async def move_part(
    tx: Transaction, store: Store, order: LockedOrder, course: Course, parts: list[LockedPart], part: LockedPart,
    move: Transition, mover: Mover,
) -> None:  # fmt: skip
    """Move one seller's part, and the order with it when that was its slowest. Everything is locked; the move is allowed."""
    others = [p for p in parts if p.seller_id != part.seller_id and not _is_out(course, p)]
    if not others and part.state == order.state:
        await make_move(tx, store, order, course, move, mover, parts=[part], whole=True)
        return
    await make_move(tx, store, order, course, move, mover, parts=[part], whole=False)
    stages = [p.state for p in others]
    if not _is_out_state(course, move.to_state):
        stages.append(move.to_state)
    slowest = min(stages or [move.to_state], key=lambda code: course.states[code].position)
    anybody: frozenset[Party] = frozenset({"seller", "rider", "staff", "buyer", "system"})
    for step in course.path(order.state, slowest, anybody):
        order = await make_move(tx, store, order, course, step, Mover("system"), parts=[], whole=True)


def _is_out(course: Course, part: LockedPart) -> bool:
    """Whether a part was called off: it no longer holds up the order."""
    return part.handed_over_at is None and _is_out_state(course, part.state)


def _is_out_state(course: Course, state: str) -> bool:
    """Whether a final state is one of those into which no goods are handed over."""
    arrivals = [m for m in course.moves if m.to_state == state]
    return course.states[state].is_final and not any("complete_fulfilments" in m.effects for m in arrivals)

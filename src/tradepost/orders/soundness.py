"""Is a process sound? Dead ends, states nobody reaches, money or stock that is never let go.

Called when a store is installed, before its processes are written. Explores every pair of state and what has happened to money
and stock on the way there; a process has a few dozen of them. Pure.
"""

from collections.abc import Iterator

from tradepost.orders.processes import EFFECTS, Course, Transition
from tradepost.orders.types import BadProcess

# What can have happened on the way: to the buyer's money, and to the stock that was reserved when the order was placed.
_Situation = tuple[str, str, str]


def check_process(course: Course) -> None:
    """Raise `BadProcess` with the first thing that is wrong with a process."""
    for problem in problems(course):
        raise BadProcess(course.code, problem)


def problems(course: Course) -> Iterator[str]:
    """Yield what is wrong with a process, in words for whoever wrote it."""
    unknown = list(_unknown(course))
    yield from unknown
    if unknown:
        return
    yield from _timers(course)
    reached = _situations(course)
    states = {state for state, _, _ in reached}
    for code in course.states:
        if code not in states:
            yield f"nothing leads to “{code}”"
    yield from _dead_ends(course)
    yield from _unreleased(course, reached)


def _unknown(course: Course) -> Iterator[str]:
    if course.initial not in course.states:
        yield f"the initial state “{course.initial}” does not exist"
    for move in course.moves:
        for code in (move.from_state, move.to_state):
            if code not in course.states:
                yield f"a move names “{code}”, which is not a state"
        for effect in sorted(move.effects - set(EFFECTS)):
            yield f"“{move.from_state}” to “{move.to_state}” has the unknown effect “{effect}”"
    if not any(state.is_final for state in course.states.values()):
        yield "no state is final"


def _timers(course: Course) -> Iterator[str]:
    for move in course.moves:
        if move.timer is not None and "system" not in move.actors:
            yield f"“{move.from_state}” to “{move.to_state}” has a timer, but the system may not make it"
        if move.timer is not None and move.timer.total_seconds() <= 0:
            yield f"“{move.from_state}” to “{move.to_state}” has a timer that is not above zero"


def _dead_ends(course: Course) -> Iterator[str]:
    """A state that is not final needs a way to a final one on which somebody really makes each move."""
    alive = {code for code, state in course.states.items() if state.is_final}
    while True:
        more = {m.from_state for m in course.moves if m.to_state in alive and _happens(m)} - alive
        if not more:
            break
        alive |= more
    for code in course.states:
        if code not in alive:
            yield f"an order that is “{code}” can never end"


def _happens(move: Transition) -> bool:
    """Whether anybody makes this move: a person, a timer, or a payment."""
    by_payment = bool({"sell_stock", "release_stock"} & move.effects)
    return bool(move.actors - {"system"}) or move.timer is not None or by_payment


def _situations(course: Course) -> set[_Situation]:
    start = (course.initial, "none", "reserved")
    seen = {start}
    left = [start]
    while left:
        here = left.pop()
        for move in course.moves_from(here[0]):
            there = _after(move, here)
            if there not in seen:
                seen.add(there)
                left.append(there)
    return seen


def _after(move: Transition, here: _Situation) -> _Situation:
    _, money, stock = here
    if "sell_stock" in move.effects:
        stock = "sold"
        money = "held" if "hold_money" in move.effects else "paid"
    elif "hold_money" in move.effects and money == "paid":
        money = "held"
    if "release_stock" in move.effects and stock == "reserved":
        stock = "released"
    if "restock" in move.effects:
        stock = "released"
    if "release_money" in move.effects and money == "held":
        money = "paid"
    if "refund_payment" in move.effects and money != "none":
        money = "refunded"
    return move.to_state, money, stock


def _unreleased(course: Course, reached: set[_Situation]) -> Iterator[str]:
    for state, money, stock in sorted(reached):
        if course.states[state].is_final and money == "held":
            yield f"an order can end “{state}” with the money still held: it needs release_money or refund_payment on the way"
        if course.states[state].is_final and stock == "reserved":
            yield f"an order can end “{state}” with the stock still reserved: it needs sell_stock or release_stock on the way"
    for state in sorted(
        {state for state, money, _ in reached if money == "held" and not course.states[state].is_final}
    ):
        if not _lets_go(course, state):
            yield f"money held in “{state}” waits for the buyer alone: it needs a timer, or a move by the seller or staff"


def _lets_go(course: Course, state: str) -> bool:
    """Whether money held in a state is let go at last without the buyer's help."""
    seen, left = {state}, [state]
    while left:
        for move in course.moves_from(left.pop()):
            if not (move.actors - {"buyer", "system"} or move.timer is not None):
                continue
            if {"release_money", "refund_payment"} & move.effects:
                return True
            if move.to_state not in seen:
                seen.add(move.to_state)
                left.append(move.to_state)
    return False

"""Is a process sound? Dead ends, states nobody reaches, money or stock that is never let go, a balance nobody asks for.

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
    yield from _deposit(course)
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


def _deposit(course: Course) -> Iterator[str]:
    """What a process asks for first needs a payment that takes it, another for the rest, and nobody who says they have come."""
    taking = {effect for move in course.moves for effect in move.effects & {"take_deposit", "take_balance"}}
    if course.deposit is None:
        for effect in sorted(taking | {e for m in course.moves for e in m.effects & {"keep_deposit"}}):
            yield f"a move has {effect}, but the process does not say how much the deposit is"
        return
    terms = course.deposit
    if (terms.percent is None) == (terms.amount is None):
        yield "the deposit is either so many percent or an amount"
    if not (terms.percent or terms.amount or 1) > 0 or (terms.percent or 0) > 100 or not 0 <= terms.keeps <= 100:
        yield "the deposit is not above zero, or above 100 percent"
    if "take_deposit" not in taking:
        yield "the deposit is never asked for: no move has take_deposit"
    if "take_balance" not in taking:
        yield "the balance is never asked for: no move has take_balance"
    for move in course.moves:
        if move.effects & {"take_deposit", "take_balance"} and (move.actors != {"system"} or move.timer is not None):
            yield f"“{move.from_state}” to “{move.to_state}” is made by a payment, so by the system alone and without a timer"


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
    by_payment = bool({"sell_stock", "release_stock", "take_deposit", "take_balance"} & move.effects)
    return bool(move.actors - {"system"}) or move.timer is not None or by_payment


def _situations(course: Course) -> set[_Situation]:
    start = (course.initial, "none", "reserved")
    seen = {start}
    left = [start]
    while left:
        here = left.pop()
        for move in course.moves_from(here[0]):
            there = _after(course, move, here)
            if there not in seen:
                seen.add(there)
                left.append(there)
    return seen


def _after(course: Course, move: Transition, here: _Situation) -> _Situation:
    _, money, stock = here
    if "sell_stock" in move.effects:
        stock = "sold"
    if "take_deposit" in move.effects:
        money = "deposit"
    elif "take_balance" in move.effects or ("sell_stock" in move.effects and course.deposit is None):
        money = "held" if "hold_money" in move.effects else "paid"
    elif "hold_money" in move.effects and money == "paid":
        money = "held"
    if "release_stock" in move.effects and stock == "reserved":
        stock = "released"
    if "restock" in move.effects:
        stock = "released"
    if "release_money" in move.effects and money == "held":
        money = "paid"
    if {"refund_payment", "keep_deposit"} & move.effects and money != "none":
        money = "refunded"
    return move.to_state, money, stock


def _unreleased(course: Course, reached: set[_Situation]) -> Iterator[str]:
    for state, money, stock in sorted(reached):
        if course.states[state].is_final and money == "held":
            yield f"an order can end “{state}” with the money still held: it needs release_money or refund_payment on the way"
        if course.states[state].is_final and stock == "reserved":
            yield f"an order can end “{state}” with the stock still reserved: it needs sell_stock or release_stock on the way"
    yield from _unfinished_deposits(course, reached)
    waiting = {s for s, money, _ in reached if money in {"held", "deposit"} and not course.states[s].is_final}
    for state in sorted(waiting):
        if not _lets_go(course, state):
            yield f"money held in “{state}” waits for the buyer alone: it needs a timer, or a move by the seller or staff"


def _unfinished_deposits(course: Course, reached: set[_Situation]) -> Iterator[str]:
    """Where only the deposit is paid, an order neither ends nor is handed over; and a balance follows its deposit."""
    for state in sorted({state for state, money, _ in reached if money == "deposit"}):
        if course.states[state].is_final:
            yield f"an order can end “{state}” with only its deposit paid: it needs take_balance, keep_deposit or refund_payment"
        for move in course.moves_from(state):
            if "complete_fulfilments" in move.effects:
                yield f"“{state}” to “{move.to_state}” hands over before the balance is paid"
    for state, money, _ in sorted(reached):
        for move in course.moves_from(state):
            if "take_balance" in move.effects and money != "deposit":
                yield f"“{state}” can ask for a balance whose deposit was not paid, or no longer is"
            if "take_deposit" in move.effects and money != "none":
                yield f"“{state}” can ask for the deposit a second time"


def _lets_go(course: Course, state: str) -> bool:
    """Whether money held in a state is let go at last without the buyer's help."""
    seen, left = {state}, [state]
    while left:
        for move in course.moves_from(left.pop()):
            if not (move.actors - {"buyer", "system"} or move.timer is not None):
                continue
            if {"release_money", "refund_payment", "keep_deposit"} & move.effects:
                return True
            if move.to_state not in seen:
                seen.add(move.to_state)
                left.append(move.to_state)
    return False

"""Processes as drawings: where each state stands and how each move runs, worked out from the data alone."""

import msgspec

from tradepost.accounts.types import Caller
from tradepost.flows.orders import reading
from tradepost.flows.store import Store
from tradepost.orders.processes import Course, State, Transition, courses

WIDTH, HEIGHT, ACROSS, DOWN, EDGE = 148, 46, 212, 78, 24


class DrawnState(msgspec.Struct, frozen=True):
    """A state with the place of its box."""

    state: State
    x: int
    y: int


class DrawnMove(msgspec.Struct, frozen=True):
    """A move with the path of its arrow."""

    move: Transition
    path: str
    is_back: bool


class Diagram(msgspec.Struct, frozen=True):
    """A process ready to be drawn."""

    code: str
    kind: str
    states: tuple[DrawnState, ...]
    moves: tuple[DrawnMove, ...]
    width: int
    height: int


def draw(course: Course) -> Diagram:
    """Return a process with its states in columns, as many moves from the first state as it takes, and its moves as curves."""
    ranks = _ranks(course)
    columns: dict[int, list[State]] = {}
    for state in sorted(course.states.values(), key=lambda s: (s.is_final and s.tone in {"bad", "idle"}, s.position)):
        columns.setdefault(ranks[state.code], []).append(state)
    drawn = {
        state.code: DrawnState(state, EDGE + rank * ACROSS, EDGE + row * DOWN)
        for rank, column in columns.items()
        for row, state in enumerate(column)
    }
    moves = tuple(_drawn_move(move, drawn) for move in course.moves)
    tallest = max(len(column) for column in columns.values())
    return Diagram(
        course.code, course.kind, tuple(drawn.values()), moves, 2 * EDGE + max(columns) * ACROSS + WIDTH,
        2 * EDGE + (tallest - 1) * DOWN + HEIGHT + 40,
    )  # fmt: skip


def _ranks(course: Course) -> dict[str, int]:
    ranks, waiting = {course.initial: 0}, [course.initial]
    while waiting:
        here = waiting.pop(0)
        for move in course.moves_from(here):
            if move.to_state not in ranks:
                ranks[move.to_state] = ranks[here] + 1
                waiting.append(move.to_state)
    last = max(ranks.values())
    return {code: ranks.get(code, last + 1) for code in course.states}


def _drawn_move(move: Transition, drawn: dict[str, DrawnState]) -> DrawnMove:
    here, there = drawn[move.from_state], drawn[move.to_state]
    if there.x > here.x:
        x1, y1, x2, y2 = here.x + WIDTH, here.y + HEIGHT // 2, there.x, there.y + HEIGHT // 2
        bend = (x2 - x1) // 2
        return DrawnMove(move, f"M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}", is_back=False)
    if there.x == here.x:
        down = there.y > here.y
        x, y1, y2 = here.x + WIDTH // 2, here.y + (HEIGHT if down else 0), there.y + (0 if down else HEIGHT)
        return DrawnMove(move, f"M{x} {y1} C{x + 40} {y1} {x + 40} {y2} {x} {y2}", is_back=False)
    x1, x2, low = here.x + WIDTH // 2, there.x + WIDTH // 2, max(here.y, there.y) + HEIGHT
    return DrawnMove(
        move, f"M{x1} {here.y + HEIGHT} C{x1} {low + 50} {x2} {low + 50} {x2} {there.y + HEIGHT}", is_back=True
    )


async def get_diagrams(store: Store, caller: Caller) -> tuple[Diagram, ...]:
    """Return the store's processes, drawn. Raises `NotAllowed`."""
    caller.check_can("see_all_orders")
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        return tuple(draw(course) for course in (await courses(tx)).values())

"""Which course an order takes, and a process as its preset's file writes it, turned into a course."""

from collections.abc import Iterable, Mapping

from tradepost.flows.preset import Process
from tradepost.flows.pricing import BasketLine
from tradepost.orders.processes import Course, State, Transition
from tradepost.orders.soundness import check_process

PURCHASE, BOOKING = "purchase", "service"


def course_for(lines: Iterable[BasketLine], known: Mapping[str, Course]) -> Course:
    """Return the course that an order of these lines takes.

    Services are booked where the store has bookings; then the first process, by name, that takes one of the lines.
    """
    lines = list(lines)
    if BOOKING in known and any(line.kind == "service" for line in lines):
        return known[BOOKING]
    for course in known.values():
        if course.takes and any(course.takes.fits(line.kind, line.category_path) for line in lines):
            return course
    return known[PURCHASE]


def course_of(process: Process) -> Course:
    """Return a process file's contents as a course."""
    states = [
        State(s.code, s.name, s.documented or s.code, s.tone, s.open, s.final, n) for n, s in enumerate(process.states)
    ]
    moves = [
        Transition(t.from_state, t.to_state, frozenset(t.by), t.label, t.timer, frozenset(t.effects))
        for t in process.transitions
    ]  # fmt: skip
    return Course(
        process.name, process.kind, process.initial, states, moves, deposit=process.deposit, takes=process.takes
    )


def check(process: Process) -> None:
    """Raise `BadProcess` where a process has dead ends, states nobody reaches, or money or stock it never lets go."""
    check_process(course_of(process))

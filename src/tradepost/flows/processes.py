"""A process as its preset's file writes it, turned into the course that orders take."""

from tradepost.flows.preset import Process
from tradepost.orders.processes import Course, State, Transition
from tradepost.orders.soundness import check_process


def course_of(process: Process) -> Course:
    """Return a process file's contents as a course."""
    states = [
        State(s.code, s.name, s.documented or s.code, s.tone, s.open, s.final, n) for n, s in enumerate(process.states)
    ]
    moves = [
        Transition(t.from_state, t.to_state, frozenset(t.by), t.label, t.timer, frozenset(t.effects))
        for t in process.transitions
    ]  # fmt: skip
    return Course(process.name, process.kind, process.initial, states, moves)


def check(process: Process) -> None:
    """Raise `BadProcess` where a process has dead ends, states nobody reaches, or money or stock it never lets go."""
    check_process(course_of(process))

"""What time it is, in UTC; tests may stop or move the clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_stopped: ContextVar[datetime | None] = ContextVar("stopped_clock", default=None)


def now() -> datetime:
    """Return the current moment, aware, in UTC."""
    return _stopped.get() or datetime.now(UTC)


def stopped_clock() -> datetime | None:
    """Return where this task's clock was stopped; None means that it runs, and that a statement may take the database's own."""
    return _stopped.get()


@contextmanager
def stopped_at(moment: datetime) -> Iterator[None]:
    """Within the block, `now()` returns `moment` for this task."""
    token = _stopped.set(moment)
    try:
        yield
    finally:
        _stopped.reset(token)

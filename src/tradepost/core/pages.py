"""Pages of long lists: where the next one begins, as text that a client can hand back.

A page continues after the last row's sort values (keyset), never by counting rows, so the thousandth page costs what the first
does and nothing is shown twice. A cursor is opaque to clients but holds no secret.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.core.errors import Invalid

LARGEST_PAGE = 100

T = TypeVar("T")

Moment = Annotated[datetime, Meta(tz=True)]
LATEST = datetime(9999, 12, 31, tzinfo=UTC), UUID(int=(1 << 128) - 1)
"""The sort values before which every row comes in a list that shows the newest first."""


@dataclass(eq=False)
class NoSuchPage(Invalid):
    """The place to continue from is not valid; please start from the first page."""

    field: str | None = "after"


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some rows of a list, and the cursor after which the rest follows; None at the end."""

    items: tuple[T, ...]
    after: str | None = None


def page_size(wanted: int) -> int:
    """Return the number of rows to show: what was asked for, between 1 and 100."""
    return max(1, min(wanted, LARGEST_PAGE))


def page_of(rows: Sequence[T], size: int, cursor: Callable[[T], str]) -> Page[T]:
    """Return a page of `size` rows; where `rows` holds one more, that there is more is said by the last one's cursor."""
    items = tuple(rows[:size])
    return Page(items, cursor(items[-1]) if len(rows) > size else None)


def to_cursor(*values: Any) -> str:
    """Return the cursor for a row's sort values."""
    return base64.urlsafe_b64encode(msgspec.json.encode(values)).decode().rstrip("=")


def from_cursor(cursor: str, *kinds: Any) -> tuple[Any, ...]:
    """Return the sort values of a cursor, of these types (`Moment` for times). Raises `NoSuchPage` for a cursor that we did not write."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return tuple(msgspec.json.decode(text, type=tuple[kinds]))  # type: ignore[valid-type]  # built from the arguments
    except (ValueError, msgspec.MsgspecError):
        raise NoSuchPage from None


def newest_first(cursor: str | None) -> tuple[datetime, UUID]:
    """Return the moment and the id after which a list continues that shows the newest first. Raises `NoSuchPage`."""
    if cursor is None:
        return LATEST
    at, key = from_cursor(cursor, Moment, UUID)
    try:
        return at.astimezone(UTC), key
    except OverflowError:  # the year 1 or 9999 at the wrong side of Greenwich
        raise NoSuchPage from None

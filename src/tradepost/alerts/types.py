"""What the rest of the product sees of kept searches."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.core.errors import Conflict, Invalid, NotFound
from tradepost.search.types import SearchRequest

MOST: Final = 100
"""How many searches one person keeps."""


Frequency = Literal["instant", "hourly", "daily", "weekly"]


class NoSuchAlert(NotFound):
    """There is no such saved search."""


class NoSuchMatch(NotFound):
    """None of your alerts found this."""


@dataclass(eq=False)
class TooManyAlerts(Conflict):
    """You keep {most} searches already; remove one first."""

    most: int = MOST


@dataclass(eq=False)
class NothingToKeep(Invalid):
    """A search to keep needs words or a filter."""

    field: str | None = "query"


class AlertKnown(Conflict):
    """Another of your alerts asks for the same already."""


class AlertName(msgspec.Struct, frozen=True):
    """What a person calls a saved search."""

    name: Annotated[str, Meta(min_length=1, max_length=80)]


class Telling(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a person is told of what an alert finds. `again_on_drop`: once more when something it found becomes cheaper."""

    email: bool = True
    push: bool = False
    webhook: bool = False
    frequency: Frequency = "instant"
    again_on_drop: bool = False


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A search that a person keeps; `last_checked_at` is when they last looked.

    `request` is the search that shows what it is about, `criteria` all that it asks for. A broad one finds so much that its person is
    told in a digest whatever `telling` says.
    """

    id: UUID
    name: str
    request: SearchRequest
    criteria: dict[str, Any]
    is_active: bool
    is_broad: bool
    telling: Telling
    last_checked_at: datetime
    created_at: datetime

    @property
    def is_searchable(self) -> bool:
        """Whether a search can ask all that the alert asks."""
        return not self.criteria.keys() & {
            "sources",
            "currency",
            "price_drop_minor",
            "price_drop_percent",
            "back_in_stock",
        }

"""What the rest of the product sees of kept searches."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.core.errors import Conflict, Invalid, NotFound
from tradepost.search.types import SearchRequest

MOST: Final = 100
"""How many searches one person keeps."""


class NoSuchAlert(NotFound):
    """There is no such saved search."""


@dataclass(eq=False)
class TooManyAlerts(Conflict):
    """You keep {most} searches already; remove one first."""

    most: int = MOST


@dataclass(eq=False)
class NothingToKeep(Invalid):
    """A search to keep needs words or a filter."""

    field: str | None = "query"


class AlertName(msgspec.Struct, frozen=True):
    """What a person calls a saved search."""

    name: Annotated[str, Meta(min_length=1, max_length=80)]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A search that a person keeps; `last_checked_at` is when they last looked."""

    id: UUID
    name: str
    request: SearchRequest
    is_active: bool
    last_checked_at: datetime
    created_at: datetime

"""What the rest of the product knows of sources: their settings, their readings, and what can be wrong with them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.core.errors import Conflict, Invalid, NotFound, Unavailable

Kind = Literal["json_feed", "ndjson_feed", "csv_feed", "rss_feed", "sitemap", "pages", "search_page", "folder", "push"]
BeganBy = Literal["schedule", "hand", "push", "command"]
State = Literal["running", "done", "failed", "stopped"]
KIND_NAMES: Final[dict[Kind, str]] = {
    "json_feed": "JSON feed", "ndjson_feed": "NDJSON feed", "csv_feed": "CSV feed", "rss_feed": "RSS, Atom or XML feed",
    "sitemap": "Pages of a sitemap", "pages": "Pages by address", "search_page": "Search results",
    "folder": "Saved pages in a folder", "push": "Sent to us",
}  # fmt: skip
Short = Annotated[str, Meta(max_length=300)]
Words = Annotated[str, Meta(max_length=100)]


class Selectors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where things are on a page of search results, as CSS selectors; `@name` behind one takes an attribute.

    `item` is one result, the others are looked for within it; `next` leads to the following page.
    """

    item: Short = ""
    link: Short = "a@href"
    title: Short = ""
    price: Short = ""
    image: Short = ""
    place: Short = ""
    next: Short = ""


class Reading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a source's rows become listings.

    `fields`: where in a row something is (`price` → `offer.amount`), for what is not found under its usual names. `items`: where in a
    JSON document the rows are. `currency`, `decimal`: what a price without a currency is in, and the sign before its fraction where
    that is not plain. `minor_units`: prices are in the smallest unit. `categories`: our slugs by their names. `complete`: the source
    shows everything it has each time, so that what is missing has gone. `follow`: read each result's own page, too.
    """

    fields: Annotated[dict[Words, Short], Meta(max_length=40)] = {}
    items: Short = ""
    currency: Annotated[str, Meta(pattern="^([A-Z]{3})?$")] = ""
    decimal: Literal["", ".", ","] = ""
    minor_units: bool = False
    category: Words = ""
    categories: Annotated[dict[Short, Words], Meta(max_length=500)] = {}
    kind: Words = ""
    feed: Words = ""
    encoding: Words = ""
    delimiter: Annotated[str, Meta(max_length=1)] = ""
    complete: bool = True
    gone_as: Literal["deleted", "sold"] = "deleted"
    selectors: Selectors = Selectors()
    follow: bool = False
    pages: Annotated[tuple[Annotated[str, Meta(max_length=2000)], ...], Meta(max_length=1000)] = ()
    matching: Short = ""
    most_pages: Annotated[int, Meta(ge=1, le=100_000)] = 500
    pictures: bool = True


class Source(msgspec.Struct, frozen=True):
    """An outside market and how it is read. `schedule`: five fields of cron, in the store's time zone; empty for by hand only.

    `pause_s`: seconds between two requests to its server. `terms`: what its operator allows, in words or by address.
    """

    id: UUID
    code: str
    name: str
    kind: Kind
    url: str
    description: str
    settings: Reading
    is_active: bool
    schedule: str
    pause_s: float
    terms: str


class Counts(msgspec.Struct, frozen=True):
    """What some rows did."""

    seen: int = 0
    inserted: int = 0
    changed: int = 0
    unchanged: int = 0
    returned: int = 0
    gone: int = 0
    refused: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        """Return both together."""
        return Counts(
            *(a + b for a, b in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True))
        )


class Run(msgspec.Struct, frozen=True):
    """One reading of a source. `at_row`: how many rows of it are done; `whole`: its bytes in all, where that is known."""

    id: UUID
    source_id: UUID
    began_by: BeganBy
    state: State
    started_at: datetime
    moved_at: datetime
    finished_at: datetime | None
    at_row: int
    document: str
    seen: int
    inserted: int
    changed: int
    unchanged: int
    returned: int
    gone: int
    refused: int
    bytes: int
    whole: int | None
    message: str

    @property
    def percent(self) -> int | None:
        """How much of the source is read, where that is known."""
        return min(100, 100 * self.bytes // self.whole) if self.whole else None


class Claim(msgspec.Struct, frozen=True):
    """A run that somebody is at. Whoever goes on with it has the next turn, and those before write nothing more."""

    run_id: UUID
    turn: int = 0


class RowError(msgspec.Struct, frozen=True):
    """A refused row: where it is (“line 7,013”), its id where it has one, why, and how it begins."""

    place: str
    external_id: str | None
    reason: str
    excerpt: str


class SourceHealth(msgspec.Struct, frozen=True):
    """A source in the list of the staff: what it has on offer, how its last readings went, when the next one is."""

    id: UUID
    code: str
    name: str
    kind: Kind
    url: str
    is_active: bool
    schedule: str
    listings: int
    due_at: datetime | None
    failures: int
    run_id: UUID | None
    run_state: State | None
    run_at: datetime | None
    run_refused: int | None
    run_seen: int | None
    run_message: str | None
    counts: tuple[int, ...] = ()


class SourceDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A source as the staff write it."""

    code: Annotated[str, Meta(max_length=50)]
    name: Annotated[str, Meta(max_length=100)]
    kind: Kind
    url: Annotated[str, Meta(max_length=2000)] = ""
    description: Annotated[str, Meta(max_length=500)] = ""
    settings: Reading = Reading()
    schedule: Annotated[str, Meta(max_length=100)] = ""
    pause_s: Annotated[float, Meta(ge=0, le=3600)] = 2.0
    terms: Annotated[str, Meta(max_length=2000)] = ""


class Raw(msgspec.Struct, frozen=True):
    """A row as its source has it, read but not understood. `problem`: why it could not even be read; `text` is how it begins."""

    place: str
    data: dict[str, Any]
    problem: str = ""
    text: str = ""


class NoSuchSource(NotFound):
    """There is no such source."""


class NoSuchRun(NotFound):
    """There is no such reading."""


@dataclass(eq=False)
class SourceTaken(Conflict):
    """There is a source with this code already."""


class AlreadyReading(Conflict):
    """This source is being read at the moment."""


class RunLost(AlreadyReading):
    """Somebody else goes on with this reading."""


@dataclass(eq=False)
class SourceUnreadable(Invalid):
    """{name} cannot be read: {problem}"""

    name: str
    problem: str


@dataclass(eq=False)
class SourceAway(Unavailable):
    """{name} cannot be read now: {problem}"""

    name: str
    problem: str


@dataclass(eq=False)
class BadRow(Invalid):
    """{reason}"""

    reason: str

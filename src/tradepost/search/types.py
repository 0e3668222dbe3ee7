"""What the rest of the product sees of search."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.catalog.types import ListingCard
from tradepost.core.errors import Conflict, Invalid

Sort = Literal["best", "newest", "popular", "nearest", "cheapest", "dearest", "rated"]
SearchType = Literal["words", "vectors", "both", "browse", "similar"]
Weight = Annotated[float, Meta(ge=0, le=10)]


@dataclass(eq=False)
class SynonymKnown(Conflict):
    """That synonym exists already."""

    field: str | None = "word"


@dataclass(eq=False)
class SameWord(Invalid):
    """A synonym needs two different words."""

    field: str | None = "means"


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a store weighs what it knows of a document; staff may change them.

    `title`, `brand`, `attributes` and `description` say what a word counts where it stands; `length` how much long texts pay
    (0 to 1). `words`, `meaning`, `popularity` and `freshness` are the parts of the score, each between 0 and 1 before it is
    weighed. `ranked` is how many documents are weighed at most, `compared` how many of them by meaning as well.
    """

    title: Weight = 1.0
    brand: Weight = 0.6
    attributes: Weight = 0.3
    description: Weight = 0.8
    length: Annotated[float, Meta(ge=0, le=1)] = 0.2
    words: Weight = 1.0
    meaning: Weight = 1.3
    popularity: Weight = 0.05
    freshness: Weight = 0.02
    ranked: Annotated[int, Meta(ge=100, le=5000)] = 1000
    compared: Annotated[int, Meta(ge=0, le=1000)] = 200
    neighbours: Annotated[int, Meta(ge=0, le=500)] = 100
    likeness: Annotated[float, Meta(ge=0, le=1)] = 0.45
    index: Literal["hnsw", "ivfflat"] = "hnsw"


class SearchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody looks for. Prices in minor units of the store's currency, distances in metres, `near` in degrees.

    `attributes` and `ranges` go by the keys of the kinds' fields; several values of one key mean any of them.
    """

    query: str = ""
    category: str | None = None
    kind: str | None = None
    feed: str | None = None
    conditions: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    attributes: dict[str, tuple[str, ...]] = {}
    ranges: dict[str, tuple[float | None, float | None]] = {}
    min_minor: int | None = None
    max_minor: int | None = None
    in_stock: bool = False
    seller_id: UUID | None = None
    verified_seller: bool = False
    near: tuple[float, float] | None = None
    radius_m: float | None = None
    max_age_days: int | None = None
    published_after: datetime | None = None
    sort: Sort = "best"
    after: str | None = None
    limit: int = 24
    facets: bool = True
    explain: bool = False


class FacetValue(msgspec.Struct, frozen=True):
    """A value that documents of the result have, and how many of them; more than counted where the count is not exact."""

    value: str
    count: int


class Understood(msgspec.Struct, frozen=True, kw_only=True):
    """What was read out of the words beside the words themselves; each is a filter that the person can take off again."""

    min_minor: int | None = None
    max_minor: int | None = None
    radius_m: float | None = None
    attributes: dict[str, tuple[str, ...]] = {}
    in_stock: bool = False
    near_me: bool = False
    without: tuple[str, ...] = ()


class Score(msgspec.Struct, frozen=True):
    """The parts of a listing's score, as they were weighed and added up."""

    listing_id: UUID
    words: float
    meaning: float
    popularity: float
    freshness: float
    total: float


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """One page of what was found. `total` is None where there are more than were counted, `at_least` is how many were.

    `facets` are counted over the same documents, by tag group: category, kind, feed, condition, brand, and “.key” for an
    attribute. `search_id` names the search in the log, for clicks.
    """

    items: tuple[ListingCard, ...]
    after: str | None = None
    total: int | None = None
    at_least: int = 0
    facets: dict[str, tuple[FacetValue, ...]] = {}
    price_range: tuple[int, int] | None = None
    corrected_query: str | None = None
    understood: Understood = msgspec.field(default_factory=Understood)
    search_type: SearchType = "words"
    search_id: UUID | None = None
    scores: tuple[Score, ...] = ()
    is_relaxed: bool = False


class Suggestion(msgspec.Struct, frozen=True):
    """Something to put into the search field, or a place to go."""

    kind: Literal["query", "category", "listing"]
    text: str
    path: str


class Synonym(msgspec.Struct, frozen=True):
    """Another word for a word in this store."""

    id: UUID
    word: str
    means: str
    both_ways: bool


class SearchFigures(msgspec.Struct, frozen=True):
    """How search did over some days; `p95_ms` is the time that 95 of 100 searches stayed under."""

    searches: int
    unanswered: int
    clicked: int
    ordered: int
    p95_ms: float


class UnansweredQuery(msgspec.Struct, frozen=True):
    """A search that found nothing, how often it was made, and the known word nearest to it."""

    query: str
    times: int
    last_at: datetime
    nearest: str | None

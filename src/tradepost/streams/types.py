"""What the rest of the product knows of live shows."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.core.errors import Conflict, Invalid, NotFound, Refused
from tradepost.core.ids import short_id
from tradepost.core.text import slugify

LARGEST = 10**12
MOST_PINS = 200
Status = Literal["scheduled", "live", "ended"]
AuctionState = Literal["open", "sold", "unsold", "cancelled"]


class NoShowsHere(NotFound):
    """There are no live shows in this store."""


class NoSuchStream(NotFound):
    """There is no such show."""


class NoSuchPin(NotFound):
    """That is not on the list of this show."""


class NoSuchComment(NotFound):
    """There is no such comment."""


class NoSuchAuction(NotFound):
    """There is no such auction."""


class NoSuchGiveaway(NotFound):
    """There is no such giveaway."""


class NotYourShow(Refused):
    """Only the host of a show does that."""


@dataclass(eq=False)
class WrongMoment(Conflict):
    """That does not go with a show that is {status}."""

    status: str


class AlreadyLive(Conflict):
    """You are live already; end that show first."""


class PinnedAlready(Conflict):
    """That is on the list already."""


class TooManyPins(Conflict):
    """A show takes no more listings than this one has."""


class NotYoursToSell(Refused):
    """In a show you sell what is yours and on offer."""


class NotPinnedNow(Conflict):
    """That is not shown at the moment."""


class SaidTwice(Conflict):
    """That comment was sent already."""


class EmptyComment(Invalid):
    """There is nothing in this comment."""

    field = "body"


class NotWelcome(Refused):
    """The host of this show does not take comments from you."""


class NoStreamAddress(Invalid):
    """Please say where the picture comes from: an address of an HLS playlist."""

    field = "stream_url"


@dataclass(eq=False)
class BadStreamAddress(Invalid):
    """That is not the address of a video playlist: https://… ending in .m3u8, or of an MP4 file."""

    field: str | None = "stream_url"


@dataclass(eq=False)
class TooSoon(Invalid):
    """A show is planned for a moment that is still to come, within a year."""

    field: str | None = "scheduled_at"


class AuctionRunning(Conflict):
    """An auction is running; wait for its end."""


@dataclass(eq=False)
class InAuction(Conflict):
    """This is being auctioned: bid for it."""


@dataclass(eq=False)
class BidTooLow(Conflict):
    """The least to bid is {least_minor} {currency} (in the smallest unit)."""

    least_minor: int
    currency: str
    field: str | None = "max"


class BidByHost(Refused):
    """You cannot bid on what you sell yourself."""


class AuctionOver(Conflict):
    """This auction is over."""


class BidTwice(Conflict):
    """That bid was placed already."""


class BidsDoNotAddUp(Conflict):
    """The bids of this auction, read again, lead to somebody else; it stays open until people have looked at it."""


class GiveawayOver(Conflict):
    """This giveaway is over."""


class GiveawayRunning(Conflict):
    """A giveaway is running; draw it first."""


class TakesPart(Conflict):
    """You take part already."""


class NobodyTakesPart(Conflict):
    """Nobody takes part yet, so there is nobody to draw."""


Title = Annotated[str, Meta(min_length=1, max_length=120)]
Minor = Annotated[int, Meta(ge=1, le=LARGEST)]
Nonce = Annotated[str, Meta(max_length=64)]


class StreamForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A show as its host plans it. `stream_url`: an HLS playlist (or an MP4 file), needed to go live."""

    title: Title
    category: Annotated[str, Meta(max_length=100)]
    scheduled_at: datetime
    description: Annotated[str, Meta(max_length=2000)] = ""
    stream_url: Annotated[str, Meta(max_length=500)] = ""


class PinForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A listing for a show's list. `price_minor`: what it costs during the show; None for its own price."""

    listing_id: UUID
    variant_id: UUID | None = None
    price_minor: Minor | None = None


class Comment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody says in a show; `nonce` is their own mark, so that sending again sends nothing twice."""

    body: Annotated[str, Meta(max_length=300)]
    nonce: Nonce | None = None


class AuctionForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An auction of one piece that is pinned. A bid within the last `soft_close_s` seconds makes it last that long from then."""

    position: Annotated[int, Meta(ge=1, le=100_000)]
    starts_minor: Minor
    increment_minor: Minor
    reserve_minor: Minor | None = None
    seconds: Annotated[int, Meta(ge=10, le=3600)] = 60
    soft_close_s: Annotated[int, Meta(ge=0, le=300)] = 10


class Bid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The most somebody would pay; the price goes up only as far as it must."""

    max_minor: Minor
    nonce: Nonce | None = None


class Stream(msgspec.Struct, frozen=True):
    """A show as everybody sees it."""

    id: UUID
    host_id: UUID
    host_username: str
    host_name: str
    host_avatar_file_id: UUID | None
    title: str
    description: str
    category_slug: str
    category_name: str
    status: Status
    scheduled_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    thumbnail_file_id: UUID | None
    stream_url: str | None
    recording_url: str | None
    last_seq: int
    views: int
    likes: int
    comments: int
    shares: int
    most_viewers: int
    viewers: int

    @property
    def path(self) -> str:
        """The address of the show's page."""
        return f"/live/{slugify(self.title)}-{short_id(self.id)}"

    @property
    def was_called_off(self) -> bool:
        """Whether it ended without having begun."""
        return self.status == "ended" and self.started_at is None

    @property
    def video_url(self) -> str | None:
        """Where the picture comes from now, if there is one."""
        return self.stream_url if self.status == "live" else self.recording_url if self.status == "ended" else None


class Pin(msgspec.Struct, frozen=True):
    """A listing on a show's list, with what it costs and how many are left now. `at_s`: seconds into the recording."""

    stream_id: UUID
    position: int
    listing_id: UUID
    variant_id: UUID
    slug: str
    title: str
    image_id: UUID | None
    status: str
    own_minor: int | None
    live_minor: int | None
    currency: str
    left: Decimal | None
    sale_step: Decimal
    pinned_from: datetime | None
    pinned_to: datetime | None
    at_s: float | None
    auction_id: UUID | None

    @property
    def path(self) -> str:
        """The address of the listing's page."""
        return f"/l/{self.slug}-{short_id(self.listing_id)}"

    @property
    def price_minor(self) -> int | None:
        """What it costs in the show."""
        return self.live_minor if self.live_minor is not None else self.own_minor

    @property
    def is_shown(self) -> bool:
        """Whether it is pinned at the moment."""
        return self.pinned_from is not None and self.pinned_to is None

    @property
    def is_there(self) -> bool:
        """Whether one can be had."""
        return (
            self.status == "active"
            and self.price_minor is not None
            and (self.left is None or self.left >= self.sale_step)
        )


class Happening(msgspec.Struct, frozen=True):
    """One entry of a show's log, as everybody sees it. `at_s`: seconds into the recording."""

    seq: int
    kind: str
    user_id: UUID | None
    name: str | None
    username: str | None
    avatar_file_id: UUID | None
    body: str
    data: dict[str, Any]
    at: datetime
    at_s: float | None
    is_removed: bool


class Auction(msgspec.Struct, frozen=True):
    """An auction as everybody sees it: never what anybody would pay at most. `now` is the server's clock."""

    id: UUID
    stream_id: UUID
    position: int
    listing_id: UUID
    variant_id: UUID
    host_id: UUID
    currency: str
    quantity: Decimal
    starts_minor: int
    increment_minor: int
    soft_close_s: int
    opens_at: datetime
    closes_at: datetime
    closed_at: datetime | None
    state: AuctionState
    last_seq: int
    price_minor: int | None
    leader_id: UUID | None
    leader_name: str | None
    offer_id: UUID | None
    title: str
    image_id: UUID | None
    now: datetime

    @property
    def least_minor(self) -> int:
        """The least that may be bid now."""
        return self.starts_minor if self.price_minor is None else self.price_minor + self.increment_minor

    @property
    def seconds_left(self) -> float:
        """How long it goes on from now, by the server's clock; 0 when its time is up."""
        return max(0.0, (self.closes_at - self.now) / timedelta(seconds=1))


class PlacedBid(msgspec.Struct, frozen=True):
    """One bid of an auction: what price and leader were after it."""

    seq: int
    bidder_name: str
    price_minor: int
    leader_name: str
    at: datetime


class BidResult(msgspec.Struct, frozen=True):
    """What became of a bid."""

    auction_id: UUID
    seq: int
    price_minor: int
    is_leading: bool
    closes_at: datetime


class Giveaway(msgspec.Struct, frozen=True):
    """A giveaway as everybody sees it. `commitment` and, after the draw, `seed` are hexadecimal."""

    id: UUID
    stream_id: UUID
    prize: str
    commitment: str
    state: Literal["open", "drawn"]
    entries: int
    drawn_at: datetime | None
    seed: str | None
    winner_no: int | None
    winner_id: UUID | None
    winner_name: str | None
    created_at: datetime

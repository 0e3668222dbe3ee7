"""Live shows, for programs: the programme, shows and their lists, comments, auctions, giveaways, live events."""

from functools import partial
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import delete, get, post, put, websocket
from litestar.params import FromPath, FromQuery, HeaderParameter, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT
from litestar.types import ASGIApp
from msgspec import Meta

from tradepost.core.errors import DomainError
from tradepost.core.ids import secret_token
from tradepost.core.live import Entry
from tradepost.flows import show_sales, shows
from tradepost.flows.checkout import CheckoutForm, Placed
from tradepost.flows.shows import Programme, Show
from tradepost.offers.types import Offer
from tradepost.streams.types import (
    Auction,
    AuctionForm,
    Bid,
    BidResult,
    Comment,
    Giveaway,
    Happening,
    PinForm,
    PlacedBid,
    Stream,
    StreamForm,
)
from tradepost.web.context import Calling
from tradepost.web.live import EventStream, Socket, answer_call, last_event_id, refusal, understood
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest, HttpSocket

Cursor = Annotated[str | None, QueryParameter(max_length=400, description="`after` of the page before.")]
Number = Annotated[int, QueryParameter(ge=0, le=2**31 - 1)]
Key = Annotated[str | None, HeaderParameter(name="Idempotency-Key", max_length=200)]
TAG = ["Live shows"]


class Recording(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the recording of a show is; empty for nowhere."""

    recording_url: Annotated[str, Meta(max_length=500)]


class LivePrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What something costs from now on; None leaves it as it was planned."""

    price_minor: Annotated[int, Meta(ge=1, le=10**12)] | None = None


class Placement(msgspec.Struct, frozen=True):
    """Where something stands on a show's list."""

    position: int


class Prize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is given away."""

    prize: Annotated[str, Meta(min_length=1, max_length=200)]


class Entered(msgspec.Struct, frozen=True):
    """The number somebody has in a giveaway."""

    number: int


class Drawing(msgspec.Struct, frozen=True):
    """A giveaway; once it is drawn, with its entrants in order, so that anybody can draw again.

    SHA-256 of `seed` is `commitment`. SHA-256 over the seed and the 16 bytes of each entrant's id, as a whole number (big-endian) modulo
    the number of entrants, plus 1, is `winner_no`.
    """

    giveaway: Giveaway
    entrants: tuple[UUID, ...]


class Likes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the caller likes a show."""

    likes: bool


@get("/streams", tags=TAG)
async def programme(
    store: GivenStore, caller: GivenCaller, category: FromQuery[str | None] = None, after: Cursor = None
) -> Programme:
    """List shows: those that are live, those to come, and those that were."""
    return await shows.read_programme(store, caller, category=category, after=after)


@post("/streams", tags=TAG)
async def schedule(store: GivenStore, caller: GivenCaller, data: JSONBody[StreamForm]) -> Stream:
    """Plan a show."""
    return await shows.schedule_show(store, caller, data)


@get("/streams/{stream_id:uuid}", tags=TAG)
async def show(store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID]) -> Show:
    """Return a show with its list, the last of its log, its auction and giveaways."""
    return await shows.read_show(store, caller, stream_id)


@put("/streams/{stream_id:uuid}", tags=TAG)
async def change(
    store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID], data: JSONBody[StreamForm]
) -> Stream:
    """Change a show of the caller's that is not over."""
    return await shows.change_show(store, caller, stream_id, data)


@post("/streams/{stream_id:uuid}/start", tags=TAG, status_code=HTTP_200_OK)
async def start(store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID]) -> Stream:
    """Go live."""
    return await shows.go_live(store, caller, stream_id)


@post("/streams/{stream_id:uuid}/end", tags=TAG, status_code=HTTP_200_OK)
async def end(store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID]) -> Stream:
    """End a show, or call it off."""
    return await shows.end_show(store, caller, stream_id)


@put("/streams/{stream_id:uuid}/recording", tags=TAG)
async def recording(
    store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID], data: JSONBody[Recording]
) -> Stream:
    """Say where the recording of a show is."""
    return await shows.set_recording(store, caller, stream_id, data.recording_url)


@post("/streams/{stream_id:uuid}/pins", tags=TAG)
async def add_pin(
    store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID], data: JSONBody[PinForm]
) -> Placement:
    """Put a listing of the caller's on their show's list."""
    return Placement(await shows.add_to_show(store, caller, stream_id, data))


@delete("/streams/{stream_id:uuid}/pins/{position:int}", tags=TAG)
async def drop_pin(store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID], position: FromPath[int]) -> None:
    """Take something off the list that was not shown yet."""
    await shows.drop_from_show(store, caller, stream_id, position)


@post("/streams/{stream_id:uuid}/pins/{position:int}/pin", tags=TAG, status_code=HTTP_204_NO_CONTENT)
async def pin(
    store: GivenStore,
    caller: GivenCaller,
    stream_id: FromPath[UUID],
    position: FromPath[int],
    data: JSONBody[LivePrice],
) -> None:
    """Show something of the list."""
    await shows.pin(store, caller, stream_id, position, data.price_minor)


@post("/streams/{stream_id:uuid}/pins/{position:int}/unpin", tags=TAG, status_code=HTTP_204_NO_CONTENT)
async def unpin(store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID], position: FromPath[int]) -> None:
    """Show something no more."""
    await shows.unpin(store, caller, stream_id, position)


@post("/streams/{stream_id:uuid}/pins/{position:int}/hold", tags=TAG)
async def hold(
    store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID], position: FromPath[int], key: Key = None
) -> Offer:
    """Hold what is pinned at its live price for a quarter of an hour; check out with `offer_id`."""
    return await show_sales.hold_in_show(store, caller, stream_id, position, key or secret_token())


@post("/streams/{stream_id:uuid}/pins/{position:int}/buy", tags=TAG)
async def buy(
    store: GivenStore,
    caller: GivenCaller,
    stream_id: FromPath[UUID],
    position: FromPath[int],
    data: JSONBody[CheckoutForm],
    key: Key = None,
) -> Placed:
    """Order what is pinned at its live price, in one go."""
    return await show_sales.buy_in_show(store, caller, stream_id, position, data, key or secret_token())


@get("/streams/{stream_id:uuid}/log", tags=TAG)
async def log(store: GivenStore, stream_id: FromPath[UUID], after: Number = 0) -> tuple[Happening, ...]:
    """Return up to 200 entries of a show's log after a number, in order."""
    return await shows.read_log(store, stream_id, after)


@post("/streams/{stream_id:uuid}/comments", tags=TAG)
async def comment(
    store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID], data: JSONBody[Comment]
) -> Happening:
    """Comment on a live show. The same `nonce` again returns the comment that was sent with it."""
    return await shows.say(store, caller, stream_id, data)


@delete("/streams/{stream_id:uuid}/comments/{seq:int}", tags=TAG)
async def remove_comment(
    store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID], seq: FromPath[int], mute: FromQuery[bool] = False
) -> None:
    """Take a comment out: one's own, or as the host any; with `mute` its writer says nothing more."""
    await shows.remove_comment(store, caller, stream_id, seq, mute=mute)


@put("/streams/{stream_id:uuid}/like", tags=TAG)
async def like(
    store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID], data: JSONBody[Likes]
) -> dict[str, int]:
    """Like a show, or not any more."""
    return await shows.like(store, caller, stream_id, likes=data.likes)


@post("/streams/{stream_id:uuid}/share", tags=TAG, status_code=HTTP_200_OK)
async def share(store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID]) -> dict[str, int]:
    """Count that the caller passed a show on."""
    return await shows.share(store, caller, stream_id)


@post("/streams/{stream_id:uuid}/auctions", tags=TAG)
async def open_auction(
    store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID], data: JSONBody[AuctionForm]
) -> Auction:
    """Auction one piece of what is pinned."""
    return await show_sales.open_auction(store, caller, stream_id, data)


@get("/auctions/{auction_id:uuid}", tags=TAG)
async def auction(store: GivenStore, auction_id: FromPath[UUID]) -> Auction:
    """Return an auction; `now` is the server's clock."""
    return await show_sales.get_auction(store, auction_id)


@get("/auctions/{auction_id:uuid}/bids", tags=TAG)
async def bids(store: GivenStore, auction_id: FromPath[UUID], after: Number = 0) -> tuple[PlacedBid, ...]:
    """Return up to 500 bids after a number: what price and leader were after each."""
    return await show_sales.list_bids(store, auction_id, after)


@post("/auctions/{auction_id:uuid}/bids", tags=TAG)
async def bid(store: GivenStore, caller: GivenCaller, auction_id: FromPath[UUID], data: JSONBody[Bid]) -> BidResult:
    """Bid: the most the caller would pay. The same `nonce` again returns what became of it."""
    return await show_sales.place_bid(store, caller, auction_id, data)


@post("/auctions/{auction_id:uuid}/cancel", tags=TAG, status_code=HTTP_200_OK)
async def cancel_auction(store: GivenStore, caller: GivenCaller, auction_id: FromPath[UUID]) -> Auction:
    """Call off an auction without bids."""
    return await show_sales.cancel_auction(store, caller, auction_id)


@post("/streams/{stream_id:uuid}/giveaways", tags=TAG)
async def open_giveaway(
    store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID], data: JSONBody[Prize]
) -> Giveaway:
    """Open a giveaway; what its seed hashes to is published at once."""
    return await show_sales.open_giveaway(store, caller, stream_id, data.prize)


@get("/giveaways/{giveaway_id:uuid}", tags=TAG)
async def giveaway(store: GivenStore, giveaway_id: FromPath[UUID]) -> Drawing:
    """Return a giveaway with all that is needed to draw it again."""
    return Drawing(*await show_sales.read_giveaway(store, giveaway_id))


@post("/giveaways/{giveaway_id:uuid}/entries", tags=TAG)
async def take_part(store: GivenStore, caller: GivenCaller, giveaway_id: FromPath[UUID]) -> Entered:
    """Enter a giveaway."""
    return Entered(await show_sales.take_part(store, caller, giveaway_id))


@post("/giveaways/{giveaway_id:uuid}/draw", tags=TAG, status_code=HTTP_200_OK)
async def draw(store: GivenStore, caller: GivenCaller, giveaway_id: FromPath[UUID]) -> Giveaway:
    """Draw the winner, and show the seed."""
    return await show_sales.draw_giveaway(store, caller, giveaway_id)


@get("/streams/{stream_id:uuid}/events", include_in_schema=False)
async def events(
    request: HttpRequest,
    store: GivenStore,
    stream_id: FromPath[UUID],
    after: Annotated[int | None, QueryParameter(ge=0, le=2**31 - 1)] = None,
) -> ASGIApp:
    """Stream a show's log as server-sent events; `Last-Event-ID` is an entry's number."""
    return EventStream(await shows.watch_show(store, stream_id, last_event_id(request, after)))


class Says(msgspec.Struct, frozen=True, tag_field="do", tag="say", forbid_unknown_fields=True):
    """The caller comments; what becomes of it carries its `nonce`."""

    body: Annotated[str, Meta(max_length=300)]
    nonce: Annotated[str, Meta(max_length=64)] | None = None


@websocket("/streams/{stream_id:uuid}/events")
async def live(
    socket: HttpSocket,
    stream_id: FromPath[UUID],
    after: Annotated[int | None, QueryParameter(ge=0, le=2**31 - 1)] = None,
) -> None:
    """Tell a show's log over a WebSocket, what came after number `after` first, and take comments.

    What comes in: {"do": "say", "body": "How heavy is it?", "nonce": "mine"}.
    """
    await answer_call(socket, _opened(socket, stream_id, last_event_id(socket, after)))


async def _opened(socket: HttpSocket, stream_id: UUID, after: int | None) -> Socket:
    calling = Calling.by(socket)
    await calling.caller()  # shows are public; a call in somebody's name from elsewhere is refused all the same
    return Socket(await shows.watch_show(calling.store, stream_id, after), partial(_take, calling, stream_id))


async def _take(calling: Calling, stream_id: UUID, said: bytes) -> Entry:
    """Do what somebody says over a WebSocket, as the post would that says the same; return what they are told."""
    wanted: Says = understood(said, Says)
    try:
        caller = await calling.sayer("/api/v1/streams/{stream_id}/comments")
        sent = await shows.say(calling.store, caller, stream_id, Comment(body=wanted.body, nonce=wanted.nonce))
    except DomainError as error:
        return refusal(error, nonce=wanted.nonce)
    return Entry("sent", {"seq": sent.seq, "nonce": wanted.nonce})


show_routes: list[Any] = [
    programme, schedule, show, change, start, end, recording, add_pin, drop_pin, pin, unpin, hold, buy, log, comment, remove_comment,
    like, share, open_auction, auction, bids, bid, cancel_auction, open_giveaway, giveaway, take_part, draw, events, live,
]  # fmt: skip

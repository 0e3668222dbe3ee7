"""Live shows: the programme, a show's page with its goods and talk, what its host does there. Everything works by reload."""

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.background_tasks import BackgroundTask
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from tradepost.accounts.types import Caller, SignInFirst
from tradepost.catalog.listing_pages import category_tree, list_own_listings
from tradepost.core.clock import now
from tradepost.core.errors import DomainError, FieldErrors
from tradepost.core.ids import from_short_id, readable_code, secret_token
from tradepost.core.money import to_major, to_minor
from tradepost.core.postal import Address
from tradepost.delivery.queries import default_address
from tradepost.flows import show_sales, shows
from tradepost.flows.checkout import CheckoutForm
from tradepost.flows.quote import CheckoutChoice, Quote, quote_cart
from tradepost.flows.shows import Show
from tradepost.flows.store import Store
from tradepost.streams.types import AuctionForm, Bid, Comment, NoSuchStream, PinForm, Stream, StreamForm
from tradepost.web.errors import STATUS
from tradepost.web.forms import Form, first_problem, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.rendering import template
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

_MOST_OWN = 100


@get("/live", include_in_schema=False)
async def programme(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    category: FromQuery[str] = "",
    after: FromQuery[str | None] = None,
) -> Response[str]:
    """Show what is on, what is to come and what was."""
    tree = await category_tree(store.db)
    chosen = tree.get(category).slug if category else None
    found = await shows.read_programme(store, caller, category=chosen, after=after)
    extra = f"category={chosen}&" if chosen else ""
    following = f"/live?{extra}after={found.over.after}" if found.over.after else None
    return await page(
        request, store, caller, "shows", live=found.live, coming=found.coming, over=found.over.items, next_path=following,
        chosen=chosen or "", is_first=after is None,
    )  # fmt: skip


@get("/live/new", include_in_schema=False)
async def new_show(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Ask what the show is about."""
    shows.check_shows(store)
    caller.check_can("sell")
    return await _edit_page(request, store, caller, None, {}, {})


async def _edit_page(
    request: HttpRequest, store: Store, caller: Caller, stream: Stream | None, form: dict[str, str], errors: dict[str, str],
    status: int = 200,
) -> Response[str]:  # fmt: skip
    tree = await category_tree(store.db)
    options = [(c.slug, c.name) for c in tree.rows]
    return await page(
        request, store, caller, "show_edit", status=status, stream=stream, form=form, errors=errors, categories_all=options,
        earliest=now().astimezone(store.zone).strftime("%Y-%m-%dT%H:%M"),
    )  # fmt: skip


@post("/live/new", include_in_schema=False)
async def plan(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Plan a show."""
    form = await read_form(request)
    try:
        made = await shows.schedule_show(store, caller, _stream_form(form, store), await _picture(form))
    except DomainError as error:
        return await _edit_page(request, store, caller, None, form.texts, problems_of(error), STATUS[error.kind])
    return go(request, made.path, say="It is in the programme. Put on its list what you will show.")


def _stream_form(form: Form, store: Store) -> StreamForm:
    try:
        when = datetime.fromisoformat(form.get("scheduled_at"))
    except ValueError:
        raise FieldErrors({"scheduled_at": "A day and a time, please."}) from None
    when = when if when.tzinfo else when.replace(tzinfo=store.zone)
    return form.into(StreamForm, scheduled_at=when, title=form.get("title"), description=form.get("description"))


async def _picture(form: Form) -> bytes | None:
    sent = form.files.get("picture")
    return await sent[0].read() if sent else None


@get("/live/{name:str}", include_in_schema=False)
async def show_page(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    name: FromPath[str],
    buy: FromQuery[UUID | None] = None,
    at: FromQuery[int] = 0,
    order: FromQuery[str] = "",
) -> Response[Any]:
    """Show a show: its picture, its goods, what is said; with `buy` what is held for the caller, to be paid for without leaving."""
    show = await shows.read_show(store, caller, stream_id_of(name))
    if show.stream.path != f"/live/{name}":
        return go(request, show.stream.path)
    ordered = order if re.fullmatch(r"[A-Z0-9-]{4,40}", order) else ""
    answer = await _show_page(request, store, caller, show, buy, at, {}, {}, ordered=ordered)
    if not show.is_host:
        answer.background = BackgroundTask(shows.count_visit, store, show.stream.id)
    return answer


def stream_id_of(name: str) -> UUID:
    """Return the id at the end of a show's address. Raises `NoSuchStream`."""
    found = from_short_id(name[-22:])
    if found is None:
        raise NoSuchStream
    return found


async def _show_page(
    request: HttpRequest, store: Store, caller: Caller, show: Show, buy: UUID | None, position: int, form: dict[str, str],
    errors: dict[str, str], *, shipping: str = "", status: int = 200, key: str = "", ordered: str = "",
) -> Response[str]:  # fmt: skip
    quote = await _quote(store, caller, buy, shipping) if buy else None
    if quote is not None and not form:
        form = await _known_address(store, caller)
    own = await _own(store, caller, show) if show.is_host else ()
    _allow_video(request, show.stream.video_url)
    return await page(
        request, store, caller, "show", status=status, show=show, stream=show.stream, **_goods(show), own=own, quote=quote,
        buy=buy, position=position, form=form, errors=errors, nonce=readable_code(16), key=key or secret_token(),
        ordered=ordered, least=_least(show),
    )  # fmt: skip


def _least(show: Show) -> str:
    """Return the least that may be bid now as one would type it."""
    auction = show.auction
    return f"{to_major(auction.least_minor, auction.currency):f}" if auction else ""


def _goods(show: Show) -> dict[str, Any]:
    """Return a show's list in the three parts its page has."""
    return {
        "shown": [p for p in show.pins if p.is_shown],
        "coming": [p for p in show.pins if p.pinned_from is None],
        "been": sorted((p for p in show.pins if p.pinned_to), key=lambda p: p.pinned_from or p.pinned_to or now()),
    }


async def _own(store: Store, caller: Caller, show: Show) -> tuple[Any, ...]:
    """Return the host's listings that are not on the list yet."""
    listed = {p.listing_id for p in show.pins if p.pinned_to is None}
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        found = await list_own_listings(tx, caller.check_signed_in(), status="active", limit=_MOST_OWN)
    return tuple(row for row in found if row.id not in listed)


async def _quote(store: Store, caller: Caller, offer_id: UUID, shipping: str) -> Quote:
    return await quote_cart(store, caller, CheckoutChoice(offer_id=offer_id, shipping=shipping))


async def _known_address(store: Store, caller: Caller) -> dict[str, str]:
    """Return the caller's own address as the form's fields, or just the country."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        saved = await default_address(tx, store.keys, caller)
    known = msgspec.structs.asdict(saved.address) if saved else {"country": store.settings.store.country}
    return {f"shipping_address.{name}": str(value) for name, value in known.items()}


def _allow_video(request: HttpRequest, address: str | None) -> None:
    """Have the page's policy let its player fetch from where the picture comes."""
    if address and "://" in address:
        parts = urlsplit(address)
        request.scope["tradepost_video"] = f"{parts.scheme}://{parts.netloc}"  # type: ignore[typeddict-unknown-key]
    elif address:
        request.scope["tradepost_video"] = "'self'"  # type: ignore[typeddict-unknown-key]


@get("/shows/{stream_id:uuid}/goods", include_in_schema=False)
async def goods(store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID]) -> Response[str]:
    """Return what is shown, the auction and the giveaway as they are now, as a piece of the page."""
    show = await shows.read_show(store, caller, stream_id)
    body = template("components/show_goods.html").render(
        open_store=store, store=store.settings, show=show, stream=show.stream, **_goods(show), nonce=readable_code(16),
        person=caller if caller.is_signed_in else None,
    )  # fmt: skip
    return Response(body, media_type="text/html", headers={"cache-control": "no-store"})


def _back(request: HttpRequest, stream: Stream, form: Form, *, say: str = "", tone: Any = "good") -> Redirect:
    return go(request, stream.path + form.get("anchor"), say=say, tone=tone)


async def _stream(store: Store, caller: Caller, stream_id: UUID) -> Stream:
    return (await shows.read_show(store, caller, stream_id)).stream


@post("/shows/{stream_id:uuid}/comments", include_in_schema=False)
async def comment(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID]
) -> Response[Any]:
    """Say something. A script gets no page for it: it hears what was said."""
    form = await read_form(request)
    is_script = request.headers.get("x-live") == "1"
    try:
        said = form.into(Comment, body=form.get("body"), nonce=form.get("nonce") or None)
        await shows.say(store, caller, stream_id, said)
    except DomainError as error:
        if is_script:
            return Response(first_problem(error), status_code=STATUS[error.kind], media_type="text/plain")
        if isinstance(error, SignInFirst):
            raise
        return _back(request, await _stream(store, caller, stream_id), form, say=first_problem(error), tone="bad")
    return Response("", status_code=200) if is_script else _back(request, await _stream(store, caller, stream_id), form)


@post("/shows/{stream_id:uuid}/comments/{seq:int}/remove", include_in_schema=False)
async def remove_comment(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID], seq: FromPath[int]
) -> Redirect:
    """Take a comment out, and with `mute` let its writer say nothing more."""
    form = await read_form(request)
    await shows.remove_comment(store, caller, stream_id, seq, mute=form.get("mute") == "1")
    return _back(request, await _stream(store, caller, stream_id), form, say="The comment is gone.")


@post("/shows/{stream_id:uuid}/like", include_in_schema=False)
async def like(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID]
) -> Response[Any]:
    """Like a show, or not any more."""
    form = await read_form(request)
    await shows.like(store, caller, stream_id, likes=form.get("likes", "1") == "1")
    if request.headers.get("x-live") == "1":
        return Response("", status_code=200)
    return _back(request, await _stream(store, caller, stream_id), form)


@post("/shows/{stream_id:uuid}/share", include_in_schema=False)
async def share(store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID]) -> Response[str]:
    """Count that somebody passed the show on."""
    await shows.share(store, caller, stream_id)
    return Response("", status_code=200)


@post("/shows/{stream_id:uuid}/pins/{position:int}/hold", include_in_schema=False)
async def hold(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID], position: FromPath[int]
) -> Redirect:
    """Hold what is shown for the caller, and open its checkout beside the show."""
    form = await read_form(request)
    stream = await _stream(store, caller, stream_id)
    try:
        offer = await show_sales.hold_in_show(store, caller, stream_id, position, secret_token())
    except SignInFirst:
        return go(request, f"/sign-in?next={stream.path}", say="Sign in to buy; the show waits for you.", tone="info")
    except DomainError as error:
        return _back(request, stream, form, say=first_problem(error), tone="bad")
    return go(request, f"{stream.path}?buy={offer.id}&at={position}#buy")


@post("/shows/{stream_id:uuid}/buy", include_in_schema=False)
async def buy_now(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID]
) -> Response[Any]:
    """Order what is held, and stay in the show."""
    form = await read_form(request)
    show = await shows.read_show(store, caller, stream_id)
    offer_id, position = form.into(_Held).offer_id, form.whole("position", 0) or 0
    if form.get("action") == "release":
        await show_sales.let_go(store, caller, offer_id)
        return _back(request, show.stream, form, say="It is free again.", tone="info")
    try:
        if form.get("action") == "update":
            return await _show_page(
                request, store, caller, show, offer_id, position, form.texts, {}, shipping=form.get("shipping")
            )
        wanted = _checkout_form(form)
        placed = await show_sales.order_in_show(
            store, caller, stream_id, position, offer_id, wanted, form.get("idempotency_key")
        )
    except DomainError as error:
        if error.kind in {"unavailable", "not_found"}:
            raise
        return await _show_page(
            request, store, caller, show, offer_id, position, form.texts, problems_of(error), status=STATUS[error.kind],
            shipping=form.get("shipping"), key=form.get("idempotency_key"),
        )  # fmt: skip
    if placed.redirect_url and placed.payment_state == "initiated":
        return go(
            request,
            f"{show.stream.path}?order={placed.number}#buy",
            say=f"Kept for you as {placed.number}. Pay it on its own page.",
        )
    return go(request, f"{show.stream.path}?order={placed.number}#buy", say=f"It's yours: {placed.number}.")


class _Held(msgspec.Struct):
    """The field that says what is held."""

    offer_id: UUID


def _checkout_form(form: Form) -> CheckoutForm:
    fields = form.below("shipping_address")
    filled = any(text for name, text in fields.items() if name != "country")
    address = Form(fields, {}).into(Address) if filled else None
    return form.into(
        CheckoutForm, shipping_address=address, offer_id=None, slot_id=None, requested_on=None, points=0,
        expected_total_minor=form.whole("expected_total_minor"),
    )  # fmt: skip


def _amount(form: Form, name: str, store: Store) -> int:
    return to_minor(form.get(name).replace(",", "."), store.currency, name)


@post("/auctions/{auction_id:uuid}/bids", include_in_schema=False)
async def bid(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, auction_id: FromPath[UUID]
) -> Response[Any]:
    """Bid in an auction."""
    form = await read_form(request)
    auction = await show_sales.get_auction(store, auction_id)
    is_script = request.headers.get("x-live") == "1"
    try:
        wanted = form.into(Bid, max_minor=_amount(form, "max", store), nonce=form.get("nonce") or None)
        placed = await show_sales.place_bid(store, caller, auction_id, wanted)
    except DomainError as error:
        words = _bid_problem(error, store)
        if is_script:
            return Response(words, status_code=STATUS[error.kind], media_type="text/plain")
        if isinstance(error, SignInFirst):
            raise
        return _back(request, await _stream(store, caller, auction.stream_id), form, say=words, tone="bad")
    words = "You lead." if placed.is_leading else "Somebody had bid more already."
    if is_script:
        return Response(words, status_code=200, media_type="text/plain")
    tone = "good" if placed.is_leading else "warn"
    return _back(request, await _stream(store, caller, auction.stream_id), form, say=words, tone=tone)


def _bid_problem(error: DomainError, store: Store) -> str:
    least = getattr(error, "least_minor", None)
    return (
        f"The least to bid is {to_major(least, store.currency):f} {store.currency}." if least else first_problem(error)
    )


@post("/giveaways/{giveaway_id:uuid}/entries", include_in_schema=False)
async def take_part(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, giveaway_id: FromPath[UUID]
) -> Redirect:
    """Enter a giveaway."""
    form = await read_form(request)
    found, _ = await show_sales.read_giveaway(store, giveaway_id)
    stream = await _stream(store, caller, found.stream_id)
    try:
        number = await show_sales.take_part(store, caller, giveaway_id)
    except DomainError as error:
        if isinstance(error, SignInFirst):
            raise
        return _back(request, stream, form, say=first_problem(error), tone="bad")
    return _back(request, stream, form, say=f"You are in, as number {number}.")


@get("/giveaways/{giveaway_id:uuid}", include_in_schema=False)
async def giveaway_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, giveaway_id: FromPath[UUID]
) -> Response[str]:
    """Show how a giveaway was drawn, so that anybody can check it."""
    found, entrants = await show_sales.read_giveaway(store, giveaway_id)
    stream = await _stream(store, caller, found.stream_id)
    return await page(request, store, caller, "giveaway", giveaway=found, entrants=entrants, stream=stream)


@post("/shows/{stream_id:uuid}/desk/{action:str}", include_in_schema=False)
async def direct(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID], action: FromPath[str]
) -> Response[Any]:
    """Do what a host does: go live, end, put things on the list, pin, take down, auction, give away, name the recording."""
    form = await read_form(request)
    stream = await _stream(store, caller, stream_id)
    try:
        said = await _direct(store, caller, stream, action, form)
    except DomainError as error:
        if error.kind == "not_found" or isinstance(error, SignInFirst):
            raise
        return _back(request, stream, form, say=first_problem(error), tone="bad")
    return _back(request, await _stream(store, caller, stream_id), form, say=said)


async def _direct(store: Store, caller: Caller, stream: Stream, action: str, form: Form) -> str:
    """Do what a button of the host's desk says; return what to tell them."""
    do = _DESK.get(action)
    if do is None:
        raise NoSuchStream
    return await do(store, caller, stream, form)


def _position(form: Form) -> int:
    return form.whole("position", 0) or 0


def _price(form: Form, name: str, store: Store) -> int | None:
    return _amount(form, name, store) if form.get(name) else None


async def _start(store: Store, caller: Caller, stream: Stream, _form: Form) -> str:
    await shows.go_live(store, caller, stream.id)
    return "You are live."


async def _end(store: Store, caller: Caller, stream: Stream, _form: Form) -> str:
    await shows.end_show(store, caller, stream.id)
    return "The show is over." if stream.status == "live" else "Called off."


async def _recording(store: Store, caller: Caller, stream: Stream, form: Form) -> str:
    await shows.set_recording(store, caller, stream.id, form.get("recording_url"))
    return "Kept."


async def _list(store: Store, caller: Caller, stream: Stream, form: Form) -> str:
    price = _price(form, "price", store)
    await shows.add_to_show(store, caller, stream.id, form.into(PinForm, price_minor=price, variant_id=None))
    return "On the list."


async def _drop(store: Store, caller: Caller, stream: Stream, form: Form) -> str:
    await shows.drop_from_show(store, caller, stream.id, _position(form))
    return "Off the list."


async def _pin(store: Store, caller: Caller, stream: Stream, form: Form) -> str:
    await shows.pin(store, caller, stream.id, _position(form), _price(form, "price", store))
    return "Everybody sees it now."


async def _unpin(store: Store, caller: Caller, stream: Stream, form: Form) -> str:
    await shows.unpin(store, caller, stream.id, _position(form))
    return "Taken down."


async def _open_auction(store: Store, caller: Caller, stream: Stream, form: Form) -> str:
    wanted = form.into(
        AuctionForm, position=_position(form), starts_minor=_amount(form, "starts", store),
        increment_minor=_amount(form, "increment", store), reserve_minor=_price(form, "reserve", store),
    )  # fmt: skip
    await show_sales.open_auction(store, caller, stream.id, wanted)
    return "The auction is open."


async def _cancel_auction(store: Store, caller: Caller, _stream: Stream, form: Form) -> str:
    await show_sales.cancel_auction(store, caller, form.into(_Auction).auction_id)
    return "Called off."


async def _open_giveaway(store: Store, caller: Caller, stream: Stream, form: Form) -> str:
    prize = form.get("prize")
    if not 1 <= len(prize) <= 200:
        raise FieldErrors({"prize": "Say in a few words what there is to win."})
    await show_sales.open_giveaway(store, caller, stream.id, prize)
    return "Entries are open."


async def _draw(store: Store, caller: Caller, _stream: Stream, form: Form) -> str:
    drawn = await show_sales.draw_giveaway(store, caller, form.into(_Giveaway).giveaway_id)
    return f"{drawn.winner_name} won."


_DESK: dict[str, Callable[[Store, Caller, Stream, Form], Awaitable[str]]] = {
    "start": _start, "end": _end, "recording": _recording, "pins": _list, "drop": _drop, "pin": _pin, "unpin": _unpin,
    "auction": _open_auction, "cancel-auction": _cancel_auction, "giveaway": _open_giveaway, "draw": _draw,
}  # fmt: skip


class _Auction(msgspec.Struct):
    """The field that says which auction."""

    auction_id: UUID


class _Giveaway(msgspec.Struct):
    """The field that says which giveaway."""

    giveaway_id: UUID


@get("/shows/{stream_id:uuid}/edit", include_in_schema=False)
async def edit_show(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID]
) -> Response[Any]:
    """Let a host change their show."""
    show = await shows.read_show(store, caller, stream_id)
    if not show.is_host or show.stream.status == "ended":
        return go(request, show.stream.path)
    stream = show.stream
    form = {
        "title": stream.title, "description": stream.description, "category": stream.category_slug, "stream_url": stream.stream_url or "",
        "scheduled_at": stream.scheduled_at.astimezone(store.zone).strftime("%Y-%m-%dT%H:%M"),
    }  # fmt: skip
    return await _edit_page(request, store, caller, stream, form, {})


@post("/shows/{stream_id:uuid}/edit", include_in_schema=False)
async def save_show(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, stream_id: FromPath[UUID]
) -> Response[Any]:
    """Change a show."""
    form = await read_form(request)
    known = await _stream(store, caller, stream_id)
    try:
        wanted = _stream_form(form, store)
        if abs((wanted.scheduled_at - known.scheduled_at).total_seconds()) < 60:  # the form knows no seconds
            wanted = msgspec.structs.replace(wanted, scheduled_at=known.scheduled_at)
        changed = await shows.change_show(store, caller, stream_id, wanted, await _picture(form))
    except DomainError as error:
        if error.kind == "not_found":
            raise
        return await _edit_page(request, store, caller, known, form.texts, problems_of(error), STATUS[error.kind])
    return go(request, changed.path, say="Changed.")


show_pages: list[Any] = [
    programme, new_show, plan, show_page, goods, comment, remove_comment, like, share, hold, buy_now, bid, take_part, giveaway_page,
    direct, edit_show, save_show,
]  # fmt: skip

"""Live shows: where streams meet listings, pictures and live pages."""

from functools import partial
from uuid import UUID

import msgspec

from tradepost.accounts.types import Caller
from tradepost.catalog.listing_pages import category_tree
from tradepost.catalog.pictures import ReceivedPicture, add_picture, receive_picture
from tradepost.core.database import SYSTEM, Actor, Transaction
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.limits import check_rate
from tradepost.core.live import Entry, Watch, bells_of
from tradepost.core.pages import Page
from tradepost.flows.store import Store
from tradepost.flows.viewers import viewers_of
from tradepost.offers.queries import find_goods
from tradepost.streams import auctions, queries, service
from tradepost.streams.types import (
    Auction,
    Comment,
    Giveaway,
    Happening,
    NoShowsHere,
    NotYoursToSell,
    Pin,
    PinForm,
    SaidTwice,
    Stream,
    StreamForm,
)

MOST_COMMENTS = 300  # in a quarter of an hour
MOST_THUMBNAILS = 30
_FIRST_LOG = 80


class Show(msgspec.Struct, frozen=True):
    """A show with what its page draws. `likes_it`, `takes_part`: the caller; `is_host`: the show is theirs."""

    stream: Stream
    pins: tuple[Pin, ...]
    log: tuple[Happening, ...]
    auction: Auction | None
    giveaways: tuple[Giveaway, ...]
    is_host: bool
    likes_it: bool = False
    takes_part: bool = False


class Programme(msgspec.Struct, frozen=True):
    """What is on, what is to come, what was."""

    live: tuple[Stream, ...]
    coming: tuple[Stream, ...]
    over: Page[Stream]


def acting(caller: Caller) -> Actor:
    """Return the system with the person for whom it acts: what they may was asked by then."""
    return Actor("system", caller.user_id)


def check_shows(store: Store) -> None:
    """Raise `NoShowsHere` where the store does without shows."""
    if not store.settings.features.shows:
        raise NoShowsHere


def _check_host(store: Store, caller: Caller) -> None:
    check_shows(store)
    caller.check_can("sell")


async def read_programme(
    store: Store, caller: Caller, *, category: str | None = None, after: str | None = None
) -> Programme:
    """Return the shows of a store, or of one category; first those of people the caller follows."""
    check_shows(store)
    live = await queries.list_live(store.db, caller.user_id, category)
    coming = await queries.list_coming(store.db, category)
    return Programme(tuple(live), tuple(coming), await queries.list_over(store.db, category, after=after))


async def list_shows_of(store: Store, caller: Caller, host_id: UUID, *, after: str | None = None) -> Page[Stream]:
    """Return somebody's shows, the latest first."""
    check_shows(store)
    return await queries.list_of_host(store.db, host_id, own=caller.user_id == host_id, after=after)


async def read_show(store: Store, caller: Caller, stream_id: UUID) -> Show:
    """Return a show with its list, the last of its log, its auction and giveaways. Raises `NoSuchStream`."""
    check_shows(store)
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        stream = await queries.get_stream(tx, stream_id)
        pins = await queries.list_pins(tx, stream_id)
        log = await queries.latest_events(tx, stream_id, limit=_FIRST_LOG if stream.status == "live" else 2_000)
        auction = await queries.latest_auction(tx, stream_id)
        giveaways = await queries.list_giveaways(tx, stream_id)
        mine = await tx.one(queries.MINE, stream_id=stream_id, me=caller.user_id) if caller.user_id else {}
    return Show(stream, tuple(pins), tuple(log), auction, tuple(giveaways), caller.user_id == stream.host_id,
                mine.get("likes", False), mine.get("takes_part", False))  # fmt: skip


async def count_visit(store: Store, stream_id: UUID) -> None:
    """Count that somebody opened a show's page."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await service.count_stream_view(tx, stream_id)


async def schedule_show(store: Store, caller: Caller, form: StreamForm, picture: bytes | None = None) -> Stream:
    """Plan a show. Raises `NotAllowed`, `FieldErrors`, `NoSuchCategory`, `TooSoon`, `BadStreamAddress`, and what pictures raise."""
    _check_host(store, caller)
    check_fields(broken_limits(form))
    category = (await category_tree(store.db)).get(form.category)
    received = await _receive(store, caller, picture)
    async with store.db.transaction(actor=acting(caller)) as tx:
        thumbnail = await _thumbnail(tx, received)
        stream_id = await service.schedule_show(tx, caller, form, category.id, thumbnail)
        return await queries.get_stream(tx, stream_id)


async def change_show(
    store: Store, caller: Caller, stream_id: UUID, form: StreamForm, picture: bytes | None = None
) -> Stream:
    """Change a show that is not over. Raises what planning it raises, `NoSuchStream`, `NotYourShow`, `WrongMoment`."""
    _check_host(store, caller)
    check_fields(broken_limits(form))
    category = (await category_tree(store.db)).get(form.category)
    received = await _receive(store, caller, picture)
    async with store.db.transaction(actor=acting(caller)) as tx:
        thumbnail = await _thumbnail(tx, received)
        await service.change_show(tx, caller, stream_id, form, category.id, thumbnail)
        return await queries.get_stream(tx, stream_id)


async def _receive(store: Store, caller: Caller, picture: bytes | None) -> ReceivedPicture | None:
    if picture is None:
        return None
    await check_rate(store.cache, str(caller.user_id), "show_pictures", MOST_THUMBNAILS)
    return await receive_picture(store.files, picture, most_mb=store.installation.files.upload_limit_mb)


async def _thumbnail(tx: Transaction, received: ReceivedPicture | None) -> UUID | None:
    return (await add_picture(tx, received)).id if received is not None else None


async def go_live(store: Store, caller: Caller, stream_id: UUID) -> Stream:
    """Begin a show; who follows the host is told. Raises `NotYourShow`, `WrongMoment`, `NoStreamAddress`, `AlreadyLive`."""
    _check_host(store, caller)
    async with store.db.transaction(actor=acting(caller)) as tx:
        await service.go_live(tx, caller, stream_id)
        return await queries.get_stream(tx, stream_id)


async def end_show(store: Store, caller: Caller, stream_id: UUID) -> Stream:
    """End a show, or call it off. Raises `NotYourShow`, `WrongMoment`, `AuctionRunning`."""
    _check_host(store, caller)
    async with store.db.transaction(actor=acting(caller)) as tx:
        await service.lock_own(tx, caller, stream_id)
        await auctions.check_no_auction(tx, stream_id)
        await service.end_show(tx, caller, stream_id)
        return await queries.get_stream(tx, stream_id)


async def set_recording(store: Store, caller: Caller, stream_id: UUID, address: str) -> Stream:
    """Say where the recording is. Raises `NotYourShow`, `BadStreamAddress`."""
    _check_host(store, caller)
    async with store.db.transaction(actor=acting(caller)) as tx:
        await service.set_recording(tx, caller, stream_id, address)
        return await queries.get_stream(tx, stream_id)


async def add_to_show(store: Store, caller: Caller, stream_id: UUID, form: PinForm) -> int:
    """Put one of the caller's listings on their show's list; return its position.

    Raises `NotYourShow`, `WrongMoment`, `NotYoursToSell`, `PinnedAlready`, `TooManyPins`, `FieldErrors`.
    """
    _check_host(store, caller)
    check_fields(broken_limits(form))
    async with store.db.transaction(actor=acting(caller)) as tx:
        goods = await find_goods(tx, form.listing_id, form.variant_id, store.currency)
        if goods is None or goods.seller_id != caller.user_id or goods.status != "active" or goods.currency is None:
            raise NotYoursToSell
        return await service.add_pin(
            tx, caller, stream_id, goods.listing_id, goods.variant_id, form.price_minor, goods.currency
        )


async def drop_from_show(store: Store, caller: Caller, stream_id: UUID, position: int) -> None:
    """Take something off the list that was not shown yet. Raises `NotYourShow`, `NoSuchPin`."""
    _check_host(store, caller)
    async with store.db.transaction(actor=acting(caller)) as tx:
        await service.drop_pin(tx, caller, stream_id, position)


async def pin(store: Store, caller: Caller, stream_id: UUID, position: int, price_minor: int | None = None) -> None:
    """Show something of the list. Raises `NotYourShow`, `WrongMoment`, `NoSuchPin`."""
    _check_host(store, caller)
    async with store.db.transaction(actor=acting(caller)) as tx:
        await service.pin(tx, caller, stream_id, position, price_minor)


async def unpin(store: Store, caller: Caller, stream_id: UUID, position: int) -> None:
    """Show something no more. Raises `NotYourShow`, `WrongMoment`, `NoSuchPin`, `AuctionRunning` while it is auctioned."""
    _check_host(store, caller)
    async with store.db.transaction(actor=acting(caller)) as tx:
        await service.lock_own(tx, caller, stream_id)
        running = await queries.latest_auction(tx, stream_id)
        if running is not None and running.position == position:
            await auctions.check_no_auction(tx, stream_id)
        await service.unpin(tx, caller, stream_id, position)


async def say(store: Store, caller: Caller, stream_id: UUID, comment: Comment) -> Happening:
    """Comment on a live show; the same nonce again returns the comment that was sent with it.

    Raises `EmptyComment`, `FieldErrors`, `NoSuchStream`, `WrongMoment`, `NotWelcome`, `TooOften`.
    """
    check_shows(store)
    me = caller.check_scope("profile")
    check_fields(broken_limits(comment))
    await check_rate(store.cache, str(me), "comments", MOST_COMMENTS)
    try:
        async with store.db.transaction(actor=acting(caller)) as tx:
            return await service.say(tx, caller, stream_id, comment)
    except SaidTwice:
        async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
            return await tx.one(queries.BY_NONCE, into=Happening, stream_id=stream_id, user_id=me, nonce=comment.nonce)


async def remove_comment(store: Store, caller: Caller, stream_id: UUID, seq: int, *, mute: bool = False) -> None:
    """Take a comment out: its writer's, the host's and moderators' to do. Raises `NotYourShow`, `NoSuchComment`."""
    check_shows(store)
    caller.check_scope("profile")
    async with store.db.transaction(actor=acting(caller)) as tx:
        await service.remove_comment(tx, caller, stream_id, seq, mute=mute, as_staff=caller.can("moderate"))


async def like(store: Store, caller: Caller, stream_id: UUID, *, likes: bool) -> dict[str, int]:
    """Like a show, or not any more; return its counts. Raises `SignInFirst`, `NoSuchStream`."""
    check_shows(store)
    caller.check_scope("profile")
    async with store.db.transaction(actor=acting(caller)) as tx:
        return await service.like_show(tx, caller, stream_id, likes=likes)


async def share(store: Store, caller: Caller, stream_id: UUID) -> dict[str, int]:
    """Count that the caller passed a show on, 20 times in a quarter of an hour at most. Raises `NoSuchStream`, `TooOften`."""
    check_shows(store)
    who = str(caller.user_id) if caller.user_id else caller.address
    await check_rate(store.cache, who, "shares", 20)
    async with store.db.transaction(actor=acting(caller)) as tx:
        return await service.count_share(tx, stream_id)


async def read_log(store: Store, stream_id: UUID, after: int, limit: int = 200) -> tuple[Happening, ...]:
    """Return what happened in a show after a number. Raises `NoSuchStream`."""
    check_shows(store)
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        await queries.get_stream(tx, stream_id)
        return tuple(await queries.events_after(tx, stream_id, after, limit))


async def watch_show(store: Store, stream_id: UUID, after: int | None) -> Watch:
    """Return a watch of what happens in a show, what came after number `after` first.

    Whoever watches counts as a viewer. Raises `NoSuchStream`.
    """
    check_shows(store)
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        known = await queries.get_stream(tx, stream_id)
    start = known.last_seq if after is None else max(0, min(after, known.last_seq))
    read, last = partial(_entries, store, stream_id), partial(_last, store, stream_id)
    here = partial(viewers_of(store).note, stream_id)
    return bells_of(store.db).watch(service.topic_of(stream_id), read, start, last, here)


async def _entries(store: Store, stream_id: UUID, after: int) -> list[Entry]:
    """Read once for everybody who watches."""
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        rows = await queries.events_after(tx, stream_id, after)
    return [service.entry_of(row) for row in rows]


async def _last(store: Store, stream_id: UUID) -> int:
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        return await queries.last_seq(tx, stream_id)

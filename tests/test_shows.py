"""Live shows: planning, going live, the list, buying at the live price, what is said, and watching without missing anything."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.factories import Factory
from tests.shop import Shop
from tests.shows import Market, plan
from tradepost.accounts.types import Caller, NotAllowed, SignInFirst
from tradepost.catalog.types import NoSuchCategory
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Database
from tradepost.core.errors import FieldErrors
from tradepost.flows.haggle import expire_offers
from tradepost.flows.show_sales import buy_in_show, hold_in_show, let_go, order_in_show
from tradepost.flows.shows import (
    add_to_show,
    change_show,
    drop_from_show,
    end_show,
    go_live,
    like,
    pin,
    read_log,
    read_programme,
    read_show,
    remove_comment,
    say,
    schedule_show,
    set_recording,
    share,
    unpin,
    watch_show,
)
from tradepost.flows.viewers import viewers_of
from tradepost.offers.types import NoLongerThere, OfferClosed, OfferOnOwnListing
from tradepost.streams.types import (
    AlreadyLive,
    BadStreamAddress,
    Comment,
    EmptyComment,
    NoStreamAddress,
    NoSuchPin,
    NoSuchStream,
    NotPinnedNow,
    NotWelcome,
    NotYourShow,
    NotYoursToSell,
    PinForm,
    PinnedAlready,
    TooSoon,
    WrongMoment,
)

Race = Callable[..., Awaitable[list[Any]]]


@pytest_asyncio.fixture
async def market(shop: Shop, make: Factory, store_dsn: str) -> AsyncIterator[Market]:
    """Plan a show."""
    owner = await Database.open(store_dsn.replace("tradepost_app", "postgres"), size=1)
    yield await Market.open(shop, make, owner)
    await owner.close()


async def test_a_show_is_planned_begins_and_ends(market: Market) -> None:
    programme = await read_programme(market.store, market.buyer)
    assert ([s.title for s in programme.coming], programme.live, programme.over.items) == (["Friday lamps"], (), ())
    await market.live()
    show = await read_show(market.store, market.buyer, market.id)
    assert (show.stream.status, show.stream.host_username, show.is_host) == ("live", "hana", False)
    assert [(p.title, p.price_minor, p.own_minor, p.left, p.is_shown) for p in show.pins] == [
        ("Brass lamp", 8_000, 10_000, Decimal(1), True)
    ]
    ended = await end_show(market.store, market.host, market.id)
    assert (ended.status, ended.was_called_off) == ("ended", False)
    assert await market.kinds() == ["started", "pinned", "ended"]
    recorded = await set_recording(market.store, market.host, market.id, "https://video.example.com/friday.mp4")
    assert recorded.video_url == "https://video.example.com/friday.mp4"
    (kept,) = (await read_show(market.store, market.buyer, market.id)).pins
    assert kept.pinned_to is not None
    assert 0 <= (kept.at_s or 0) < 60
    assert [s.id for s in (await read_programme(market.store, market.buyer)).over.items] == [market.id]


async def test_a_show_that_is_called_off_leaves_the_programme(market: Market) -> None:
    ended = await end_show(market.store, market.host, market.id)
    assert ended.was_called_off
    programme = await read_programme(market.store, market.buyer)
    assert (programme.live, programme.coming, programme.over.items) == ((), (), ())


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"scheduled_at": now() - timedelta(hours=1)}, TooSoon),
        ({"scheduled_at": now() + timedelta(days=400)}, TooSoon),
        ({"category": "no-such"}, NoSuchCategory),
        ({"title": ""}, FieldErrors),
        ({"title": "x" * 121}, FieldErrors),
        ({"stream_url": "javascript:alert(1).m3u8"}, BadStreamAddress),
        ({"stream_url": "https://video.example.com/page.html"}, BadStreamAddress),
        ({"stream_url": "//video.example.com/x.m3u8"}, BadStreamAddress),
        ({"stream_url": "https://video.example.com/x.m3u8; script-src *.m3u8"}, BadStreamAddress),
    ],
)  # fmt: skip
async def test_what_is_no_plan(market: Market, fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        await schedule_show(market.store, market.host, plan(**fields))
    assert await market.shop.count("streams") == 1


async def test_only_its_host_directs_a_show(market: Market, make: Factory) -> None:
    other = await make.person("seller")
    apples = await make.listing(other, "Apples")
    for work in (
        go_live(market.store, other, market.id),
        end_show(market.store, other, market.id),
        change_show(market.store, other, market.id, plan(title="Mine now")),
        add_to_show(market.store, other, market.id, PinForm(listing_id=apples)),
        drop_from_show(market.store, other, market.id, 1),
        set_recording(market.store, other, market.id, "/x.mp4"),
    ):
        with pytest.raises(NotYourShow):
            await work
    with pytest.raises(NotAllowed):
        await schedule_show(market.store, market.buyer, plan())
    with pytest.raises(SignInFirst):
        await schedule_show(market.store, Caller(), plan())
    assert (await read_show(market.store, market.buyer, market.id)).stream.title == "Friday lamps"
    assert await market.kinds() == []


async def test_a_host_sells_what_is_theirs_and_on_offer(market: Market, make: Factory) -> None:
    other = await make.person("seller")
    foreign = await make.listing(other, "Apples")
    draft = await make.listing(market.host, "Not yet", category="tools", status="draft")
    for listing_id in (foreign, draft, uuid4()):
        with pytest.raises(NotYoursToSell):
            await add_to_show(market.store, market.host, market.id, PinForm(listing_id=listing_id))
    with pytest.raises(PinnedAlready):
        await add_to_show(market.store, market.host, market.id, PinForm(listing_id=market.lamp))
    assert await market.shop.count("stream_listings") == 1


async def test_one_live_show_a_host_and_an_address_to_go_live(market: Market) -> None:
    second = await schedule_show(market.store, market.host, plan(stream_url=""))
    with pytest.raises(NoStreamAddress):
        await go_live(market.store, market.host, second.id)
    await change_show(
        market.store, market.host, second.id, msgspec.structs.replace(plan(), scheduled_at=second.scheduled_at)
    )
    await go_live(market.store, market.host, market.id)
    with pytest.raises(AlreadyLive):
        await go_live(market.store, market.host, second.id)
    with pytest.raises(WrongMoment):
        await go_live(market.store, market.host, market.id)


async def test_buying_at_the_live_price_tells_the_show(market: Market) -> None:
    await market.live()
    placed = await buy_in_show(market.store, market.buyer, market.id, 1, market.shop.form(), "k1")
    assert (placed.payment_state, placed.total_minor) == ("success", 8_000)
    again = await buy_in_show(market.store, market.buyer, market.id, 1, market.shop.form(), "k1")
    assert again.number == placed.number
    log = await read_log(market.store, market.id, 0)
    assert [row.kind for row in log] == ["started", "pinned", "sold"]
    assert (log[2].data["left"], log[2].data["is_paid"], log[2].user_id) == ("0", True, market.host.user_id)
    (shown,) = (await read_show(market.store, market.buyer, market.id)).pins
    assert (shown.left, shown.is_there) == (Decimal(0), False)
    assert await market.shop.stock(await market.variant()) == (Decimal(0), Decimal(0))


async def test_what_is_held_in_a_show_is_paid_later_or_free_again(market: Market, make: Factory) -> None:
    await market.live()
    held = await hold_in_show(market.store, market.buyer, market.id, 1, "one")
    assert (held.status, held.origin, held.amount_minor, held.conversation_id) == ("accepted", "show", 8_000, None)
    assert (await hold_in_show(market.store, market.buyer, market.id, 1, "two")).id == held.id
    other = await make.person("buyer")
    with pytest.raises(NoLongerThere):
        await hold_in_show(market.store, other, market.id, 1, "three")
    await let_go(market.store, market.buyer, held.id)
    with pytest.raises(OfferClosed):
        await let_go(market.store, market.buyer, held.id)
    second = await hold_in_show(market.store, other, market.id, 1, "three")
    await market.change("UPDATE offers SET held_until = now() - interval '1 minute' WHERE id = :id", id=second.id)
    await expire_offers(market.store)
    assert await market.shop.stock(await market.variant()) == (Decimal(1), Decimal(0))
    with pytest.raises(OfferClosed):
        await order_in_show(market.store, other, market.id, 1, second.id, market.shop.form(), "k")


async def test_what_cannot_be_bought_in_a_show(market: Market) -> None:
    with pytest.raises(WrongMoment):
        await hold_in_show(market.store, market.buyer, market.id, 1, "k")
    await go_live(market.store, market.host, market.id)
    with pytest.raises(NotPinnedNow):
        await hold_in_show(market.store, market.buyer, market.id, 1, "k")
    with pytest.raises(NoSuchPin):
        await hold_in_show(market.store, market.buyer, market.id, 9, "k")
    await pin(market.store, market.host, market.id, 1)
    with pytest.raises(OfferOnOwnListing):
        await hold_in_show(market.store, market.host, market.id, 1, "k")
    with pytest.raises(SignInFirst):
        await hold_in_show(market.store, Caller(), market.id, 1, "k")
    await unpin(market.store, market.host, market.id, 1)
    with pytest.raises(NotPinnedNow):
        await hold_in_show(market.store, market.buyer, market.id, 1, "k")
    assert await market.shop.count("offers") == 0
    assert await market.shop.stock(await market.variant()) == (Decimal(1), Decimal(0))


async def test_of_many_who_press_at_once_one_gets_the_last(market: Market, make: Factory, race: Race) -> None:
    await market.live()
    people = [await make.person("buyer") for _ in range(6)]
    form = market.shop.form()
    done = await race(*(buy_in_show(market.store, p, market.id, 1, form, f"k{n}") for n, p in enumerate(people)))
    won = [d for d in done if not isinstance(d, Exception)]
    assert [d.payment_state for d in won] == ["success"]
    assert {type(d) for d in done if isinstance(d, Exception)} == {NoLongerThere}
    assert await market.shop.stock(await market.variant()) == (Decimal(0), Decimal(0))
    assert (await market.kinds()).count("sold") == 1


async def test_comments_are_numbered_moderated_and_not_doubled(market: Market, make: Factory) -> None:
    with pytest.raises(WrongMoment):
        await say(market.store, market.buyer, market.id, Comment(body="Hello?"))
    await market.live()
    first = await say(market.store, market.buyer, market.id, Comment(body="  Is it \n heavy? ", nonce="a"))
    again = await say(market.store, market.buyer, market.id, Comment(body="Is it heavy?", nonce="a"))
    assert (first.seq, first.body, again.seq) == (3, "Is it heavy?", 3)
    other = await make.person("buyer")
    for work, error in (
        (say(market.store, market.buyer, market.id, Comment(body=" ")), EmptyComment),
        (say(market.store, market.buyer, market.id, Comment(body="x" * 301)), FieldErrors),
        (say(market.store, Caller(), market.id, Comment(body="x")), SignInFirst),
        (say(market.store, market.buyer, uuid4(), Comment(body="x")), NoSuchStream),
        (remove_comment(market.store, other, market.id, 3), NotYourShow),
    ):
        with pytest.raises(error):
            await work
    await remove_comment(market.store, market.host, market.id, 3, mute=True)
    with pytest.raises(NotWelcome):
        await say(market.store, market.buyer, market.id, Comment(body="Why?"))
    log = await read_log(market.store, market.id, 0)
    assert [(row.kind, row.body, row.is_removed) for row in log[2:]] == [("comment", "", True), ("removed", "", False)]
    assert log[3].data == {"seq": 3}
    assert (await read_show(market.store, other, market.id)).stream.comments == 1


async def test_who_is_blocked_by_the_host_says_nothing(market: Market) -> None:
    await market.live()
    await market.shop.run(
        text("INSERT INTO blocks (user_id, blocked_id) VALUES (:a, :b)"), a=market.host.user_id, b=market.buyer.user_id
    )
    with pytest.raises(NotWelcome):
        await say(market.store, market.buyer, market.id, Comment(body="Hi"))
    assert await market.kinds() == ["started", "pinned"]


async def test_likes_count_once_a_person_and_shares_each_time(market: Market) -> None:
    for _ in range(2):
        assert (await like(market.store, market.buyer, market.id, likes=True))["likes"] == 1
    assert (await like(market.store, market.buyer, market.id, likes=False))["likes"] == 0
    visitor = Caller(address="192.0.2.7")
    assert [(await share(market.store, visitor, market.id))["shares"] for _ in range(2)] == [1, 2]
    with pytest.raises(SignInFirst):
        await like(market.store, visitor, market.id, likes=True)


async def test_comments_at_once_are_numbered_without_gaps(market: Market, make: Factory, race: Race) -> None:
    await market.live()
    people = [await make.person("buyer") for _ in range(4)]
    done = await race(*(say(market.store, p, market.id, Comment(body=f"{n}")) for p in people for n in range(10)))
    assert sorted(row.seq for row in done) == list(range(3, 43))
    assert [row.seq for row in await read_log(market.store, market.id, 0)] == list(range(1, 43))


class Watcher:
    """Somebody who watches; what they were told, in order."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.notes: list[dict[str, Any]] = []

    async def watch(self, market: Market, after: int | None, until: Callable[["Watcher"], bool]) -> "Watcher":
        """Watch until enough was heard."""
        async with asyncio.timeout(20), aclosing(await watch_show(market.store, market.id, after)) as events:
            async for entries in events:
                for entry in entries:
                    row = msgspec.json.decode(entry.frame)["data"]
                    (self.rows if entry.name == "show" else self.notes).append(row)
                if until(self):
                    return self
        return self

    @property
    def seqs(self) -> list[int]:
        """The numbers that were heard."""
        return [row["seq"] for row in self.rows]


async def test_who_comes_back_misses_nothing_and_hears_nothing_twice(market: Market) -> None:
    await market.live()
    watching = asyncio.create_task(Watcher().watch(market, 0, lambda w: len(w.rows) >= 7))
    for n in range(5):
        await say(market.store, market.buyer, market.id, Comment(body=f"{n}"))
    heard = await watching
    assert heard.seqs == [1, 2, 3, 4, 5, 6, 7]
    for n in range(3):
        await say(market.store, market.buyer, market.id, Comment(body=f"away {n}"))
    back = await Watcher().watch(market, heard.seqs[-1], lambda w: len(w.rows) >= 3)
    assert back.seqs == [8, 9, 10]
    assert [row["body"] for row in back.rows] == ["away 0", "away 1", "away 2"]


async def test_viewers_are_counted_and_stock_is_told_while_they_watch(market: Market) -> None:
    await market.live()
    two = [
        asyncio.create_task(Watcher().watch(market, None, lambda w: any(n["viewers"] == 2 for n in w.notes)))
        for _ in range(2)
    ]
    heard = await asyncio.gather(*two)
    assert heard[0].notes[-1]["pins"] == {"1": [8_000, "1", True]}
    assert (await read_show(market.store, market.buyer, market.id)).stream.most_viewers == 2
    await viewers_of(market.store).nobody_left()
    assert (await read_show(market.store, market.buyer, market.id)).stream.viewers == 0


async def test_viewers_of_a_server_that_died_count_no_more(market: Market) -> None:
    await market.live()
    async with market.store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(
            text("INSERT INTO stream_viewers VALUES (:id, 'dead', 500, now() - interval '1 minute')"), id=market.id
        )
    assert (await read_show(market.store, market.buyer, market.id)).stream.viewers == 0


async def test_shows_of_people_one_follows_come_first(market: Market, make: Factory) -> None:
    await market.live()
    other = await make.person("seller")
    second = await schedule_show(market.store, other, plan(title="Other"))
    await go_live(market.store, other, second.id)
    async with market.store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("UPDATE streams SET most_viewers = 100 WHERE id = :id"), id=market.id)
        await tx.run(text("INSERT INTO follows VALUES (:me, :them)"), me=market.buyer.user_id, them=other.user_id)
    mine = (await read_programme(market.store, market.buyer)).live
    everybody = (await read_programme(market.store, Caller())).live
    assert ([s.title for s in mine], [s.title for s in everybody]) == (
        ["Other", "Friday lamps"],
        ["Friday lamps", "Other"],
    )

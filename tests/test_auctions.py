"""Live auctions: prices, maxima, the soft close, bids at once, and that the rows prove the winner."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from tests.factories import Factory
from tests.shop import Shop
from tests.shows import Market
from tradepost.accounts.types import Caller, SignInFirst
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Database
from tradepost.core.errors import FieldErrors
from tradepost.core.idempotency import once
from tradepost.flows.checkout import checkout
from tradepost.flows.conversations import read_inbox, read_thread
from tradepost.flows.haggle import offers_shown
from tradepost.flows.show_sales import (
    AuctionArgs,
    buy_in_show,
    cancel_auction,
    close_auction,
    close_auctions,
    close_due,
    get_auction,
    hold_in_show,
    list_bids,
    open_auction,
    place_bid,
)
from tradepost.flows.shows import end_show, unpin
from tradepost.flows.store import Store
from tradepost.offers.types import NoLongerThere
from tradepost.streams.rules import Standing, Terms, least_bid, next_standing, replay
from tradepost.streams.types import (
    AuctionForm,
    AuctionOver,
    AuctionRunning,
    Bid,
    BidByHost,
    BidResult,
    BidsDoNotAddUp,
    BidTooLow,
    InAuction,
    NoSuchAuction,
    NotPinnedNow,
    NotWelcome,
    NotYourShow,
    WrongMoment,
)

Race = Callable[..., Awaitable[list[Any]]]


@pytest_asyncio.fixture
async def market(shop: Shop, make: Factory, store_dsn: str) -> AsyncIterator[Market]:
    """Have a show live with one lamp pinned."""
    owner = await Database.open(store_dsn.replace("tradepost_app", "postgres"), size=1)
    yield await (await Market.open(shop, make, owner)).live()
    await owner.close()


def bid(amount: int, nonce: str | None = None) -> Bid:
    """Return a bid of at most so much."""
    return Bid(max_minor=amount, nonce=nonce)


async def test_the_price_rises_only_as_far_as_it_must(market: Market, make: Factory) -> None:
    sale = await market.auction()
    ann, ben = await make.person("buyer", "ann"), await make.person("buyer", "ben")
    steps = [(ann, 1_000, 1_000, True), (ben, 3_000, 1_100, True), (ann, 2_000, 2_100, False), (ben, 5_000, 2_100, True),
             (ann, 5_000, 5_000, False), (ann, 5_100, 5_100, True)]  # fmt: skip
    for who, most, price, leads in steps:
        done = await place_bid(market.store, who, sale.id, bid(most))
        assert (done.price_minor, done.is_leading) == (price, leads)
    found = await get_auction(market.store, sale.id)
    assert (found.price_minor, found.leader_name, found.last_seq, found.least_minor) == (5_100, "Ann", 6, 5_200)
    seen = await list_bids(market.store, sale.id)
    assert [(b.seq, b.price_minor, b.leader_name) for b in seen] == [
        (1, 1_000, "Ann"), (2, 1_100, "Ben"), (3, 2_100, "Ben"), (4, 2_100, "Ben"), (5, 5_000, "Ben"), (6, 5_100, "Ann")
    ]  # fmt: skip


async def test_the_winner_gets_it_held_at_their_price(market: Market, make: Factory) -> None:
    sale = await market.auction()
    await place_bid(market.store, market.buyer, sale.id, bid(4_000))
    assert await market.shop.stock(await market.variant()) == (Decimal(1), Decimal(1))
    await market.time_is_up(sale.id)
    await close_auction(market.store, AuctionArgs(sale.id))
    closed = await get_auction(market.store, sale.id)
    assert (closed.state, closed.price_minor, closed.leader_id) == ("sold", 1_000, market.buyer.user_id)
    assert await market.shop.stock(await market.variant()) == (Decimal(1), Decimal(1))
    (card,) = (await read_inbox(market.store, market.buyer))[0].items
    thread = await read_thread(market.store, market.buyer, card.id)
    offer_id = thread.messages[-1].offer_id
    assert offer_id == closed.offer_id
    (offer,) = (await offers_shown(market.store, market.buyer, [offer_id])).values()  # type: ignore[list-item]  # compared above
    assert (offer.status, offer.amount_minor, offer.origin) == ("accepted", 1_000, "auction")
    placed = await checkout(market.store, market.buyer, market.shop.form(offer_id=offer.id), "win")
    assert (placed.total_minor, placed.payment_state) == (1_000, "success")
    assert await market.shop.stock(await market.variant()) == (Decimal(0), Decimal(0))
    assert await market.kinds() == ["started", "pinned", "auction", "bid", "hammer"]


async def test_a_maximum_never_leaks(market: Market, make: Factory) -> None:
    sale = await market.auction()
    ann = await make.person("buyer", "ann")
    await place_bid(market.store, ann, sale.id, bid(777_777))
    for who in (market.buyer, market.host, await make.person("admin")):
        async with market.store.db.transaction(actor=who.actor) as tx:
            assert await tx.value(text("SELECT count(*) FROM bids")) == 0
    async with market.store.db.transaction(actor=ann.actor) as tx:
        assert await tx.value(text("SELECT max_minor FROM bids")) == 777_777
    log = await market.shop.rows("SELECT data::text FROM stream_events")
    facts = await market.shop.rows("SELECT data::text FROM events")
    row = await market.shop.rows("SELECT a::text FROM auctions a")
    assert "777777" not in str((log, facts, row))


async def test_a_late_bid_makes_it_longer_and_a_later_one_is_too_late(market: Market, make: Factory) -> None:
    sale = await market.auction(soft_close_s=30, seconds=20)
    before = sale.closes_at
    done = await place_bid(market.store, market.buyer, sale.id, bid(2_000))
    assert before < done.closes_at <= now() + timedelta(seconds=31)
    await close_auction(market.store, AuctionArgs(sale.id))
    assert (await get_auction(market.store, sale.id)).state == "open"
    await market.time_is_up(sale.id)
    ann = await make.person("buyer")
    with pytest.raises(AuctionOver):
        await place_bid(market.store, ann, sale.id, bid(9_000))
    await close_auctions(market.store)
    assert (await get_auction(market.store, sale.id)).leader_id == market.buyer.user_id
    with pytest.raises(AuctionOver):
        await place_bid(market.store, ann, sale.id, bid(9_000))
    assert await market.shop.count("bids") == 1


async def test_what_is_no_bid(market: Market, make: Factory) -> None:
    sale = await market.auction()
    ann, muted = await make.person("buyer", "ann"), await make.person("buyer")
    await market.shop.run(
        text("INSERT INTO blocks (user_id, blocked_id) VALUES (:a, :b)"), a=market.host.user_id, b=muted.user_id
    )
    await place_bid(market.store, ann, sale.id, bid(2_000))
    for who, most, error in (
        (market.host, 5_000, BidByHost),
        (market.buyer, 1_099, BidTooLow),
        (ann, 2_000, BidTooLow),
        (muted, 5_000, NotWelcome),
        (Caller(), 5_000, SignInFirst),
        (market.buyer, 0, FieldErrors),
        (market.buyer, 10**12 + 1, FieldErrors),
    ):
        with pytest.raises(error):
            await place_bid(market.store, who, sale.id, bid(most))
    with pytest.raises(NoSuchAuction):
        await place_bid(market.store, ann, uuid4(), bid(5_000))
    assert (await get_auction(market.store, sale.id)).last_seq == 1
    assert await market.shop.count("bids") == 1


async def test_the_same_bid_sent_again_counts_once(market: Market, race: Race) -> None:
    sale = await market.auction()
    done = await race(*(place_bid(market.store, market.buyer, sale.id, bid(2_000, "n")) for _ in range(5)))
    assert [(d.seq, d.price_minor, d.is_leading) for d in done] == [(1, 1_000, True)] * 5
    again = await place_bid(market.store, market.buyer, sale.id, bid(2_000, "n"))
    assert (again.seq, again.price_minor) == (1, 1_000)
    assert await market.shop.count("bids") == 1


async def test_a_bid_with_a_key_commits_with_the_reply_that_is_kept(market: Market, make: Factory) -> None:
    """Beside others that wait, it neither takes them into its transaction nor is placed without its reply."""
    sale, keen, other = await market.auction(), await make.person("buyer"), await make.person("buyer")
    db = market.store.db
    with pytest.raises(RuntimeError):  # noqa: PT012  # what is undone is the whole block
        async with once(db, keen.actor, "k", b"one") as reply:
            assert not reply.is_done
            await place_bid(market.store, keen, sale.id, bid(1_000))
            raise RuntimeError("the reply could not be kept")
    assert (await get_auction(market.store, sale.id)).last_seq == 0
    async with once(db, keen.actor, "k", b"one") as reply:
        placed = await place_bid(market.store, keen, sale.id, bid(1_000))
        reply.keep(201, placed.seq)
    assert (await place_bid(market.store, other, sale.id, bid(2_000))).seq == 2
    async with once(db, keen.actor, "k", b"one") as reply:
        assert (reply.is_done, reply.body) == (True, 1)


async def test_many_bids_at_once_are_in_one_order_that_proves_the_winner(
    market: Market, make: Factory, race: Race
) -> None:
    sale = await market.auction()
    people = [await make.person("buyer") for _ in range(8)]
    done = await race(
        *(
            place_bid(market.store, p, sale.id, bid(1_000 + 137 * (n * 8 + m)))
            for n in range(12)
            for m, p in enumerate(people)
        )
    )
    placed = [d for d in done if isinstance(d, BidResult)]
    assert {type(d) for d in done} <= {BidResult, BidTooLow}
    rows = await market.shop.rows("SELECT seq, bidder_id, max_minor, price_minor, leader_id, at FROM bids ORDER BY seq")
    assert [r[0] for r in rows] == list(range(1, len(placed) + 1))
    assert sorted(r[5] for r in rows) == [r[5] for r in rows]
    standing, terms = Standing(), Terms(1_000, 100)
    for _, who, most, price, leader, _ in rows:
        standing = next_standing(terms, standing, who, most)
        assert (standing.price_minor, standing.leader_id) == (price, leader)
    await market.time_is_up(sale.id)
    await close_due(market.store, sale.id)
    closed = await get_auction(market.store, sale.id)
    assert (closed.state, closed.leader_id, closed.price_minor) == ("sold", standing.leader_id, standing.price_minor)
    assert standing.leader_max == max(r[2] for r in rows)


async def test_two_servers_bid_in_one_order(market: Market, make: Factory, race: Race, store_dsn: str) -> None:
    sale = await market.auction()
    other = await Database.open(store_dsn, size=4)
    second = Store(**{**vars(market.store), "db": other})
    people = [await make.person("buyer") for _ in range(6)]
    done = await race(
        *(place_bid(store, p, sale.id, bid(1_000 + 211 * (n * 6 + m)))
          for n in range(8) for m, p in enumerate(people) for store in (market.store, second))
    )  # fmt: skip
    placed = [d for d in done if isinstance(d, BidResult)]
    assert sorted(d.seq for d in placed) == list(range(1, len(placed) + 1))
    await market.time_is_up(sale.id)
    assert await race(close_due(market.store, sale.id), close_due(second, sale.id)) == [None, None]
    assert (await market.kinds()).count("hammer") == 1
    await other.close()


async def test_bid_against_close_has_one_outcome(market: Market, make: Factory, race: Race) -> None:
    sale = await market.auction(soft_close_s=0)
    ann, ben = await make.person("buyer"), await make.person("buyer")
    await place_bid(market.store, ann, sale.id, bid(2_000))
    await market.time_is_up(sale.id)
    done = await race(
        close_due(market.store, sale.id), *(place_bid(market.store, ben, sale.id, bid(5_000 + n)) for n in range(4))
    )
    assert [type(d) for d in done[1:]] == [AuctionOver] * 4
    closed = await get_auction(market.store, sale.id)
    assert (closed.state, closed.leader_id, closed.last_seq) == ("sold", ann.user_id, 1)


async def test_buy_now_against_an_auction_of_the_last_piece(market: Market, make: Factory, race: Race) -> None:
    form = market.shop.form()
    done = await race(market.auction(), buy_in_show(market.store, market.buyer, market.id, 1, form, "k"))
    errors = [type(d) for d in done if isinstance(d, Exception)]
    assert len(errors) == 1
    assert errors[0] in {NoLongerThere, InAuction}
    on_hand, reserved = await market.shop.stock(await market.variant())
    assert (on_hand, reserved) in {(Decimal(1), Decimal(1)), (Decimal(0), Decimal(0))}
    if isinstance(done[1], Exception):
        with pytest.raises(InAuction):
            await hold_in_show(market.store, market.buyer, market.id, 1, "again")


async def test_without_enough_bids_it_is_free_again(market: Market, make: Factory) -> None:
    sale = await market.auction(reserve_minor=5_000)
    await place_bid(market.store, market.buyer, sale.id, bid(4_999))
    await market.time_is_up(sale.id)
    await close_due(market.store, sale.id)
    assert (await get_auction(market.store, sale.id)).state == "unsold"
    assert await market.shop.stock(await market.variant()) == (Decimal(1), Decimal(0))
    second = await market.auction(reserve_minor=5_000)
    done = await place_bid(market.store, market.buyer, second.id, bid(6_000))
    assert (done.price_minor, done.is_leading) == (5_000, True)


async def test_an_auction_is_its_hosts_to_open_and_to_call_off(market: Market, make: Factory) -> None:
    other = await make.person("seller")
    terms = {"position": 1, "starts_minor": 100, "increment_minor": 10}
    with pytest.raises(NotYourShow):
        await open_auction(market.store, other, market.id, AuctionForm(**terms))
    sale = await market.auction()
    with pytest.raises(NoLongerThere):
        await market.auction()
    with pytest.raises(AuctionRunning):
        await end_show(market.store, market.host, market.id)
    with pytest.raises(AuctionRunning):
        await unpin(market.store, market.host, market.id, 1)
    with pytest.raises(NotYourShow):
        await cancel_auction(market.store, other, sale.id)
    assert (await cancel_auction(market.store, market.host, sale.id)).state == "cancelled"
    assert await market.shop.stock(await market.variant()) == (Decimal(1), Decimal(0))
    with pytest.raises(AuctionOver):
        await place_bid(market.store, market.buyer, sale.id, bid(2_000))
    second = await market.auction()
    await place_bid(market.store, market.buyer, second.id, bid(2_000))
    with pytest.raises(AuctionRunning):
        await cancel_auction(market.store, market.host, second.id)
    await market.time_is_up(second.id)
    await close_due(market.store, second.id)
    await unpin(market.store, market.host, market.id, 1)
    with pytest.raises((NotPinnedNow, NoLongerThere)):
        await market.auction()
    await end_show(market.store, market.host, market.id)
    with pytest.raises((WrongMoment, NoLongerThere)):
        await market.auction()


async def test_bids_that_do_not_add_up_close_nothing(market: Market, make: Factory) -> None:
    sale = await market.auction()
    await place_bid(market.store, market.buyer, sale.id, bid(2_000))
    forger = await make.person("buyer")
    await market.change("UPDATE auctions SET leader_id = :who WHERE id = :id", who=forger.user_id, id=sale.id)
    await market.time_is_up(sale.id)
    with pytest.raises(BidsDoNotAddUp):
        await close_due(market.store, sale.id)
    assert (await get_auction(market.store, sale.id)).state == "open"
    assert await market.shop.count("offers") == 0


async def test_the_database_itself_refuses_bids_out_of_time_and_by_the_host(market: Market) -> None:
    sale = await market.auction()
    add = text("""INSERT INTO bids (auction_id, seq, bidder_id, max_minor, price_minor, leader_id, at)
                  VALUES (:id, 1, :who, 1000, 1000, :who, now() + CAST(:after AS interval))""")
    for who, after, error in ((market.buyer, timedelta(hours=1), AuctionOver), (market.host, timedelta(0), BidByHost)):
        with pytest.raises(error):
            async with market.store.db.transaction(actor=SYSTEM) as tx:
                await tx.run(add, id=sale.id, who=who.user_id, after=after)
    assert await market.shop.count("bids") == 0


PEOPLE = st.integers(min_value=0, max_value=3)


@given(
    st.integers(1, 500),
    st.integers(1, 50),
    st.one_of(st.none(), st.integers(1, 3_000)),
    st.lists(st.tuples(PEOPLE, st.integers(1, 3_000)), max_size=40),
)
def test_a_price_never_exceeds_the_leaders_maximum_and_never_falls(
    starts: int, step: int, reserve: int | None, wanted: list[tuple[int, int]]
) -> None:
    names = [uuid4() for _ in range(4)]
    terms, standing, kept = Terms(starts, step, reserve), Standing(), []
    for person, most in wanted:
        who = names[person]
        if most < least_bid(terms, standing, who):
            continue
        after = next_standing(terms, standing, who, most)
        assert after.leader_max is not None
        assert after.price_minor is not None
        assert starts <= after.price_minor <= after.leader_max
        assert after.price_minor >= (standing.price_minor or 0)
        assert after.leader_max == max(most, standing.leader_max or 0)
        standing = after
        kept.append((who, most))
    assert replay(terms, kept) == standing

"""Selling in live shows: buying at the live price, auctions, giveaways. What is agreed on becomes an offer at that price.

Bids of one auction that wait at the same moment are placed by one transaction, in the order they came: a hot auction takes one
connection of a process, however many people bid.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID, uuid5

import msgspec

from tradepost.accounts.types import Caller
from tradepost.catalog import stock
from tradepost.catalog.stock import Want
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Database, Transaction
from tradepost.core.errors import Unavailable
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.jobs import enqueue, job, scheduled
from tradepost.core.limits import check_rate
from tradepost.core.together import Together
from tradepost.flows.checkout import CheckoutForm, Placed, checkout
from tradepost.flows.shows import acting, check_shows
from tradepost.flows.store import Store
from tradepost.flows.viewers import on_due
from tradepost.messaging import service as talks
from tradepost.messaging.types import NotTakingMessages
from tradepost.offers.queries import find_goods
from tradepost.offers.service import give_back, grant_offer
from tradepost.offers.types import NoLongerThere, Offer
from tradepost.streams import auctions, giveaways, queries, service
from tradepost.streams.auctions import Locked
from tradepost.streams.rules import Standing
from tradepost.streams.types import (
    Auction,
    AuctionForm,
    Bid,
    BidResult,
    Giveaway,
    InAuction,
    NotPinnedNow,
    PlacedBid,
    SaidTwice,
    WrongMoment,
)

HELD_FOR: Final = timedelta(minutes=15)
WON_FOR: Final = timedelta(hours=24)
MOST_BIDS: Final = 600  # in a quarter of an hour
_BUYING: Final = UUID("5bb6a0f4-4f0e-4f0c-9f55-6c0f3f7b6a01")


class AuctionArgs(msgspec.Struct, frozen=True):
    """An auction whose time may be up."""

    auction_id: UUID


async def hold_in_show(store: Store, caller: Caller, stream_id: UUID, position: int, key: str) -> Offer:
    """Hold what is pinned for the caller at its live price, for a quarter of an hour. The same key again holds nothing more.

    Raises `NoSuchStream`, `NoSuchPin`, `WrongMoment`, `NotPinnedNow`, `InAuction`, `OfferOnOwnListing`, `NoLongerThere`.
    """
    check_shows(store)
    caller.check_can("buy")
    me = caller.check_signed_in()
    async with store.db.transaction(actor=acting(caller)) as tx:
        stream = await queries.get_stream(tx, stream_id)
        if stream.status != "live":
            raise WrongMoment("over" if stream.status == "ended" else "planned")
        pin = await queries.get_pin(tx, stream_id, position)
        if not pin.is_shown:
            raise NotPinnedNow
        if await tx.value(auctions.IS_AUCTIONED, variant_id=pin.variant_id):
            raise InAuction
        goods = await find_goods(tx, pin.listing_id, pin.variant_id, pin.currency)
        if goods is None or pin.price_minor is None:
            raise NoLongerThere
        offer_id = uuid5(_BUYING, f"{me}:{key}")
        return await grant_offer(tx, goods, me, pin.price_minor, now() + HELD_FOR, "show", offer_id=offer_id)


async def order_in_show(
    store: Store, caller: Caller, stream_id: UUID, position: int, offer_id: UUID, form: CheckoutForm, key: str
) -> Placed:
    """Order what was held for the caller in a show, and tell the show. The same key and form again return the same order.

    Raises what `checkout` raises.
    """
    placed = await checkout(store, caller, msgspec.structs.replace(form, offer_id=offer_id), key)
    with suppress(SaidTwice):
        async with store.db.transaction(actor=acting(caller)) as tx:
            await service.note_sale(tx, stream_id, position, str(offer_id), is_paid=placed.payment_state == "success")
    return placed


async def buy_in_show(
    store: Store, caller: Caller, stream_id: UUID, position: int, form: CheckoutForm, key: str
) -> Placed:
    """Hold what is pinned and order it at its live price, in one go. The same key and form again return the same order.

    Raises what `hold_in_show` and `checkout` raise.
    """
    offer = await hold_in_show(store, caller, stream_id, position, key)
    return await order_in_show(store, caller, stream_id, position, offer.id, form, key)


async def let_go(store: Store, caller: Caller, offer_id: UUID) -> None:
    """Give back what a show holds for the caller. Raises `NoSuchOffer`, `OfferClosed`."""
    check_shows(store)
    async with store.db.transaction(actor=acting(caller)) as tx:
        await give_back(tx, caller, offer_id)


async def open_auction(store: Store, caller: Caller, stream_id: UUID, form: AuctionForm) -> Auction:
    """Auction one piece of what is pinned; it is held until the end.

    Raises `NotYourShow`, `WrongMoment`, `NoSuchPin`, `NotPinnedNow`, `AuctionRunning`, `NoLongerThere`, `FieldErrors`.
    """
    check_shows(store)
    caller.check_can("sell")
    check_fields(broken_limits(form))
    try:
        async with store.db.transaction(actor=acting(caller)) as tx:
            pin = await queries.get_pin(tx, stream_id, form.position)
            goods = await find_goods(tx, pin.listing_id, pin.variant_id, pin.currency)
            if goods is None or not goods.is_there:
                raise NoLongerThere
            auction_id, variant_id, closes_at = await auctions.open_auction(
                tx, caller, stream_id, form, goods.sale_step
            )
            await stock.reserve(tx, auction_id, [Want(variant_id, goods.sale_step)], closes_at + timedelta(days=1))
            after = timedelta(seconds=form.seconds)
            await enqueue(tx, "streams.close_auction", AuctionArgs(auction_id), after=after)
    except stock.NotEnoughStock:
        raise NoLongerThere from None
    return await get_auction(store, auction_id)


async def get_auction(store: Store, auction_id: UUID) -> Auction:
    """Return an auction. Raises `NoSuchAuction`."""
    check_shows(store)
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        return await queries.get_auction(tx, auction_id)


async def list_bids(store: Store, auction_id: UUID, after: int = 0) -> tuple[PlacedBid, ...]:
    """Return an auction's bids after a number, in order: what price and leader were after each. Raises `NoSuchAuction`."""
    check_shows(store)
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        await queries.get_auction(tx, auction_id)
        return tuple(await queries.list_bids(tx, auction_id, after))


async def cancel_auction(store: Store, caller: Caller, auction_id: UUID) -> Auction:
    """Call off an auction without bids. Raises `NotYourShow`, `AuctionOver`, `AuctionRunning`."""
    check_shows(store)
    async with store.db.transaction(actor=acting(caller)) as tx:
        sale = await auctions.cancel_auction(tx, caller, auction_id)
        await stock.release(tx, sale.id)
    return await get_auction(store, auction_id)


class _Wanted(NamedTuple):
    """A bid that waits for its turn."""

    auction_id: UUID
    who: UUID
    bid: Bid


async def _place_all(db: Database, wanted: list[_Wanted]) -> list[BidResult | Exception]:
    """Place bids of one auction in this order, in one transaction."""
    async with db.transaction(actor=SYSTEM) as tx:
        answers = await auctions.place_bids(tx, wanted[0].auction_id, [(one.who, one.bid) for one in wanted])
    return list(answers)


_PLACING: Final = Together(_place_all)


async def place_bid(store: Store, caller: Caller, auction_id: UUID, bid: Bid) -> BidResult:
    """Bid in an auction: the most the caller would pay. The same nonce again returns what became of it.

    Raises `NoSuchAuction`, `BidByHost`, `AuctionOver`, `BidTooLow`, `NotWelcome`, `FieldErrors`, `TooOften`.
    """
    check_shows(store)
    caller.check_can("buy")
    me = caller.check_signed_in()
    check_fields(broken_limits(bid))
    await check_rate(store.cache, str(me), "bids", MOST_BIDS)
    wanted = _Wanted(auction_id, me, bid)
    if store.db.is_joined:  # an Idempotency-Key: the bid commits with the reply that is kept
        (answer,) = await _place_all(store.db, [wanted])
        if isinstance(answer, Exception):
            raise answer
        return answer
    return await _PLACING.ask(store.db, wanted, lane=auction_id)


async def close_due(store: Store, auction_id: UUID) -> timedelta | None:
    """Close an auction whose time is up, and offer the goods to who won; return how long it still goes on, None once it is closed.

    Idempotent. Every bid is read again first. Raises `BidsDoNotAddUp`.
    """
    async with store.db.transaction(actor=SYSTEM) as tx:
        sale = await auctions.lock_auction(tx, auction_id)
        left = await auctions.check_due(tx, sale)
        if left is not None:
            return left if sale.state == "open" else None
        winner = await auctions.winner_of(tx, sale)
        offer = await _offer_to(tx, sale, winner) if winner is not None else None
        if offer is None:
            await stock.release(tx, sale.id)
        await auctions.close_auction(tx, sale, winner if offer else None, offer.id if offer else None)
        if offer is not None:
            await _tell_winner(tx, store, sale, offer)
    return None


async def _offer_to(tx: Transaction, sale: Locked, winner: Standing) -> Offer | None:
    """Hold the goods for who won; None where they are not there to be sold any more."""
    goods = await find_goods(tx, sale.listing_id, sale.variant_id, sale.currency)
    if goods is None or winner.leader_id is None or winner.price_minor is None:
        return None
    until = now() + WON_FOR
    return await grant_offer(tx, goods, winner.leader_id, winner.price_minor, until, "auction", instead_of=sale.id)


async def _tell_winner(tx: Transaction, store: Store, sale: Locked, offer: Offer) -> None:
    """Write to the winner as the host, with the offer; who blocked the other meanwhile finds it on the show's page."""
    if not store.settings.features.messages:
        return
    with suppress(NotTakingMessages):
        async with tx.savepoint():
            subject = (await queries.get_auction(tx, sale.id)).title
            conversation_id = await talks.begin_conversation(
                tx,
                Caller(user_id=sale.host_id),
                [offer.buyer_id],
                listing_id=sale.listing_id,
                subject=subject,
                most_a_day=100_000,
            )
            await talks.tell_offer(
                tx,
                conversation_id,
                sale.host_id,
                offer.id,
                "You won the auction. It is kept for you for a day at your price.",
            )


@job("streams.close_auction", args=AuctionArgs)
async def close_auction(store: Store, args: AuctionArgs) -> None:
    """Close an auction when its time is up; look again where a late bid made it longer."""
    left = await close_due(store, args.auction_id)
    if left is not None:
        async with store.db.transaction(actor=SYSTEM) as tx:
            await enqueue(tx, "streams.close_auction", args, after=left)


@scheduled("streams.close_auctions", cron="* * * * *")
async def close_auctions(store: Store) -> None:
    """Close every auction whose time is up."""
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        due = await tx.values(queries.DUE)
    for auction_id in due:
        await close_due(store, auction_id)


async def _close_now(store: Store, auction_id: UUID) -> None:
    with suppress(Unavailable):
        await close_due(store, auction_id)


on_due.append(_close_now)


async def open_giveaway(store: Store, caller: Caller, stream_id: UUID, prize: str) -> Giveaway:
    """Open a giveaway in the caller's live show. Raises `NotYourShow`, `WrongMoment`, `GiveawayRunning`."""
    check_shows(store)
    caller.check_can("sell")
    async with store.db.transaction(actor=acting(caller)) as tx:
        giveaway_id = await giveaways.open_giveaway(tx, caller, stream_id, prize)
        return await queries.get_giveaway(tx, giveaway_id)


async def take_part(store: Store, caller: Caller, giveaway_id: UUID) -> int:
    """Enter a giveaway; return the caller's number. Raises `NoSuchGiveaway`, `GiveawayOver`, `TakesPart`, `NotWelcome`."""
    check_shows(store)
    caller.check_scope("profile")
    async with store.db.transaction(actor=acting(caller)) as tx:
        return await giveaways.take_part(tx, caller, giveaway_id)


async def draw_giveaway(store: Store, caller: Caller, giveaway_id: UUID) -> Giveaway:
    """Draw a giveaway's winner. Raises `NotYourShow`, `GiveawayOver`, `NobodyTakesPart`."""
    check_shows(store)
    caller.check_can("sell")
    async with store.db.transaction(actor=acting(caller)) as tx:
        drawn = await giveaways.draw_giveaway(tx, caller, giveaway_id)
        if drawn.winner_id is not None and store.settings.features.messages:
            await _tell_drawn(tx, drawn, caller)
    return drawn


async def _tell_drawn(tx: Transaction, drawn: Giveaway, host: Caller) -> None:
    if drawn.winner_id is None:
        return
    subject = f"Giveaway: {drawn.prize}"
    conversation_id = await talks.begin_conversation(tx, host, [drawn.winner_id], subject=subject, most_a_day=100_000)
    await talks.tell(tx, conversation_id, f"{drawn.winner_name} won the giveaway: {drawn.prize}.")


async def read_giveaway(store: Store, giveaway_id: UUID) -> tuple[Giveaway, tuple[UUID, ...]]:
    """Return a giveaway and, once it is drawn, its entrants in order: all that is needed to draw it again."""
    check_shows(store)
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        found = await queries.get_giveaway(tx, giveaway_id)
        people = await queries.list_entrants(tx, giveaway_id) if found.state == "drawn" else ()
    return found, tuple(person for person, _ in people)

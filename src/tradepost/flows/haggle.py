"""Haggling: where offers meet listings, conversations and the checkout at a locked price.

Every move is one transaction with the sentence that tells the other side. The floor price is not read when an offer is made: a
job looks at each offer after some minutes, so that neither the answer nor the time it takes says where the floor is.
"""

import secrets
from datetime import timedelta
from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.accounts.types import Caller
from tradepost.core.database import Actor, Transaction
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.jobs import enqueue, job, scheduled
from tradepost.core.money import to_major
from tradepost.core.pages import Page
from tradepost.flows.conversations import MOST_STARTED, About, check_talks, find_opening
from tradepost.flows.store import Store
from tradepost.messaging import service as talks
from tradepost.offers import queries, service
from tradepost.offers.types import (
    LARGEST,
    NewOffer,
    NoLongerThere,
    NoSuchOffer,
    NotOpenToOffers,
    Offer,
    OfferForm,
    OfferOnOwnListing,
)

COMMUNITY: Final = "community"
# When an offer is looked at that nobody has answered: seconds, like somebody who has just seen their telephone.
_SOONEST_S, _LATEST_S = 180, 900
_MOST_AT_ONCE = 500


class Floor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The least a seller would take, in minor units; None: whatever comes is theirs to answer."""

    floor_minor: Annotated[int, Meta(ge=1, le=LARGEST)] | None


class OfferArgs(msgspec.Struct, frozen=True):
    """An offer that a job looks at."""

    offer_id: UUID


def _acting(caller: Caller) -> Actor:
    return Actor("system", caller.user_id)


async def make_offer(store: Store, caller: Caller, listing_id: UUID, form: NewOffer) -> Offer:
    """Propose a price for a listing of the community feed; it is shown in the conversation with its seller.

    Raises `SignInFirst`, `NotAllowed`, `NoSuchListing`, `NotOpenToOffers`, `OfferOnOwnListing`, `NoLongerThere`, `OfferAboveAsking`,
    `OfferOpen`, `TooManyOffers`, `FieldErrors`, and what writing to the seller raises.
    """
    caller.check_can("buy")
    check_talks(store)
    check_fields(broken_limits(form))
    async with store.db.transaction(actor=_acting(caller)) as tx:
        goods = await queries.find_goods(tx, listing_id, form.variant_id, store.currency)
        if goods is not None and goods.seller_id == caller.user_id:
            raise OfferOnOwnListing
        if goods is not None and (not store.settings.features.offers or goods.feed != COMMUNITY):
            raise NotOpenToOffers
    opening = await find_opening(store, caller, About(listing_id=listing_id))
    async with store.db.transaction(actor=_acting(caller)) as tx:
        goods = await queries.find_goods(tx, listing_id, form.variant_id, store.currency)
        if goods is None:
            raise NoLongerThere
        conversation_id = await talks.begin_conversation(
            tx, caller, opening.others, listing_id=listing_id, subject=opening.subject, most_a_day=MOST_STARTED
        )
        made = await service.add_offer(tx, caller, goods, conversation_id, form.amount_minor)
        await talks.tell_offer(tx, conversation_id, made.buyer_id, made.id, form.message)
        wait = _SOONEST_S + secrets.randbelow(_LATEST_S - _SOONEST_S)
        await enqueue(tx, "offers.review_offer", OfferArgs(made.id), after=timedelta(seconds=wait))
    return made


async def accept_offer(store: Store, caller: Caller, offer_id: UUID) -> Offer:
    """Take the other side's offer: the item is held for the buyer for a day, and whoever else made an offer on it is told.

    Raises `NoSuchOffer`, `NotYourTurn`, `OfferClosed`, `NoLongerThere`.
    """
    _check_side(caller)
    async with store.db.transaction(actor=_acting(caller)) as tx:
        offer, held_until, losers = await service.accept_offer(tx, caller, offer_id)
        who = "The seller" if offer.by == "buyer" else "The buyer"
        await _tell(
            tx, offer,
            f"{who} accepted {_price(offer)}. It is kept for the buyer until {held_until:%d %b, %H:%M} UTC.",
        )  # fmt: skip
        for loser in losers:
            await _tell(tx, loser, "This went to somebody else.")
        return await queries.access_offer(tx, caller, offer_id)


async def reject_offer(store: Store, caller: Caller, offer_id: UUID) -> Offer:
    """Decline the other side's offer. Raises `NoSuchOffer`, `NotYourTurn`, `OfferClosed`."""
    _check_side(caller)
    async with store.db.transaction(actor=_acting(caller)) as tx:
        offer = await service.lock_open(tx, caller, offer_id, made_by_caller=False)
        await _decline(tx, offer)
        return await queries.access_offer(tx, caller, offer_id)


async def withdraw_offer(store: Store, caller: Caller, offer_id: UUID) -> Offer:
    """Take one's own offer back while it is open. Raises `NoSuchOffer`, `NotYourTurn`, `OfferClosed`."""
    _check_side(caller)
    async with store.db.transaction(actor=_acting(caller)) as tx:
        offer = await service.lock_open(tx, caller, offer_id, made_by_caller=True)
        await service.close_offer(tx, offer, "cancelled")
        await _tell(tx, offer, f"The offer of {_price(offer)} was withdrawn.")
        return await queries.access_offer(tx, caller, offer_id)


async def counter_offer(store: Store, caller: Caller, offer_id: UUID, form: OfferForm) -> Offer:
    """Answer an offer with another price; now the other side's answer is waited for.

    Raises `NoSuchOffer`, `NotYourTurn`, `OfferClosed`, `OfferAboveAsking`, `NoLongerThere`, `FieldErrors`.
    """
    me = _check_side(caller)
    check_fields(broken_limits(form))
    async with store.db.transaction(actor=_acting(caller)) as tx:
        offer = await service.lock_open(tx, caller, offer_id, made_by_caller=False)
        if offer.conversation_id is None:
            raise NoSuchOffer
        goods = await queries.find_goods(tx, offer.listing_id, offer.variant_id, offer.currency)
        side = offer.side_of(me)
        if goods is None or side is None:
            raise NoLongerThere
        await service.close_offer(tx, offer, "countered")
        made = await service.add_offer(
            tx, caller, goods, offer.conversation_id, form.amount_minor, by=side, parent=offer
        )
        await talks.tell_offer(tx, offer.conversation_id, me, made.id, form.message)
        if side == "buyer":
            wait = _SOONEST_S + secrets.randbelow(_LATEST_S - _SOONEST_S)
            await enqueue(tx, "offers.review_offer", OfferArgs(made.id), after=timedelta(seconds=wait))
        return made


def _check_side(caller: Caller) -> UUID:
    """Whoever buys or sells may answer; a program needs a token for one of them."""
    me = caller.check_signed_in()
    if not caller.can("sell"):
        caller.check_can("buy")
    return me


async def _tell(tx: Transaction, offer: Offer, sentence: str) -> None:
    """Write a sentence under an offer; one from a show has nothing that it could stand in."""
    if offer.conversation_id is not None:
        await talks.tell(tx, offer.conversation_id, sentence)


def _price(offer: Offer) -> str:
    return f"{to_major(offer.amount_minor, offer.currency)} {offer.currency}"


async def _decline(tx: Transaction, offer: Offer) -> None:
    await service.close_offer(tx, offer, "rejected")
    await _tell_declined(tx, offer)


async def _tell_declined(tx: Transaction, offer: Offer) -> None:
    """One sentence for both, so that nobody can tell a seller's no from that of the floor."""
    await _tell(tx, offer, f"The offer of {_price(offer)} was declined.")


async def list_offers(store: Store, caller: Caller, *, after: str | None = None) -> Page[Offer]:
    """Return the offers the caller made or got, the latest first."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await queries.list_offers(tx, caller, after=after)


async def offers_shown(store: Store, caller: Caller, ids: list[UUID]) -> dict[UUID, Offer]:
    """Return the offers that messages of a conversation show, by id."""
    if not ids:
        return {}
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await queries.offers_by_id(tx, caller, ids)


async def get_offer(store: Store, caller: Caller, offer_id: UUID) -> Offer:
    """Return an offer of which the caller is one side. Raises `NoSuchOffer`."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await queries.access_offer(tx, caller, offer_id)


async def set_floor(store: Store, caller: Caller, listing_id: UUID, floor: Floor) -> None:
    """Keep the least the caller would take for a listing of their own. Raises `NoSuchOffer` for anybody else's."""
    caller.check_can("sell")
    async with store.db.transaction(actor=caller.actor) as tx:
        goods = await queries.find_goods(tx, listing_id, None, store.currency)
        if goods is None or goods.seller_id != caller.user_id:
            raise NoSuchOffer
        await service.set_floor(tx, caller, listing_id, floor.floor_minor)


async def keep_floor(tx: Transaction, caller: Caller, listing_id: UUID, floor: Floor) -> None:
    """Keep the least the caller would take for a listing of their own, in the transaction that writes it."""
    check_fields(broken_limits(floor))
    await service.set_floor(tx, caller, listing_id, floor.floor_minor)


async def own_floor(store: Store, caller: Caller, listing_id: UUID) -> int | None:
    """Return the least the caller would take for a listing of their own, or None."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await queries.own_floor(tx, caller, listing_id)


@job("offers.review_offer", args=OfferArgs)
async def review_offer(store: Store, args: OfferArgs) -> None:
    """Decline an offer below the seller's floor, in the words of a seller."""
    async with store.db.transaction(actor=Actor("system")) as tx:
        declined = await service.decline_below_floor(tx, args.offer_id)
        if declined is not None:
            await _tell_declined(tx, declined)


@scheduled("offers.expire_offers", cron="* * * * *")
async def expire_offers(store: Store) -> None:
    """End offers whose time is up, let go of what nobody came to pay for, and end offers on what is not for sale any more."""
    async with store.db.transaction(actor=Actor("system"), read_only=True) as tx:
        due = await tx.values(queries.DUE, limit=_MOST_AT_ONCE)
        stale = await tx.values(queries.STALE, limit=_MOST_AT_ONCE)
    for offer_id in dict.fromkeys((*due, *stale)):
        async with store.db.transaction(actor=Actor("system")) as tx:
            ended = await service.expire_offer(tx, offer_id, is_stale=offer_id in stale)
            if ended is not None:
                offer, was_accepted = ended
                said = "was not paid for in time; the item is free again" if was_accepted else "has run out"
                await _tell(tx, offer, f"The offer of {_price(offer)} {said}.")

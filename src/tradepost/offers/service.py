"""Commands on offers. Each locks the offer, asks whose turn it is, and changes its state once.

`tx` is the system's throughout, with the person who acts: a move of one side tells the other.
"""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.catalog import stock
from tradepost.catalog.stock import Want
from tradepost.core.clock import now
from tradepost.core.database import Transaction, on_violation
from tradepost.core.events import record
from tradepost.core.ids import uuid7
from tradepost.offers import queries
from tradepost.offers.events import OfferAccepted, OfferEnded, OfferMade
from tradepost.offers.types import (
    Goods,
    NoLongerThere,
    NoSuchOffer,
    NotYourTurn,
    Offer,
    OfferAboveAsking,
    OfferClosed,
    OfferOnOwnListing,
    OfferOpen,
    Origin,
    Side,
    TooManyOffers,
)

OPEN_FOR: Final = timedelta(hours=48)
HELD_FOR: Final = timedelta(hours=24)
MOST_A_DAY: Final = 5

on_violation("uq_offers_open", OfferOpen)

_ADD = text("""
    INSERT INTO offers (id, listing_id, variant_id, buyer_id, seller_id, by, amount_minor, currency, quantity, parent_id,
                        conversation_id, expires_at)
    VALUES (:id, :listing_id, :variant_id, :buyer_id, :seller_id, :by, :amount_minor, :currency, :quantity, :parent_id,
            :conversation_id, :expires_at)
""")
_GRANT = text("""
    INSERT INTO offers (id, listing_id, variant_id, buyer_id, seller_id, by, amount_minor, currency, quantity, status, expires_at,
                        held_until, origin)
    VALUES (:id, :listing_id, :variant_id, :buyer_id, :seller_id, 'seller', :amount_minor, :currency, :quantity, 'accepted', :held_until,
            :held_until, :origin)
""")
_GRANTED = text(f"""
    SELECT {queries.COLUMNS} FROM offers o WHERE o.buyer_id = :buyer_id AND o.variant_id = :variant_id AND o.origin = :origin
    AND o.amount_minor = :amount_minor AND o.status = 'accepted' AND o.order_id IS NULL AND o.held_until > now() LIMIT 1
""")  # our own text
_CLOSE = text("UPDATE offers SET status = :status WHERE id = :offer_id AND status = 'pending'")
_ACCEPT = text(
    "UPDATE offers SET status = 'accepted', held_until = :held_until WHERE id = :offer_id AND status = 'pending'"
)
_LET_GO = text("UPDATE offers SET status = 'expired' WHERE id = :offer_id AND status = 'accepted' AND order_id IS NULL")
_ORDERED = text("UPDATE offers SET order_id = :order_id WHERE id = :offer_id")
_PUT_FLOOR = text("""
    INSERT INTO offer_floors (listing_id, seller_id, floor_minor) VALUES (:listing_id, :me, :floor_minor)
    ON CONFLICT (listing_id) DO UPDATE SET floor_minor = excluded.floor_minor
""")
_DROP_FLOOR = text("DELETE FROM offer_floors WHERE listing_id = :listing_id AND seller_id = :me")
_BELOW_FLOOR = text("""
    SELECT EXISTS (SELECT FROM offer_floors f JOIN offers o ON o.listing_id = f.listing_id
                   WHERE o.id = :offer_id AND o.amount_minor < f.floor_minor)
""")


async def add_offer(
    tx: Transaction, caller: Caller, goods: Goods, conversation_id: UUID, amount_minor: int, *, by: Side = "buyer",
    parent: Offer | None = None,
) -> Offer:  # fmt: skip
    """Write an offer down as open. Raises `OfferOnOwnListing`, `NoLongerThere`, `OfferAboveAsking`, `OfferOpen`, `TooManyOffers`."""
    me = caller.check_signed_in()
    if by == "buyer" and goods.seller_id == me:
        raise OfferOnOwnListing
    if goods.price_minor is None or goods.currency is None or goods.seller_id is None or not goods.is_there:
        raise NoLongerThere
    if amount_minor > goods.price_minor:
        raise OfferAboveAsking
    if by == "buyer" and await tx.value(queries.COUNT_TODAY, listing_id=goods.listing_id, me=me) >= MOST_A_DAY:
        raise TooManyOffers(MOST_A_DAY)
    offer_id, buyer_id = uuid7(), parent.buyer_id if parent else me
    await tx.run(
        _ADD, id=offer_id, listing_id=goods.listing_id, variant_id=goods.variant_id, buyer_id=buyer_id,
        seller_id=goods.seller_id, by=by, amount_minor=amount_minor, currency=goods.currency, quantity=goods.sale_step,
        parent_id=parent.id if parent else None, conversation_id=conversation_id, expires_at=now() + OPEN_FOR,
    )  # fmt: skip
    fact = OfferMade(offer_id, goods.listing_id, buyer_id, goods.seller_id, by)
    await record(tx, fact, subject_id=goods.listing_id)
    return await tx.one(queries.BY_ID, into=Offer, offer_id=offer_id)


async def grant_offer(
    tx: Transaction, goods: Goods, buyer_id: UUID, amount_minor: int, held_until: datetime, origin: Origin, *,
    offer_id: UUID | None = None, instead_of: UUID | None = None,
) -> Offer:  # fmt: skip
    """Hold goods for somebody at a price that was agreed on elsewhere; who holds them already at it keeps what they have.

    With an `offer_id` that was granted before nothing happens again, whatever became of it. `instead_of` lets go of what something
    else holds of them, for this. Locks the goods. Raises `OfferOnOwnListing`, `NoLongerThere`.
    """
    locked = await tx.maybe(
        queries.LOCKED_GOODS, into=Goods, listing_id=goods.listing_id, variant_id=goods.variant_id, currency=goods.currency
    )  # fmt: skip
    if locked is None or locked.seller_id is None or locked.currency is None:
        raise NoLongerThere
    if locked.seller_id == buyer_id:
        raise OfferOnOwnListing
    known = await tx.maybe(queries.BY_ID, into=Offer, offer_id=offer_id) if offer_id else None
    known = known or await tx.maybe(
        _GRANTED, into=Offer, buyer_id=buyer_id, variant_id=locked.variant_id, origin=origin, amount_minor=amount_minor
    )
    if known is not None:
        return known
    if instead_of is not None:
        await stock.release(tx, instead_of)
    elif not locked.is_there:
        raise NoLongerThere
    offer_id = offer_id or uuid7()
    await tx.run(
        _GRANT, id=offer_id, listing_id=locked.listing_id, variant_id=locked.variant_id, buyer_id=buyer_id,
        seller_id=locked.seller_id, amount_minor=amount_minor, currency=locked.currency, quantity=locked.sale_step,
        held_until=held_until, origin=origin,
    )  # fmt: skip
    await stock.reserve(tx, offer_id, [Want(locked.variant_id, locked.sale_step)], held_until)
    await record(
        tx, OfferAccepted(offer_id, locked.listing_id, buyer_id, locked.seller_id), subject_id=locked.listing_id
    )
    return await tx.one(queries.BY_ID, into=Offer, offer_id=offer_id)


async def lock_open(tx: Transaction, caller: Caller, offer_id: UUID, *, made_by_caller: bool) -> Offer:
    """Lock an open offer that waits for the caller or, with `made_by_caller`, is the caller's own.

    Raises `NoSuchOffer` to strangers, `NotYourTurn`, `OfferClosed`, also when its time is up and nobody has noted it yet.
    """
    found = await tx.maybe(queries.LOCKED, into=Offer, offer_id=offer_id)
    side = found.side_of(caller.check_signed_in()) if found else None
    if found is None or side is None:
        raise NoSuchOffer
    if found.status != "pending":
        raise OfferClosed(found.status)
    if found.expires_at <= now():
        raise OfferClosed("expired")
    if (found.by == side) is not made_by_caller:
        raise NotYourTurn
    return found


async def close_offer(tx: Transaction, offer: Offer, status: str) -> bool:
    """End an open offer that is locked; return whether it was open."""
    if not await tx.run(_CLOSE, offer_id=offer.id, status=status):
        return False
    if status != "countered":
        fact = OfferEnded(offer.id, offer.listing_id, offer.buyer_id, status)
        await record(tx, fact, subject_id=offer.listing_id)
    return True


async def accept_offer(tx: Transaction, caller: Caller, offer_id: UUID) -> tuple[Offer, datetime, list[Offer]]:
    """Take an offer and hold its item for the buyer; return it, until when, and the open offers that lose by it.

    Locks every open offer on the same thing in the order of their ids, then the thing: of two who accept, one is told.
    Raises `NoSuchOffer`, `NotYourTurn`, `OfferClosed`, `NoLongerThere`.
    """
    seen = await queries.access_offer(tx, caller, offer_id)
    rivals = await tx.all(queries.LOCKED_RIVALS, into=Offer, listing_id=seen.listing_id, variant_id=seen.variant_id)
    offer = await lock_open(tx, caller, offer_id, made_by_caller=False)
    goods = await tx.maybe(
        queries.LOCKED_GOODS, into=Goods, listing_id=offer.listing_id, variant_id=offer.variant_id, currency=offer.currency
    )  # fmt: skip
    if goods is None or not goods.is_there:
        raise NoLongerThere
    held_until = now() + HELD_FOR
    await tx.run(_ACCEPT, offer_id=offer.id, held_until=held_until)
    await stock.reserve(tx, offer.id, [Want(offer.variant_id, offer.quantity)], held_until)
    fact = OfferAccepted(offer.id, offer.listing_id, offer.buyer_id, offer.seller_id)
    await record(tx, fact, subject_id=offer.listing_id)
    is_last = goods.left is not None and goods.left - offer.quantity < goods.sale_step
    losers = [rival for rival in rivals if rival.id != offer.id] if is_last else []
    for loser in losers:
        await close_offer(tx, loser, "rejected")
    return offer, held_until, losers


async def checkout_row(tx: Transaction, caller: Caller, offer_id: UUID) -> dict[str, Any]:
    """Return what an accepted offer is about as the row of a cart, at its price. Raises `NoSuchOffer`, `OfferClosed`."""
    row = await tx.maybe(queries.CHECKOUT_ROW, offer_id=offer_id, me=caller.check_signed_in())
    if row is None:
        known = await queries.access_offer(tx, caller, offer_id)
        raise OfferClosed("ordered" if known.order_id else "expired" if known.status == "accepted" else known.status)
    return dict(row)


async def hand_over(tx: Transaction, caller: Caller, offer_id: UUID, order_id: UUID) -> None:
    """Let go of what an accepted offer holds, because an order takes it in this transaction. Raises `OfferClosed`."""
    found = await tx.maybe(queries.LOCKED, into=Offer, offer_id=offer_id)
    if found is None or found.buyer_id != caller.user_id:
        raise NoSuchOffer
    if (
        found.status != "accepted"
        or found.order_id is not None
        or found.held_until is None
        or found.held_until <= now()
    ):
        raise OfferClosed("ordered" if found.order_id else "expired" if found.status == "accepted" else found.status)
    await tx.run(_ORDERED, offer_id=offer_id, order_id=order_id)
    await stock.release(tx, offer_id)


async def give_back(tx: Transaction, caller: Caller, offer_id: UUID) -> None:
    """End what a show holds for the caller before they have ordered it. Raises `NoSuchOffer`, `OfferClosed`."""
    found = await tx.maybe(queries.LOCKED, into=Offer, offer_id=offer_id)
    if found is None or found.buyer_id != caller.user_id or found.origin != "show":
        raise NoSuchOffer
    if found.status != "accepted" or found.order_id is not None:
        raise OfferClosed("ordered" if found.order_id else found.status)
    await tx.run(_LET_GO, offer_id=offer_id)
    await stock.release(tx, offer_id)


async def expire_offer(tx: Transaction, offer_id: UUID, *, is_stale: bool = False) -> tuple[Offer, bool] | None:
    """End an offer whose time is up, or whose listing is gone; return it and whether it was accepted before. Idempotent."""
    found = await tx.maybe(queries.LOCKED, into=Offer, offer_id=offer_id)
    if found is None:
        return None
    if found.status == "pending" and (is_stale or found.expires_at <= now()):
        await close_offer(tx, found, "expired")
        return found, False
    is_held = found.status == "accepted" and found.order_id is None
    if is_held and found.held_until is not None and found.held_until <= now():
        await tx.run(_LET_GO, offer_id=offer_id)
        await stock.release(tx, offer_id)
        await record(tx, OfferEnded(found.id, found.listing_id, found.buyer_id, "expired"), subject_id=found.listing_id)
        return found, True
    return None


async def decline_below_floor(tx: Transaction, offer_id: UUID) -> Offer | None:
    """Decline a buyer's open offer that is below the seller's floor; return it if it was. Idempotent."""
    found = await tx.maybe(queries.LOCKED, into=Offer, offer_id=offer_id)
    if found is None or found.status != "pending" or found.by != "buyer":
        return None
    if not await tx.value(_BELOW_FLOOR, offer_id=offer_id):
        return None
    return found if await close_offer(tx, found, "rejected") else None


async def set_floor(tx: Transaction, caller: Caller, listing_id: UUID, floor_minor: int | None) -> None:
    """Keep the least the caller would take for a listing of their own; None forgets it. The flow asks whose listing it is."""
    me = caller.check_signed_in()
    if floor_minor is None:
        await tx.run(_DROP_FLOOR, listing_id=listing_id, me=me)
    else:
        await tx.run(_PUT_FLOOR, listing_id=listing_id, me=me, floor_minor=floor_minor)

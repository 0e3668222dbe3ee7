"""Telling people of what concerns them: orders, offers, messages, what they showed of themselves. Each reacts to a fact."""

from typing import Final
from uuid import UUID, uuid5

from sqlalchemy import text

from tradepost.accounts.events import VerificationDecided
from tradepost.core.database import SYSTEM
from tradepost.core.jobs import job
from tradepost.flows.store import Store
from tradepost.messaging.events import MessageSent
from tradepost.notifications.notices import News, tell, tell_each
from tradepost.offers.events import OfferAccepted, OfferEnded, OfferMade
from tradepost.orders.events import OrderMoved

_STATE = text("""
    SELECT s.name FROM orders o JOIN order_states s ON s.process = o.process AND s.code = :state WHERE o.id = :order_id
""")
_OFFER = text("""
    SELECT l.title, o.conversation_id, o.amount_minor FROM offers o JOIN listings l ON l.id = o.listing_id WHERE o.id = :offer_id
""")
_WAITING = text("""
    SELECT p.user_id, p.unread, c.last_seq, coalesce(nullif(u.display_name, ''), u.username::text, 'Somebody') AS sender
    FROM participants p JOIN conversations c ON c.id = p.conversation_id
    LEFT JOIN messages m ON m.conversation_id = c.id AND m.seq = c.last_seq
    LEFT JOIN users u ON u.id = m.sender_id
    WHERE p.conversation_id = :conversation_id AND p.unread > 0 AND p.archived_at IS NULL AND p.user_id IS DISTINCT FROM m.sender_id
""")
_ENDED: Final = {
    "rejected": "was turned down", "expired": "came to nothing: its time was up", "cancelled": "was taken back",
}  # fmt: skip


@job("notices.tell_of_order", args=OrderMoved)
async def tell_of_order(store: Store, fact: OrderMoved) -> None:
    """Tell those whom an order's move concerns, once for each state."""
    sellers = [fact.seller_id] if fact.seller_id else list(fact.seller_ids)
    buyers = [fact.buyer_id] if fact.buyer_id and "buyer" in fact.tell else []
    people = [*buyers, *(sellers if "seller" in fact.tell else [])]
    if not people:
        return
    subject = uuid5(fact.order_id, f"{fact.seller_id or ''}:{fact.to_state}")
    async with store.db.transaction(actor=SYSTEM) as tx:
        state = await tx.value(_STATE, order_id=fact.order_id, state=fact.to_state) or fact.to_state
        await tell(
            tx, people, "order", subject, f"Order {fact.number}: {state}", f"/orders/{fact.number}", content=fact.reason
        )


@job("notices.tell_of_offer", args=OfferMade)
async def tell_of_offer(store: Store, fact: OfferMade) -> None:
    """Tell the other side that somebody proposed a price."""
    to = fact.seller_id if fact.by == "buyer" else fact.buyer_id
    words = "You have an offer for" if fact.by == "buyer" else "You have a counter-offer for"
    await _tell_of(store, fact.offer_id, to, words, "made")


@job("notices.tell_of_acceptance", args=OfferAccepted)
async def tell_of_acceptance(store: Store, fact: OfferAccepted) -> None:
    """Tell the buyer that the item is held for them."""
    await _tell_of(store, fact.offer_id, fact.buyer_id, "Your price was accepted:", "accepted")


@job("notices.tell_of_refusal", args=OfferEnded)
async def tell_of_refusal(store: Store, fact: OfferEnded) -> None:
    """Tell the buyer that an offer came to nothing; of one that they took back, or that was countered, there is nothing to tell."""
    if fact.status in _ENDED and fact.status != "cancelled":
        await _tell_of(store, fact.offer_id, fact.buyer_id, f"Your offer {_ENDED[fact.status]}:", fact.status)


async def _tell_of(store: Store, offer_id: UUID, to: UUID, words: str, what: str) -> None:
    async with store.db.transaction(actor=SYSTEM) as tx:
        offer = await tx.maybe(_OFFER, offer_id=offer_id)
        if offer is not None:
            path = f"/messages/{offer['conversation_id']}" if offer["conversation_id"] else "/messages"
            await tell(tx, [to], "offer", uuid5(offer_id, what), f"{words} {offer['title']}", path)


@job("notices.tell_of_messages", args=MessageSent)
async def tell_of_messages(store: Store, fact: MessageSent) -> None:
    """Tell those who have not read a conversation by now; who reads along is not disturbed."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        rows = await tx.all(_WAITING, conversation_id=fact.conversation_id)
        await tell_each(tx, "message", [
            News(
                user_id=row["user_id"], subject_id=uuid5(fact.conversation_id, str(row["last_seq"])),
                title=f"{row['sender']} wrote to you" if row["unread"] == 1 else f"{row['unread']} new messages from {row['sender']}",
                path=f"/messages/{fact.conversation_id}",
            )
            for row in rows
        ])  # fmt: skip


@job("notices.tell_of_verification", args=VerificationDecided)
async def tell_of_verification(store: Store, fact: VerificationDecided) -> None:
    """Tell somebody what was decided on what they showed."""
    words = "You are verified" if fact.status == "verified" else "What you sent was not accepted; read why"
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tell(
            tx, [fact.user_id], "verification", uuid5(fact.verification_id, fact.status), words, "/me/verification"
        )

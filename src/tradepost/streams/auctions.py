"""Commands on auctions. Every one locks the auction first, so bids, extensions and the close are one after the other.

Time is the database's clock, read once the lock is held: whoever waited for it past the close is too late. `tx` is the system's.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.core.database import Transaction, on_violation
from tradepost.core.errors import DomainError
from tradepost.core.events import record
from tradepost.core.ids import uuid7
from tradepost.streams import queries, service
from tradepost.streams.events import AuctionClosed
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
    BidTwice,
    NoSuchAuction,
    NotPinnedNow,
    NotWelcome,
)

on_violation("uq_auctions_open", AuctionRunning)
on_violation("uq_bids_auction_id_bidder_id_nonce", BidTwice)
on_violation("ck_bids_in_time", AuctionOver)
on_violation("ck_bids_not_by_host", BidByHost)

_OPEN = text("""
    INSERT INTO auctions (id, stream_id, position, listing_id, variant_id, host_id, currency, quantity, starts_minor, increment_minor,
                          reserve_minor, soft_close_s, opens_at, closes_at)
    VALUES (:id, :stream_id, :position, :listing_id, :variant_id, :host_id, :currency, :quantity, :starts_minor, :increment_minor,
            :reserve_minor, :soft_close_s, clock_timestamp(), clock_timestamp() + make_interval(secs => :seconds))
    RETURNING closes_at
""")
_LOCK = text("""
    SELECT id, stream_id, host_id, listing_id, variant_id, currency, starts_minor, increment_minor, reserve_minor, soft_close_s,
           closes_at, state, last_seq, price_minor, leader_id
    FROM auctions WHERE id = :auction_id FOR NO KEY UPDATE
""")
_CLOCK = text("SELECT clock_timestamp()")
# After the lock, so that it sees what those who held it before have written.
_ROUND = text("""
    SELECT clock_timestamp() AS now,
           (SELECT max_minor FROM bids WHERE auction_id = :auction_id AND bidder_id = :leader_id ORDER BY seq DESC LIMIT 1) AS leader_max,
           ARRAY(SELECT user_id FROM stream_mutes WHERE stream_id = :stream_id AND user_id = ANY (CAST(:people AS uuid[]))
                 UNION SELECT blocked_id FROM blocks WHERE user_id = :host_id AND blocked_id = ANY (CAST(:people AS uuid[]))) AS unwelcome
""")
_KNOWN = text("""
    SELECT bidder_id, nonce, seq, price_minor, leader_id FROM bids WHERE auction_id = :auction_id AND nonce = ANY (CAST(:nonces AS text[]))
""")
_BIDS = text("""
    INSERT INTO bids (auction_id, seq, bidder_id, max_minor, price_minor, leader_id, nonce, at)
    SELECT :auction_id, b.seq, b.bidder_id, b.max_minor, b.price_minor, b.leader_id, b.nonce, :at
    FROM unnest(CAST(:seqs AS int[]), CAST(:bidders AS uuid[]), CAST(:maxima AS bigint[]), CAST(:prices AS bigint[]), CAST(:leaders AS uuid[]),
                CAST(:nonces AS text[])) AS b(seq, bidder_id, max_minor, price_minor, leader_id, nonce) ORDER BY b.seq
""")
_LEAD = text("""
    UPDATE auctions SET last_seq = :last_seq, price_minor = :price_minor, leader_id = :leader_id, closes_at = :closes_at WHERE id = :auction_id
""")
_ROWS = text(
    "SELECT bidder_id, max_minor, price_minor, leader_id FROM bids WHERE auction_id = :auction_id ORDER BY seq"
)
_CLOSE = text("""
    UPDATE auctions SET state = :state, closed_at = clock_timestamp(), offer_id = :offer_id WHERE id = :auction_id
""")
_NAME = text("SELECT display_name FROM users WHERE id = :user_id")
IS_AUCTIONED = text("SELECT EXISTS (SELECT FROM auctions WHERE variant_id = :variant_id AND state = 'open')")


class Locked(msgspec.Struct, frozen=True):
    """An auction that is locked, as it is."""

    id: UUID
    stream_id: UUID
    host_id: UUID
    listing_id: UUID
    variant_id: UUID
    currency: str
    starts_minor: int
    increment_minor: int
    reserve_minor: int | None
    soft_close_s: int
    closes_at: datetime
    state: str
    last_seq: int
    price_minor: int | None
    leader_id: UUID | None

    @property
    def terms(self) -> Terms:
        """What it was opened with."""
        return Terms(self.starts_minor, self.increment_minor, self.reserve_minor)


async def open_auction(
    tx: Transaction, caller: Caller, stream_id: UUID, form: AuctionForm, quantity: Decimal
) -> tuple[UUID, UUID, datetime]:
    """Open an auction on what is pinned; return it, its variant, and when it closes. The flow holds the goods.

    Raises `NotYourShow`, `WrongMoment`, `NoSuchPin`, `NotPinnedNow`, `AuctionRunning`.
    """
    await service.lock_live(tx, caller, stream_id)
    pin = await queries.get_pin(tx, stream_id, form.position)
    if not pin.is_shown:
        raise NotPinnedNow
    auction_id = uuid7()
    closes_at: datetime = await tx.value(
        _OPEN, id=auction_id, stream_id=stream_id, position=form.position, listing_id=pin.listing_id, variant_id=pin.variant_id,
        host_id=caller.user_id, currency=pin.currency, quantity=quantity, starts_minor=form.starts_minor,
        increment_minor=form.increment_minor, reserve_minor=form.reserve_minor, soft_close_s=form.soft_close_s, seconds=form.seconds,
    )  # fmt: skip
    data = {"auction_id": str(auction_id), "position": form.position, "title": pin.title, "least_minor": form.starts_minor,
            "currency": pin.currency, "closes_at": closes_at.isoformat()}  # fmt: skip
    await service.note(tx, stream_id, "auction", user_id=caller.user_id, data=data)
    return auction_id, pin.variant_id, closes_at


async def lock_auction(tx: Transaction, auction_id: UUID) -> Locked:
    """Lock an auction. Raises `NoSuchAuction`."""
    found = await tx.maybe(_LOCK, into=Locked, auction_id=auction_id)
    if found is None:
        raise NoSuchAuction
    return found


async def place_bids(
    tx: Transaction, auction_id: UUID, wanted: Sequence[tuple[UUID, Bid]]
) -> list[BidResult | DomainError]:
    """Place bids of several people, one after the other in this order; return for each what became of it or why it was refused.

    Locks the auction. The same nonce of the same person again returns what became of it then.
    """
    sale = await lock_auction(tx, auction_id)
    now = await tx.one(
        _ROUND, auction_id=auction_id, leader_id=sale.leader_id, stream_id=sale.stream_id, host_id=sale.host_id,
        people=[who for who, _ in wanted],
    )  # fmt: skip
    at: datetime = now["now"]
    known = await _known(tx, sale, wanted)
    book = _Book(sale, Standing(sale.leader_id, sale.price_minor, now["leader_max"]), at, known, set(now["unwelcome"]))
    answers = [book.take(who, bid) for who, bid in wanted]
    if book.rows:
        await _write(tx, sale, book, at)
    return answers


async def _known(
    tx: Transaction, sale: Locked, wanted: Sequence[tuple[UUID, Bid]]
) -> dict[tuple[UUID, str], BidResult]:
    nonces = [bid.nonce for _, bid in wanted if bid.nonce]
    rows = await tx.all(_KNOWN, auction_id=sale.id, nonces=nonces) if nonces else []
    return {
        (r["bidder_id"], r["nonce"]): BidResult(
            sale.id, r["seq"], r["price_minor"], r["leader_id"] == r["bidder_id"], sale.closes_at
        )
        for r in rows
    }


class _Book:
    """Bids taken one after the other; `rows` are those that count."""

    def __init__(
        self,
        sale: Locked,
        standing: Standing,
        at: datetime,
        known: dict[tuple[UUID, str], BidResult],
        unwelcome: set[UUID],
    ) -> None:
        self.sale, self.standing, self.at, self.known, self.unwelcome = sale, standing, at, known, unwelcome
        self.seq, self.closes_at = sale.last_seq, sale.closes_at
        self.rows: list[tuple[int, UUID, int, int, UUID, str | None]] = []

    def take(self, who: UUID, bid: Bid) -> BidResult | DomainError:
        """Take one bid, or say why not."""
        before = self.known.get((who, bid.nonce)) if bid.nonce else None
        refusal = None if before else self._refusal(who, bid)
        if before or refusal:
            return before or refusal  # type: ignore[return-value]  # one of them is there
        self.standing = next_standing(self.sale.terms, self.standing, who, bid.max_minor)
        self.seq += 1
        price, leader = self.standing.price_minor or 0, self.standing.leader_id or who
        self.rows.append((self.seq, who, bid.max_minor, price, leader, bid.nonce or None))
        self.closes_at = max(self.closes_at, self.at + timedelta(seconds=self.sale.soft_close_s))
        result = BidResult(self.sale.id, self.seq, price, leader == who, self.closes_at)
        if bid.nonce:
            self.known[who, bid.nonce] = result
        return result

    def _refusal(self, who: UUID, bid: Bid) -> DomainError | None:
        if who == self.sale.host_id:
            return BidByHost()
        if self.sale.state != "open" or self.at >= self.sale.closes_at:
            return AuctionOver()
        if who in self.unwelcome:
            return NotWelcome()
        least = least_bid(self.sale.terms, self.standing, who)
        return BidTooLow(least, self.sale.currency) if bid.max_minor < least else None


async def _write(tx: Transaction, sale: Locked, book: _Book, at: datetime) -> None:
    seqs, bidders, maxima, prices, leaders, nonces = (list(column) for column in zip(*book.rows, strict=True))
    price, leader = book.standing.price_minor, book.standing.leader_id
    await tx.later(
        _BIDS, auction_id=sale.id, at=at, seqs=seqs, bidders=bidders, maxima=maxima, prices=prices, leaders=leaders, nonces=nonces
    )  # fmt: skip
    await tx.later(
        _LEAD, auction_id=sale.id, last_seq=book.seq, price_minor=price, leader_id=leader, closes_at=book.closes_at
    )
    data: dict[str, Any] = {
        "auction_id": str(sale.id), "price_minor": price, "least_minor": (price or 0) + sale.increment_minor, "currency": sale.currency,
        "bids": book.seq, "closes_at": book.closes_at.isoformat(), "now": at.isoformat(),
    }  # fmt: skip
    await service.note(tx, sale.stream_id, "bid", user_id=leader, data=data)


async def check_due(tx: Transaction, sale: Locked) -> timedelta | None:
    """Return how long an open auction goes on, None when its time is up; a closed one goes on for ever."""
    if sale.state != "open":
        return timedelta.max
    left: timedelta = sale.closes_at - await tx.value(_CLOCK)
    return left if left > timedelta(0) else None


async def winner_of(tx: Transaction, sale: Locked) -> Standing | None:
    """Read every bid again and return who won at which price, None where nobody bid enough. Raises `BidsDoNotAddUp`."""
    rows = await tx.all(_ROWS, auction_id=sale.id)
    try:
        standing = replay(sale.terms, ((r["bidder_id"], r["max_minor"]) for r in rows))
    except ValueError:
        raise BidsDoNotAddUp from None
    if (standing.leader_id, standing.price_minor, len(rows)) != (sale.leader_id, sale.price_minor, sale.last_seq):
        raise BidsDoNotAddUp
    is_enough = sale.reserve_minor is None or (standing.price_minor or 0) >= sale.reserve_minor
    return standing if standing.leader_id is not None and is_enough else None


async def close_auction(tx: Transaction, sale: Locked, winner: Standing | None, offer_id: UUID | None) -> None:
    """Close a locked auction; the winner's `offer_id` holds the goods."""
    await tx.run(_CLOSE, auction_id=sale.id, state="sold" if winner else "unsold", offer_id=offer_id)
    who = winner.leader_id if winner else None
    data = {"auction_id": str(sale.id), "price_minor": winner.price_minor if winner else None, "currency": sale.currency,
            "bids": sale.last_seq, "name": await tx.value(_NAME, user_id=who) if who else None}  # fmt: skip
    await service.note(tx, sale.stream_id, "hammer", user_id=who, data=data)
    await record(tx, AuctionClosed(sale.id, sale.stream_id, who, sale.last_seq), subject_id=sale.id)


async def cancel_auction(tx: Transaction, caller: Caller, auction_id: UUID) -> Locked:
    """Call an auction off on which nobody has bid. Raises `NotYourShow`, `AuctionOver`, `AuctionRunning` once there is a bid."""
    known = await queries.get_auction(tx, auction_id)
    await service.lock_own(tx, caller, known.stream_id)
    sale = await lock_auction(tx, auction_id)
    if sale.state != "open":
        raise AuctionOver
    if sale.last_seq:
        raise AuctionRunning
    await tx.run(_CLOSE, auction_id=sale.id, state="cancelled", offer_id=None)
    data = {"auction_id": str(sale.id), "price_minor": None, "bids": 0, "name": None, "currency": sale.currency}
    await service.note(tx, sale.stream_id, "hammer", data=data)
    return sale


async def check_no_auction(tx: Transaction, stream_id: UUID) -> None:
    """Raise `AuctionRunning` while one is open in a show."""
    found = await queries.latest_auction(tx, stream_id)
    if found is not None and found.state == "open":
        raise AuctionRunning

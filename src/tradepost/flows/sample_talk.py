"""The part of a sample in which people talk: live shows with what was said in them, conversations with offers.

Moments in the files are relative: a show is planned for so many minutes from now, or began so many ago. Runs as the owner, within
the transaction that loads the rest.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.database import Transaction
from tradepost.core.ids import uuid7
from tradepost.core.money import to_minor
from tradepost.messaging.types import about_key


class Names(NamedTuple):
    """Ids by the names that the files use, and the moment that they count from."""

    now: datetime
    people: Mapping[str, UUID]
    listings: Mapping[str, UUID]
    categories: Mapping[str, UUID]
    currency: str


class SamplePin(msgspec.Struct, frozen=True):
    """A listing of a show: shown from so many seconds on, None for not yet."""

    listing: str
    price: str | None = None
    from_s: int | None = None
    to_s: int | None = None


class SampleComment(msgspec.Struct, frozen=True):
    """What somebody said in a show, so many seconds into it."""

    by: str
    at_s: int
    body: str


class SampleShow(msgspec.Struct, frozen=True):
    """A line of shows.jsonl."""

    host: str
    title: str
    description: str
    category: str
    status: Literal["scheduled", "live", "ended"]
    minutes: int
    pins: tuple[SamplePin, ...]
    comments: tuple[SampleComment, ...] = ()
    lasted_minutes: int = 0
    video: str | None = None
    views: int = 0
    shares: int = 0
    most_viewers: int = 0
    liked_by: tuple[str, ...] = ()


class SampleMessage(msgspec.Struct, frozen=True):
    """What somebody wrote, or the price they proposed."""

    by: str
    minutes_ago: int
    body: str = ""
    offer: str | None = None
    status: Literal["pending", "countered", "rejected", "cancelled"] = "pending"


class SampleTalk(msgspec.Struct, frozen=True):
    """A line of talks.jsonl: a buyer and a listing's seller."""

    listing: str
    buyer: str
    messages: tuple[SampleMessage, ...]
    seen: bool = True


_STREAM = text("""
    INSERT INTO streams (id, host_id, title, description, category_id, status, scheduled_at, started_at, ended_at, stream_url,
                         recording_url, views, shares, most_viewers)
    VALUES (:id, :host, :title, :description, :category, :status, :at, CASE WHEN :status <> 'scheduled' THEN CAST(:at AS timestamptz) END,
            CASE WHEN :status = 'ended' THEN CAST(:until AS timestamptz) END, CAST(:video AS text),
            CASE WHEN :status = 'ended' THEN CAST(:video AS text) END, :views, :shares, :most)
""")
_PIN = text("""
    INSERT INTO stream_listings (stream_id, position, listing_id, variant_id, price_minor, currency, pinned_from, pinned_to)
    SELECT :stream, :position, :listing, v.id, :price, :currency, :from_at, :to_at FROM variants v
    WHERE v.listing_id = :listing ORDER BY v.position LIMIT 1
""")
_EVENT = text("""
    INSERT INTO stream_events (stream_id, seq, kind, user_id, body, data, at) VALUES (:stream, :seq, :kind, :who, :body, :data, :at)
""")
_TITLE = text("SELECT title, price_minor FROM listings WHERE id = :listing")
_LIKE = text("INSERT INTO stream_likes (stream_id, user_id) VALUES (:stream, :who)")
_TALK = text("""
    INSERT INTO conversations (id, people, started_by, listing_id, subject, about)
    SELECT :id, :people, :buyer, :listing, l.title, :about FROM listings l WHERE l.id = :listing
""")
_SELLER = text("""
    SELECT l.seller_id, v.id AS variant_id, v.sale_step FROM listings l JOIN variants v ON v.listing_id = l.id
    WHERE l.id = :listing ORDER BY v.position LIMIT 1
""")
_OFFER = text("""
    INSERT INTO offers (id, listing_id, variant_id, buyer_id, seller_id, by, amount_minor, currency, quantity, status, conversation_id,
                        expires_at, created_at)
    VALUES (:id, :listing, :variant, :buyer, :seller, :by, :amount, :currency, :quantity, :status, :talk,
            CAST(:at AS timestamptz) + interval '48 hours', :at)
""")
_MESSAGE = text("""
    INSERT INTO messages (conversation_id, seq, sender_id, kind, body, offer_id, at)
    VALUES (:talk, :seq, :who, :kind, :body, :offer, :at)
""")
_SEEN = text("UPDATE participants SET last_read_seq = last_seq, last_read_at = :at WHERE conversation_id = :talk")


async def load_shows(tx: Transaction, path: Path, names: Names) -> None:
    """Load shows.jsonl, where there is one."""
    for line in _lines(path):
        await _show(tx, msgspec.json.decode(line, type=SampleShow), names)


async def load_talks(tx: Transaction, path: Path, names: Names) -> None:
    """Load talks.jsonl, where there is one."""
    for line in _lines(path):
        await _talk(tx, msgspec.json.decode(line, type=SampleTalk), names)


def _lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines() if line.strip()] if path.exists() else []


async def _show(tx: Transaction, show: SampleShow, names: Names) -> None:
    stream_id, at = uuid7(), names.now + timedelta(minutes=show.minutes)
    host = names.people[show.host]
    await tx.run(
        _STREAM, id=stream_id, host=host, title=show.title, description=show.description, category=names.categories[show.category],
        status=show.status, at=at, until=at + timedelta(minutes=show.lasted_minutes), video=show.video, views=show.views,
        shares=show.shares, most=show.most_viewers,
    )  # fmt: skip
    happened: list[tuple[int, str, UUID | None, str, dict[str, object]]] = []
    if show.status != "scheduled":
        happened.append((0, "started", host, "", {}))
    for position, pin in enumerate(show.pins, 1):
        listing = names.listings[pin.listing]
        known = await tx.one(_TITLE, listing=listing)
        price = to_minor(pin.price, names.currency) if pin.price else None
        await tx.run(
            _PIN, stream=stream_id, position=position, listing=listing, price=price, currency=names.currency,
            from_at=None if pin.from_s is None else at + timedelta(seconds=pin.from_s),
            to_at=None if pin.to_s is None else at + timedelta(seconds=pin.to_s),
        )  # fmt: skip
        if pin.from_s is not None:
            data = {"position": position, "title": known["title"], "price_minor": price or known["price_minor"],
                    "currency": names.currency, "left": "1"}  # fmt: skip
            happened.append((pin.from_s, "pinned", host, "", data))
    happened += [(said.at_s, "comment", names.people[said.by], said.body, {}) for said in show.comments]
    if show.status == "ended":
        happened.append((show.lasted_minutes * 60, "ended", host, "", {}))
    for seq, (at_s, kind, who, body, data) in enumerate(sorted(happened, key=lambda row: row[0]), 1):
        moment = at + timedelta(seconds=at_s)
        await tx.run(_EVENT, stream=stream_id, seq=seq, kind=kind, who=who, body=body, data=data, at=moment)
    for name in show.liked_by:
        await tx.run(_LIKE, stream=stream_id, who=names.people[name])


async def _talk(tx: Transaction, talk: SampleTalk, names: Names) -> None:
    talk_id, listing, buyer = uuid7(), names.listings[talk.listing], names.people[talk.buyer]
    goods = await tx.one(_SELLER, listing=listing)
    people = sorted((buyer, goods["seller_id"]))
    about = about_key(people[0], people[1], listing_id=listing, order_id=None)
    await tx.run(_TALK, id=talk_id, people=people, buyer=buyer, listing=listing, about=about)
    for seq, said in enumerate(talk.messages, 1):
        at, who, offer_id = names.now - timedelta(minutes=said.minutes_ago), names.people[said.by], None
        if said.offer is not None:
            offer_id = uuid7()
            await tx.run(
                _OFFER, id=offer_id, listing=listing, variant=goods["variant_id"], buyer=buyer, seller=goods["seller_id"],
                by="buyer" if who == buyer else "seller", amount=to_minor(said.offer, names.currency), currency=names.currency,
                quantity=goods["sale_step"], status=said.status, talk=talk_id, at=at,
            )  # fmt: skip
        kind = "offer" if offer_id else "text"
        await tx.run(_MESSAGE, talk=talk_id, seq=seq, who=who, kind=kind, body=said.body, offer=offer_id, at=at)
    if talk.seen:
        await tx.run(_SEEN, talk=talk_id, at=names.now)

"""Every read of live shows. Shows, their lists and logs are public; the most somebody bids is read by the auction alone."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from tradepost.core.database import Database, Transaction
from tradepost.core.pages import LATEST, Moment, Page, from_cursor, page_of, page_size, to_cursor
from tradepost.streams.types import (
    Auction,
    Giveaway,
    Happening,
    NoSuchAuction,
    NoSuchGiveaway,
    NoSuchPin,
    NoSuchStream,
    Pin,
    PlacedBid,
    Stream,
)

FRESH_S = 20  # how long a process's count of viewers is believed
_VIEWERS = f"""
    (SELECT coalesce(sum(v.viewers), 0)::int FROM stream_viewers v
     WHERE v.stream_id = s.id AND v.seen_at > now() - interval '{FRESH_S} seconds')
"""
# Without a cover of its own a show has the picture of what is first on its list.
_COVER = """
    coalesce(s.thumbnail_file_id, (SELECT l.image_id FROM stream_listings p JOIN listings l ON l.id = p.listing_id
                                   WHERE p.stream_id = s.id ORDER BY p.position LIMIT 1))
"""
_STREAM = f"""
    SELECT s.id, s.host_id, CAST(u.username AS text) AS host_username, coalesce(u.business_name, u.display_name) AS host_name,
           u.avatar_file_id AS host_avatar_file_id, s.title, s.description, c.slug AS category_slug, c.name AS category_name,
           s.status, s.scheduled_at, s.started_at, s.ended_at, {_COVER} AS thumbnail_file_id, s.stream_url, s.recording_url, s.last_seq,
           s.views, s.likes, s.comments, s.shares, s.most_viewers, {_VIEWERS} AS viewers
    FROM streams s JOIN users u ON u.id = s.host_id JOIN categories c ON c.id = s.category_id
"""  # our own text
BY_ID = text(f"{_STREAM} WHERE s.id = :stream_id")
LOCKED = text("SELECT status FROM streams WHERE id = :stream_id FOR NO KEY UPDATE")
LIVE = text(f"""{_STREAM} WHERE s.status = 'live' AND u.is_active
    AND (CAST(:category AS text) IS NULL OR c.slug = :category OR c.path LIKE :category || '/%')
    ORDER BY s.id = ANY (SELECT f.id FROM streams f JOIN follows w ON w.followed_id = f.host_id
                         WHERE w.follower_id = :me AND f.status = 'live') DESC, s.most_viewers DESC, s.started_at DESC, s.id LIMIT :limit""")
COMING = text(f"""{_STREAM} WHERE s.status = 'scheduled' AND u.is_active AND s.scheduled_at > now() - interval '6 hours'
    AND (CAST(:category AS text) IS NULL OR c.slug = :category OR c.path LIKE :category || '/%')
    ORDER BY s.scheduled_at, s.id LIMIT :limit""")
OVER = text(f"""{_STREAM} WHERE s.status = 'ended' AND s.started_at IS NOT NULL AND u.is_active
    AND (CAST(:category AS text) IS NULL OR c.slug = :category OR c.path LIKE :category || '/%')
    AND (s.scheduled_at, s.id) < (CAST(:before_at AS timestamptz), CAST(:before_id AS uuid))
    ORDER BY s.scheduled_at DESC, s.id DESC LIMIT :limit""")
OF_HOST = text(f"""{_STREAM} WHERE s.host_id = :host_id AND (:own OR s.status <> 'ended' OR s.started_at IS NOT NULL)
    AND (s.scheduled_at, s.id) < (CAST(:before_at AS timestamptz), CAST(:before_id AS uuid))
    ORDER BY s.scheduled_at DESC, s.id DESC LIMIT :limit""")
PINS = text("""
    SELECT p.stream_id, p.position, p.listing_id, p.variant_id, l.slug, l.title, l.image_id, l.status, price.amount_minor AS own_minor,
           p.price_minor AS live_minor, p.currency, greatest(v.on_hand - v.reserved, 0) AS left, v.sale_step, p.pinned_from, p.pinned_to,
           CAST(extract(epoch FROM p.pinned_from - s.started_at) AS float8) AS at_s,
           (SELECT a.id FROM auctions a WHERE a.stream_id = p.stream_id AND a.position = p.position AND a.state = 'open') AS auction_id
    FROM stream_listings p JOIN streams s ON s.id = p.stream_id JOIN listings l ON l.id = p.listing_id
    JOIN variants v ON v.id = p.variant_id
    LEFT JOIN LATERAL (SELECT amount_minor FROM prices WHERE variant_id = v.id AND currency = p.currency AND valid_from <= now()
                       AND (valid_to IS NULL OR valid_to > now()) LIMIT 1) price ON true
    WHERE p.stream_id = :stream_id AND (CAST(:position AS int) IS NULL OR p.position = :position)
    ORDER BY p.pinned_to IS NULL DESC, p.pinned_from DESC NULLS LAST, p.position
""")
HAPPENING = """
    e.seq, e.kind, e.user_id, u.display_name AS name, CAST(u.username AS text) AS username, u.avatar_file_id, e.body, e.data, e.at,
    CAST(extract(epoch FROM e.at - s.started_at) AS float8) AS at_s, e.removed_at IS NOT NULL AS is_removed
"""
_LOG = f"""
    SELECT {HAPPENING} FROM stream_events e JOIN streams s ON s.id = e.stream_id LEFT JOIN users u ON u.id = e.user_id
"""
AFTER = text(f"{_LOG} WHERE e.stream_id = :stream_id AND e.seq > :seq ORDER BY e.seq LIMIT :limit")
BEFORE = text(f"{_LOG} WHERE e.stream_id = :stream_id AND e.seq < :seq ORDER BY e.seq DESC LIMIT :limit")
ONE = text(f"{_LOG} WHERE e.stream_id = :stream_id AND e.seq = :seq")
BY_NONCE = text(f"{_LOG} WHERE e.stream_id = :stream_id AND e.user_id = :user_id AND e.nonce = :nonce")
LAST_SEQ = text("SELECT last_seq FROM streams WHERE id = :stream_id")
COUNTS = text(f"SELECT s.likes, s.shares, s.comments, {_VIEWERS} AS viewers FROM streams s WHERE s.id = :stream_id")
_IS_MUTED = """
    EXISTS (SELECT FROM stream_mutes WHERE stream_id = :stream_id AND user_id = :user_id)
    OR EXISTS (SELECT FROM blocks b JOIN streams s ON s.id = :stream_id
               WHERE (b.user_id = s.host_id AND b.blocked_id = :user_id) OR (b.user_id = :user_id AND b.blocked_id = s.host_id))
"""
IS_MUTED = text(f"SELECT {_IS_MUTED}")  # our own text
MAY_SAY = text(f"SELECT status, {_IS_MUTED} AS is_muted FROM streams WHERE id = :stream_id")  # our own text
MINE = text("""
    SELECT EXISTS (SELECT FROM stream_likes WHERE stream_id = :stream_id AND user_id = :me) AS likes,
           EXISTS (SELECT FROM giveaway_entries e JOIN giveaways g ON g.id = e.giveaway_id
                   WHERE g.stream_id = :stream_id AND g.state = 'open' AND e.user_id = :me) AS takes_part
""")
_AUCTION = """
    SELECT a.id, a.stream_id, a.position, a.listing_id, a.variant_id, a.host_id, a.currency, a.quantity, a.starts_minor,
           a.increment_minor, a.soft_close_s, a.opens_at, a.closes_at, a.closed_at, a.state, a.last_seq, a.price_minor, a.leader_id,
           u.display_name AS leader_name, a.offer_id, l.title, l.image_id, clock_timestamp() AS now
    FROM auctions a JOIN listings l ON l.id = a.listing_id LEFT JOIN users u ON u.id = a.leader_id
"""
AUCTION = text(f"{_AUCTION} WHERE a.id = :auction_id")
AUCTION_NOW = text(
    f"""{_AUCTION} WHERE a.stream_id = :stream_id ORDER BY a.state = 'open' DESC, a.opens_at DESC LIMIT 1"""
)
AUCTIONS = text(f"{_AUCTION} WHERE a.stream_id = :stream_id ORDER BY a.opens_at DESC")
BIDS = text("""
    SELECT b.seq, u.display_name AS bidder_name, b.price_minor, l.display_name AS leader_name, b.at
    FROM bids b JOIN users u ON u.id = b.bidder_id JOIN users l ON l.id = b.leader_id
    WHERE b.auction_id = :auction_id AND b.seq > :seq ORDER BY b.seq LIMIT :limit
""")
DUE = text(
    "SELECT id FROM auctions WHERE state = 'open' AND closes_at <= clock_timestamp() ORDER BY closes_at LIMIT 100"
)
_GIVEAWAY = """
    SELECT g.id, g.stream_id, g.prize, encode(g.commitment, 'hex') AS commitment, g.state, g.entries, g.drawn_at,
           encode(g.seed, 'hex') AS seed, g.winner_no, g.winner_id, u.display_name AS winner_name, g.created_at
    FROM giveaways g LEFT JOIN users u ON u.id = g.winner_id
"""
GIVEAWAY = text(f"{_GIVEAWAY} WHERE g.id = :giveaway_id")
GIVEAWAYS = text(f"{_GIVEAWAY} WHERE g.stream_id = :stream_id ORDER BY g.id DESC")
ENTRANTS = text("""
    SELECT e.user_id, u.display_name FROM giveaway_entries e JOIN users u ON u.id = e.user_id
    WHERE e.giveaway_id = :giveaway_id ORDER BY e.entry_no
""")


async def get_stream(tx: Transaction, stream_id: UUID) -> Stream:
    """Return a show. Raises `NoSuchStream`."""
    found = await tx.maybe(BY_ID, into=Stream, stream_id=stream_id)
    if found is None:
        raise NoSuchStream
    return found


async def list_live(db: Database, me: UUID | None = None, category: str | None = None, limit: int = 50) -> list[Stream]:
    """Return shows that are live, first those of people whom `me` follows, then by how many watch."""
    return await db.read(LIVE, into=Stream, me=me, category=category, limit=limit)


async def list_coming(db: Database, category: str | None = None, limit: int = 50) -> list[Stream]:
    """Return planned shows, the next first; one that is six hours late is not coming."""
    return await db.read(COMING, into=Stream, category=category, limit=limit)


async def list_over(
    db: Database, category: str | None = None, *, after: str | None = None, limit: int = 24
) -> Page[Stream]:
    """Return shows that were, the latest first. Raises `NoSuchPage`."""
    size = page_size(limit)
    at, key = _place(after)
    rows = await db.read(OVER, into=Stream, category=category, before_at=at, before_id=key, limit=size + 1)
    return page_of(rows, size, lambda last: to_cursor(last.scheduled_at, last.id))


async def list_of_host(
    db: Database, host_id: UUID, *, own: bool = False, after: str | None = None, limit: int = 24
) -> Page[Stream]:
    """Return somebody's shows, the latest first; those that were called off only to themselves. Raises `NoSuchPage`."""
    size = page_size(limit)
    at, key = _place(after)
    rows = await db.read(OF_HOST, into=Stream, host_id=host_id, own=own, before_at=at, before_id=key, limit=size + 1)
    return page_of(rows, size, lambda last: to_cursor(last.scheduled_at, last.id))


def _place(after: str | None) -> tuple[datetime, UUID]:
    return LATEST if after is None else from_cursor(after, Moment, UUID)


async def list_pins(tx: Transaction, stream_id: UUID) -> list[Pin]:
    """Return a show's list: what is shown first, the latest pin on top, then what is to come, then what was."""
    return await tx.all(PINS, into=Pin, stream_id=stream_id, position=None)


async def get_pin(tx: Transaction, stream_id: UUID, position: int) -> Pin:
    """Return one listing of a show's list. Raises `NoSuchPin`."""
    found = await tx.maybe(PINS, into=Pin, stream_id=stream_id, position=position)
    if found is None:
        raise NoSuchPin
    return found


async def events_after(tx: Transaction, stream_id: UUID, seq: int, limit: int = 500) -> list[Happening]:
    """Return what happened in a show after number `seq`, in order."""
    return await tx.all(AFTER, into=Happening, stream_id=stream_id, seq=seq, limit=limit)


async def latest_events(
    tx: Transaction, stream_id: UUID, *, before: int = 2**31 - 1, limit: int = 60
) -> list[Happening]:
    """Return the last of what happened in a show before a number, in order."""
    rows = await tx.all(BEFORE, into=Happening, stream_id=stream_id, seq=before, limit=limit)
    return rows[::-1]


async def last_seq(tx: Transaction, stream_id: UUID) -> int:
    """Return the number of the last thing that happened in a show."""
    return int(await tx.value(LAST_SEQ, stream_id=stream_id) or 0)


async def counts_of(tx: Transaction, stream_id: UUID) -> dict[str, int]:
    """Return likes, shares, comments and present viewers of a show."""
    return dict(await tx.one(COUNTS, stream_id=stream_id))


async def get_auction(tx: Transaction, auction_id: UUID) -> Auction:
    """Return an auction. Raises `NoSuchAuction`."""
    found = await tx.maybe(AUCTION, into=Auction, auction_id=auction_id)
    if found is None:
        raise NoSuchAuction
    return found


async def latest_auction(tx: Transaction, stream_id: UUID) -> Auction | None:
    """Return the auction that runs in a show, or the last one that did."""
    return await tx.maybe(AUCTION_NOW, into=Auction, stream_id=stream_id)


async def list_bids(tx: Transaction, auction_id: UUID, after: int = 0, limit: int = 500) -> list[PlacedBid]:
    """Return an auction's bids in their order; `tx` is the system's."""
    return await tx.all(BIDS, into=PlacedBid, auction_id=auction_id, seq=after, limit=limit)


async def get_giveaway(tx: Transaction, giveaway_id: UUID) -> Giveaway:
    """Return a giveaway. Raises `NoSuchGiveaway`."""
    found = await tx.maybe(GIVEAWAY, into=Giveaway, giveaway_id=giveaway_id)
    if found is None:
        raise NoSuchGiveaway
    return found


async def list_giveaways(tx: Transaction, stream_id: UUID) -> list[Giveaway]:
    """Return a show's giveaways, the latest first."""
    return await tx.all(GIVEAWAYS, into=Giveaway, stream_id=stream_id)


async def list_entrants(tx: Transaction, giveaway_id: UUID) -> Sequence[tuple[UUID, str]]:
    """Return who takes part in a giveaway, in the order of their numbers."""
    return [(row["user_id"], row["display_name"]) for row in await tx.all(ENTRANTS, giveaway_id=giveaway_id)]

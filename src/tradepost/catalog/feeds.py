"""The two feeds: Discover, everybody's; Community, of people near by and people one follows.

A feed is walked in stretches of the newest listings before a moment that the first page fixes. Within a stretch listings are ranked
by freshness, by what the reader saves, by whom they follow and by distance; a stretch is shown whole before the next one begins. All
that the order depends on is as it was at that moment, so that pages neither repeat nor leave out a listing while new ones arrive.
A page is one statement, whose cost does not grow with the catalogue: it looks at no more than `_SCAN` rows.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta
from sqlalchemy import Boolean, Double, Integer, String, bindparam, column, select, text
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from tradepost.catalog.queries import CARD_TABLES, card_columns
from tradepost.catalog.tables import listings
from tradepost.catalog.types import ListingCard
from tradepost.core.clock import now
from tradepost.core.columns import Timestamp
from tradepost.core.database import Transaction
from tradepost.core.pages import LATEST, Moment, NoSuchPage, from_cursor, page_size, to_cursor

STRETCH: Final = 240
NEAR_M: Final = 25_000
_SCAN: Final = 10_000
_DAY: Final = 86_400
Why = Literal["follows", "likes", "near", "new"]
Degrees = Annotated[float, Meta(ge=-180, le=180)] | None
# A follow is worth four days of freshness, a category one saves from a day and a half, the neighbourhood two, the town one.
_STRETCH = text(f"""
    WITH me AS (
        SELECT ARRAY(SELECT followed_id FROM follows WHERE follower_id = :me AND created_at <= :as_of) AS follows,
               ARRAY(SELECT c.category_id FROM (
                   SELECT l.category_id, count(*) AS n FROM wishlists w JOIN listings l ON l.id = w.listing_id
                   WHERE w.user_id = :me AND w.created_at <= :as_of GROUP BY 1 ORDER BY n DESC, 1 LIMIT 3) c) AS likes,
               ARRAY(SELECT blocked_id FROM blocks WHERE user_id = :me) AS blocked,
               coalesce(CAST(:lat AS float8), (SELECT round(geo_lat(location)::numeric, 2)::float8 FROM users WHERE id = :me)) AS lat,
               coalesce(CAST(:lon AS float8), (SELECT round(geo_lon(location)::numeric, 2)::float8 FROM users WHERE id = :me)) AS lon
    ), scanned AS (
        SELECT l.id, l.published_at, l.seller_id, l.category_id, l.location FROM listings l
        WHERE l.status = 'active' AND l.feed = :feed AND (l.published_at, l.id) < (:start_at, :start_id)
        ORDER BY l.published_at DESC, l.id DESC LIMIT :scan
    ), stretch AS (
        SELECT s.id, s.published_at, s.seller_id = ANY (me.follows) AS followed, s.category_id = ANY (me.likes) AS liked,
               geo_distance_m(s.location, me.lat, me.lon) AS metres
        FROM scanned s CROSS JOIN me
        WHERE s.seller_id <> ALL (me.blocked)
          AND (:everybody OR s.seller_id = ANY (me.follows) OR geo_distance_m(s.location, me.lat, me.lon) < {NEAR_M}
               OR (me.lat IS NULL AND me.follows = '{{}}'))
        ORDER BY s.published_at DESC, s.id DESC LIMIT {STRETCH}
    ), ranked AS (
        SELECT id, followed, liked, metres, extract(epoch FROM published_at)::float8 + CASE WHEN followed THEN 4 ELSE 0 END * {_DAY}
               + CASE WHEN liked THEN 1.5 ELSE 0 END * {_DAY} + CASE WHEN metres < 5000 THEN 2 WHEN metres < {NEAR_M} THEN 1 ELSE 0 END * {_DAY} AS score
        FROM stretch
    ), bounds AS (
        SELECT CASE WHEN (SELECT count(*) FROM stretch) = {STRETCH} THEN (SELECT jsonb_build_array(published_at, id) FROM stretch ORDER BY published_at, id LIMIT 1)
                    WHEN (SELECT count(*) FROM scanned) = :scan THEN (SELECT jsonb_build_array(published_at, id) FROM scanned ORDER BY published_at, id LIMIT 1)
               END AS next_start
    )
    SELECT b.next_start, me.lat, me.lon, p.id AS listing_id, p.score, p.followed, p.liked, p.metres,
           EXISTS (SELECT FROM wishlists w WHERE w.user_id = :me AND w.listing_id = p.id) AS is_saved
    FROM bounds b CROSS JOIN me LEFT JOIN LATERAL (
        SELECT * FROM ranked WHERE (score, id) < (:score, :key) ORDER BY score DESC, id DESC LIMIT :limit
    ) p ON true
""").bindparams(
    bindparam("me", type_=PG_UUID), bindparam("as_of", type_=Timestamp), bindparam("feed", type_=String),
    bindparam("start_at", type_=Timestamp), bindparam("start_id", type_=PG_UUID), bindparam("scan", type_=Integer),
    bindparam("lat", type_=Double), bindparam("lon", type_=Double), bindparam("everybody", type_=Boolean),
    bindparam("score", type_=Double), bindparam("key", type_=PG_UUID), bindparam("limit", type_=Integer),
)  # fmt: skip
_found = _STRETCH.columns(
    column("next_start"), column("lat", Double), column("lon", Double), column("listing_id", PG_UUID), column("score", Double), column("followed", Boolean), column("liked", Boolean),
    column("metres", Double), column("is_saved", Boolean),
).cte("found")  # fmt: skip
_FEED = (
    select(
        *card_columns(distance=False), _found.c.next_start, _found.c.lat, _found.c.lon, _found.c.listing_id, _found.c.score,
        _found.c.followed, _found.c.liked, _found.c.metres, _found.c.is_saved,
    )
    .select_from(_found.outerjoin(CARD_TABLES, listings.c.id == _found.c.listing_id))
    .order_by(_found.c.score.desc(), _found.c.listing_id.desc())
)  # fmt: skip
_FIRST = (float("inf"), LATEST[1])


class FeedItem(msgspec.Struct, frozen=True):
    """A listing of a feed and why it stands where it does."""

    card: ListingCard
    why: Why
    is_saved: bool

    @property
    def id(self) -> UUID:
        """The listing."""
        return self.card.id


class FeedPage(msgspec.Struct, frozen=True):
    """Some listings of a feed; `after` goes on even where this page is short: far away there may be more."""

    items: tuple[FeedItem, ...]
    after: str | None


class _Place(msgspec.Struct, frozen=True):
    """Where a page begins: its moment, its stretch, the last one shown of it, and where the reader was then."""

    as_of: datetime
    start_at: datetime
    start_id: UUID
    score: float
    key: UUID
    lat: float | None
    lon: float | None


def _place(after: str | None, near: tuple[float, float] | None) -> _Place:
    if after is None:
        moment = now()
        lat, lon = near or (None, None)
        return _Place(moment, moment, LATEST[1], *_FIRST, lat, lon)
    as_of, start_at, start_id, score, key, lat, lon = from_cursor(
        after, Moment, Moment, UUID, float | None, UUID, Degrees, Degrees
    )
    if (lat is None) != (lon is None) or (lat is not None and not -90 <= lat <= 90):
        raise NoSuchPage
    try:
        return _Place(
            as_of.astimezone(UTC),
            start_at.astimezone(UTC),
            start_id,
            _FIRST[0] if score is None else score,
            key,
            lat,
            lon,
        )
    except OverflowError:
        raise NoSuchPage from None


async def read_feed(
    tx: Transaction, feed: str, me: UUID | None, *, near: tuple[float, float] | None = None, is_local: bool = False,
    after: str | None = None, limit: int = 24,
) -> FeedPage:  # fmt: skip
    """Return a page of a feed in one query.

    `near`: where the reader is; where they live, rounded, unless they say. `is_local`: only of people near by or followed, where
    either is known. Raises `NoSuchPage`.
    """
    place, size = _place(after, near), page_size(limit)
    rows = await tx.all(
        _FEED, me=me, as_of=place.as_of, feed=feed, start_at=place.start_at, start_id=place.start_id,
        scan=_SCAN if is_local else STRETCH, lat=place.lat, lon=place.lon, everybody=not is_local, score=place.score, key=place.key,
        limit=size + 1,
    )  # fmt: skip
    here = msgspec.structs.replace(place, lat=rows[0]["lat"], lon=rows[0]["lon"])
    shown = [row for row in rows if row["listing_id"] is not None]
    return FeedPage(tuple(_item(row) for row in shown[:size]), _after(here, shown, rows[0]["next_start"], size))


_CARD = ListingCard.__struct_fields__[:-1]


def _item(row: Any) -> FeedItem:
    metres = row["metres"]
    card = ListingCard(*(metres if name == "distance_m" else row[name] for name in _CARD))
    is_near = metres is not None and metres < NEAR_M
    why: Why = "follows" if row["followed"] else "likes" if row["liked"] else "near" if is_near else "new"
    return FeedItem(card, why, bool(row["is_saved"]))


def _after(place: _Place, shown: list[Any], next_start: list[str] | None, size: int) -> str | None:
    """Go on within this stretch while it lasts, then with the next one."""
    if len(shown) > size:
        last = shown[size - 1]
        return to_cursor(
            place.as_of, place.start_at, place.start_id, last["score"], last["listing_id"], place.lat, place.lon
        )
    if next_start is None:
        return None
    start_at, start_id = datetime.fromisoformat(next_start[0]), next_start[1]
    return to_cursor(place.as_of, start_at, start_id, None, LATEST[1], place.lat, place.lon)

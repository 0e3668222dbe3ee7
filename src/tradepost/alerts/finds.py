"""What a person's alerts found: an inbox of matches, read and saved, and what an alert would have found lately."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.accounts.types import PROFILE_SCOPE, Caller
from tradepost.alerts.compiling import lex, row_of
from tradepost.alerts.criteria import Criteria, Offered, needs_of
from tradepost.alerts.filing import Filed, wants_of
from tradepost.alerts.matching import FACTS, FITS
from tradepost.alerts.types import NoSuchMatch
from tradepost.core.database import Transaction
from tradepost.core.ids import short_id
from tradepost.core.pages import Page, newest_first, page_of, page_size, to_cursor

LOOKED_AT: Final = 5_000
"""How many of the newest listings a preview looks at."""
PREVIEW_DAYS: Final = 7


class FoundListing(msgspec.Struct, frozen=True, kw_only=True):
    """A match as its person sees it. `price_minor`: what the listing cost when it was found, `now_minor` what it costs now."""

    alert_id: UUID
    alert_name: str
    listing_id: UUID
    title: str
    slug: str
    image_id: UUID | None
    reason: str
    price_minor: int | None
    price_before: int | None
    now_minor: int | None
    currency: str | None
    is_gone: bool
    source_name: str | None
    matched_at: datetime
    notified_at: datetime | None
    is_read: bool
    is_saved: bool
    path: str = ""


class Preview(msgspec.Struct, frozen=True):
    """What an alert would have found among the newest listings: how many, whether there are more, and the newest of them."""

    count: int
    is_more: bool
    titles: tuple[str, ...]
    paths: tuple[str, ...]


_LIST = text("""
    SELECT m.alert_id, a.name AS alert_name, m.listing_id, l.title, l.slug, l.image_id, m.reason, m.price_minor, m.price_before,
           l.price_minor AS now_minor, m.currency, l.status <> 'active' AS is_gone, s.name AS source_name, m.matched_at, m.notified_at,
           m.is_read, m.is_saved
    FROM alert_matches m JOIN alerts a ON a.id = m.alert_id AND a.removed_at IS NULL JOIN listings l ON l.id = m.listing_id
    LEFT JOIN sources s ON s.id = l.source_id
    WHERE m.user_id = :me AND (m.matched_at, m.listing_id) < (CAST(:before_at AS timestamptz), CAST(:before_id AS uuid))
      AND (CAST(:alert_id AS uuid) IS NULL OR m.alert_id = CAST(:alert_id AS uuid)) AND (NOT :only_saved OR m.is_saved)
      AND (NOT :only_unread OR NOT m.is_read)
    ORDER BY m.matched_at DESC, m.listing_id DESC LIMIT :limit
""")
_MARK = text("""
    UPDATE alert_matches SET is_saved = coalesce(CAST(:is_saved AS boolean), is_saved), is_read = coalesce(CAST(:is_read AS boolean), is_read)
    WHERE alert_id = :alert_id AND listing_id = :listing_id AND user_id = :me
""")
_READ_ALL = text("""
    UPDATE alert_matches SET is_read = true
    WHERE user_id = :me AND NOT is_read AND (CAST(:alert_id AS uuid) IS NULL OR alert_id = CAST(:alert_id AS uuid))
""")
_UNREAD = text(
    "SELECT alert_id, count(*) AS unread FROM alert_matches WHERE user_id = :me AND NOT is_read GROUP BY alert_id"
)
_NEWEST = text("""
    SELECT listing_id FROM search_documents WHERE published_at > now() - make_interval(days => :days)
    ORDER BY published_at DESC, listing_id DESC LIMIT :most
""")
_WOULD = text(f"""
    WITH {FACTS}, asked AS (
        SELECT a.user_id, CAST(a.wants AS tsquery) AS wants, a.min_minor, a.max_minor, CAST(a.currency AS char(3)) AS currency, a.lat, a.lon,
               a.radius_m, a.ranges, a.is_verified, a.max_age_days, a.drop_minor, a.drop_percent
        FROM jsonb_to_record(CAST(:row AS jsonb)) AS a(user_id uuid, wants text, min_minor bigint, max_minor bigint, currency text,
            lat float8, lon float8, radius_m float8, ranges jsonb, is_verified boolean, max_age_days int, drop_minor bigint,
            drop_percent int)
    )
    SELECT l.title, l.slug, l.id, count(*) OVER () AS count FROM facts f JOIN asked x ON {FITS} JOIN listings l ON l.id = f.listing_id
    ORDER BY f.published_at DESC, l.id DESC LIMIT 5
""")  # parts of one statement, written in alerts/matching


async def list_finds(
    tx: Transaction, caller: Caller, *, alert_id: UUID | None = None, only_saved: bool = False, only_unread: bool = False,
    after: str | None = None, limit: int = 24,
) -> Page[FoundListing]:  # fmt: skip
    """Return what the caller's alerts found, the latest first. Raises `SignInFirst`, `NoSuchPage`."""
    size = page_size(limit)
    at, key = newest_first(after)
    rows = await tx.all(
        _LIST, me=caller.check_signed_in(), alert_id=alert_id, only_saved=only_saved, only_unread=only_unread, before_at=at,
        before_id=key, limit=size + 1,
    )  # fmt: skip
    found = [FoundListing(**dict(row), path=_path(row["slug"], row["listing_id"])) for row in rows]
    return page_of(found, size, lambda last: to_cursor(last.matched_at, last.listing_id))


def _path(slug: str, listing_id: UUID) -> str:
    return f"/l/{slug}-{short_id(listing_id)}"


async def mark_find(
    tx: Transaction, caller: Caller, alert_id: UUID, listing_id: UUID, *, is_saved: bool | None = None, is_read: bool | None = None
) -> None:  # fmt: skip
    """Save a find or not, note it as read or not. Raises `NoSuchMatch`, `SignInFirst`, `NotAllowed`."""
    me = caller.check_scope(PROFILE_SCOPE)
    if not await tx.run(_MARK, alert_id=alert_id, listing_id=listing_id, me=me, is_saved=is_saved, is_read=is_read):
        raise NoSuchMatch


async def read_finds(tx: Transaction, caller: Caller, alert_id: UUID | None = None) -> int:
    """Note all finds as read, or those of one alert; return how many were not. Raises `SignInFirst`, `NotAllowed`."""
    return await tx.run(_READ_ALL, me=caller.check_scope(PROFILE_SCOPE), alert_id=alert_id)


async def count_unread(tx: Transaction, caller: Caller) -> dict[UUID, int]:
    """Return how many finds of each alert the caller has not read. Raises `SignInFirst`."""
    return {row["alert_id"]: row["unread"] for row in await tx.all(_UNREAD, me=caller.check_signed_in())}


async def would_match(tx: Transaction, caller: Caller, asked: Criteria, offered: Offered) -> Preview:
    """Return what an alert would have found in the last week, had each listing been new then; drops and returns are not known.

    Looks at the 5,000 newest. `is_more`: there were more listings than that.
    """
    needs = needs_of(asked, offered)
    plain = msgspec.structs.replace(
        needs, drop_minor=None, drop_percent=None, any_of=tuple(g for g in needs.any_of if not g[0].startswith("=~"))
    )
    lexed = await lex(tx, (*plain.words, *plain.without), plain.phrases)
    row = row_of(UUID(int=0), caller.user_id or UUID(int=0), plain, Filed((), frozenset(), wants_of(plain, lexed), 1.0))
    ids: Sequence[UUID] = await tx.values(_NEWEST, days=PREVIEW_DAYS, most=LOOKED_AT)
    nothing: list[Any] = [None] * len(ids)
    rows = await tx.all(_WOULD, row=row, ids=ids, news=[True] * len(ids), befores=nothing, stocks=[False] * len(ids))
    return Preview(
        rows[0]["count"] if rows else 0, len(ids) == LOOKED_AT, tuple(r["title"] for r in rows),
        tuple(_path(r["slug"], r["id"]) for r in rows),
    )  # fmt: skip

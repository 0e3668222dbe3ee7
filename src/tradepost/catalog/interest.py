"""What is popular, from what people do; and summaries of listings whose prices or stock change by the clock.

Interest in a listing is points: one for a view, ten for a like, five for putting it in a cart, thirty for an order; half of it is
gone after thirty days. Popularity, which orders lists and counts a little in searches, is the logarithm of it, so ten times the
interest is one step and nobody gains much by looking at their own goods again and again.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text

from tradepost.core.database import Transaction

HALVED_AFTER_DAYS: Final = 30.0
CARTED: Final = 5
ORDERED: Final = 30
_NOTICED: Final = 0.05  # a smaller change of popularity moves nothing that anybody sees

# A like taken back costs no interest: what was noted stays noted.
_TAKE_IN = text("""
    UPDATE listing_stats s SET
        interest = n.interest, interest_at = now(), noted = greatest(s.noted, s.views + 10 * s.likes)
    FROM (
        SELECT o.listing_id, o.interest * power(0.5, extract(epoch FROM now() - o.interest_at)::float8 / (86400 * CAST(:halved AS float8)))
                   + greatest(o.views + 10 * o.likes - o.noted, 0) + coalesce(g.points, 0) AS interest
        FROM listing_stats o
        LEFT JOIN unnest(CAST(:ids AS uuid[]), CAST(:points AS int[])) AS g(listing_id, points) ON g.listing_id = o.listing_id
        WHERE o.views + 10 * o.likes > o.noted OR g.points > 0
    ) n
    WHERE n.listing_id = s.listing_id
""")
_FOLLOW = text("""
    UPDATE listings l SET popularity = n.popularity
    FROM (
        SELECT c.id, c.popularity FROM (
            SELECT s.listing_id AS id, ln(1 + s.interest * power(
                0.5, extract(epoch FROM now() - s.interest_at)::float8 / (86400 * CAST(:halved AS float8))))::real AS popularity
            FROM listing_stats s WHERE s.interest > 0) c
        JOIN listings o ON o.id = c.id AND abs(o.popularity - c.popularity) > CAST(:noticed AS float8)
        ORDER BY c.id LIMIT :limit
    ) n
    WHERE l.id = n.id
""")
_DUE = text("""
    SELECT DISTINCT v.listing_id FROM variants v WHERE v.id IN (
        SELECT p.variant_id FROM prices p WHERE p.valid_from > :since AND p.valid_from <= now()
        UNION SELECT p.variant_id FROM prices p WHERE p.valid_to > :since AND p.valid_to <= now()
        UNION SELECT b.id FROM variants b WHERE b.backorder_until > :since AND b.backorder_until <= now())
    ORDER BY v.listing_id
""")
_REFRESH = text("SELECT refresh_listing_summaries(CAST(:ids AS uuid[]))")


async def take_in_interest(tx: Transaction, points: Mapping[UUID, int]) -> int:
    """Add these points, and the views and likes that are new, to the listings' interest; return how many listings had any."""
    return await tx.run(_TAKE_IN, ids=list(points), points=list(points.values()), halved=HALVED_AFTER_DAYS)


async def follow_interest(tx: Transaction, limit: int) -> int:
    """Bring the popularity of up to `limit` listings in line with their interest; return how many were not.

    Listings that nobody has looked at keep what they came with.
    """
    return await tx.run(_FOLLOW, halved=HALVED_AFTER_DAYS, noticed=_NOTICED, limit=limit)


async def list_due(tx: Transaction, since: datetime) -> list[UUID]:
    """Return the listings with a price that began or ended, or a back-order that ended, after `since` and by now."""
    return await tx.values(_DUE, since=since)


async def refresh_summaries(tx: Transaction, listing_ids: list[UUID]) -> None:
    """Work out anew what cards show of these listings' prices and stock; what stays the same is not written."""
    await tx.value(_REFRESH, ids=listing_ids)

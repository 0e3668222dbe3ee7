"""Counting what people did, for the distinctions they get: from orders, reviews and verifications, once a night."""

from typing import Final

from sqlalchemy import text

from tradepost.accounts.badges import set_badge
from tradepost.core.database import SYSTEM
from tradepost.flows.store import Store

_SOLD = """
    SELECT seller_id FROM fulfilments WHERE handed_over_at IS NOT NULL GROUP BY seller_id HAVING count(*) >= {}
"""
EARNED: Final = {
    "verified": text("""
        SELECT DISTINCT v.user_id FROM verifications v JOIN users u ON u.id = v.user_id
        WHERE v.status = 'verified' AND v.kind IN ('government_id', 'business') AND u.is_active
    """),
    "top_rated": text("""
        SELECT seller_id FROM listings WHERE seller_id IS NOT NULL AND status <> 'removed' GROUP BY seller_id
        HAVING sum(rating_count) >= 10 AND sum(rating_sum) >= 4.5 * sum(rating_count)
    """),
    "quick": text("""
        SELECT seller_id FROM fulfilments WHERE opened_at > now() - interval '180 days' AND shipped_at IS NOT NULL GROUP BY seller_id
        HAVING count(*) >= 10 AND avg(CASE WHEN shipped_at <= opened_at + interval '2 days' THEN 1.0 ELSE 0.0 END) >= 0.9
    """),
    "regular": text(_SOLD.format(50)),
    "first_sale": text(_SOLD.format(1)),
    "long_here": text("SELECT id FROM users WHERE is_active AND created_at <= now() - interval '2 years'"),
}
"""Badge → the statement that returns everybody who has earned it."""


async def refresh_badges(store: Store) -> dict[str, tuple[int, int]]:
    """Give each distinction to those who have earned it and take it from the others; return how many got and lost each."""
    changed = {}
    for badge, statement in EARNED.items():
        async with store.db.transaction(actor=SYSTEM) as tx:
            changed[badge] = await set_badge(tx, badge, await tx.values(statement))
    return changed

"""Finding the alerts that new and changed listings are for, and writing down what was found.

`claim_waiting`, `find_matches` and `record_matches` belong into one transaction of the system's: what waits is forgotten exactly when
what was found is written. Two matchers at once share what waits. Cost grows with what matches, not with the number of alerts: each is
filed under the rarest term it requires (alerts/filing) and found by the terms of a listing, then the rest of it is checked.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.database import Transaction

MOST_AT_ONCE: Final = 1_000
"""How many matches of one listing are written by the job that finds them; the rest is another's, so that nobody waits for it."""
CLAIMED: Final = 200
_PAGE: Final = 5_000


class Change(msgspec.Struct, frozen=True):
    """A listing that is new or changed: what it cost before, and whether it was to be had."""

    listing_id: UUID
    is_new: bool
    price_before: int | None
    was_in_stock: bool


class Pair(msgspec.Struct, frozen=True):
    """An alert and a listing that fits it."""

    listing_id: UUID
    alert_id: UUID


class Match(msgspec.Struct, frozen=True):
    """What an alert found, told of now or later. `price_minor` is what the listing costs now."""

    alert_id: UUID
    listing_id: UUID
    user_id: UUID
    reason: str
    price_minor: int | None


# Several changes of one listing are one: from before the first.
_CLAIM = text("""
    WITH taken AS (
        DELETE FROM alert_queue WHERE id IN (
            SELECT id FROM alert_queue ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED)
        RETURNING id, listing_id, is_new, price_before, was_in_stock)
    SELECT DISTINCT ON (listing_id) listing_id, is_new, price_before, was_in_stock FROM taken ORDER BY listing_id, id
""")
# The planner knows nothing of arrays and would read every alert for a long one; and planning costs more than finding.
_SETTINGS = text("""
    SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), set_config('jit', 'off', true),
           set_config('enable_bitmapscan', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)
""")
# A listing as alerts ask for it: its words with its tags among them, and the terms that an alert can be filed under.
FACTS: Final = """
    facts AS MATERIALIZED (
        SELECT d.listing_id, d.seller_id, d.price_minor, l.currency, c.is_new, c.price_before, d.in_stock, d.location, d.metadata,
               d.published_at, d.words || array_to_tsvector(t.tags) AS doc, tsvector_to_array(d.words) || t.tags AS atoms, n.narrow
        FROM unnest(CAST(:ids AS uuid[]), CAST(:news AS boolean[]), CAST(:befores AS bigint[]), CAST(:stocks AS boolean[]))
             AS c(id, is_new, price_before, was_in_stock)
        JOIN search_documents d ON d.listing_id = c.id
        JOIN listings l ON l.id = c.id
        LEFT JOIN sources s ON s.id = l.source_id
        CROSS JOIN LATERAL (SELECT array_agg(tag) AS tags FROM (
            SELECT '=category=' || slug FROM unnest(string_to_array(d.category_path, '/')) AS slug
            UNION ALL VALUES ('=kind=' || l.kind), ('=feed=' || l.feed), ('=condition=' || l.condition),
                ('=brand=' || left(lower(nullif(l.brand, '')), 80)), ('=seller=' || d.seller_id), ('=source=' || s.code),
                (CASE WHEN d.in_stock THEN '=stock' END),
                (CASE WHEN d.price_minor < c.price_before THEN '=~drop' END),
                (CASE WHEN d.in_stock AND NOT c.was_in_stock AND NOT c.is_new THEN '=~back' END)
            UNION ALL
            SELECT '=.' || left(a.key, 60) || '=' || left(lower(v.value), 80)
            FROM jsonb_each(d.metadata) AS a CROSS JOIN LATERAL (
                SELECT e.value FROM jsonb_array_elements_text(CASE WHEN jsonb_typeof(a.value) = 'array' THEN a.value END) AS e
                UNION ALL SELECT a.value #>> '{}' WHERE jsonb_typeof(a.value) IN ('string', 'number', 'boolean')) AS v
            WHERE v.value <> ''
        ) AS every(tag) WHERE tag IS NOT NULL) AS t
        CROSS JOIN LATERAL (SELECT coalesce(array_agg(term), '{}') AS narrow FROM (
            SELECT '@' || mark FROM unnest(d.marks) AS mark WHERE mark LIKE 'cell=%' OR mark LIKE 'area=%'
            UNION ALL SELECT '$' || l.currency || height || ':' || (search_price_band(d.price_minor) >> height)
                FROM generate_series(0, 8) AS height WHERE d.price_minor IS NOT NULL AND l.currency IS NOT NULL
            UNION ALL SELECT tag FROM unnest(t.tags) AS tag WHERE tag IN ('=~drop', '=~back')
        ) AS every(term)) AS n
    )
"""
_TERMS = """
    SELECT unnest(f.atoms) UNION ALL SELECT unnest(f.narrow) UNION ALL SELECT '*'
    UNION ALL SELECT w.term || '|' || n.term FROM unnest(f.atoms) AS a(term) JOIN alert_wide_terms w ON w.term = a.term COLLATE "C"
              CROSS JOIN unnest(f.narrow) AS n(term)
    UNION ALL SELECT a.term || '|' || b.term FROM unnest(f.narrow) AS a(term) JOIN unnest(f.narrow) AS b(term)
              ON left(a.term, 1) COLLATE "C" < left(b.term, 1) COLLATE "C"
"""
FITS: Final = """
    (x.wants IS NULL OR f.doc @@ x.wants)
    AND (x.min_minor IS NULL OR f.price_minor >= x.min_minor) AND (x.max_minor IS NULL OR f.price_minor <= x.max_minor)
    AND (x.currency IS NULL OR f.currency = x.currency)
    AND (x.drop_minor IS NULL OR f.price_before - f.price_minor >= x.drop_minor)
    AND (x.drop_percent IS NULL OR (f.price_before - f.price_minor) * 100 >= f.price_before * x.drop_percent)
    AND f.seller_id IS DISTINCT FROM x.user_id
    AND (x.max_age_days IS NULL OR f.published_at > now() - make_interval(days => x.max_age_days))
    AND (NOT x.is_verified OR EXISTS (SELECT FROM user_badges b WHERE b.user_id = f.seller_id AND b.badge = 'verified'))
    AND (x.ranges IS NULL OR NOT EXISTS (
        SELECT FROM jsonb_each(x.ranges) AS r WHERE (
            CASE WHEN jsonb_typeof(f.metadata -> r.key) = 'number' THEN (f.metadata ->> r.key)::float8 END
            BETWEEN coalesce((r.value ->> 0)::float8, '-infinity') AND coalesce((r.value ->> 1)::float8, 'infinity')) IS NOT TRUE))
    AND (x.radius_m IS NULL OR geo_within(f.location, x.lat, x.lon, x.radius_m))
"""
_FIND = text(f"""
    WITH {FACTS}
    SELECT f.listing_id, m.alert_id FROM facts f CROSS JOIN LATERAL (
        SELECT x.alert_id FROM ({_TERMS}) AS t(term) JOIN alert_index x ON x.term = t.term COLLATE "C" WHERE {FITS} LIMIT :most
    ) AS m
""")  # parts of one statement, written above
_FIND_PAGE = text(f"""
    WITH {FACTS}
    SELECT DISTINCT f.listing_id, x.alert_id FROM facts f CROSS JOIN LATERAL ({_TERMS}) AS t(term)
    JOIN alert_index x ON x.term = t.term COLLATE "C" AND x.alert_id > :after WHERE {FITS} ORDER BY x.alert_id LIMIT :most
""")
_FIND_BY_SCAN = text(f"""
    WITH {FACTS}
    SELECT DISTINCT f.listing_id, x.alert_id FROM facts f JOIN alert_index x ON {FITS}
""")

# A listing that an alert knows is news again when it is cheaper than when its person was told, if that is what they asked for, and
# when it can be had again an hour later at the earliest.
_RECORD = text("""
    WITH found AS MATERIALIZED (
        SELECT a.id AS alert_id, a.user_id, f.listing_id, o.cluster_id, d.price_minor, l.currency, f.price_before,
               CASE WHEN f.price_before > d.price_minor THEN 'price_drop'
                    WHEN NOT f.is_new AND NOT f.was_in_stock AND d.in_stock THEN 'back_in_stock'
                    WHEN f.is_new THEN 'new' ELSE 'changed' END AS reason,
               coalesce((a.notification_settings ->> 'again_on_drop')::boolean, false)
                   OR a.criteria ? 'price_drop_minor' OR a.criteria ? 'price_drop_percent' AS minds_drops,
               coalesce((a.criteria ->> 'back_in_stock')::boolean, false) AS minds_stock
        FROM unnest(CAST(:alerts AS uuid[]), CAST(:listings AS uuid[]), CAST(:news AS boolean[]), CAST(:befores AS bigint[]),
                    CAST(:stocks AS boolean[])) AS f(alert_id, listing_id, is_new, price_before, was_in_stock)
        JOIN alerts a ON a.id = f.alert_id AND a.is_active AND a.removed_at IS NULL
        JOIN search_documents d ON d.listing_id = f.listing_id
        JOIN listings l ON l.id = f.listing_id
        LEFT JOIN outside_items o ON o.listing_id = f.listing_id
    ), told AS (
        INSERT INTO alert_matches (alert_id, listing_id, user_id, cluster_id, reason, price_minor, price_before, currency)
        SELECT alert_id, listing_id, user_id, cluster_id, reason, price_minor, price_before, currency FROM found
        ORDER BY alert_id, listing_id
        ON CONFLICT DO NOTHING RETURNING alert_id, listing_id, user_id, reason, price_minor
    ), again AS (
        UPDATE alert_matches m SET reason = f.reason, price_before = m.price_minor, price_minor = f.price_minor, matched_at = now(),
               notified_at = NULL, is_read = false
        FROM found f WHERE m.alert_id = f.alert_id AND m.listing_id = f.listing_id
          AND ((f.minds_drops AND f.price_minor < m.price_minor)
               OR (f.minds_stock AND f.reason = 'back_in_stock' AND m.matched_at < now() - interval '1 hour'))
        RETURNING m.alert_id, m.listing_id, m.user_id, m.reason, m.price_minor
    )
    SELECT * FROM told UNION ALL SELECT * FROM again
""")


async def claim_waiting(tx: Transaction, most: int = CLAIMED) -> list[Change]:
    """Take the listings that have waited longest; each comes once, with how it was before the first of its changes."""
    return await tx.all(_CLAIM, into=Change, most=most)


def _columns(changes: Sequence[Change]) -> dict[str, Any]:
    return {
        "ids": [c.listing_id for c in changes],
        "news": [c.is_new for c in changes],
        "befores": [c.price_before for c in changes],
        "stocks": [c.was_in_stock for c in changes],
    }


async def find_matches(tx: Transaction, changes: Sequence[Change], most: int = MOST_AT_ONCE) -> list[Pair]:
    """Return the alerts that each listing fits, at most about `most` of one listing. Writes nothing."""
    await tx.run(_SETTINGS)
    return list(dict.fromkeys(await tx.all(_FIND, into=Pair, most=most, **_columns(changes))))


async def find_page(tx: Transaction, change: Change, after: UUID, most: int = _PAGE) -> list[Pair]:
    """Return the next alerts that one listing fits, by their ids."""
    await tx.run(_SETTINGS)
    return await tx.all(_FIND_PAGE, into=Pair, after=after, most=most, **_columns([change]))


async def find_by_scan(tx: Transaction, changes: Sequence[Change]) -> list[Pair]:
    """Return the same by reading every alert: what the index is measured against."""
    return await tx.all(_FIND_BY_SCAN, into=Pair, **_columns(changes))


async def record_matches(tx: Transaction, changes: Sequence[Change], pairs: Sequence[Pair]) -> list[Match]:
    """Write down what was found; return what its people have not been told of. Idempotent."""
    if not pairs:
        return []
    known = {c.listing_id: c for c in changes}
    of = [known[p.listing_id] for p in pairs]
    return await tx.all(
        _RECORD, into=Match, alerts=[p.alert_id for p in pairs], listings=[p.listing_id for p in pairs],
        news=[c.is_new for c in of], befores=[c.price_before for c in of], stocks=[c.was_in_stock for c in of],
    )  # fmt: skip

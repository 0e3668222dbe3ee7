"""What there is to tell of matches: the finds with their listings, what gathers for a digest, and what was told."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.alerts.matching import Match
from tradepost.alerts.types import Telling
from tradepost.core.database import Transaction
from tradepost.core.ids import short_id


class Find(msgspec.Struct, frozen=True, kw_only=True):
    """A match with what there is to say about it."""

    alert_id: UUID
    alert_name: str
    user_id: UUID
    telling: Telling
    is_broad: bool
    listing_id: UUID
    title: str
    slug: str
    reason: str
    price_minor: int | None
    price_before: int | None
    currency: str | None
    matched_at: datetime

    @property
    def path(self) -> str:
        """The address of the listing's page."""
        return f"/l/{self.slug}-{short_id(self.listing_id)}"


class Digest(msgspec.Struct, frozen=True):
    """What gathered for one alert: how much, and the titles of the newest."""

    alert_id: UUID
    alert_name: str
    user_id: UUID
    settings: dict[str, Any]
    digest_at: datetime
    count: int
    titles: list[str]


_FINDS = text("""
    SELECT a.id AS alert_id, a.name AS alert_name, a.user_id, a.notification_settings AS telling, a.is_broad, l.id AS listing_id,
           l.title, l.slug, m.reason, m.price_minor, m.price_before, m.currency, m.matched_at
    FROM unnest(CAST(:alerts AS uuid[]), CAST(:listings AS uuid[])) AS f(alert_id, listing_id)
    JOIN alerts a ON a.id = f.alert_id JOIN listings l ON l.id = f.listing_id
    JOIN alert_matches m ON m.alert_id = f.alert_id AND m.listing_id = f.listing_id
    ORDER BY l.published_at DESC, a.created_at
""")
_TOLD = text("""
    UPDATE alert_matches m SET notified_at = now()
    FROM unnest(CAST(:alerts AS uuid[]), CAST(:listings AS uuid[])) AS f(alert_id, listing_id)
    WHERE m.alert_id = f.alert_id AND m.listing_id = f.listing_id
""")
_GATHER = text("""
    UPDATE alerts a SET digest_at = notice_due(
        CASE WHEN s.often = 'instant' THEN 'daily' ELSE s.often END, coalesce(u.timezone, z.value, 'UTC'), q.quiet_from, q.quiet_to,
        coalesce(q.digest_hour, 8), now())
    FROM unnest(CAST(:ids AS uuid[])) AS i(id) JOIN alerts o ON o.id = i.id JOIN users u ON u.id = o.user_id
    LEFT JOIN notice_times q ON q.user_id = o.user_id LEFT JOIN store_facts z ON z.name = 'timezone'
    CROSS JOIN LATERAL (SELECT coalesce(o.notification_settings ->> 'frequency', 'instant') AS often) AS s
    WHERE a.id = i.id AND a.digest_at IS NULL
""")
_TAKE_DIGESTS = text("""
    WITH due AS MATERIALIZED (
        SELECT id, user_id, name, notification_settings, digest_at, is_active AND removed_at IS NULL AS is_on FROM alerts
        WHERE digest_at <= now() ORDER BY digest_at LIMIT :most FOR UPDATE SKIP LOCKED
    ), done AS (
        UPDATE alerts SET digest_at = NULL FROM due WHERE alerts.id = due.id
    ), told AS (
        UPDATE alert_matches m SET notified_at = now() FROM due WHERE m.alert_id = due.id AND m.notified_at IS NULL AND due.is_on
        RETURNING m.alert_id, m.listing_id
    )
    SELECT due.id AS alert_id, due.name AS alert_name, due.user_id, due.notification_settings AS settings, due.digest_at,
           count(l.id) AS count, coalesce((array_agg(l.title ORDER BY l.published_at DESC))[1:5], '{}') AS titles
    FROM due LEFT JOIN told ON told.alert_id = due.id LEFT JOIN listings l ON l.id = told.listing_id
    GROUP BY due.id, due.name, due.user_id, due.notification_settings, due.digest_at
""")


async def finds_of(tx: Transaction, matches: Sequence[Match]) -> list[Find]:
    """Return matches with what there is to say about them, the newest listings first."""
    rows = await tx.all(
        _FINDS, alerts=[m.alert_id for m in matches], listings=[m.listing_id for m in matches]
    )  # fmt: skip
    return [msgspec.convert(dict(row), Find) for row in rows]


async def note_told(tx: Transaction, finds: Sequence[Find]) -> None:
    """Note that people were told of these."""
    if finds:
        await tx.run(_TOLD, alerts=[f.alert_id for f in finds], listings=[f.listing_id for f in finds])


async def put_into_digests(tx: Transaction, alert_ids: Sequence[UUID]) -> None:
    """Have what was found by these alerts told when their next digest comes."""
    if alert_ids:
        await tx.run(_GATHER, ids=sorted(alert_ids))


async def take_digests(tx: Transaction, most: int) -> list[Digest]:
    """Take the digests that are due, the oldest first, and note what they hold as told. One whose finds are gone holds none."""
    return await tx.all(_TAKE_DIGESTS, into=Digest, most=most)

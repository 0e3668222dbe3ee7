"""What people are told within the store: written in the transaction that causes it, seen on a page and at once where they are.

Each notice goes on by the channels that its person wants (`deliveries`), written in the same statement: once for each notice and
channel, due at once or when digests come, and not within quiet hours.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import func, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import bindparam

from tradepost.accounts.types import PROFILE_SCOPE, Caller
from tradepost.core.database import Transaction
from tradepost.core.jobs import Priority, enqueue
from tradepost.core.live import ring_after_commit
from tradepost.core.pages import Page, newest_first, page_of, page_size, to_cursor
from tradepost.notifications.preferences import CHANNELS, TOPIC_OF, USUAL
from tradepost.notifications.tables import notices
from tradepost.notifications.types import Channel, Frequency, NoticeKind

KEPT_DAYS: Final = 90
_TITLE: Final = 300
_CONTENT: Final = 2000


class Notice(msgspec.Struct, frozen=True):
    """Something that somebody is told; `path` is where it leads."""

    id: UUID
    kind: NoticeKind
    title: str
    path: str
    at: datetime
    read_at: datetime | None
    content: str = ""
    data: dict[str, Any] = {}


class News(msgspec.Struct, frozen=True, kw_only=True):
    """Something to tell one person, once for its kind and subject. `channels`: how often by each, where it says so itself."""

    user_id: UUID
    subject_id: UUID
    title: str
    path: str
    content: str = ""
    data: dict[str, Any] = {}
    channels: dict[Channel, Frequency] | None = None


# What somebody said holds over the usual; “off” holds over what an alert says. A channel that leads nowhere gets nothing, nor does an
# address that nobody confirmed what alerts find: it may be a stranger's.
_TELL = text("""
    WITH told AS (
        INSERT INTO notices (user_id, kind, subject_id, title, path, content, data)
        SELECT n.user_id, :kind, n.subject_id, n.title, n.path, n.content, n.data
        FROM jsonb_to_recordset(CAST(:news AS jsonb))
             AS n(user_id uuid, subject_id uuid, title text, path text, content text, data jsonb, channels jsonb)
        ORDER BY n.user_id, n.subject_id
        ON CONFLICT (user_id, kind, subject_id) DO NOTHING RETURNING id, user_id, subject_id
    ), sent AS (
        INSERT INTO deliveries (notice_id, channel, user_id, due_at)
        SELECT t.id, c.channel, t.user_id,
               notice_due(o.often, coalesce(u.timezone, z.value, 'UTC'), q.quiet_from, q.quiet_to, coalesce(q.digest_hour, 8), now())
        FROM told t
        JOIN users u ON u.id = t.user_id AND u.is_active
        JOIN jsonb_to_recordset(CAST(:news AS jsonb)) AS n(user_id uuid, subject_id uuid, channels jsonb)
             ON n.user_id = t.user_id AND n.subject_id = t.subject_id
        CROSS JOIN unnest(CAST(:channels AS text[]), CAST(:usual AS text[])) AS c(channel, usual)
        LEFT JOIN notice_preferences p ON p.user_id = t.user_id AND p.topic = :topic AND p.channel = c.channel
        LEFT JOIN notice_times q ON q.user_id = t.user_id
        LEFT JOIN store_facts z ON z.name = 'timezone'
        CROSS JOIN LATERAL (SELECT CASE
            WHEN p.frequency = 'off' THEN 'off'
            WHEN jsonb_typeof(n.channels) = 'object' THEN coalesce(n.channels ->> c.channel, 'off')
            ELSE coalesce(p.frequency, c.usual) END AS often) AS o
        WHERE o.often <> 'off' AND CASE c.channel
            WHEN 'email' THEN u.email IS NOT NULL AND (:topic <> 'alerts' OR u.email_verified_at IS NOT NULL)
            WHEN 'push' THEN EXISTS (SELECT FROM push_subscriptions s WHERE s.user_id = t.user_id)
            ELSE EXISTS (SELECT FROM notice_hooks h WHERE h.user_id = t.user_id) END
        RETURNING due_at
    )
    SELECT t.id, t.user_id, t.subject_id, (SELECT min(due_at) - now() FROM sent) AS first FROM told t
""")
_LIST = text("""
    SELECT id, kind, title, path, at, read_at, content, data FROM notices
    WHERE user_id = :me AND (at, id) < (CAST(:before_at AS timestamptz), CAST(:before_id AS uuid))
    ORDER BY at DESC, id DESC LIMIT :limit
""")
_READ = text("UPDATE notices SET read_at = now() WHERE user_id = :me AND read_at IS NULL")
_READ_ONE = text("UPDATE notices SET read_at = now() WHERE user_id = :me AND id = :notice_id AND read_at IS NULL")
_FORGET = text("DELETE FROM notices WHERE at < now() - make_interval(days => :days)")
COUNT_UNREAD = (
    select(func.count())
    .select_from(notices)
    .where(notices.c.user_id == bindparam("user_id", type_=postgresql.UUID), notices.c.read_at.is_(None))
)


def notices_of(user_id: UUID) -> str:
    """Return the topic that is rung when somebody is told something."""
    return f"notices:{user_id}"


async def tell(
    tx: Transaction, people: Sequence[UUID], kind: NoticeKind, subject_id: UUID, title: str, path: str, *, content: str = ""
) -> int:  # fmt: skip
    """Tell people something, each once for a kind and subject; return how many were told now. `tx` is the system's."""
    news = [
        News(user_id=p, subject_id=subject_id, title=title, path=path, content=content) for p in dict.fromkeys(people)
    ]
    return await tell_each(tx, kind, news)


async def tell_each(tx: Transaction, kind: NoticeKind, news: Sequence[News]) -> int:
    """Tell each something of their own, once for a kind and subject; return how many were told now. `tx` is the system's.

    What is due soon is sent by a job of this transaction; digests and what waits for the end of quiet hours by the clock.
    """
    if not news:
        return 0
    kept = {(n.user_id, n.subject_id): _fitting(n) for n in news}
    usual = USUAL[TOPIC_OF[kind]]
    told = await tx.all(
        _TELL, kind=kind, topic=TOPIC_OF[kind], news=list(kept.values()), channels=list(CHANNELS),
        usual=[usual[channel] for channel in CHANNELS],
    )  # fmt: skip
    for row in told:
        one = kept[row["user_id"], row["subject_id"]]
        ring_after_commit(tx, notices_of(one.user_id), note={"kind": kind, "title": one.title, "path": one.path})
    if told and told[0]["first"] is not None and told[0]["first"] <= timedelta(seconds=1):
        await enqueue(tx, "notices.send_due", priority=Priority.NORMAL)
    return len(told)


def _fitting(news: News) -> News:
    return msgspec.structs.replace(news, title=news.title[:_TITLE], content=news.content[:_CONTENT])


async def list_notices(tx: Transaction, caller: Caller, *, after: str | None = None, limit: int = 24) -> Page[Notice]:
    """Return what the caller was told, the latest first. Raises `SignInFirst`, `NoSuchPage`."""
    size = page_size(limit)
    at, key = newest_first(after)
    rows = await tx.all(
        _LIST, into=Notice, me=caller.check_signed_in(), before_at=at, before_id=key, limit=size + 1
    )  # fmt: skip
    return page_of(rows, size, lambda last: to_cursor(last.at, last.id))


async def count_unread(tx: Transaction, user_id: UUID) -> int:
    """Return how much somebody was told that they have not seen."""
    return int(await tx.value(COUNT_UNREAD, user_id=user_id))


async def read_all(tx: Transaction, caller: Caller) -> int:
    """Note that the caller has seen what they were told; return how much was new."""
    me = caller.check_scope(PROFILE_SCOPE)
    count = await tx.run(_READ, me=me)
    if count:
        ring_after_commit(tx, notices_of(me), note={"read": count})
    return count


async def read_one(tx: Transaction, caller: Caller, notice_id: UUID) -> None:
    """Note that the caller has seen one of them. Idempotent; somebody else's is left alone."""
    me = caller.check_scope(PROFILE_SCOPE)
    if await tx.run(_READ_ONE, me=me, notice_id=notice_id):
        ring_after_commit(tx, notices_of(me), note={"read": 1})


async def forget(tx: Transaction) -> int:
    """Delete what is older than three months; return how many."""
    return await tx.run(_FORGET, days=KEPT_DAYS)

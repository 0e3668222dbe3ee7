"""Notices on their way: taken by whoever sends them, noted as sent or failed, tried again later and later.

A taken delivery is put off by the time that sending may take, so a worker that dies leaves it to another. Letters are queued in the
transaction that takes their deliveries, so nothing lies between. For push and web hooks there is a moment between the other side's
“yes” and our note of it: a worker that dies in it sends once more, with the same number, by which the other side can know it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.database import Transaction
from tradepost.notifications.preferences import TOPIC_OF
from tradepost.notifications.types import NoticeKind

TRIES: Final = 8
LEASE: Final = timedelta(minutes=2)
_FIRST_PAUSE: Final = timedelta(seconds=30)


class Due(msgspec.Struct, frozen=True):
    """A notice that is due to somebody by push or web hook."""

    notice_id: UUID
    channel: str
    user_id: UUID
    tries: int
    kind: NoticeKind
    title: str
    content: str
    path: str
    data: dict[str, Any]
    at: datetime


class Bundle(msgspec.Struct, frozen=True):
    """What is due to somebody by letter, the oldest first."""

    user_id: UUID
    username: str
    email: str
    notices: tuple[Due, ...]


_NOTICE = "n.id AS notice_id, d.channel, d.user_id, d.tries, n.kind, n.title, n.content, n.path, n.data, n.at"
_TAKE_LETTERS = text(f"""
    WITH people AS MATERIALIZED (
        SELECT DISTINCT user_id FROM (
            SELECT user_id FROM deliveries WHERE state = 'pending' AND channel = 'email' AND due_at <= now()
            ORDER BY due_at LIMIT :most) AS first
    ), taken AS MATERIALIZED (
        SELECT d.notice_id FROM deliveries d JOIN people p ON p.user_id = d.user_id
        WHERE d.state = 'pending' AND d.channel = 'email' AND d.due_at <= now() ORDER BY d.user_id, d.due_at
        FOR UPDATE OF d SKIP LOCKED
    )
    SELECT {_NOTICE} FROM taken t JOIN deliveries d ON d.notice_id = t.notice_id AND d.channel = 'email'
    JOIN notices n ON n.id = d.notice_id ORDER BY d.user_id, n.at, n.id
""")
_PEOPLE = text("""
    SELECT id, username::text AS username, email::text AS email, email_verified_at IS NOT NULL AS is_confirmed FROM users
    WHERE id = ANY (CAST(:ids AS uuid[])) AND is_active AND email IS NOT NULL
""")
_QUEUED = text("""
    UPDATE deliveries d SET state = 'sent', sent_at = now(), tries = tries + 1, mail_id = m.mail_id
    FROM unnest(CAST(:notices AS uuid[]), CAST(:mails AS uuid[])) AS m(notice_id, mail_id)
    WHERE d.notice_id = m.notice_id AND d.channel = 'email'
""")
_NOBODY = text("""
    UPDATE deliveries SET state = 'failed', error = 'no address', tries = tries + 1
    WHERE notice_id = ANY (CAST(:notices AS uuid[])) AND channel = 'email'
""")
_MAIL_FAILED = text("UPDATE deliveries SET state = 'failed', error = :error, sent_at = NULL WHERE mail_id = :mail_id")
# Some of each person, so that nobody who has much to be told, or whose program is slow, stands before the others.
_TAKE = text(f"""
    WITH first AS MATERIALIZED (
        SELECT notice_id, channel, user_id, due_at FROM deliveries
        WHERE state = 'pending' AND channel <> 'email' AND due_at <= now() AND user_id <> ALL (CAST(:but AS uuid[]))
        ORDER BY due_at LIMIT 1000
    ), shared AS (
        SELECT notice_id, channel FROM (
            SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY due_at) AS n FROM first) AS f
        WHERE n <= :share ORDER BY due_at LIMIT :most
    ), free AS (
        SELECT d.notice_id, d.channel FROM deliveries d JOIN shared s USING (notice_id, channel)
        WHERE d.state = 'pending' AND d.due_at <= now() FOR UPDATE OF d SKIP LOCKED
    ), taken AS (
        UPDATE deliveries SET due_at = now() + CAST(:lease AS interval), tries = tries + 1
        WHERE (notice_id, channel) IN (SELECT notice_id, channel FROM free)
        RETURNING notice_id, channel, user_id, tries
    )
    SELECT {_NOTICE} FROM taken d JOIN notices n ON n.id = d.notice_id
""")
_SENT = text("""
    UPDATE deliveries SET state = 'sent', sent_at = now(), error = NULL
    WHERE notice_id = :notice_id AND channel = :channel AND state = 'pending'
""")
_PUT_OFF = text("""
    UPDATE deliveries SET state = CASE WHEN tries >= :tries THEN 'failed' ELSE 'pending' END, error = :error,
           due_at = now() + CAST(:pause AS interval)
    WHERE notice_id = :notice_id AND channel = :channel AND state = 'pending'
""")
_FAILED = text("""
    UPDATE deliveries SET state = 'failed', error = :error WHERE notice_id = :notice_id AND channel = :channel AND state = 'pending'
""")


async def take_letters(tx: Transaction, most: int = 200) -> tuple[list[Bundle], list[UUID]]:
    """Take what is due by letter, all of one person's together; return it, and the notices of people who have no address."""
    rows = await tx.all(_TAKE_LETTERS, into=Due, most=most)
    people = {r["id"]: r for r in await tx.all(_PEOPLE, ids=list({row.user_id for row in rows}))} if rows else {}
    bundles: dict[UUID, list[Due]] = {}
    unreachable = []
    for row in rows:
        if _is_reachable(row, people.get(row.user_id)):
            bundles.setdefault(row.user_id, []).append(row)
        else:
            unreachable.append(row.notice_id)
    known = [
        Bundle(user_id, people[user_id]["username"], people[user_id]["email"], tuple(mine))
        for user_id, mine in bundles.items()
    ]  # fmt: skip
    return known, unreachable


def _is_reachable(due: Due, person: Mapping[str, Any] | None) -> bool:
    """Whether somebody has an address for this; what alerts find goes to confirmed ones only."""
    return person is not None and (person["is_confirmed"] or TOPIC_OF[due.kind] != "alerts")


async def note_queued(tx: Transaction, mails: Sequence[tuple[Bundle, UUID]], unreachable: Sequence[UUID]) -> None:
    """Note which letter each notice went into."""
    pairs = [(one.notice_id, mail_id) for bundle, mail_id in mails for one in bundle.notices]
    if pairs:
        await tx.run(_QUEUED, notices=[p[0] for p in pairs], mails=[p[1] for p in pairs])
    if unreachable:
        await tx.run(_NOBODY, notices=list(unreachable))


async def note_mail_failed(tx: Transaction, mail_id: UUID, error: str) -> None:
    """Note that the letter of some notices was refused for good."""
    await tx.run(_MAIL_FAILED, mail_id=mail_id, error=error[:400])


async def take_due(tx: Transaction, most: int, share: int, but: Iterable[UUID] = ()) -> list[Due]:
    """Take what is due by push and by web hook, at most a share of each person's and nothing of some people's.

    Another takes it after two minutes unless it is noted by then.
    """
    return await tx.all(_TAKE, into=Due, most=most, share=share, but=list(but), lease=LEASE)


async def note_sent(tx: Transaction, due: Due) -> None:
    """Note that the other side has it. Idempotent."""
    await tx.run(_SENT, notice_id=due.notice_id, channel=due.channel)


async def put_off(tx: Transaction, due: Due, error: str) -> None:
    """Have it tried again, twice as late each time; after eight tries it has failed."""
    pause = _FIRST_PAUSE * 2.0 ** min(due.tries, 12)
    await tx.run(
        _PUT_OFF, notice_id=due.notice_id, channel=due.channel, error=error[:400], pause=pause, tries=TRIES
    )  # fmt: skip


async def note_failed(tx: Transaction, due: Due, error: str) -> None:
    """Note that it cannot be sent at all."""
    await tx.run(_FAILED, notice_id=due.notice_id, channel=due.channel, error=error[:400])

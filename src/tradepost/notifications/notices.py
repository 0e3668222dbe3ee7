"""What people are told within the store: written in the transaction that causes it, seen on a page and at once where they are."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec
from sqlalchemy import func, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import bindparam

from tradepost.accounts.types import PROFILE_SCOPE, Caller
from tradepost.core.database import Transaction
from tradepost.core.live import ring_after_commit
from tradepost.core.pages import Page, newest_first, page_of, page_size, to_cursor
from tradepost.notifications.tables import notices

NoticeKind = Literal["show_planned", "show_started", "evidence"]
KEPT_DAYS: Final = 90


class Notice(msgspec.Struct, frozen=True):
    """Something that somebody is told; `path` is where it leads."""

    id: UUID
    kind: NoticeKind
    title: str
    path: str
    at: datetime
    read_at: datetime | None


_TELL = text("""
    INSERT INTO notices (user_id, kind, subject_id, title, path)
    SELECT person, :kind, :subject_id, left(:title, 300), :path FROM unnest(CAST(:people AS uuid[])) AS person
    ON CONFLICT (user_id, kind, subject_id) DO NOTHING RETURNING user_id
""")
_LIST = text("""
    SELECT id, kind, title, path, at, read_at FROM notices
    WHERE user_id = :me AND (at, id) < (CAST(:before_at AS timestamptz), CAST(:before_id AS uuid))
    ORDER BY at DESC, id DESC LIMIT :limit
""")
_READ = text("UPDATE notices SET read_at = now() WHERE user_id = :me AND read_at IS NULL")
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
    tx: Transaction, people: Sequence[UUID], kind: NoticeKind, subject_id: UUID, title: str, path: str
) -> int:
    """Tell people something, each once for a kind and subject; return how many were told now. `tx` is the system's."""
    told = await tx.values(_TELL, people=list(people), kind=kind, subject_id=subject_id, title=title, path=path)
    ring_after_commit(tx, *(notices_of(p) for p in told), note={"kind": kind, "title": title[:300], "path": path})
    return len(told)


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


async def forget(tx: Transaction) -> int:
    """Delete what is older than three months; return how many."""
    return await tx.run(_FORGET, days=KEPT_DAYS)

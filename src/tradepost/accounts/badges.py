"""Distinctions: who has which. What they are given for is counted by a flow, which knows orders and reviews."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.database import Database, Transaction

_GIVE = text("""
    INSERT INTO user_badges (user_id, badge) SELECT earner, :badge FROM unnest(CAST(:ids AS uuid[])) AS earner
    ON CONFLICT DO NOTHING
""")
_TAKE = text("DELETE FROM user_badges WHERE badge = :badge AND user_id <> ALL (CAST(:ids AS uuid[]))")
_OF = text("""
    SELECT b.code, b.name, b.description FROM user_badges u JOIN badges b ON b.code = u.badge
    WHERE u.user_id = :user_id ORDER BY b.position
""")


class Badge(msgspec.Struct, frozen=True):
    """A distinction as everybody sees it."""

    code: str
    name: str
    description: str


async def set_badge(tx: Transaction, badge: str, people: Sequence[UUID]) -> tuple[int, int]:
    """Let exactly these people have a distinction; return how many got and how many lost it."""
    ids = list(people)
    given = await tx.run(_GIVE, badge=badge, ids=ids)
    return given, await tx.run(_TAKE, badge=badge, ids=ids)


async def badges_of(db: Database, user_id: UUID) -> list[Badge]:
    """Return a person's distinctions, the most telling first."""
    return await db.read(_OF, into=Badge, user_id=user_id)

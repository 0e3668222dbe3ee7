"""How much of a person is proved: whether they can be reached, and whether they showed who they are."""

from uuid import UUID

import msgspec
from sqlalchemy import bindparam, exists, literal_column, or_, select
from sqlalchemy.dialects import postgresql

from tradepost.accounts.queries import lock_person
from tradepost.accounts.tables import users, verifications
from tradepost.core.database import Transaction

_STANDING = select(
    or_(users.c.email_verified_at.is_not(None), users.c.phone_verified_at.is_not(None)).label("is_reachable"),
    exists()
    .where(
        verifications.c.user_id == users.c.id, verifications.c.status == literal_column("'verified'"),
        verifications.c.kind.in_([literal_column("'government_id'"), literal_column("'business'")]),
    )
    .label("is_verified"),
).where(users.c.id == bindparam("user_id", type_=postgresql.UUID))  # fmt: skip


class Standing(msgspec.Struct, frozen=True):
    """`is_reachable`: an e-mail address or a telephone number is proved; `is_verified`: papers were accepted and still hold."""

    is_reachable: bool
    is_verified: bool


async def read_standing(tx: Transaction, user_id: UUID) -> Standing:
    """Return how much of a person is proved, and lock them: two who count at once must not both find room for one more."""
    await lock_person(tx, user_id)
    return await tx.one(_STANDING, into=Standing, user_id=user_id)

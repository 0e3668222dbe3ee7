"""Commands on promo codes and points. What they take is counted by triggers, at the commit, and refused there."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from tradepost.core.database import Transaction, on_violation
from tradepost.core.errors import Conflict
from tradepost.promotions import queries
from tradepost.promotions.types import PointsEntry, Promo


class PromoJustUsedUp(Conflict):
    """The promo code was used up a moment ago."""


class PointsJustSpent(Conflict):
    """These points were spent a moment ago."""


on_violation("ck_promo_codes_within_limit", PromoJustUsedUp)
on_violation("ck_promo_uses_per_person", PromoJustUsedUp)
on_violation("ck_loyalty_accounts_points_not_negative", PointsJustSpent)

_USE = text("""
    INSERT INTO promo_uses (promo_id, order_id, buyer_id, person, discount_minor)
    SELECT u.promo_id, :order_id, :buyer_id, :person, u.discount_minor
    FROM unnest(CAST(:promo_ids AS uuid[]), CAST(:discounts AS bigint[])) AS u(promo_id, discount_minor) ORDER BY u.promo_id
""")
_GIVE_BACK = text("UPDATE promo_uses SET state = 'given_back' WHERE order_id = :order_id AND state = 'used'")
_ENTER = text("""
    INSERT INTO loyalty_entries (user_id, points, kind, order_id, reference, note, expires_at)
    VALUES (:user_id, :points, :kind, :order_id, :reference, :note, :expires_at)
    ON CONFLICT (kind, order_id, reference) WHERE order_id IS NOT NULL DO NOTHING
""")
_TAKE_UP_TO = text("""
    WITH account AS (SELECT user_id, points FROM loyalty_accounts WHERE user_id = :user_id FOR NO KEY UPDATE)
    INSERT INTO loyalty_entries (user_id, points, kind, order_id, reference, note)
    SELECT user_id, -least(points, CAST(:points AS int)), :kind, :order_id, :reference, :note
    FROM account WHERE least(points, CAST(:points AS int)) > 0
    ON CONFLICT (kind, order_id, reference) WHERE order_id IS NOT NULL DO NOTHING
    RETURNING -points
""")


async def find_promos(tx: Transaction, codes: Sequence[str], person: str) -> dict[str, Promo]:
    """Return the promo codes of these names, in capitals, with how often this person used each."""
    if not codes:
        return {}
    found = await tx.all(queries.PROMOS_BY_CODE, into=Promo, codes=list(codes), person=person)
    return {promo.code: promo for promo in found}


async def use_promos(
    tx: Transaction, order_id: UUID, buyer_id: UUID | None, person: str, discounts: Mapping[UUID, int]
) -> None:
    """Count promo codes as used by an order. Whether they still may be shows at the commit: `PromoJustUsedUp`."""
    if discounts:
        await tx.run(_USE, order_id=order_id, buyer_id=buyer_id, person=person, promo_ids=list(discounts),
                     discounts=list(discounts.values()))  # fmt: skip


async def give_back_promos(tx: Transaction, order_id: UUID) -> None:
    """Undo the uses of an order that was never paid. Idempotent."""
    await tx.run(_GIVE_BACK, order_id=order_id)


async def read_points(tx: Transaction, user_id: UUID) -> int:
    """Return how many points a person has."""
    return int(await tx.value(queries.POINTS, user_id=user_id) or 0)


async def list_entries(
    tx: Transaction, user_id: UUID, *, before: int = 2**31 - 1, limit: int = 50
) -> list[PointsEntry]:
    """Return a person's latest entries, newest first, with a number below `before`."""
    return await tx.all(queries.ENTRIES, into=PointsEntry, user_id=user_id, before=before, limit=limit)


async def spend_points(tx: Transaction, user_id: UUID, points: int, order_id: UUID) -> None:
    """Spend points on an order, once. Raises `PointsJustSpent` where there are fewer."""
    await tx.run(
        _ENTER, user_id=user_id, points=-points, kind="spent", order_id=order_id, reference="", note="", expires_at=None
    )


async def give_points(
    tx: Transaction, user_id: UUID, points: int, kind: str, order_id: UUID | None, *, reference: str = "", note: str = "",
    expires_at: datetime | None = None,
) -> bool:  # fmt: skip
    """Add points (earned, returned, adjusted), once for an order and reference. Return whether it was not done before."""
    if points <= 0:
        return False
    return bool(
        await tx.run(_ENTER, user_id=user_id, points=points, kind=kind, order_id=order_id, reference=reference, note=note,
                     expires_at=expires_at)
    )  # fmt: skip


async def take_points(
    tx: Transaction,
    user_id: UUID,
    points: int,
    kind: str,
    order_id: UUID | None,
    *,
    reference: str = "",
    note: str = "",
) -> int:
    """Take points back (reversed, expired), as many as there still are. Return how many it took."""
    if points <= 0:
        return 0
    taken = await tx.value(
        _TAKE_UP_TO, user_id=user_id, points=points, kind=kind, order_id=order_id, reference=reference, note=note
    )
    return int(taken or 0)

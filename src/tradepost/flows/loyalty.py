"""Promo codes in the back office, and one's own points."""

from uuid import UUID

import msgspec

from tradepost.accounts.types import Caller
from tradepost.core.database import Actor
from tradepost.flows.orders import reading
from tradepost.flows.pricing_rules import loyalty_of
from tradepost.flows.store import Store
from tradepost.promotions import office
from tradepost.promotions.office import PointsLine, PromoDraft, PromoLine
from tradepost.promotions.rules import points_worth
from tradepost.promotions.service import read_points


async def list_promos(store: Store, caller: Caller) -> list[PromoLine]:
    """Return the promo codes with what they have done. Raises `NotAllowed`."""
    caller.check_can("manage_store")
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        return await office.list_promos(tx)


async def issue_promo(store: Store, caller: Caller, draft: PromoDraft) -> None:
    """Issue a promo code. Raises `NotAllowed`, `PromoTwice`, `BadPromo`."""
    caller.check_can("manage_store")
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        await office.issue_promo(tx, draft)


async def switch_promo(store: Store, caller: Caller, promo_id: UUID, *, is_active: bool) -> None:
    """Let a promo code be used, or no longer. Raises `NotAllowed`, `NoSuchPromo`."""
    caller.check_can("manage_store")
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        await office.switch_promo(tx, promo_id, is_active=is_active)


class PointsPage(msgspec.Struct, frozen=True):
    """A person's points: how many, what they are worth, and every change of them."""

    points: int
    worth_minor: int
    points_per_unit: str
    entries: tuple[PointsLine, ...]
    before: int | None


async def get_points(store: Store, caller: Caller, *, before: int | None = None, limit: int = 50) -> PointsPage | None:
    """Return the caller's points; None where the store has none. Raises `SignInFirst`."""
    user_id, loyalty = caller.check_signed_in(), loyalty_of(store.settings)
    if loyalty is None:
        return None
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        points = await read_points(tx, user_id)
        rows = await office.list_points(
            tx, user_id, before=before if before is not None else 2**31 - 1, limit=limit + 1
        )
    shown = tuple(rows[:limit])
    return PointsPage(
        points, points_worth(points, loyalty.value_per_point, store.currency), f"{loyalty.points_per_unit:f}", shown,
        shown[-1].seq if len(rows) > limit else None,
    )  # fmt: skip

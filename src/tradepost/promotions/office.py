"""Promo codes as those see them who issue them, with what each has done; and a person's points with their history."""

from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.database import Transaction, on_violation
from tradepost.core.errors import Conflict, Invalid, NotFound


class NoSuchPromo(NotFound):
    """There is no such promo code."""


class PromoTwice(Conflict):
    """There is a promo code of this name already."""


class BadPromo(Invalid):
    """A code has 2 to 50 letters, digits, - or _; it takes off up to 100 % or an amount, and ends after it begins."""


for _name in ("code_form", "amount_fits_kind", "valid_period", "limits_positive", "minimum_not_negative"):
    on_violation(f"ck_promo_codes_{_name}", BadPromo)
on_violation("uq_promo_codes_code", PromoTwice)


class PromoDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A promo code to be issued. `percent` or `amount_minor`, as its kind says."""

    code: str
    description: str
    kind: Literal["percent", "fixed"]
    percent: Decimal | None
    amount_minor: int | None
    currency: str | None
    valid_from: datetime
    valid_to: datetime
    usage_limit: int | None
    per_person_limit: int | None
    minimum_minor: int
    stacks: bool


class PromoLine(msgspec.Struct, frozen=True):
    """A promo code with what it has done: orders that kept it, what it took off them, what they came to."""

    id: UUID
    code: str
    description: str
    kind: str
    percent: Decimal | None
    amount_minor: int | None
    currency: str | None
    valid_from: datetime
    valid_to: datetime
    usage_limit: int | None
    per_person_limit: int | None
    minimum_minor: int
    stacks: bool
    is_active: bool
    used_count: int
    given_back: int
    discount_minor: int
    sales_minor: int
    persons: int
    last_used_at: datetime | None


class PointsLine(msgspec.Struct, frozen=True):
    """A change of somebody's points."""

    seq: int
    at: datetime
    points: int
    kind: str
    note: str
    order_number: str | None
    expires_at: datetime | None


_LINES = text("""
    SELECT p.id, CAST(p.code AS text) AS code, p.description, p.kind, p.percent, p.amount_minor, p.currency, p.valid_from, p.valid_to,
           p.usage_limit, p.per_person_limit, p.minimum_minor, p.stacks, p.is_active, p.used_count, u.given_back, u.discount_minor,
           u.sales_minor, u.persons, u.last_used_at
    FROM (SELECT * FROM promo_codes ORDER BY is_active AND valid_to > now() DESC, created_at DESC, id LIMIT 200) p
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE u.state = 'given_back') AS given_back,
               CAST(coalesce(sum(u.discount_minor) FILTER (WHERE u.state = 'used'), 0) AS bigint) AS discount_minor,
               CAST(coalesce(sum(o.total_minor) FILTER (WHERE u.state = 'used'), 0) AS bigint) AS sales_minor,
               count(DISTINCT u.person) FILTER (WHERE u.state = 'used') AS persons,
               max(u.created_at) FILTER (WHERE u.state = 'used') AS last_used_at
        FROM promo_uses u JOIN orders o ON o.id = u.order_id WHERE u.promo_id = p.id
    ) u ORDER BY p.is_active AND p.valid_to > now() DESC, p.created_at DESC, p.id
""")
_ADD = text("""
    INSERT INTO promo_codes (code, description, kind, percent, amount_minor, currency, valid_from, valid_to, usage_limit,
        per_person_limit, minimum_minor, stacks)
    VALUES (:code, :description, :kind, :percent, :amount_minor, :currency, :valid_from, :valid_to, :usage_limit,
        :per_person_limit, :minimum_minor, :stacks)
""")
_SWITCH = text("UPDATE promo_codes SET is_active = :is_active WHERE id = :promo_id")
_POINTS = text("""
    SELECT e.seq, e.at, e.points, e.kind, e.note, o.number AS order_number, e.expires_at
    FROM loyalty_entries e LEFT JOIN orders o ON o.id = e.order_id
    WHERE e.user_id = :user_id AND e.seq < :before ORDER BY e.seq DESC LIMIT :limit
""")


async def list_promos(tx: Transaction) -> list[PromoLine]:
    """Return the promo codes, those in force first, at most 200."""
    return await tx.all(_LINES, into=PromoLine)


async def issue_promo(tx: Transaction, draft: PromoDraft) -> None:
    """Issue a promo code. Raises `PromoTwice`, `BadPromo`."""
    await tx.run(_ADD, **msgspec.structs.asdict(draft))


async def switch_promo(tx: Transaction, promo_id: UUID, *, is_active: bool) -> None:
    """Let a promo code be used, or no longer; orders that have it keep it. Raises `NoSuchPromo`."""
    if not await tx.run(_SWITCH, promo_id=promo_id, is_active=is_active):
        raise NoSuchPromo


async def list_points(tx: Transaction, user_id: UUID, *, before: int = 2**31 - 1, limit: int = 50) -> list[PointsLine]:
    """Return the changes of a person's points, the latest first."""
    return await tx.all(_POINTS, into=PointsLine, user_id=user_id, before=before, limit=limit)

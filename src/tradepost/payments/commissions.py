"""What the store keeps of a sale, rule by rule, as those who run it set it. The newest word for the same sales takes the place of the last.

A trigger raises `rules_version`, so every process reckons by the new rules from the next checkout on; orders keep what they were made with.
"""

from decimal import Decimal
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.database import Transaction, on_violation
from tradepost.core.errors import FieldErrors, NotFound
from tradepost.core.ids import uuid7


class NoSuchRule(NotFound):
    """There is no such rule of commission."""


class RuleOutOfRange(FieldErrors):
    """A commission is 0 to 100 percent, and a fixed amount of 0 or more."""


class CommissionDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A rule: for a seller, a category with all below it, a kind of listing, or everything where none is named."""

    name: str
    percent: Decimal
    fixed_minor: int = 0
    currency: str | None = None
    seller_id: UUID | None = None
    category_id: UUID | None = None
    kind: str | None = None


class OfficeRule(msgspec.Struct, frozen=True):
    """A rule as the office shows it; `category`: its slugs from the root, "" for every one."""

    id: UUID
    name: str
    percent: Decimal
    fixed_minor: int
    currency: str | None
    seller: str
    category: str
    kind: str
    is_active: bool


on_violation("ck_commission_rules_percent_range", lambda: RuleOutOfRange({"percent": "0 to 100 percent."}))
on_violation("ck_commission_rules_fixed_not_negative", lambda: RuleOutOfRange({"fixed": "0 or more."}))

_LIST = text("""
    SELECT r.id, r.name, r.percent, r.fixed_minor, r.currency, coalesce(u.username, '') AS seller, coalesce(c.path, '') AS category,
           coalesce(r.kind, '') AS kind, r.is_active
    FROM commission_rules r LEFT JOIN users u ON u.id = r.seller_id LEFT JOIN categories c ON c.id = r.category_id
    ORDER BY r.is_active DESC, (r.seller_id IS NULL), (r.category_id IS NULL), r.name, r.id LIMIT 500
""")
_PUT = text("""
    INSERT INTO commission_rules (id, name, percent, fixed_minor, currency, seller_id, category_id, kind)
    VALUES (:id, :name, :percent, :fixed_minor, :currency, :seller_id, :category_id, :kind)
    ON CONFLICT (seller_id, category_id, kind) DO UPDATE SET name = excluded.name, percent = excluded.percent,
        fixed_minor = excluded.fixed_minor, currency = excluded.currency, is_active = true
""")
_SWITCH = text("UPDATE commission_rules SET is_active = :is_active WHERE id = :id")


async def list_rules(tx: Transaction) -> list[OfficeRule]:
    """Return the rules, those in force first, the most specific before the others."""
    return await tx.all(_LIST, into=OfficeRule)


async def put_rule(tx: Transaction, draft: CommissionDraft) -> None:
    """Put a rule in force in place of the one for the same sales. Raises `RuleOutOfRange`."""
    await tx.run(
        _PUT, id=uuid7(), name=draft.name, percent=draft.percent, fixed_minor=draft.fixed_minor, currency=draft.currency,
        seller_id=draft.seller_id, category_id=draft.category_id, kind=draft.kind,
    )  # fmt: skip


async def switch_rule(tx: Transaction, rule_id: UUID, *, is_active: bool) -> None:
    """End a rule, or put it in force again. Raises `NoSuchRule`."""
    if not await tx.run(_SWITCH, id=rule_id, is_active=is_active):
        raise NoSuchRule

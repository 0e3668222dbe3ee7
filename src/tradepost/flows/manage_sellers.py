"""Sellers at a glance, and what the store keeps of their sales."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.accounts.types import Caller, NoSuchPerson
from tradepost.catalog.listing_pages import category_tree
from tradepost.core.database import Actor, Transaction
from tradepost.core.errors import FieldErrors
from tradepost.core.pages import Page, from_cursor, page_of, page_size, to_cursor
from tradepost.core.text import is_plain, one_line
from tradepost.flows.store import Store
from tradepost.payments import commissions
from tradepost.payments.commissions import CommissionDraft, OfficeRule
from tradepost.payments.queries import SELLER_BY_NAME

MOST_COUNTED = 1_000


class SellerLine(msgspec.Struct, frozen=True):
    """A seller as the office lists them. `offered`: listings on offer, at most 1,000 counted; `percent`: their own commission, if any."""

    id: UUID
    username: str
    name: str
    created_at: datetime
    is_active: bool
    offered: int
    is_verified: bool
    percent: Decimal | None
    fixed_minor: int | None


_SELLERS = text(f"""
    SELECT u.id, u.username, coalesce(u.business_name, u.display_name) AS name, u.created_at, u.is_active,
           (SELECT count(*) FROM (SELECT FROM listings l WHERE l.seller_id = u.id AND l.status = 'active' LIMIT {MOST_COUNTED}) n) AS offered,
           EXISTS (SELECT FROM verifications v WHERE v.user_id = u.id AND v.status = 'verified') AS is_verified,
           r.percent, r.fixed_minor
    FROM users u LEFT JOIN commission_rules r ON r.seller_id = u.id AND r.category_id IS NULL AND r.kind IS NULL AND r.is_active
    WHERE u.erased_at IS NULL AND u.id < :before AND EXISTS (
        SELECT FROM user_roles ur JOIN role_permissions rp ON rp.role = ur.role WHERE ur.user_id = u.id AND rp.permission = 'sell')
      AND (CAST(:words AS text) = '' OR u.username ILIKE :like OR u.display_name ILIKE :like OR u.business_name ILIKE :like)
    ORDER BY u.id DESC LIMIT :limit
""")
_LAST = UUID(int=(1 << 128) - 1)


async def list_sellers(
    store: Store, caller: Caller, words: str = "", *, after: str | None = None, limit: int = 50
) -> Page[SellerLine]:
    """Return sellers, the newest first, by part of their name. Raises `NotAllowed`, `NoSuchPage`."""
    caller.check_can("see_reports")
    size = page_size(limit)
    (before,) = from_cursor(after, UUID) if after else (_LAST,)
    said = one_line(words)[:60] if is_plain(words) else ""
    like = "%" + "".join("\\" + c if c in "%_\\" else c for c in said) + "%"
    async with store.db.transaction(actor=Actor("staff", caller.user_id), read_only=True) as tx:
        rows: list[SellerLine] = await tx.all(
            _SELLERS, into=SellerLine, before=before, words=said, like=like, limit=size + 1
        )
    return page_of(rows, size, lambda last: to_cursor(last.id))


async def list_rules(store: Store, caller: Caller) -> list[OfficeRule]:
    """Return every rule of commission. Raises `NotAllowed`."""
    caller.check_can("see_reports")
    async with store.db.transaction(actor=Actor("staff", caller.user_id), read_only=True) as tx:
        return await commissions.list_rules(tx)


class RuleForm(msgspec.Struct, frozen=True, kw_only=True):
    """A rule as a form writes it: a username, a slug and a kind, each "" for every one."""

    name: str
    percent: Decimal
    fixed_minor: int = 0
    seller: str = ""
    category: str = ""
    kind: str = ""


async def put_rule(store: Store, caller: Caller, form: RuleForm) -> None:
    """Put a rule in force from the next checkout on. Raises `NotAllowed`, `FieldErrors`, `NoSuchPerson`."""
    caller.check_can("manage_store")
    name = one_line(form.name)
    if not 1 <= len(name) <= 100 or not is_plain(form.name):
        raise FieldErrors({"name": "A name of 1 to 100 characters."})
    if not form.percent.is_finite() or not 0 <= form.percent <= 100:
        raise FieldErrors({"percent": "0 to 100 percent."})
    category = (await category_tree(store.db)).by_slug.get(form.category)
    if form.category and category is None:
        raise FieldErrors({"category": "Choose one of the list."})
    if form.kind and form.kind not in {kind.code for kind in store.settings.kinds}:
        raise FieldErrors({"kind": "Choose one of the list."})
    async with store.db.transaction(actor=Actor("staff", caller.user_id)) as tx:
        seller_id = await _seller(tx, form.seller)
        await commissions.put_rule(
            tx,
            CommissionDraft(
                name=name, percent=round(form.percent, 2), fixed_minor=form.fixed_minor, currency=store.currency if form.fixed_minor else None,
                seller_id=seller_id, category_id=category.id if category else None, kind=form.kind or None,
            ),
        )  # fmt: skip


async def _seller(tx: Transaction, username: str) -> UUID | None:
    if not username.strip():
        return None
    found: UUID | None = await tx.value(SELLER_BY_NAME, username=username.strip()) if is_plain(username) else None
    if found is None:
        raise NoSuchPerson
    return found


async def switch_rule(store: Store, caller: Caller, rule_id: UUID, *, is_active: bool) -> None:
    """End a rule, or put it in force again. Raises `NotAllowed`, `NoSuchRule`."""
    caller.check_can("manage_store")
    async with store.db.transaction(actor=Actor("staff", caller.user_id)) as tx:
        await commissions.switch_rule(tx, rule_id, is_active=is_active)

"""Listings and stock in the back office: found, changed many at once, taken out as a table (import_listings brings one in)."""

from collections.abc import AsyncGenerator, Iterable
from decimal import Decimal
from functools import cache
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import TextClause, text

from tradepost.accounts.types import Caller
from tradepost.catalog import service as catalog
from tradepost.catalog import stock
from tradepost.catalog.listing_pages import CategoryTree, category_tree
from tradepost.core.database import Transaction
from tradepost.core.errors import DomainError, FieldErrors
from tradepost.core.ids import short_id
from tradepost.core.money import percent_of, to_major
from tradepost.core.pages import Page, from_cursor, page_size, to_cursor
from tradepost.flows.orders import reading
from tradepost.flows.store import Store

MOST_AT_ONCE = 200
Status = Literal["", "draft", "active", "inactive", "sold"]


class OfficeListing(msgspec.Struct, frozen=True):
    """A variant with its listing, as a row of the office's table; `on_hand` None: not tracked."""

    variant_id: UUID
    listing_id: UUID
    slug: str
    title: str
    options: dict[str, str]
    sku: str | None
    status: str
    category: str
    seller_name: str
    image_id: UUID | None
    unit: str
    price_minor: int | None
    on_hand: Decimal | None
    reserved: Decimal
    variant_count: int

    @property
    def path(self) -> str:
        """The address of the listing's page."""
        return f"/l/{self.slug}-{short_id(self.listing_id)}"

    @property
    def label(self) -> str:
        """The options in words."""
        return ", ".join(str(value) for value in self.options.values())


class ListingQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What the table is asked for. `words`: the beginning of a SKU, or words of the title."""

    words: str = ""
    status: str = ""
    category: str = ""
    low: bool = False


_SELECT = """
    SELECT v.id AS variant_id, l.id AS listing_id, l.slug, l.title, v.options, v.sku, l.status, coalesce(c.slug, '') AS category,
           coalesce(u.business_name, u.display_name, '') AS seller_name, l.image_id, v.unit, p.amount_minor AS price_minor, v.on_hand,
           v.reserved, (SELECT count(*) FROM variants o WHERE o.listing_id = l.id AND o.is_active) AS variant_count
    FROM listings l JOIN variants v ON v.listing_id = l.id AND v.is_active
    LEFT JOIN categories c ON c.id = l.category_id LEFT JOIN users u ON u.id = l.seller_id
    LEFT JOIN LATERAL (SELECT amount_minor FROM prices WHERE variant_id = v.id AND currency = :currency AND valid_from <= now()
                       AND (valid_to IS NULL OR valid_to > now()) LIMIT 1) p ON true
    WHERE l.source_id IS NULL AND l.status <> 'removed'
"""
_TESTS = {
    "words": "(l.title ILIKE :words OR v.sku ILIKE :sku)",
    "status": "l.status = :status",
    "category": "(c.path = :category OR c.path LIKE :category || '/%')",
    "low": "v.on_hand IS NOT NULL AND v.on_hand - v.reserved <= 3",
    "after": "(l.id, v.id) < (:after_listing, :after_variant)",
}


@cache
def _statement(names: frozenset[str]) -> TextClause:
    tests = "".join(f" AND {_TESTS[name]}" for name in sorted(names))
    return text(f"{_SELECT}{tests} ORDER BY l.id DESC, v.id DESC LIMIT :limit")


async def search_listings(
    store: Store, caller: Caller, asked: ListingQuestion, *, after: str | None = None, limit: int = 50
) -> Page[OfficeListing]:
    """Return the variants that fit, the newest listing first. Raises `NotAllowed`, `NoSuchPage`."""
    caller.check_can("manage_catalog")
    tree, size = await category_tree(store.db), page_size(limit)
    params = _params(asked, tree)
    if after is not None:
        params["after_listing"], params["after_variant"] = from_cursor(after, UUID, UUID)
    names = frozenset(({"words"} if "words" in params else set()) | ({"status", "category"} & params.keys()))
    names |= ({"low"} if asked.low else frozenset()) | ({"after"} if after is not None else frozenset())
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        rows = await tx.all(_statement(names), into=OfficeListing, currency=store.currency, limit=size + 1, **params)
    items = tuple(rows[:size])
    more = len(rows) > size
    return Page(items, to_cursor(items[-1].listing_id, items[-1].variant_id) if more else None)


def _params(asked: ListingQuestion, tree: CategoryTree) -> dict[str, Any]:
    found: dict[str, Any] = {}
    words = " ".join(asked.words.split())[:60]
    if words:
        safe = "".join("\\" + c if c in "%_\\" else c for c in words)
        found |= {"words": f"%{safe}%", "sku": f"{safe}%"}
    if asked.status in {"draft", "active", "inactive", "sold"}:
        found["status"] = asked.status
    category = tree.by_slug.get(asked.category)
    if category is not None:
        found["category"] = category.path
    return found


class BulkForm(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with several variants at once: `amount` is percent for a price, pieces for stock."""

    action: Literal["publish", "withdraw", "price", "stock"]
    amount: Decimal | None = None


class Bulk(msgspec.Struct, frozen=True):
    """What became of it: how many changed, and why others did not."""

    changed: int
    refused: tuple[str, ...]


_OF = text("""
    SELECT v.id AS variant_id, v.listing_id, v.on_hand, p.amount_minor, l.title FROM variants v JOIN listings l ON l.id = v.listing_id
    LEFT JOIN LATERAL (SELECT amount_minor FROM prices WHERE variant_id = v.id AND currency = :currency AND valid_from <= now()
                       AND (valid_to IS NULL OR valid_to > now()) LIMIT 1) p ON true
    WHERE v.id = ANY (CAST(:ids AS uuid[])) ORDER BY v.id
""")


async def change_many(store: Store, caller: Caller, ids: Iterable[UUID], form: BulkForm) -> Bulk:
    """Change up to 200 variants, each on its own: one that cannot change holds up no other. Raises `NotAllowed`, `FieldErrors`."""
    caller.check_can("manage_catalog")
    if form.action in {"price", "stock"} and form.amount is None:
        raise FieldErrors({"amount": "By how much?"})
    if form.action == "price" and not -90 <= (form.amount or 0) <= 1000:
        raise FieldErrors({"amount": "Between -90 and 1000 percent."})
    changed, refused = 0, []
    async with store.db.transaction(actor=caller.actor) as tx:
        rows = await tx.all(_OF, ids=list(dict.fromkeys(ids))[:MOST_AT_ONCE], currency=store.currency)
        for row in rows:
            try:
                async with tx.savepoint():
                    await _change_one(tx, store, caller, row, form)
            except DomainError as error:
                if error.kind == "unavailable":
                    raise
                refused.append(f"{row['title']}: {error.message}")
            else:
                changed += 1
    return Bulk(changed, tuple(refused))


async def _change_one(tx: Transaction, store: Store, caller: Caller, row: Any, form: BulkForm) -> None:
    amount = form.amount or Decimal(0)
    match form.action:
        case "publish":
            await catalog.publish_listing(tx, caller, row["listing_id"])
        case "withdraw":
            await catalog.withdraw_listing(tx, caller, row["listing_id"])
        case "price":
            old = row["amount_minor"] or 0
            change = percent_of(old, abs(amount))
            await catalog.change_price(
                tx, caller, row["variant_id"], max(old + (change if amount >= 0 else -change), 0), store.currency
            )
        case _:
            await catalog.access_own_listing(tx, caller, row["listing_id"])
            left = max((row["on_hand"] or Decimal(0)) + amount, Decimal(0))
            await stock.set_stock(
                tx, row["variant_id"], left, actor_id=caller.user_id, reason="correction", note="In bulk"
            )


async def export_listings(
    store: Store, caller: Caller, asked: ListingQuestion
) -> AsyncGenerator[list[tuple[Any, ...]], None]:
    """Return everything that fits as rows of the same columns that are brought in, some at a time. Raises `NotAllowed`."""
    caller.check_can("manage_catalog")
    return _export(store, caller, asked)


async def _export(store: Store, caller: Caller, asked: ListingQuestion) -> AsyncGenerator[list[tuple[Any, ...]], None]:
    after: str | None = None
    while True:
        found = await search_listings(store, caller, asked, after=after, limit=100)
        yield [_as_row(row, store.currency) for row in found.items]
        after = found.after
        if after is None:
            return


def _as_row(row: OfficeListing, currency: str) -> tuple[Any, ...]:
    price = to_major(row.price_minor, currency) if row.price_minor is not None else None
    return (row.sku or "", row.title, row.category, "", price, row.on_hand, row.unit, "", row.status)

"""The staff shape the category tree; menus, addresses and search follow.

Promises that the tree changes in one transaction and that what is many, the documents of search and the listings of a merged category,
follows in a job that may be repeated.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import msgspec
import structlog

from tradepost.accounts.types import Caller
from tradepost.catalog import tree
from tradepost.catalog.listing_pages import forget_categories
from tradepost.catalog.tree import CategoryDraft, CategoryInUse, OfficeCategory, Where
from tradepost.core.database import SYSTEM, Transaction
from tradepost.core.jobs import enqueue, job
from tradepost.flows.store import Store
from tradepost.search.counting import refresh_category
from tradepost.streams.service import move_shows

PERMISSION = "manage_catalog"
_AT_ONCE = 500
_LONG = timedelta(hours=2)
_log = structlog.get_logger(__name__)
T = TypeVar("T")


class CategoryChanged(msgspec.Struct, frozen=True):
    """The category whose documents search brings in line."""

    category_id: UUID


class CategoryMerged(msgspec.Struct, frozen=True):
    """The category whose listings go to another."""

    source: UUID
    target: UUID


async def list_categories(store: Store, caller: Caller) -> tuple[OfficeCategory, ...]:
    """Return every category, hidden ones too, each before what is below it. Raises `NotAllowed`."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await tree.list_tree(tx)


async def _change(store: Store, caller: Caller, change: Callable[[Transaction], Awaitable[T]]) -> T:
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor) as tx:
        done = await change(tx)
    forget_categories(store.db)
    return done


async def add_category(store: Store, caller: Caller, draft: CategoryDraft) -> str:
    """Add a category; return its slug. Raises `NotAllowed`, `FieldErrors`, `TooManyCategories`, `SlugTaken`."""
    return await _change(store, caller, lambda tx: tree.add_category(tx, draft))


async def change_category(store: Store, caller: Caller, slug: str, draft: CategoryDraft) -> None:
    """Give a category another name, description, picture or parent. Raises `NotAllowed`, `NoSuchCategory`, `FieldErrors`, `BelowItself`."""

    async def change(tx: Transaction) -> None:
        was = await tree.change_category(tx, slug, draft)
        await _follow(tx, was.id)

    await _change(store, caller, change)


async def place_category(store: Store, caller: Caller, slug: str, where: Where, to: str = "") -> None:
    """Put a category before, after or inside another, or one step further. Raises `NotAllowed`, `NoSuchCategory`, `BelowItself`."""

    async def change(tx: Transaction) -> None:
        was = await tree.place_category(tx, slug, where, to)
        if where not in {"up", "down"}:
            await _follow(tx, was.id)

    await _change(store, caller, change)


async def _follow(tx: Transaction, category_id: UUID) -> None:
    await enqueue(
        tx, "search.follow_category", CategoryChanged(category_id), dedupe=f"search.follow_category:{category_id}"
    )


async def show_category(store: Store, caller: Caller, slug: str, *, is_active: bool) -> None:
    """Show a category in menus, or hide it with all below it. Raises `NotAllowed`, `NoSuchCategory`."""
    await _change(store, caller, lambda tx: tree.show_category(tx, slug, is_active=is_active))


async def delete_category(store: Store, caller: Caller, slug: str) -> None:
    """Take away a category that nothing needs. Raises `NotAllowed`, `NoSuchCategory`, `CategoryInUse`."""
    await _change(store, caller, lambda tx: tree.delete_category(tx, slug))


async def merge_category(store: Store, caller: Caller, slug: str, into: str) -> None:
    """Make a category part of another: its listings, shows and what is below it go there, its address leads there.

    The listings follow in a job. Raises `NotAllowed`, `NoSuchCategory`, `FieldErrors`.
    """

    async def change(tx: Transaction) -> None:
        source, target = await tree.begin_merge(tx, slug, into)
        await move_shows(tx, source, target)
        await _follow(tx, target)
        await enqueue(
            tx, "catalog.merge_category", CategoryMerged(source, target), dedupe=f"catalog.merge_category:{source}"
        )

    await _change(store, caller, change)


@job("search.follow_category", args=CategoryChanged, time_limit=_LONG)
async def follow_category_job(store: Store, args: CategoryChanged) -> None:
    """Bring the documents of a category in line with its name and place."""
    await refresh_category(store.db, args.category_id)


@job("catalog.merge_category", args=CategoryMerged, time_limit=_LONG)
async def merge_category_job(store: Store, args: CategoryMerged) -> None:
    """Give a category's listings to another, some at a time, and take it away; where a rule of money needs it, it stays hidden."""
    moved = _AT_ONCE
    while moved == _AT_ONCE:
        async with store.db.transaction(actor=SYSTEM) as tx:
            moved = await tree.move_listings(tx, args.source, args.target, _AT_ONCE)
    try:
        async with store.db.transaction(actor=SYSTEM) as tx:
            await tree.end_merge(tx, args.source)
    except CategoryInUse:
        _log.warning("catalog.category_kept", category=str(args.source))
    forget_categories(store.db)

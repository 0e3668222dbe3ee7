"""The variants of listings with their stock and their prices, written many at once.

Promises one statement for each sort of change, however many variants there are. Who may change a listing is asked by the caller
of these functions, which belong to this module.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET
from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.catalog.stock import NotEnoughStock, begin_stock, lock_stock, set_stocks
from tradepost.catalog.types import SkuTaken, VariantDraft
from tradepost.core.database import Transaction, on_violation
from tradepost.core.errors import Conflict, FieldErrors
from tradepost.core.ids import uuid7

on_violation("uq_variants_sku", SkuTaken)
on_violation("fk_variants_unit", lambda: FieldErrors({"unit": "Choose one of the units."}))


class OrdersWait(Conflict):
    """Orders wait for these goods: until they have come, ordering ahead cannot be taken back."""


class NewVariant(msgspec.Struct, frozen=True):
    """A variant that is not there yet, with its listing and its place among the listing's variants."""

    id: UUID
    listing_id: UUID
    position: int
    draft: VariantDraft


class Price(msgspec.Struct, frozen=True):
    """What a variant shall cost from now on, and what it is compared with."""

    amount_minor: int
    compare_at_minor: int | None = None


_OF_LISTING = text("SELECT id, options, backorder_until, expected_on FROM variants WHERE listing_id = :listing_id")
_ADD = text("""
    INSERT INTO variants (id, listing_id, position, sku, options, unit, sale_step, on_hand, backorder_until, expected_on)
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:listings AS uuid[]), CAST(:positions AS int[]), CAST(:skus AS text[]),
                         CAST(:options AS jsonb[]), CAST(:units AS text[]), CAST(:steps AS numeric[]), CAST(:on_hand AS numeric[]),
                         CAST(:untils AS timestamptz[]), CAST(:expected AS date[]))
""")
_CHANGE = text("""
    UPDATE variants v SET position = w.position, sku = w.sku, options = w.options, unit = w.unit, sale_step = w.step, is_active = true
    FROM unnest(CAST(:ids AS uuid[]), CAST(:positions AS int[]), CAST(:skus AS text[]), CAST(:options AS jsonb[]),
                CAST(:units AS text[]), CAST(:steps AS numeric[])) AS w(id, position, sku, options, unit, step)
    WHERE v.id = w.id
""")
_RETIRE = text("UPDATE variants SET is_active = false WHERE id = ANY (CAST(:ids AS uuid[]))")
_ORDER_AHEAD = text("UPDATE variants SET backorder_until = :until, expected_on = :expected WHERE id = :variant")
_RUNNING = text("""
    SELECT variant_id, amount_minor, compare_at_minor FROM prices
    WHERE variant_id = ANY (CAST(:ids AS uuid[])) AND currency = :currency AND valid_to IS NULL
""")
_END_PRICES = text("""
    UPDATE prices SET valid_to = now()
    WHERE variant_id = ANY (CAST(:ids AS uuid[])) AND currency = :currency AND valid_to IS NULL AND valid_from < now()
""")
_DROP_UNSTARTED = text("""
    DELETE FROM prices WHERE variant_id = ANY (CAST(:ids AS uuid[])) AND currency = :currency AND valid_from >= now()
""")
_ADD_PRICES = text("""
    INSERT INTO prices (variant_id, currency, amount_minor, compare_at_minor)
    SELECT w.id, :currency, w.amount, w.compare_at
    FROM unnest(CAST(:ids AS uuid[]), CAST(:amounts AS bigint[]), CAST(:compare_at AS bigint[])) AS w(id, amount, compare_at)
""")


async def write_variants(
    tx: Transaction, caller: Caller, listing_id: UUID, drafts: Sequence[VariantDraft], currency: str
) -> None:
    """Make and change the variants of a listing, known by id or else by their options.

    Those that are left out stay for old orders, but are no longer offered. Raises `SkuTaken`, `FieldErrors`, `OrdersWait`.
    """
    rows = await tx.all(_OF_LISTING, listing_id=listing_id)
    known, named = {r["id"]: r for r in rows}, {draft.id for draft in drafts}
    by_options = {_key(r["options"]): r["id"] for r in rows if r["id"] not in named}
    fresh: list[NewVariant] = []
    kept: dict[UUID, tuple[int, VariantDraft]] = {}
    for position, draft in enumerate(drafts):
        found = draft.id if draft.id in known else by_options.get(_key(draft.options))
        if found is None:
            fresh.append(NewVariant(uuid7(), listing_id, position, draft))
        else:
            kept[found] = (position, draft)
    if kept:
        await _change(tx, caller, kept, known, currency)
    await add_variants(tx, fresh, currency, actor_id=caller.user_id)
    if gone := known.keys() - kept.keys():
        await tx.run(_RETIRE, ids=list(gone))


async def add_variants(
    tx: Transaction, fresh: Sequence[NewVariant], currency: str, *, actor_id: UUID | None = None
) -> None:
    """Add variants with what there is of them and what they cost. Raises `SkuTaken`, `FieldErrors`."""
    if not fresh:
        return
    drafts = [new.draft for new in fresh]
    await tx.run(
        _ADD, ids=[new.id for new in fresh], listings=[new.listing_id for new in fresh], positions=[new.position for new in fresh],
        on_hand=[d.on_hand for d in drafts], untils=[_given(d.backorder_until) for d in drafts],
        expected=[_given(d.expected_on) for d in drafts], **_columns(drafts),
    )  # fmt: skip
    await begin_stock(tx, {new.id: new.draft.on_hand for new in fresh if new.draft.on_hand}, actor_id=actor_id)
    await _begin_prices(tx, {new.id: _price(new.draft) for new in fresh}, currency)


async def set_prices(tx: Transaction, wanted: Mapping[UUID, Price], currency: str) -> None:
    """End running prices and begin these now, where they differ."""
    running = {r[0]: Price(r[1], r[2]) for r in await tx.all(_RUNNING, ids=list(wanted), currency=currency)}
    other = {variant: price for variant, price in wanted.items() if running.get(variant) != price}
    if other:
        await tx.run(_END_PRICES, ids=list(other), currency=currency)
        await tx.run(_DROP_UNSTARTED, ids=list(other), currency=currency)
        await _begin_prices(tx, other, currency)


async def change_amounts(tx: Transaction, wanted: Mapping[UUID, int], currency: str) -> None:
    """Give variants other prices from now on; a price to compare with stays where it is still higher."""
    running = {r[0]: r[2] for r in await tx.all(_RUNNING, ids=list(wanted), currency=currency)}
    prices = {}
    for variant, amount in wanted.items():
        before = running.get(variant)
        prices[variant] = Price(amount, before if before is not None and before > amount else None)
    await set_prices(tx, prices, currency)


async def _begin_prices(tx: Transaction, prices: Mapping[UUID, Price], currency: str) -> None:
    await tx.run(
        _ADD_PRICES, ids=list(prices), currency=currency, amounts=[p.amount_minor for p in prices.values()],
        compare_at=[p.compare_at_minor for p in prices.values()],
    )  # fmt: skip


async def _change(
    tx: Transaction, caller: Caller, kept: Mapping[UUID, tuple[int, VariantDraft]], known: Mapping[UUID, Any], currency: str
) -> None:  # fmt: skip
    drafts = [draft for _, draft in kept.values()]
    positions = [position for position, _ in kept.values()]
    await tx.run(_CHANGE, ids=list(kept), positions=positions, **_columns(drafts))
    for variant, (_, draft) in kept.items():
        await _order_ahead(tx, variant, draft, known[variant])
    stocked = {v: d for v, (_, d) in kept.items() if d.on_hand_before != d.on_hand}
    if stocked:
        now = await lock_stock(tx, list(stocked))
        wanted = {v: _meant(d, now[v].on_hand) for v, d in stocked.items()}
        await set_stocks(tx, wanted, actor_id=caller.user_id)
    await set_prices(tx, {v: _price(d) for v, (_, d) in kept.items()}, currency)


def _meant(draft: VariantDraft, now: Decimal | None) -> Decimal | None:
    """Return the stock a writer meant: as much more or less as they wrote, because orders go on meanwhile."""
    if draft.on_hand is None or now is None or not isinstance(draft.on_hand_before, Decimal):
        return draft.on_hand
    return max(now + draft.on_hand - draft.on_hand_before, Decimal(0))


async def _order_ahead(tx: Transaction, variant_id: UUID, draft: VariantDraft, found: Any) -> None:
    """Write until when more may be ordered than there is, where the draft says so. Raises `OrdersWait`."""
    before = (found["backorder_until"], found["expected_on"])
    drafted = (draft.backorder_until, draft.expected_on)
    wanted = tuple(old if new is UNSET else new for new, old in zip(drafted, before, strict=True))
    if wanted == before:
        return
    try:
        await tx.run(_ORDER_AHEAD, variant=variant_id, until=wanted[0], expected=wanted[1])
    except NotEnoughStock:
        raise OrdersWait from None


def _columns(drafts: Sequence[VariantDraft]) -> dict[str, list[Any]]:
    return {
        "skus": [d.sku or None for d in drafts],
        "options": [d.options for d in drafts],
        "units": [d.unit for d in drafts],
        "steps": [d.sale_step for d in drafts],
    }


def _given(value: datetime | date | Any) -> Any:
    return None if value is UNSET else value


def _price(draft: VariantDraft) -> Price:
    return Price(draft.price_minor, draft.compare_at_minor)


def _key(options: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(options.items()))

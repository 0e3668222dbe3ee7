"""Commands and reads of the kitchen."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text

from tradepost.core.database import Transaction, on_violation
from tradepost.core.text import one_line
from tradepost.kitchen.types import (
    BadAmount,
    Ingredient,
    IngredientDraft,
    IngredientTwice,
    Movement,
    NoSuchIngredient,
    Reason,
    RecipeLine,
)

on_violation("uq_ingredients_name", IngredientTwice)
on_violation("ck_recipe_lines_quantity_positive", BadAmount)
on_violation("ck_ingredient_movements_quantity_not_zero", BadAmount)
on_violation("ck_ingredients_amounts_make_sense", BadAmount)
on_violation("fk_recipe_lines_ingredient_id", NoSuchIngredient)

_INGREDIENT = """
    SELECT i.id, CAST(i.name AS text) AS name, i.unit, i.on_hand, i.reorder_at, i.pack, i.supplier, i.is_active,
           (SELECT count(*) FROM recipe_lines r WHERE r.ingredient_id = i.id) AS used_in
    FROM ingredients i
"""
_ALL = text(
    f"{_INGREDIENT} WHERE i.is_active OR i.on_hand <> 0 ORDER BY (i.on_hand <= i.reorder_at AND i.reorder_at > 0) DESC, i.name LIMIT 500"
)
_ADD = text("""
    INSERT INTO ingredients (name, unit, reorder_at, pack, supplier) VALUES (:name, :unit, :reorder_at, :pack, :supplier) RETURNING id
""")
_CHANGE = text("""
    UPDATE ingredients SET name = :name, unit = :unit, reorder_at = :reorder_at, pack = :pack, supplier = :supplier
    WHERE id = :ingredient_id
""")
_LOCK = text("SELECT on_hand FROM ingredients WHERE id = :ingredient_id FOR NO KEY UPDATE")
_MOVE = text("""
    INSERT INTO ingredient_movements (ingredient_id, quantity, reason, note, baked_on, actor_id)
    VALUES (:ingredient_id, :quantity, :reason, :note, :baked_on, :actor_id)
""")
_HISTORY = text("""
    SELECT m.at, m.quantity, m.reason, m.note, coalesce(u.display_name, '') AS actor_name
    FROM ingredient_movements m LEFT JOIN users u ON u.id = m.actor_id
    WHERE m.ingredient_id = :ingredient_id ORDER BY m.at DESC, m.id DESC LIMIT 50
""")
_RECIPES = text("""
    SELECT r.listing_id, r.ingredient_id, CAST(i.name AS text) AS name, i.unit, r.quantity
    FROM recipe_lines r JOIN ingredients i ON i.id = r.ingredient_id
    WHERE r.listing_id = ANY (CAST(:listing_ids AS uuid[])) ORDER BY i.name
""")
_DROP_RECIPE = text("DELETE FROM recipe_lines WHERE listing_id = :listing_id")
_ADD_LINE = text(
    "INSERT INTO recipe_lines (listing_id, ingredient_id, quantity) VALUES (:listing_id, :ingredient_id, :quantity)"
)
_BAKED = text("""
    SELECT ingredient_id, -sum(quantity) AS taken FROM ingredient_movements WHERE baked_on = :day GROUP BY ingredient_id
""")
_LOCK_ALL = text("SELECT id FROM ingredients WHERE id = ANY (CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE")


async def list_ingredients(tx: Transaction) -> list[Ingredient]:
    """Return what there is to make things of: what is to be ordered first, then by name."""
    return await tx.all(_ALL, into=Ingredient)


async def add_ingredient(tx: Transaction, draft: IngredientDraft) -> UUID:
    """Write an ingredient down and return its id. Raises `IngredientTwice`."""
    ingredient_id: UUID = await tx.value(_ADD, **_columns(draft))
    return ingredient_id


async def change_ingredient(tx: Transaction, ingredient_id: UUID, draft: IngredientDraft) -> None:
    """Rewrite an ingredient; its stock stays. Raises `NoSuchIngredient`, `IngredientTwice`."""
    if not await tx.run(_CHANGE, ingredient_id=ingredient_id, **_columns(draft)):
        raise NoSuchIngredient


def _columns(draft: IngredientDraft) -> dict[str, object]:
    return {"name": one_line(draft.name), "unit": one_line(draft.unit), "reorder_at": draft.reorder_at, "pack": draft.pack,
            "supplier": one_line(draft.supplier)}  # fmt: skip


async def move_ingredient(
    tx: Transaction,
    ingredient_id: UUID,
    quantity: Decimal,
    reason: Reason,
    *,
    note: str = "",
    actor_id: UUID | None = None,
) -> None:
    """Change the stock of an ingredient by so much, with the reason. Raises `NoSuchIngredient`, `BadAmount`."""
    if await tx.maybe(_LOCK, ingredient_id=ingredient_id) is None:
        raise NoSuchIngredient
    await tx.run(
        _MOVE, ingredient_id=ingredient_id, quantity=quantity, reason=reason, note=one_line(note)[:300], baked_on=None,
        actor_id=actor_id,
    )  # fmt: skip


async def count_ingredient(
    tx: Transaction, ingredient_id: UUID, counted: Decimal, *, note: str = "", actor_id: UUID | None = None
) -> Decimal:
    """Make the stock what was counted; return the difference. Raises `NoSuchIngredient`."""
    row = await tx.maybe(_LOCK, ingredient_id=ingredient_id)
    if row is None:
        raise NoSuchIngredient
    difference = Decimal(counted - row["on_hand"])
    if difference:
        await tx.run(
            _MOVE, ingredient_id=ingredient_id, quantity=difference, reason="stock_take", note=one_line(note)[:300],
            baked_on=None, actor_id=actor_id,
        )  # fmt: skip
    return difference


async def list_movements(tx: Transaction, ingredient_id: UUID) -> list[Movement]:
    """Return the last fifty changes of an ingredient's stock, the latest first."""
    return await tx.all(_HISTORY, into=Movement, ingredient_id=ingredient_id)


async def read_recipes(tx: Transaction, listing_ids: Sequence[UUID]) -> list[RecipeLine]:
    """Return what goes into one of each of these listings."""
    return await tx.all(_RECIPES, into=RecipeLine, listing_ids=list(listing_ids))


async def set_recipe(tx: Transaction, listing_id: UUID, amounts: Mapping[UUID, Decimal]) -> None:
    """Say what goes into one of a listing; replaces what was said. Raises `NoSuchIngredient`, `BadAmount`."""
    await tx.run(_DROP_RECIPE, listing_id=listing_id)
    for ingredient_id, quantity in amounts.items():
        await tx.run(_ADD_LINE, listing_id=listing_id, ingredient_id=ingredient_id, quantity=quantity)


async def note_baked(tx: Transaction, day: date, needed: Mapping[UUID, Decimal], actor_id: UUID | None) -> int:
    """Take a day's ingredients from stock: what was taken for that day before counts, so repeating it changes nothing.

    Return how many ingredients changed.
    """
    await tx.all(_LOCK_ALL, ids=list(needed))
    taken = {row["ingredient_id"]: row["taken"] for row in await tx.all(_BAKED, day=day)}
    changed = 0
    for ingredient_id in sorted(set(needed) | set(taken)):
        difference = needed.get(ingredient_id, Decimal(0)) - taken.get(ingredient_id, Decimal(0))
        if difference:
            changed += 1
            await tx.run(
                _MOVE,
                ingredient_id=ingredient_id,
                quantity=-difference,
                reason="baked",
                note="",
                baked_on=day,
                actor_id=actor_id,
            )
    return changed

"""Tables of the kitchen."""

from sqlalchemy import Boolean, CheckConstraint, Column, Date, Index, Numeric, PrimaryKeyConstraint, Table, text
from sqlalchemy.dialects.postgresql import UUID

from tradepost.core.columns import CaseInsensitive, at_most, created, key, moment, one_of, reference, updated, words
from tradepost.core.database import metadata

Amount = Numeric(14, 3)

ingredients = Table(
    "ingredients",
    metadata,
    key(),
    Column("name", CaseInsensitive(), nullable=False, unique=True),
    words("unit"),
    Column("on_hand", Amount, nullable=False, server_default="0"),
    Column("reorder_at", Amount, nullable=False, server_default="0"),
    Column("pack", Amount, nullable=False, server_default="1"),
    words("supplier", default=""),
    Column("is_active", Boolean, nullable=False, server_default="true"),
    created(),
    updated(),
    at_most("name", 80),
    at_most("unit", 20),
    at_most("supplier", 120),
    CheckConstraint("reorder_at >= 0 AND pack > 0", name="amounts_make_sense"),
    comment="Something to make things of. A trigger keeps on_hand the sum of its movements; below reorder_at packs are to be ordered.",
)

recipe_lines = Table(
    "recipe_lines",
    metadata,
    reference("listing_id", "listings.id", on_delete="CASCADE"),
    reference("ingredient_id", "ingredients.id"),
    Column("quantity", Amount, nullable=False),
    PrimaryKeyConstraint("listing_id", "ingredient_id"),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    Index("ix_recipe_lines_ingredient_id", "ingredient_id"),
    comment="How much of an ingredient goes into one of a listing.",
)

ingredient_movements = Table(
    "ingredient_movements",
    metadata,
    key(),
    reference("ingredient_id", "ingredients.id"),
    Column("quantity", Amount, nullable=False),
    words("reason"),
    words("note", default=""),
    Column("baked_on", Date),
    Column("actor_id", UUID),
    moment("at", default_now=True),
    one_of("reason", "delivery", "baked", "waste", "stock_take", "correction"),
    at_most("note", 300),
    CheckConstraint("quantity <> 0", name="quantity_not_zero"),
    CheckConstraint("(reason = 'baked') = (baked_on IS NOT NULL)", name="baking_has_a_day"),
    Index("ix_ingredient_movements_ingredient_id_at", "ingredient_id", text("at DESC")),
    Index("ix_ingredient_movements_baked_on", "baked_on", postgresql_where=text("baked_on IS NOT NULL")),
    comment="Every change of an ingredient's stock with its cause; never changed.",
)

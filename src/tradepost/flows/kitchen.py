"""The kitchen's day: what to bake, from open orders and their windows; tickets; what it takes; waste and counts with reasons."""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.cart.configuration import allergens_of, described
from tradepost.catalog import stock
from tradepost.catalog.stock import NoSuchVariant
from tradepost.core.database import Actor, Transaction
from tradepost.core.errors import Invalid
from tradepost.flows.orders import reading
from tradepost.flows.plan_delivery import today_of
from tradepost.flows.store import Store
from tradepost.kitchen import service as kitchen
from tradepost.kitchen.types import Ingredient, IngredientDraft, Movement, Reason, RecipeLine
from tradepost.orders.types import NoSuchOrder, OrderView

MOST_LINES = 3000


class LessThanNone(Invalid):
    """There is not that much to throw away."""


class BatchLine(msgspec.Struct, frozen=True, kw_only=True):
    """So many of one thing to bake for a day, and for which orders."""

    listing_id: UUID
    title: str
    options: str
    image_id: UUID | None
    quantity: Decimal
    done: Decimal
    first_window: str
    orders: tuple[str, ...]

    @property
    def left(self) -> Decimal:
        """How many are not out of the kitchen yet."""
        return self.quantity - self.done


class MadeToOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that somebody designed."""

    number: str
    line_no: int
    title: str
    quantity: Decimal
    window: str
    state_name: str
    fields: tuple[tuple[str, str], ...]
    image_file_id: UUID | None
    allergens: tuple[str, ...]


class Need(msgspec.Struct, frozen=True):
    """An ingredient that a day takes. `packs`: to be ordered so that enough is left."""

    name: str
    unit: str
    needed: Decimal
    on_hand: Decimal
    short: Decimal
    packs: int
    ingredient_id: UUID


class Production(msgspec.Struct, frozen=True, kw_only=True):
    """A day in the kitchen. `without_recipe`: things to bake of which nobody has said what goes into them."""

    day: date
    batches: tuple[BatchLine, ...]
    made_to_order: tuple[MadeToOrder, ...]
    needs: tuple[Need, ...]
    without_recipe: tuple[str, ...]
    orders: int


# What is paid (or accepted) and not handed over yet: for the day of its window; what has none is for today. What left the kitchen
# counts as done.
_LINES = text("""
    WITH due AS (
        SELECT b.order_id, to_char(d.starts_at, 'HH24:MI') AS begins FROM delivery_slots d
        JOIN slot_bookings b ON b.slot_id = d.id AND b.state = 'booked' WHERE d.delivery_on = :day
        UNION ALL
        SELECT f.order_id, '' FROM fulfilments f
        WHERE :is_today AND f.opened_at IS NOT NULL AND f.handed_over_at IS NULL AND f.opened_at >= :since
          AND NOT EXISTS (SELECT FROM slot_bookings b WHERE b.order_id = f.order_id AND b.state = 'booked')
    ), last_here AS MATERIALIZED (
        SELECT p.process, max(p.position) AS position FROM order_states p
        JOIN order_transitions t ON (t.process, t.from_state) = (p.process, p.code)
        WHERE NOT p.is_final AND 'seller' = ANY (t.actors) GROUP BY p.process
    )
    SELECT o.number, l.order_id, l.line_no, l.listing_id, l.title, l.options, CAST(l.snapshot ->> 'image_id' AS uuid) AS image_id,
           l.quantity - l.returned_quantity AS quantity, d.begins, s.name AS state_name, coalesce(l.snapshot -> 'configuration', '{}') AS configuration,
           c.image_file_id, f.handed_over_at IS NOT NULL OR s.is_final OR coalesce(s.position > h.position, false) AS is_done,
           g.configuration_schema, coalesce(g.attributes ->> 'allergens', '') AS allergens
    FROM due d JOIN orders o ON o.id = d.order_id JOIN fulfilments f ON f.order_id = o.id AND f.opened_at IS NOT NULL
    JOIN order_states s ON (s.process, s.code) = (f.process, f.state) AND (NOT s.is_final OR f.handed_over_at IS NOT NULL)
    LEFT JOIN last_here h ON h.process = f.process
    JOIN order_lines l ON l.order_id = f.order_id AND l.seller_id = f.seller_id AND l.quantity > l.returned_quantity
    JOIN listings g ON g.id = l.listing_id
    LEFT JOIN line_configurations c ON (c.order_id, c.line_no) = (l.order_id, l.line_no)
    ORDER BY d.begins, o.number, l.line_no LIMIT :limit
""")


async def get_production(store: Store, caller: Caller, day: date | None = None) -> Production:
    """Return what to bake on a day, today unless told. Raises `NotAllowed`."""
    caller.check_can("see_all_orders")
    chosen = day or today_of(store)
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        return await _production(tx, store, chosen)


async def _production(tx: Transaction, store: Store, day: date) -> Production:
    today = today_of(store)
    since = datetime.combine(today - timedelta(days=60), time(), store.zone)
    rows = await tx.all(_LINES, day=day, is_today=day == today, since=since, limit=MOST_LINES)
    batches = _batches(rows)
    amounts: dict[UUID, Decimal] = {}
    for row in rows:
        amounts[row["listing_id"]] = amounts.get(row["listing_id"], Decimal(0)) + row["quantity"]
    recipes = await kitchen.read_recipes(tx, list(amounts))
    known = {i.id: i for i in await kitchen.list_ingredients(tx)} if recipes else {}
    with_recipe = {line.listing_id for line in recipes}
    return Production(
        day=day, batches=batches, made_to_order=tuple(_designed(row) for row in rows if row["configuration"]),
        needs=_needs(needed_of(recipes, amounts), known), orders=len({row["order_id"] for row in rows}),
        without_recipe=tuple(dict.fromkeys(b.title for b in batches if b.listing_id not in with_recipe)),
    )  # fmt: skip


def _batches(rows: list[Any]) -> tuple[BatchLine, ...]:
    found: dict[tuple[Any, str], list[Any]] = {}
    for row in rows:
        found.setdefault((row["listing_id"], _said(row["options"])), []).append(row)
    made = [
        BatchLine(
            listing_id=listing_id, title=lines[0]["title"], options=options, image_id=lines[0]["image_id"],
            quantity=sum((r["quantity"] for r in lines), Decimal(0)),
            done=sum((r["quantity"] for r in lines if r["is_done"]), Decimal(0)),
            first_window=min(r["begins"] for r in lines), orders=tuple(dict.fromkeys(r["number"] for r in lines)),
        )
        for (listing_id, options), lines in found.items()
    ]  # fmt: skip
    return tuple(sorted(made, key=lambda b: (b.left == 0, b.first_window, b.title)))


def _said(options: Mapping[str, Any]) -> str:
    return ", ".join(str(value) for value in options.values())


def _designed(row: Any) -> MadeToOrder:
    schema, chosen = row["configuration_schema"], row["configuration"]
    listed = tuple(part.strip() for part in row["allergens"].split(",") if part.strip())
    return MadeToOrder(
        number=row["number"], line_no=row["line_no"], title=row["title"], quantity=row["quantity"], window=row["begins"],
        state_name=row["state_name"], fields=tuple(described(schema, chosen)), image_file_id=row["image_file_id"],
        allergens=tuple(dict.fromkeys((*listed, *allergens_of(schema, chosen)))),
    )  # fmt: skip


def needed_of(recipes: list[RecipeLine], amounts: Mapping[UUID, Decimal]) -> dict[UUID, Decimal]:
    """Return how much of each ingredient so many of these listings take."""
    needed: dict[UUID, Decimal] = {}
    for line in recipes:
        needed[line.ingredient_id] = (
            needed.get(line.ingredient_id, Decimal(0)) + line.quantity * amounts[line.listing_id]
        )
    return needed


def _needs(needed: Mapping[UUID, Decimal], known: Mapping[UUID, Ingredient]) -> tuple[Need, ...]:
    found = [
        Need(i.name, i.unit, amount, i.on_hand, max(amount - i.on_hand, Decimal(0)), i.packs_for(amount), i.id)
        for ingredient_id, amount in needed.items()
        if (i := known.get(ingredient_id)) is not None
    ]
    return tuple(sorted(found, key=lambda n: (n.short == 0, n.name.lower())))


async def bake_day(store: Store, caller: Caller, day: date) -> int:
    """Take what a day's baking needs from the ingredients' stock; repeating it takes only what came on top. Raises `NotAllowed`."""
    caller.check_can("manage_catalog")
    caller.check_can("see_all_orders")
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        found = await _production(tx, store, day)
        return await kitchen.note_baked(tx, day, {n.ingredient_id: n.needed for n in found.needs}, caller.user_id)


class Ticket(msgspec.Struct, frozen=True):
    """An order as it hangs above the bench."""

    order: OrderView
    made_to_order: tuple[MadeToOrder, ...]


_DESIGNED = text("""
    SELECT l.line_no, l.title, l.quantity - l.returned_quantity AS quantity, coalesce(l.snapshot -> 'configuration', '{}') AS configuration,
           c.image_file_id, g.configuration_schema, coalesce(g.attributes ->> 'allergens', '') AS allergens
    FROM order_lines l JOIN listings g ON g.id = l.listing_id
    LEFT JOIN line_configurations c ON (c.order_id, c.line_no) = (l.order_id, l.line_no)
    WHERE l.order_id = :order_id ORDER BY l.line_no
""")


async def get_ticket(store: Store, caller: Caller, order: OrderView) -> Ticket:
    """Return the ticket of an order that the caller was shown as staff or as its seller. Raises `NoSuchOrder`, to others."""
    if order.viewer not in {"staff", "seller"}:
        raise NoSuchOrder
    shown = {line.line_no for line in order.lines}
    window = f"{order.slot.starts_at:%H:%M}–{order.slot.ends_at:%H:%M}" if order.slot else ""
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        rows = [row for row in await tx.all(_DESIGNED, order_id=order.id) if row["line_no"] in shown]
    made = [
        _designed({**row, "number": order.number, "begins": window, "state_name": order.state_name}) for row in rows
    ]
    return Ticket(order, tuple(made))


async def list_ingredients(store: Store, caller: Caller) -> list[Ingredient]:
    """Return the ingredients with their stock. Raises `NotAllowed`."""
    caller.check_can("manage_catalog")
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        return await kitchen.list_ingredients(tx)


async def list_movements(store: Store, caller: Caller, ingredient_id: UUID) -> list[Movement]:
    """Return the latest changes of an ingredient's stock. Raises `NotAllowed`."""
    caller.check_can("manage_catalog")
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        return await kitchen.list_movements(tx, ingredient_id)


async def save_ingredient(
    store: Store, caller: Caller, draft: IngredientDraft, ingredient_id: UUID | None = None
) -> None:
    """Write an ingredient down, or rewrite one. Raises `NotAllowed`, `IngredientTwice`, `NoSuchIngredient`."""
    caller.check_can("manage_catalog")
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        if ingredient_id is None:
            await kitchen.add_ingredient(tx, draft)
        else:
            await kitchen.change_ingredient(tx, ingredient_id, draft)


async def move_ingredient(
    store: Store, caller: Caller, ingredient_id: UUID, quantity: Decimal, reason: Reason, note: str
) -> None:
    """Change an ingredient's stock: a count says what is there, a delivery adds, waste takes. Raises `NotAllowed`, `BadAmount`."""
    caller.check_can("manage_catalog")
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        if reason == "stock_take":
            await kitchen.count_ingredient(tx, ingredient_id, quantity, note=note, actor_id=caller.user_id)
            return
        signed = -quantity if reason == "waste" else quantity
        await kitchen.move_ingredient(tx, ingredient_id, signed, reason, note=note, actor_id=caller.user_id)


class RecipeOf(msgspec.Struct, frozen=True):
    """A listing and what goes into one of it."""

    listing_id: UUID
    title: str
    lines: tuple[RecipeLine, ...]


_LISTINGS = text("""
    SELECT id, title FROM listings WHERE status IN ('active', 'inactive', 'draft') AND source_id IS NULL
        AND (:words = '' OR title ILIKE '%' || :words || '%') ORDER BY title LIMIT 60
""")
_TITLE = text("SELECT title FROM listings WHERE id = :listing_id")


async def list_recipes(store: Store, caller: Caller, words: str) -> list[RecipeOf]:
    """Return listings by title with what goes into them. Raises `NotAllowed`."""
    caller.check_can("manage_catalog")
    safe = "".join(c for c in words if c not in "%_\\")[:60]
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        rows = await tx.all(_LISTINGS, words=safe)
        lines = await kitchen.read_recipes(tx, [row["id"] for row in rows])
    return [RecipeOf(row["id"], row["title"], tuple(n for n in lines if n.listing_id == row["id"])) for row in rows]


async def save_recipe(store: Store, caller: Caller, listing_id: UUID, amounts: Mapping[UUID, Decimal]) -> str:
    """Say what goes into one of a listing; return its title. Raises `NotAllowed`, `NoSuchIngredient`, `BadAmount`."""
    caller.check_can("manage_catalog")
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        title = await tx.value(_TITLE, listing_id=listing_id)
        if title is None:
            raise NoSuchOrder
        await kitchen.set_recipe(tx, listing_id, amounts)
        return str(title)


_ON_HAND = text("SELECT on_hand, reserved FROM variants WHERE id = :variant_id FOR NO KEY UPDATE")


async def note_stock(
    store: Store, caller: Caller, variant_id: UUID, quantity: Decimal, reason: Literal["waste", "stock_take"], note: str
) -> None:
    """Throw goods away, or write down what was counted. Raises `NotAllowed`, `NoSuchVariant`, `LessThanNone`, `StockPromised`."""
    caller.check_can("manage_catalog")
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        row = await tx.maybe(_ON_HAND, variant_id=variant_id)
        if row is None:
            raise NoSuchVariant
        left = quantity if reason == "stock_take" else (row["on_hand"] or Decimal(0)) - quantity
        if left < 0:
            raise LessThanNone
        await stock.set_stock(tx, variant_id, left, actor_id=caller.user_id, reason=reason, note=note[:200])


GOODS_REASONS = {
    "initial": "To begin with", "sale": "Sold", "restock": "Put back", "return": "Came back", "correction": "Corrected",
    "waste": "Thrown away", "stock_take": "Counted", "import": "From a table",
}  # fmt: skip


class Goods(msgspec.Struct, frozen=True):
    """Something made, and how much there is of it. `wasted`: thrown away in the last thirty days."""

    variant_id: UUID
    title: str
    options: dict[str, str]
    sku: str | None
    unit: str
    on_hand: Decimal
    reserved: Decimal
    wasted: Decimal

    @property
    def label(self) -> str:
        """Its name with what was chosen of it."""
        return f"{self.title}, {_said(self.options)}" if self.options else self.title


class GoodsMovement(msgspec.Struct, frozen=True):
    """A change of what there is of something made."""

    at: datetime
    quantity: Decimal
    reason: str
    note: str
    actor_name: str

    @property
    def said(self) -> str:
        """The reason in words."""
        return GOODS_REASONS[self.reason]


_GOODS = """
    SELECT v.id AS variant_id, l.title, v.options, v.sku, v.unit, v.on_hand, v.reserved,
           coalesce((SELECT -sum(m.quantity) FROM stock_movements m WHERE m.variant_id = v.id AND m.reason = 'waste'
                     AND m.at >= now() - interval '30 days'), 0) AS wasted
    FROM {of} JOIN listings l ON l.id = v.listing_id
"""
_FOUND = text(
    _GOODS.format(
        of="""(SELECT v.* FROM listings g JOIN variants v ON v.listing_id = g.id
               WHERE g.status IN ('active', 'inactive') AND g.source_id IS NULL AND v.is_active AND v.on_hand IS NOT NULL
                   AND (:words = '' OR g.title ILIKE '%' || :words || '%' OR v.sku ILIKE :words || '%')
               ORDER BY g.title, v.position, v.id LIMIT 60) v"""
    )
    + " ORDER BY l.title, v.position, v.id"
)
_ONE = text(_GOODS.format(of="variants v") + " WHERE v.id = :variant_id AND v.on_hand IS NOT NULL")
_MOVED = text("""
    SELECT m.at, m.quantity, m.reason, m.note, coalesce(u.display_name, '') AS actor_name
    FROM stock_movements m LEFT JOIN users u ON u.id = m.actor_id WHERE m.variant_id = :variant_id ORDER BY m.at DESC, m.id DESC LIMIT 30
""")


async def list_goods(store: Store, caller: Caller, words: str) -> list[Goods]:
    """Return up to sixty things whose stock is counted, by title or SKU. Raises `NotAllowed`."""
    caller.check_can("manage_catalog")
    safe = "".join(c for c in words if c not in "%_\\")[:60]
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        return await tx.all(_FOUND, into=Goods, words=safe)


async def get_goods(store: Store, caller: Caller, variant_id: UUID) -> tuple[Goods, list[GoodsMovement]]:
    """Return one thing with the latest changes of its stock. Raises `NotAllowed`, `NoSuchVariant`."""
    caller.check_can("manage_catalog")
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        found = await tx.maybe(_ONE, into=Goods, variant_id=variant_id)
        if found is None:
            raise NoSuchVariant
        return found, await tx.all(_MOVED, into=GoodsMovement, variant_id=variant_id)

"""The category tree as the staff shape it: added, renamed, moved, hidden, merged, deleted.

Promises one change of the tree at a time, that no category comes to lie below itself (a trigger holds it), that nothing on offer is
ever without a category, and that the old address of one that is gone leads on. What the staff changed the preset changes no more.
"""

from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.dialects.postgresql import insert as upsert

from tradepost.catalog.tables import categories, former_categories
from tradepost.catalog.types import NoSuchCategory
from tradepost.core.database import Database, Transaction, on_violation
from tradepost.core.errors import Conflict, FieldErrors, Invalid
from tradepost.core.fields import check_fields
from tradepost.core.ids import uuid7
from tradepost.core.text import is_plain, one_line, paragraphs, slugify

MOST_CATEGORIES = 2_000
MOST_COUNTED = 1_000
_STEP = 10

Where = Literal["before", "after", "inside", "up", "down", "in", "out"]


class BelowItself(Invalid):
    """A category cannot lie below itself."""

    field = "parent"


class CategoryInUse(Conflict):
    """Something still needs this category: move its listings and what is below it first, or merge it with another."""


class SlugTaken(Conflict):
    """There is, or was, another category at this address."""


class TooManyCategories(Conflict):
    """A store has 2,000 categories at most."""


on_violation("ck_categories_no_cycle", BelowItself)
on_violation("uq_categories_slug", SlugTaken)
for _name in ("listings_category_id", "categories_parent_id", "streams_category_id", "commission_rules_category_id",
              "tax_rates_category_id"):  # fmt: skip
    on_violation(f"fk_{_name}", CategoryInUse)


class CategoryDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A category as the staff write it. `parent`: a slug, "" at the top."""

    name: str = ""
    description: str = ""
    emoji: str = ""
    parent: str = ""


class OfficeCategory(msgspec.Struct, frozen=True):
    """A category with what hangs on it. `offered`: listings on offer right in it, at most 1,000 counted; `depth`: 0 at the top."""

    id: UUID
    parent_id: UUID | None
    slug: str
    name: str
    description: str
    emoji: str
    is_active: bool
    path: str
    offered: int
    depth: int = 0
    children: int = 0

    def holds(self, other: "OfficeCategory") -> bool:
        """Whether the other one is this one, or lies below it."""
        return other.id == self.id or other.path.startswith(self.path + "/")


_ALL = text(f"""
    SELECT c.id, c.parent_id, c.slug, c.name, c.description, c.emoji, c.is_active, c.path,
           (SELECT count(*) FROM (SELECT FROM listings l WHERE l.category_id = c.id AND l.status = 'active' LIMIT {MOST_COUNTED}) n) AS offered
    FROM categories c ORDER BY c.position, c.name, c.id LIMIT {MOST_CATEGORIES}
""")
_LOCK_TREE = select(func.pg_advisory_xact_lock(func.hashtext("categories_set_path")))
_ID = bindparam("of", type_=PG_UUID)
_OWN = update(categories).where(categories.c.id == _ID)
_COUNT = select(func.count()).select_from(categories)
FORMER = (
    select(categories.c.slug)
    .join(former_categories, former_categories.c.category_id == categories.c.id)
    .where(former_categories.c.slug == bindparam("slug"), categories.c.is_active)
)
_WAS = select(former_categories.c.slug).where(former_categories.c.slug == bindparam("slug"))
_MOVE_SOME = text("""
    UPDATE listings SET category_id = CAST(:target AS uuid), version = version + 1 WHERE id = ANY (ARRAY(
        SELECT id FROM listings WHERE category_id = CAST(:of AS uuid) ORDER BY id LIMIT :most FOR UPDATE))
""")


async def list_tree(tx: Transaction) -> tuple[OfficeCategory, ...]:
    """Return every category, hidden ones too, each before what is below it."""
    rows = await tx.all(_ALL, into=OfficeCategory)
    below: dict[UUID | None, list[OfficeCategory]] = {}
    for row in rows:
        below.setdefault(row.parent_id, []).append(row)
    found: list[OfficeCategory] = []

    def walk(parent: UUID | None, depth: int) -> None:
        for row in below.get(parent, ()):
            found.append(msgspec.structs.replace(row, depth=depth, children=len(below.get(row.id, ()))))
            walk(row.id, depth + 1)

    walk(None, 0)
    return tuple(found)


async def _locked(tx: Transaction) -> dict[str, OfficeCategory]:
    await tx.value(_LOCK_TREE)
    return {row.slug: row for row in await list_tree(tx)}


def _one(tree: dict[str, OfficeCategory], slug: str) -> OfficeCategory:
    if slug not in tree:
        raise NoSuchCategory
    return tree[slug]


def _checked(tree: dict[str, OfficeCategory], draft: CategoryDraft) -> dict[str, object]:
    name, emoji = one_line(draft.name), draft.emoji.strip()
    check_fields({
        "name": "It needs a name of 1 to 100 characters." if not 1 <= len(name) <= 100 or not is_plain(draft.name) else None,
        "emoji": "One picture character, such as 🥕." if len(emoji) > 16 or not is_plain(emoji) or "<" in emoji else None,
        "description": "At most 1,000 characters." if len(draft.description) > 1000 or not is_plain(draft.description) else None,
        "parent": "Choose one of the list." if draft.parent and draft.parent not in tree else None,
    })  # fmt: skip
    parent = tree[draft.parent].id if draft.parent else None
    return {
        "name": name,
        "emoji": emoji,
        "description": paragraphs(draft.description),
        "parent_id": parent,
        "is_own": True,
    }


async def add_category(tx: Transaction, draft: CategoryDraft) -> str:
    """Add a category at the end of its parent's; return its slug. Raises `FieldErrors`, `TooManyCategories`, `SlugTaken`."""
    tree = await _locked(tx)
    if len(tree) >= MOST_CATEGORIES:
        raise TooManyCategories
    values = _checked(tree, draft)
    slug = await _free_slug(tx, tree, slugify(str(values["name"])))
    last = sum(row.parent_id == values["parent_id"] for row in tree.values())
    await tx.run(insert(categories).values(id=uuid7(), slug=slug, position=(last + 1) * _STEP, **values))
    return slug


async def _free_slug(tx: Transaction, tree: dict[str, OfficeCategory], wanted: str) -> str:
    plain = "category" if wanted == "listing" else wanted[:70]
    for number in range(1, 100):
        slug = plain if number == 1 else f"{plain}-{number}"
        if slug not in tree and await tx.maybe(_WAS, slug=slug) is None:
            return slug
    raise SlugTaken


async def _number(tx: Transaction, rows: list[OfficeCategory]) -> None:
    await tx.run_many(
        _OWN.values(position=bindparam("position_"), is_own=True),
        [{"of": row.id, "position_": n * _STEP} for n, row in enumerate(rows, 1)],
    )


async def change_category(tx: Transaction, slug: str, draft: CategoryDraft) -> OfficeCategory:
    """Give a category another name, description, picture or parent; its address stays. Return it as it was.

    Raises `NoSuchCategory`, `FieldErrors`, `BelowItself`.
    """
    tree = await _locked(tx)
    found = _one(tree, slug)
    values = _checked(tree, draft)
    if draft.parent and found.holds(tree[draft.parent]):
        raise BelowItself
    await tx.run(_OWN.values(**values), of=found.id)
    if values["parent_id"] != found.parent_id:
        siblings = [row for row in tree.values() if row.parent_id == values["parent_id"]]
        await _number(tx, [*siblings, found])
    return found


async def place_category(tx: Transaction, slug: str, where: Where, to: str = "") -> OfficeCategory:
    """Put a category before, after or inside another, or one step up, down, in or out; return it as it was.

    A step that leads nowhere changes nothing. Raises `NoSuchCategory`, `BelowItself`.
    """
    tree = await _locked(tx)
    found = _one(tree, slug)
    parent, rows = _placed(tree, found, where, to)
    if parent != found.parent_id:
        above = next((row for row in tree.values() if row.id == parent), None)
        if above is not None and found.holds(above):
            raise BelowItself
        await tx.run(_OWN.values(parent_id=parent, is_own=True), of=found.id)
    await _number(tx, rows)
    return found


def _placed(
    tree: dict[str, OfficeCategory], found: OfficeCategory, where: Where, to: str
) -> tuple[UUID | None, list[OfficeCategory]]:
    """Return the parent and the children of it, in order, once a category is where it should be."""

    def children(parent: UUID | None) -> list[OfficeCategory]:
        return [row for row in tree.values() if row.parent_id == parent]

    siblings = children(found.parent_id)
    at = siblings.index(found)
    if where in {"before", "after", "inside"}:
        target = _one(tree, to)
        if target.id == found.id:
            return found.parent_id, siblings
        parent = target.id if where == "inside" else target.parent_id
        rows = [row for row in children(parent) if row.id != found.id]
        rows.insert(len(rows) if where == "inside" else rows.index(target) + (where == "after"), found)
        return parent, rows
    if where == "out" and found.parent_id is not None:
        above = next(row for row in tree.values() if row.id == found.parent_id)
        rows = children(above.parent_id)
        rows.insert(rows.index(above) + 1, found)
        return above.parent_id, rows
    if where == "in" and at > 0:
        return siblings[at - 1].id, [*children(siblings[at - 1].id), found]
    other = at + {"up": -1, "down": 1}.get(where, 0)
    if 0 <= other < len(siblings):
        siblings[at], siblings[other] = siblings[other], siblings[at]
    return found.parent_id, siblings


async def show_category(tx: Transaction, slug: str, *, is_active: bool) -> None:
    """Show a category in menus, or hide it with all below it; what is offered in it can still be found. Raises `NoSuchCategory`."""
    found = _one(await _locked(tx), slug)
    await tx.run(_OWN.values(is_active=is_active, is_own=True), of=found.id)


async def delete_category(tx: Transaction, slug: str) -> None:
    """Take away a category that nothing needs. Raises `NoSuchCategory`, `CategoryInUse`."""
    found = _one(await _locked(tx), slug)
    if found.children or found.offered:
        raise CategoryInUse
    await tx.run(delete(categories).where(categories.c.id == _ID), of=found.id)
    await _remember(tx, slug, None)


async def begin_merge(tx: Transaction, slug: str, into: str) -> tuple[UUID, UUID]:
    """Hide a category and give what is below it to another, which will have its listings too; return the ids of both.

    Raises `NoSuchCategory`, `FieldErrors`.
    """
    tree = await _locked(tx)
    found = _one(tree, slug)
    if into not in tree or into == slug or found.holds(tree[into]):
        raise FieldErrors({"into": "Choose another category, not one below this one."})
    target = tree[into]
    below = [row for row in tree.values() if row.parent_id == found.id]
    own = [row for row in tree.values() if row.parent_id == target.id]
    await tx.run(_OWN.values(is_active=False, is_own=True), of=found.id)
    await tx.run_many(_OWN.values(parent_id=target.id), [{"of": row.id} for row in below])
    if below:
        await _number(tx, [*own, *below])
    await _remember(tx, slug, target.id)
    return found.id, target.id


async def move_listings(tx: Transaction, source: UUID, target: UUID, most: int) -> int:
    """Give up to `most` listings of one category to another; return how many. Locks them."""
    return await tx.run(_MOVE_SOME, of=source, target=target, most=most)


async def end_merge(tx: Transaction, source: UUID) -> None:
    """Take away a category whose listings were given to another. Idempotent. Raises `CategoryInUse` while something needs it."""
    await tx.run(delete(categories).where(categories.c.id == _ID), of=source)


async def _remember(tx: Transaction, slug: str, target: UUID | None) -> None:
    put = upsert(former_categories).values(slug=slug, category_id=target)
    await tx.run(put.on_conflict_do_update(index_elements=["slug"], set_={"category_id": put.excluded.category_id}))


async def now_called(db: Database, slug: str) -> str | None:
    """Return the slug of the category that a former one became part of, or None."""
    rows = await db.read(FORMER, slug=slug)
    return rows[0][0] if rows else None

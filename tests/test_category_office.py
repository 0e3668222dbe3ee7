"""The category tree and the places as the staff shape them: what moves, what follows, and what is refused without a trace."""

from uuid import UUID

import pytest
from sqlalchemy import text

from tests.conftest import MARKET
from tests.shop import Shop
from tests.test_after_sale import browser_of
from tests.visitor import text_of
from tradepost.accounts.types import Caller, NotAllowed
from tradepost.catalog.listing_pages import category_tree, suggest_places
from tradepost.catalog.places import PlaceDraft, PlaceKnown
from tradepost.catalog.tree import BelowItself, CategoryDraft, CategoryInUse
from tradepost.catalog.types import NoSuchCategory
from tradepost.core.database import Database
from tradepost.core.errors import FieldErrors
from tradepost.flows.install_store import install_store
from tradepost.flows.manage_categories import (
    CategoryChanged,
    CategoryMerged,
    add_category,
    change_category,
    delete_category,
    follow_category_job,
    list_categories,
    merge_category,
    merge_category_job,
    place_category,
    show_category,
)
from tradepost.flows.manage_places import add_place, change_place, list_places, show_place

PLACE = PlaceDraft(name="Mutoko", region="Mashonaland East", country="zw", population=12_000, lat=-17.4, lon=32.2)


async def grow(shop: Shop) -> Caller:
    """Add three categories at the top, A, B and C, and A1 below A; return the admin."""
    admin = await shop.make.person("admin")
    for name, parent in (("A", ""), ("B", ""), ("C", ""), ("A1", "a")):
        await add_category(shop.store, admin, CategoryDraft(name=name, parent=parent))
    return admin


async def paths(shop: Shop, admin: Caller) -> list[str]:
    """Return the paths of the categories that `grow` added, in the order of the tree."""
    own = {"a", "b", "c", "a1"}
    return [row.path for row in await list_categories(shop.store, admin) if row.slug in own]


async def id_of(shop: Shop, slug: str) -> UUID:
    return UUID(str((await shop.row("SELECT id FROM categories WHERE slug = :slug", slug=slug))[0]))


async def test_categories_go_where_they_are_put(shop: Shop) -> None:
    admin = await grow(shop)
    assert await paths(shop, admin) == ["a", "a/a1", "b", "c"]
    await place_category(shop.store, admin, "c", "before", "a")
    assert await paths(shop, admin) == ["c", "a", "a/a1", "b"]
    await place_category(shop.store, admin, "a", "after", "b")
    assert await paths(shop, admin) == ["c", "b", "a", "a/a1"]
    await place_category(shop.store, admin, "b", "inside", "a")
    assert await paths(shop, admin) == ["c", "a", "a/a1", "a/b"]
    await place_category(shop.store, admin, "b", "up")
    assert await paths(shop, admin) == ["c", "a", "a/b", "a/a1"]
    await place_category(shop.store, admin, "b", "out")
    assert await paths(shop, admin) == ["c", "a", "a/a1", "b"]
    await place_category(shop.store, admin, "b", "in")
    assert await paths(shop, admin) == ["c", "a", "a/a1", "a/b"]
    await place_category(shop.store, admin, "a1", "down")
    await place_category(shop.store, admin, "a1", "down")  # there is no further down
    assert await paths(shop, admin) == ["c", "a", "a/b", "a/a1"]


async def test_no_category_lies_below_itself(shop: Shop) -> None:
    admin = await grow(shop)
    before = await paths(shop, admin)
    for target in ("a1", "a"):
        with pytest.raises(BelowItself):
            await change_category(shop.store, admin, "a", CategoryDraft(name="A", parent=target))
    with pytest.raises(BelowItself):
        await place_category(shop.store, admin, "a", "inside", "a1")
    with pytest.raises(NoSuchCategory):
        await place_category(shop.store, admin, "a", "before", "nowhere")
    for draft in (CategoryDraft(name=" "), CategoryDraft(name="x" * 101), CategoryDraft(name="A", parent="nowhere"),
                  CategoryDraft(name="A", emoji="<svg>"), CategoryDraft(name="A\x00")):  # fmt: skip
        with pytest.raises(FieldErrors):
            await change_category(shop.store, admin, "a", draft)
    assert await paths(shop, admin) == before


async def test_menus_and_search_follow_a_category(shop: Shop) -> None:
    admin = await grow(shop)
    variant = await shop.goods("Clamp", category="a1")
    listing = (await shop.row("SELECT listing_id FROM variants WHERE id = :id", id=variant))[0]
    find = "SELECT category_path, words::text, tags FROM search_documents WHERE listing_id = :id"
    await change_category(shop.store, admin, "a1", CategoryDraft(name="Vices", parent="b"))
    assert await shop.count("pgqueuer", "entrypoint = 'search.follow_category'") == 1
    await follow_category_job(shop.store, CategoryChanged(await id_of(shop, "a1")))
    path, words, tags = await shop.row(find, id=listing)
    assert path == "b/a1"
    assert "'vice'" in words
    assert {"category=b", "category=a1"} <= set(tags)
    assert "category=a" not in tags
    menu = await category_tree(shop.store.db)
    assert [c.name for c in menu.children(menu.get("b"))] == ["Vices"]


async def test_a_hidden_category_is_in_no_menu_with_all_below_it(shop: Shop) -> None:
    admin = await grow(shop)
    await show_category(shop.store, admin, "a", is_active=False)
    assert {"a", "a1"}.isdisjoint((await category_tree(shop.store.db)).by_slug)
    assert (await (await browser_of(shop, shop.buyer)).get("/c/a1")).status_code == 404
    await show_category(shop.store, admin, "a", is_active=True)
    assert {"a", "a1"} <= (await category_tree(shop.store.db)).by_slug.keys()


async def test_a_merged_category_gives_everything_away_and_leads_on(shop: Shop) -> None:
    admin = await grow(shop)
    await shop.goods("Clamp", category="a")
    source, target = await id_of(shop, "a"), await id_of(shop, "b")
    for wrong in ("a", "a1", "nowhere"):
        with pytest.raises(FieldErrors):
            await merge_category(shop.store, admin, "a", wrong)
    await merge_category(shop.store, admin, "a", "b")
    for _ in range(2):
        await merge_category_job(shop.store, CategoryMerged(source, target))
    assert await paths(shop, admin) == ["b", "b/a1", "c"]
    assert await shop.count("listings", f"category_id = '{target}'") == 1
    answer = await (await browser_of(shop, shop.buyer)).get("/c/a", follow=False)
    assert (answer.status_code, answer.headers["location"]) == (301, "/c/b")


async def test_only_what_nothing_needs_is_deleted(shop: Shop) -> None:
    admin = await grow(shop)
    await shop.goods("Clamp", category="b")
    await shop.run(text("UPDATE listings SET status = 'draft'"))
    for used in ("a", "b"):
        with pytest.raises(CategoryInUse):
            await delete_category(shop.store, admin, used)
    await delete_category(shop.store, admin, "c")
    assert await paths(shop, admin) == ["a", "a/a1", "b"]
    assert await add_category(shop.store, admin, CategoryDraft(name="C")) == "c-2"  # its address is not used again


async def test_the_preset_leaves_alone_what_the_staff_changed(shop: Shop, store_dsn: str) -> None:
    admin = await shop.make.person("admin")
    await change_category(shop.store, admin, "tools", CategoryDraft(name="Hand tools"))
    gone = next(r.slug for r in await list_categories(shop.store, admin) if not r.children and r.slug != "tools")
    await delete_category(shop.store, admin, gone)
    owner = await Database.open(store_dsn.replace("tradepost_app@", "postgres@"), size=1)
    await install_store(owner, MARKET)
    await owner.close()
    names = {r.slug: r.name for r in await list_categories(shop.store, admin)}
    assert names["tools"] == "Hand tools"
    assert gone not in names


async def test_the_tree_is_shaped_by_forms_alone(shop: Shop) -> None:
    admin = await grow(shop)
    staff = await browser_of(shop, admin)
    page = text_of((await staff.get("/office/categories")).text)
    assert "A1: move up" in page
    await staff.post("/office/categories", {"name": "Nuts & bolts", "parent": "a", "emoji": "🔩", "description": ""})
    assert await shop.count("categories", "path = 'a/nuts-bolts'") == 1
    await staff.post("/office/categories/nuts-bolts/place", {"where": "up", "to": ""})
    await staff.post("/office/categories/b/place", {"where": "inside", "to": "c"})
    await staff.post(
        "/office/categories/b", {"name": "Bees", "parent": "c", "emoji": "", "description": "", "action": ""}
    )
    assert await shop.count("categories", "path = 'c/b' AND name = 'Bees'") == 1
    refused = await staff.post(
        "/office/categories/b", {"name": "", "parent": "", "emoji": "", "description": "", "action": ""}
    )
    assert refused.status_code == 422
    assert "It needs a name" in text_of(refused.text)
    await staff.post("/office/categories/b", {"action": "hide"})
    assert await shop.count("categories", "slug = 'b' AND NOT is_active") == 1
    await staff.post("/office/categories/a1", {"action": "delete"})
    assert await shop.count("categories", "slug = 'a1'") == 0
    changes = await shop.row(
        "SELECT count(*) FROM audit_log WHERE table_name = 'categories' AND actor_id = :id", id=admin.user_id
    )
    assert changes[0] >= 9
    buyer = await browser_of(shop, shop.buyer)
    for path in ("/office/categories", "/office/categories/a", "/office/places"):
        assert (await buyer.get(path)).status_code in {403, 404}
    with pytest.raises(NotAllowed):
        await add_category(shop.store, shop.buyer, CategoryDraft(name="Mine"))


async def test_places_are_added_corrected_and_hidden(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    added = await add_place(shop.store, admin, PLACE)
    with pytest.raises(PlaceKnown):
        await add_place(shop.store, admin, PLACE)
    assert [(p.label, p.country) for p in await suggest_places(shop.store.db, "muto")] == [
        ("Mutoko, Mashonaland East", "ZW")
    ]
    for wrong in (
        {"name": ""},
        {"country": "Z1"},
        {"lat": 91.0},
        {"lon": None},
        {"population": -1},
        {"region": "x" * 101},
    ):
        values = {name: getattr(PLACE, name) for name in PlaceDraft.__struct_fields__} | {"name": "Other", **wrong}
        with pytest.raises(FieldErrors):
            await add_place(shop.store, admin, PlaceDraft(**values))
    assert await shop.count("places", "name = 'Other'") == 0
    staff = await browser_of(shop, admin)
    assert "-17.400, 32.200" in text_of((await staff.get("/office/places?words=mashona")).text)
    here = f"/office/places/{added}"
    await staff.post(
        here,
        {
            "name": "Mutoko",
            "district": "Mutoko",
            "region": "Mashonaland East",
            "country": "ZW",
            "lat": "-17,5",
            "lon": "32.3",
            "population": "",
            "action": "",
        },
    )
    (found,), regions = await places_of(shop, admin, "muto")
    assert (found.district, round(found.lat or 0, 3), found.population, regions) == (
        "Mutoko",
        -17.5,
        0,
        ["Mashonaland East"],
    )
    refused = await staff.post(
        here,
        {
            "name": "Mutoko",
            "district": "",
            "region": "East",
            "country": "ZW",
            "lat": "north",
            "lon": "1",
            "population": "",
            "action": "",
        },
    )
    assert (refused.status_code, "Degrees, such as" in refused.text) == (422, True)
    await staff.post(here, {"action": "hide"})
    assert await suggest_places(shop.store.db, "muto") == []
    await show_place(shop.store, admin, added, is_active=True)
    assert len(await suggest_places(shop.store.db, "muto")) == 1
    with pytest.raises(NotAllowed):
        await change_place(shop.store, shop.buyer, added, PLACE)
    assert await shop.count("audit_log", "table_name = 'places' AND action IN ('act', 'update')") == 4


async def places_of(shop: Shop, admin: Caller, words: str) -> tuple[tuple, list[str]]:  # type: ignore[type-arg]
    found, regions = await list_places(shop.store, admin, words)
    return found.items, regions

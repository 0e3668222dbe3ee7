"""Made to order, and made: what may be written on a cake, what the kitchen reads of it, what a day takes."""

import io
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from PIL import Image
from sqlalchemy import bindparam, update

from tests.shop import Shop
from tests.test_after_sale import browser_of
from tests.test_delivery import delivered_to, plan_week, slot_on
from tests.visitor import text_of
from tradepost.accounts.types import NotAllowed
from tradepost.cart.configuration import allergens_of, cannot_be_piped, configured, described, nested
from tradepost.cart.types import BadConfiguration
from tradepost.catalog.tables import listings
from tradepost.flows import kitchen
from tradepost.flows.cart import add_to_cart, get_cart
from tradepost.flows.checkout import checkout
from tradepost.flows.move_order import move_order
from tradepost.flows.orders import get_order
from tradepost.flows.plan_delivery import today_of
from tradepost.kitchen.types import BadAmount, IngredientDraft, IngredientTwice, NoSuchIngredient
from tradepost.orders.types import NoSuchOrder

CAKE: dict[str, Any] = {
    "type": "object", "required": ["flavor", "size"],
    "properties": {
        "flavor": {"type": "string", "title": "Flavor", "oneOf": [{"const": "Chocolate"}, {"const": "Nut", "x-price": "2.00", "x-allergens": "hazelnuts"}]},
        "size": {"type": "string", "title": "Size", "oneOf": [{"const": "6 inch"}, {"const": "8 inch", "x-price": "12.00"}], "default": "6 inch"},
        "frosting": {"type": "string", "title": "Frosting", "oneOf": [{"const": "Vanilla"}], "default": "Vanilla"},
        "message": {"type": "string", "title": "Words on the cake", "maxLength": 20, "x-piped": True},
        "image_reference": {"type": "string", "title": "A picture to go by", "format": "picture"},
        "extra_details": {
            "type": "object",
            "properties": {
                "candles": {"type": "boolean", "title": "Candles", "x-price": "3.50", "x-allergens": "soy"},
                "note": {"type": "string", "title": "A note", "maxLength": 100},
            },
        },
    },
}  # fmt: skip


async def cake(shop: Shop, **options: Any) -> UUID:
    """Offer a cake to design at 20.00; return its variant."""
    variant = await shop.goods("Birthday cake", price=2000, stock=50, **options)
    statement = (
        update(listings)
        .where(listings.c.slug == "birthday-cake")
        .values(
            is_customizable=True, configuration_schema=bindparam("schema", type_=listings.c.configuration_schema.type)
        )
    )
    await shop.run(statement, schema=CAKE)
    return variant


def picture() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (400, 300), "hotpink").save(data, "PNG")
    return data.getvalue()


@pytest.mark.parametrize("words", ["Happy 7th, Ada!", "Félicitations ♥", "Łódź & Søren", "“Ja”, 50 %", "Nguyễn"])
def test_what_a_piping_bag_can_write(words: str) -> None:
    assert cannot_be_piped(words) == []
    chosen, _ = configured(CAKE, {"flavor": "Chocolate", "message": words}, "USD")
    assert chosen["message"] == words


@pytest.mark.parametrize(
    ("words", "odd"),
    [("Party 🎉🎉", "“🎉”"), ("생일", "“생” “일”"), ("family 👨‍👩‍👧", "“👨”"), ("Привет", "“П” “р” “и”"), ("①", "“①”")],
)
def test_what_it_cannot_is_said_by_name(words: str, odd: str) -> None:
    with pytest.raises(BadConfiguration) as refused:
        configured(CAKE, {"flavor": "Chocolate", "message": words}, "USD")
    assert odd in refused.value.message
    assert refused.value.field == "configuration.message"


def test_a_message_too_long_says_how_long_it_is() -> None:
    with pytest.raises(BadConfiguration, match="at most 20 characters; these are 21"):
        configured(CAKE, {"flavor": "Chocolate", "message": "x" * 21}, "USD")


def test_a_form_becomes_a_configuration_with_its_price() -> None:
    fields = {
        "flavor": "Nut",
        "size": "8 inch",
        "message": "  Ada  is 7 ",
        "extra_details.candles": "true",
        "extra_details.note": "",
    }
    chosen, surcharge = configured(CAKE, nested(fields), "USD")
    assert chosen == {
        "flavor": "Nut",
        "size": "8 inch",
        "frosting": "Vanilla",
        "message": "Ada is 7",
        "extra_details": {"candles": True},
    }
    assert surcharge == 200 + 1200 + 350
    assert allergens_of(CAKE, chosen) == ("hazelnuts", "soy")
    assert described(CAKE, chosen)[-1] == ("Candles", "yes")
    assert nested({"a": "2", "a.b": "3"}) == {"a": "2"}


async def test_each_line_keeps_its_own_design(shop: Shop) -> None:
    variant = await cake(shop)
    for words in ("One", "Two"):
        await add_to_cart(
            shop.store, shop.buyer, variant, Decimal(1),
            {"flavor": "Nut", "message": words, "extra_details": {"note": "No nuts on top"}},
        )  # fmt: skip
    placed = await checkout(shop.store, shop.buyer, shop.form(), "designed")
    assert placed.total_minor == 2 * 2200
    kept = await shop.rows(
        "SELECT line_no, flavor, size, frosting, message, extra_details FROM line_configurations ORDER BY line_no"
    )
    assert kept == [
        (1, "Nut", "6 inch", "Vanilla", "One", {"note": "No nuts on top"}),
        (2, "Nut", "6 inch", "Vanilla", "Two", {"note": "No nuts on top"}),
    ]


async def test_a_buyer_designs_a_cake_on_the_page(shop: Shop) -> None:
    variant = await cake(shop, attributes={"allergens": "wheat, egg", "lead_time_hours": 24})
    seen = await browser_of(shop, shop.buyer)
    listing = (await shop.row("SELECT slug, id FROM listings WHERE slug = 'birthday-cake'"))[1]
    path = await get_listing_path(shop, listing)
    shown = await seen.get(path)
    assert "Contains wheat, egg" in text_of(shown.text)
    assert 'data-price="1200"' in shown.text
    form = {"variant_id": str(variant), "quantity": "1", "configuration.flavor": "Nut", "configuration.size": "8 inch",
            "configuration.extra_details.candles": "true"}  # fmt: skip
    refused = await seen.post("/cart/add", {**form, "configuration.message": "Yay 🎉"})
    assert (refused.status_code, "not “🎉”" in refused.text) == (422, True)
    assert 'value="Yay 🎉"' in refused.text
    files = {"configuration.image_reference": ("cake.png", picture(), "image/png")}
    done = await seen.post("/cart/add", {**form, "configuration.message": "Yay"}, files=files)
    assert "It is in your cart" in done.text
    line = (await get_cart(shop.store, shop.buyer)).lines[0]
    assert line.unit_price_minor == 2000 + 200 + 1200 + 350
    assert await shop.count("files", f"id = '{line.configuration['image_reference']}'") == 1
    await checkout(shop.store, shop.buyer, shop.form(), "page")
    assert await shop.row("SELECT image_file_id IS NOT NULL, message FROM line_configurations") == (True, "Yay")


async def get_listing_path(shop: Shop, listing: UUID) -> str:
    """Return the address of a listing's page."""
    from tradepost.core.ids import short_id

    return f"/l/birthday-cake-{short_id(listing)}"


async def test_a_picture_that_is_none_is_refused(shop: Shop) -> None:
    variant = await cake(shop)
    seen = await browser_of(shop, shop.buyer)
    files = {"configuration.image_reference": ("cake.png", b"<svg onload=alert(1)>", "image/png")}
    form = {"variant_id": str(variant), "quantity": "1", "configuration.flavor": "Nut"}
    answer = await seen.post("/cart/add", form, files=files)
    assert answer.status_code == 422
    for given in (str(uuid4()), "../../etc/passwd"):
        with pytest.raises(BadConfiguration):
            await add_to_cart(shop.store, shop.buyer, variant, Decimal(1), {"flavor": "Nut", "image_reference": given})
    assert await shop.count("cart_lines") == 0


async def baked_day(shop: Shop) -> tuple[Any, UUID, UUID]:
    """Sell two cakes and three loaves for one day; return the admin, and the listings of both."""
    admin = await plan_week(shop)
    variant, slot = await cake(shop), await slot_on(shop, 2)
    loaf = await shop.goods("Loaf", price=500, stock=50)
    await add_to_cart(shop.store, shop.buyer, variant, Decimal(2), {"flavor": "Nut", "message": "Ada"})
    await checkout(shop.store, shop.buyer, shop.form(shipping="standard", slot_id=slot), "cakes")
    for _ in range(3):
        await delivered_to(shop, slot, loaf)
    await delivered_to(shop, await slot_on(shop, 3), loaf)  # another day
    ids = [
        r[0] for r in await shop.rows("SELECT id FROM listings WHERE title IN ('Birthday cake', 'Loaf') ORDER BY title")
    ]
    return admin, ids[0], ids[1]


async def test_the_kitchen_makes_what_a_day_has_sold(shop: Shop) -> None:
    admin, of_cake, of_loaf = await baked_day(shop)
    day = today_of(shop.store) + timedelta(days=2)
    made = await kitchen.get_production(shop.store, admin, day)
    assert {(b.listing_id, b.quantity, b.done) for b in made.batches} == {(of_cake, 2, 0), (of_loaf, 3, 0)}
    assert (made.orders, made.without_recipe) == (4, ("Birthday cake", "Loaf"))
    designed = made.made_to_order[0]
    assert (designed.quantity, designed.allergens, dict(designed.fields)["Words on the cake"]) == (
        2,
        ("hazelnuts",),
        "Ada",
    )
    first = next(b for b in made.batches if b.listing_id == of_loaf).orders[0]
    order = await get_order(shop.store, admin, first)
    await move_order(shop.store, admin, order.id, "cancelled")
    again = await kitchen.get_production(shop.store, admin, day)
    assert {(b.listing_id, b.quantity) for b in again.batches} == {(of_cake, 2), (of_loaf, 2)}
    assert not (await kitchen.get_production(shop.store, admin, today_of(shop.store))).batches


async def test_what_waits_for_nobody_is_made_today(shop: Shop) -> None:
    loaf = await shop.goods("Loaf", stock=9)
    placed = await shop.buy(loaf)
    staff = await shop.make.person("staff")
    made = await kitchen.get_production(shop.store, staff)
    assert [(b.title, b.left, b.first_window) for b in made.batches] == [("Loaf", 1, "")]
    await move_order(shop.store, staff, placed.order_id, "shipped")
    await move_order(shop.store, staff, placed.order_id, "delivered")
    assert not (await kitchen.get_production(shop.store, staff)).batches


async def test_a_days_ingredients_are_taken_once(shop: Shop) -> None:
    admin, of_cake, of_loaf = await baked_day(shop)
    day = today_of(shop.store) + timedelta(days=2)
    await kitchen.save_ingredient(
        shop.store, admin, IngredientDraft(name="Flour", unit="kg", reorder_at=Decimal(2), pack=Decimal(25))
    )
    flour = (await kitchen.list_ingredients(shop.store, admin))[0].id
    await kitchen.move_ingredient(shop.store, admin, flour, Decimal("2.5"), "delivery", "Mill")
    await kitchen.save_recipe(shop.store, admin, of_cake, {flour: Decimal("0.4")})
    await kitchen.save_recipe(shop.store, admin, of_loaf, {flour: Decimal("0.75")})
    need = (await kitchen.get_production(shop.store, admin, day)).needs[0]
    assert (need.needed, need.on_hand, need.short, need.packs) == (Decimal("3.05"), Decimal("2.5"), Decimal("0.55"), 1)
    assert await kitchen.bake_day(shop.store, admin, day) == 1
    assert await kitchen.bake_day(shop.store, admin, day) == 0
    assert await shop.row("SELECT on_hand FROM ingredients") == (Decimal("-0.55"),)
    late = await shop.goods("Late loaf", stock=5)
    await delivered_to(shop, await slot_on(shop, 2), late)
    listing = (await shop.row("SELECT listing_id FROM variants WHERE id = :id", id=late))[0]
    await kitchen.save_recipe(shop.store, admin, listing, {flour: Decimal(1)})
    assert await kitchen.bake_day(shop.store, admin, day) == 1
    assert await shop.row("SELECT on_hand, (SELECT sum(quantity) FROM ingredient_movements) FROM ingredients") == (
        Decimal("-1.55"),
        Decimal("-1.55"),
    )


async def test_stock_takes_and_waste_have_reasons(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    await kitchen.save_ingredient(
        shop.store, admin, IngredientDraft(name="Butter", unit="kg", reorder_at=Decimal(5), pack=Decimal(2))
    )
    butter = (await kitchen.list_ingredients(shop.store, admin))[0].id
    await kitchen.move_ingredient(shop.store, admin, butter, Decimal(9), "stock_take", "")
    await kitchen.move_ingredient(shop.store, admin, butter, Decimal("1.5"), "waste", "Dropped")
    await kitchen.move_ingredient(shop.store, admin, butter, Decimal(4), "stock_take", "Monday")
    said = [(m.quantity, m.said, m.note) for m in await kitchen.list_movements(shop.store, admin, butter)]
    assert said == [
        (Decimal("-3.5"), "Counted", "Monday"),
        (Decimal("-1.5"), "Thrown away", "Dropped"),
        (Decimal(9), "Counted", ""),
    ]
    found = (await kitchen.list_ingredients(shop.store, admin))[0]
    assert (found.on_hand, found.is_low, found.packs_for(Decimal(0))) == (4, True, 1)
    with pytest.raises(IngredientTwice):
        await kitchen.save_ingredient(shop.store, admin, IngredientDraft(name="BUTTER", unit="kg"))
    with pytest.raises(NoSuchIngredient):
        await kitchen.move_ingredient(shop.store, admin, uuid4(), Decimal(1), "waste", "")
    with pytest.raises(BadAmount):
        await kitchen.move_ingredient(shop.store, admin, butter, Decimal(0), "waste", "")
    loaf = await shop.goods("Loaf", stock=9)
    await kitchen.note_stock(shop.store, admin, loaf, Decimal(2), "waste", "Burnt")
    await kitchen.note_stock(shop.store, admin, loaf, Decimal(5), "stock_take", "")
    with pytest.raises(kitchen.LessThanNone):
        await kitchen.note_stock(shop.store, admin, loaf, Decimal(6), "waste", "")
    assert await shop.stock(loaf) == (5, 0)
    moved = await shop.rows(
        "SELECT quantity, reason, note FROM stock_movements WHERE variant_id = :id ORDER BY at", id=loaf
    )
    assert moved[-2:] == [(-2, "waste", "Burnt"), (-2, "stock_take", "")]


async def test_finished_goods_are_thrown_away_and_counted_on_their_page(shop: Shop) -> None:
    loaf = await shop.goods("Loaf", stock=9)
    await shop.goods("Service", stock=None)
    desk = await browser_of(shop, await shop.make.person("admin"))
    page = await desk.get("/office/kitchen/goods?q=loa")
    assert "Loaf" in text_of(page.text)
    assert "Service" not in text_of(page.text)
    await desk.get(f"/office/kitchen/goods?show={loaf}")
    noted = await desk.post(
        "/office/kitchen/goods", {"variant_id": str(loaf), "reason": "waste", "quantity": "2", "note": "Burnt"}
    )
    assert "-2 Thrown away: Burnt" in text_of(noted.text)
    assert await shop.stock(loaf) == (7, 0)
    await desk.post(
        "/office/kitchen/goods", {"variant_id": str(loaf), "reason": "stock_take", "quantity": "6", "note": ""}
    )
    assert await shop.stock(loaf) == (6, 0)
    for reason, quantity in (("waste", "7"), ("waste", "0"), ("waste", "-1"), ("sale", "1"), ("waste", "x")):
        refused = await desk.post(
            "/office/kitchen/goods", {"variant_id": str(loaf), "reason": reason, "quantity": quantity}
        )
        assert refused.status_code == 422, (reason, quantity)
    assert await shop.stock(loaf) == (6, 0)
    assert (await desk.get("/office/kitchen/goods?show=nonsense")).status_code == 422
    assert (await (await browser_of(shop, shop.buyer)).get("/office/kitchen/goods")).status_code in {403, 404}


async def test_the_ticket_is_for_the_kitchen(shop: Shop) -> None:
    admin, *_ = await baked_day(shop)
    number = (await shop.row("SELECT number FROM orders ORDER BY placed_at LIMIT 1"))[0]
    shown = await (await browser_of(shop, admin)).get(f"/orders/{number}/ticket")
    said = text_of(shown.text)
    assert "2 × Birthday cake" in said
    assert "Words on the cake Ada" in said
    assert "Contains: hazelnuts" in said
    assert "<svg" in shown.text
    for person in (shop.buyer, await shop.make.person()):
        assert (await (await browser_of(shop, person)).get(f"/orders/{number}/ticket")).status_code == 404
    with pytest.raises(NoSuchOrder):
        await kitchen.get_ticket(shop.store, shop.buyer, await get_order(shop.store, shop.buyer, number))


async def test_kitchen_pages_say_what_is_wrong(shop: Shop) -> None:
    await baked_day(shop)
    desk = await browser_of(shop, await shop.make.person("staff"))
    day = today_of(shop.store) + timedelta(days=2)
    shown = await desk.get(f"/office/kitchen?day={day}")
    assert "Birthday cake" in shown.text
    assert int(shown.headers["x-query-count"]) <= 6
    await desk.get("/office/kitchen/ingredients")
    bad = await desk.post("/office/kitchen/ingredients", {"name": "Salt", "unit": "kg", "pack": "0"})
    assert bad.status_code == 422
    good = await desk.post(
        "/office/kitchen/ingredients", {"name": "Salt", "unit": "kg", "pack": "5", "reorder_at": "1,5"}
    )
    assert "Saved" in good.text
    salt = str((await shop.row("SELECT id FROM ingredients"))[0])
    for quantity in ("-1", "much", "0", "NaN"):
        fields = {"action": "move", "ingredient_id": salt, "reason": "waste", "quantity": quantity}
        assert (await desk.post("/office/kitchen/ingredients", fields)).status_code == 422
    fields = {"action": "move", "ingredient_id": salt, "reason": "baked", "quantity": "1"}
    assert (await desk.post("/office/kitchen/ingredients", fields)).status_code == 422
    assert await shop.count("ingredient_movements") == 0
    listing = (await shop.row("SELECT id FROM listings WHERE title = 'Loaf'"))[0]
    saved = await desk.post(f"/office/kitchen/recipes/{listing}", {"ingredient.0": salt, "amount.0": "0,01"})
    assert "what goes into Loaf" in saved.text
    assert await shop.row("SELECT quantity FROM recipe_lines") == (Decimal("0.010"),)
    with pytest.raises(NotAllowed):
        await kitchen.list_ingredients(shop.store, shop.buyer)

"""What a seller asks whoever orders something made for them: any listing, by a form, with prices."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.factories import Factory
from tests.shop import Shop
from tests.test_after_sale import browser_of
from tests.visitor import text_of
from tradepost.cart.configuration import configured
from tradepost.cart.questions import Choice, Question, questions_of, read_choices, schema_of
from tradepost.catalog.listing_pages import listing_of_variant
from tradepost.catalog.types import EditedMeanwhile
from tradepost.core.errors import FieldErrors
from tradepost.flows.cart import add_to_cart, get_cart
from tradepost.flows.made_to_order import get_questions, save_questions
from tradepost.flows.preset import PRESETS
from tradepost.flows.store import Store

SPONGE = Question(
    title="Flavour", is_required=True, choices=(Choice("Vanilla"), Choice("Pistachio", "4.00", "tree nuts"))
)
WORDS = Question(title="Words on it", kind="piped", most=20)
CANDLES = Question(title="Candles", kind="yes_no", price="3.5", is_detail=True)
PICTURE = Question(title="A picture", kind="picture")


def made(schema: dict[str, Any] | None) -> dict[str, Any]:
    assert schema is not None
    return schema


def samples() -> list[dict[str, Any]]:
    lines = (Path(PRESETS) / "omade" / "sample" / "listings.jsonl").read_text("utf-8").splitlines()
    return [s for line in lines if (s := json.loads(line)["configuration_schema"])]


def test_questions_of_the_bakerys_cakes_make_the_same_schemas_again() -> None:
    assert len(samples()) > 3
    for schema in samples():
        again = made(schema_of(questions_of(schema), schema, "USD"))
        assert questions_of(again) == questions_of(schema)
        assert set(again["properties"]) == set(schema["properties"])
        assert sorted(again["required"]) == sorted(schema["required"])
        before = schema["properties"]["flavor"]["oneOf"]
        after = again["properties"]["flavor"]["oneOf"]
        assert [(c["const"], c.get("x-color"), Decimal(c["x-price"])) for c in after] == [
            (c["const"], c.get("x-color"), Decimal(c["x-price"])) for c in before
        ]


def test_what_questions_make_can_be_answered() -> None:
    schema = made(schema_of([SPONGE, WORDS, CANDLES, PICTURE], None, "USD"))
    assert list(schema["properties"]) == ["flavor", "message", "image_reference", "extra_details"]
    given = {"flavor": "Pistachio", "message": "Ada", "extra_details": {"candles": "true"}}
    assert configured(schema, given, "USD") == ({**given, "extra_details": {"candles": True}}, 750)
    assert schema_of([], schema, "USD") is None


def test_lines_are_choices() -> None:
    assert read_choices("Vanilla\n\n Pistachio | +4.00 | tree nuts \n| 3\nLemon||") == (
        Choice("Vanilla"), Choice("Pistachio", "4.00", "tree nuts"), Choice("Lemon"),
    )  # fmt: skip
    assert SPONGE.lines == "Vanilla\nPistachio | 4.00 | tree nuts"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (Question(title=" ", choices=SPONGE.choices), "title"),
        (Question(title="x" * 101, choices=SPONGE.choices), "title"),
        (Question(title="Size"), "choices"),
        (Question(title="Size", choices=(Choice("One"), Choice("One"))), "choices"),
        (Question(title="Size", choices=(Choice("One"), Choice("Two", "cheap"))), "choices"),
        (Question(title="Size", choices=(Choice("One"), Choice("Two", "-1"))), "choices"),
        (Question(title="Size", choices=(Choice("One"), Choice("Two", "0.001"))), "choices"),
        (Question(title="Size", choices=tuple(Choice(str(n)) for n in range(41))), "choices"),
        (Question(title="Words", kind="text", most=0), "most"),
        (Question(title="Words", kind="text", most=501), "most"),
        (Question(title="Candles", kind="yes_no", price="NaN"), "price"),
        (Question(title="Candles", kind="yes_no", price="99999999999"), "price"),
    ],
)
def test_what_makes_no_sense_is_said_where_it_is(wrong: Question, field: str) -> None:
    with pytest.raises(FieldErrors) as said:
        schema_of([SPONGE, wrong], None, "USD")
    assert list(said.value.errors) == [f"q.1.{field}"]


def test_what_has_another_form_gets_another_name() -> None:
    """The columns of the document hold what they hold: a flavour of a list, the id of a picture."""
    words = [Question(title=title, kind="text", most=500) for title in ("Flavour", "Message", "Image reference")]
    assert list(made(schema_of(words, None, "USD"))["properties"]) == [
        "flavor_words",
        "message_words",
        "image_reference_words",
    ]
    before = schema_of([SPONGE], None, "USD")
    turned = made(schema_of([Question(key="flavor", title="Flavour", kind="text")], before, "USD"))
    assert list(turned["properties"]) == ["flavor_words"]


def test_there_is_one_picture_to_go_by() -> None:
    with pytest.raises(FieldErrors) as said:
        schema_of([PICTURE, PICTURE], None, "USD")
    assert list(said.value.errors) == ["q.1.title"]


def test_there_are_not_too_many_questions() -> None:
    with pytest.raises(FieldErrors):
        schema_of([Question(title=f"Word {n}", kind="text") for n in range(21)], None, "USD")


async def seller_with_cake(shop: Shop) -> tuple[UUID, UUID, Any]:
    variant = await shop.goods("Cake", price=2000)
    listing = await listing_of_variant(shop.store.db, variant)
    assert listing is not None
    return variant, listing, shop.sellers[variant]


async def test_a_seller_makes_any_listing_one_to_order_on_a_page(shop: Shop) -> None:
    variant, listing, seller = await seller_with_cake(shop)
    desk = await browser_of(shop, seller)
    path = f"/me/listings/{listing}/questions"
    assert path in (await desk.get(f"/me/listings/{listing}")).text
    page = await desk.get(path)
    version = page.text.split('name="version" value="')[1].split('"')[0]
    fields = {
        "version": version, "q.0.title": "Flavour", "q.0.kind": "choice", "q.0.required": "1", "q.0.choices": "Vanilla\nPistachio | 4 | tree nuts",
        "q.1.title": "Words on it", "q.1.kind": "piped", "q.1.most": "20", "q.1.place": "1", "q.2.title": "",
    }  # fmt: skip
    saved = await desk.post(path, fields)
    assert saved.status_code == 200
    assert "tree nuts" in saved.text
    visitor = await browser_of(shop, shop.buyer)
    await visitor.get(saved.url.path)
    put = await visitor.post(
        "/cart/add",
        {
            "variant_id": str(variant),
            "quantity": "1",
            "configuration.flavor": "Pistachio",
            "configuration.message": "Ada",
        },
    )
    assert put.status_code == 200
    cart = await get_cart(shop.store, shop.buyer)
    assert (cart.lines[0].unit_price_minor, cart.lines[0].configuration) == (
        2400,
        {"flavor": "Pistachio", "message": "Ada"},
    )
    stale = await desk.post(path, {**fields, "q.0.title": "Sponge"})
    assert stale.status_code == 422
    assert "Sponge" in stale.text  # what was typed is kept
    wrong = await desk.post(path, {**fields, "version": "", "q.0.choices": " | 3"})
    assert wrong.status_code == 422
    assert "each on a line of its own" in text_of(wrong.text)
    assert [q.title for q in (await get_questions(shop.store, seller, listing)).questions] == ["Flavour", "Words on it"]


async def test_what_was_answered_before_says_that_it_no_longer_fits(shop: Shop) -> None:
    variant, listing, seller = await seller_with_cake(shop)
    await save_questions(shop.store, seller, listing, [SPONGE], version=None)
    await add_to_cart(shop.store, shop.buyer, variant, Decimal(1), {"flavor": "Pistachio"})
    only = Question(key="flavor", title="Flavour", choices=(Choice("Vanilla"), Choice("Lemon")))
    await save_questions(shop.store, seller, listing, [only], version=None)
    assert [line.stock for line in (await get_cart(shop.store, shop.buyer)).lines] == ["gone"]
    await save_questions(shop.store, seller, listing, [], version=None)
    assert await shop.row(
        "SELECT is_customizable, configuration_schema IS NULL FROM listings WHERE id = :id", id=listing
    ) == (False, True)


async def test_questions_are_the_sellers_own(shop: Shop) -> None:
    _, listing, seller = await seller_with_cake(shop)
    path = f"/me/listings/{listing}/questions"
    other = await browser_of(shop, await shop.make.person("seller"))
    assert (await other.get(path)).status_code == 404
    assert (await other.post(path, {"q.0.title": "Mine", "q.0.kind": "text"})).status_code == 404
    staff = await browser_of(shop, await shop.make.person("admin"))
    assert (await staff.get(path)).status_code == 200
    with pytest.raises(EditedMeanwhile):
        await save_questions(shop.store, seller, listing, [SPONGE], version=99)
    assert (await get_questions(shop.store, seller, listing)).questions == ()


async def test_both_at_once_one_is_told(store: Store, make: Factory, race: Any) -> None:
    seller = await make.person("seller")
    listing = await make.listing(seller)
    version = (await get_questions(store, seller, listing)).listing.version
    done = await race(
        save_questions(store, seller, listing, [SPONGE], version=version),
        save_questions(store, seller, listing, [WORDS], version=version),
    )
    assert sum(isinstance(d, EditedMeanwhile) for d in done) == 1
    rows = await store.db.read(text("SELECT version FROM listings WHERE id = :id"), id=listing)
    assert rows[0][0] == version + 1

"""Sellers at work: who may change a listing, and what a change leaves as it is."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import text

from tests.factories import Factory
from tests.shop import Shop
from tests.test_pages import DRAFT, photo
from tests.visitor import Visitor
from tradepost.accounts.api_tokens import issue_token
from tradepost.accounts.types import Caller, NewToken, NotAllowed
from tradepost.catalog.listing_pages import category_tree, get_listing, list_saved
from tradepost.catalog.pictures import StoredPicture
from tradepost.catalog.service import (
    access_own_listing,
    add_image,
    arrange_images,
    create_listing,
    publish_listing,
    toggle_saved,
    update_listing,
    withdraw_listing,
)
from tradepost.catalog.types import Listing, ListingDraft, NoSuchListing, SellersOnly, VariantDraft
from tradepost.core.database import SYSTEM
from tradepost.core.errors import FieldErrors
from tradepost.core.ids import short_id
from tradepost.flows.store import Store

PIECE = VariantDraft(unit="piece", on_hand=Decimal(10), price_minor=250)


def draft(*variants: VariantDraft, **fields: Any) -> ListingDraft:
    """Return a draft of apples."""
    return ListingDraft(
        **{"kind": "product", "title": "Red apples", "category": "fruit", "variants": variants or (PIECE,), **fields}
    )


async def made(store: Store, seller: Caller, *variants: VariantDraft) -> UUID:
    """Make a listing and publish it."""
    tree = await category_tree(store.db)
    async with store.db.transaction(actor=seller.actor) as tx:
        listing_id = await create_listing(tx, seller, draft(*variants), tree=tree, place=None, currency=store.currency)
        await publish_listing(tx, seller, listing_id)
    return listing_id


async def changed(store: Store, seller: Caller, listing_id: UUID, wanted: ListingDraft) -> None:
    """Change a listing, whatever its version."""
    tree = await category_tree(store.db)
    async with store.db.transaction(actor=seller.actor) as tx:
        await update_listing(
            tx, seller, listing_id, wanted, version=None, tree=tree, place=None, currency=store.currency
        )


async def seen(store: Store, seller: Caller, listing_id: UUID) -> Listing:
    """Return the listing as its seller sees it."""
    async with store.db.transaction(actor=seller.actor) as tx:
        return await get_listing(tx, listing_id, currency=store.currency)


async def facts(store: Store, listing_id: UUID) -> list[str]:
    """Return what happened to a listing, in order."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        return await tx.values(text("SELECT kind FROM events WHERE subject_id = :of ORDER BY at, id"), of=listing_id)


async def test_a_program_changes_listings_only_with_the_scope_to_sell(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    listing_id = await made(store, seller)
    program = msgspec.structs.replace(seller, permissions=frozenset(), scopes=frozenset())
    async with store.db.transaction(actor=program.actor) as tx:
        for work in (publish_listing, withdraw_listing, access_own_listing):
            with pytest.raises(SellersOnly):
                await work(tx, program, listing_id)
        with pytest.raises(SellersOnly):
            await arrange_images(tx, program, listing_id, [])
        with pytest.raises(NotAllowed):
            await toggle_saved(tx, program, listing_id)
    assert (await seen(store, seller, listing_id)).status == "active"
    assert await facts(store, listing_id) == ["ListingPublished"]


async def test_only_its_seller_may_add_a_picture_and_nobody_else_leaves_a_file(
    browse: Visitor, store: Store, make: Factory, tmp_path: Path
) -> None:
    seller, stranger = await make.person("seller"), await make.person("seller")
    listing_id = await made(store, seller)
    async with store.db.transaction(actor=stranger.actor) as tx:
        token = (await issue_token(tx, stranger, NewToken(name="program", scopes=("sell",)))).secret
    path, file = f"/api/v1/listings/{listing_id}/pictures", {"picture": ("a.jpg", photo(), "image/jpeg")}
    await browse.get("/")
    visitor = await browse.client.post(path, files=file, headers={"x-csrf-token": browse.token})
    assert visitor.status_code == 401
    program = await browse.client.post(path, files=file, headers={"authorization": f"Bearer {token}"})
    assert program.status_code == 404
    assert not [f for f in (tmp_path / "files").rglob("*") if f.is_file()]


async def test_a_picture_is_kept_as_what_it_is(browse: Visitor, store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    listing_id = await made(store, seller)
    async with store.db.transaction(actor=seller.actor) as tx:
        token = (await issue_token(tx, seller, NewToken(name="program", scopes=("sell",)))).secret
    for kind in ("JPEG", "PNG", "GIF"):
        answer = await browse.client.post(
            f"/api/v1/listings/{listing_id}/pictures", headers={"authorization": f"Bearer {token}"},
            files={"picture": ("a", photo(kind=kind), "application/octet-stream")},
        )  # fmt: skip
        assert answer.status_code == 201
    async with store.db.transaction(actor=SYSTEM) as tx:
        formats = await tx.values(text("SELECT format FROM listing_images ORDER BY position"))
    assert formats == ["jpeg", "png", "webp"]
    assert await facts(store, listing_id) == ["ListingPublished", *["ListingChanged"] * 3]


async def test_what_is_sold_while_a_seller_edits_stays_sold(store: Store, make: Factory, shop: Shop) -> None:
    seller = await make.person("seller")
    listing_id = await made(store, seller)
    variant = (await seen(store, seller, listing_id)).variants[0]
    shop.sellers[variant.id] = seller
    await shop.buy(variant.id, 3)
    edited = msgspec.structs.replace(PIECE, id=variant.id, on_hand=Decimal(10), on_hand_before=Decimal(10))
    await changed(store, seller, listing_id, draft(edited, title="Redder apples"))
    assert (await seen(store, seller, listing_id)).variants[0].on_hand == 7
    more = msgspec.structs.replace(edited, on_hand=Decimal(25))
    await changed(store, seller, listing_id, draft(more))
    assert (await seen(store, seller, listing_id)).variants[0].on_hand == 22


async def test_options_may_move_from_one_variant_to_a_new_one(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    small = msgspec.structs.replace(PIECE, options={"Size": "S"})
    listing_id = await made(store, seller, small)
    first = (await seen(store, seller, listing_id)).variants[0].id
    renamed = msgspec.structs.replace(small, id=first, options={"Size": "M"})
    await changed(store, seller, listing_id, draft(renamed, small))
    assert [v.options["Size"] for v in (await seen(store, seller, listing_id)).offered] == ["M", "S"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"feed": "nowhere"}, "feed"),
        ({"condition": "haunted"}, "condition"),
        ({"variants": (msgspec.structs.replace(PIECE, unit="furlong"),)}, "unit"),
        ({"variants": (msgspec.structs.replace(PIECE, sale_step=Decimal("NaN")),)}, "variants.0.sale_step"),
        ({"variants": (msgspec.structs.replace(PIECE, sale_step=Decimal("1e40")),)}, "variants.0.sale_step"),
        ({"variants": (msgspec.structs.replace(PIECE, on_hand=Decimal("999999999.9999")),)}, "variants.0.on_hand"),
    ],
)
async def test_a_value_nobody_knows_is_named(store: Store, make: Factory, fields: dict[str, Any], field: str) -> None:
    seller = await make.person("seller")
    tree = await category_tree(store.db)
    with pytest.raises(FieldErrors) as refused:
        async with store.db.transaction(actor=seller.actor) as tx:
            await create_listing(tx, seller, draft(**fields), tree=tree, place=None, currency=store.currency)
    assert set(refused.value.errors) == {field}
    assert (await store.db.read(text("SELECT count(*) FROM listings")))[0][0] == 0


async def test_withdrawing_twice_is_one_fact(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    listing_id = await made(store, seller)
    for _ in range(2):
        async with store.db.transaction(actor=seller.actor) as tx:
            await withdraw_listing(tx, seller, listing_id)
    assert await facts(store, listing_id) == ["ListingPublished", "ListingWithdrawn"]


async def test_arranging_stored_pictures_leaves_outside_ones(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    listing_id = await made(store, seller)
    async with store.db.transaction(actor=SYSTEM) as tx:
        for n in range(2):
            await tx.run(
                text("INSERT INTO listing_images (listing_id, position, url) VALUES (:of, :n, :url)"),
                of=listing_id, n=n, url=f"https://example.com/{n}.jpg",
            )  # fmt: skip
        await tx.run(
            text("""INSERT INTO files (id, sha256, media_type, bytes, storage_key)
                    VALUES (:id, '\\x00', 'image/png', 1, 'pictures/00/00')"""),
            id=(file_id := uuid4()),
        )  # fmt: skip
    async with store.db.transaction(actor=seller.actor) as tx:
        await add_image(tx, seller, listing_id, StoredPicture(file_id, "image/png", 1, 1, 1, "pictures/00/00"))
        await arrange_images(tx, seller, listing_id, [file_id])
    images = (await seen(store, seller, listing_id)).images
    assert [image.file_id or image.url for image in images] == [
        file_id, "https://example.com/0.jpg", "https://example.com/1.jpg",
    ]  # fmt: skip


async def test_the_form_keeps_what_it_has_no_room_for(browse: Visitor, store: Store) -> None:
    """A program gave a listing five options; the page shows three of them."""
    await browse.sign_up("grower", "seller")
    await browse.post("/me/listings/new", DRAFT)
    listing_id, seller_id = (await store.db.read(text("SELECT id, seller_id FROM listings")))[0]
    options = dict.fromkeys("abcde", "1")
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("UPDATE variants SET options = :options"), options=options)
    variant_id = (await store.db.read(text("SELECT id FROM variants")))[0][0]
    fields = {
        **DRAFT, "action": "save", "variant.0.id": str(variant_id),
        **{f"option_name.{n}": name for n, name in enumerate("abc")}, **{f"variant.0.option.{n}": "2" for n in range(3)},
    }  # fmt: skip
    answer = await browse.post(f"/me/listings/{listing_id}", fields)
    assert answer.status_code == 200
    assert (await store.db.read(text("SELECT options FROM variants")))[0][0] == {
        "a": "2", "b": "2", "c": "2", "d": "1", "e": "1",
    }  # fmt: skip
    assert isinstance(seller_id, UUID)


async def test_a_listing_is_asked_what_its_category_asks_for(browse: Visitor, store: Store) -> None:
    await browse.sign_up("grower", "seller")
    fruit = (await browse.get("/me/listings/new")).text
    assert '<fieldset data-categories="tools" hidden disabled>' in fruit
    tools = await browse.post("/me/listings/new", {**DRAFT, "category": "tools", "action": "show_details"})
    assert '<fieldset data-categories="tools">' in tools.text
    refused = await browse.post("/me/listings/new", {**DRAFT, "category": "tools"})
    assert refused.status_code == 422
    assert "This is needed." in refused.text
    await browse.post("/me/listings/new", {**DRAFT, "category": "tools", "attribute.power": "hand"})
    await browse.post("/me/listings/new", {**DRAFT, "attribute.power": "hand"})
    kept = await store.db.read(text("SELECT attributes ->> 'power' FROM listings ORDER BY created_at"))
    assert [row[0] for row in kept] == ["hand", None]


async def test_goods_are_sold_before_they_have_come(browse: Visitor, store: Store, shop: Shop) -> None:
    await browse.sign_up("grower", "seller")
    ahead = {"variant.0.on_hand": "0", "variant.0.backorder_until": "2099-12-24", "variant.0.expected_on": "2099-12-31"}
    await browse.post("/me/listings/new", {**DRAFT, **ahead})
    (listing_id, variant_id), *_ = await store.db.read(text("SELECT listing_id, id FROM variants"))
    page = (await browse.get(f"/me/listings/{listing_id}")).text
    assert 'value="2099-12-24"' in page
    assert 'value="2099-12-31"' in page
    shown = (await browse.get(f"/l/green-pears-{short_id(listing_id)}")).text
    assert "To order, expected" in shown
    await shop.buy(variant_id, 1)
    assert await shop.stock(variant_id) == (0, 1)
    rows = {"variant.0.id": str(variant_id), "variant.0.on_hand": "0", "variant.0.on_hand_before": "0"}
    refused = await browse.post(f"/me/listings/{listing_id}", {**DRAFT, **rows, "variant.0.backorder_until": ""})
    assert refused.status_code == 422
    assert "Orders wait for these goods" in refused.text
    bad = await browse.post(f"/me/listings/{listing_id}", {**DRAFT, **rows, "variant.0.expected_on": "soon"})
    assert "A day, please" in bad.text


async def test_a_listing_of_many_variants_keeps_them_all(browse: Visitor, store: Store) -> None:
    await browse.sign_up("grower", "seller")
    rows = {
        key: value
        for n in range(80)
        for key, value in {
            f"variant.{n}.unit": "piece", f"variant.{n}.on_hand": "1", f"variant.{n}.price": "1", f"variant.{n}.option.0": str(n),
        }.items()
    }  # fmt: skip
    await browse.post("/me/listings/new", {**DRAFT, "option_name.0": "Number", **rows})
    assert (await store.db.read(text("SELECT count(*) FROM variants WHERE is_active")))[0][0] == 80


async def test_two_hundred_variants_fit_into_a_form_with_pictures(browse: Visitor, store: Store) -> None:
    await browse.sign_up("grower", "seller")
    names = ("id", "unit", "sale_step", "on_hand", "price", "compare_at", "sku", "option.0", "option.1", "option.2")
    values = {"unit": "piece", "price": "1"}
    rows = {
        f"variant.{n}.{name}": str(n) if name == "option.0" else values.get(name, "")
        for n in range(200)
        for name in names
    }
    fields = {**DRAFT, "option_name.0": "Number", **rows, "variant.0.sale_step": "", "variant.0.on_hand": ""}
    answer = await browse.post("/me/listings/new", fields, files={"pictures": ("pears.jpg", photo(), "image/jpeg")})
    assert answer.status_code == 200
    assert (await store.db.read(text("SELECT count(*) FROM variants WHERE is_active")))[0][0] == 200


async def test_a_ticked_variant_is_no_longer_sold(browse: Visitor, store: Store) -> None:
    await browse.sign_up("grower", "seller")
    sizes = {"option_name.0": "Size", "variant.0.option.0": "S", "variant.1.option.0": "L", "variant.1.unit": "kg"}
    await browse.post("/me/listings/new", {**DRAFT, **sizes, "variant.1.price": "5"})
    (listing,) = await store.db.read(text("SELECT id, version FROM listings"))
    form = (await browse.get(f"/me/listings/{listing['id']}")).text
    assert 'name="variant.1.remove"' in form
    ids = dict(re.findall(r'name="(variant\.[01]\.id)" value="([^"]+)"', form))
    fields = {**DRAFT, **sizes, **ids, "variant.1.price": "5", "version": str(listing["version"])}
    both = await browse.post(
        f"/me/listings/{listing['id']}", {**fields, "variant.0.remove": "1", "variant.1.remove": "1"}
    )
    assert both.status_code == 422
    await browse.post(f"/me/listings/{listing['id']}", {**fields, "variant.0.remove": "1"})
    sold = await store.db.read(text("SELECT options, is_active FROM variants ORDER BY position, id"))
    assert [(row["options"], row["is_active"]) for row in sold] == [({"Size": "S"}, False), ({"Size": "L"}, True)]


async def test_a_stranger_has_no_listing_to_change(store: Store, make: Factory) -> None:
    listing_id = await made(store, await make.person("seller"))
    stranger = await make.person("seller")
    async with store.db.transaction(actor=stranger.actor) as tx:
        with pytest.raises(NoSuchListing):
            await access_own_listing(tx, stranger, listing_id)


async def test_a_saved_listing_that_is_withdrawn_is_not_shown(store: Store, make: Factory) -> None:
    seller, buyer = await make.person("seller"), await make.person()
    listing_id = await made(store, seller)
    async with store.db.transaction(actor=buyer.actor) as tx:
        assert await toggle_saved(tx, buyer, listing_id)
        assert [card.id for card in await list_saved(tx, buyer.user_id or UUID(int=0))] == [listing_id]
    async with store.db.transaction(actor=seller.actor) as tx:
        await withdraw_listing(tx, seller, listing_id)
    async with store.db.transaction(actor=buyer.actor) as tx:
        assert await list_saved(tx, buyer.user_id or UUID(int=0)) == []

"""What the catalogue's triggers keep true, whoever writes the rows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, delete, insert, select, text, update
from sqlalchemy.dialects.postgresql import JSONB

from tests.conftest import Servers
from tradepost.accounts.tables import users
from tradepost.catalog.tables import (
    categories,
    files,
    likes,
    listing_attributes,
    listing_images,
    listing_stats,
    listings,
    prices,
    variants,
)
from tradepost.catalog.tree import BelowItself
from tradepost.core.database import SYSTEM, Database, RuleBroken, Transaction
from tradepost.reviews.tables import reviews

MakeListing = Callable[..., Awaitable[UUID]]


@pytest_asyncio.fixture(scope="module")
async def database_name(servers: Servers, market: str) -> AsyncIterator[str]:
    """Share one store's database among these tests: each undoes what it did."""
    name = await servers.clone(market)
    yield name
    await servers.drop(name)


@pytest_asyncio.fixture
async def tx(db: Database) -> AsyncIterator[Transaction]:
    """Open a transaction that is rolled back."""
    async with db.transaction(actor=SYSTEM) as opened:
        yield opened
        await opened.control("ROLLBACK; BEGIN")


async def add_category(tx: Transaction, slug: str, parent: UUID | None = None) -> UUID:
    values = {"slug": slug, "name": slug.title(), "parent_id": parent}
    made: UUID = await tx.value(insert(categories).values(values).returning(categories.c.id))
    return made


async def paths(tx: Transaction, *slugs: str) -> list[str]:
    statement = text("SELECT path FROM categories WHERE slug = ANY (:slugs) ORDER BY path")
    return await tx.values(statement, slugs=list(slugs))


def move(category: UUID, to: UUID | None) -> Any:
    return update(categories).values(parent_id=to).where(categories.c.id == category)


async def test_a_path_is_the_slugs_from_the_root(tx: Transaction) -> None:
    garden = await add_category(tx, "garden")
    shed = await add_category(tx, "shed", garden)
    await add_category(tx, "spades", shed)
    assert await paths(tx, "garden", "shed", "spades") == ["garden", "garden/shed", "garden/shed/spades"]


async def test_a_branch_moves_with_everything_on_it(tx: Transaction) -> None:
    garden, kitchen = await add_category(tx, "garden"), await add_category(tx, "kitchen")
    shed = await add_category(tx, "shed", garden)
    spades = await add_category(tx, "spades", shed)
    await add_category(tx, "small", spades)
    await add_category(tx, "shed-doors")
    await tx.run(move(shed, kitchen))
    assert await paths(tx, "shed", "spades", "small") == [
        "kitchen/shed",
        "kitchen/shed/spades",
        "kitchen/shed/spades/small",
    ]
    await tx.run(move(shed, None))
    assert await paths(tx, "shed", "spades", "small") == ["shed", "shed/spades", "shed/spades/small"]
    await tx.run(update(categories).values(slug="hut").where(categories.c.id == shed))
    assert await paths(tx, "hut", "spades", "small") == ["hut", "hut/spades", "hut/spades/small"]
    assert await paths(tx, "shed-doors", "garden") == ["garden", "shed-doors"]


async def test_a_category_cannot_be_below_itself(tx: Transaction) -> None:
    garden = await add_category(tx, "garden")
    shed = await add_category(tx, "shed", garden)
    spades = await add_category(tx, "spades", shed)
    for target in (garden, shed, spades):
        with pytest.raises(BelowItself):
            async with tx.savepoint():
                await tx.run(move(garden, target))
    assert await paths(tx, "garden", "shed", "spades") == ["garden", "garden/shed", "garden/shed/spades"]


async def test_two_who_move_at_once_cannot_make_a_cycle(db: Database) -> None:
    async with db.transaction(actor=SYSTEM) as tx:
        left, right = await add_category(tx, "left"), await add_category(tx, "right")
    both = asyncio.Barrier(2)

    async def put(one: UUID, below: UUID) -> None:
        async with db.transaction(actor=SYSTEM) as tx:
            await tx.value(text("SELECT 1"))
            await both.wait()
            await tx.run(move(one, below))

    try:
        results = await asyncio.gather(put(left, right), put(right, left), return_exceptions=True)
        assert sorted(str(r) for r in results) == ["A category cannot lie below itself.", "None"]
        async with db.transaction(actor=SYSTEM) as tx:
            assert await paths(tx, "left", "right") in (["left", "left/right"], ["right", "right/left"])
    finally:
        async with db.transaction(actor=SYSTEM) as tx:
            await tx.run(update(categories).values(parent_id=None))
            await tx.run(text("DELETE FROM categories WHERE slug IN ('left', 'right')"))


async def test_a_leaf_put_on_a_moving_branch_moves_along(db: Database) -> None:
    async with db.transaction(actor=SYSTEM) as tx:
        root, branch = await add_category(tx, "root"), await add_category(tx, "branch")
        twig = await add_category(tx, "twig", branch)
    moved, leafed = asyncio.Event(), asyncio.Event()

    async def move_branch() -> None:
        async with db.transaction(actor=SYSTEM) as tx:
            await tx.run(move(branch, root))
            moved.set()
            with pytest.raises(TimeoutError):  # the leaf waits until the branch has settled
                await asyncio.wait_for(leafed.wait(), 0.3)

    async def add_leaf() -> None:
        await moved.wait()
        async with db.transaction(actor=SYSTEM) as tx:
            await add_category(tx, "leaf", twig)
            leafed.set()

    try:
        await asyncio.gather(move_branch(), add_leaf())
        async with db.transaction(actor=SYSTEM) as tx:
            assert await paths(tx, "leaf") == ["root/branch/twig/leaf"]
    finally:
        async with db.transaction(actor=SYSTEM) as tx:
            for slug in ("leaf", "twig", "branch", "root"):
                await tx.run(delete(categories).where(categories.c.slug == slug))


@pytest_asyncio.fixture
async def make_listing(tx: Transaction) -> MakeListing:
    """Make listings of a seller made for them."""
    seller = await tx.value(
        insert(users).values(username="rudo", email="rudo@example.com", display_name="Rudo").returning(users.c.id)
    )
    fruit = await tx.value(select(categories.c.id).where(categories.c.slug == "fruit"))

    async def make(**columns: Any) -> UUID:
        attributes = bindparam("attributes", columns.pop("attributes", {}), type_=JSONB)
        values = {
            "seller_id": seller, "kind": "product", "feed": "discover", "slug": "apples", "title": "Apples", "description": "Red.",
            "category_id": fruit, "status": "active", "published_at": datetime.now(UTC), "attributes": attributes, **columns,
        }  # fmt: skip
        made: UUID = await tx.value(insert(listings).values(values).returning(listings.c.id))
        return made

    return make


async def add_variant(
    tx: Transaction, listing: UUID, price: int | None = None, *, stock: int | None = 5, **columns: Any
) -> UUID:
    options = bindparam("options", columns.pop("options", {}), type_=JSONB)
    values = {"listing_id": listing, "unit": "piece", "on_hand": stock, "options": options, **columns}
    made: UUID = await tx.value(insert(variants).values(values).returning(variants.c.id))
    if price is not None:
        await add_price(tx, made, price)
    return made


async def add_price(tx: Transaction, variant: UUID, minor: int, **columns: Any) -> None:
    values = {"variant_id": variant, "currency": "USD", "amount_minor": minor, **columns}
    values.setdefault("valid_from", datetime.now(UTC) - timedelta(days=1))
    await tx.run(insert(prices).values(values))


async def summary(tx: Transaction, listing: UUID) -> tuple[Any, ...]:
    columns = (listings.c.price_minor, listings.c.price_to_minor, listings.c.compare_at_minor, listings.c.currency,
               listings.c.unit, listings.c.in_stock)  # fmt: skip
    return tuple(await tx.one(select(*columns).where(listings.c.id == listing)))


NOTHING = (None, None, None, None, None, False)


async def test_a_listing_without_variants_has_no_price_and_no_stock(tx: Transaction, make_listing: MakeListing) -> None:
    listing = await make_listing()
    assert await summary(tx, listing) == NOTHING
    variant = await add_variant(tx, listing, 250)
    assert await summary(tx, listing) == (250, 250, None, "USD", "piece", True)
    await tx.run(update(variants).values(is_active=False).where(variants.c.id == variant))
    assert await summary(tx, listing) == NOTHING
    await tx.run(update(variants).values(is_active=True).where(variants.c.id == variant))
    assert await summary(tx, listing) == (250, 250, None, "USD", "piece", True)
    await tx.run(delete(variants).where(variants.c.id == variant))
    assert await summary(tx, listing) == NOTHING


async def test_a_listing_shows_what_its_cheapest_variant_costs(tx: Transaction, make_listing: MakeListing) -> None:
    listing = await make_listing()
    await add_variant(tx, listing, 900, options={"size": "L"}, unit="kg")
    small = await add_variant(tx, listing, options={"size": "S"}, unit="hour", position=1)
    await add_price(tx, small, 400, compare_at_minor=600)
    assert await summary(tx, listing) == (400, 900, 600, "USD", "hour", True)
    await tx.run(update(prices).values(amount_minor=1000, compare_at_minor=None).where(prices.c.variant_id == small))
    assert await summary(tx, listing) == (900, 1000, None, "USD", "kg", True)
    await tx.run(delete(prices).where(prices.c.variant_id == small))
    assert await summary(tx, listing) == (900, 900, None, "USD", "kg", True)


async def test_only_todays_price_in_the_stores_currency_counts(tx: Transaction, make_listing: MakeListing) -> None:
    listing = await make_listing()
    variant = await add_variant(tx, listing)
    today = datetime.now(UTC)
    await add_price(tx, variant, 100, valid_from=today - timedelta(days=9), valid_to=today - timedelta(days=5))
    await add_price(tx, variant, 300, valid_from=today + timedelta(days=5))
    await add_price(tx, variant, 10, currency="EUR")
    assert await summary(tx, listing) == (None, None, None, None, "piece", True)
    await add_price(tx, variant, 200, valid_from=today - timedelta(days=5), valid_to=today + timedelta(days=5))
    assert await summary(tx, listing) == (200, 200, None, "USD", "piece", True)


async def test_prices_of_one_currency_never_overlap(tx: Transaction, make_listing: MakeListing) -> None:
    variant = await add_variant(tx, await make_listing(), 250)
    with pytest.raises(RuleBroken, match="ex_prices_no_overlap"):
        async with tx.savepoint():
            await add_price(tx, variant, 260, valid_from=datetime.now(UTC) + timedelta(days=1))


@pytest.mark.parametrize(
    ("columns", "in_stock"),
    [
        ({"stock": None}, True),
        ({"stock": 0}, False),
        ({"stock": 5}, True),
        ({"stock": 5, "reserved": Decimal(5)}, False),
        ({"stock": 5, "reserved": Decimal("4.5"), "sale_step": Decimal("0.5")}, True),
        ({"stock": 5, "reserved": Decimal("4.5")}, False),
        ({"stock": 0, "backorder_until": datetime.now(UTC) + timedelta(days=3)}, True),
        ({"stock": 0, "backorder_until": datetime.now(UTC) - timedelta(days=3)}, False),
    ],
)
async def test_stock_is_what_can_still_be_sold(
    tx: Transaction, make_listing: MakeListing, columns: dict[str, Any], in_stock: bool
) -> None:
    listing = await make_listing()
    await add_variant(tx, listing, 100, **columns)
    assert (await summary(tx, listing))[5] is in_stock


async def test_a_listing_is_in_stock_as_long_as_one_variant_is(tx: Transaction, make_listing: MakeListing) -> None:
    listing = await make_listing()
    one = await add_variant(tx, listing, 100, stock=1, options={"size": "S"})
    other = await add_variant(tx, listing, 100, stock=1, options={"size": "L"})
    for variant, left in ((one, True), (other, False)):
        await tx.run(update(variants).values(on_hand=Decimal(0)).where(variants.c.id == variant))
        assert (await summary(tx, listing))[5] is left
    await tx.run(update(variants).values(on_hand=Decimal(1)).where(variants.c.id == one))
    assert (await summary(tx, listing))[5] is True


async def test_many_variants_changed_at_once_are_summed_up_each_for_its_listing(
    tx: Transaction, make_listing: MakeListing
) -> None:
    made = [await make_listing() for _ in range(5)]
    for number, listing in enumerate(made):
        await add_variant(tx, listing, 100 * (number + 1))
    await tx.run(update(prices).values(amount_minor=prices.c.amount_minor + 1))
    assert [(await summary(tx, listing))[0] for listing in made] == [101, 201, 301, 401, 501]
    await tx.run(update(variants).values(on_hand=Decimal(0)))
    assert [(await summary(tx, listing))[5] for listing in made] == [False] * 5


async def test_the_first_stored_picture_is_the_one_on_cards(tx: Transaction, make_listing: MakeListing) -> None:
    listing = await make_listing()
    image = select(listings.c.image_id).where(listings.c.id == listing)
    made = []
    for number in range(2):
        values = {"sha256": bytes([number] * 32), "media_type": "image/webp", "bytes": 1, "storage_key": f"{number}"}
        made.append(await tx.value(insert(files).values(values).returning(files.c.id)))
    assert await tx.value(image) is None
    await tx.run(insert(listing_images).values(listing_id=listing, position=0, url="https://example.com/a.jpg"))
    assert await tx.value(image) is None
    await tx.run(insert(listing_images).values(listing_id=listing, position=2, file_id=made[0]))
    assert await tx.value(image) == made[0]
    await tx.run(insert(listing_images).values(listing_id=listing, position=1, file_id=made[1]))
    assert await tx.value(image) == made[1]
    await tx.run(delete(listing_images).where(listing_images.c.file_id == made[1]))
    assert await tx.value(image) == made[0]
    await tx.run(delete(listing_images))
    assert await tx.value(image) is None


async def attributes_of(tx: Transaction, listing: UUID) -> dict[str, tuple[str | None, float | None]]:
    columns = listing_attributes.c
    statement = select(columns.key, columns.value, columns.number).where(columns.listing_id == listing)
    return {key: (value, number) for key, value, number in await tx.all(statement)}


SET_ATTRIBUTES = (
    update(listings).values(attributes=bindparam("to", type_=JSONB)).where(listings.c.id == bindparam("which"))
)


async def test_attributes_have_a_typed_row_each(tx: Transaction, make_listing: MakeListing) -> None:
    listing = await make_listing(
        attributes={"colour": "red", "weight": 1.5, "organic": True, "gone": None, "tags": ["a"]}
    )
    assert await attributes_of(tx, listing) == {
        "colour": ("red", None),
        "weight": ("1.5", 1.5),
        "organic": ("true", None),
        "tags": ('["a"]', None),
    }


async def test_attribute_rows_follow_the_attributes(tx: Transaction, make_listing: MakeListing) -> None:
    other = await make_listing(attributes={"colour": "green"})
    listing = await make_listing(attributes={"colour": "red", "weight": 1, "size": "S", "mood": "gay"})
    await tx.run(SET_ATTRIBUTES, which=listing, to={"colour": "blue", "weight": "light", "age": 3, "mood": None})
    assert await attributes_of(tx, listing) == {"colour": ("blue", None), "weight": ("light", None), "age": ("3", 3.0)}
    assert await attributes_of(tx, other) == {"colour": ("green", None)}
    await tx.run(delete(listings).where(listings.c.id == listing))
    assert await attributes_of(tx, listing) == {}


json_values = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(st.characters(blacklist_characters="\x00", blacklist_categories=["Cs"]), max_size=12),
    st.lists(st.integers(0, 9), max_size=3),
)  # fmt: skip
attribute_sets = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), json_values)


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(attribute_sets, min_size=1, max_size=4))
async def test_attribute_rows_are_always_those_of_the_last_change(
    tx: Transaction, make_listing: MakeListing, history: list[dict[str, Any]]
) -> None:
    listing = await make_listing(attributes=history[0])
    for attributes in history[1:]:
        await tx.run(SET_ATTRIBUTES, which=listing, to=attributes)
    rows = await attributes_of(tx, listing)
    last = history[-1]
    assert rows.keys() == {key for key, value in last.items() if value is not None}
    for key, (value, number) in rows.items():
        is_number = isinstance(last[key], int | float) and not isinstance(last[key], bool)
        assert number == (pytest.approx(last[key]) if is_number else None)
        assert value is not None


async def test_likes_are_counted(tx: Transaction, make_listing: MakeListing) -> None:
    listing = await make_listing()
    count = select(listing_stats.c.likes).where(listing_stats.c.listing_id == listing)
    fans = []
    for name in ("ada", "bob"):
        values = {"username": name, "email": f"{name}@example.com", "display_name": name}
        fans.append(await tx.value(insert(users).values(values).returning(users.c.id)))
    assert await tx.value(count) == 0
    for number, fan in enumerate(fans, 1):
        await tx.run(insert(likes).values(user_id=fan, listing_id=listing))
        assert await tx.value(count) == number
    with pytest.raises(RuleBroken, match="pk_likes"):
        async with tx.savepoint():
            await tx.run(insert(likes).values(user_id=fans[0], listing_id=listing))
    assert await tx.value(count) == 2
    await tx.run(delete(likes).where(likes.c.user_id == fans[0]))
    assert await tx.value(count) == 1


async def test_likes_of_many_at_once_are_all_counted(db: Database, tx: Transaction, make_listing: MakeListing) -> None:
    fans = 8
    async with db.transaction(actor=SYSTEM) as other:
        people = [
            await other.value(
                insert(users)
                .values(username=f"fan{n}", email=f"fan{n}@example.com", display_name="F")
                .returning(users.c.id)
            )
            for n in range(fans)
        ]
        fruit = await other.value(select(categories.c.id).where(categories.c.slug == "fruit"))
        listing = await other.value(
            insert(listings).values(seller_id=people[0], kind="product", feed="discover", slug="a", title="A", description="",
                                    category_id=fruit).returning(listings.c.id)
        )  # fmt: skip

    async def like(person: UUID) -> None:
        async with db.transaction(actor=SYSTEM) as other:
            await other.run(insert(likes).values(user_id=person, listing_id=listing))

    try:
        await asyncio.gather(*(like(person) for person in people))
        assert (await db.read(select(listing_stats.c.likes).where(listing_stats.c.listing_id == listing)))[0][0] == fans
    finally:
        async with db.transaction(actor=SYSTEM) as other:
            await other.run(delete(listings).where(listings.c.id == listing))
            await other.run(text("DELETE FROM users WHERE id = ANY (:people)"), people=people)


async def test_ratings_are_those_of_the_reviews_that_are_shown(tx: Transaction, make_listing: MakeListing) -> None:
    listing = await make_listing()
    rating = select(listings.c.rating_count, listings.c.rating_sum).where(listings.c.id == listing)
    critics = []
    for stars in (5, 2):
        values = {"username": f"critic{stars}", "email": f"c{stars}@example.com", "display_name": "Critic"}
        critics.append(await tx.value(insert(users).values(values).returning(users.c.id)))
        await tx.run(insert(reviews).values(listing_id=listing, user_id=critics[-1], rating=stars))
    assert tuple(await tx.one(rating)) == (2, 7)
    mine = reviews.c.user_id == critics[0]
    await tx.run(update(reviews).values(rating=3).where(mine))
    assert tuple(await tx.one(rating)) == (2, 5)
    await tx.run(update(reviews).values(status="hidden").where(mine))
    assert tuple(await tx.one(rating)) == (1, 2)
    await tx.run(update(reviews).values(rating=1).where(mine))
    assert tuple(await tx.one(rating)) == (1, 2)
    await tx.run(update(reviews).values(status="shown").where(mine))
    assert tuple(await tx.one(rating)) == (2, 3)
    await tx.run(delete(reviews).where(mine))
    assert tuple(await tx.one(rating)) == (1, 2)


async def test_a_change_is_dated(tx: Transaction, make_listing: MakeListing) -> None:
    listing = await make_listing()
    dates = select(listings.c.created_at, listings.c.updated_at).where(listings.c.id == listing)
    made, changed = await tx.one(dates)
    assert made == changed
    await tx.run(
        update(listings)
        .values(title="Pears", updated_at=datetime(2001, 1, 1, tzinfo=UTC))
        .where(listings.c.id == listing)
    )
    assert (await tx.one(dates))[1] == changed  # now() is the transaction's, and what the statement says does not count

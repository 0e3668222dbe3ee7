"""Search: fresh at the commit, found by words however they are spelled, narrowed, ordered and paged."""

import time
from decimal import Decimal

import pytest
from sqlalchemy import text

from tests.factories import Factory
from tradepost.accounts.types import Caller
from tradepost.core.database import SYSTEM, count_queries
from tradepost.core.errors import Invalid
from tradepost.flows.search_listings import search
from tradepost.flows.store import Store
from tradepost.search.counting import count_terms, rebuild
from tradepost.search.service import forget_facts
from tradepost.search.types import SearchRequest, SearchResult

ANYONE = Caller()


async def found(store: Store, query: str = "", **wanted: object) -> list[str]:
    """Return the titles that a search finds, in order."""
    return [card.title for card in (await ask(store, query, **wanted)).items]


async def ask(store: Store, query: str = "", **wanted: object) -> SearchResult:
    """Search as an anonymous visitor."""
    return await search(store, ANYONE, SearchRequest(query=query, **wanted))  # type: ignore[arg-type]


async def counted(store: Store) -> None:
    """Count words and have searches know it."""
    await count_terms(store.db)
    forget_facts(store.db)


async def test_listing_is_found_when_its_transaction_commits(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    await make.listing(seller, "Crisp red apples")
    assert await found(store, "apple") == ["Crisp red apples"]
    assert await found(store, "pears") == []


async def test_change_of_words_price_and_stock_shows_at_once(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    listing = await make.listing(seller, "Red apples", price=250, stock=3)
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("UPDATE listings SET title = 'Green pears' WHERE id = :id"), id=listing)
        await tx.run(text("UPDATE prices SET amount_minor = 900"))
        await tx.run(text("UPDATE variants SET on_hand = 0"))
    assert await found(store, "pear") == ["Green pears"]
    assert await found(store, "apple", sort="newest") == ["Green pears"]  # its description still says so
    assert await found(store, max_minor=500) == []
    assert await found(store, min_minor=800) == ["Green pears"]
    assert await found(store, in_stock=True) == []


async def test_withdrawn_listing_is_not_found_and_comes_back(store: Store, make: Factory) -> None:
    listing = await make.listing(await make.person("seller"), "Red apples")
    for status, expected in (("inactive", []), ("active", ["Red apples"]), ("sold", [])):
        async with store.db.transaction(actor=SYSTEM) as tx:
            await tx.run(text("UPDATE listings SET status = :status WHERE id = :id"), status=status, id=listing)
        assert await found(store, "apples") == expected


async def test_rolled_back_change_leaves_no_trace(store: Store, make: Factory) -> None:
    listing = await make.listing(await make.person("seller"), "Red apples")

    async def change_and_fail() -> None:
        async with store.db.transaction(actor=SYSTEM) as tx:
            await tx.run(text("UPDATE listings SET title = 'Pears', description = '' WHERE id = :id"), id=listing)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await change_and_fail()
    assert await found(store, "apples") == ["Red apples"]
    assert (await store.db.read(text("SELECT count(*) FROM search_changes")))[0][0] == 0


async def test_title_beats_description_and_rare_words_beat_common_ones(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    await make.listing(seller, "Fruit press", description="Makes juice of apples.", category="tools")
    await make.listing(seller, "Apples", description="Red.")
    for n in range(6):
        await make.listing(seller, f"Garden tool {n}", description="Steel.", category="tools")
    await make.listing(seller, "Quince", description="A garden fruit.")
    await counted(store)
    assert (await found(store, "apples"))[:2] == ["Apples", "Fruit press"]
    assert (await found(store, "garden quince"))[0] == "Quince"


async def test_phrase_exclusion_and_accents(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    await make.listing(seller, "Crème brûlée", description="Sweet.")
    await make.listing(seller, "Red sweet pepper", description="Hot.")
    await make.listing(seller, "Sweet red apples", description="Crisp.")
    assert await found(store, "creme brulee") == ["Crème brûlée"]
    assert await found(store, '"sweet red"') == ["Sweet red apples"]
    without = await found(store, "sweet red -pepper")
    assert without[0] == "Sweet red apples"
    assert "Red sweet pepper" not in without
    assert set((await found(store, "sweet red"))[:2]) == {"Red sweet pepper", "Sweet red apples"}


async def test_misspelled_word_is_mended_and_said_so(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    for n in range(3):
        await make.listing(seller, f"Wireless headphones {n}", description="Good.")
    await counted(store)
    result = await ask(store, "wirless haedphones")
    assert result.corrected_query == "wireless headphones"
    assert len(result.items) == 3
    assert (await ask(store, "wireless headphones")).corrected_query is None


async def test_new_word_is_not_taken_for_a_typo(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    await make.listing(seller, "Lamps and candles")
    await counted(store)
    await make.listing(seller, "Lambs wool")
    result = await ask(store, "lambs")
    assert result.corrected_query is None
    assert [card.title for card in result.items] == ["Lambs wool"]


async def test_words_joined_and_parted(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    await make.listing(seller, "Power bank", description="Charges.")
    await make.listing(seller, "Smartwatch", description="Ticks.")
    await counted(store)
    assert await found(store, "powerbank") == ["Power bank"]
    assert await found(store, "smart watch") == ["Smartwatch"]


async def test_price_stock_and_negation_are_read_out_of_the_words(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    await make.listing(seller, "Cheap apples", price=150)
    await make.listing(seller, "Dear apples", price=2500)
    await make.listing(seller, "Sold out apples", price=150, stock=0)
    result = await ask(store, "apples under $20 in stock")
    assert [card.title for card in result.items] == ["Cheap apples"]
    assert (result.understood.max_minor, result.understood.in_stock) == (2000, True)
    assert await found(store, "apples between 20 and 30") == ["Dear apples"]


async def test_category_includes_what_is_below_it(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    await make.listing(seller, "Apples", category="fruit")
    await make.listing(seller, "Hammer", category="tools")
    assert await found(store, category="food") == ["Apples"]
    assert await found(store, category="tools") == ["Hammer"]
    result = await ask(store)
    assert {v.value: v.count for v in result.facets["category"]} == {"food": 1, "fruit": 1, "tools": 1}
    assert result.total == 2


async def test_verified_sellers_are_those_who_showed_who_they_are(store: Store, make: Factory) -> None:
    known, stranger = await make.person("seller"), await make.person("seller")
    await make.listing(known, "Apples of Ann")
    await make.listing(stranger, "Apples of Ben")
    assert await found(store, "apples", verified_seller=True) == []
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("INSERT INTO user_badges (user_id, badge) VALUES (:id, 'verified')"), id=known.user_id)
    assert await found(store, "apples", verified_seller=True) == ["Apples of Ann"]


async def test_nearest_comes_first_and_radius_holds(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    await make.listing(seller, "Near apples", place=(-17.8, 31.0))
    await make.listing(seller, "Far apples", place=(-20.1, 28.6))
    await make.listing(seller, "Nowhere apples")
    here = (-17.83, 31.05)
    assert await found(store, "apples", near=here, sort="nearest") == ["Near apples", "Far apples"]
    assert await found(store, near=here, radius_m=20_000) == ["Near apples"]
    assert await found(store, "apples within 20 km", near=here) == ["Near apples"]


@pytest.mark.parametrize("sort", ["best", "newest", "popular", "cheapest", "dearest", "rated", "nearest"])
async def test_pages_of_every_order_show_each_listing_once(store: Store, make: Factory, sort: str) -> None:
    seller = await make.person("seller")
    for n in range(11):
        await make.listing(seller, f"Apples {n}", price=100 + n % 3, place=(-17.0 - n % 4, 31.0))
    seen: list[str] = []
    after: str | None = None
    for _ in range(5):
        result = await ask(store, "apples", sort=sort, after=after, limit=4, near=(-17.0, 31.0))
        seen += [card.title for card in result.items]
        after = result.after
        if after is None:
            break
    assert after is None
    assert sorted(seen) == sorted(f"Apples {n}" for n in range(11))


async def test_cursor_of_another_order_is_refused(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    for n in range(3):
        await make.listing(seller, f"Apples {n}")
    after = (await ask(store, sort="newest", limit=2)).after
    assert after
    with pytest.raises(Invalid):
        await ask(store, sort="cheapest", after=after)
    with pytest.raises(Invalid):
        await ask(store, after="nonsense")


async def test_search_takes_two_queries_and_then_one(store: Store, make: Factory) -> None:
    await make.listing(await make.person("seller"), "Apples")
    with count_queries() as first:
        await ask(store, "apples")
    with count_queries() as second:
        await ask(store, "apples")
    assert (first.queries, second.queries) == (2, 1)


NASTY = [
    "a" * 10_000, "apple " * 2_000, "the of and", "!!! ??? ...", "&|!():*<->", "'; DROP TABLE listings; --", "\x00apples\x00",
    "🍎🍏", "تفاح أحمر", "apples & | ! ( ) : * <->", '"', '""', '"apples', "-", "-apples", "- -", "\\", "\\'", "%", "_", "a'b''c",
    "under", "under $", "under 99999999999999999999", "between 20 and", "-5 km", "\ud800", "ﷺ" * 500, "a\tb\nc\r", "x:*A", "'apples':*",
]  # fmt: skip


@pytest.mark.parametrize("query", NASTY, ids=range(len(NASTY)))
async def test_any_text_is_answered_in_time(store: Store, make: Factory, query: str) -> None:
    await make.listing(await make.person("seller"), "Apples")
    started = time.perf_counter()
    for sort in ("best", "newest"):
        await ask(store, query, sort=sort)
    assert time.perf_counter() - started < 5


async def test_absurd_filters_find_nothing_but_answer(store: Store, make: Factory) -> None:
    await make.listing(await make.person("seller"), "Apples", place=(-17.0, 31.0))
    assert await found(store, min_minor=10**15, max_minor=1) == []
    assert await found(store, near=(90.0, 180.0), radius_m=1.0) == []
    assert await found(store, near=(-17.0, 31.0), radius_m=20_000_000.0) == ["Apples"]
    assert await found(store, near=(-90.0, -180.0), radius_m=1_400_000.0) == []
    assert await found(store, attributes={"x" * 200: ("y" * 500,)}) == []
    assert await found(store, ranges={"year": (1e300, -1e300)}) == []
    assert await found(store, max_age_days=3650) == ["Apples"]
    assert await found(store, category="no-such") == []


async def test_circle_across_the_date_line(store: Store, make: Factory) -> None:
    await make.listing(await make.person("seller"), "Taveuni vanilla", place=(-16.8, -179.9))
    assert await found(store, near=(-16.8, 179.9), radius_m=50_000) == ["Taveuni vanilla"]


async def test_rebuild_makes_the_same_documents_again(store: Store, make: Factory) -> None:
    await make.listing(await make.person("seller"), "Apples", stock=Decimal(2))
    rows = text("SELECT title, words::text, tags, marks, in_stock FROM search_documents")
    before = [tuple(r) for r in await store.db.read(rows)]
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("DELETE FROM search_documents"))
    assert await found(store, "apples") == []
    assert await rebuild(store.db) == 1
    forget_facts(store.db)
    assert [tuple(r) for r in await store.db.read(rows)] == before
    assert await found(store, "apples") == ["Apples"]


async def test_large_store_is_walked_with_and_without_facets(store: Store, make: Factory) -> None:
    """A store that counts its documents in ten thousands is planned in another way: by an order's index, facets by a sample."""
    seller = await make.person("seller")
    for title in ("Red apples", "Green pears", "Yellow plums"):
        await make.listing(seller, title)
    await counted(store)
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("UPDATE search_state SET documents = 500000, tiers = '{0, 0.1, 0.2, 0.3}'"))
    forget_facts(store.db)
    for facets in (True, False):
        first = await ask(store, sort="newest", limit=2, facets=facets)
        second = await ask(store, sort="newest", limit=2, facets=facets, after=first.after)
        assert [card.title for card in (*first.items, *second.items)] == ["Yellow plums", "Green pears", "Red apples"]

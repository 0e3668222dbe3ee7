"""Pages and API of search: filters, chips, counts, orders, suggestions, and the office, without scripts."""

import re
from uuid import UUID

from sqlalchemy import text

from tests.factories import Factory
from tests.people import join_as
from tests.visitor import Visitor, text_of
from tradepost.core.database import SYSTEM
from tradepost.core.ids import short_id
from tradepost.flows.search_jobs import attribute_order
from tradepost.flows.store import Store
from tradepost.orders.events import OrderPlaced
from tradepost.search.counting import count_terms
from tradepost.search.log import flush_log, note_order
from tradepost.search.service import forget_facts
from tradepost.web.security import SESSION_COOKIE


async def test_results_page_shows_what_is_found(browse: Visitor, make: Factory) -> None:
    seller = await make.person("seller")
    await make.listing(seller, "Crisp apples", price=250)
    await make.listing(seller, "Steel hammer", category="tools", price=1900)
    page = await browse.get("/search?q=apples")
    assert page.status_code == 200
    assert "Crisp apples" in page.text
    assert "Steel hammer" not in page.text
    assert "1 find" in text_of(page.text)
    assert 'value="apples"' in page.text


async def test_results_page_takes_at_most_three_queries(browse: Visitor, make: Factory) -> None:
    seller = await make.person("seller")
    for n in range(30):
        await make.listing(seller, f"Crisp apples {n}")
    first = await browse.get("/search?q=apples")
    assert int(first.headers["x-query-count"]) <= 3
    assert int((await browse.get("/search?q=apples")).headers["x-query-count"]) <= 2
    assert len(first.content) < 100_000


async def test_filters_narrow_are_counted_and_come_off_again(browse: Visitor, make: Factory) -> None:
    seller = await make.person("seller")
    await make.listing(seller, "New apples", price=200, condition="new", attributes={"organic": True, "colour": "red"})
    await make.listing(seller, "Good apples", price=900, condition="good", attributes={"colour": "green"})
    page = await browse.get("/search?q=apples")
    assert re.search(r"<span>New</span><span class=\"check__count\">1</span>", page.text)
    narrowed = await browse.get("/search?q=apples&condition=good")
    assert "Good apples" in narrowed.text
    assert "New apples" not in narrowed.text
    assert 'href="/search?q=apples"' in narrowed.text  # the chip that takes the filter off
    dear = await browse.get("/search?q=apples&min_price=5")
    assert ("Good apples" in dear.text, "New apples" in dear.text) == (True, False)
    organic = await browse.get("/search?q=apples&a_organic=1")
    assert ("Good apples" in organic.text, "New apples" in organic.text) == (False, True)


async def test_next_page_goes_on(browse: Visitor, make: Factory) -> None:
    seller = await make.person("seller")
    titles = {f"Apple sort {n:02d}" for n in range(30)}
    for title in titles:
        await make.listing(seller, title)
    first = await browse.get("/search?q=apple&sort=newest")
    following = re.search(r'href="(/search\?[^"]*after=[^"]*)"', first.text)
    assert following
    second = await browse.get(following[1].replace("&amp;", "&"))
    seen = set(re.findall(r"Apple sort \d\d", first.text)) | set(re.findall(r"Apple sort \d\d", second.text))
    assert seen == titles


async def test_nonsense_in_the_address_is_left_out(browse: Visitor, make: Factory) -> None:
    await make.listing(await make.person("seller"), "Apples")
    address = "/search?q=apples&min_price=x&max_price=-3&within=nan&lat=1e99&lon=a&days=-1&sort=up&condition=none&seller=me&a_no=1&view=odd"
    page = await browse.get(address)
    assert page.status_code == 200
    assert "Apples" in page.text
    assert (await browse.get("/search?after=nonsense")).status_code == 422
    assert (await browse.get("/search?q=" + "a" * 10_000)).status_code == 200


async def test_markup_in_a_query_is_shown_as_text(browse: Visitor) -> None:
    page = await browse.get("/search?q=<script>alert(1)</script>")
    assert "<script>alert" not in page.text


async def test_corrected_query_says_so(browse: Visitor, store: Store, make: Factory) -> None:
    await make.listing(await make.person("seller"), "Wireless headphones")
    await count_terms(store.db)
    forget_facts(store.db)
    page = text_of((await browse.get("/search?q=wirelss")).text)
    assert "results for “wireless”" in page
    assert "Wireless headphones" in page


async def test_suggestions_complete_words_and_name_listings(browse: Visitor, store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    await make.listing(seller, "Wireless headphones")
    await make.listing(seller, "Wireless speaker")
    await count_terms(store.db)
    page = await browse.get("/search/suggest?q=wirel")
    assert "/search?q=wireless" in page.text
    assert "Wireless headphones" in page.text
    answer = (await browse.get("/api/v1/search/suggest?q=fru")).json()
    assert answer[0] == {"kind": "category", "text": "Fruit", "path": "/c/fruit"}
    assert (await browse.get("/search/suggest?q=%00'%25_:*&|!")).status_code == 200
    assert (await browse.get("/search/suggest?q=")).status_code == 200


async def test_api_explains_scores_that_add_up(browse: Visitor, make: Factory) -> None:
    await make.listing(await make.person("seller"), "Apples", condition="new")
    found = (await browse.get("/api/v1/search?q=apples&explain=true&facets=true")).json()
    (score,) = found["scores"]
    parts = score["words"] + score["meaning"] + score["popularity"] + score["freshness"]
    assert abs(parts - score["total"]) < 1e-6
    assert score["words"] > 0
    assert found["facets"]["condition"] == [{"value": "new", "count": 1}]
    assert (found["total"], found["search_type"]) == (1, "words")


async def test_api_refuses_what_makes_no_sense(browse: Visitor) -> None:
    for bad in (
        "lat=1",
        "min_price=-1",
        "sort=up",
        "limit=1000",
        "after=x",
        "attribute=x",
        "within_m=-5",
        "lat=91&lon=0",
    ):
        assert 400 <= (await browse.get(f"/api/v1/search?{bad}")).status_code < 500, bad
    assert (await browse.get("/api/v1/search?category=none")).status_code == 404


async def test_similar_listings_share_category_and_words(browse: Visitor, make: Factory) -> None:
    seller = await make.person("seller")
    red = await make.listing(seller, "Red apples")
    await make.listing(seller, "Green apples")
    await make.listing(seller, "Apples hammer", category="tools")
    found = (await browse.get(f"/api/v1/listings/{red}/similar")).json()
    assert [card["title"] for card in found] == ["Green apples"]


async def sign_in_admin(browse: Visitor, store: Store) -> None:
    """Have the browser be an administrator's."""
    started = await join_as(store, "ada", "admin")
    browse.client.cookies.set(SESSION_COOKIE, started.token)


async def _logged(store: Store) -> list[dict[str, object]]:
    await flush_log(store.db)
    async with store.db.transaction(actor=SYSTEM) as tx:
        rows = await tx.all(
            text(
                "SELECT query, results_count, search_type, response_ms, clicked_id, ordered_id, user_id FROM search_log ORDER BY id"
            )
        )
    return [dict(row) for row in rows]


async def test_search_click_and_order_are_attributed(browse: Visitor, store: Store, make: Factory) -> None:
    listing = await make.listing(await make.person("seller"), "Apples")
    await browse.sign_up("ada")
    await browse.get("/search?q=apples")
    (row,) = await _logged(store)
    assert (row["query"], row["results_count"], row["search_type"], row["clicked_id"]) == ("apples", 1, "words", None)
    assert isinstance(row["response_ms"], float)
    await browse.get(f"/l/apples-{short_id(listing)}")
    async with store.db.transaction(actor=SYSTEM) as tx:
        buyer: UUID = await tx.value(text("SELECT id FROM users WHERE username = 'ada'"))
        assert await note_order(tx, [listing], user_id=buyer, session=None) == 1
    (row,) = await _logged(store)
    assert (row["clicked_id"], row["ordered_id"], row["user_id"]) == (listing, listing, buyer)


async def test_order_without_lines_attributes_nothing(store: Store) -> None:
    await attribute_order(store, OrderPlaced(UUID(int=1), "MK-1", None, (), 100, "USD"))
    assert await _logged(store) == []


async def test_searches_of_others_are_hidden(browse: Visitor, store: Store, make: Factory) -> None:
    await make.listing(await make.person("seller"), "Apples")
    await browse.sign_up("ada")
    await browse.get("/search?q=apples")
    await flush_log(store.db)
    stranger = await make.person("buyer")
    async with store.db.transaction(actor=stranger.actor) as tx:
        assert await tx.value(text("SELECT count(*) FROM search_log")) == 0


async def test_office_is_closed_to_others(browse: Visitor) -> None:
    await browse.sign_up("ada")
    assert (await browse.get("/office/search")).status_code in {403, 404}
    for path, fields in (("synonyms", {"word": "a", "means": "b"}), ("weights", {"words": "2"})):
        assert (await browse.post(f"/office/search/{path}", fields, follow=False)).status_code == 403, path


async def test_synonym_makes_an_unanswered_search_find(browse: Visitor, store: Store, make: Factory) -> None:
    await make.listing(await make.person("seller"), "Aubergines")
    await sign_in_admin(browse, store)
    assert "No match" in text_of((await browse.get("/search?q=eggplant")).text)
    await flush_log(store.db)
    office = await browse.get("/office/search")
    assert "eggplant" in office.text
    done = await browse.post("/office/search/synonyms", {"word": "eggplant", "means": "aubergine", "both_ways": "1"})
    assert "Who looks for “eggplant” finds “aubergine” too." in text_of(done.text)
    assert "Aubergines" in (await browse.get("/search?q=eggplant")).text
    again = await browse.post("/office/search/synonyms", {"word": "eggplant", "means": "aubergine"})
    assert "That synonym exists already." in text_of(again.text)


async def test_weights_are_tried_and_then_kept(browse: Visitor, store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    await make.listing(seller, "Apples", description="Red.")
    await make.listing(seller, "Press", description="For apples.")
    await sign_in_admin(browse, store)
    tried = await browse.get("/office/search?q=apples&title=0&description=5")
    order = [tried.text.rindex(f">{title}</a>") for title in ("Press", "Apples")]
    assert order == sorted(order)
    assert "Weights are numbers" in (await browse.get("/office/search?q=apples&title=99")).text
    await browse.post("/office/search/weights", {"title": "0", "description": "5"})
    found = (await browse.get("/api/v1/search?q=apples")).json()["items"]
    assert [card["title"] for card in found] == ["Press", "Apples"]

"""A listing's page from the cache: as quick as it may be, and never what is not so any more."""

import asyncio
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from tests.conftest import Servers
from tests.factories import Factory
from tests.people import visitor
from tests.visitor import Visitor, text_of
from tradepost.accounts.types import Caller
from tradepost.app import create_app
from tradepost.catalog.listing_pages import get_listing
from tradepost.catalog.service import change_price, withdraw_listing
from tradepost.catalog.stock import set_stock
from tradepost.catalog.types import NoSuchListing
from tradepost.core.cache import Cache
from tradepost.core.database import ANYBODY, SYSTEM
from tradepost.flows import product_page
from tradepost.flows.product_page import Product, read_product
from tradepost.flows.store import Store
from tradepost.web.kept import easel_of


async def path_of(store: Store, listing_id: UUID) -> str:
    async with store.db.transaction(actor=ANYBODY, read_only=True) as tx:
        return (await get_listing(tx, listing_id, currency=store.currency)).path


async def reprice(store: Store, seller: Caller, variant: UUID, minor: int) -> None:
    async with store.db.transaction(actor=seller.actor) as tx:
        await change_price(tx, seller, variant, minor, store.currency)


async def price_in_secret(store: Store, variant: UUID, minor: int) -> None:
    """Change a price past every command, so that nobody tells the cache."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(
            text("UPDATE prices SET amount_minor = :minor WHERE variant_id = :variant"), minor=minor, variant=variant
        )


async def read(store: Store, listing_id: UUID) -> Product:
    return await read_product(store, listing_id, easel_of(store))


async def test_the_key_is_the_documented_one_with_its_fields_for_an_hour(
    store: Store, make: Factory, servers: Servers
) -> None:
    listing = await make.listing(await make.person("seller"), "Chocolate cake", price=2599, stock=15)
    await read(store, listing)
    raw = Redis.from_url(servers.cache_url)
    kept = json.loads(await raw.get(f"product:{listing}"))
    assert {k: kept[k] for k in ("id", "name", "price", "stock", "category", "is_customizable")} == {
        "id": str(listing), "name": "Chocolate cake", "price": 25.99, "stock": 15, "category": "fruit", "is_customizable": False,
    }  # fmt: skip
    assert b'"stock":15,' in (await raw.get(f"product:{listing}") or b"")
    assert 3_590 < await raw.ttl(f"product:{listing}") <= 3_600
    await raw.aclose()


async def test_a_kept_page_takes_one_query_and_is_the_one_that_was_drawn(
    browse: Visitor, store: Store, make: Factory
) -> None:
    listing = await make.listing(await make.person("seller"), "Quinces & <b>medlars</b>", price=2599)
    path = await path_of(store, listing)
    first = await browse.get(path)
    again = await browse.get(path)
    assert (int(first.headers["x-query-count"]) > 4, again.headers["x-query-count"]) == (True, "1")
    assert text_of(again.text) == text_of(first.text)
    assert "Quinces &amp; &lt;b&gt;medlars&lt;/b&gt;" in again.text
    assert "$25.99" in again.text
    assert '"@type":"Product"' in again.text
    assert again.text.count("<h1") == 1
    assert 'og:type" content="product"' in again.text


async def test_every_browser_gets_a_token_of_its_own_in_a_kept_page(
    browse: Visitor, store: Store, make: Factory
) -> None:
    listing = await make.listing(await make.person("seller"))
    path = await path_of(store, listing)
    await browse.get(path)
    transport = httpx.ASGITransport(app=create_app({store.code: store}), client=(visitor().address, 40_001))
    async with httpx.AsyncClient(transport=transport, base_url="http://market.localhost") as client:
        other = Visitor(client)
        page = await other.get(path)
        assert "csrf-" not in page.text
        added = await other.post("/cart/add", {"variant_id": str(await make.variant_of(listing)), "quantity": "1"})
        assert added.status_code == 200
        stolen = {"csrf_token": browse.token, "variant_id": str(await make.variant_of(listing)), "quantity": "1"}
        assert (await client.post("/cart/add", data=stolen)).status_code == 403


async def test_nobody_sees_an_old_price_however_it_was_changed(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    listing = await make.listing(seller, price=1000)
    variant = await make.variant_of(listing)
    assert (await read(store, listing)).price == 10.0
    await reprice(store, seller, variant, 1250)
    assert (await read(store, listing)).price == 12.5
    await price_in_secret(store, variant, 1400)
    assert (await read(store, listing)).price == 14.0


async def test_a_reader_that_was_overtaken_by_a_change_leaves_nothing_old_behind(store: Store, make: Factory) -> None:
    """It read the old price, then the seller changed it and the key was deleted, and then it would keep what it had read."""
    seller = await make.person("seller")
    listing = await make.listing(seller, price=1000)
    variant = await make.variant_of(listing)
    has_read, may_go_on = asyncio.Event(), asyncio.Event()
    easel = easel_of(store)

    async def slowly(facts: Any) -> tuple[str, ...]:
        has_read.set()
        await may_go_on.wait()
        return await easel.draw(facts)

    slow = asyncio.create_task(read_product(store, listing, product_page.Easel(easel.look, slowly)))
    await has_read.wait()
    await reprice(store, seller, variant, 1250)
    joined = asyncio.create_task(read(store, listing))  # waits for the first one's, which is out of date by now
    await asyncio.sleep(0)
    may_go_on.set()
    assert (await slow).price == 10.0  # it asked before the change
    assert (await joined).price == 12.5
    assert (await read(store, listing)).price == 12.5


async def test_the_race_is_lost_by_the_old_value_even_when_nobody_deletes(store: Store, make: Factory) -> None:
    """The same between two processes, with a change that tells no cache: the mark alone must hold."""
    listing = await make.listing(await make.person("seller"), price=1000)
    variant = await make.variant_of(listing)
    old = await read(store, listing)
    await price_in_secret(store, variant, 1250)
    await store.cache.set(f"product:{listing}", old, ttl_s=3600)  # what a slow process would store now
    assert (await read(store, listing)).price == 12.5


async def test_readers_and_a_writer_at_once_never_go_back_in_time(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    listing = await make.listing(seller, price=100)
    variant = await make.variant_of(listing)
    committed, done = 100, False
    faults: list[tuple[int, float]] = []

    async def look() -> None:
        while not done:
            least = committed
            found = round(((await read(store, listing)).price or 0) * 100)
            if found < least:
                faults.append((least, found))

    readers = [asyncio.create_task(look()) for _ in range(4)]
    for minor in range(101, 131):
        await reprice(store, seller, variant, minor)
        committed = minor
    done = True
    await asyncio.gather(*readers)
    assert faults == []
    assert (await read(store, listing)).price == 1.3


async def test_stock_is_what_is_committed(store: Store, make: Factory) -> None:
    listing = await make.listing(await make.person("seller"), stock=10)
    variant = await make.variant_of(listing)
    assert (await read(store, listing)).stock == 10
    async with store.db.transaction(actor=SYSTEM) as tx:
        await set_stock(tx, variant, Decimal(3))
        assert (await read(store, listing)).stock == 10  # not committed yet
    assert (await read(store, listing)).stock == 3


async def test_what_is_withdrawn_is_gone_at_once_and_its_seller_still_sees_it(
    browse: Visitor, store: Store, make: Factory
) -> None:
    seller = await make.person("seller")
    listing = await make.listing(seller, "Plums")
    path = await path_of(store, listing)
    assert (await browse.get(path)).status_code == 200
    async with store.db.transaction(actor=seller.actor) as tx:
        await withdraw_listing(tx, seller, listing)
    assert (await browse.get(path)).status_code == 404
    with pytest.raises(NoSuchListing):
        await product_page.see_facts(store, Caller(), listing, easel_of(store), None)
    seen = await product_page.see_facts(store, seller, listing, easel_of(store), None)
    assert seen.listing.status == "inactive"


async def test_another_listings_new_price_shows_among_those_like_this(
    browse: Visitor, store: Store, make: Factory
) -> None:
    seller = await make.person("seller")
    path = await path_of(store, await make.listing(seller, "Plums"))
    other = await make.listing(seller, "Damsons", price=700)
    assert "$7.00" in (await browse.get(path)).text
    await price_in_secret(store, await make.variant_of(other), 900)
    page = (await browse.get(path)).text
    assert "$9.00" in page
    assert "$7.00" not in page


async def test_a_person_sees_their_own_hearts_and_a_visitor_none(browse: Visitor, store: Store, make: Factory) -> None:
    listing = await make.listing(await make.person("seller"), "Plums")
    path = await path_of(store, listing)
    await browse.get(path)
    await browse.sign_up("ann")
    await browse.post(f"/listings/{listing}/like")
    assert 'aria-pressed="true"' in (await browse.get(path)).text.split("listing__links")[1].split("</button>")[0]
    await browse.post("/sign-out")
    assert 'aria-pressed="true"' not in (await browse.get(path)).text.split("listing__links")[1].split("</button>")[0]


async def test_a_name_that_was_changed_is_not_shown_any_more(browse: Visitor, store: Store, make: Factory) -> None:
    seller = await make.person("seller", display_name="Old Name")
    path = await path_of(store, await make.listing(seller))
    assert "Old Name" in (await browse.get(path)).text
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("UPDATE users SET display_name = 'New Name' WHERE id = :id"), id=seller.user_id)
    page = (await browse.get(path)).text
    assert "New Name" in page
    assert "Old Name" not in page


async def test_a_crowd_at_an_empty_cache_reads_the_listing_once(
    store: Store, make: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = await make.listing(await make.person("seller"))
    made: list[int] = []
    real = product_page._read_facts

    async def counting(*arguments: Any) -> Any:
        made.append(1)
        return await real(*arguments)

    monkeypatch.setattr(product_page, "_read_facts", counting)
    found = await asyncio.gather(*(read(store, listing) for _ in range(30)))
    assert {f.mark for f in found} == {found[0].mark}
    assert made == [1]


async def test_without_the_cache_pages_are_the_same(browse: Visitor, store: Store, make: Factory) -> None:
    listing = await make.listing(await make.person("seller"), "Quinces", price=2599)
    path = await path_of(store, listing)
    with_cache = await browse.get(path)
    away = await Cache.open("redis://127.0.0.1:1/0", timeout_ms=50)
    store.db.cache = away
    object.__setattr__(store, "cache", away)
    without = [await browse.get(path) for _ in range(2)]
    assert [a.status_code for a in without] == [200, 200]
    assert text_of(without[1].text) == text_of(with_cache.text)
    assert int(without[1].headers["x-query-count"]) > 4
    assert (await browse.get("/readyz")).json() == {"market": "degraded"}
    await away.close()
